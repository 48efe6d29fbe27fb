"""Dynamic loss scaling for float16, whose gradients would otherwise vanish (Micikevicius et al. 2018, section 3.2)."""

from __future__ import annotations

import tensorflow as tf

from morphbert.model.parameters import replica_variable

FIRST = 2.0**15
# float16 ends at 65504: a larger scale overflows with the loss itself, not with its gradients.
LARGEST = 2.0**24
GROWTH_STEPS = 2000


class LossScale(tf.Module):
    """The factor of the loss before its gradients are taken; the gradients are divided by it afterwards.

    Its state, float32 `scale` and int64 `good_steps`, is part of a checkpoint: a resumed run scales alike.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = replica_variable(tf.constant(FIRST), "loss_scale")
        self.good_steps = replica_variable(tf.constant(0, tf.int64), "good_steps")

    def reset(self) -> None:
        """Returns to the initial state."""
        self.scale.assign(FIRST)
        self.good_steps.assign(0)

    def update(self, finite: tf.Tensor) -> None:
        """Halves the scale after gradients that are not finite, doubles it after `GROWTH_STEPS` good steps."""
        good = tf.where(finite, self.good_steps + 1, tf.constant(0, tf.int64))
        grows = good >= GROWTH_STEPS
        grown = tf.where(grows, tf.minimum(self.scale * 2.0, LARGEST), self.scale)
        self.scale.assign(tf.where(finite, grown, tf.maximum(self.scale / 2.0, 1.0)))
        self.good_steps.assign(tf.where(grows, tf.constant(0, tf.int64), good))
