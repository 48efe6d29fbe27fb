"""The network's fast kernels: on hosts that cannot compile, and their traces in a compiled program."""

import dataclasses
import re
import sys

import hugging_face_reference
import numpy as np
import pytest
import tensorflow as tf
from processes import run_process
from samples import ROOT

from morphbert.model import functions, kernels
from morphbert.model.config import ACTIVATIONS
from morphbert.model.kernels import long_attention
from morphbert.model.kernels.dropout import Dropout, dropped
from morphbert.model.rotary import rotation

RANDOM = np.random.default_rng(7)


def normal(*shape, mean=0.0, scale=1.0):
    return tf.constant(RANDOM.normal(mean, scale, shape), tf.float32)


BIAS = tf.constant([[0.0] * 5 + [-10000.0]] * 2)[:, None, None, :]
LABELS = tf.constant([3, 0, 49, 7], tf.int32)
ANGLES = rotation(tf.range(6)[None], 8, 1e4)
HEADS_FIRST = tuple(normal(2, 3, 6, 8) for _ in range(3))
POSITIONS_FIRST = tuple(normal(2, 6, 3, 8) for _ in range(3))
# By name: the function, its tensors (the first so many have a gradient) and other arguments.
CASES = {
    "affine": ("affine", (normal(2, 5, 8), normal(8, 12), normal(12)), 3, ()),
    "affine to fewer": ("affine", (normal(2, 5, 12), normal(12, 4), normal(4)), 3, ()),
    "product": ("affine", (normal(2, 5, 8), normal(8, 4)), 2, (None,)),
    "layer_norm": (
        "layer_norm",
        (normal(2, 5, 16, mean=2.0), normal(16, mean=1.0), normal(16)),
        3,
        (1e-12,),
    ),
    "gelu": ("gelu", (normal(4, 50, scale=3.0),), 1, ()),
    "rotate": ("rotate", (HEADS_FIRST[0], *ANGLES), 1, ()),
    "attention": ("attention", (*HEADS_FIRST, BIAS), 3, (None,)),
    "attention with dropout": ("attention", (*HEADS_FIRST, BIAS), 3, ("dropout",)),
    "attention by position": ("attention_by_position", (*POSITIONS_FIRST, BIAS), 3, (None,)),
    "attention by position with dropout": (
        "attention_by_position",
        (*POSITIONS_FIRST, BIAS),
        3,
        ("dropout",),
    ),
    "cross_entropy": ("cross_entropy", (normal(50, 4, scale=3.0), normal(50), LABELS), 2, ()),
}
# Tensors in float32 whatever the dtype to compute in.
KEPT_IN_FLOAT32 = {"layer_norm": (1, 2), "rotate": (1, 2), "cross_entropy": (1,)}


def value_and_gradients(function, inputs, differentiable, more):
    """In float32, the first result alone; weighed so that no gradient is 0."""
    with tf.GradientTape() as tape:
        tape.watch(inputs[:differentiable])
        result = function(*inputs, *more)
        first = tf.cast(result[0] if isinstance(result, tuple) else result, tf.float32)
        weighed = first * tf.reshape(tf.cos(tf.range(tf.size(first), dtype=tf.float32)), first.shape)
    gradients = tape.gradient(weighed, inputs[:differentiable])
    return [tf.cast(value, tf.float32).numpy() for value in (first, *gradients)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_a_kernel_has_the_plain_functions_value_and_gradient(name, dtype):
    """The plain function computes in float32, the kernel in the dtype given."""
    function, inputs, differentiable, more = CASES[name]
    kept = KEPT_IN_FLOAT32.get(function, ())
    narrow = [
        tf.cast(value, dtype) if value.dtype == tf.float32 and number not in kept else value
        for number, value in enumerate(inputs)
    ]
    wide = [tf.cast(value, tf.float32) if value.dtype.is_floating else value for value in narrow]
    mine, plain = more, more
    if more == ("dropout",):
        dropout = Dropout(0.4, tf.constant([3, 4]))
        shape = (2, 3, 6, 6)
        kept_elements = dropout(tf.ones(shape)) > 0
        mine, plain = (dropout,), (lambda weights: functions.dropout(weights, kept_elements, 0.4),)
    found = value_and_gradients(getattr(kernels, function), narrow, differentiable, mine)
    wanted = value_and_gradients(getattr(functions, function), wide, differentiable, plain)
    bound = 2e-6 if dtype == "float32" else 2**-6
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(one - other).max() <= bound * max(1.0, np.abs(other).max())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rows_of_bias", [1, 6])
def test_attention_of_a_long_sequence_is_the_same_in_parts(monkeypatch, rows_of_bias, dtype):
    """Values and gradients, with a bias of all queries and one of each; and no tensor has all pairs of places."""
    monkeypatch.setattr(long_attention, "PART", 2)
    monkeypatch.setattr(long_attention, "LONG", 6)
    bias = tf.where(normal(2, 1, rows_of_bias, 6) > 1.0, -10000.0, 0.0)
    narrow = [tf.cast(value, dtype) for value in (*POSITIONS_FIRST, bias)]
    wide = [tf.cast(value, tf.float32) for value in narrow]
    wanted = value_and_gradients(functions.attention_by_position, wide, 3, (None,))

    @tf.function(autograph=False, jit_compile=True)
    def inside(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            first = tf.cast(kernels.attention_by_position(*tensors, None), tf.float32)
            weighed = first * tf.reshape(tf.cos(tf.range(tf.size(first), dtype=tf.float32)), first.shape)
        return first, *tape.gradient(weighed, tensors[:3])

    found = [tf.cast(one, tf.float32).numpy() for one in inside(*narrow)]
    bound = 2e-6 if dtype == "float32" else 2**-6
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(one - other).max() <= bound * max(1.0, np.abs(other).max())
    program = inside.experimental_get_compiler_ir(*narrow)(stage="hlo")
    assert "[2,3,2,6]" in program
    assert "[2,3,6,6]" not in program


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "gelu_new"])
def test_a_gated_kernel_has_the_plain_functions_value_and_gradient(activation, dtype):
    inputs = tf.cast(normal(4, 20, scale=2.0), dtype)
    sides = [
        value_and_gradients(lambda values, package=package: package.gated(activation, values), [x], 1, ())
        for package, x in ((kernels, inputs), (functions, tf.cast(inputs, tf.float32)))
    ]
    bound = 2e-6 if dtype == "float32" else 2**-6
    for one, other in zip(*sides, strict=True):
        assert np.abs(one - other).max() <= bound * max(1.0, np.abs(other).max())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["affine", "affine to fewer", "product"])
def test_the_dense_layer_of_a_tpu_has_the_plain_functions_value_and_gradient(name, dtype):
    _, inputs, differentiable, more = CASES[name]
    narrow = [tf.cast(value, dtype) for value in inputs]
    wide = [tf.cast(value, tf.float32) for value in narrow]
    with kernels.lowered_for("TPU"):
        found = value_and_gradients(kernels.affine, narrow, differentiable, more)
    wanted = value_and_gradients(functions.affine, wide, differentiable, more)
    bound = 2e-6 if dtype == "float32" else 2**-6
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(one - other).max() <= bound * max(1.0, np.abs(other).max())


def test_a_tpu_gets_dense_layers_whose_inputs_keep_their_axes():
    """One axis for both fixes their order in memory, and a product that needs another order begins with a copy."""
    inputs, kernel, bias = (tf.TensorSpec(value.shape) for value in CASES["affine"][1])

    def operations(device):
        with kernels.lowered_for(device), tf.Graph().as_default() as graph:
            tensors = [tf.zeros(one.shape) for one in (inputs, kernel, bias)]
            tf.gradients(
                kernels.affine(*tensors),
                tensors,
            )
        return {operation.type for operation in graph.get_operations()}

    assert not {"Reshape", "MatMul"} & operations("TPU")
    assert {"Reshape", "MatMul"} <= operations("CPU") & operations("GPU")


def test_one_table_for_both_uses_has_the_sum_of_their_gradients():
    table, ids = normal(9, 4), tf.constant([1, 1, 5])
    found = []
    for package in (kernels, functions):
        with tf.GradientTape() as tape:
            tape.watch(table)
            rows, scored = package.both_uses(table)
            value = tf.reduce_sum(tf.gather(rows, ids) ** 2) + tf.reduce_sum(scored**3)
        found.append(tf.convert_to_tensor(tape.gradient(value, table)))
    np.testing.assert_allclose(*found, rtol=1e-5)


# Kinds of attention: of all to all, turned by angles, and in windows: 150 places are three tiles of 64 or five blocks.
NETWORKS = {
    "bert": (10, {}),
    "rotary": (10, {"position_embedding_type": "rotary"}),
    "modern": (
        150,
        {
            "position_embedding_type": "rotary",
            "local_attention": 8,
            "global_attn_every_n_layers": 2,
            "pre_layer_norm": True,
            "attention_bias": False,
        },
    ),
    "windows, learned positions": (150, {"local_attention": 8, "global_attn_every_n_layers": 2}),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_accelerators_get_the_same_numbers_by_their_own_layout(network, packed, recompute):
    """The choice is by device; it changes the order of axes, not the result."""
    from variants import random_weights, tensors

    from morphbert.model.encoder import EncoderInputs, ForwardPass, encode

    length, more = NETWORKS[network]
    config = dataclasses.replace(hugging_face_reference.CONFIG, max_position_embeddings=150, **more)
    if "local_attention" in more:  # tiles have other masks
        config = dataclasses.replace(config, attention_probs_dropout_prob=0.0)
    weights = tensors(random_weights(config))
    ids = tf.reshape(tf.range(2 * length), [2, length]) % config.vocab_size
    mask = tf.constant([[1] * length, [1] * (length - 3) + [0] * 3])
    examples = tf.constant([[1] * 4 + [2] * (length - 4)] * 2) * mask
    places = tf.constant([[*range(4), *range(length - 4)]] * 2)
    features = (ids, mask, tf.zeros_like(ids), *((examples, places) if packed else ()))
    # Recomputed ones are told the length, the others find it at run time.
    shape = [2, length] if recompute else [None, None]

    def found(device):
        signature = [tf.TensorSpec(shape, tf.int32)] * len(features)
        with kernels.lowered_for(device):
            return tf.function(network_and_gradients, input_signature=signature, autograph=False)(*features)

    def network_and_gradients(*features):
        inputs = EncoderInputs(*features)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            hidden = encode(weights, config, inputs, ForwardPass(tf.constant([1, 2]), recompute))
            hidden *= tf.cast(mask, tf.float32)[:, :, None]
            value = tf.reduce_sum(tf.sin(hidden))
        gradients = tape.gradient(value, weights, unconnected_gradients="zero")
        return hidden, {name: tf.convert_to_tensor(gradient) for name, gradient in gradients.items()}

    (one, gradients), (other, others) = found("CPU"), found("TPU")
    np.testing.assert_allclose(one, other, atol=2e-5)
    for name, gradient in gradients.items():
        size = max(1.0, np.abs(gradient).max()) if length > 10 else 1.0  # a sum over more positions
        np.testing.assert_allclose(gradient, others[name], atol=1e-4 * size, rtol=1e-4, err_msg=name)


def test_the_platform_is_that_of_the_strategy():
    assert kernels.platform() == "CPU"
    with tf.distribute.OneDeviceStrategy("GPU:0").scope():
        assert kernels.platform() == "GPU"
    assert kernels.platform() == "CPU"


# A TensorFlow that cannot compile for the CPU fails when the compiled function runs, within a graph too.
ON_A_HOST_WITHOUT_XLA = """
import tensorflow as tf

function = tf.function

def without_xla(body=None, jit_compile=None, **options):
    if not jit_compile:
        return function(body, jit_compile=jit_compile, **options)
    def fails(*arguments):
        with tf.control_dependencies([tf.debugging.Assert(False, ["no compiler for the CPU"])]):
            return body(*tf.nest.map_structure(tf.identity, arguments))
    return function(fails, **options)

tf.function = without_xla
try:
    tf.function(tf.identity, jit_compile=True)(tf.zeros([]))
except tf.errors.InvalidArgumentError:
    print("cannot compile")

import hugging_face_reference
import numpy as np
from variants import config_of, random_weights, tensors
from morphbert.model.encoder import ForwardPass
from morphbert.model.losses import counts, pretraining_sums, total_loss
from morphbert.model.parameters import TrainableModel, pretraining_parameters
from morphbert.train.optimizers.config import ScheduledConfig
from morphbert.train.optimizers.optimizer import Optimizer

config = config_of("pre_ln", num_hidden_layers=1)
model = TrainableModel(config, pretraining_parameters(config))
optimizer = Optimizer(ScheduledConfig(num_warmup_steps=0), model.declared)
ids = tf.reshape(tf.range(24), [2, 12])
batch = {"input_ids": ids, "input_mask": tf.ones_like(ids), "segment_ids": tf.zeros_like(ids)}
batch |= {"masked_lm_positions": tf.constant([[1, 2]] * 2), "masked_lm_ids": tf.constant([[5, 6]] * 2)}
batch |= {"masked_lm_weights": tf.ones([2, 2]), "next_sentence_labels": tf.constant([[0], [1]])}

@tf.function
def step():
    weights = {name: tf.convert_to_tensor(value) for name, value in model.parameters.items()}
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss = total_loss(pretraining_sums(weights, config, batch, ForwardPass(tf.constant([1, 2]))), counts(batch))
    gradients = {n: tf.convert_to_tensor(g) for n, g in tape.gradient(loss, weights).items()}
    return loss, optimizer.apply(model.parameters, gradients)[0]

losses = [float(step()[0]) for _ in range(8)]
assert np.isfinite(losses).all()
assert losses[-1] < losses[0], losses
print("trained")
"""


def test_a_host_without_a_compiler_trains_by_plain_functions():
    """As the host of a TPU, whose TensorFlow has no XLA for the CPU."""
    done = run_process(
        [sys.executable, "-c", ON_A_HOST_WITHOUT_XLA],
        cwd=ROOT / "tests",
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": ""},
    )
    assert done.stdout.split("\n") == ["cannot compile", "trained", ""], done.stderr


@pytest.mark.parametrize("shape", [[3], [2, 3], [4, 2, 7, 5]])
def test_masks_are_those_of_one_numbering_of_all_elements(shape):
    """Numbers that are made axis by axis are the elements' numbers: the masks of checkpoints stay the same."""
    kept = Dropout(0.3, tf.constant([5, 11], tf.int32))
    known = tf.function(lambda values: dropped(values, *kept.tensors))
    unknown = tf.function(known.python_function, [tf.TensorSpec([None] * len(shape))])
    values = tf.ones(shape)
    np.testing.assert_array_equal(known(values), unknown(values))
    assert 0 < np.count_nonzero(known(values)) <= values.shape.num_elements()


def test_a_compiled_mask_holds_no_constant_of_its_size():
    """XLA would fold a numbering of all elements: gigabytes in the layers of BERT-base at 512 positions."""
    values, kept = tf.zeros([4, 2, 64, 64]), Dropout(0.1, tf.constant([1, 2]))
    program = tf.function(dropped, jit_compile=True).experimental_get_compiler_ir(values, *kept.tensors)
    constants = re.findall(r"= \w+\[([\d,]*)\]\S* constant\(", program(stage="optimized_hlo"))
    assert constants
    assert max(np.prod([int(size) for size in found.split(",") if size]) for found in constants) <= 64
