"""Hostile and damaged checkpoints: named and passed over, never taken and never overwritten from step 0."""

import json
import os
import re
import shutil
import signal
import threading

import numpy as np
import pytest
import tensorflow as tf
from runs import arguments, assert_same
from samples import MECAB_VOCABULARY, flipped_bit, zeros

import morphbert
from morphbert.cli.fill_mask import main as fill_mask
from morphbert.cli.run_pretraining import main as train
from morphbert.errors import MorphbertError
from morphbert.signals import handled_by
from morphbert.train import checkpoint, checkpoint_files, loop
from morphbert.train.log import read_metrics
from morphbert.train.run_state import Description, RunState
from morphbert.train.train_state import TrainState

DATA = ".data-00000-of-00001"


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def gone(path):
    path.unlink()


DAMAGE = [zeros, flipped_bit, cut, gone]


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_every_checkpoint_has_digests_that_sha256sum_reads(finished):
    for step in (8, 16, 20):
        lines = (finished / f"model.ckpt-{step}.sha256").read_text().splitlines()
        names = [f"model.ckpt-{step}{DATA}", f"model.ckpt-{step}.index"]
        assert sorted(line.split("  ")[1] for line in lines) == names
    assert not list(finished.glob("*_temp")) + list(finished.glob("*.tmp*"))


@pytest.mark.parametrize("with_digest", [True, False])
@pytest.mark.parametrize("ending", [DATA, ".index"])
@pytest.mark.parametrize("damage", DAMAGE, ids=[damage.__name__ for damage in DAMAGE])
def test_the_newest_sound_one_is_taken(damage, ending, with_digest, run, capsys):
    damage(run / f"model.ckpt-20{ending}")
    if not with_digest:  # as older programs left them: TensorFlow's own checksums are all there is
        for path in run.glob("*.sha256"):
            path.unlink()
    found = checkpoint.latest(str(run))
    assert found is not None
    assert found.step == 16
    said = capsys.readouterr().out
    assert re.search(
        r"warning: the checkpoint .*model\.ckpt-20 .*The run uses the one before it, .*ckpt-16", said
    )
    assert checkpoint.resolve(str(run)).endswith("model.ckpt-16")
    assert capsys.readouterr().out == ""  # once in a command
    with pytest.raises(MorphbertError, match=r"model\.ckpt-20"):
        checkpoint.read_weights(str(run / "model.ckpt-20"))


def test_a_damaged_one_is_passed_over_by_training(run, records, tiny_config, finished, capsys):
    flipped_bit(run / f"model.ckpt-20{DATA}")
    assert train(arguments(records, tiny_config, run)) == 0
    assert "continuing from" in capsys.readouterr().out
    assert_same(run / "model.ckpt-20", finished / "model.ckpt-20")


@pytest.mark.parametrize("content", ["model.ckpt-99", "elsewhere/model.ckpt-20", ""])
def test_never_from_step_0_in_a_folder_with_checkpoints(content, run, capsys):
    (run / "checkpoint").write_text(f'model_checkpoint_path: "{content}"\n')
    found = checkpoint.latest(str(run))
    assert found is not None
    assert found.step == 20
    assert "written again with the existing checkpoints" in capsys.readouterr().out
    assert 'model_checkpoint_path: "model.ckpt-20"' in (run / "checkpoint").read_text()


def test_where_all_are_damaged_nothing_is_overwritten(run, records, tiny_config, capsys):
    for path in run.glob(f"*{DATA}"):
        zeros(path)
    before = {path.name: path.read_bytes() for path in run.glob("model.ckpt*")}
    assert train(arguments(records, tiny_config, run)) == 1
    message = capsys.readouterr().err
    assert "None of the checkpoints in" in message
    assert "move them away" in message
    assert {path.name: path.read_bytes() for path in run.glob("model.ckpt*")} == before


def test_data_without_an_index_is_a_checkpoint_too(run):
    for path in run.glob("*.index"):
        path.unlink()
    (run / "checkpoint").unlink()
    with pytest.raises(MorphbertError, match=r"index is missing.*None of the checkpoints"):
        checkpoint.latest(str(run))


def test_what_killed_saves_left_is_removed(run, records, tiny_config):
    (run / "model.ckpt-24_temp").mkdir()
    (run / "model.ckpt-24_temp" / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"x")
    (run / "checkpoint.tmp0123456789abcdef").write_text("x")
    (run / "model.ckpt-24.index.tempstate123").write_text("x")
    (run / "mine.tmp").write_text("x")
    assert train(arguments(records, tiny_config, run, "--num_train_steps=21")) == 0
    left = {path.name for path in run.iterdir()}
    assert not [name for name in left if "temp" in name or ".tmp0" in name]
    assert "mine.tmp" in left


@pytest.mark.parametrize("damage", DAMAGE[:3], ids=[damage.__name__ for damage in DAMAGE[:3]])
def test_every_reader_says_so(damage, random_model, tmp_path, capsys):
    model = tmp_path / "model"
    shutil.copytree(random_model, model)
    damage(model / f"model.ckpt-0{DATA}")
    flags = [f"--checkpoint={model}", f"--vocab_file={MECAB_VOCABULARY}", "--text=나는 [MASK]에 간다."]
    for with_digest in (True, False):
        if not with_digest:
            (model / "model.ckpt-0.sha256").unlink()
        assert fill_mask(flags) == 1
        message = capsys.readouterr().err
        assert re.search("model.ckpt-0 is (damaged|cut off)", message), message
        with pytest.raises(MorphbertError, match=r"damaged|cut off"):
            morphbert.load(str(model))


def test_a_save_that_fails_leaves_nothing_and_the_one_before(tmp_path, monkeypatch):
    import tensorflow as tf

    value = tf.Variable(np.arange(4.0))
    folder = checkpoint_files.Folder(str(tmp_path), tf.train.Checkpoint(value=value), 2, "model.ckpt")
    folder.save(1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    order = []
    sync = checkpoint_files.sync
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_files, "sync", lambda path: order.append(path) or sync(path))
        patched.setattr(checkpoint_files, "_digest", lambda file: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            folder.save(2)
    assert order[0].endswith(".index")
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name: after[name] for name in before} == before
    assert "model.ckpt-2.sha256" not in after
    folder.save(3)
    folder.save(4)
    assert [os.path.basename(path) for path in checkpoint_files.listed(str(tmp_path), "model.ckpt")] == [
        "model.ckpt-3",
        "model.ckpt-4",
    ]
    assert not (tmp_path / "model.ckpt-1.sha256").exists()


@pytest.fixture
def held_back(monkeypatch):
    """Digests are not made before the event is set: a save that takes long."""
    release, digest = threading.Event(), checkpoint_files._digest
    monkeypatch.setattr(checkpoint_files, "_digest", lambda file: release.wait(60) and digest(file))
    yield release
    release.set()


def in_background(directory, value, keep=2):
    background = checkpoint_files.Background()
    kept = tf.train.Checkpoint(value=value)
    return checkpoint_files.Folder(str(directory), kept, keep, "model.ckpt", background), background


def value_at(prefix):
    restored = tf.Variable(np.zeros(4))
    tf.train.Checkpoint(value=restored).restore(prefix).expect_partial()
    return restored.numpy()


def test_training_goes_on_while_a_checkpoint_is_named(held_back, tmp_path):
    """What is changed meanwhile is not in it, and a kill at that moment leaves it or the one before."""
    value = tf.Variable(np.full(4, 1.0))
    held_back.set()
    folder, background = in_background(tmp_path / "run", value)
    folder.save(1)
    background.finish()
    held_back.clear()
    value.assign(np.full(4, 2.0))
    folder.save(2)
    value.assign(np.full(4, 3.0))
    assert folder.newest.endswith("model.ckpt-1")
    assert not (tmp_path / "run" / "model.ckpt-2.sha256").exists()
    shutil.copytree(tmp_path / "run", tmp_path / "killed")
    held_back.set()
    background.finish()
    assert folder.newest.endswith("model.ckpt-2")
    assert checkpoint_files.newest_sound(str(tmp_path / "run")).endswith("model.ckpt-2")
    np.testing.assert_array_equal(value_at(folder.newest), np.full(4, 2.0))
    survivor = checkpoint_files.newest_sound(str(tmp_path / "killed"))
    np.testing.assert_array_equal(value_at(survivor), np.full(4, float(survivor[-1])))


def test_a_save_beside_training_that_fails_is_reported_by_the_next(tmp_path, monkeypatch):
    folder, background = in_background(tmp_path, tf.Variable(np.zeros(4)))
    folder.save(1)
    background.finish()
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_files, "_digest", lambda file: 1 / 0)
        folder.save(2)
        with pytest.raises(ZeroDivisionError):
            folder.save(3)
    assert checkpoint_files.listed(str(tmp_path), "model.ckpt") == [str(tmp_path / "model.ckpt-1")]
    folder.save(4)
    background.finish()
    assert folder.newest.endswith("model.ckpt-4")


def test_a_run_that_fails_waits_for_its_checkpoint_and_keeps_its_error(held_back, tmp_path):
    """Else the thread would name its checkpoint after the next run has named newer ones."""
    model = tf.Module()
    model.parameters, model.declared = {"a": tf.Variable(np.zeros(4))}, {}
    state = RunState(Description(config={}, settings={}, data={}, vocabulary={}), 1)
    saved = checkpoint.Checkpoints(
        str(tmp_path), TrainState(model, tf.Module()), None, state, 2, asynchronous=True
    )
    threading.Timer(0.5, held_back.set).start()

    def fails():
        with saved.finishing():
            saved.save(1)
            assert not (tmp_path / "checkpoint").exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert (tmp_path / "checkpoint").exists()
    assert saved.newest.endswith("model.ckpt-1")


def test_data_alone_is_no_checkpoint(random_model, tmp_path):
    """A run was killed while its first checkpoint was copied to a remote folder."""
    shutil.copy(random_model / f"model.ckpt-0{DATA}", tmp_path / f"model.ckpt-5{DATA}")
    assert checkpoint_files.newest_sound(str(tmp_path)) is None


def test_a_remote_folder_gets_a_copy_of_what_was_written_here(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    value = tf.Variable(np.full(4, 1.0))
    folder, background = in_background("ram://remote-run", value, keep=1)
    left = tmp_path / f"{folder._local}killed"
    left.mkdir()
    folder, background = in_background("ram://remote-run", value, keep=1)
    assert not left.exists()
    for step in (1, 2):
        folder.save(step)
        value.assign_add(np.ones(4))
    background.finish()
    assert sorted(tf.io.gfile.listdir("ram://remote-run")) == [
        "checkpoint",
        "model.ckpt-2.data-00000-of-00001",
        "model.ckpt-2.index",
        "model.ckpt-2.sha256",
    ]
    assert not list(tmp_path.iterdir())
    for name in tf.io.gfile.listdir(
        "ram://remote-run"
    ):  # TensorFlow's reader does not find a checkpoint in ram://
        tf.io.gfile.copy(f"ram://remote-run/{name}", str(tmp_path / name))
    newest = checkpoint_files.newest_sound(str(tmp_path))
    np.testing.assert_array_equal(value_at(newest), np.full(4, 2.0))


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1"])
def test_a_closed_terminal_and_slurm_ask_to_save_and_stop(name):
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        stop = loop.StopRequest()
        with handled_by(stop):
            os.kill(os.getpid(), signal.Signals[name])
            assert stop.signal == signal.Signals[name]
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
        with handled_by(loop.StopRequest()):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("state", ["[" * 100_000, "{", "[]", "{}", '{"format_version": "new"}'])
def test_a_state_that_no_run_writes_is_named(state, tmp_path):
    class State(tf.train.experimental.PythonState):
        def serialize(self):
            return state

        def deserialize(self, string_value):
            raise AssertionError

    prefix = tf.train.Checkpoint(run=State()).write(str(tmp_path / "model.ckpt-1"))
    with pytest.raises(MorphbertError, match="the state of its run"):
        checkpoint.read_state(prefix)


def test_damaged_lines_of_the_figures_are_left_out(tmp_path):
    """They must not end a run after hours of training."""
    path = tmp_path / "metrics.jsonl"
    sound = '{"kind": "train", "step": 2, "loss": 1.0}'
    path.write_bytes(b'{"kind": \xff\n[1]\n{"kind": "train"}\n' + sound.encode() + b'\n{"kind": "tra')
    assert read_metrics(str(path)) == [json.loads(sound)]
    path.unlink()
    path.mkdir()
    with pytest.raises(MorphbertError, match=r"metrics.jsonl cannot be read: .*Is a directory"):
        read_metrics(str(path))
