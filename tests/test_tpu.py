"""What can be seen of a TPU run without a TPU: static shapes, steps that XLA compiles, no work for the host in them.

A TPU compiles each replica's function as a whole. XLA takes an operation only if it has a kernel for it, so compiling
shows that all have one; a shape that depends on the data, or a call back into Python, does not compile or shows in
the graph.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys

import pod_of_two_hosts
import pytest
import tensorflow as tf
from processes import run_process
from runs import arguments, assert_same, curve, evaluation_of, go_back_to
from samples import GOLDEN, ROOT, SHAPE, write_config

from morphbert.cli.create_pretraining_data import main as create
from morphbert.data.records import RecordLayout, RecordShape
from morphbert.errors import UsageError
from morphbert.model.config import BertConfig
from morphbert.model.parameters import TrainableModel
from morphbert.train.cluster.config import DeviceConfig
from morphbert.train.cluster.strategy import Devices, build_strategy
from morphbert.train.evaluation import Evaluator
from morphbert.train.input.records import RecordFormat, decode
from morphbert.train.objective import pretraining_objective
from morphbert.train.optimizers.config import ScheduledConfig
from morphbert.train.optimizers.optimizer import Optimizer
from morphbert.train.step import StepConfig, TrainingStep
from morphbert.train.train_state import TrainState

# Kinds of operations that run on a host: Python, text, files, datasets, printing and the checks that decode() makes.
ON_THE_HOST = (
    *(
        "PyFunc",
        "EagerPyFunc",
        "PyFuncStateless",
        "Print",
        "PrintV2",
        "Assert",
        "Unique",
        "Where",
        "WriteFile",
    ),
    *(
        "ParseExample",
        "ParseExampleV2",
        "ParseSingleExample",
        "DecodeRaw",
        "IteratorGetNext",
        "LookupTableFindV2",
    ),
)


def specification(layout, batch=8):
    """A batch of records as the input pipeline hands it to a step: names, shapes and types."""
    form = RecordFormat(RecordShape(32, 5), 100, 2, layout)
    serialized = tf.TensorSpec([batch], tf.string)
    return tf.function(lambda one: decode(one, form)).get_concrete_function(serialized).structured_outputs


def all_operations(function):
    """The operations of a concrete function and of all functions that it calls."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    return {node.op for node in nodes}


def check_for_a_device(function, *arguments):
    """Compiles with XLA and looks at the work left to the host."""
    concrete = function.get_concrete_function(*arguments)
    for tensor in [*concrete.inputs, *concrete.outputs]:
        if tensor.dtype != tf.resource:
            assert tensor.shape.is_fully_defined(), tensor
    for operation in concrete.graph.get_operations():
        for tensor in operation.outputs:
            assert tensor.dtype != tf.string, operation.name
            if tensor.dtype not in (tf.resource, tf.variant):
                assert tensor.shape.is_fully_defined(), f"{operation.name} ({operation.type}): {tensor.shape}"
    used = all_operations(concrete)
    assert not used & set(ON_THE_HOST), used & set(ON_THE_HOST)
    assert not [op for op in used if "String" in op or "Summary" in op or "Dataset" in op]
    text = function.experimental_get_compiler_ir(*arguments)(stage="hlo")
    assert "ENTRY" in text
    for word in (
        "infeed",
        "outfeed",
        "custom-call",
        "<=",
        "recv",
        "send",
    ):  # `<=` marks a size that is not fixed
        assert f" {word}(" not in text
        assert word != "<=" or "[<=" not in text


PLAIN = RecordLayout()
CASES = {
    "plain": (PLAIN, {}, {}),
    "bfloat16": (PLAIN, {"dtype": "bfloat16"}, {}),
    "accumulated, recomputed": (PLAIN, {"gradient_accumulation_steps": 2, "recompute": True}, {}),
    "float16": (PLAIN, {"dtype": "float16"}, {}),
    "packed, no labels": (RecordLayout(next_sentence=False, examples=3), {}, {}),
    "adamw": (PLAIN, {}, {"optimizer": "adamw", "schedule": "cosine"}),
    "lamb": (PLAIN, {}, {"optimizer": "lamb", "schedule": "warmup_stable_decay"}),
}


def parts(folder, step, optimizer=None):
    config = BertConfig.from_json_file(str(write_config(folder / "c.json", num_hidden_layers=1)))
    strategy = tf.distribute.OneDeviceStrategy("/CPU:0")
    objective = pretraining_objective(config)
    with strategy.scope():
        model = TrainableModel(config, objective.parameters, seed=1)
        rule = Optimizer(ScheduledConfig(**(optimizer or {})), model.declared)
        train_state = TrainState.of(model, rule, step.dtype)
    return config, strategy, model, TrainingStep(objective, train_state, strategy, step)


SLOW = ("float16", "adamw", "accumulated, recomputed")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in CASES]
)
def test_the_halves_of_a_training_step_compile(name, tmp_path):
    layout, step, optimizer = CASES[name]
    _, _, model, training = parts(tmp_path, StepConfig(xla=True, **step), optimizer)
    zeros = {n: tf.zeros(one.shape, one.dtype) for n, one in specification(layout).items()}
    counted = {n: tf.constant(1.0) for n in training.objective.counts}
    if name not in ("adamw", "lamb"):
        check_for_a_device(training.gradients, zeros, counted, tf.constant(0, tf.int64), tf.constant(0))
    check_for_a_device(training.update, [tf.zeros(p.shape) for p in model.parameters.values()])


def test_a_replicas_whole_step_compiles_as_one(tmp_path):
    """As on a TPU, reduction included."""
    _, strategy, _, training = parts(tmp_path, StepConfig())
    batch = {n: tf.zeros(one.shape, one.dtype) for n, one in specification(PLAIN).items()}
    whole = tf.function(lambda one: strategy.run(training.replica_step, (one,)), jit_compile=True)
    assert whole(batch).shape == [len(training.objective.columns)]
    operations = all_operations(whole.get_concrete_function(batch))
    assert not operations & set(ON_THE_HOST)


def test_the_evaluation_compiles(tmp_path):
    config, strategy, model, _ = parts(tmp_path, StepConfig())
    run = evaluation_of(config, step=StepConfig(xla=True))
    objective = pretraining_objective(config)
    batch = {n: tf.zeros(one.shape, one.dtype) for n, one in specification(PLAIN).items()}
    check_for_a_device(
        Evaluator(run, objective, model, Devices(strategy, "CPU")).sums,
        {**batch, "example_weights": tf.ones([8])},
    )


def test_the_check_finds_what_it_looks_for():
    compiled = tf.function(lambda x: tf.boolean_mask(x, x > 0), jit_compile=True)
    with pytest.raises(AssertionError):
        check_for_a_device(compiled, tf.zeros([4]))
    printing = tf.function(lambda x: tf.py_function(lambda y: y, [x], tf.float32))
    with pytest.raises(AssertionError):
        check_for_a_device(printing, tf.zeros([4]))


# ── reaching it ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.long
@pytest.mark.distributed
def test_a_tpu_that_does_not_answer_is_given_up(records, tiny_config, tmp_path, command):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        name = f"grpc://127.0.0.1:{silent.getsockname()[1]}"
        flags = ["--strategy=tpu", f"--tpu_name={name}", "--connect_timeout=8"]
        result = command("run_pretraining.py", *arguments(records, tiny_config, tmp_path / "out", *flags))
    assert result.returncode == 1
    assert f"the TPU '{name}' cannot be reached: no answer in 8 s" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.distributed
def test_a_machine_without_a_tpu_says_so(records, tiny_config, tmp_path, command):
    result = command(
        "run_pretraining.py", *arguments(records, tiny_config, tmp_path / "out", "--strategy=tpu")
    )
    assert result.returncode == 1
    assert "the TPU 'local' cannot be reached" in result.stderr
    assert "install tensorflow-tpu" in result.stderr


# ── input per host ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.long
@pytest.mark.distributed
def test_input_per_host_gives_the_same_run_and_resumes_by_counting(records, tiny_config, tmp_path, replicas):
    """The way of a TPU on two replicas of the CPU: a dataset for each host, and a number of batches for its place."""

    def run(name, *more, input_per_host=True):
        flags = arguments(records, tiny_config, tmp_path / name, "--do_eval", "--schedule=constant", *more)
        done = replicas("run_pretraining", *flags, input_per_host=input_per_host)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("plain", "--num_train_steps=24", input_per_host=False)
    run("whole", "--num_train_steps=24")
    assert_same(tmp_path / "plain" / "model.ckpt-24", tmp_path / "whole" / "model.ckpt-24")
    assert curve(tmp_path / "plain") == curve(tmp_path / "whole")
    go_back_to(8, tmp_path / "whole", tmp_path / "parts")  # in the middle of a pass of 16 batches
    out = run("parts", "--num_train_steps=24")
    assert "continuing from" in out
    assert_same(tmp_path / "whole" / "model.ckpt-24", tmp_path / "parts" / "model.ckpt-24")


@pytest.fixture
def two_hosts():
    """Addresses of two processes that serve as the hosts of a pod."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        addresses = ",".join(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    with contextlib.ExitStack() as stack:
        hosts = []
        for index in range(2):
            program = [sys.executable, pod_of_two_hosts.__file__, "host", str(index), addresses]
            host = stack.enter_context(
                subprocess.Popen(
                    program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                )
            )
            stack.callback(host.kill)
            hosts.append(host)
        assert [host.stdout.readline() for host in hosts] == [b"ready\n"] * 2
        yield addresses


@pytest.mark.long
@pytest.mark.distributed
def test_two_hosts_of_a_pod_read_the_batches_of_one(records, tiny_config, tmp_path, two_hosts):
    """Each host's process reads half of each batch, and hands each of its cores half of that; also after a resume."""
    texts = ",".join(f"{GOLDEN}/{name}" for name in ("documents_ko.txt", "documents_ko_2.txt"))
    unmasked = [str(tmp_path / f"{part}.tfrecord") for part in range(3)]
    flags = [
        f"--input_file={texts}",
        f"--vocab_file={GOLDEN}/vocab_ko.txt",
        f"--output_file={','.join(unmasked)}",
    ]
    assert create([*flags, "--masking=dynamic", *SHAPE]) == 0
    masked = [str(records / f"{name}.tfrecord") for name in "ab"]
    feeds = [(skipped, files) for files in (masked, unmasked) for skipped in (0, 3)]
    program = [
        sys.executable,
        pod_of_two_hosts.__file__,
        "read",
        two_hosts,
        str(tiny_config),
        json.dumps(feeds),
    ]
    done = run_process(program, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-2000:]
    alone = build_strategy(DeviceConfig(strategy="cpu"))
    cores = [f"/job:worker/replica:0/task:{host}/device:CPU:{core}" for host in range(2) for core in range(2)]
    for (skipped, files), read in zip(feeds, json.loads(done.stdout), strict=True):
        feed = pod_of_two_hosts.feed_of(alone, tiny_config, files, skipped)
        expected = pod_of_two_hosts.batches_of(
            feed, lambda batch: [batch[name].numpy().tolist() for name in pod_of_two_hosts.NAMES]
        )
        for batch, whole in zip(read, expected, strict=True):
            assert [core["device"] for core in batch] == cores
            for name, values in zip(pod_of_two_hosts.NAMES, whole, strict=True):
                assert [row for core in batch for row in core[name]] == values


# ── the script ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_scripts_flags_are_those_of_the_command(records, tiny_config, tmp_path):
    """scripts/pretrain_tpu.sh with a program in Python's place that writes down its arguments."""
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    script = [str(ROOT / "scripts" / "pretrain_tpu.sh"), f"{records}/*.tfrecord", f"{records}/a.tfrecord"]
    called = run_process(
        [*script, str(tmp_path / "out")],
        env={**os.environ, "PYTHON": str(fake), "MAX_SEQ_LENGTH": "64", "MAX_PREDICTIONS_PER_SEQ": "10"}
        | {"BERT_CONFIG_FILE": str(tiny_config), "TPU_NAME": "pod-1"},
        check=True,
    )
    program, *flags = called.stdout.splitlines()
    assert program == str(ROOT / "run_pretraining.py")
    assert "--tpu_name=pod-1" in flags
    from morphbert.cli.run_pretraining import _command

    command = _command()
    command.parse(flags)
    assert command.config().devices.use_tpu


# ── TPUStrategy ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.long
@pytest.mark.distributed
def test_the_loop_and_the_evaluation_are_traced_by_a_strategy_of_tpus(tmp_path):
    """Two cores that are not there, in a process of their own; nothing is run."""
    config = write_config(tmp_path / "c.json", num_hidden_layers=1)
    program = str(ROOT / "tests" / "tpu_of_invented_cores.py")
    traced = run_process(
        [sys.executable, program, str(config)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TPU_SKIP_MDS_QUERY": "1"},
        cwd=ROOT,
    )
    assert traced.returncode == 0, traced.stderr[-2000:]
    found = json.loads(traced.stdout)
    assert found["input_per_host"]
    assert found["sharers"] == 1
    for step in found["steps"]:
        inside = step["inside"]
        # One cluster for all replicas, in which gradients and counts are summed over them, and no work for the host.
        assert inside["TPUReplicateMetadata"] == 1
        assert inside["CrossReplicaSum"] > 30
        assert not set(inside) & set(ON_THE_HOST)
        assert step["kinds"]["IteratorGetNext"] > 0
        assert step["kinds"]["TPUReplicatedInput"] > 90
    assert found["evaluation"]["CrossReplicaSum"] == 1
    # Each of the two cores is sent its own rows, not the whole batch to take them from.
    assert set(found["batches_of_evaluation"]) == {2}


def test_settings_of_devices_that_contradict_each_other_are_refused():
    for given, named in (
        ({"use_tpu": True, "strategy": "mirrored"}, "--use_tpu contradicts --strategy=mirrored"),
        ({"tpu_name": "local"}, "--tpu_name=local without --use_tpu"),
        ({"use_tpu": True, "num_replicas": 2}, "--num_replicas=2 with a TPU"),
        ({"strategy": "tpu", "num_replicas": 8}, "--num_replicas=8 with a TPU"),
    ):
        with pytest.raises(UsageError, match=named):
            DeviceConfig(**given)
