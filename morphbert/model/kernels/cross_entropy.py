"""Cross entropy over a vocabulary, whose scores are the widest tensor of a training step.

Axes: V pieces, R predictions. Scores are [V, R], so their product and its gradients are wide, and sums over the
  vocabulary add whole rows. As [R, V] they took a tenth longer and three times as long on the CPU.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from morphbert.model.kernels.compiled import compiled

# Reductions first combine this many parts of the vocabulary elementwise, with vector instructions; XLA's reductions on
# the CPU first write their input to memory, or use no vector instructions.
_PARTS = 16


@tf.custom_gradient
def cross_entropy(scores: tf.Tensor, bias: tf.Tensor, labels: tf.Tensor) -> tuple[Any, Callable[..., Any]]:
    """Computes `functions.cross_entropy` in float32; keeps only the scores for the gradient."""
    losses, right, total = _fused_value(scores, bias, labels)

    def gradients(upstream: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, None]:
        of_scores = _fused_gradient(scores, bias, labels, total, upstream)
        return of_scores, tf.cast(tf.reduce_sum(of_scores, 1), tf.float32), None

    return (losses, right), gradients


@tf.custom_gradient
def cross_entropy_and_total(
    scores: tf.Tensor, bias: tf.Tensor, labels: tf.Tensor
) -> tuple[Any, Callable[..., Any]]:
    """Computes `functions.cross_entropy_and_total` in the same way."""
    losses, right, total = _fused_value(scores, bias, labels)

    def gradients(
        upstream: tf.Tensor, _: tf.Tensor, of_total: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, None]:
        of_scores = _fused_gradient_of_both(scores, bias, labels, total, upstream, of_total)
        return of_scores, tf.cast(tf.reduce_sum(of_scores, 1), tf.float32), None

    return (losses, right, total), gradients


def _value(scores: tf.Tensor, bias: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns losses, correct answers, and the log-sum-exp: float32 [R] each."""
    pieces, predictions = scores.shape

    def logits(rows: slice) -> tf.Tensor:
        return tf.cast(scores[rows], tf.float32) + bias[rows, None]

    highest = _over_pieces(pieces, logits, tf.maximum, tf.reduce_max)
    sums = _over_pieces(pieces, lambda rows: tf.exp(logits(rows) - highest), tf.add, tf.reduce_sum)
    total = tf.math.log(sums) + highest

    def numbers_of_highest(rows: slice) -> tf.Tensor:
        return tf.where(logits(rows) == highest, tf.range(pieces)[rows, None], pieces)

    # The first of the highest, as argmax returns, which is many times slower on the CPU.
    guesses = _over_pieces(pieces, numbers_of_highest, tf.minimum, tf.reduce_min)
    of_labels = tf.gather_nd(scores, tf.stack([labels, tf.range(predictions)], 1))
    losses = total - (tf.cast(of_labels, tf.float32) + tf.gather(bias, labels))
    return losses, tf.cast(guesses == labels, tf.float32), total


def _over_pieces(
    pieces: int,
    values: Callable[[slice], tf.Tensor],
    combine: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    reduce: Callable[..., tf.Tensor],
) -> tf.Tensor:
    """Reduces values [V, R], given for some of the V pieces at a time, to [R]."""
    height = pieces // _PARTS
    parts = [values(slice(height * number, height * (number + 1))) for number in range(_PARTS)]
    rest = values(slice(height * _PARTS, pieces))  # fewer than `_PARTS` rows, or none
    return combine(reduce(functools.reduce(combine, parts), 0), reduce(rest, 0))


def _gradient(
    scores: tf.Tensor, bias: tf.Tensor, labels: tf.Tensor, total: tf.Tensor, upstream: tf.Tensor
) -> tf.Tensor:
    probabilities = tf.exp(tf.cast(scores, tf.float32) + bias[:, None] - total)
    wanted = tf.cast(tf.range(scores.shape[0])[:, None] == labels, tf.float32)
    return tf.cast((probabilities - wanted) * upstream, scores.dtype)


def _gradient_of_both(
    scores: tf.Tensor,
    bias: tf.Tensor,
    labels: tf.Tensor,
    total: tf.Tensor,
    upstream: tf.Tensor,
    of_total: tf.Tensor,
) -> tf.Tensor:
    probabilities = tf.exp(tf.cast(scores, tf.float32) + bias[:, None] - total)
    wanted = tf.cast(tf.range(scores.shape[0])[:, None] == labels, tf.float32)
    return tf.cast(probabilities * (upstream + of_total) - wanted * upstream, scores.dtype)


_fused_value = compiled(_value)
_fused_gradient = compiled(_gradient)
_fused_gradient_of_both = compiled(_gradient_of_both)
