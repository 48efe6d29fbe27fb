"""Whole runs of the training program on real Korean records, on one device."""

import json
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from samples import GOLDEN, ROOT, SHAPE, write_config

from morphbert.cli.run_pretraining import main
from morphbert.data.records import RecordShape, RecordWriter, read_records, serialize_example
from morphbert.errors import MorphbertError
from morphbert.train.footprint import check_disk
from morphbert.train.log import SPEED
from morphbert.train.records_input import RecordFormat, evaluation_dataset, training_dataset

VOCAB_SIZE = len((GOLDEN / "vocab_ko.txt").read_text(encoding="utf-8").splitlines())


def arguments(records, config, output, *more):
    """A short run; a flag in `more` takes the place of one given here."""
    flags = {
        "bert_config_file": config,
        "input_file": f"{records}/*.tfrecord",
        "output_dir": output,
        "train_batch_size": 16,
        "num_train_steps": 20,
        "num_warmup_steps": 3,
        "learning_rate": 1e-3,
        "log_steps": 5,
        "save_checkpoints_steps": 8,
        "strategy": "cpu",
    }
    given = dict(flag.lstrip("-").split("=", 1) for flag in more if "=" in flag)
    flags |= given
    switches = [flag for flag in more if "=" not in flag]
    return [*(f"--{name}={value}" for name, value in flags.items()), *SHAPE, "--do_train", *switches]


def tensors(path):
    """Everything in a checkpoint but the counter of saves, as arrays by name."""
    reader = tf.train.load_checkpoint(str(path))
    names = [
        n for n in reader.get_variable_to_shape_map() if "VARIABLE_VALUE" in n and "save_counter" not in n
    ]
    return {name: np.asarray(reader.get_tensor(name)) for name in names}


def assert_same(one, other, tolerance=0.0):
    one, other = tensors(one), tensors(other)
    assert one.keys() == other.keys()
    assert len(one) > 100
    for name, value in one.items():
        if tolerance:
            np.testing.assert_allclose(value, other[name], rtol=0, atol=tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(value, other[name], err_msg=name)


def curve(folder):
    """The logged lines without the speed, which differs from run to run and says nothing of the model."""
    lines = [json.loads(line) for line in (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in SPEED} for line in lines]


@pytest.fixture(scope="module")
def finished(records, tiny_config, tmp_path_factory):
    """A finished run of 20 steps with dropout, evaluated at both ends; checkpoints at 8, 16 and 20."""
    output = tmp_path_factory.mktemp("finished")
    assert (
        main(arguments(records, tiny_config, output, "--do_eval", "--eval_at_start", "--max_eval_steps=1000"))
        == 0
    )
    return output


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


def go_back_to(step, finished, output):
    """A copy of a finished run as a kill after `step` would have left it."""
    shutil.copytree(finished, output)
    for path in output.glob("model.ckpt-*"):
        if int(re.search(r"ckpt-(\d+)", path.name)[1]) > step:
            path.unlink()
    (output / "checkpoint").write_text(
        f'model_checkpoint_path: "model.ckpt-{step}"\nall_model_checkpoint_paths: "model.ckpt-{step}"\n'
    )


@pytest.mark.parametrize("step", [8, 16])  # neither is a step of the log: sums cross the interruption
def test_resumed_equals_uninterrupted_bit_for_bit(finished, records, tiny_config, tmp_path, step, capsys):
    go_back_to(step, finished, tmp_path / "resumed")
    assert (
        main(arguments(records, tiny_config, tmp_path / "resumed", "--do_eval", "--max_eval_steps=1000")) == 0
    )
    assert f"continuing from {tmp_path}/resumed/model.ckpt-{step}" in capsys.readouterr().out
    assert_same(finished / "model.ckpt-20", tmp_path / "resumed" / "model.ckpt-20")
    assert curve(tmp_path / "resumed") == curve(finished)


def test_a_finished_run_is_not_done_again(finished, records, tiny_config, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "again")
    assert main(arguments(records, tiny_config, tmp_path / "again")) == 0
    assert "already at step 20 of 20" in capsys.readouterr().out


def test_evaluation_on_the_way_keeps_the_best_and_survives_an_interruption(records, tiny_config, tmp_path):
    flags = ["--eval_every=6", "--max_eval_steps=3", "--do_eval"]
    assert main(arguments(records, tiny_config, tmp_path / "whole", *flags)) == 0
    lines = {line["step"]: line for line in curve(tmp_path / "whole") if line["kind"] == "eval"}
    assert list(lines) == [6, 12, 18, 20]
    assert lines[20]["masked_lm_perplexity"] == pytest.approx(math.exp(lines[20]["masked_lm_loss"]))
    best = min(lines, key=lambda step: lines[step]["loss"])
    assert tf.train.latest_checkpoint(str(tmp_path / "whole" / "best")).endswith(f"model.ckpt-{best}")

    go_back_to(16, tmp_path / "whole", tmp_path / "resumed")
    assert main(arguments(records, tiny_config, tmp_path / "resumed", *flags)) == 0
    assert curve(tmp_path / "resumed") == curve(tmp_path / "whole")
    assert_same(tmp_path / "whole" / "model.ckpt-20", tmp_path / "resumed" / "model.ckpt-20")


def test_a_dry_run_takes_three_steps_and_keeps_nothing(records, tiny_config, tmp_path, capsys):
    assert main(arguments(records, tiny_config, tmp_path / "out", "--dry_run", "--do_eval")) == 0
    said = capsys.readouterr().out
    losses = [float(loss) for loss in re.search(r"dry run: losses (\S+), (\S+), (\S+);", said).groups()]
    assert losses[0] == pytest.approx(math.log(VOCAB_SIZE) + math.log(2), abs=0.2)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_a_disk_without_room_for_the_checkpoints_is_found_before_the_first_step(tmp_path):
    with pytest.raises(MorphbertError, match=r"GB free, and 6 checkpoints take .* GB: free some space"):
        check_disk(str(tmp_path), checkpoint=10**15, keep=5)
    check_disk(str(tmp_path), checkpoint=1000, keep=5)


def test_another_setting_on_resume_is_said(finished, records, tiny_config, tmp_path, capsys):
    go_back_to(16, finished, tmp_path / "other")
    assert main(arguments(records, tiny_config, tmp_path / "other", "--learning_rate=5e-4")) == 0
    assert "learning_rate was 0.001, is 0.0005" in capsys.readouterr().out


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
    for folder in ("run", "never_stopped"):
        status = main(arguments(records, tiny_config, tmp_path / folder, f"--num_train_steps={steps}"))
        assert status == 0
    # The learning rate falls to 0 at the last step, which was another for the run that was stopped.
    assert int(tensors(output / f"model.ckpt-{steps}")["optimizer/step/.ATTRIBUTES/VARIABLE_VALUE"]) == steps


@pytest.mark.slow
def test_killed_at_any_moment_equals_never_killed(records, tiny_config, tmp_path):
    flags = ["--num_train_steps=400", "--save_checkpoints_steps=3", "--log_steps=7"]
    assert main(arguments(records, tiny_config, tmp_path / "whole", *flags)) == 0
    command = [sys.executable, str(ROOT / "run_pretraining.py")]
    command += map(str, arguments(records, tiny_config, tmp_path / "killed", *flags))
    random, kills = np.random.default_rng(1), 0
    for _ in range(5):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for (
            line
        ) in process.stdout:  # as early as its first line of progress, and up to some twenty saves later
            if line.startswith("step "):
                break
        time.sleep(random.uniform(0, 1.5))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        process.stdout.close()
    assert kills >= 3
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert_same(tmp_path / "whole" / "model.ckpt-400", tmp_path / "killed" / "model.ckpt-400")
    assert curve(tmp_path / "whole") == curve(tmp_path / "killed")


@pytest.fixture(scope="module")
def still_config(tmp_path_factory):
    """The tiny model without dropout, for runs whose masks could not be the same."""
    return write_config(
        tmp_path_factory.mktemp("still") / "bert_config.json",
        vocab_size=VOCAB_SIZE,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


@pytest.mark.distributed
def test_two_replicas_and_accumulation_reach_the_weights_of_one_batch(
    records, still_config, tmp_path, command
):
    """Masks are uneven from sequence to sequence: a mean per replica or part would give other weights."""
    runs = {"one": [], "parts": ["--gradient_accumulation_steps=4"]}
    runs["two"] = ["--strategy=mirrored", "--num_replicas=2"]
    for name, flags in runs.items():
        more = ["--num_train_steps=5", "--learning_rate=1e-4", *flags]
        result = command("run_pretraining.py", *arguments(records, still_config, tmp_path / name, *more))
        assert result.returncode == 0, result.stderr
    for name in ("two", "parts"):
        assert_same(tmp_path / "one" / "model.ckpt-5", tmp_path / name / "model.ckpt-5", tolerance=1e-6)


@pytest.mark.distributed
def test_two_replicas_resume_bit_for_bit(records, tiny_config, tmp_path, command):
    flags = ["--strategy=mirrored", "--num_replicas=2"]
    run = arguments(records, tiny_config, tmp_path / "whole", *flags, "--do_eval")
    assert command("run_pretraining.py", *run).returncode == 0
    go_back_to(8, tmp_path / "whole", tmp_path / "resumed")
    run = arguments(records, tiny_config, tmp_path / "resumed", *flags, "--do_eval")
    assert command("run_pretraining.py", *run).returncode == 0
    assert_same(tmp_path / "whole" / "model.ckpt-20", tmp_path / "resumed" / "model.ckpt-20")
    assert curve(tmp_path / "whole") == curve(tmp_path / "resumed")


@pytest.mark.parametrize("flag", ["--xla", "--dtype=bfloat16"])
def test_other_ways_to_compute_reach_about_the_same_loss(flag, records, still_config, tmp_path):
    losses = []
    for name, flags in (("plain", []), ("other", [flag])):
        run = arguments(records, still_config, tmp_path / name, "--num_train_steps=10", "--do_eval", *flags)
        assert main(run) == 0
        losses.append([line["loss"] for line in curve(tmp_path / name)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5 if flag == "--xla" else 0.01)
    assert losses[0] != losses[1] or flag == "--xla"


# ── input ──────────────────────────────────────────────────────────────────────────────────────────────


FORM = RecordFormat(RecordShape(64, 10), VOCAB_SIZE, 2)


def all_ids(files):
    rows = []
    for file in files:
        with open(file, "rb") as stream:
            rows += list(read_records(stream))
    return rows


def test_every_pass_holds_every_record_once(records):
    files = sorted(map(str, records.glob("*.tfrecord")))
    total = len(all_ids(files))
    dataset = training_dataset(files, FORM, 1, seed=1, shuffle_buffer_size=50)
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


def held_out_loss(records, config, checkpoint, output):
    flags = arguments(records, config, output, "--do_eval", f"--init_checkpoint={checkpoint}")
    assert main([flag for flag in flags if flag != "--do_train"]) == 0
    return float(re.search(r"^loss = (\S+)", (output / "eval_results.txt").read_text(), re.M)[1])


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
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(named),
        shape_and_slices=[""] * len(named),
        tensors=list(named.values()),
    )
    flags = "--max_eval_steps=1000"
    for name, checkpoint in (("ours", finished), ("prefix", finished / "model.ckpt-20"), ("tf1", prefix)):
        run = arguments(
            records, tiny_config, tmp_path / name, "--do_eval", flags, f"--init_checkpoint={checkpoint}"
        )
        assert main([flag for flag in run if flag != "--do_train"]) == 0
        loss = float(re.search(r"^loss = (\S+)", (tmp_path / name / "eval_results.txt").read_text(), re.M)[1])
        assert loss == expected


# ── bad input ──────────────────────────────────────────────────────────────────────────────────────────


def write_records(path, *changes):
    """A record file of proper records, each with some features replaced."""
    plain = {
        "input_ids": [2] + [7] * 62 + [3],
        "input_mask": [1] * 64,
        "segment_ids": [0] * 64,
        "masked_lm_positions": [5] + [0] * 9,
        "masked_lm_ids": [9] + [0] * 9,
        "masked_lm_weights": [1.0] + [0.0] * 9,
        "next_sentence_labels": [0],
    }
    with open(path, "wb") as stream:
        writer = RecordWriter(stream)
        for change in changes or ({},):
            record = {**plain, **change}
            writer.write(
                serialize_example({name: values for name, values in record.items() if values is not None})
            )
    return path


BAD = [
    (
        "no file",
        lambda d: ["--input_file=nowhere/*.tfrecord"],
        ["nowhere/*.tfrecord", "create_pretraining_data.py"],
        1,
    ),
    ("config missing", lambda d: ["--bert_config_file=nowhere.json"], ["nowhere.json", "cannot be read"], 1),
    ("nothing to do", lambda d: ["--nodo_train"], ["--do_train", "--do_eval"], 2),
    ("master", lambda d: ["--master=grpc://1.2.3.4"], ["--master", "TensorFlow 2"], 2),
    ("masks > length", lambda d: ["--max_predictions_per_seq=70"], ["70", "64"], 2),
    ("length", lambda d: ["--max_seq_length=32"], ["max_seq_length=64", "--max_seq_length=32"], 1),
    ("rate", lambda d: ["--learning_rate=-1"], ["learning_rate", "-1"], 2),
    ("batch", lambda d: ["--train_batch_size=0"], ["train_batch_size", "0"], 2),
    ("accumulation", lambda d: ["--gradient_accumulation_steps=3"], ["--train_batch_size=16", "3"], 2),
    ("misspelt", lambda d: ["--lerning_rate=1"], ["lerning_rate", "learning_rate"], 2),
    ("init", lambda d: ["--init_checkpoint=nowhere/model.ckpt"], ["nowhere/model.ckpt", "no checkpoint"], 1),
    ("empty", lambda d: [f"--input_file={(d / 'e').touch() or d / 'e'}"], ["no record"], 1),
    ("text file", lambda d: [f"--input_file={GOLDEN}/documents_ko.txt"], ["documents_ko.txt", "record 0"], 1),
    (
        "id beyond the vocabulary, late",
        lambda d: [f"--input_file={write_records(d / 'x', *[{}] * 30, {'input_ids': [VOCAB_SIZE] * 64})}"],
        ["record 30", str(VOCAB_SIZE), "vocab_size"],
        1,
    ),
    (
        "negative id",
        lambda d: [f"--input_file={write_records(d / 'x', {'input_ids': [-1] * 64})}"],
        ["record 0", "-1", "input_ids"],
        1,
    ),
    (
        "no label",
        lambda d: [f"--input_file={write_records(d / 'x', {}, {'next_sentence_labels': None})}"],
        ["record 1", "next_sentence_labels"],
        1,
    ),
]


@pytest.mark.parametrize(
    ("flags", "words", "status"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_bad_input_is_refused_with_the_remedy(flags, words, status, records, tiny_config, tmp_path, capsys):
    chosen = flags(tmp_path)
    run = [
        flag
        for flag in arguments(records, tiny_config, tmp_path / "out")
        if flag.split("=")[0] not in {given.split("=")[0] for given in chosen}
    ]
    assert main([*run, *chosen]) == status
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert "Traceback" not in message


def test_a_damaged_file_is_named_with_the_record(records, tiny_config, tmp_path, capsys):
    good = (records / "a.tfrecord").read_bytes()
    damaged, cut = bytearray(good), good[:-100]
    damaged[len(good) // 2] ^= 0xFF
    for name, data in (("damaged.tfrecord", damaged), ("cut.tfrecord", cut)):
        (tmp_path / name).write_bytes(data)
        flags = arguments(records, tiny_config, tmp_path / "out", f"--input_file={tmp_path / name}")
        assert main(flags) == 1
        message = capsys.readouterr().err
        assert re.search(rf"{name}: record [1-9]\d* \(at byte \d+\)", message), message


def test_a_damaged_held_out_file_is_named_too(finished, records, tiny_config, tmp_path, capsys):
    good = bytearray((records / "a.tfrecord").read_bytes())
    good[len(good) // 2] ^= 0xFF
    (tmp_path / "damaged.tfrecord").write_bytes(good)
    run = arguments(records, tiny_config, tmp_path / "out", "--do_eval", f"--init_checkpoint={finished}")
    run += [f"--eval_input_file={tmp_path}/damaged.tfrecord", "--max_eval_steps=1000"]
    assert main([flag for flag in run if flag != "--do_train"]) == 1
    assert re.search(r"damaged.tfrecord: record [1-9]\d* \(at byte \d+\)", capsys.readouterr().err)


def test_another_models_checkpoint_is_refused_with_the_names_that_differ(finished, records, tmp_path, capsys):
    wider = write_config(tmp_path / "wider.json", vocab_size=VOCAB_SIZE, intermediate_size=96)
    shutil.copytree(finished, tmp_path / "run")
    assert main(arguments(records, wider, tmp_path / "run")) == 1
    message = capsys.readouterr().err
    assert "bert/encoder/layer_0/intermediate/dense/kernel is [32, 64], the model's is [32, 96]" in message


def test_another_vocabulary_size_is_found_in_the_manifest(records, tmp_path, capsys):
    config = write_config(tmp_path / "c.json", vocab_size=VOCAB_SIZE + 1)
    assert main(arguments(records, config, tmp_path / "out")) == 1
    message = capsys.readouterr().err
    assert str(VOCAB_SIZE) in message
    assert str(VOCAB_SIZE + 1) in message


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_nothing(records, tiny_config, tmp_path, capsys):
    flags = ["--learning_rate=1e30", "--num_warmup_steps=0", "--save_checkpoints_steps=1"]
    assert main(arguments(records, tiny_config, tmp_path / "out", *flags)) == 1
    message = capsys.readouterr().err
    step = int(re.search(r"step (\d+): .*masked_lm_loss.* is not a finite number", message)[1])
    newest = tf.train.latest_checkpoint(str(tmp_path / "out"))
    assert newest.endswith(f"-{step - 1}")
    assert all(
        np.isfinite(value).all() for name, value in tensors(newest).items() if name.startswith("model/bert")
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere: a read-only folder cannot be made")
def test_an_output_folder_that_cannot_be_written_is_refused(records, tiny_config, tmp_path, capsys):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert main(arguments(records, tiny_config, tmp_path / "locked" / "out")) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_an_output_folder_that_is_a_file_is_refused(records, tiny_config, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(arguments(records, tiny_config, tmp_path / "file" / "out")) == 1
    assert "--output_dir" in capsys.readouterr().err


def test_a_disk_that_fills_up_stops_the_run_at_the_last_whole_checkpoint(
    records, tiny_config, tmp_path, command
):
    import resource

    def limit():  # on the size of any one file: the operating system then refuses the write, as a full disk does
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    result = command(
        "run_pretraining.py", *arguments(records, tiny_config, tmp_path / "out"), preexec_fn=limit
    )
    assert result.returncode == 1, result.stderr
    assert "cannot be written" in result.stderr
    assert "Free some space" in result.stderr
    assert "Traceback" not in result.stderr
    assert tf.train.latest_checkpoint(str(tmp_path / "out")) is None
    assert main(arguments(records, tiny_config, tmp_path / "out")) == 0  # with space again


def test_an_output_folder_in_use_is_refused(records, tiny_config, tmp_path, capsys):
    import fcntl

    (tmp_path / "out").mkdir()
    with open(tmp_path / "out" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(arguments(records, tiny_config, tmp_path / "out")) == 1
    assert "in use by another run" in capsys.readouterr().err
