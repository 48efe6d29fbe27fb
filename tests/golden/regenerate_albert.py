"""Regenerates albert.json: what google-research/albert's own modeling.py computes with a checkpoint that we export.

    python tests/golden/regenerate_albert.py PATH_OF_A_CHECKOUT

Its modeling.py (last commit, b772393) runs under TensorFlow 2's `compat.v1`. Of what it asks for, `tf.contrib` and
`tf.layers` are gone; the two functions that it calls are stood in for, by their definitions in TensorFlow 1.15.
"""

import os
import sys
import types

import tensorflow.compat.v1 as tf

HERE = os.path.dirname(os.path.abspath(__file__))
VALUES = os.path.join(HERE, "albert.json")
CONFIG = {
    "vocab_size": 40,
    "embedding_size": 6,
    "hidden_size": 12,
    "num_hidden_layers": 4,
    "num_hidden_groups": 2,
    "inner_group_num": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def layer_norm(inputs, begin_norm_axis, begin_params_axis, scope=None):
    assert begin_norm_axis == begin_params_axis == -1
    width = [int(inputs.shape[-1])]
    with tf.variable_scope(scope, "LayerNorm"):
        beta = tf.get_variable("beta", width, initializer=tf.zeros_initializer())
        gamma = tf.get_variable("gamma", width, initializer=tf.ones_initializer())
        mean, variance = tf.nn.moments(inputs, [-1], keep_dims=True)
        return tf.nn.batch_normalization(inputs, mean, variance, beta, gamma, 1e-12)


def dense(inputs, units, activation, kernel_initializer):
    with tf.variable_scope("dense"):
        kernel = tf.get_variable("kernel", [inputs.shape[-1], units], initializer=kernel_initializer)
        bias = tf.get_variable("bias", [units], initializer=tf.zeros_initializer())
        return activation(tf.matmul(inputs, kernel) + bias)


class _WithLayers(types.ModuleType):
    """`compat.v1` with `layers.dense`, which it no longer has with Keras 3."""

    layers = types.SimpleNamespace(dense=dense)

    def __getattr__(self, name):
        return getattr(tf, name)


def original(checkout):
    """The original's modeling.py as a module."""
    contrib = types.ModuleType("tensorflow.contrib")
    contrib.layers = types.SimpleNamespace(layer_norm=layer_norm)
    sys.modules["tensorflow.contrib"] = contrib
    sys.modules.setdefault("albert", types.ModuleType("albert")).__path__ = [checkout]
    from albert import modeling

    modeling.tf = _WithLayers("tensorflow")
    return modeling


def run_original(checkout, folder, batch):
    """What the original makes of a batch with the checkpoint and the configuration in `folder`."""
    modeling = original(checkout)
    with tf.Graph().as_default(), tf.Session() as session:
        config = modeling.AlbertConfig.from_json_file(os.path.join(folder, "bert_config.json"))
        inputs = [tf.constant(batch[name], tf.int32) for name in ("input_ids", "input_mask", "segment_ids")]
        model = modeling.AlbertModel(config, False, *inputs)
        checkpoint = os.path.join(folder, "bert_model.ckpt")
        reader = tf.train.load_checkpoint(checkpoint)
        for variable in tf.trainable_variables():  # every one of the checkpoint's, under the original's name
            variable.load(reader.get_tensor(variable.op.name), session)
        results = {
            "hidden_states": model.get_sequence_output(),
            "pooled_output": model.get_pooled_output(),
        }
        return session.run(results)


if __name__ == "__main__":
    from regenerate_model import regenerate

    regenerate(VALUES, CONFIG, run_original)
