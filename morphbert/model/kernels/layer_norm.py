"""LayerNorm in two loops over memory, which keeps its input and two numbers per row for the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from morphbert.model.kernels.affine import column_sums
from morphbert.model.kernels.compiled import compiled


def layer_norm(inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Computes `functions.layer_norm` for inputs of known shape."""
    return _layer_norm(inputs, gamma, beta, tf.constant(epsilon))


def _normalized(
    inputs: tf.Tensor, mean: tf.Tensor, slope: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor
) -> tf.Tensor:
    outputs = (tf.cast(inputs, tf.float32) - mean) * slope * gamma + beta
    return tf.cast(outputs, inputs.dtype)


def _products(
    inputs: tf.Tensor, mean: tf.Tensor, slope: tf.Tensor, gamma: tf.Tensor, upstream: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the terms that the gradient sums along rows (the first two) and along columns."""
    of_gamma = upstream * ((tf.cast(inputs, tf.float32) - mean) * slope)
    return upstream * gamma, of_gamma * gamma, of_gamma


def _gradient(
    inputs: tf.Tensor,
    mean: tf.Tensor,
    slope: tf.Tensor,
    scaled: tf.Tensor,
    level: tf.Tensor,
    tilt: tf.Tensor,
) -> tf.Tensor:
    values = (tf.cast(inputs, tf.float32) - mean) * slope
    return tf.cast(slope * (scaled - level - values * tilt), inputs.dtype)


# Elementwise operations are compiled into one loop. TensorFlow's operations compute the sums along an axis, with vector
# instructions, which XLA's sums on the CPU do not use.
_fused_normalized = compiled(_normalized)
_fused_products = compiled(_products)
_fused_gradient = compiled(_gradient)


@tf.custom_gradient
def _layer_norm(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[Any, ...]]]:
    mean, variance = tf.nn.moments(tf.cast(inputs, tf.float32), axes=[-1], keepdims=True)
    slope = tf.math.rsqrt(variance + epsilon)

    def gradients(upstream: tf.Tensor) -> tuple[Any, ...]:
        upstream = tf.cast(upstream, tf.float32)
        scaled, tilted, of_gamma = _fused_products(inputs, mean, slope, gamma, upstream)
        level, tilt = (tf.reduce_mean(part, -1, keepdims=True) for part in (scaled, tilted))
        of_inputs = _fused_gradient(inputs, mean, slope, scaled, level, tilt)
        return of_inputs, column_sums(of_gamma), column_sums(upstream), None

    return _fused_normalized(inputs, mean, slope, gamma, beta), gradients
