"""Fusion of loops over memory, even if the whole step is not compiled, and the release of gradient graphs."""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import ops


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `function` of tensors as one compiled loop if all shapes are known, and otherwise unchanged.

    This is for elementwise computation, where each of TensorFlow's operations reads and writes a whole tensor. With
    unknown shapes, as in a served graph, each new shape would be compiled again.
    """
    loop = fused(function)

    def call(*tensors: tf.Tensor) -> Any:
        known = all(tensor.shape.is_fully_defined() for tensor in tensors)
        return (loop if known else function)(*tensors)

    return call


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `function` compiled by XLA if this machine can, and otherwise unchanged."""
    by_xla = tf.function(function, autograph=False, jit_compile=True)
    plain = tf.function(function, autograph=False)
    return lambda *arguments: (by_xla if host_compiles() else plain)(*arguments)


@functools.cache
def host_compiles() -> bool:
    """Returns whether TensorFlow can compile for the CPU: on the host of a TPU it cannot, and fails at run time.

    A graph cannot check this itself. A graph for a TPU or a GPU loses nothing, because it is compiled as a whole.
    """
    with tf.init_scope(), tf.device("CPU:0"):
        try:
            tf.function(tf.identity, jit_compile=True)(tf.zeros([]))
        except tf.errors.OpError:
            return False
    return True


@contextlib.contextmanager
def gradients_released() -> Iterator[None]:
    """Releases, at the end of the block, the graphs whose gradients were taken in it.

    For each use of `tf.custom_gradient` in a graph TensorFlow registers a function under a new name and never removes
    it. The function holds the graph, which holds the weights: 1.3 GB with the moments of BERT-base. TensorFlow has no
    public access to them. A graph made in the block keeps working, but its gradients cannot be taken afterwards.
    """
    registry: dict[str, Any] = ops.gradient_registry._registry
    before = set(registry)
    try:
        yield
    finally:
        for name in [name for name in registry if name.startswith("CustomGradient-") and name not in before]:
            del registry[name]
        gc.collect()
