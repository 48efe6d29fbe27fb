"""Sizes of tensors, some of which a served graph learns only when it runs."""

from __future__ import annotations

import tensorflow as tf


def length_of(tensor: tf.Tensor, axis: int) -> int | tf.Tensor:
    """Returns the size of an axis: a number where it is known (training, always), a scalar tensor in a served graph."""
    static = tensor.shape[axis]
    return tf.shape(tensor)[axis] if static is None else static
