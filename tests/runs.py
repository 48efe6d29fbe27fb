"""Short runs of the training program for several test files: their flags, and the files that they leave."""

import json
import pathlib
import re
import shutil
import signal
import subprocess
import time

import numpy as np
import tensorflow as tf
from samples import GOLDEN, SHAPE

from morphbert.data.records import RecordWriter, read_records, serialize_example
from morphbert.train.log import SPEED

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


def evaluation_of(bert_config, **options):
    """The run of an evaluation whose records a test makes itself, with the flags' defaults."""
    from morphbert.api.pretraining import PretrainingConfig
    from morphbert.train.config import RunConfig

    paths = dict.fromkeys(("bert_config_file", "input_file", "output_dir"), "")
    nothing = dict.fromkeys(("records", "eval_records", "phases", "plugins"), ())
    config = PretrainingConfig(**paths, **options, do_eval=True)
    return RunConfig.of(config, bert_config=bert_config, electra=None, **nothing)


def objective_none(folder):
    """Records as RoBERTa's: full sentences, no pairs, masks drawn in training."""
    from morphbert.cli.create_pretraining_data import main as create

    flags = [f"--input_file={GOLDEN}/documents_ko.txt", f"--vocab_file={GOLDEN}/vocab_ko.txt"]
    flags += ["--do_lower_case=false", "--objective=none", "--masking=dynamic", *SHAPE]
    assert create([*flags, f"--output_file={folder}/none.tfrecord"]) == 0
    return f"{folder}/none.tfrecord"


# Of a checkpoint: weights, and the optimizer's moments and step.
LEARNED = ("model/", "optimizer/")


def tensors(path, *parts):
    """Everything in a checkpoint but the counter of saves, or only what is in `parts`, as arrays by name."""
    reader = tf.train.load_checkpoint(str(path))
    names = [
        n
        for n in reader.get_variable_to_shape_map()
        if (n.startswith(parts) if parts else "VARIABLE_VALUE" in n and "save_counter" not in n)
    ]
    return {name: np.asarray(reader.get_tensor(name)) for name in names}


def assert_same(one, other, tolerance=0.0, parts=()):
    """Compares two checkpoints, see `tensors`."""
    one, other = tensors(one, *parts), tensors(other, *parts)
    assert one.keys() == other.keys()
    assert len(one) > 100
    for name, value in one.items():
        if tolerance:
            np.testing.assert_allclose(value, other[name], rtol=0, atol=tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(value, other[name], err_msg=name)


def logged(folder):
    """The lines of a run's `metrics.jsonl`."""
    return [json.loads(line) for line in (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()]


def curve(folder):
    """The logged lines without the speed, which differs from run to run and says nothing of the model."""
    return [{k: v for k, v in line.items() if k not in SPEED} for line in logged(folder)]


def go_back_to(step, finished, output):
    """A copy of a finished run as a kill after `step` would have left it."""
    shutil.copytree(finished, output)
    for path in output.glob("model.ckpt-*"):
        if int(re.search(r"ckpt-(\d+)", path.name)[1]) > step:
            path.unlink()
    (output / "checkpoint").write_text(
        f'model_checkpoint_path: "model.ckpt-{step}"\nall_model_checkpoint_paths: "model.ckpt-{step}"\n'
    )


def all_ids(files):
    rows = []
    for file in files:
        with open(file, "rb") as stream:
            rows += list(read_records(stream))
    return rows


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


def killed_soon(command, random, latest=1.5):
    """Runs the command and kills it at a random moment within `latest` seconds after its first line of progress.

    Returns:
      False if the command ended before.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("step "):
            break
    time.sleep(random.uniform(0, latest))
    process.kill()
    killed = process.wait() == -signal.SIGKILL
    process.stdout.close()
    return killed
