"""Another vocabulary of the same size: refused, with the remedy, wherever it meets records or a model."""

import shutil

import pytest
from creating import KOREAN
from runs import arguments
from samples import GOLDEN, MECAB_VOCABULARY, SHAPE

from morphbert.cli.create_pretraining_data import main as create
from morphbert.cli.fill_mask import main as fill_mask
from morphbert.cli.run_pretraining import main as train
from morphbert.errors import MorphbertError
from morphbert.interop import sources
from morphbert.interop.pretrained_start import find_start
from morphbert.text.vocabulary import check_same_vocabulary, vocabulary_from_tokens
from morphbert.text.vocabulary_file import load_vocabulary


def shuffled(source, target):
    """The same pieces, the special ones in their places and the others in another order."""
    tokens = load_vocabulary(str(source)).tokens
    mixed = [*tokens[:5], *reversed(tokens[5:])]
    target.write_text("".join(token + "\n" for token in mixed), encoding="utf-8")
    return target


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Records of the shuffled vocabulary, and that vocabulary."""
    folder = tmp_path_factory.mktemp("other")
    vocabulary = shuffled(GOLDEN / "vocab_ko.txt", folder / "vocab.txt")
    flags = [f"--input_file={KOREAN}", f"--vocab_file={vocabulary}", "--do_lower_case=false", *SHAPE]
    assert create([*flags, f"--output_file={folder / 'a.tfrecord'}"]) == 0
    return folder


def refused(capsys, *words):
    message = capsys.readouterr().err
    assert all(word in message for word in ("another vocabulary", *words)), message
    assert "Traceback" not in message


def test_records_of_another_vocabulary_do_not_go_on_with_a_run(trained, other, tiny_config, tmp_path, capsys):
    output = tmp_path / "run"
    shutil.copytree(trained, output)
    assert train(arguments(other, tiny_config, output, "--num_train_steps=4")) == 1
    refused(capsys, "a.tfrecord", "--init_checkpoint=", "--vocab_file", "model.ckpt-3")


def test_the_vocabulary_beside_init_checkpoint_is_held_against_the_records(
    trained, other, records, tiny_config, tmp_path, capsys
):
    start = tmp_path / "start"
    shutil.copytree(trained, start)
    run = arguments(other, tiny_config, tmp_path / "out", f"--init_checkpoint={start}", "--dry_run")
    assert train(run) == 1
    refused(capsys, "--init_checkpoint", "--vocab_file, the vocabulary of the records")
    # With both vocabularies known, the pieces are mapped.
    shutil.copy(GOLDEN / "vocab_ko.txt", start / "vocab.txt")
    assert train([*run, f"--vocab_file={other / 'vocab.txt'}"]) == 0
    assert "vocabulary: " in capsys.readouterr().out
    # A vocabulary beside it that is not its own is no way around.
    shutil.copy(other / "vocab.txt", start / "vocab.txt")
    assert train([*run, f"--vocab_file={other / 'vocab.txt'}"]) == 1
    refused(capsys, "the checkpoint")


def test_a_vocabulary_that_is_not_the_models_is_refused(random_model, tmp_path, capsys):
    folder = tmp_path / "vocab"
    shutil.copytree(MECAB_VOCABULARY, folder)
    plain = shuffled(MECAB_VOCABULARY / "vocab.txt", tmp_path / "vocab.txt")
    flags = [f"--checkpoint={random_model}", "--text=나는 [MASK]에 간다."]
    assert fill_mask([*flags, f"--vocab_file={plain}", "--do_lower_case=false"]) == 1
    refused(capsys, "--vocab_file", "import_model.py --new_vocab_file")
    assert fill_mask([*flags, f"--vocab_file={folder}"]) == 0
    for read in (
        lambda: find_start(str(random_model), None, str(plain), False),
        lambda: sources.read(str(random_model), vocab_file=str(plain), do_lower_case=False),
    ):
        with pytest.raises(MorphbertError, match="another vocabulary"):
            read()
    assert find_start(str(random_model), None, str(folder), None).vocabulary == str(folder)


def test_the_same_pieces_are_the_same_vocabulary_however_their_lines_end():
    one, other = vocabulary_from_tokens(["[PAD]", "가"]), vocabulary_from_tokens(["[PAD]", "나"])
    check_same_vocabulary("x", one, one, "")
    with pytest.raises(MorphbertError, match=r"x is another vocabulary .* Do this\."):
        check_same_vocabulary("x", one, other, "Do this.")
