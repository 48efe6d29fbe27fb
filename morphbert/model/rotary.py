"""Rotary positions (Su et al. 2021, "RoFormer"): queries and keys are turned by angles that grow with the position.

The product of a turned query and a turned key depends on the distance of their positions alone. The pairs of
dimensions that are turned together are d and d + D/2, as in ModernBERT. Axes: B sequences, N heads, L positions,
D dimensions a head.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Rotation(NamedTuple):
    """Cosines and sines of the angles, float32 [B, 1, L, D/2] each; B is 1 where all sequences count alike."""

    cosines: tf.Tensor
    sines: tf.Tensor


def rotation(positions: tf.Tensor, size: int, theta: float) -> Rotation:
    """Computes the angles of every position: position · theta^(-2d/D) for d from 0 to D/2 - 1.

    Args:
      positions: int32 [B, L].
      size: dimensions of a head, D; even.
      theta: base of the angles. The larger it is, the farther the slowest dimensions tell positions apart.
    """
    shares = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    # Each step is rounded to float32 as PyTorch rounds it, so that far positions have the same angles there.
    steps = np.float32(1.0) / np.power(float(theta), shares.astype(np.float64)).astype(np.float32)
    angles = tf.cast(positions, tf.float32)[:, None, :, None] * steps  # [B, 1, L, D/2]
    return Rotation(tf.cos(angles), tf.sin(angles))
