"""BERT's optimizer and schedule, to the letter, with an option wherever its users differ.

Source: google-research/bert `optimization.py`; decoupled weight decay is Loshchilov & Hutter 2019.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import tensorflow as tf

from morphbert.model.parameters import replica_variable


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """What the optimizer does at each step; the defaults are BERT's.

    Attributes:
      learning_rate: the highest rate, reached at the end of the warm-up.
      num_train_steps: the step at which the rate has fallen to 0.
      num_warmup_steps: steps over which the rate rises linearly from 0.
      weight_decay_rate: decoupled: multiplied by the learning rate and the weight itself.
      exclude_from_weight_decay: regular expressions; a weight whose name matches one is not decayed.
      beta_1: decay of the mean of gradients.
      beta_2: decay of the mean of squared gradients.
      epsilon: added to the root of the second moment.
      clip_norm: gradients are scaled down to this global norm, after the reduction over replicas.
      bias_correction: Adam's own correction of the moments (Kingma & Ba 2015), which BERT leaves out.
    """

    learning_rate: float = 5e-5
    num_train_steps: int = 100_000
    num_warmup_steps: int = 10_000
    weight_decay_rate: float = 0.01
    exclude_from_weight_decay: tuple[str, ...] = ("LayerNorm", "layer_norm", "bias")
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-6
    clip_norm: float = 1.0
    bias_correction: bool = False


def learning_rate_at(config: OptimizerConfig, step: tf.Tensor) -> tf.Tensor:
    """The rate of the update that follows `step` finished updates (int64 scalar → float32 scalar).

    In the warm-up `learning_rate * step / num_warmup_steps`; from there on the line that falls from
    `learning_rate` at step 0 to 0 at `num_train_steps` (so it starts, after the warm-up, below the top).

    learning_rate=1, num_train_steps=10, num_warmup_steps=2: 0, 0.5, 0.8, 0.7, … 0.1, 0
    """
    done = tf.cast(step, tf.float32)
    total = float(config.num_train_steps)
    decayed = config.learning_rate * (1.0 - tf.minimum(done, total) / total)
    if not config.num_warmup_steps:
        return decayed
    warming = config.learning_rate * done / float(config.num_warmup_steps)
    return tf.where(done < config.num_warmup_steps, warming, decayed)


class AdamWeightDecay(tf.Module):
    """Adam with decoupled weight decay over weights that are known by name.

    Its state is `step` (int64, finished updates) and the moments `adam_m`, `adam_v`, float32, one of each
    weight's shape; like the weights, each replica keeps a copy.
    """

    def __init__(self, config: OptimizerConfig, parameters: Mapping[str, tf.Variable]):
        super().__init__()
        self.config = config
        self.step = replica_variable(tf.constant(0, tf.int64), "step")
        self.adam_m = {n: replica_variable(tf.zeros(p.shape), f"{n}/adam_m") for n, p in parameters.items()}
        self.adam_v = {n: replica_variable(tf.zeros(p.shape), f"{n}/adam_v") for n, p in parameters.items()}

    def apply(
        self, parameters: Mapping[str, tf.Variable], gradients: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Clips, updates every weight and counts the step.

        Args:
          parameters: the weights by name.
          gradients: dense float32 gradients of the global batch's loss, by the same names.

        Returns:
          The global norm before clipping and the learning rate that was used: float32 scalars.
        """
        config = self.config
        clipped, norm = tf.clip_by_global_norm(list(gradients.values()), config.clip_norm)
        rate = learning_rate_at(config, self.step)
        for (name, weight), gradient in zip(parameters.items(), clipped, strict=True):
            self._update(name, weight, gradient, rate)
        self.step.assign_add(1)
        return norm, rate

    def _update(self, name: str, weight: tf.Variable, gradient: tf.Tensor, rate: tf.Tensor) -> None:
        config, m, v = self.config, self.adam_m[name], self.adam_v[name]
        mean = config.beta_1 * m + (1.0 - config.beta_1) * gradient
        square = config.beta_2 * v + (1.0 - config.beta_2) * tf.square(gradient)
        if config.bias_correction:
            done = tf.cast(self.step, tf.float32) + 1.0
            corrected = square / (1.0 - tf.pow(config.beta_2, done))
            update = mean / (1.0 - tf.pow(config.beta_1, done)) / (tf.sqrt(corrected) + config.epsilon)
        else:
            update = mean / (tf.sqrt(square) + config.epsilon)
        if self.decays(name):
            update += config.weight_decay_rate * weight
        m.assign(mean)
        v.assign(square)
        weight.assign_sub(rate * update)

    def decays(self, name: str) -> bool:
        """Whether weight decay applies to the weight: `bert/pooler/dense/kernel` → True, `…/bias` → False."""
        excluded = self.config.exclude_from_weight_decay
        return bool(self.config.weight_decay_rate) and not any(re.search(p, name) for p in excluded)
