"""Dropout (Srivastava et al. 2014): a mask for each of a step's dropouts, the same after a restart."""

from __future__ import annotations

import tensorflow as tf

from morphbert.model.kernels.dropout import Dropout


class DropoutKeys:
    """Returns one seed per call, so that every dropout of a step has a separate mask.

    Masks are a function of (key, number of the call): the same step gives the same masks after a restart.
    """

    def __init__(self, key: tf.Tensor | None):
        self._key = key
        self._calls = 0

    @property
    def calls(self) -> int:
        """Seeds handed out so far; set back to compute a part again with the same masks."""
        return self._calls

    @calls.setter
    def calls(self, number: int) -> None:
        self._calls = number

    def next(self, rate: float) -> Dropout | None:
        """Returns the next dropout; None where nothing is to be dropped."""
        if self._key is None or not rate:
            return None
        self._calls += 1
        return Dropout(rate, self._key + tf.constant([0, self._calls], self._key.dtype))

    def dropout_add(self, inputs: tf.Tensor, residual: tf.Tensor, rate: float) -> tf.Tensor:
        """`dropout` of the inputs, plus a tensor of the same shape."""
        dropout = self.next(rate)
        return inputs + residual if dropout is None else dropout.add(inputs, residual)

    def dropout(self, inputs: tf.Tensor, rate: float) -> tf.Tensor:
        """Zeroes a share `rate` of the elements and scales the rest by 1 / (1 - rate)."""
        dropout = self.next(rate)
        return inputs if dropout is None else dropout(inputs)
