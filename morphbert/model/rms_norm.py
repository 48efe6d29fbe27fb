"""RMSNorm (Zhang & Sennrich 2019): LayerNorm without the mean."""

from __future__ import annotations

import tensorflow as tf


def rms_norm(inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor | None, epsilon: float) -> tf.Tensor:
    """Scales the last axis to mean square 1 (computed in float32), then by `gamma`, plus `beta` if there is one."""
    values = tf.cast(inputs, tf.float32)
    slope = tf.math.rsqrt(tf.reduce_mean(values * values, -1, keepdims=True) + epsilon)
    outputs = values * slope * tf.cast(gamma, tf.float32)
    if beta is not None:
        outputs += tf.cast(beta, tf.float32)
    return tf.cast(outputs, inputs.dtype)
