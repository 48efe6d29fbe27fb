"""Several workers with one output folder: they share it, a kill within a save loses nothing, a signal ends all."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import tensorflow as tf
from runs import arguments, assert_same, curve
from samples import ROOT
from test_multi_worker import free_addresses, long_run, tf_config

from morphbert.errors import MorphbertError
from morphbert.train.checkpoint_files import Folder, by_name, remove_unfinished, steps_in
from morphbert.train.cluster import shared_folder
from morphbert.train.cluster.shared_folder import check_shared
from morphbert.train.cluster.workers import Cluster

pytestmark = pytest.mark.distributed


class Workers:
    """Two workers of a command; `dying` is a worker, and the place and step where it is killed in a save."""

    def __init__(self, flags, dying=None, folders=(ROOT, ROOT), **environment):
        addresses = free_addresses(2)
        self.processes = []
        for index in range(2):
            killed = dying is not None and dying[0] == index
            script = ["tests/dying_worker.py", *map(str, dying[1:])] if killed else ["run_pretraining.py"]
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, str(ROOT / script[0]), *script[1:], *map(str, flags)],
                    env={
                        **os.environ,
                        **environment,
                        **tf_config(addresses, "worker", index),
                        "PYTHONPATH": str(ROOT),
                    },
                    cwd=folders[index],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )

    def wait(self):
        """The exit statuses and the errors, by worker."""
        try:
            errors = [process.communicate(timeout=300)[1] for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        return [process.returncode for process in self.processes], errors


# ── the same folder ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.long
def test_workers_with_folders_of_their_own_are_refused(records, tiny_config, tmp_path):
    """A path that each machine has for itself, as this one has a relative path in two folders."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    flags = arguments(records, tiny_config, "out", "--strategy=multi_worker")
    statuses, errors = Workers(flags, folders=folders).wait()
    assert statuses == [1, 1], errors
    for text in errors:
        assert "--output_dir=out of worker 1" in text
        assert "is another folder than that of worker 0" in text
        assert "Traceback" not in text


def agreeing(directory, newest):
    """The answer of `check_shared` to each of two workers, with the checkpoint that each finds."""
    barrier, numbers, said = threading.Barrier(2, timeout=30), {}, {}

    def come(index):
        def agree(number):
            numbers[index] = number
            barrier.wait()
            highest = max(numbers.values())
            barrier.wait()
            return highest

        try:
            check_shared(directory[index], Cluster(("a:1", "b:1"), index), agree, newest[index])
        except MorphbertError as error:
            said[index] = str(error)
            barrier.abort()  # as the connections end the other workers
        except threading.BrokenBarrierError:
            pass

    threads = [threading.Thread(target=come, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return said


def test_workers_that_see_other_checkpoints_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_folder, "_SECONDS_TO_APPEAR", 0.0)
    one, other = f"file://{tmp_path}/one", str(tmp_path / "other")
    assert agreeing([one, one], [20, 20]) == {}
    assert agreeing([one, one], [None, None]) == {}
    assert not list(tmp_path.glob("**/present-*"))
    late = agreeing([one, one], [20, None])
    assert list(late) == [1]
    assert "worker 1 (b:1) finds no checkpoint in" in late[1]
    assert "that of step 20" in late[1]
    assert "finds step 0 as the newest checkpoint" in agreeing([one, one], [0, 10])[0]
    assert "worker 1 (b:1) is another folder" in agreeing([one, other], [None, None])[0]
    # A worker that is ended by the others leaves its file, until it comes again.
    left = tmp_path / "one" / "workers" / "1" / "present-00000000"
    left.touch()
    assert agreeing([one, one], [20, 20]) == {}
    assert not left.exists()
    (tmp_path / "full" / "workers").mkdir(parents=True)
    (tmp_path / "full" / "workers" / "1").write_text("a file where the worker's folder would be")
    assert "cannot be written" in agreeing([f"{tmp_path}/full"] * 2, [None, None])[1]


# ── killed within a save ───────────────────────────────────────────────────────────────────────────────


def names(folder):
    return sorted(
        str(path.relative_to(folder)) for path in folder.glob("**/*") if "events.out" not in path.name
    )


def test_positions_of_saves_that_were_cut_off_do_not_push_out_the_last_one(tmp_path):
    own, value = tmp_path / "workers" / "1", tf.Variable(1.0)
    Folder(str(tmp_path), tf.train.Checkpoint(x=value), 1, "model.ckpt").save(7)
    for step in (
        7,
        14,
        10,
        15,
    ):  # a start each; from the second on, the first worker is killed before its part
        positions = Folder(str(own), tf.train.Checkpoint(x=value), 2, "position.ckpt")
        positions.drop_all_but(steps_in(str(tmp_path)))
        positions.save(step)
    assert [os.path.basename(path) for path in by_name(str(own), "position.ckpt")] == [
        "position.ckpt-7",
        "position.ckpt-15",
    ]


def test_data_without_an_index_is_removed_and_a_damaged_checkpoint_is_not(tmp_path):
    for name in (
        "model.ckpt-3.data-00000-of-00001",
        "model.ckpt-3.sha256.partial",
        "other.data-00000-of-00001",
    ):
        (tmp_path / name).touch()
    for ending in ("data-00000-of-00001", "sha256"):  # its index was lost, which is reported and not hidden
        (tmp_path / f"model.ckpt-5.{ending}").touch()
    remove_unfinished(f"file://{tmp_path}")
    kept = ["model.ckpt-5.data-00000-of-00001", "model.ckpt-5.sha256", "other.data-00000-of-00001"]
    assert names(tmp_path) == kept


@pytest.mark.slow
@pytest.mark.long
def test_kills_within_saves_into_a_bucket_leave_a_run_that_goes_on(records, tiny_config, tmp_path):
    """The bucket is a folder that is reached as a remote one. Saves at other steps than before the kill: nothing of the
    cut-off ones is written over by chance. One checkpoint is kept, so that a second kill meets the last one.
    """
    (tmp_path / "tmp").mkdir()

    def flags(name, *more):
        kept = ("--keep_checkpoint_max=1", "--strategy=multi_worker")
        return arguments(records, tiny_config, f"file://{tmp_path}/{name}", *kept, *more)

    def killed(dying, *more):
        statuses, errors = Workers(flags("killed", *more), dying, TMPDIR=str(tmp_path / "tmp")).wait()
        assert statuses[dying[0]] == -signal.SIGKILL, errors
        assert statuses[1 - dying[0]] == 1, errors
        assert f"worker {dying[0]}" in errors[1 - dying[0]]
        newest = tf.train.latest_checkpoint(str(tmp_path / "killed"))
        assert newest == str(tmp_path / "killed" / "model.ckpt-7")

    fives = "--save_checkpoints_steps=5"
    background = "--async_checkpoints"
    whole = Workers(flags("whole", fives, background)).wait()
    assert whole[0] == [0, 0], whole[1]
    killed((0, "data", 14), "--save_checkpoints_steps=7", background)
    assert (tmp_path / "killed" / "model.ckpt-14.data-00000-of-00001").exists()
    assert not (tmp_path / "killed" / "model.ckpt-14.index").exists()
    killed((0, "list", 10), fives)
    killed((1, "digests", 10), fives)
    statuses, errors = Workers(flags("killed", fives, background), TMPDIR=str(tmp_path / "tmp")).wait()
    assert statuses == [0, 0], errors
    assert_same(tmp_path / "whole" / "model.ckpt-20", tmp_path / "killed" / "model.ckpt-20")
    assert curve(tmp_path / "whole") == curve(tmp_path / "killed")
    assert names(tmp_path / "killed") == names(tmp_path / "whole")
    assert not list((tmp_path / "tmp").glob("morphbert-*"))


# ── a signal to one ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.long
@pytest.mark.parametrize("worker", [0, 1])
def test_sigterm_to_one_worker_ends_all_with_one_status(worker, records, tiny_config, tmp_path):
    """As a preempted machine sends it: all save at the same step, and end with 128 + 15."""
    flags = [*long_run(records, tiny_config, "--strategy=multi_worker"), f"--output_dir={tmp_path}"]
    workers = Workers(flags)
    for line in workers.processes[0].stdout:
        if line.startswith("step "):
            break
    workers.processes[worker].send_signal(signal.SIGTERM)
    began = time.monotonic()
    statuses, errors = workers.wait()
    assert statuses == [143, 143], errors
    assert time.monotonic() - began < 60
    step = int(tf.train.latest_checkpoint(str(tmp_path)).rpartition("-")[2])
    assert 0 < step < 200
    for text in errors:
        assert f"stopped by signal 15 at step {step}" in text
    assert (tmp_path / "workers" / "1" / f"position.ckpt-{step}.index").exists()
    assert json.loads((tmp_path / "run.json").read_text())["environment"]["num_replicas"] == 2
