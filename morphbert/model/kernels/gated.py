"""Gated activations (Shazeer 2020, "GLU Variants Improve Transformer"): activation(a) · b of the two halves [a, b].

GeGLU with `gelu_erf` or `gelu`, SwiGLU with `silu`. Value and gradient are one compiled loop each, and the gradient
keeps only the input. Axes: R rows, I inner width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from morphbert.model.kernels.compiled import compiled
from morphbert.model.kernels.gelu import gelu_parts


def gated(name: str, inputs: tf.Tensor) -> tf.Tensor:
    """`functions.gated`."""
    return _GATED[name](inputs)


def _gelu_erf(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    share = 0.5 * tf.math.erfc(-x * math.sqrt(0.5))
    return x * share, share + x * tf.exp(-0.5 * x * x) * (1.0 / math.sqrt(2.0 * math.pi))


def _gelu(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    gate, steepness, slope = gelu_parts(x)
    return x * gate, gate + 2.0 * x * steepness * slope


def _silu(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    gate = tf.sigmoid(x)
    return x * gate, gate * (1.0 + x * (1.0 - gate))


def _relu(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.nn.relu(x), tf.cast(x > 0.0, x.dtype)


def _tanh(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    value = tf.tanh(x)
    return value, 1.0 - value * value


def _linear(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return x, tf.ones_like(x)


def _by(both: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the gated form of an activation given with its derivative."""

    def value(inputs: tf.Tensor) -> tf.Tensor:
        first, second = tf.split(tf.cast(inputs, tf.float32), 2, -1)
        return tf.cast(both(first)[0] * second, inputs.dtype)

    def gradient(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        first, second = tf.split(tf.cast(inputs, tf.float32), 2, -1)
        activated, slope = both(first)
        above = tf.cast(upstream, tf.float32)
        return tf.cast(tf.concat([above * second * slope, above * activated], -1), inputs.dtype)

    fused_value, fused_gradient = compiled(value), compiled(gradient)

    @tf.custom_gradient
    def call(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return fused_value(inputs), lambda upstream: fused_gradient(inputs, upstream)

    return call


_GATED = {
    "gelu": _by(_gelu),
    "gelu_new": _by(_gelu),
    "gelu_erf": _by(_gelu_erf),
    "silu": _by(_silu),
    "relu": _by(_relu),
    "tanh": _by(_tanh),
    "linear": _by(_linear),
}
