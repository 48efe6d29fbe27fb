"""A share of masks that falls over the run, and evaluations that know nothing of it."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
from runs import VOCAB_SIZE as SIZE
from runs import arguments as short_run
from runs import assert_same, go_back_to
from samples import GOLDEN, make_records, write_config

from morphbert.cli.create_pretraining_data import main as create
from morphbert.cli.run_pretraining import main as train
from morphbert.data.manifest import load_manifest
from morphbert.data.records import RecordLayout, RecordShape
from morphbert.errors import UsageError
from morphbert.model.config import BertConfig
from morphbert.train.input.dynamic_masks import MaskRules, share_of_batch
from morphbert.train.input.record_sets import RecordSet, SetFinder
from morphbert.train.input.records import Reading, RecordFormat, evaluation_dataset, training_dataset
from morphbert.train.mask_schedule import (
    BatchShares,
    MaskSchedule,
    parse_mask_schedule,
    with_schedule,
)

FALLING = MaskSchedule(0.3, 0.1)


def make(folder, *more):
    held_out = [f"--eval_output_file={folder}/eval.tfrecord", "--eval_fraction=0.2"]
    return make_records(folder, "train.tfrecord", *held_out, "--dupe_factor=1", *more)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Records without masks to train on, and held-out ones with masks of their own."""
    folder = tmp_path_factory.mktemp("texts")
    return make(folder, "--masking=dynamic", "--masked_lm_prob=0.4", "--eval_masked_lm_prob=0.15")


def finder(files, seed=1, schedule=None):
    model = BertConfig(vocab_size=SIZE, hidden_size=16, num_attention_heads=2, intermediate_size=32)
    return SetFinder.of(model, RecordShape(64, 10), None, files, seed, schedule=schedule)


def shares_of(batches):
    return [
        float(batch["masked_lm_weights"].numpy().sum() / batch["input_mask"].numpy().sum())
        for batch in batches
    ]


def test_held_out_records_have_masks_of_their_own(texts, tmp_path):
    """The same bytes, whatever the records to train on are like."""
    make(tmp_path, "--masked_lm_prob=0.15", "--random_seed=12345")
    assert (tmp_path / "eval.tfrecord").read_bytes() == (texts / "eval.tfrecord").read_bytes()
    manifest = load_manifest(str(texts / "eval.tfrecord"))
    assert (manifest.masking["prob"], manifest.masking["static"]) == (0.15, True)
    assert load_manifest(str(texts / "train.tfrecord")).masking["prob"] == 0.4


def test_a_share_for_held_out_records_needs_held_out_records(tmp_path, capsys):
    flags = [f"--input_file={GOLDEN}/documents_ko.txt", f"--vocab_file={GOLDEN}/vocab_ko.txt"]
    flags += [f"--output_file={tmp_path}/x", "--eval_masked_lm_prob=0.15", "--do_lower_case=false"]
    assert create(flags) == 2
    assert "--eval_fraction" in capsys.readouterr().err


def test_an_evaluation_does_not_see_the_schedule(texts, tmp_path):
    make(tmp_path, "--masking=dynamic")
    for folder in (texts, tmp_path):  # masks in the records, and drawn by their manifest
        files, held = [str(folder / "train.tfrecord")], [str(folder / "eval.tfrecord")]
        rows = []
        for seed, schedule in ((1, None), (2, FALLING)):
            (chosen,) = finder(files, seed, schedule).for_evaluation(held).sets(held)
            rows.append(list(evaluation_dataset(chosen.files, chosen.form, 2)))
        assert len(rows[0]) == len(rows[1]) > 1
        for one, other in zip(*rows, strict=True):
            assert one.keys() == other.keys()
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])
        assert np.mean(shares_of(rows[0])) == pytest.approx(0.15, abs=0.03)


def test_the_share_falls_with_the_batches_and_is_the_same_after_a_restart(texts):
    files = [str(texts / "train.tfrecord")]
    (chosen,) = with_schedule(finder(files, 1, FALLING).sets(files), FALLING, 10, 0, False)
    assert chosen.form.predictions == 20  # of 64 pieces, 30%; the records have 10 places
    batches = list(training_dataset(files, chosen.form, Reading(16, 1, 50)).take(12))
    expected = [0.3 - 0.2 * min(step / 10, 1) for step in range(12)]
    assert shares_of(batches) == pytest.approx(expected, abs=0.012)
    again = training_dataset(files, chosen.form.after(4), Reading(16, 1, 50, start=(0, 64)))
    for one, other in zip(batches[4:], itertools.islice(again, 8), strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    ("began", "in_phases", "steps"),
    [(0, False, [0, 1 + 1 / 3, 8 / 3]), (6, True, [6, 7, 8]), (20, True, [20, 21, 22])],
)
def test_batches_are_counted_in_steps_of_the_run(began, in_phases, steps):
    """Of two sets with shares 3 and 1: in turns the first takes 3 of 4 steps; in phases the second comes after 3."""
    masking = {"unit": "piece", "prob": 0.15, "mask_id": 4, "random_ids": [[5, 90]], "static": False}
    shares_of_masks = {"mask_token_prob": 0.8, "random_token_prob": 0.1}
    spans = {"max_span_length": 1, "span_prob": 0.2, "max_word_pieces": 0}
    rules = MaskRules.from_manifest({**masking, **shares_of_masks, **spans}, 10, 7, "records")
    form = RecordFormat(RecordShape(64, 10), SIZE, 2, RecordLayout(dynamic=True), rules)
    sets = [RecordSet(("a",), form, 3), RecordSet(("b",), form, 1)]
    shares = with_schedule(sets, MaskSchedule(1.0, 0.5), 100, began, in_phases)[0].form.masks.shares
    found = [float(share_of_batch(shares, tf.constant(n, tf.int64))) for n in range(3)]
    assert found == pytest.approx([1.0 - 0.005 * step for step in steps])
    second = with_schedule(sets, MaskSchedule(1.0, 0.5), 100, began, in_phases)[1].form.masks.shares
    assert second.first_step == (max(3, began) if in_phases else began)


def test_a_restart_counts_on():
    shares = BatchShares(FALLING, 7, 2, 1.7)
    for done in range(9):
        later = float(share_of_batch(BatchShares(FALLING, 7, 2, 1.7, done), tf.constant(0, tf.int64)))
        assert later == float(share_of_batch(shares, tf.constant(done, tf.int64)))


@pytest.mark.parametrize("text", ["0.3", "0.3:", "0.3:0.15:0.1", "a:b", "0:0.1", "0.3:1.1", "nan:0.1", ""])
def test_what_is_no_schedule_is_said(text):
    with pytest.raises(UsageError, match="masked_lm_schedule"):
        parse_mask_schedule(text)


def test_places_hold_the_highest_share():
    assert [MaskSchedule(*shares).places(128) for shares in ((0.3, 0.15), (0.15, 0.4), (1.0, 1.0))] == [
        39,
        52,
        128,
    ]
    for length, percent in itertools.product((64, 100, 128, 512), range(1, 101)):
        assert MaskSchedule(percent / 100, 0.01).places(length) == math.ceil(length * percent / 100 - 1e-9)


def arguments(folder, output, *more):
    config = write_config(output.parent / "bert_config.json", vocab_size=SIZE)
    file = f"--input_file={folder}/train.tfrecord"
    steps = ("--num_train_steps=6", "--num_warmup_steps=2", "--save_checkpoints_steps=3", "--log_steps=3")
    return short_run(folder, config, output, file, "--train_batch_size=8", *steps, *more)


def test_static_records_have_no_schedule(records, tmp_path, capsys):
    flags = ("--masked_lm_schedule=0.3:0.1", f"--input_file={records}/a.tfrecord")
    assert train(arguments(records, tmp_path / "out", *flags)) == 1
    assert "--masking=dynamic" in capsys.readouterr().err


@pytest.mark.long
def test_a_resumed_run_goes_on_with_the_share(texts, tmp_path, capsys):
    flags = ("--masked_lm_schedule=0.3:0.1", "--do_eval", f"--eval_input_file={texts}/eval.tfrecord")
    assert train(arguments(texts, tmp_path / "whole", *flags)) == 0
    assert "masks: 30.0% of the pieces at the first step, 10.0% at the last" in capsys.readouterr().out
    go_back_to(3, tmp_path / "whole", tmp_path / "cut")
    assert train(arguments(texts, tmp_path / "cut", *flags)) == 0
    assert "warning" not in capsys.readouterr().out
    assert_same(tmp_path / "whole" / "model.ckpt-6", tmp_path / "cut" / "model.ckpt-6")
