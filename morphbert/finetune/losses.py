"""Losses of classes: each takes scores [N, C] and int32 labels [N] and returns float32 [N].

Sources: label smoothing, Szegedy et al. 2016, section 7; focal loss, Lin et al. 2017, equation 5 over softmax
probabilities; LDAM and deferred re-weighting, Cao et al. 2019, equations 12-13 and algorithm 1, with margins C /
n^(1/4) and scale s; class weights by the effective number of samples, Cui et al. 2019, equation 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from morphbert.finetune.config import LossConfig, class_weights
from morphbert.finetune.plugins import LOSSES


def class_losses(
    config: LossConfig, scores: tf.Tensor, labels: tf.Tensor, reweighted: tf.Tensor | None = None
) -> tf.Tensor:
    """Returns the configured loss; `reweighted`, float32 [N], is 0 before class weights begin."""
    if config.loss not in LOSSES.own:
        found = LOSSES.get(config.loss, f"--loss={config.loss}")(scores, labels)
    elif config.loss == "focal":
        found = focal(scores, labels, config.focal_gamma)
    elif config.loss == "ldam":
        margins = tf.constant(ldam_margins(config.counts, config.ldam_margin))
        found = ldam(scores, labels, margins, config.ldam_scale)
    else:
        found = cross_entropy(scores, labels, config.label_smoothing)
    if not config.class_weights:
        return found
    weights = tf.gather(tf.constant(class_weights(config.counts)), labels)
    return found * (weights if reweighted is None else 1.0 + reweighted * (weights - 1.0))


def cross_entropy(scores: tf.Tensor, labels: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """Returns -Σ q log p, where q is 1 - smoothing on the label, plus smoothing / C on every class."""
    logs = tf.nn.log_softmax(scores)
    label = -tf.gather(logs, labels, batch_dims=1)
    return (1.0 - smoothing) * label - smoothing * tf.reduce_mean(logs, -1)


def focal(scores: tf.Tensor, labels: tf.Tensor, gamma: float) -> tf.Tensor:
    """Returns -(1 - p)^gamma log p, which weights correct examples less; gamma 0 is cross entropy."""
    logs = tf.gather(tf.nn.log_softmax(scores), labels, batch_dims=1)
    # -expm1 keeps the digits of 1 - p for p near 1; the slope of its power is not finite at 0.
    wrong = tf.maximum(-tf.math.expm1(logs), 1e-12)
    return -tf.pow(wrong, gamma) * logs


def ldam(scores: tf.Tensor, labels: tf.Tensor, margins: tf.Tensor, scale: float) -> tf.Tensor:
    """Returns the cross entropy of scale × scores, with the label's score lowered by its margin, float32 [C]."""
    lowered = tf.one_hot(labels, scores.shape[-1], dtype=scores.dtype) * margins
    return cross_entropy(scale * (scores - lowered), labels)


def ldam_margins(counts: Sequence[int], largest: float = 0.5) -> np.ndarray:
    """Returns margins [C] that decrease with the fourth root of a class's count; the rarest class has `largest`."""
    roots = 1.0 / np.power(np.maximum(counts, 1), 0.25)
    margins: np.ndarray = (roots * (largest / roots.max())).astype(np.float32)
    return margins
