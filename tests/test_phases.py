"""Two phases in one run, and in two: the right steps on the right records, exact after a stop anywhere."""

import os
import shutil
import sys

import numpy as np
import pytest
import variants
from hypothesis import given
from hypothesis import strategies as st
from processes import run_process
from runs import LEARNED, assert_same, logged, tensors
from samples import GOLDEN, ROOT, write_config

from morphbert.cli.create_pretraining_data import main as create
from morphbert.cli.run_pretraining import main as train
from morphbert.errors import UsageError
from morphbert.interop.adapting import resize_positions
from morphbert.text.loading import load_tokenizer
from morphbert.train.checkpoint import read_weights
from morphbert.train.phases import Phase, parse_phases, steps_of

SIZE = len((GOLDEN / "vocab_ko.txt").read_text(encoding="utf-8").splitlines())


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Records of 32 and of 64 pieces of the same real Korean text, each with its own number of predictions."""
    folder = tmp_path_factory.mktemp("texts")
    for length, predictions in ((32, 5), (64, 10)):
        shape = [f"--max_seq_length={length}", f"--max_predictions_per_seq={predictions}", "--dupe_factor=2"]
        paths = [f"--input_file={GOLDEN}/documents_ko.txt", f"--vocab_file={GOLDEN}/vocab_ko.txt"]
        flags = [*paths, *shape, "--do_lower_case=false"]
        assert create([*flags, f"--output_file={folder}/{length}.tfrecord"]) == 0
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp("config") / "c.json", vocab_size=SIZE)


def run(config, records, output, *more):
    flags = ["--train_batch_size=4", "--num_warmup_steps=2", "--learning_rate=1e-3", "--log_steps=1"]
    paths = [f"--bert_config_file={config}", f"--input_file={records}", f"--output_dir={output}"]
    return train([*paths, *flags, "--strategy=cpu", "--do_train", *more])


PHASES = ("--phases=32:0.6,64:0.4:8", "--num_train_steps=10", "--save_checkpoints_steps=2")


@pytest.fixture(scope="module")
def whole(texts, config, tmp_path_factory):
    """Ten steps: six on 32 pieces in batches of 4, four on 64 in batches of 8."""
    output = tmp_path_factory.mktemp("whole")
    flags = ("--keep_checkpoint_max=9", "--do_eval", "--eval_every=5", "--max_eval_steps=4")
    assert run(config, texts / "*.tfrecord", output, *PHASES, *flags) == 0
    return output


def test_positions_of_the_second_phase_move_in_it_alone(whole):
    table = "model/bert.Sembeddings.Sposition_embeddings/.ATTRIBUTES/VARIABLE_VALUE"
    moment = table.replace("model/", "optimizer/adam_m/")
    before, after = (tensors(whole / f"model.ckpt-{step}", *LEARNED) for step in (6, 10))
    assert np.all(before[moment][32:] == 0.0)
    assert np.all(np.abs(before[moment][:32]).sum(1) > 0.0)
    assert np.all(np.abs(after[moment][32:64]).sum(1) > 0.0)
    assert after["optimizer/step/.ATTRIBUTES/VARIABLE_VALUE"] == 10


def test_the_second_phase_has_its_batch_and_the_schedule_goes_on(whole):
    trained = [line for line in logged(whole) if line["kind"] == "train"]
    assert [line["step"] for line in trained] == list(range(1, 11))
    rates = [line["learning_rate"] for line in trained]
    assert rates == pytest.approx([0.0, 0.5e-3, *(1e-3 * (1 - step / 10) for step in range(2, 10))], rel=1e-5)


@pytest.mark.parametrize(
    "step", [pytest.param(4, marks=pytest.mark.slow), 6, pytest.param(8, marks=pytest.mark.slow)]
)
def test_a_run_stopped_in_any_phase_goes_on_as_if_it_had_not(step, whole, texts, config, tmp_path, capsys):
    """In the first phase, where they meet, in the second."""
    for path in whole.glob(f"model.ckpt-{step}*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "model.ckpt-{step}"\n')
    assert run(config, texts / "*.tfrecord", tmp_path, *PHASES) == 0
    assert "warning" not in capsys.readouterr().out
    assert_same(whole / "model.ckpt-10", tmp_path / "model.ckpt-10", parts=LEARNED)
    losses = {line["step"]: line["loss"] for line in logged(whole) if line["kind"] == "train"}
    assert [line["loss"] for line in logged(tmp_path)] == [losses[n] for n in range(step + 1, 11)]


def test_the_first_phase_is_a_run_on_its_records(whole, texts, config, tmp_path):
    """The same weights as a run on records of 32 pieces alone, stopped where the second phase begins."""
    shape = ("--max_seq_length=32", "--max_predictions_per_seq=5")
    flags = (*shape, "--num_train_steps=10", "--save_checkpoints_steps=6")
    assert run(config, texts / "32.tfrecord", tmp_path, *flags) == 0
    assert_same(whole / "model.ckpt-6", tmp_path / "model.ckpt-6", parts=LEARNED)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(50, 2000))
def test_every_step_is_of_one_phase(weights, steps):
    phases = [Phase(n + 1, weight / sum(weights)) for n, weight in enumerate(weights)]
    try:
        found = steps_of(phases, steps)
    except UsageError:
        return
    assert sum(found) == steps
    assert all(abs(n - phase.share * steps) <= 1.0 + 1e-6 for n, phase in zip(found, phases, strict=True))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("128", "LENGTH:SHARE"),
        ("128:x", "LENGTH:SHARE"),
        ("128:0.5:4:4,64:0.5", "LENGTH:SHARE"),
        ("128:0.9,512:0.2", "add up to 1.1"),
        ("128:0.5,128:0.5", "are alike"),
        ("128:1.5,64:-0.5", "above 0"),
        ("128:nan,64:1", "above 0"),
        ("", "LENGTH:SHARE"),
    ],
)
def test_what_is_no_phase_is_said(text, word):
    with pytest.raises(UsageError, match=word):
        parse_phases(text)


def test_what_does_not_fit_is_said(texts, config, tmp_path, capsys):
    both = texts / "*.tfrecord"
    for flags, status, words in (
        (("--phases=32:0.5,128:0.5",), 1, ["max_seq_length=128", "there are none", "32, 64"]),
        (("--phases=32:0.5,64:0.5", "--num_train_steps=1"), 2, ["[0, 1]"]),
        (("--phases=32:0.5,64:0.5", "--group_by_length"), 2, ["--group_by_length"]),
        (("--phases=32:0.5,64:0.5", "--max_seq_length=32"), 2, ["the longest of --phases is 64"]),
        (("--phases=32:0.5,64:0.5:3", "--gradient_accumulation_steps=2"), 2, ["--phases=3", "2"]),
    ):
        assert run(config, both, tmp_path / "out", *flags) == status
        message = capsys.readouterr().err
        assert all(word in message for word in words), message
    short = write_config(tmp_path / "c.json", vocab_size=SIZE, max_position_embeddings=48)
    assert run(short, both, tmp_path / "out", "--phases=32:0.5,64:0.5") == 1
    assert "max_position_embeddings" in capsys.readouterr().err
    assert run(config, both, tmp_path / "out", "--phases=32:1", "--num_train_steps=1") == 0
    assert "warning: the records of max_seq_length=64 are of no phase" in capsys.readouterr().out


@pytest.mark.slow
def test_the_script_runs_the_chain_and_passes_over_what_is_finished(tmp_path):
    settings = {
        "PYTHON": sys.executable,
        "VOCAB_SIZE": "600",
        "MODEL": "tiny",
        "DUPE_FACTOR": "1",
        "FIRST_LENGTH": "32",
        "SECOND_LENGTH": "64",
        "FIRST_SHARE": "0.75",
        "TRAIN_BATCH_SIZE": "4",
        "SECOND_BATCH_SIZE": "2",
        "NUM_TRAIN_STEPS": "8",
        "TRAIN_FLAGS": "--log_steps=1 --strategy=cpu",
    }

    def script(*arguments):
        path = ROOT / "scripts" / "pretrain_two_phase.sh"
        environment = {**os.environ, **settings}
        return run_process([path, *arguments], cwd=tmp_path, env=environment)

    done = script(f"{GOLDEN}/documents_ko*.txt", "결과 둘")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "steps 1 to 6 on 32 pieces, batches of 4; steps 7 to 8 on 64 pieces, batches of 2" in done.stdout
    results = (tmp_path / "결과 둘" / "model" / "eval_results.txt").read_text()
    assert "global_step = 8" in results
    again = script(f"{GOLDEN}/documents_ko*.txt", "결과 둘")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing to do" in again.stdout
    assert again.stdout.count("finished before") == 2
    assert script("one").returncode == 2


# ── a second run, from the first one's weights ─────────────────────────────────────────────────────────


TABLE = "bert/embeddings/position_embeddings"


def test_a_second_run_has_more_positions(texts, config, tmp_path, capsys):
    """A model of 32 positions, then one of 64 that starts from it."""
    short = write_config(tmp_path / "short.json", vocab_size=SIZE, max_position_embeddings=32)
    flags = ("--max_seq_length=32", "--max_predictions_per_seq=5", "--num_train_steps=2")
    assert run(short, texts / "32.tfrecord", tmp_path / "one", *flags) == 0
    flags = ("--max_seq_length=64", "--max_predictions_per_seq=10", "--num_train_steps=1")
    start = f"--init_checkpoint={tmp_path}/one"
    # The first step of a warm-up has the rate 0: the weights stay those of the start.
    assert run(config, texts / "64.tfrecord", tmp_path / "two", *flags, start) == 0
    assert "positions: 32 before, 64 now; the new ones repeat them" in capsys.readouterr().out
    one, two = (read_weights(str(tmp_path / name)) for name in ("one", "two"))
    np.testing.assert_array_equal(two[TABLE], np.concatenate([one[TABLE], one[TABLE]]))
    others = [name for name in one if name != TABLE]
    assert len(others) > 30
    variants.assert_same_weights({name: one[name] for name in others}, {name: two[name] for name in others})
    fewer = ("--max_seq_length=32", "--max_predictions_per_seq=5", "--num_train_steps=1")
    start = f"--init_checkpoint={tmp_path}/two"
    assert run(short, texts / "32.tfrecord", tmp_path / "three", *fewer, start) == 0
    assert "the last ones are left out" in capsys.readouterr().out
    np.testing.assert_array_equal(read_weights(str(tmp_path / "three"))[TABLE], one[TABLE])


def test_a_robertas_positions_start_a_bert_and_the_other_way():
    config = variants.config_of("roberta", position_offset=2, next_sentence_head=True)
    weights = variants.random_weights(config)
    table = weights[TABLE]
    assert table.shape == (66, 48)
    plain = resize_positions(weights, 64, 2, 0)
    np.testing.assert_array_equal(plain, table[2:])
    back = resize_positions({TABLE: plain}, 70, 0, 2)
    np.testing.assert_array_equal(back[2:66], table[2:])
    np.testing.assert_array_equal(back[66:], table[2:8])
    assert not back[:2].any()
    longer = resize_positions(weights, 70, 2)
    np.testing.assert_array_equal(longer[:66], table)
    np.testing.assert_array_equal(longer[66:], table[2:8])


def test_a_run_starts_from_a_model_of_another_vocabulary(texts, config, random_model, tmp_path, capsys):
    """The records' vocabulary has some of the 8,000 pieces of the model's, and others."""
    flags = ("--max_seq_length=32", "--max_predictions_per_seq=5", "--num_train_steps=1")
    start = f"--init_checkpoint={random_model}"
    records = texts / "32.tfrecord"
    assert run(config, records, tmp_path / "no", *flags, start) == 1
    message = capsys.readouterr().err
    assert "[8000, 32]" in message
    assert "--vocab_file" in message
    vocabulary = GOLDEN / "vocab_ko.txt"
    assert run(config, records, tmp_path / "out", *flags, start, f"--vocab_file={vocabulary}") == 0
    out = capsys.readouterr().out
    assert f"vocabulary: {SIZE:,} pieces:" in out
    before, after = read_weights(str(random_model)), read_weights(str(tmp_path / "out"))
    old, table = load_tokenizer(str(random_model)).vocab, "bert/embeddings/word_embeddings"
    same = 0
    for number, piece in enumerate(vocabulary.read_text(encoding="utf-8").splitlines()):
        if piece in old:
            np.testing.assert_array_equal(after[table][number], before[table][old[piece]])
            same += 1
    assert same > 100
    layer = "bert/encoder/layer_1/output/dense/kernel"
    np.testing.assert_array_equal(after[layer], before[layer])
    wrong = (start, f"--vocab_file={GOLDEN}/vocab_en.txt")
    assert run(config, records, tmp_path / "no", *flags, *wrong) == 1
    assert f"vocab_size={SIZE}" in capsys.readouterr().err
    assert run(config, records, tmp_path / "no", *flags, f"--init_vocab_file={vocabulary}") == 2
