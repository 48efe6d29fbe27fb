"""The network's fast kernels: on hosts that cannot compile, and what they leave in a compiled program."""

import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from samples import ROOT

from morphbert.model.dropout import Dropout, dropped

# A TensorFlow that cannot compile for the CPU fails when what is to be compiled runs, within a graph too.
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

import numpy as np
from variants import config_of, random_weights, tensors
from morphbert.model.losses import counts, pretraining_sums, total_loss
from morphbert.model.parameters import TrainableModel, pretraining_parameters
from morphbert.train.optimizers.optimizer import Optimizer, OptimizerConfig

config = config_of("pre_ln", num_hidden_layers=1)
model = TrainableModel(config, pretraining_parameters(config))
optimizer = Optimizer(OptimizerConfig(num_warmup_steps=0), model.declared)
ids = tf.reshape(tf.range(24), [2, 12])
batch = {"input_ids": ids, "input_mask": tf.ones_like(ids), "segment_ids": tf.zeros_like(ids)}
batch |= {"masked_lm_positions": tf.constant([[1, 2]] * 2), "masked_lm_ids": tf.constant([[5, 6]] * 2)}
batch |= {"masked_lm_weights": tf.ones([2, 2]), "next_sentence_labels": tf.constant([[0], [1]])}

@tf.function
def step():
    weights = {name: tf.convert_to_tensor(value) for name, value in model.parameters.items()}
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss = total_loss(pretraining_sums(weights, config, batch, tf.constant([1, 2])), counts(batch))
    gradients = {n: tf.convert_to_tensor(g) for n, g in tape.gradient(loss, weights).items()}
    return loss, optimizer.apply(model.parameters, gradients)[0]

losses = [float(step()[0]) for _ in range(8)]
assert np.isfinite(losses).all()
assert losses[-1] < losses[0], losses
print("trained")
"""


def test_a_host_without_a_compiler_trains_by_plain_functions():
    """As the host of a TPU, whose TensorFlow has no XLA for the CPU."""
    done = subprocess.run(
        [sys.executable, "-c", ON_A_HOST_WITHOUT_XLA],
        capture_output=True,
        text=True,
        cwd=ROOT / "tests",
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": ""},
        check=False,
        timeout=300,
    )
    assert done.stdout.split("\n") == ["cannot compile", "trained", ""], done.stderr


@pytest.mark.parametrize("shape", [[3], [2, 3], [4, 2, 7, 5]])
def test_masks_are_those_of_one_numbering_of_all_elements(shape):
    """Numbers that are made axis by axis are the elements' numbers: the masks of checkpoints stay what they were."""
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
