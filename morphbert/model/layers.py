"""The pieces that the network is made of: dense layer, layer norm, GELU.

All are functions of tensors. Axes: B sequences, L positions, H hidden, N heads, D dimensions a head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from morphbert.model.compiled import compiled
from morphbert.model.config import BertConfig
from morphbert.model.rms_norm import rms_norm

Parameters = Mapping[str, tf.Tensor]


def length_of(tensor: tf.Tensor, axis: int) -> int | tf.Tensor:
    """The size of an axis: a number where it is known (training, always), a scalar tensor in a served graph."""
    static = tensor.shape[axis]
    return tf.shape(tensor)[axis] if static is None else static


def dense(parameters: Parameters, name: str, inputs: tf.Tensor, bias: bool = True) -> tf.Tensor:
    """Maps inputs [B, ..., in] → [B, ..., out] by `name`/kernel [in, out] and, with `bias`, `name`/bias [out]."""
    return affine(inputs, parameters[f"{name}/kernel"], parameters[f"{name}/bias"] if bias else None)


def affine(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None) -> tf.Tensor:
    """Inputs [B, ..., in] times kernel [in, out], plus bias [out] if there is one: → [B, ..., out]."""
    rows = tf.reshape(inputs, [-1, kernel.shape[0]])  # one large matrix product, whatever the rank
    # A served graph needs no gradient.
    by_hand = rows.shape.is_fully_defined()
    if bias is None:
        outputs = (_product_by_hand if by_hand else tf.matmul)(rows, kernel)
    else:
        outputs = (_affine_by_hand if by_hand else _affine)(rows, kernel, bias)
    between = [length_of(inputs, axis) for axis in range(1, len(inputs.shape) - 1)]
    return tf.reshape(outputs, [-1, *between, kernel.shape[1]])


def _affine(rows: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    return tf.nn.bias_add(tf.matmul(rows, kernel), bias)


@tf.custom_gradient
def _affine_by_hand(
    rows: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]]:
    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return *_product_gradients(rows, kernel, upstream), _column_sums(upstream)

    return _affine(rows, kernel, bias), gradients


@tf.custom_gradient
def _product_by_hand(
    rows: tf.Tensor, kernel: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    return tf.matmul(rows, kernel), lambda upstream: _product_gradients(rows, kernel, upstream)


def _product_gradients(
    rows: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradients of rows [R, in] · kernel [in, out] by both."""
    of_rows = tf.matmul(upstream, kernel, transpose_b=True)
    # A tall product of two tensors with as many rows is up to a third slower on the CPU than a wide one.
    if kernel.shape[0] > kernel.shape[1]:
        return of_rows, tf.transpose(tf.matmul(upstream, rows, transpose_a=True))
    return of_rows, tf.matmul(rows, upstream, transpose_a=True)


def norm(parameters: Parameters, name: str, config: BertConfig, inputs: tf.Tensor) -> tf.Tensor:
    """Normalises the last axis by `config.norm_type`, in float32, scales by `gamma` and shifts by `beta`, if any."""
    gamma = parameters[f"{name}/gamma"]
    beta = parameters[f"{name}/beta"] if config.norm_bias else None
    if config.norm_type == "rms_norm":
        return rms_norm(inputs, gamma, beta, config.layer_norm_eps)
    return layer_norm(inputs, gamma, beta, config.layer_norm_eps)


def layer_norm(inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor | None, epsilon: float) -> tf.Tensor:
    """Normalises the last axis to mean 0 and variance 1 (computed in float32), then scale `gamma` and shift `beta`."""
    gamma = tf.cast(gamma, tf.float32)
    beta = tf.zeros_like(gamma) if beta is None else tf.cast(beta, tf.float32)
    if inputs.shape.is_fully_defined():
        return _layer_norm_by_hand(inputs, gamma, beta, tf.constant(epsilon))
    mean, variance = tf.nn.moments(tf.cast(inputs, tf.float32), axes=[-1], keepdims=True)
    return _normalized(inputs, mean, tf.math.rsqrt(variance + epsilon), gamma, beta)


def _normalized(
    inputs: tf.Tensor, mean: tf.Tensor, slope: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor
) -> tf.Tensor:
    outputs = (tf.cast(inputs, tf.float32) - mean) * slope * gamma + beta
    return tf.cast(outputs, inputs.dtype)


def _layer_norm_products(
    inputs: tf.Tensor, mean: tf.Tensor, slope: tf.Tensor, gamma: tf.Tensor, upstream: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """What the gradient adds up along rows, the first two, and along columns."""
    of_gamma = upstream * ((tf.cast(inputs, tf.float32) - mean) * slope)
    return upstream * gamma, of_gamma * gamma, of_gamma


def _layer_norm_gradient(
    inputs: tf.Tensor,
    mean: tf.Tensor,
    slope: tf.Tensor,
    scaled: tf.Tensor,
    level: tf.Tensor,
    tilt: tf.Tensor,
) -> tf.Tensor:
    values = (tf.cast(inputs, tf.float32) - mean) * slope
    return tf.cast(slope * (scaled - level - values * tilt), inputs.dtype)


# As with GELU below: what goes element by element is compiled into one loop. Sums along an axis are left to
# TensorFlow's own operations, which use vector instructions where XLA's sums on the CPU do not.
_fused_normalized = compiled(_normalized)
_fused_layer_norm_products = compiled(_layer_norm_products)
_fused_layer_norm_gradient = compiled(_layer_norm_gradient)


@tf.custom_gradient
def _layer_norm_by_hand(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[Any, ...]]]:
    """`layer_norm` that keeps its input and two numbers a row for the gradient."""
    mean, variance = tf.nn.moments(tf.cast(inputs, tf.float32), axes=[-1], keepdims=True)
    slope = tf.math.rsqrt(variance + epsilon)

    def gradients(upstream: tf.Tensor) -> tuple[Any, ...]:
        upstream = tf.cast(upstream, tf.float32)
        scaled, tilted, of_gamma = _fused_layer_norm_products(inputs, mean, slope, gamma, upstream)
        level, tilt = (tf.reduce_mean(part, -1, keepdims=True) for part in (scaled, tilted))
        of_inputs = _fused_layer_norm_gradient(inputs, mean, slope, scaled, level, tilt)
        return of_inputs, _column_sums(of_gamma), _column_sums(upstream), None

    return _fused_normalized(inputs, mean, slope, gamma, beta), gradients


def _column_sums(values: tf.Tensor) -> tf.Tensor:
    """[..., H] → [H], added up in float32 whatever the dtype."""
    if values.dtype == tf.float32:
        return tf.raw_ops.BiasAddGrad(out_backprop=values)  # four times as fast as `tf.reduce_sum` on the CPU
    # That would add up in the narrow dtype, where a sum of thousands soon stops to move; matrix products do not.
    rows = tf.reshape(values, [-1, values.shape[-1]])
    return tf.matmul(tf.ones([1, rows.shape[0]], rows.dtype), rows)[0]


_GELU_SCALE = 0.7978845608028654  # √(2/π)
_GELU_CUBIC = 0.044715


def _gelu_parts(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """0.5 (1 + tanh u), its derivative by 2 u, and u's by x.

    Written with exp(-2 |u|): 1 + tanh u and 1 - tanh² u lose all their digits where x is a few units from 0.
    """
    square = x * x  # products: tf.pow, which tf.nn.gelu uses, is many times slower on the CPU
    u = _GELU_SCALE * x * (1.0 + _GELU_CUBIC * square)
    decay = tf.exp(-2.0 * tf.abs(u))
    share = 1.0 / (1.0 + decay)
    gate = tf.where(u >= 0.0, share, decay * share)
    return gate, decay * share * share, _GELU_SCALE * (1.0 + 3.0 * _GELU_CUBIC * square)


def _gelu_value(inputs: tf.Tensor) -> tf.Tensor:
    x = tf.cast(inputs, tf.float32)
    gate, _, _ = _gelu_parts(x)
    return tf.cast(x * gate, inputs.dtype)


def _gelu_gradient(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    x = tf.cast(inputs, tf.float32)
    gate, steepness, slope = _gelu_parts(x)
    derivative = gate + 2.0 * x * steepness * slope
    return tf.cast(derivative * tf.cast(upstream, tf.float32), inputs.dtype)


# The widest tensors of the layers pass through here. One fused loop for the value and one for the gradient
# take an eighth of the time of some fifteen operations each with a tensor of its own, also where the step as
# a whole is not compiled; and only the input is kept for the gradient.
_fused_gelu_value = compiled(_gelu_value)
_fused_gelu_gradient = compiled(_gelu_gradient)


@tf.custom_gradient
def _fused_gelu(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    return _fused_gelu_value(inputs), lambda upstream: _fused_gelu_gradient(inputs, upstream)


def gelu(inputs: tf.Tensor) -> tf.Tensor:
    """0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))): google-research/bert's form (Hendrycks & Gimpel 2016)."""
    # Where the shape is not known, as in a served graph, each new one would be compiled anew.
    return _fused_gelu(inputs) if inputs.shape.is_fully_defined() else _gelu_value(inputs)


def gelu_erf(inputs: tf.Tensor) -> tf.Tensor:
    """X Φ(x), the form that Hugging Face's `gelu` names (Hendrycks & Gimpel 2016)."""
    return tf.nn.gelu(inputs, approximate=False)


_ACTIVATIONS = {
    "gelu": gelu,
    "gelu_new": gelu,
    "gelu_erf": gelu_erf,
    "silu": tf.nn.silu,
    "relu": tf.nn.relu,
    "tanh": tf.tanh,
    "linear": tf.identity,
}


def activation(name: str, inputs: tf.Tensor) -> tf.Tensor:
    """Applies the activation that the configuration calls `name`."""
    return _ACTIVATIONS[name](inputs)
