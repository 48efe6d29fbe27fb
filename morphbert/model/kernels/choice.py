"""Chooses between the functions of `functions` and their fast versions, by the shapes of the tensors and the device.

A kernel is taken if the shapes of all tensors are known, as in training. A served graph, which needs no gradient and
would be compiled for each new shape, gets the plain function.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, cast

import tensorflow as tf

from morphbert.model import functions
from morphbert.model.kernels import affine as _affine
from morphbert.model.kernels import attention as _attention
from morphbert.model.kernels import cross_entropy as _cross_entropy
from morphbert.model.kernels import gated as _gated
from morphbert.model.kernels import gelu as _gelu
from morphbert.model.kernels import layer_norm as _layer_norm
from morphbert.model.kernels import long_attention as _long_attention
from morphbert.model.kernels import rotary as _rotary
from morphbert.model.kernels import tied_table as _tied_table
from morphbert.model.kernels.dropout import Dropout


def _chosen(plain: Callable[..., Any], fast: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that calls `fast` for tensors of known shapes, and otherwise `plain`."""

    def call(*arguments: Any) -> Any:
        tensors = (argument for argument in arguments if isinstance(argument, tf.Tensor))
        known = all(tensor.shape.is_fully_defined() for tensor in tensors)
        return (fast if known else plain)(*arguments)

    call.__doc__ = plain.__doc__
    return call


def _affine_by_device(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None) -> tf.Tensor:
    by_position = platform() == "TPU" and len(inputs.shape) == 3
    return (_affine.affine_by_position if by_position else _affine.affine)(inputs, kernel, bias)


def _attention_by_length(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, bias: tf.Tensor, dropout: Dropout | None
) -> tf.Tensor:
    if dropout is None and _long_attention.is_long(query):
        return _long_attention.attention_in_parts(query, key, value, bias)
    return _attention.attention_by_position(query, key, value, bias, dropout)


affine = _chosen(functions.affine, _affine_by_device)
layer_norm = _chosen(functions.layer_norm, _layer_norm.layer_norm)
gelu = _chosen(functions.gelu, _gelu.gelu)
gated = _chosen(functions.gated, _gated.gated)
rotate = _chosen(functions.rotate, _rotary.rotate)
attention = _chosen(functions.attention, _attention.attention)
attention_by_position = _chosen(functions.attention_by_position, _attention_by_length)
cross_entropy = _chosen(functions.cross_entropy, _cross_entropy.cross_entropy)
cross_entropy_and_total = _chosen(functions.cross_entropy_and_total, _cross_entropy.cross_entropy_and_total)
both_uses = _tied_table.both_uses


def activation(name: str, inputs: tf.Tensor) -> tf.Tensor:
    """`functions.activation`."""
    return gelu(inputs) if name in ("gelu", "gelu_new") else functions.activation(name, inputs)


_lowered_for: contextvars.ContextVar[str | None] = contextvars.ContextVar("lowered_for", default=None)


@contextlib.contextmanager
def lowered_for(device: str) -> Iterator[None]:
    """Within it, graphs are for a kind of device that this machine may not have."""
    token = _lowered_for.set(device)
    try:
        yield
    finally:
        _lowered_for.reset(token)


def platform() -> str:
    """Returns the kind of device of the current graph: `CPU`, `GPU` or `TPU`."""
    if (chosen := _lowered_for.get()) is not None:
        return chosen
    strategy = tf.distribute.get_strategy()
    if tf.distribute.has_strategy():
        return cast(str, tf.DeviceSpec.from_string(strategy.extended.worker_devices[0]).device_type)
    return "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
