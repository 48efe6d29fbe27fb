"""What a long run needs: less memory, float16, going back after a divergence, and living with damaged files."""

import functools
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from runs import all_ids, arguments, assert_same, curve, tensors, write_records
from samples import SHAPE, write_config

from morphbert.cli.run_pretraining import main
from morphbert.model.config import BertConfig
from morphbert.model.parameters import TrainableModel
from morphbert.train import loop
from morphbert.train.objective import pretraining_objective
from morphbert.train.optimizers.config import ScheduledConfig
from morphbert.train.optimizers.loss_scale import FIRST, LossScale
from morphbert.train.optimizers.optimizer import Optimizer
from morphbert.train.step import StepConfig, TrainingStep
from morphbert.train.train_state import TrainState

# ── memory ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.long
@pytest.mark.parametrize(
    "more", [[], ["--gradient_accumulation_steps=2"], ["--xla"], ["--recompute_policy=attention"]]
)
def test_recomputed_layers_give_the_same_weights(more, records, tiny_config, tmp_path):
    """With dropout: the masks of the second computation have to be those of the first."""
    for name, flags in (("kept", []), ("recomputed", ["--recompute"])):
        run = arguments(records, tiny_config, tmp_path / name, "--num_train_steps=6", *flags, *more)
        assert main(run) == 0
    assert_same(tmp_path / "kept" / "model.ckpt-6", tmp_path / "recomputed" / "model.ckpt-6", tolerance=1e-6)
    # float32 noise of a run is far under the change that one other mask makes.
    first, second = (tensors(tmp_path / name / "model.ckpt-6") for name in ("kept", "recomputed"))
    assert any((first[name] != 0).any() for name in first if "adam_m" in name)
    assert first.keys() == second.keys()


def test_a_checkpoint_records_a_policy_of_recomputation_that_is_used():
    """Those of runs without one stay as they were, and are continued without a warning."""
    assert "recompute_policy" not in StepConfig(recompute=True).settings()
    assert "recompute_policy" not in StepConfig(recompute_policy="attention").settings()
    assert (
        StepConfig(recompute=True, recompute_policy="attention").settings()["recompute_policy"] == "attention"
    )


# ── float16 ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.long
def test_float16_learns_as_float32_does_and_resumes_exactly(finished, records, tiny_config, tmp_path):
    half = "--dtype=float16"
    shutil.copytree(finished, tmp_path / "float32")
    assert main(arguments(records, tiny_config, tmp_path / "float16", half)) == 0
    losses = [
        [line["loss"] for line in curve(tmp_path / name) if line["kind"] == "train"]
        for name in ("float32", "float16")
    ]
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    assert losses[1] != losses[0]
    shutil.copytree(tmp_path / "float16", tmp_path / "resumed")
    for path in (tmp_path / "resumed").glob("model.ckpt-[12]?.*"):
        path.unlink()
    (tmp_path / "resumed" / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-8"\n')
    assert main(arguments(records, tiny_config, tmp_path / "resumed", half)) == 0
    assert_same(tmp_path / "float16" / "model.ckpt-20", tmp_path / "resumed" / "model.ckpt-20")
    scale = tensors(tmp_path / "float16" / "model.ckpt-20")["loss_scale/scale/.ATTRIBUTES/VARIABLE_VALUE"]
    assert 1.0 <= scale <= FIRST
    # The scale is no condition: a run goes on in another dtype from the same checkpoint.
    assert main(arguments(records, tiny_config, tmp_path / "resumed", "--num_train_steps=22")) == 0
    assert main(arguments(records, tiny_config, tmp_path / "float32", half, "--num_train_steps=22")) == 0


@pytest.fixture(scope="module")
def one_step(tmp_path_factory):
    """(dtype, scale) → a first step of a tiny model: weights before and after it, row, optimizer, scaling.

    A step is traced once for each dtype, and starts from the same weights and moments each time.
    """
    config = BertConfig.from_json_file(str(write_config(tmp_path_factory.mktemp("one") / "one.json")))
    batch = {
        "input_ids": np.arange(64, dtype=np.int32).reshape(2, 32) + 5,
        "input_mask": np.ones((2, 32), np.int32),
        "segment_ids": np.zeros((2, 32), np.int32),
        "masked_lm_positions": np.array([[1, 2], [3, 4]], np.int32),
        "masked_lm_ids": np.array([[7, 8], [9, 10]], np.int32),
        "masked_lm_weights": np.ones((2, 2), np.float32),
        "next_sentence_labels": np.array([[0], [1]], np.int32),
    }
    strategy = tf.distribute.OneDeviceStrategy("/CPU:0")

    @functools.cache
    def parts(dtype):
        with strategy.scope():
            objective = pretraining_objective(config)
            model = TrainableModel(config, objective.parameters, seed=1)
            optimizer = Optimizer(ScheduledConfig(num_warmup_steps=0, learning_rate=1e-3), model.declared)
            train_state = TrainState.of(model, optimizer, dtype)
        scaling = train_state.loss_scale
        step = TrainingStep(objective, train_state, strategy, StepConfig(dtype=dtype))
        modules = [model, optimizer] + ([] if scaling is None else [scaling])
        start = [(variable, variable.numpy()) for module in modules for variable in module.variables]
        assert len(start) > 100
        return objective, model, optimizer, scaling, step, start

    def run(dtype, scale):
        objective, model, optimizer, scaling, step, start = parts(dtype)
        for variable, value in start:
            variable.assign(value)
        if scaling is not None:
            scaling.scale.assign(scale)
        before = {name: value.numpy().copy() for name, value in model.parameters.items()}
        rows, _ = step.run(iter(tf.data.Dataset.from_tensors(batch).repeat()), tf.constant(1))
        row = dict(zip(objective.columns, rows.numpy()[0].tolist(), strict=True))
        after = {name: value.numpy() for name, value in model.parameters.items()}
        return before, after, row, optimizer, scaling

    return run


def test_an_overflow_changes_no_weight_and_halves_the_scale(one_step):
    before, after, row, optimizer, scaling = one_step("float16", 1e30)
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name], err_msg=name)
    assert all(not value.numpy().any() for value in optimizer.adam_m.values())
    assert np.isfinite(list(row.values())).all()
    assert float(scaling.scale) == pytest.approx(5e29)
    assert int(optimizer.step) == 1


def test_the_scale_does_not_change_the_gradients(one_step):
    _, small, *_ = one_step("float16", 256.0)
    _, large, row, *_ = one_step("float16", 2.0**15)
    _, exact, *_ = one_step("float32", 1.0)
    assert row["gradient_norm"] > 0
    for name, value in small.items():
        np.testing.assert_allclose(value, large[name], atol=2.1e-3, err_msg=name)
        np.testing.assert_allclose(value, exact[name], atol=2.1e-3, err_msg=name)
    changed = np.concatenate([np.abs(large[name] - exact[name]).ravel() for name in exact])
    assert (
        changed < 1e-4
    ).mean() > 0.95  # Adam's first step is ± the rate: a sign that flips is a gradient near 0


def test_the_scale_doubles_after_many_good_steps():
    scaling = LossScale()
    scaling.good_steps.assign(1999)
    scaling.update(tf.constant(True))
    assert (float(scaling.scale), int(scaling.good_steps)) == (2 * FIRST, 0)
    scaling.update(tf.constant(False))
    assert (float(scaling.scale), int(scaling.good_steps)) == (FIRST, 0)


# ── divergence ─────────────────────────────────────────────────────────────────────────────────────────


def write_batches(path, labels):
    """Records in batches of 4, one label for all masks of a batch."""
    changes = [{"masked_lm_ids": [label] + [0] * 9} for label in labels for _ in range(4)]
    return write_records(path, *changes)


def train_on(path, config, output, steps, *more):
    return main(
        [
            f"--bert_config_file={config}",
            f"--input_file={path}",
            f"--output_dir={output}",
            f"--num_train_steps={steps}",
            *("--train_batch_size=4", "--shuffle_buffer_size=1", "--num_warmup_steps=0", "--strategy=cpu"),
            *("--schedule=constant", "--learning_rate=1e-2", "--save_checkpoints_steps=10", "--log_steps=5"),
            *SHAPE,
            "--do_train",
            *more,
        ]
    )


@pytest.mark.long
def test_a_run_rolls_back_over_data_that_it_diverges_on(tiny_config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(loop, "BLOWN_UP", 1.05)
    labels = [9] * 25 + [50] + [9] * 30
    bad = write_batches(tmp_path / "bad.tfrecord", labels)
    assert train_on(bad, tiny_config, tmp_path / "stop", 40) == 1
    message = capsys.readouterr().err
    assert re.search(r"step 26: the loss is \d+\.\d, over .* times that of guessing", message), message
    assert "model.ckpt-20" in message
    assert f"Its batch: records 100-103 of {bad}." in message
    # It goes back to a checkpoint that may still have been waiting for its name.
    flags = ["--on_divergence=rollback", "--async_checkpoints"]
    assert train_on(bad, tiny_config, tmp_path / "back", 40, *flags) == 0
    assert re.search(r"step 26: .*, with records 100-103 of .*: back to", capsys.readouterr().out)
    # The same as never to have seen batches 21 to 26.
    good = write_batches(tmp_path / "good.tfrecord", labels[:20] + labels[26:])
    assert train_on(good, tiny_config, tmp_path / "good", 40) == 0
    one, other = (tensors(tmp_path / name / "model.ckpt-40") for name in ("back", "good"))
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)
    assert curve(tmp_path / "back") == curve(tmp_path / "good")


def test_a_loss_that_rises_far_above_its_mean_is_a_divergence(tiny_config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(loop, "BLOWN_UP", 100.0)  # the rise alone is to be seen
    records = write_batches(tmp_path / "turned.tfrecord", [9] * 40 + [50] * 20)
    assert train_on(records, tiny_config, tmp_path / "out", 60) == 1
    message = capsys.readouterr().err
    found = re.search(r"step 4\d: the loss was (\d+\.\d) and has risen to (\d+\.\d)", message)
    assert found, message
    assert float(found[2]) - float(found[1]) > 1.0
    assert "model.ckpt-40" in message
    assert "--on_divergence=rollback" in message


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (25, "Rolling back to step 20 has not helped 3 times."),
        (5, "Nothing was saved since; there is no checkpoint yet."),
    ],
)
def test_rolling_back_in_vain_ends(before, reason, tiny_config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(loop, "BLOWN_UP", 1.05)
    records = write_batches(tmp_path / "bad.tfrecord", [9] * before + [50] * 30)
    assert train_on(records, tiny_config, tmp_path / "out", 40, "--on_divergence=rollback") == 1
    found = capsys.readouterr()
    assert reason in found.err
    assert "--on_divergence=rollback" not in found.err
    assert found.out.count("back to") == (3 if before > 20 else 0)


# ── damaged files ──────────────────────────────────────────────────────────────────────────────────────


def test_damaged_records_are_left_out_when_asked(records, tiny_config, tmp_path, capsys):
    good = (records / "a.tfrecord").read_bytes()
    damaged = bytearray(good)
    damaged[len(good) // 2] ^= 0xFF
    (tmp_path / "damaged.tfrecord").write_bytes(damaged)
    shutil.copy(records / "a.tfrecord", tmp_path / "whole.tfrecord")
    total = len(all_ids([tmp_path / "whole.tfrecord"]))
    run = arguments(
        tmp_path,
        tiny_config,
        tmp_path / "out",
        "--skip_corrupt_records",
        "--do_eval",
        "--max_eval_steps=100000",
    )
    assert main(run) == 0
    out = capsys.readouterr().out
    number = int(re.search(r"warning: .*damaged.tfrecord: record (\d+) .* are left out", out)[1])
    assert 0 < number < total
    assert "whole.tfrecord" not in "".join(line for line in out.splitlines() if "warning" in line)
    results = (tmp_path / "out" / "eval_results.txt").read_text()
    assert f"num_examples = {total + number}\n" in results


def test_nothing_left_is_an_error(records, tiny_config, tmp_path, capsys):
    damaged = bytearray((records / "a.tfrecord").read_bytes())
    damaged[20] ^= 0xFF
    (tmp_path / "damaged.tfrecord").write_bytes(damaged)
    assert main(arguments(tmp_path, tiny_config, tmp_path / "out", "--skip_corrupt_records")) == 1
    assert "no undamaged record" in capsys.readouterr().err
