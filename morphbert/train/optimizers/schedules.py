"""Learning rates as functions of the step. BERT's is `linear`; the others are common replacements."""

from __future__ import annotations

import math

import tensorflow as tf

from morphbert.train.optimizers.config import ScheduledConfig


def learning_rate_at(config: ScheduledConfig, step: tf.Tensor) -> tf.Tensor:
    """Returns the rate of the update that follows `step` finished updates: int64 scalar → float32 scalar.

    The warm-up rises linearly from 0 to the highest rate. The rest is counted from step 0, not from the warm-up's end,
    as in google-research/bert: after the warm-up a falling schedule starts below the highest rate.

    `linear`, highest rate 1, 10 steps, 2 of warm-up: 0, 0.5, 0.8, 0.7, … 0.1, 0

    `linear` and `polynomial` fall with (1 - progress) ** power (`linear`: power 1); `cosine` falls with half a wave
    (Loshchilov & Hutter 2017, without restarts); `constant` stays; `warmup_stable_decay` stays and falls linearly over
    the last `decay_share` of the steps (Hu et al. 2024).
    """
    name, top, end = config.schedule, config.learning_rate, config.end_learning_rate
    done = tf.cast(step, tf.float32)
    total = float(config.num_train_steps)
    progress = tf.minimum(done, total) / total
    if name in ("linear", "polynomial"):
        exponent = 1.0 if name == "linear" else config.power
        share = tf.pow(1.0 - progress, exponent) if exponent != 1.0 else 1.0 - progress
    elif name == "cosine":
        share = 0.5 * (1.0 + tf.cos(math.pi * progress))
    elif name == "warmup_stable_decay":
        share = tf.minimum(1.0, (1.0 - progress) / config.decay_share)
    else:
        share = tf.ones_like(progress)
    rate = end + (top - end) * share
    if not config.num_warmup_steps:
        return rate
    return tf.where(done < config.num_warmup_steps, top * done / float(config.num_warmup_steps), rate)
