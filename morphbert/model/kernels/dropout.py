"""Dropout whose masks are computed where they are used, and never stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from morphbert.model.kernels.compiled import compiled


class Dropout:
    """One mask for tensors of one shape, which depends only on `seed` (int32 [2]), the shape and the rate.

    Dropout is linear and self-adjoint: it applies the same operation to values and to gradients.
    """

    def __init__(self, rate: float, seed: tf.Tensor):
        # Seeds may be consecutive; the words that Philox derives from them are independent.
        self.words = tf.random.stateless_uniform([2], seed, minval=None, maxval=None, dtype=tf.uint32)
        self.threshold = tf.constant(min(round(rate * 2**32), 2**32 - 1), tf.uint32)
        self.scale = tf.constant(1.0 / (1.0 - rate))

    @property
    def tensors(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the arguments of `dropped` after the values."""
        return self.words, self.threshold, self.scale

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Zeroes a share `rate` of the elements and scales the rest by 1 / (1 - rate)."""

        @tf.custom_gradient
        def drop(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
            return _fused(values, *self.tensors), lambda upstream: _fused(upstream, *self.tensors)

        return drop(values)

    def add(self, values: tf.Tensor, residual: tf.Tensor) -> tf.Tensor:
        """Applies dropout and adds the residual in one loop."""

        @tf.custom_gradient
        def drop(
            values: tf.Tensor, residual: tf.Tensor
        ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
            def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                return _fused(upstream, *self.tensors), upstream

            return _fused_sum(values, residual, *self.tensors), gradients

        return drop(values, residual)


def dropped(values: tf.Tensor, words: tf.Tensor, threshold: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Applies the dropout of a `Dropout`'s tensors, within a compiled loop."""
    kept = (
        _random_bits(values.shape if values.shape.is_fully_defined() else tf.shape(values), words)
        >= threshold
    )
    return tf.where(kept, values * tf.cast(scale, values.dtype), tf.zeros([], values.dtype))


def _dropped_sum(values: tf.Tensor, residual: tf.Tensor, *mask: tf.Tensor) -> tf.Tensor:
    return dropped(values, *mask) + residual


_fused = compiled(dropped)
_fused_sum = compiled(_dropped_sum)


def _random_bits(shape: Any, words: tf.Tensor) -> tf.Tensor:
    """Returns uint32 of `shape`: a hash of each element's number and the two words.

    This is C. Wellons' triple32, in which every input bit influences every output bit, with one word added before and
    another within: ten integer operations per element, of which vector instructions do sixteen at a time. Computing a
    mask twice takes less time than writing it to memory and reading it again.
    """
    bits = _numbered(shape, words[0])
    for number, (shift, factor) in enumerate(((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB))):
        bits = (bits ^ tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint32))) * tf.constant(
            factor, tf.uint32
        )
        bits = bits + words[1] if number == 0 else bits
    return bits ^ tf.bitwise.right_shift(bits, tf.constant(14, tf.uint32))


def _numbered(shape: Any, first: tf.Tensor) -> tf.Tensor:
    """Returns uint32 of `shape`: the numbers from `first` (a scalar) on."""
    if not isinstance(shape, tf.TensorShape):
        return tf.bitcast(tf.reshape(tf.range(tf.reduce_prod(shape)), shape), tf.uint32) + first
    # Axis by axis, and starting at a number unknown when the graph is built: XLA would fold a numbering of all elements
    # into a constant of the tensor's size, gigabytes for all layers of BERT-base.
    numbers, stride = first, 1
    for axis, size in reversed(list(enumerate(shape))):
        steps = tf.bitcast(tf.range(size), tf.uint32) * tf.constant(stride % 2**32, tf.uint32)
        numbers = numbers + tf.reshape(steps, [size] + [1] * (len(shape) - 1 - axis))
        stride *= size
    return numbers
