"""Rotary positions in one loop over memory, whose gradient is the rotation back."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from morphbert.model import functions
from morphbert.model.kernels.compiled import compiled

_fused_turn = compiled(functions.rotate)


@tf.custom_gradient
def rotate(
    values: tf.Tensor, cosines: tf.Tensor, sines: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, None, None]]]:
    """Computes `functions.rotate`; the angles are not weights and get no gradient."""
    return _fused_turn(values, cosines, sines), lambda upstream: (
        _fused_turn(upstream, cosines, -sines),
        None,
        None,
    )
