"""Stand-ins, by their definitions in TensorFlow 1.15, for the functions that `compat.v1` no longer has."""

import sys
import types

import tensorflow.compat.v1 as tf


def layer_norm(inputs, begin_norm_axis, begin_params_axis, scope=None):
    """`tf.contrib.layers.layer_norm` over the last axis."""
    assert begin_norm_axis == begin_params_axis == -1
    width = [int(inputs.shape[-1])]
    with tf.variable_scope(scope, "LayerNorm"):
        beta = tf.get_variable("beta", width, initializer=tf.zeros_initializer())
        gamma = tf.get_variable("gamma", width, initializer=tf.ones_initializer())
        mean, variance = tf.nn.moments(inputs, [-1], keep_dims=True)
        return tf.nn.batch_normalization(inputs, mean, variance, beta, gamma, 1e-12)


def dense(inputs, units, activation=None, kernel_initializer=None, name=None):
    """`tf.layers.dense`, which Keras 3 took away."""
    with tf.variable_scope(name, "dense"):
        kernel = tf.get_variable("kernel", [inputs.shape[-1], units], initializer=kernel_initializer)
        bias = tf.get_variable("bias", [units], initializer=tf.zeros_initializer())
        outputs = tf.tensordot(inputs, kernel, 1) + bias
        return outputs if activation is None else activation(outputs)


class WithLayers(types.ModuleType):
    """`compat.v1` with `layers.dense`."""

    layers = types.SimpleNamespace(dense=dense)

    def __getattr__(self, name):
        return getattr(tf, name)


def stand_in_for_contrib():
    """Makes `tensorflow.contrib` importable."""
    contrib = types.ModuleType("tensorflow.contrib")
    contrib.layers = types.SimpleNamespace(layer_norm=layer_norm)
    sys.modules["tensorflow.contrib"] = contrib
    return contrib
