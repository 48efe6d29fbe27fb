"""BERT's optimizer, to the letter, and the two that its users take instead.

Sources: google-research/bert `optimization.py`; AdamW is Loshchilov & Hutter 2019; LAMB is You et al. 2020,
algorithm 2; layer-wise learning rates are Howard & Ruder 2018, section 3.2, as ELECTRA applies them.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping

import tensorflow as tf

from morphbert.model.parameters import Parameter, replica_variable
from morphbert.train.optimizers.schedules import scheduled

# google-research/bert's `exclude_from_weight_decay`.
BIASES_AND_NORMS = ("LayerNorm", "layer_norm", "bias")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """What the optimizer does at each step; the defaults are BERT's.

    Attributes:
      optimizer: `adam` is BERT's: decoupled weight decay and no bias correction; `adamw` corrects the bias of
        the moments; `lamb` does too, and scales each weight's update to the weight's norm.
      learning_rate: the highest rate, reached at the end of the warm-up.
      num_train_steps: the step at which the rate has fallen to its end.
      num_warmup_steps: steps over which the rate rises linearly from 0.
      schedule: how the rate falls, see `scheduled`, also for the next three.
      end_learning_rate: the rate at the end.
      power: of the schedule `polynomial`.
      decay_share: of the schedule `warmup_stable_decay`.
      layer_decay: the rate of each layer is that of the layer above times this; 1 for none.
      weight_decay_rate: decoupled: multiplied by the learning rate and the weight itself.
      exclude_from_weight_decay: regular expressions; a weight whose name matches one is not decayed. The default is
        google-research/bert's, and means biases and LayerNorms.
      beta_1: decay of the mean of gradients.
      beta_2: decay of the mean of squared gradients.
      epsilon: added to the root of the second moment.
      clip_norm: gradients are scaled down to this global norm, after the reduction over replicas.
    """

    optimizer: str = "adam"
    learning_rate: float = 5e-5
    num_train_steps: int = 100_000
    num_warmup_steps: int = 10_000
    schedule: str = "linear"
    end_learning_rate: float = 0.0
    power: float = 1.0
    decay_share: float = 0.1
    layer_decay: float = 1.0
    weight_decay_rate: float = 0.01
    exclude_from_weight_decay: tuple[str, ...] = BIASES_AND_NORMS
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-6
    clip_norm: float = 1.0

    def decays(self, name: str, parameter: Parameter) -> bool:
        """Whether weight decay applies to a weight.

        google-research/bert's list of names means biases and LayerNorms, whatever they are called.
        """
        if not self.weight_decay_rate:
            return False
        if self.exclude_from_weight_decay == BIASES_AND_NORMS:
            return parameter.decays
        return not any(re.search(pattern, name) for pattern in self.exclude_from_weight_decay)


def learning_rate_at(config: OptimizerConfig, step: tf.Tensor) -> tf.Tensor:
    """The rate of the update that follows `step` finished updates: int64 scalar → float32 scalar."""
    return scheduled(
        config.schedule,
        config.learning_rate,
        step,
        config.num_train_steps,
        config.num_warmup_steps,
        config.end_learning_rate,
        config.power,
        config.decay_share,
    )


class Optimizer(tf.Module):
    """Adam, AdamW or LAMB over weights that are known by name.

    Its state is `step` (int64, finished updates) and the moments `adam_m`, `adam_v`, float32, one of each
    weight's shape; like the weights, each replica keeps a copy.
    """

    def __init__(self, config: OptimizerConfig, parameters: Mapping[str, Parameter]):
        super().__init__()
        self.config = config
        #: Names of the weights that it moves; a model's others are frozen.
        self.trained = tuple(parameters)
        self.step = replica_variable(tf.constant(0, tf.int64), "step")
        self.adam_m = {n: replica_variable(tf.zeros(p.shape), f"{n}/adam_m") for n, p in parameters.items()}
        self.adam_v = {n: replica_variable(tf.zeros(p.shape), f"{n}/adam_v") for n, p in parameters.items()}
        self._movement = _Movement(
            config.optimizer,
            config.weight_decay_rate,
            config.beta_1,
            config.beta_2,
            config.epsilon,
            tuple(layer_scales(parameters, config.layer_decay).items()),
            frozenset(name for name, p in parameters.items() if config.decays(name, p)),
        )

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
        norm = tf.linalg.global_norm(list(gradients.values()))
        clip = self.config.clip_norm * tf.minimum(1.0 / norm, 1.0 / self.config.clip_norm)
        rate = learning_rate_at(self.config, self.step)
        done = tf.cast(self.step, tf.float32) + 1.0
        variables = {
            name: (weight, self.adam_m[name], self.adam_v[name]) for name, weight in parameters.items()
        }
        # As tensors: a compiled function must not be given variables of another replica's device.
        before = {name: tuple(map(tf.convert_to_tensor, three)) for name, three in variables.items()}
        moved = _compiled(self._movement)(before, dict(gradients), clip, rate, done)
        for name, three in variables.items():
            for variable, value in zip(three, moved[name], strict=True):
                variable.assign(value)
        self.step.assign_add(1)
        return norm, rate

    def pass_over(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Counts a step whose gradients were not finite and changes nothing else; returns norm 0 and the rate."""
        rate = learning_rate_at(self.config, self.step)
        self.step.assign_add(1)
        return tf.constant(0.0), rate


def _trust_ratio(weight: tf.Tensor, update: tf.Tensor) -> tf.Tensor:
    """LAMB's norm of the weight over that of its update; 1 where either is 0, as with biases at the start."""
    weight_norm, update_norm = tf.norm(weight), tf.norm(update)
    usable = tf.logical_and(weight_norm > 0.0, update_norm > 0.0)
    return tf.where(usable, weight_norm / tf.where(usable, update_norm, 1.0), 1.0)


@dataclasses.dataclass(frozen=True)
class _Movement:
    """What an update does with given weights; optimizers for which it is the same share what is compiled.

    Attributes:
      scales: what the learning rate is multiplied by, for each weight by name.
      decayed: names of the weights that are decayed.
      For the others see `OptimizerConfig`.
    """

    optimizer: str
    weight_decay_rate: float
    beta_1: float
    beta_2: float
    epsilon: float
    scales: tuple[tuple[str, float], ...]
    decayed: frozenset[str]

    def move_all(
        self,
        before: Mapping[str, tuple[tf.Tensor, tf.Tensor, tf.Tensor]],
        gradients: Mapping[str, tf.Tensor],
        clip: tf.Tensor,
        rate: tf.Tensor,
        done: tf.Tensor,
    ) -> dict[str, tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        """Each weight and its moments, by name, after the update that makes `done` of them."""
        return {
            name: self._move(*before[name], gradients[name] * clip, scale * rate, done, name in self.decayed)
            for name, scale in self.scales
        }

    def _move(
        self,
        weight: tf.Tensor,
        m: tf.Tensor,
        v: tf.Tensor,
        gradient: tf.Tensor,
        rate: tf.Tensor,
        done: tf.Tensor,
        decays: bool,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        m = self.beta_1 * m + (1.0 - self.beta_1) * gradient
        v = self.beta_2 * v + (1.0 - self.beta_2) * tf.square(gradient)
        mean, square = m, v
        if self.optimizer != "adam":
            mean /= 1.0 - tf.pow(self.beta_1, done)
            square /= 1.0 - tf.pow(self.beta_2, done)
        update = mean / (tf.sqrt(square) + self.epsilon)
        if decays:
            update += self.weight_decay_rate * weight
        if self.optimizer == "lamb":
            update *= _trust_ratio(weight, update)
        return weight - rate * update, m, v


@functools.lru_cache(maxsize=8)
def _compiled(movement: _Movement) -> Callable[..., dict[str, tuple[tf.Tensor, tf.Tensor, tf.Tensor]]]:
    """One loop over memory for each weight instead of some fifteen, compiled also where the step is not.

    All at once, because most weights are so small that to start a loop takes longer than the loop; and once for all
    trainings of a process that move weights alike.
    """
    return tf.function(movement.move_all, jit_compile=True)


def layer_scales(parameters: Mapping[str, Parameter], decay: float) -> dict[str, float]:
    """What each weight's learning rate is multiplied by: 1 for the heads, `decay` less with each layer below.

    Two layers, 0.5: heads and pooler 1, layer_1 0.5, layer_0 0.25, embeddings 0.125. Layers that share their weights
    (ALBERT's groups) count as one.
    """
    top = 1 + max((p.layer for p in parameters.values() if p.layer is not None), default=0)
    return {name: 1.0 if p.layer is None else decay ** (top - p.layer) for name, p in parameters.items()}
