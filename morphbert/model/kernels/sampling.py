"""Samples from scores over a vocabulary, by the Gumbel-max trick (Gumbel 1954): the highest score plus noise."""

from __future__ import annotations

import tensorflow as tf

from morphbert.model.kernels.compiled import compiled
from morphbert.model.kernels.hashing import hashed, numbered


def sample(scores: tf.Tensor, bias: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Draws a piece for each prediction, with the probabilities that softmax gives it.

    Args:
      scores: [V, B P], without the bias.
      bias: float32 [V].
      keys: int32 [B, 2], the keys of a row's draws: the row's number, and one that all rows share.

    Returns:
      int32 [B, P]; no gradient flows through it.
    """
    words = tf.bitcast(keys, tf.uint32)
    noisy = _noisy(tf.stop_gradient(scores), tf.stop_gradient(bias), words[:, 0], words[0, 1])
    drawn = tf.argmax(noisy, 0, output_type=tf.int32)
    rows = keys.shape[0] if keys.shape[0] is not None else tf.shape(keys)[0]
    return tf.reshape(drawn, [rows, -1])


@compiled
def _noisy(scores: tf.Tensor, bias: tf.Tensor, rows: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
    """Scores with standard Gumbel noise, float32 [V, B P]; a function of each row's key, whatever the batch."""
    known = scores.shape.is_fully_defined() and rows.shape.is_fully_defined()
    pieces, all_predictions = scores.shape if known else tf.unstack(tf.shape(scores))
    predictions = all_predictions // (rows.shape[0] if known else tf.shape(rows)[0])
    shape = tf.TensorShape([pieces, 1, predictions]) if known else tf.stack([pieces, 1, predictions])
    bits = hashed(numbered(shape, first), rows[None, :, None])  # [V, B, P]
    # 24 bits are what float32 holds: from 2⁻²⁵ to 1 - 2⁻²⁵, so that both logarithms are finite. The highest noise
    # decides. It comes from the smallest numbers u: every device computes the logarithm of 1 - u alike for them.
    uniform = (tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) + 0.5) * 2.0**-24
    noise = tf.reshape(-tf.math.log(-tf.math.log1p(-uniform)), [pieces, all_predictions])
    return tf.cast(scores, tf.float32) + bias[:, None] + noise
