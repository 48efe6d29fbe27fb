"""The pieces that the network is made of: dense layer, layer norm, GELU, dropout.

All are functions of tensors. Axes: B sequences, L positions, H hidden, N heads, D dimensions a head.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

Parameters = Mapping[str, tf.Tensor]


class DropoutKeys:
    """Hands out one seed per call, so that every dropout of a step has a mask of its own.

    Masks are a function of (key, number of the call): the same step gives the same masks after a restart.
    """

    def __init__(self, key: tf.Tensor | None):
        self._key = key
        self._calls = 0

    def dropout(self, inputs: tf.Tensor, rate: float) -> tf.Tensor:
        """Zeroes a share `rate` of the elements and scales the rest by 1 / (1 - rate)."""
        if self._key is None or not rate:
            return inputs
        self._calls += 1
        return stateless_dropout(inputs, rate, self._key + tf.constant([0, self._calls], self._key.dtype))


def stateless_dropout(inputs: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Dropout whose mask depends on `seed` (int32 [2]) and the shape alone."""
    return tf.nn.experimental.stateless_dropout(inputs, rate, seed, rng_alg="auto_select")


def dense(parameters: Parameters, name: str, inputs: tf.Tensor) -> tf.Tensor:
    """Maps inputs [B, ..., in] → [B, ..., out] by `name`/kernel [in, out] and `name`/bias [out]."""
    kernel, bias = parameters[f"{name}/kernel"], parameters[f"{name}/bias"]
    rows = tf.reshape(inputs, [-1, kernel.shape[0]])  # one large matrix product, whatever the rank
    outputs = tf.nn.bias_add(tf.matmul(rows, kernel), bias)
    return tf.reshape(outputs, [-1, *inputs.shape[1:-1], kernel.shape[1]])


def layer_norm(parameters: Parameters, name: str, inputs: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Normalises the last axis to mean 0 and variance 1 (computed in float32), then scale and shift."""
    gamma, beta = parameters[f"{name}/LayerNorm/gamma"], parameters[f"{name}/LayerNorm/beta"]
    values = tf.cast(inputs, tf.float32)
    mean, variance = tf.nn.moments(values, axes=[-1], keepdims=True)
    outputs = tf.nn.batch_normalization(
        values, mean, variance, tf.cast(beta, tf.float32), tf.cast(gamma, tf.float32), epsilon
    )
    return tf.cast(outputs, inputs.dtype)


def gelu(inputs: tf.Tensor) -> tf.Tensor:
    """0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))): google-research/bert's form (Hendrycks & Gimpel 2016)."""
    cubic = inputs * inputs * inputs  # tf.pow, which tf.nn.gelu uses, is many times slower on the CPU
    inner = tf.cast(0.7978845608028654, inputs.dtype) * (inputs + tf.cast(0.044715, inputs.dtype) * cubic)
    return tf.cast(0.5, inputs.dtype) * inputs * (tf.cast(1.0, inputs.dtype) + tf.tanh(inner))


def gelu_erf(inputs: tf.Tensor) -> tf.Tensor:
    """X Φ(x), the form that Hugging Face's `gelu` names (Hendrycks & Gimpel 2016)."""
    return tf.nn.gelu(inputs, approximate=False)


_ACTIVATIONS = {
    "gelu": gelu,
    "gelu_new": gelu,
    "gelu_erf": gelu_erf,
    "relu": tf.nn.relu,
    "tanh": tf.tanh,
    "linear": tf.identity,
}


def activation(name: str, inputs: tf.Tensor) -> tf.Tensor:
    """Applies the activation that the configuration calls `name`."""
    return _ACTIVATIONS[name](inputs)
