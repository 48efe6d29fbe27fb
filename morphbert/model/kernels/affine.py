"""The dense layer with a hand-written gradient."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def affine(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None) -> tf.Tensor:
    """Computes `functions.affine` for inputs of known shape."""
    rows = tf.reshape(inputs, [-1, kernel.shape[0]])
    outputs = _product(rows, kernel) if bias is None else _affine(rows, kernel, bias)
    # The size is -1 as in the plain function: with an explicit size TensorFlow's optimizer rearranges later operations,
    # and resumed `gelu_erf` models would differ in the last bits.
    return tf.reshape(outputs, [-1, *inputs.shape[1:-1], kernel.shape[1]])


@tf.custom_gradient
def _affine(
    rows: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]]:
    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return *_product_gradients(rows, kernel, upstream), column_sums(upstream)

    return tf.nn.bias_add(tf.matmul(rows, kernel), bias), gradients


@tf.custom_gradient
def _product(
    rows: tf.Tensor, kernel: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    return tf.matmul(rows, kernel), lambda upstream: _product_gradients(rows, kernel, upstream)


def affine_by_position(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None) -> tf.Tensor:
    """Computes `functions.affine` for inputs [B, L, in] without making them a matrix, as a TPU needs.

    A TPU's compiler chooses the order of B and L in memory. It cannot choose if they are one axis, and copies the
    tensor in front of products that need another order, as those of attention do.
    """
    outputs = _product_by_position(inputs, kernel)
    return outputs if bias is None else _shifted(outputs, bias)


@tf.custom_gradient
def _product_by_position(
    inputs: tf.Tensor, kernel: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        of_inputs = tf.einsum("blo,io->bli", upstream, kernel)
        return of_inputs, tf.einsum("bli,blo->io", inputs, upstream)

    return tf.einsum("bli,io->blo", inputs, kernel), gradients


@tf.custom_gradient
def _shifted(
    outputs: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        of_bias = tf.reduce_sum(tf.cast(upstream, tf.float32), [0, 1])
        return upstream, tf.cast(of_bias, bias.dtype)

    return outputs + bias, gradients


def _product_gradients(
    rows: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the gradients of rows [R, in] · kernel [in, out] with respect to both."""
    of_rows = tf.matmul(upstream, kernel, transpose_b=True)
    # A tall product of two tensors with as many rows is up to a third slower on the CPU than a wide one.
    if kernel.shape[0] > kernel.shape[1]:
        return of_rows, tf.transpose(tf.matmul(upstream, rows, transpose_a=True))
    return of_rows, tf.matmul(rows, upstream, transpose_a=True)


def column_sums(values: tf.Tensor) -> tf.Tensor:
    """Returns the sums of the columns, [..., H] → [H], accumulated in float32 for any dtype."""
    if values.dtype == tf.float32:
        return tf.raw_ops.BiasAddGrad(out_backprop=values)  # four times as fast as `tf.reduce_sum` on the CPU
    # `BiasAddGrad` would accumulate in the narrow dtype, where a sum of thousands stops growing; matrix products do
    # not.
    rows = tf.reshape(values, [-1, values.shape[-1]])
    return tf.matmul(tf.ones([1, rows.shape[0]], rows.dtype), rows)[0]
