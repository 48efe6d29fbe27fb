"""Learning rates as functions of the step. BERT's is `linear`; the others are common replacements."""

from __future__ import annotations

import math

import tensorflow as tf


def scheduled(
    name: str,
    top: float,
    step: tf.Tensor,
    num_train_steps: int,
    num_warmup_steps: int,
    end: float = 0.0,
    power: float = 1.0,
    decay_share: float = 0.1,
) -> tf.Tensor:
    """The rate of the update that follows `step` finished updates: int64 scalar → float32 scalar.

    The warm-up rises linearly from 0 to `top`. The rest is counted from step 0, not from the warm-up's end,
    as in google-research/bert: after the warm-up a falling schedule starts below the top.

    `linear`, top 1, 10 steps, 2 of warm-up: 0, 0.5, 0.8, 0.7, … 0.1, 0

    Args:
      name: `linear` or `polynomial` fall to `end` with (1 - progress) ** power (`linear`: power 1);
        `cosine` with half a wave (Loshchilov & Hutter 2017, without restarts); `constant` stays;
        `warmup_stable_decay` stays and falls linearly over the last `decay_share` of the steps (Hu et al. 2024).
      top: the highest rate.
      step: finished updates.
      num_train_steps: the step at which the rate has fallen to `end`.
      num_warmup_steps: 0 for none.
      end: the last rate.
      power: of `polynomial`.
      decay_share: of `warmup_stable_decay`.
    """
    done = tf.cast(step, tf.float32)
    total = float(num_train_steps)
    progress = tf.minimum(done, total) / total
    if name in ("linear", "polynomial"):
        exponent = 1.0 if name == "linear" else power
        share = tf.pow(1.0 - progress, exponent) if exponent != 1.0 else 1.0 - progress
    elif name == "cosine":
        share = 0.5 * (1.0 + tf.cos(math.pi * progress))
    elif name == "warmup_stable_decay":
        share = tf.minimum(1.0, (1.0 - progress) / decay_share)
    else:
        share = tf.ones_like(progress)
    rate = end + (top - end) * share
    if not num_warmup_steps:
        return rate
    return tf.where(done < num_warmup_steps, top * done / float(num_warmup_steps), rate)
