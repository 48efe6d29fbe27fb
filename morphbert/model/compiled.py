"""Loops over memory that are compiled into one, also where the step as a whole is not, and what graphs leave behind."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import ops


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


def forget_gradients() -> None:
    """Lets go of the graphs whose gradients were taken; for when a training is over and its process goes on.

    For each use of `tf.custom_gradient` in a graph TensorFlow registers a function under a new name and never takes
    it back. The function holds the graph, and that the weights: 1.3 GB with the moments of BERT-base. There is no
    public way to them. Graphs that are in use keep working; one of which gradients are yet to be taken does not.
    """
    registry: dict[str, Any] = ops.gradient_registry._registry
    for name in [name for name in registry if name.startswith("CustomGradient-")]:
        del registry[name]
    gc.collect()
