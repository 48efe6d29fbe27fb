"""A hint about the vocabulary never stands before the error that ends a command."""

import logging

import pytest
from runs import arguments
from samples import GOLDEN, write_random_model

from morphbert.cli.main import main
from morphbert.errors import MorphbertError
from morphbert.grammar.pairs import MinimalPair
from morphbert.hints import held_back
from morphbert.train.evaluation import Evaluator

SENTENCE = "나는 [MASK]에 간다."


def hints(caplog):
    return [record.message for record in caplog.records if record.message.startswith("tokenizer: ")]


def test_warnings_follow_the_block_or_are_dropped_with_its_error(caplog):
    logger = logging.getLogger("morphbert")
    with held_back():
        logger.warning("a hint")
        assert not caplog.messages
    assert caplog.messages == ["a hint"]

    @held_back()
    def fail():
        logger.warning("of no use")
        raise MorphbertError("the reason")

    with pytest.raises(MorphbertError):
        fail()
    logger.warning("after it")
    assert caplog.messages == ["a hint", "after it"]


def test_warnings_are_released_early_and_in_order(caplog):
    logger = logging.getLogger("morphbert")
    with held_back() as release, held_back():
        logger.warning("1")
        logger.warning("2")
        release()
        logger.warning("3")
        assert caplog.messages == []  # the inner block holds them
    assert caplog.messages == ["1", "2", "3"]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    """A plain vocabulary, whose casing is guessed with a hint."""
    folder = tmp_path_factory.mktemp("vocabulary")
    path = folder / "pieces.txt"
    path.write_bytes((GOLDEN / "vocab_ko.txt").read_bytes())
    (folder / "no_mask.txt").write_bytes(path.read_bytes().replace(b"[MASK]\n", b"[M]\n"))
    (folder / "short.txt").write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:900]))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_random_model(tmp_path_factory.mktemp("models") / "model", GOLDEN / "vocab_ko.txt")


COMMANDS = {
    "fill_mask": ["fill_mask", f"--text={SENTENCE}"],
    "fill_mask without a mask": ["fill_mask", "--text=마스크가 없다"],
    "fill_mask --serve": ["fill_mask", "--serve", "--port=0"],
    "run_classifier": [
        "run_classifier",
        "--do_train",
        "--train_file=FOLDER/t.tsv",
        "--output_dir=FOLDER/out",
    ],
    "extract_features": ["extract_features", "--input_file=FOLDER/t.tsv", "--output_file=FOLDER/o.jsonl"],
    "import_model": ["import_model", "--output_dir=FOLDER/out"],
    "export_model": ["export_model", "--output_dir=FOLDER/out", "--format=huggingface"],
    "evaluate_grammar": ["evaluate_grammar", "--grammar_file=FOLDER/pairs.jsonl"],
    "create_pretraining_data": [
        *("create_pretraining_data", f"--input_file={GOLDEN}/documents_ko.txt"),
        "--output_file=FOLDER/o.tfrecord",
    ],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_error_of_a_command_stands_alone(command, vocabulary, model, tmp_path, caplog, capfd):
    (tmp_path / "t.tsv").write_text("document\tlabel\n좋다\t1\n나쁘다\t0\n", encoding="utf-8")
    pair = MinimalPair("josa", "나는 간다.", "나은 간다.", (1, 2), (1, 2))
    (tmp_path / "pairs.jsonl").write_text(pair.to_json() + "\n", encoding="utf-8")
    arguments = [word.replace("FOLDER", str(tmp_path)) for word in COMMANDS[command]]
    checkpoint = "init_checkpoint" if arguments[0] in ("run_classifier", "extract_features") else "checkpoint"
    if arguments[0] == "create_pretraining_data":
        arguments.append(f"--vocab_file={vocabulary}/no_mask.txt")
        reason = "has no [MASK]"
    else:
        arguments += [f"--{checkpoint}={model}", f"--vocab_file={vocabulary}/short.txt"]
        reason = "has 900 pieces"
        if command == "fill_mask without a mask":
            arguments[-1] = f"--vocab_file={vocabulary}/pieces.txt"
            reason = "there is no [MASK]"
    assert main(arguments) == 1
    assert reason in capfd.readouterr().err
    assert not hints(caplog)


def test_the_hint_is_given_where_all_is_well(vocabulary, model, caplog):
    flags = [f"--checkpoint={model}", f"--vocab_file={vocabulary}/pieces.txt", f"--text={SENTENCE}"]
    assert main(["fill_mask", *flags]) == 0
    assert len(hints(caplog)) == 1


def test_training_says_its_hint_when_it_begins(
    vocabulary, records, tiny_config, tmp_path, caplog, capfd, monkeypatch
):
    """And not at all before the error that the model to start from is another."""
    other = write_random_model(
        tmp_path / "other", GOLDEN / "vocab_ko.txt", hidden_size=48, num_attention_heads=3
    )
    caplog.clear()  # the helper reads the vocabulary too
    flags = [f"--vocab_file={vocabulary}/pieces.txt", f"--init_checkpoint={other}", "--num_train_steps=1"]
    assert main(["run_pretraining", *arguments(records, tiny_config, tmp_path / "out", *flags)]) == 1
    assert "is the checkpoint of another" in capfd.readouterr().err
    assert not hints(caplog)
    flags.pop(1)
    flags = [str(flag) for flag in arguments(records, tiny_config, tmp_path / "out", *flags)]
    assert main(["run_pretraining", *flags]) == 0
    assert len(hints(caplog)) == 1
    caplog.clear()
    seen = []
    with monkeypatch.context() as patched:
        evaluate = Evaluator.__call__
        patched.setattr(
            Evaluator, "__call__", lambda *given: seen.append(len(hints(caplog))) or evaluate(*given)
        )
        evaluation = [flag for flag in flags if flag != "--do_train"]
        assert main(["run_pretraining", *evaluation, "--do_eval", "--max_eval_steps=1"]) == 0
    assert seen == [1]  # before the long work, also without training
