"""Several processes: who they are, what happens when one is missing or goes, and the same weights as one alone."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import tensorflow as tf
from processes import run_process
from runs import arguments, assert_same, curve, go_back_to
from samples import ROOT, make_records

from morphbert.cli.run_pretraining import main
from morphbert.errors import MorphbertError
from morphbert.train.cluster.workers import Cluster, expand_counts, expand_hosts, find_cluster, joined

# ── who the workers are ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("gpu1", ["gpu1"]),
        ("gpu[08-10,12],login", ["gpu08", "gpu09", "gpu10", "gpu12", "login"]),
        ("n[2,10]", ["n2", "n10"]),
        ("a[1-2]-ib,b", ["a1-ib", "a2-ib", "b"]),
    ],
)
def test_slurm_host_lists(text, hosts):
    assert expand_hosts(text) == hosts


def test_slurm_counts():
    assert expand_counts("2(x3),1") == [2, 2, 2, 1]


def test_slurm_tasks_are_workers_in_the_order_of_the_nodes():
    """Against TensorFlow's own resolver where that is right: it sorts hosts by name, and so n10 before n2."""
    step = {
        "SLURM_STEP_NODELIST": "n[2-3]",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
        "SLURM_STEP_NUM_TASKS": "4",
    }
    found = [
        find_cluster(
            {**step, "SLURM_PROCID": str(rank), "SLURM_JOB_ID": "123456", "SLURM_NODEID": str(rank // 2)}
        )
        for rank in range(4)
    ]
    assert [cluster.index for cluster in found] == [0, 1, 2, 3]
    os.environ.update({**step, "SLURM_PROCID": "3"})
    try:
        theirs = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=20000 + 3456, gpus_per_node=2, gpus_per_task=1, auto_set_gpu=False
        )
        assert list(found[3].addresses) == theirs.cluster_spec().as_dict()["worker"]
    finally:
        for name in (*step, "SLURM_PROCID"):
            del os.environ[name]
    mixed = {"SLURM_PROCID": "1", "SLURM_STEP_NODELIST": "n[2,10]", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}
    assert find_cluster(mixed).addresses == ("n2:20000", "n10:20000")
    with pytest.raises(MorphbertError, match="--distribution=block"):
        find_cluster({**step, "SLURM_PROCID": "1", "SLURM_NODEID": "1"})


def tf_config(workers, kind, index, **more):
    return {
        "TF_CONFIG": json.dumps(
            {"cluster": {"worker": workers, **more}, "task": {"type": kind, "index": index}}
        )
    }


def test_tf_config_names_the_chief_first():
    with_chief = tf_config(["b:1", "c:1"], "worker", 1, chief=["a:1"])
    assert find_cluster(with_chief) == Cluster(("a:1", "b:1", "c:1"), 2)
    assert find_cluster(tf_config(["b:1", "c:1"], "worker", 0)) == Cluster(("b:1", "c:1"), 0)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "neither TF_CONFIG nor Slurm's variables"),
        ({"TF_CONFIG": "{"}, "TF_CONFIG cannot be used"),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'}, "'task' is missing"),
        (tf_config(["a"], "worker", 0), "'a' is not HOST:PORT"),
        (tf_config(["a:1"], "worker", 1), "'worker' number 1, is not in its cluster"),
        (tf_config(["a:1"], "worker", 0, ps=["b:1"]), "it has ps; only chief and worker are known"),
        ({"SLURM_PROCID": "5", "SLURM_STEP_NODELIST": "n[1-2]"}, "SLURM_PROCID=5"),
    ],
)
def test_an_environment_that_names_no_cluster_is_refused(environment, words):
    with pytest.raises(MorphbertError, match=re.escape(words)):
        find_cluster(environment)


# ── meeting ────────────────────────────────────────────────────────────────────────────────────────────


def free_addresses(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = tuple(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    for one in sockets:
        one.close()
    return addresses


def meet(addresses, settings, seconds=1.0):
    """What each worker that comes is told: `settings` has those of the workers that do, by number."""
    said = {}

    def come(index):
        try:
            with joined(Cluster(addresses, index), settings[index], seconds):
                said[index] = "met"
        except MorphbertError as error:
            said[index] = str(error)

    threads = [threading.Thread(target=come, args=(index,)) for index in settings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return said


def test_workers_meet_and_a_missing_one_is_named_to_all():
    addresses = free_addresses(3)
    same = {"steps": 3}
    assert meet(addresses, dict.fromkeys(range(3), same), seconds=20) == dict.fromkeys(range(3), "met")
    addresses = free_addresses(3)
    said = meet(addresses, {0: same, 1: same})
    assert list(said) == [0, 1] or list(said) == [1, 0]
    for message in said.values():
        assert f"worker 2 ({addresses[2]}) did not come in time" in message
    said = meet(addresses, {1: same})
    assert f"worker 0 ({addresses[0]}) cannot be reached" in said[1]


def test_workers_with_other_settings_are_refused():
    addresses = free_addresses(2)
    said = meet(addresses, {0: {"a": 1, "b": {"rate": 0.1}}, 1: {"a": 1, "b": {"rate": 0.2}}}, seconds=20)
    for message in said.values():
        assert f"worker 1 ({addresses[1]}) was started with other settings" in message
        assert "b.rate is 0.2, worker 0's is 0.1" in message


def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as other:
        addresses = (f"127.0.0.1:{other.getsockname()[1]}", *free_addresses(1))
        assert "its port cannot be opened" in meet(addresses, {0: {}})[0]


# ── the same weights ───────────────────────────────────────────────────────────────────────────────────

CLUSTER = [
    sys.executable,
    str(ROOT / "scripts" / "run_local_cluster.py"),
    "--num_workers=2",
    "run_pretraining.py",
]
MIRRORED = ["--strategy=mirrored", "--num_replicas=2"]
# The last step of the runs that are interrupted.
LAST = 200


@pytest.mark.long
@pytest.mark.distributed
def test_replicas_processes_and_accumulation_reach_the_weights_of_one_batch(
    records, still_config, tmp_path, replicas, capsys
):
    """Masks are uneven from sequence to sequence: a mean per replica or part would give other weights."""
    steps = "--learning_rate=1e-4"

    def flags(name, *more):
        return list(map(str, arguments(records, still_config, tmp_path / name, steps, *more)))

    assert main(flags("one")) == 0
    assert main(flags("parts", "--gradient_accumulation_steps=4")) == 0
    result = replicas("run_pretraining", *flags("replicas"))
    assert result.returncode == 0, result.stderr
    result = run_process([*CLUSTER, *flags("processes", "--strategy=auto")])
    assert result.returncode == 0, result.stderr
    assert "auto: several workers found, 2 replica(s) on 2 workers" in result.stdout
    for name in ("parts", "replicas", "processes"):
        assert_same(tmp_path / "one" / "model.ckpt-20", tmp_path / name / "model.ckpt-20", tolerance=1e-6)

    # One process goes on where two stood: the place in the data is that after 8 batches, whoever read them.
    go_back_to(8, tmp_path / "processes", tmp_path / "fewer")
    assert main(flags("fewer")) == 0
    said = capsys.readouterr().out
    assert "num_workers was 2, is 1" in said
    assert "read from its beginning" not in said
    assert_same(tmp_path / "one" / "model.ckpt-20", tmp_path / "fewer" / "model.ckpt-20", tolerance=1e-6)


@pytest.fixture(scope="module")
def dynamic_records(tmp_path_factory):
    """Records whose masks are drawn in training."""
    folder = tmp_path_factory.mktemp("dynamic")
    return make_records(folder, "a.tfrecord,b.tfrecord", "--masking=dynamic", "--dupe_factor=3")


def workers_of(process):
    """Process ids that the launcher says, in the workers' order."""
    found = {}
    while len(found) < 2:
        line = process.stderr.readline()
        assert line, "the launcher ended"
        if named := re.match(r"worker (\d) is process (\d+)", line):
            found[int(named[1])] = int(named[2])
    return [found[0], found[1]]


def interrupted(command, number, worker):
    """Starts a run, sends a signal to one of its processes once it makes progress: → status, output, errors."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    target = workers_of(process)[worker] if worker is not None else process.pid
    for line in process.stdout:
        if line.startswith("step "):
            break
    os.kill(target, number)
    began = time.monotonic()
    out, errors = process.communicate(timeout=120)
    assert time.monotonic() - began < 60
    return process.returncode, out, errors


def check_interruptions(command, flags, finish, whole, killed, worker, other, *more):
    """SIGUSR1, then SIGKILL, then on to the end: the same as a run that was never stopped, and without `more`.

    `finish` runs flags to the end, where nothing is sent to the process: → CompletedProcess.
    """
    done = finish([*flags, f"--output_dir={whole}"])
    assert done.returncode == 0, done.stderr
    rest = [*flags, f"--output_dir={killed}", *more]
    run = [*command, *rest]
    status, out, errors = interrupted(run, signal.SIGUSR1, other)
    assert status == 128 + signal.SIGUSR1, errors
    stopped_at = int(re.search(r"steps 0 to (\d+) of", out)[1])
    assert stopped_at < LAST
    assert tf.train.latest_checkpoint(str(killed)).endswith(f"-{stopped_at}")
    status, _, errors = interrupted(run, signal.SIGKILL, worker)
    assert status in (1, 128 + signal.SIGKILL, -signal.SIGKILL), errors
    assert "Traceback" not in errors
    done = finish(rest)
    assert done.returncode == 0, done.stderr
    assert "continuing from" in done.stdout
    assert_same(whole / f"model.ckpt-{LAST}", killed / f"model.ckpt-{LAST}")
    assert curve(whole) == curve(killed)
    return errors


def long_run(records, config, *more):
    steps = f"--num_train_steps={LAST}"
    flags = arguments(records, config, "", steps, "--save_checkpoints_steps=7", "--log_steps=10", *more)
    return [flag for flag in map(str, flags) if not flag.startswith("--output_dir")]


@pytest.mark.long
@pytest.mark.distributed
@pytest.mark.parametrize("worker", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_two_processes_stopped_and_killed_equal_never_stopped(worker, dynamic_records, tiny_config, tmp_path):
    """A signal to one of the two saves in both; when one is killed the other says so and ends. Its checkpoints are
    named beside training.
    """
    flags = long_run(dynamic_records, tiny_config, "--strategy=multi_worker")
    folders = (tmp_path / "whole", tmp_path / "killed")

    def finish(flags):
        return run_process([*CLUSTER, *flags])

    errors = check_interruptions(CLUSTER, flags, finish, *folders, worker, 1, "--async_checkpoints")
    assert re.search(rf"worker {worker} \(127\.0\.0\.1:\d+\) is gone", errors), errors
    assert (tmp_path / "killed" / "workers" / "1" / f"position.ckpt-{LAST}.index").exists()


@pytest.mark.long
@pytest.mark.distributed
def test_two_replicas_stopped_and_killed_equal_never_stopped(
    dynamic_records, tiny_config, tmp_path, replicas
):
    command = [sys.executable, str(ROOT / "run_pretraining.py")]
    flags = long_run(dynamic_records, tiny_config, *MIRRORED)
    folders = (tmp_path / "whole", tmp_path / "killed")

    def finish(flags):
        return replicas("run_pretraining", *flags)

    check_interruptions(command, flags, finish, *folders, None, None)


@pytest.mark.long
@pytest.mark.distributed
def test_commands_that_differ_are_told_apart_before_the_first_step(records, tiny_config, tmp_path):
    flags = list(map(str, arguments(records, tiny_config, tmp_path / "out", "--strategy=multi_worker")))
    addresses = free_addresses(2)
    processes = []
    for index in range(2):
        more = ["--train_batch_size=8"] if index else []
        processes.append(
            subprocess.Popen(
                [sys.executable, str(ROOT / "run_pretraining.py"), *flags, *more],
                env={**os.environ, **tf_config(addresses, "worker", index)},
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
            )
        )
    for process in processes:
        errors = process.communicate(timeout=120)[1]
        assert process.returncode == 1
        assert "train_batch_size is 8, worker 0's is 16" in errors
        assert "Traceback" not in errors
