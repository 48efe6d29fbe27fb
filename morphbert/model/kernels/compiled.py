"""Loops over memory that are compiled into one, also where the step as a whole is not, and what graphs leave behind."""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import ops


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of tensors as one compiled loop, if all their shapes are known, and as it is if not.

    For what computes element by element, of which TensorFlow's own operations each read and write a whole tensor.
    Where a shape is not known, as in a served graph, each new one would be compiled anew.
    """
    loop = fused(function)

    def call(*tensors: tf.Tensor) -> Any:
        known = all(tensor.shape.is_fully_defined() for tensor in tensors)
        return (loop if known else function)(*tensors)

    return call


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled by XLA where this machine can, and else as it is."""
    by_xla = tf.function(function, autograph=False, jit_compile=True)
    plain = tf.function(function, autograph=False)
    return lambda *arguments: (by_xla if host_compiles() else plain)(*arguments)


@functools.cache
def host_compiles() -> bool:
    """Whether TensorFlow can compile for the CPU here: on the host of a TPU it cannot, and says so when it runs.

    Within a graph it would be too late to ask. A graph for a TPU or a GPU loses nothing by it: it is compiled whole.
    """
    with tf.init_scope(), tf.device("CPU:0"):
        try:
            tf.function(tf.identity, jit_compile=True)(tf.zeros([]))
        except tf.errors.OpError:
            return False
    return True


@contextlib.contextmanager
def gradients_released() -> Iterator[None]:
    """Lets go, at its end, of the graphs whose gradients were taken in the block.

    For each use of `tf.custom_gradient` in a graph TensorFlow registers a function under a new name and never takes
    it back. The function holds the graph, and that the weights: 1.3 GB with the moments of BERT-base. There is no
    public way to them. A graph that was made in the block keeps working; its gradients cannot be taken afterwards.
    """
    registry: dict[str, Any] = ops.gradient_registry._registry
    before = set(registry)
    try:
        yield
    finally:
        for name in [name for name in registry if name.startswith("CustomGradient-") and name not in before]:
            del registry[name]
        gc.collect()
