"""Loops over memory that are compiled into one, also where the step as a whole is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of tensors as one compiled loop, if all their shapes are known, and as it is if not.

    For what computes element by element, of which TensorFlow's own operations each read and write a whole tensor.
    Where a shape is not known, as in a served graph, each new one would be compiled anew.
    """
    fused = tf.function(function, jit_compile=True)

    def call(*tensors: tf.Tensor) -> Any:
        known = all(tensor.shape.is_fully_defined() for tensor in tensors)
        return (fused if known else function)(*tensors)

    return call
