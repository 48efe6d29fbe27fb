"""Dropout whose masks are computed where they are used, and never stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from morphbert.model.kernels.compiled import compiled
from morphbert.model.kernels.hashing import hashed, numbered, shape_of


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
    # Computing a mask twice takes less time than writing it to memory and reading it again.
    kept = hashed(numbered(shape_of(values), words[0]), words[1]) >= threshold
    return tf.where(kept, values * tf.cast(scale, values.dtype), tf.zeros([], values.dtype))


def _dropped_sum(values: tf.Tensor, residual: tf.Tensor, *mask: tf.Tensor) -> tf.Tensor:
    return dropped(values, *mask) + residual


_fused = compiled(dropped)
_fused_sum = compiled(_dropped_sum)
