"""Whole runs of the training program on real Korean records, on one device."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from runs import VOCAB_SIZE, all_ids, arguments, assert_same, curve, go_back_to, killed_soon, tensors
from samples import GOLDEN, ROOT, SHAPE, save_tensorflow_1

from morphbert.cli.run_pretraining import main
from morphbert.data.records import RecordShape
from morphbert.errors import MorphbertError
from morphbert.train.checkpoint import read_state
from morphbert.train.cluster import processor
from morphbert.train.evaluation import Evaluator
from morphbert.train.footprint import Footprint, check_disk, warn_of_memory
from morphbert.train.input.records import Reading, RecordFormat, evaluation_dataset, training_dataset


def test_the_loss_falls_and_is_reported(finished):
    lines = curve(finished)
    assert [(line["kind"], line["step"]) for line in lines] == [
        ("eval", 0),
        *(("train", step) for step in (5, 10, 15, 20)),
        ("eval", 20),
    ]
    before, after = lines[0], lines[-1]
    assert before["masked_lm_loss"] == pytest.approx(math.log(VOCAB_SIZE), abs=0.1)  # knows nothing yet
    assert after["masked_lm_loss"] < before["masked_lm_loss"] - 0.5
    assert 0.0 < after["next_sentence_accuracy"] <= 1.0
    results = dict(re.findall(r"^(\w+) = (\S+)$", (finished / "eval_results.txt").read_text(), re.M))
    assert results.keys() >= {
        *(
            "masked_lm_accuracy",
            "masked_lm_loss",
            "next_sentence_accuracy",
            "next_sentence_loss",
            "global_step",
        )
    }
    assert float(results["masked_lm_loss"]) == after["masked_lm_loss"]
    assert results["global_step"] == "20"


def test_checkpoints_are_flat_and_found_by_tensorflow(finished):
    assert tf.train.latest_checkpoint(str(finished)) == str(finished / "model.ckpt-20")
    assert int(tensors(finished / "model.ckpt-8")["optimizer/step/.ATTRIBUTES/VARIABLE_VALUE"]) == 8
    assert list(finished.glob("train/events*"))
    assert list(finished.glob("eval/events*"))


@pytest.mark.parametrize("step", [8, 16])  # neither is a step of the log: sums cross the interruption
def test_resumed_equals_uninterrupted_bit_for_bit(finished, records, tiny_config, tmp_path, step, capsys):
    go_back_to(step, finished, tmp_path / "resumed")
    assert (
        main(arguments(records, tiny_config, tmp_path / "resumed", "--do_eval", "--max_eval_steps=1000")) == 0
    )
    said = capsys.readouterr().out
    assert f"continuing from {tmp_path}/resumed/model.ckpt-{step}" in said
    assert "warning" not in said  # the command is as before
    assert_same(finished / "model.ckpt-20", tmp_path / "resumed" / "model.ckpt-20")
    assert curve(tmp_path / "resumed") == curve(finished)


def test_a_finished_run_is_not_done_again(finished, records, tiny_config, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "again")
    assert main(arguments(records, tiny_config, tmp_path / "again")) == 0
    assert "already at step 20 of 20" in capsys.readouterr().out


def names_of_checkpoints(folder):
    return sorted(
        path.name for path in folder.glob("*") if path.name.startswith(("model.ckpt-", "checkpoint"))
    )


def test_with_evaluations_on_the_way_and_checkpoints_named_beside_training_the_weights_are_the_same(
    finished, records, tiny_config, tmp_path
):
    """The best is kept; a run that continues from such a checkpoint is the same too."""
    flags = ["--eval_every=6", "--max_eval_steps=3", "--do_eval", "--async_checkpoints"]
    assert main(arguments(records, tiny_config, tmp_path / "whole", *flags)) == 0
    assert names_of_checkpoints(tmp_path / "whole") == names_of_checkpoints(finished)
    assert_same(finished / "model.ckpt-20", tmp_path / "whole" / "model.ckpt-20")
    lines = {line["step"]: line for line in curve(tmp_path / "whole") if line["kind"] == "eval"}
    assert list(lines) == [6, 12, 18, 20]
    assert lines[20]["masked_lm_perplexity"] == pytest.approx(math.exp(lines[20]["masked_lm_loss"]))
    best = min(lines, key=lambda step: lines[step]["loss"])
    assert tf.train.latest_checkpoint(str(tmp_path / "whole" / "best")).endswith(f"model.ckpt-{best}")

    go_back_to(10, tmp_path / "whole", tmp_path / "resumed")  # that of step 8 is the newest
    assert main(arguments(records, tiny_config, tmp_path / "resumed", *flags)) == 0
    assert curve(tmp_path / "resumed") == curve(tmp_path / "whole")
    assert_same(finished / "model.ckpt-20", tmp_path / "resumed" / "model.ckpt-20")


EVALUATED = ("--eval_every=6", "--max_eval_steps=3", "--num_train_steps=9")
EVALUATED += ("--save_checkpoints_steps=2", "--keep_checkpoint_max=2")


@pytest.fixture(scope="module")
def evaluated(records, tiny_config, tmp_path_factory):
    """A run of 9 steps, evaluated at 6 and 9; it keeps two checkpoints."""
    output = tmp_path_factory.mktemp("evaluated")
    assert main(arguments(records, tiny_config, output, *EVALUATED)) == 0
    return output


@pytest.mark.long
@pytest.mark.parametrize("at", [1, 4])  # the first of three batches of step 6, and of the last step
def test_a_signal_in_an_evaluation_leaves_it_and_the_same_command_makes_up_for_it(
    at, evaluated, records, tiny_config, tmp_path, monkeypatch
):
    batches, batch_of = [], Evaluator._batch

    def signalled(self, batch):
        batches.append(batch)
        if len(batches) == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch_of(self, batch)

    monkeypatch.setattr(Evaluator, "_batch", signalled)
    stopped = tmp_path / "stopped"
    run = arguments(records, tiny_config, stopped, *EVALUATED)
    assert main(run) == 128 + signal.SIGTERM
    assert len(batches) == at  # the rest was left
    assert main(run) == 0
    assert curve(stopped) == curve(evaluated)
    assert_same(evaluated / "model.ckpt-9", stopped / "model.ckpt-9")
    best = [tf.train.latest_checkpoint(str(folder / "best")) for folder in (evaluated, stopped)]
    assert best[0].rpartition("/")[2] == best[1].rpartition("/")[2]


def test_the_last_checkpoint_knows_the_last_evaluation(evaluated):
    """Else a run that is lengthened would take a worse model for the best so far."""
    losses = {line["step"]: line["loss"] for line in curve(evaluated) if line["kind"] == "eval"}
    assert list(losses) == [6, 9]
    state = read_state(str(evaluated / "model.ckpt-9")).state
    best = min(losses, key=losses.get)
    assert state["best"] == {"step": best, "loss": losses[best]}
    assert tf.train.latest_checkpoint(str(evaluated / "best")).endswith(f"model.ckpt-{best}")
    assert state["evaluated"] == 9


def test_a_refused_run_leaves_the_vocabulary_of_another_alone(finished, records, tiny_config, tmp_path):
    shutil.copytree(finished, tmp_path / "out")
    (tmp_path / "out" / "vocab.txt").write_text("다른\n", encoding="utf-8")
    config = json.loads(tiny_config.read_text())
    (tmp_path / "wider.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    run = arguments(
        records, tmp_path / "wider.json", tmp_path / "out", f"--vocab_file={GOLDEN / 'vocab_ko.txt'}"
    )
    assert main(run) == 1
    assert (tmp_path / "out" / "vocab.txt").read_text(encoding="utf-8") == "다른\n"


def test_a_dry_run_takes_three_steps_and_keeps_nothing(records, tiny_config, tmp_path, capsys):
    assert main(arguments(records, tiny_config, tmp_path / "out", "--dry_run", "--do_eval")) == 0
    said = capsys.readouterr().out
    losses = [float(loss) for loss in re.search(r"dry run: losses (\S+), (\S+), (\S+);", said).groups()]
    assert losses[0] == pytest.approx(math.log(VOCAB_SIZE) + math.log(2), abs=0.2)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_a_disk_without_room_for_the_checkpoints_is_found_before_the_first_step(tmp_path):
    with pytest.raises(MorphbertError, match=r"GB free, but 6 checkpoints take .* GB: free some space"):
        check_disk(str(tmp_path), checkpoint=10**15, keep=5)
    with pytest.raises(MorphbertError, match="but 7 checkpoints take"):
        check_disk(str(tmp_path), checkpoint=10**15, keep=5, best=True)
    check_disk(str(tmp_path), checkpoint=1000, keep=5)


def test_a_model_that_hardly_fits_is_said_before_the_first_step(capsys):
    warn_of_memory(Footprint(10, 10**15, 10**14, 10), replicas=2)
    assert "1100000.0 GB for each of 2 replicas are estimated" in capsys.readouterr().out
    warn_of_memory(Footprint(10, 1000, 1000, 10), replicas=1)
    assert capsys.readouterr().out == ""


def test_the_newest_checkpoints_are_kept(evaluated):
    assert {path.name for path in evaluated.glob("*.index")} == {"model.ckpt-8.index", "model.ckpt-9.index"}


@pytest.mark.long
@pytest.mark.distributed
def test_what_changes_the_trajectory_is_in_the_checkpoint_and_a_resume_says_it(
    finished, records, tiny_config, tmp_path, replicas
):
    output = tmp_path / "other"
    go_back_to(16, finished, output)
    changed = {
        "seed": (12345, 1),
        "train_batch_size": (16, 8),
        "dtype": ("float32", "bfloat16"),
        "xla": (False, True),
        "num_replicas": (1, 2),
        "gradient_accumulation_steps": (1, 2),
        "learning_rate": (0.001, 0.0005),
        "num_train_steps": (20, 17),
    }
    now = {name: value for name, (_, value) in changed.items()}
    flags = [f"--{name}={str(value).lower()}" for name, value in now.items()]
    done = replicas("run_pretraining", *arguments(records, tiny_config, output, *flags))
    assert done.returncode == 0, done.stderr
    said = re.findall(
        r"^warning: (\w+) was (\S+), is (\S+): the run continues, but does not reach", done.stdout, re.M
    )
    assert sorted(said) == sorted((name, str(was), str(value)) for name, (was, value) in changed.items())
    assert (
        "the data is another (changed: train_batch_size, seed), so it is read from its beginning"
        in done.stdout
    )
    found = read_state(str(output / "model.ckpt-17")).state
    kept = {**found["data"], **found["settings"]}
    assert {name: kept[name] for name in now} == now


@pytest.mark.long
@pytest.mark.distributed
def test_the_cpu_is_split_into_replicas(records, tiny_config, tmp_path, replicas):
    run = arguments(records, tiny_config, tmp_path / "out", "--dry_run")
    done = replicas("run_pretraining", *run, strategy="cpu")
    assert done.returncode == 0, done.stderr
    assert "mirrored over 2 replica(s) (CPU:0, CPU:1)" in done.stdout
    assert "dry run: losses" in done.stdout


def test_an_empty_file_that_should_have_records_is_named(records, tiny_config, tmp_path, capsys):
    shutil.copytree(records, tmp_path / "records")
    (tmp_path / "records" / "b.tfrecord").write_bytes(b"")
    assert main(arguments(tmp_path / "records", tiny_config, tmp_path / "out")) == 1
    assert re.search(r"b\.tfrecord has 0 bytes, but its manifest says [\d,]+\.", capsys.readouterr().err)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_first_and_the_same_command_continues(number, records, tiny_config, tmp_path):
    output = tmp_path / "run"
    flags = arguments(
        records, tiny_config, output, "--num_train_steps=100000", "--save_checkpoints_steps=100000"
    )
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run_pretraining.py"), *map(str, flags)],
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("step "):
            break
    process.send_signal(number)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert "the checkpoint is saved first" in rest
    newest = tf.train.latest_checkpoint(str(output))
    stopped_at = int(newest.rsplit("-", 1)[1])
    assert stopped_at >= 5

    steps = stopped_at + 3
    assert main(arguments(records, tiny_config, output, f"--num_train_steps={steps}")) == 0
    assert int(tensors(output / f"model.ckpt-{steps}")["optimizer/step/.ATTRIBUTES/VARIABLE_VALUE"]) == steps


@pytest.mark.slow
def test_killed_at_any_moment_equals_never_killed(records, tiny_config, tmp_path):
    flags = ["--num_train_steps=400", "--save_checkpoints_steps=3", "--log_steps=7"]
    assert main(arguments(records, tiny_config, tmp_path / "whole", *flags)) == 0
    command = [sys.executable, str(ROOT / "run_pretraining.py")]
    command += map(str, arguments(records, tiny_config, tmp_path / "killed", *flags))
    random = np.random.default_rng(1)
    assert (
        sum(killed_soon(command, random) for _ in range(5)) >= 3
    )  # up to some twenty saves after the first line
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert_same(tmp_path / "whole" / "model.ckpt-400", tmp_path / "killed" / "model.ckpt-400")
    assert curve(tmp_path / "whole") == curve(tmp_path / "killed")


@pytest.fixture(scope="module")
def losses_of(records, still_config, tmp_path_factory):
    """(flags…) → the losses of ten steps, and of an evaluation after them."""

    def run(*flags):
        output = tmp_path_factory.mktemp("ways")
        ten = ("--num_train_steps=10", "--do_eval")
        assert main(arguments(records, still_config, output, *ten, *flags)) == 0
        return [line["loss"] for line in curve(output)]

    return run


@pytest.fixture(scope="module")
def plain_losses(losses_of):
    return losses_of()


@pytest.mark.parametrize("flag", ["--xla", "--dtype=bfloat16"])
def test_other_ways_to_compute_reach_about_the_same_loss(flag, plain_losses, losses_of):
    losses = losses_of(flag)
    assert plain_losses == pytest.approx(losses, rel=1e-5 if flag == "--xla" else 0.01)
    if flag == "--dtype=bfloat16":  # it rounds; XLA may compute the same
        assert plain_losses != losses


def test_bfloat16_is_warned_of_where_the_processor_has_no_instructions_for_it(
    records, tiny_config, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(processor, "computes_bfloat16", lambda description: False)
    for dtype, warned in (("bfloat16", True), ("float32", False)):
        flags = arguments(records, tiny_config, tmp_path / "out", f"--dtype={dtype}", "--dry_run")
        assert main(flags) == 0
        assert ("--dtype=float32 is faster here" in capsys.readouterr().out) is warned


# ── input ──────────────────────────────────────────────────────────────────────────────────────────────


FORM = RecordFormat(RecordShape(64, 10), VOCAB_SIZE, 2)


def test_every_pass_holds_every_record_once(records):
    files = sorted(map(str, records.glob("*.tfrecord")))
    total = len(all_ids(files))
    dataset = training_dataset(files, FORM, Reading(1, seed=1, shuffle_buffer_size=50))
    seen = [batch["input_ids"].numpy().tobytes() for batch in dataset.take(2 * total)]
    once = [batch["input_ids"].numpy().tobytes() for batch in evaluation_dataset(files, FORM, 1)]
    assert sorted(seen[:total]) == sorted(seen[total:]) == sorted(once)
    assert seen[:total] != seen[total:]
    assert seen[:total] != once


def test_evaluation_counts_every_record_once_whatever_the_batch(finished, records, tiny_config, tmp_path):
    results = []
    for batch in (1, 7, 64):
        output = tmp_path / str(batch)
        shutil.copytree(finished, output)
        flags = arguments(records, tiny_config, output, "--do_eval", "--max_eval_steps=100000")
        flags = [flag for flag in flags if flag != "--do_train"]
        assert main([*flags, f"--eval_batch_size={batch}"]) == 0
        text = (output / "eval_results.txt").read_text()
        results.append({name: float(value) for name, value in re.findall(r"(\w+) = (\S+)", text)})
    total = len(all_ids(sorted(map(str, records.glob("*.tfrecord")))))
    assert results[0]["num_examples"] == total
    for other in results[1:]:
        assert other == pytest.approx(results[0], rel=1e-5)


@pytest.mark.parametrize("objective", ["sop", "none"])
def test_other_objectives_are_trained_on(objective, tiny_config, tmp_path, capsys):
    from morphbert.cli.create_pretraining_data import main as create_pretraining_data

    made = create_pretraining_data(
        [
            f"--input_file={GOLDEN}/documents_ko.txt,{GOLDEN}/documents_ko_2.txt",
            f"--vocab_file={GOLDEN}/vocab_ko.txt",
            f"--output_file={tmp_path}/train.tfrecord",
            "--do_lower_case=false",
            "--num_workers=1",
            f"--objective={objective}",
            *SHAPE,
        ]
    )
    assert made == 0
    flags = arguments(
        tmp_path, tiny_config, tmp_path / "out", "--num_train_steps=4", "--log_steps=2", "--do_eval"
    )
    assert main(flags) == 0
    results = (tmp_path / "out" / "eval_results.txt").read_text()
    assert "masked_lm_loss" in results
    assert ("next_sentence_loss" in results) == (objective == "sop")
    assert ("next sentence" in capsys.readouterr().out) == (objective == "sop")


# ── starting from other weights ────────────────────────────────────────────────────────────────────────


def test_init_checkpoint_takes_ours_and_tensorflow_1s(finished, records, tiny_config, tmp_path):
    expected = curve(finished)[-1]["loss"]
    weights = tensors(finished / "model.ckpt-20")
    named = {
        name[len("model/") : -len("/.ATTRIBUTES/VARIABLE_VALUE")].replace(".S", "/"): value
        for name, value in weights.items()
        if name.startswith("model/")
    }
    named["bert/pooler/dense/bias/adam_m"] = np.ones(32, np.float32)  # slots and counters are passed over
    named["global_step"] = np.int64(20)
    (tmp_path / "tf1").mkdir()
    prefix = str(tmp_path / "tf1" / "bert_model.ckpt")
    save_tensorflow_1(prefix, named)
    flags = "--max_eval_steps=1000"
    for name, checkpoint in (("ours", finished), ("prefix", finished / "model.ckpt-20"), ("tf1", prefix)):
        run = arguments(
            records, tiny_config, tmp_path / name, "--do_eval", flags, f"--init_checkpoint={checkpoint}"
        )
        assert main([flag for flag in run if flag != "--do_train"]) == 0
        loss = float(re.search(r"^loss = (\S+)", (tmp_path / name / "eval_results.txt").read_text(), re.M)[1])
        assert loss == expected
