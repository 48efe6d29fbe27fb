"""Masks drawn in the graph: the same as those of the data floor, other ones in each pass, the same after a restart."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from runs import VOCAB_SIZE as SIZE
from runs import arguments as short_run
from runs import assert_same, go_back_to
from samples import make_records, write_config

from morphbert.cli.run_pretraining import main as train
from morphbert.data import masking
from morphbert.data.chance import fold, key_of
from morphbert.data.config import InstanceConfig
from morphbert.data.manifest import load_manifest
from morphbert.data.records import RecordLayout, RecordShape, features
from morphbert.errors import MorphbertError
from morphbert.train.input.dynamic_masks import MaskRules, record_keys, with_masks
from morphbert.train.input.record_sets import mask_rules
from morphbert.train.input.records import Reading, RecordFormat, evaluation_dataset, training_dataset

MASK_ID, RANGES = 4, ((5, 90), (95, 300))


def batch_of(rows=64, length=64, seed=0):
    """Rows `[CLS] … [SEP]` of many lengths, with units of one to four pieces; and the same as the data floor has it."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((rows, length), np.int64)
    starts = np.zeros((rows, length), np.bool_)
    for row in range(rows):
        real = int(rng.integers(3, length + 1))
        ids[row, :real] = rng.integers(5, 300, real)
        ids[row, [0, real - 1]] = 2, 3
        at = 1
        while at < real - 1:
            starts[row, at] = True
            at += int(rng.integers(1, 5))
    maskable = ids > 4
    maskable[(ids == 2) | (ids == 3)] = False
    starts &= maskable
    words = np.where(maskable, np.cumsum(starts, axis=1) - 1, -1)
    return ids, maskable, starts, words


@pytest.mark.parametrize("predictions", [1, 10, 70])
@pytest.mark.parametrize("unit", ["piece", "eojeol"])
@pytest.mark.parametrize(("span", "longest"), [(1, 0), (10, 0), (1, 2), (4, 3)])
def test_masks_are_those_of_the_data_floor(unit, span, longest, predictions):
    ids, maskable, starts, words = batch_of()
    predictions = min(predictions, ids.shape[1])
    if unit == "piece":
        starts, words = maskable, np.where(maskable, np.cumsum(maskable, axis=1) - 1, -1)
    config = InstanceConfig(
        max_seq_length=64,
        max_predictions_per_seq=predictions,
        masking_unit=unit,
        max_span_length=span,
        max_word_pieces=longest,
        masked_lm_prob=0.3,
    )
    keys = fold(key_of(7), np.arange(len(ids)))
    real = np.concatenate([np.arange(*both) for both in RANGES])
    expected = masking.mask(
        masking.Rows(ids, maskable, starts, keys), config, masking.Substitutes(MASK_ID, real)
    )
    replaced = {"mask_token_prob": 0.8, "random_token_prob": 0.1, "mask_id": MASK_ID, "random_ids": RANGES}
    spans = {"max_span_length": span, "span_prob": 0.2, "max_word_pieces": longest}
    rules = MaskRules(predictions, unit, prob=0.3, seed=7, **replaced, **spans)
    batch = {"input_ids": tf.constant(ids), "word_ids": tf.constant(words), "segment_ids": tf.zeros([64, 64])}
    made = tf.function(with_masks)(batch, tf.constant(keys), rules)
    assert made.keys() == {"segment_ids", *(features(RecordShape(64, 10), RecordLayout(False)))}
    np.testing.assert_array_equal(made["input_ids"], expected.ids)
    np.testing.assert_array_equal(made["masked_lm_positions"], expected.positions)
    np.testing.assert_array_equal(made["masked_lm_ids"], expected.labels)
    np.testing.assert_array_equal(tf.reduce_sum(made["masked_lm_weights"], 1), expected.counts)
    np.testing.assert_array_equal(made["input_mask"], ids != 0)
    assert expected.counts.sum() > (60 if predictions > 1 else 10)


def test_keys_are_those_of_the_data_floor():
    numbers = np.array([[0, 0, 0], [1, 0, 5], [3, 2, 2**40]])
    expected = fold(fold(fold(key_of(12345), numbers[:, 0]), numbers[:, 1]), numbers[:, 2])
    made = record_keys(12345, *(tf.constant(column, tf.int64) for column in numbers.T))
    np.testing.assert_array_equal(made, expected)


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory):
    """Three files of records without masks, of real Korean sentences, and held-out ones."""
    folder = tmp_path_factory.mktemp("dynamic")
    held_out = [f"--eval_output_file={folder}/eval.tfrecord", "--eval_fraction=0.2"]
    masks = ["--masking=dynamic", "--do_whole_word_mask", "--dupe_factor=1"]
    return make_records(folder, "train.tfrecord", "--num_shards=3", *held_out, *masks)


def form_of(folder, seed=1):
    files = sorted(map(str, folder.glob("train.tfrecord-*-of-00003")))
    rules = mask_rules(files, 10, seed)
    return files, RecordFormat(RecordShape(64, 10), SIZE, 2, RecordLayout(dynamic=True), rules)


def restored(row):
    ids = row["input_ids"].copy()
    count = int(row["masked_lm_weights"].sum())
    ids[row["masked_lm_positions"][:count]] = row["masked_lm_ids"][:count]
    return tuple(ids.tolist())


def rows_of(dataset, count):
    batches = itertools.islice(dataset.as_numpy_iterator(), count)
    return [
        dict(zip(batch, row, strict=True)) for batch in batches for row in zip(*batch.values(), strict=True)
    ]


def test_each_pass_masks_other_pieces_of_the_same_text(dynamic):
    files, form = form_of(dynamic)
    size = sum(load_manifest(files[0]).outputs.values())
    first, second, again = (
        rows_of(training_dataset(files, form, Reading(1, 1, 100)).skip(skip), size) for skip in (0, size, 0)
    )
    masks = [{restored(row): tuple(row["masked_lm_positions"]) for row in rows} for rows in (first, second)]
    assert masks[0].keys() == masks[1].keys()
    assert len(masks[0]) == size
    different = [text for text in masks[0] if masks[0][text] != masks[1][text]]
    assert len(different) > 0.9 * size
    for one, other in zip(first, again, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    wanted = [max(1, round(0.15 * sum(number > 0 for number in restored(row)))) for row in first]
    assert np.mean([row["masked_lm_weights"].sum() for row in first]) == pytest.approx(
        np.mean(wanted), rel=0.1
    )


def test_an_evaluation_masks_the_same_each_time_and_fills_up_its_last_batch(dynamic):
    files, form = form_of(dynamic)
    size = sum(load_manifest(files[0]).outputs.values())
    one, other = (rows_of(evaluation_dataset(files, form, 16), size) for _ in range(2))
    assert len(one) % 16 == 0
    assert sum(row["example_weights"] for row in one) == size
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a["input_ids"], b["input_ids"])


def arguments(folder, output, *more):
    config = write_config(output.parent / "bert_config.json", vocab_size=SIZE)
    files = (f"--input_file={folder}/train.tfrecord-*", f"--eval_input_file={folder}/eval.tfrecord")
    steps = ("--train_batch_size=8", "--num_warmup_steps=2", "--save_checkpoints_steps=4", "--log_steps=4")
    return short_run(folder, config, output, "--do_eval", *files, *steps, *more)


@pytest.mark.long
def test_a_resumed_run_draws_the_masks_that_it_would_have_drawn(dynamic, tmp_path):
    flags = ("--num_train_steps=12", "--schedule=constant")
    assert train(arguments(dynamic, tmp_path / "whole", *flags)) == 0
    go_back_to(4, tmp_path / "whole", tmp_path / "cut")
    assert train(arguments(dynamic, tmp_path / "cut", *flags)) == 0
    assert_same(tmp_path / "whole" / "model.ckpt-12", tmp_path / "cut" / "model.ckpt-12")


def test_records_without_masks_need_their_manifest(dynamic, tmp_path):
    file = tmp_path / "train.tfrecord"
    file.write_bytes((dynamic / "eval.tfrecord").read_bytes())
    with pytest.raises(MorphbertError, match=r"manifest beside it.*missing"):
        mask_rules([str(file)], 10, 1)
    with pytest.raises(MorphbertError, match="does not say mask_id, random_ids"):
        MaskRules.from_manifest(
            {
                "unit": "piece",
                "prob": 0.15,
                "static": True,
                "mask_token_prob": 0.8,
                "random_token_prob": 0.1,
                "max_span_length": 1,
                "span_prob": 0.2,
                "max_word_pieces": 0,
            },
            10,
            1,
            "x",
        )


def test_static_and_dynamic_records_do_not_mix(dynamic, records, tmp_path, capsys):
    both = f"--input_file={dynamic}/train.tfrecord-00000-of-00003,{records}/a.tfrecord"
    assert train(arguments(dynamic, tmp_path / "out", "--num_train_steps=2", both)) == 1
    assert "a.tfrecord" in capsys.readouterr().err
