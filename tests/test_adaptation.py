"""`--adapt_on`: what the folder `adapted` is for, and what the two commands receive."""

import dataclasses
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from samples import MECAB_VOCABULARY, write_random_model

import morphbert
from morphbert.api import adaptation
from morphbert.cli import create_pretraining_data, run_pretraining
from morphbert.errors import MorphbertError, UsageError
from morphbert.finetune import experiment
from morphbert.finetune.tasks import kind_of
from morphbert.train.cluster.config import DeviceConfig
from morphbert.train.step_config import StepConfig

REVIEWS = [
    "정말 재미있는 영화였다. 다시 보고 싶다.",
    "너무 지루한 드라마였다.",
    "배우들의 연기가 훌륭했다.",
    "줄거리가 뻔하고 결말이 아쉬웠다.",
] * 4


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models that differ in their weights alone."""
    folder = tmp_path_factory.mktemp("models")
    return [write_random_model(folder / f"model{seed}", MECAB_VOCABULARY, seed) for seed in (3, 4)]


@pytest.fixture
def calls(monkeypatch):
    """Lists the configurations of the commands; records are made, and the training is interrupted at once."""
    received = []

    def call(module, config, lock):
        received.append(config)
        if module == "create_pretraining_data":
            morphbert.create_pretraining_data(config)
            return
        raise adaptation.Stopped(15)

    monkeypatch.setattr(adaptation, "_call", call)
    return received


def settings(models, folder, **changes):
    table = folder / "train.tsv"
    rows = [f"{text}\t{number % 2}" for number, text in enumerate(REVIEWS)]
    table.write_text("document\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (folder / "news.txt").write_text(
        "오늘 서울에 비가 왔다.\n내일은 맑겠다.\n\n부산은 흐리다.\n", encoding="utf-8"
    )
    values = {
        "train_file": table,
        "init_checkpoint": models[0],
        "output_dir": folder / "out",
        "adapt_on": "train",
        "adapt_dupe_factor": 1,
        "max_seq_length": 32,
        "do_train": True,
    }
    return morphbert.ClassificationConfig(**{**values, **changes})


def adapt(config):
    task = kind_of(config)
    with pytest.raises(adaptation.Stopped):
        adaptation.adapt(config, lambda path: task.texts(config, path))


@pytest.fixture(scope="module")
def finished(models, tmp_path_factory):
    """The folder of an adaptation of two steps."""
    folder = tmp_path_factory.mktemp("finished")
    commands = {
        "create_pretraining_data": morphbert.create_pretraining_data,
        "run_pretraining": morphbert.run_pretraining,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adaptation, "_call", lambda module, config, lock: commands[module](config))
        again(models, folder)
    return folder


def again(models, folder, **changes):
    """Adapts in two steps, without a command that ends early."""
    config = settings(models, folder, **{"adapt_steps": 2, "adapt_batch_size": 4, **changes})
    return adaptation.adapt(config, lambda path: kind_of(config).texts(config, path))


def made(folder):
    """The bytes of the model to start from and of the records."""
    names = ("start/model.ckpt-0.data-00000-of-00001", "records/adapt.tfrecord")
    return [(folder / "adapted" / name).read_bytes() for name in names]


@pytest.mark.parametrize("change", ["init_checkpoint", "adapt_on", "seed", "adapt_dupe_factor"])
def test_after_an_interruption_another_value_counts_as_in_a_new_folder(
    models, tmp_path, calls, change, capsys
):
    others = {
        "init_checkpoint": models[1],
        "adapt_on": str(tmp_path / "news.txt"),
        "seed": StepConfig(seed=7),
        "adapt_dupe_factor": 2,
    }
    changed = {"step" if change == "seed" else change: others[change]}
    adapt(settings(models, tmp_path))
    first = made(tmp_path / "out")
    adapt(settings(models, tmp_path, **changed))
    adapt(settings(models, tmp_path, **changed, output_dir=tmp_path / "new"))
    assert made(tmp_path / "out") == made(tmp_path / "new") != first
    assert "was made with other values" in capsys.readouterr().out


def test_the_same_call_makes_nothing_again(models, tmp_path, calls):
    adapt(settings(models, tmp_path))
    adapt(
        settings(models, tmp_path, adapt_steps=7, adapt_learning_rate=1e-3)
    )  # of the training, which continues
    assert [type(config) for config in calls] == [
        morphbert.PretrainingDataConfig,
        morphbert.PretrainingConfig,
        morphbert.PretrainingConfig,
    ]


def test_a_model_that_was_adapted_otherwise_is_refused(models, tmp_path, calls):
    adapt(settings(models, tmp_path))
    adapted = tmp_path / "out" / "adapted"
    shutil.copytree(models[0], adapted / "model")  # as if the training had saved
    adapt(settings(models, tmp_path))
    before = made(tmp_path / "out")
    with pytest.raises(MorphbertError, match="another value of: --init_checkpoint"):
        adapt(settings(models, tmp_path, init_checkpoint=models[1]))
    with pytest.raises(MorphbertError, match="another value of: --max_seq_length, --seed or"):
        adapt(settings(models, tmp_path, step=StepConfig(seed=7)))
    assert made(tmp_path / "out") == before
    assert "random_seed" not in json.loads((adapted / "job.json").read_text())["records"]  # the default


def test_a_finished_adaptation_calls_no_command(models, finished, calls, capsys):
    shutil.rmtree(finished / "out" / "adapted" / "records")  # which are no longer needed
    step = StepConfig(gradient_accumulation_steps=3)  # of the fine-tuning alone
    found = again(models, finished, step=step)
    assert found.init_checkpoint == str(finished / "out" / "adapted" / "model")
    assert "already at step 2 of 2" in capsys.readouterr().out
    assert calls == []


@pytest.mark.parametrize(
    ("flag", "before", "now"),
    [
        ("adapt_learning_rate", 5e-05, 0.001),
        ("adapt_batch_size", 4, 8),
        ("adapt_steps", 2, 1),
    ],
)
def test_a_finished_adaptation_with_other_values_is_refused(models, finished, calls, flag, before, now):
    with pytest.raises(MorphbertError) as refused:
        again(models, finished, **{flag: now})
    said = str(refused.value)
    assert f"was adapted with --{flag}={before} up to step 2, but the flags say --{flag}={now}: give" in said
    assert f"remove {finished}/out/adapted" in said
    assert calls == []


def test_more_steps_go_on_with_a_finished_adaptation(models, finished, calls):
    adapt(settings(models, finished, adapt_steps=3, adapt_batch_size=4, adapt_learning_rate=1e-3))
    assert isinstance(calls[-1], morphbert.PretrainingConfig)  # which says that the rate is another


def test_a_batch_that_cannot_be_divided_names_the_flag_of_the_adaptation(models, tmp_path, calls):
    step = StepConfig(gradient_accumulation_steps=3)
    devices = DeviceConfig(strategy="mirrored", num_replicas=2)
    with pytest.raises(UsageError, match=r"--adapt_batch_size=32 is not divisible by 2 .* × 3 .* of 6"):
        adapt(settings(models, tmp_path, step=step, devices=devices))
    assert calls == []


def test_a_command_that_fails_says_how_its_flags_are_called_here(monkeypatch):
    monkeypatch.setattr(adaptation, "_arguments", lambda config: ["--train_batch_size=0"])
    with (
        open(os.devnull) as lock,
        pytest.raises(MorphbertError, match="--train_batch_size is --adapt_batch_size"),
    ):
        adaptation._call("run_pretraining", None, lock.fileno())


def test_devices_and_step_are_those_of_the_fine_tuning(models, tmp_path, calls):
    step = StepConfig(gradient_accumulation_steps=4, recompute=True, xla=True, seed=7, dtype="bfloat16")
    devices = DeviceConfig(strategy="mirrored", num_replicas=2, connect_timeout=7.0)
    adapt(settings(models, tmp_path, step=step, devices=devices, adapt_learning_rate=3e-4))
    data, training = calls
    assert (training.step, training.devices) == (step, devices)
    assert (training.optimizer.learning_rate, data.instances.random_seed) == (3e-4, 7)
    for command, config in (
        (create_pretraining_data._command(), data),
        (run_pretraining._command(), training),
    ):
        command.parse(adaptation._arguments(config))
        assert command.config() == config


@pytest.mark.parametrize("name", ["news.txt", "news.txt.gz", "table.txt", "table.txt.gz"])
def test_text_and_tables_are_told_apart_whatever_packs_them(models, tmp_path, calls, name):
    config = settings(models, tmp_path, adapt_on=str(tmp_path / name))
    table = name.startswith("table")
    source = tmp_path / ("train.tsv" if table else "news.txt")
    content = source.read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    adapt(config)
    corpus = (tmp_path / "out/adapted/records/corpus.txt").read_text(encoding="utf-8")
    reviews = "\n\n".join(review.replace(". ", ".\n") for review in REVIEWS) + "\n"
    assert corpus == (reviews if table else content.decode())


def test_the_adapted_model_is_where_fine_tuning_starts(models, tmp_path, monkeypatch):
    monkeypatch.setattr(adaptation, "_call", lambda module, config, lock: None)
    config = settings(models, tmp_path)
    found = adaptation.adapt(config, lambda path: kind_of(config).texts(config, path))
    adapted = tmp_path / "out" / "adapted"
    start = {"init_checkpoint": str(adapted / "model"), "vocab_file": str(adapted / "start")}
    assert found == dataclasses.replace(config, **start)


def test_the_function_that_fine_tunes_alone_refuses_to_leave_an_adaptation_out(models, tmp_path):
    with pytest.raises(UsageError, match=r"--adapt_on=train is work of morphbert\.fine_tune"):
        experiment.fine_tune(settings(models, tmp_path))


def test_a_command_whose_parent_is_killed_keeps_the_folder(tmp_path):
    child = "import time; print('ready', flush=True); time.sleep(300)"
    parent = (
        "import subprocess, sys, time\n"
        "from morphbert.api import adaptation\n"
        "popen = subprocess.Popen\n"
        f"subprocess.Popen = lambda command, **rest: popen([sys.executable, '-c', {child!r}], **rest)\n"
        "adaptation._arguments = lambda config: []\n"
        f"with adaptation._alone({str(tmp_path)!r}) as lock:\n"
        "    adaptation._call('run_pretraining', None, lock)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        children = f"/proc/{process.pid}/task/{process.pid}/children"
        with open(children) as stream:
            orphan = int(stream.read().split()[0])
        process.send_signal(signal.SIGKILL)
        process.wait()
        with pytest.raises(MorphbertError, match="another process still writes"), adaptation._alone(tmp_path):
            pass
        os.kill(orphan, signal.SIGKILL)
        assert process.stdout.read() == ""  # the orphan has ended
    with adaptation._alone(tmp_path):
        pass


def test_a_folder_of_a_version_without_a_job_says_so(models, tmp_path, calls):
    adapt(settings(models, tmp_path))
    adapted = tmp_path / "out" / "adapted"
    shutil.copytree(adapted / "start", adapted / "model")
    (adapted / "job.json").unlink()
    with pytest.raises(MorphbertError, match=r"kept no job\.json"):
        adapt(settings(models, tmp_path))
