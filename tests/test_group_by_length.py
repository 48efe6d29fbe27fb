"""Training on records of several lengths: the right shares, nothing lost, the same numbers, exact after a stop."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import LEARNED, assert_same, logged
from samples import GOLDEN, write_config

from morphbert.cli.create_pretraining_data import main as create
from morphbert.cli.run_pretraining import main as train
from morphbert.train.input.record_sets import turns

SIZE = len((GOLDEN / "vocab_ko.txt").read_text(encoding="utf-8").splitlines())
BINS = (32, 48, 64)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """The same examples once at one length (`plain`) and once in three; real Korean, two sentences a document."""
    folder = tmp_path_factory.mktemp("texts")
    lines = (GOLDEN / "documents_ko.txt").read_text(encoding="utf-8").splitlines()
    sentences = [line for line in lines if line.strip()]
    text = "\n\n".join("\n".join(sentences[n : n + 2]) for n in range(0, len(sentences), 2))
    (folder / "text.txt").write_text(text, encoding="utf-8")
    flags = [
        f"--input_file={folder}/text.txt",
        f"--vocab_file={GOLDEN}/vocab_ko.txt",
        *("--do_lower_case=false", "--max_seq_length=64", "--max_predictions_per_seq=10", "--dupe_factor=3"),
    ]
    for masking in ("static", "dynamic"):
        some = [*flags, f"--masking={masking}"]
        assert create([*some, f"--output_file={folder}/{masking}/plain"]) == 0
        bins = ",".join(map(str, BINS))
        assert create([*some, f"--output_file={folder}/{masking}/r", f"--length_bins={bins}"]) == 0
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp("config") / "c.json", vocab_size=SIZE)


def run(config, records, output, *more):
    return train(
        [
            f"--bert_config_file={config}",
            f"--input_file={records}",
            f"--output_dir={output}",
            *(
                "--max_seq_length=64",
                "--max_predictions_per_seq=10",
                "--train_batch_size=4",
                "--strategy=cpu",
            ),
            *("--num_warmup_steps=2", "--learning_rate=1e-3", "--log_steps=1", "--max_eval_steps=1000"),
            *more,
        ]
    )


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=6), st.integers(1, 500))
def test_each_set_gets_its_turns(shares, count):
    order = turns(shares)
    taken = np.bincount([next(order) for _ in range(count)], minlength=len(shares))
    # The bound of the rule that takes whoever is owed most: less than a turn for each other set.
    assert (abs(taken - count * np.array(shares) / sum(shares)) < max(1, len(shares) - 1) + 1e-9).all()


FLAGS = ("--do_train", "--group_by_length", "--save_checkpoints_steps=7", "--num_train_steps=14")


@pytest.fixture(scope="module")
def whole(texts, config, tmp_path_factory):
    """(masking) → 14 steps on bins, which are evaluated before the first; each is run once."""
    base = tmp_path_factory.mktemp("whole")

    @functools.cache
    def trained(masking):
        records = texts / masking / "r-len*"
        evaluated = ("--eval_at_start", f"--eval_input_file={records}")
        assert run(config, records, base / masking, *FLAGS, *evaluated) == 0
        return base / masking

    return trained


def test_an_evaluation_of_bins_is_that_of_the_whole(texts, config, tmp_path, whole):
    records = texts / "static" / "plain"
    flags = ("--do_train", "--num_train_steps=1", "--eval_at_start", f"--eval_input_file={records}")
    assert run(config, records, tmp_path, *flags) == 0
    plain, bins = (
        next(line for line in logged(folder) if line["kind"] == "eval")
        for folder in (tmp_path, whole("static"))
    )
    assert plain["num_examples"] == bins["num_examples"] > 80
    for name in ("masked_lm_loss", "next_sentence_loss", "masked_lm_accuracy"):
        assert bins[name] == pytest.approx(plain[name], rel=1e-5), name


@pytest.mark.long
@pytest.mark.parametrize("masking", ["static", "dynamic"])
def test_a_stopped_run_goes_on_as_if_it_had_not(masking, texts, config, tmp_path, whole):
    for path in whole(masking).glob("model.ckpt-7*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"\n')
    assert run(config, texts / masking / "r-len*", tmp_path, *FLAGS) == 0
    assert_same(whole(masking) / "model.ckpt-14", tmp_path / "model.ckpt-14", parts=LEARNED)
    losses = [line["loss"] for line in logged(whole(masking)) if line["kind"] == "train"]
    assert len(losses) == 14
    assert losses[7:] == [line["loss"] for line in logged(tmp_path)]


def test_what_is_wrong_is_said(texts, config, tmp_path, capsys):
    records = texts / "static" / "r-len*"
    assert run(config, records, tmp_path / "a", "--do_train") == 1
    assert "--group_by_length" in capsys.readouterr().err
    short = texts / "static" / "r-len32"
    assert run(config, short, tmp_path / "b", "--do_train", "--group_by_length") == 1
    assert "give --max_seq_length=32" in capsys.readouterr().err
    (tmp_path / "r-len32").write_bytes(short.read_bytes())
    assert run(config, tmp_path / "r-len32", tmp_path / "c", "--do_train", "--group_by_length") == 1
    assert "manifest" in capsys.readouterr().err
