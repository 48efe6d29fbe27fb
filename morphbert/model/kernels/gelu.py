"""GELU in one loop over memory for the value and one for the gradient."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from morphbert.model.kernels.compiled import compiled

_GELU_SCALE = 0.7978845608028654  # √(2/π)
_GELU_CUBIC = 0.044715


def gelu_parts(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns 0.5 (1 + tanh u), its derivative with respect to 2 u, and that of u with respect to x.

    It uses exp(-2 |u|), because 1 + tanh u and 1 - tanh² u lose all digits for x a few units from 0.
    """
    square = x * x  # products: tf.pow, which tf.nn.gelu uses, is many times slower on the CPU
    u = _GELU_SCALE * x * (1.0 + _GELU_CUBIC * square)
    decay = tf.exp(-2.0 * tf.abs(u))
    share = 1.0 / (1.0 + decay)
    gate = tf.where(u >= 0.0, share, decay * share)
    return gate, decay * share * share, _GELU_SCALE * (1.0 + 3.0 * _GELU_CUBIC * square)


def _gelu_value(inputs: tf.Tensor) -> tf.Tensor:
    x = tf.cast(inputs, tf.float32)
    gate, _, _ = gelu_parts(x)
    return tf.cast(x * gate, inputs.dtype)


def _gelu_gradient(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    x = tf.cast(inputs, tf.float32)
    gate, steepness, slope = gelu_parts(x)
    derivative = gate + 2.0 * x * steepness * slope
    return tf.cast(derivative * tf.cast(upstream, tf.float32), inputs.dtype)


# These are the widest tensors of the layers. One fused loop for the value and one for the gradient take an eighth of
# the time of some fifteen separate operations, even if the whole step is not compiled.
_fused_gelu_value = compiled(_gelu_value)
_fused_gelu_gradient = compiled(_gelu_gradient)


@tf.custom_gradient
def gelu(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Computes `functions.gelu`; keeps only the input for the gradient."""
    return _fused_gelu_value(inputs), lambda upstream: _fused_gelu_gradient(inputs, upstream)
