"""How one weight moves: the optimizers' update rules, each a function, and the table that chooses one by name.

CONTRIBUTING.md says how to add one.
Sources: `adam` is google-research/bert's `optimization.py`; `adamw` Loshchilov & Hutter 2019; `stable_adamw` Wortsman
et al. 2023, algorithm 2; `lamb` You et al. 2020, algorithm 2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import tensorflow as tf

from morphbert.model.parameters import Parameter
from morphbert.train.optimizers.config import OptimizerConfig
from morphbert.train.optimizers.muon import orthogonal, rms_of_adamw

Moments = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Constants:
    """The values that all rules may read: fields of `OptimizerConfig`."""

    weight_decay_rate: float
    beta_1: float
    beta_2: float
    epsilon: float
    muon_momentum: float

    @classmethod
    def of(cls, config: OptimizerConfig) -> Constants:
        """Returns the values of a configuration."""
        return cls(**{field.name: getattr(config, field.name) for field in dataclasses.fields(cls)})


class WeightState(NamedTuple):
    """One weight before an update; all tensors are float32 and of the weight's shape, except for `done`.

    Attributes:
      weight: its value.
      gradient: clipped.
      moments: by name; zeros at the start.
      done: number of this update, from 1: a scalar.
      decay: rate of weight decay of this weight, 0 for none.
    """

    weight: tf.Tensor
    gradient: tf.Tensor
    moments: Moments
    done: tf.Tensor
    decay: float


class Update(Protocol):
    """One update of one weight."""

    def __call__(self, constants: Constants, state: WeightState) -> tuple[tf.Tensor, Moments]:
        """Returns the update, which is multiplied by the learning rate and subtracted, and the moments after it."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """An update and the state that it needs.

    Attributes:
      moments: their names, which are parts of a checkpoint's.
      update: the function.
      is_elementwise: whether it is one loop over memory, which compilation makes faster.
    """

    moments: tuple[str, ...]
    update: Update
    is_elementwise: bool = True


def _means(constants: Constants, state: WeightState) -> dict[str, tf.Tensor]:
    """Moving means of the gradient and of its square."""
    moments, gradient = state.moments, state.gradient
    return {
        "adam_m": constants.beta_1 * moments["adam_m"] + (1.0 - constants.beta_1) * gradient,
        "adam_v": constants.beta_2 * moments["adam_v"] + (1.0 - constants.beta_2) * tf.square(gradient),
    }


def _corrected(constants: Constants, means: Moments, done: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns both means without the zeros that they started from (Kingma & Ba 2015, section 3)."""
    mean = means["adam_m"] / (1.0 - tf.pow(constants.beta_1, done))
    return mean, means["adam_v"] / (1.0 - tf.pow(constants.beta_2, done))


def _decayed(update: tf.Tensor, state: WeightState) -> tf.Tensor:
    return update + state.decay * state.weight if state.decay else update


def adam(constants: Constants, state: WeightState) -> tuple[tf.Tensor, Moments]:
    """BERT's: decoupled weight decay, and no correction of the moments."""
    means = _means(constants, state)
    update = means["adam_m"] / (tf.sqrt(means["adam_v"]) + constants.epsilon)
    return _decayed(update, state), means


def adamw(constants: Constants, state: WeightState) -> tuple[tf.Tensor, Moments]:
    """Returns the same with the moments corrected."""
    means = _means(constants, state)
    mean, square = _corrected(constants, means, state.done)
    return _decayed(mean / (tf.sqrt(square) + constants.epsilon), state), means


def stable_adamw(constants: Constants, state: WeightState) -> tuple[tf.Tensor, Moments]:
    """AdamW whose rate falls for a weight whose gradients are larger than its second moment expects.

    The rate is divided by the root mean square of gradient / √second moment where that is above 1, as Adafactor clips
    its updates.
    """
    means = _means(constants, state)
    mean, square = _corrected(constants, means, state.done)
    ratio = tf.square(state.gradient) / tf.maximum(square, constants.epsilon**2)
    update = _decayed(mean / (tf.sqrt(square) + constants.epsilon), state)
    return update / tf.maximum(1.0, tf.sqrt(tf.reduce_mean(ratio))), means


def lamb(constants: Constants, state: WeightState) -> tuple[tf.Tensor, Moments]:
    """AdamW, its update scaled to the weight's norm: × ‖weight‖ / ‖update‖, or 1 where either is 0."""
    update, means = adamw(constants, state)
    weight_norm, update_norm = tf.norm(state.weight), tf.norm(update)
    usable = tf.logical_and(weight_norm > 0.0, update_norm > 0.0)  # not so for biases at the start
    return update * tf.where(usable, weight_norm / tf.where(usable, update_norm, 1.0), 1.0), means


def muon(constants: Constants, state: WeightState) -> tuple[tf.Tensor, Moments]:
    """Returns the momentum's nearest orthogonal matrix, see the module `muon`."""
    momentum = constants.muon_momentum * state.moments["muon_m"] + state.gradient
    ahead = state.gradient + constants.muon_momentum * momentum  # Nesterov's
    update = orthogonal(ahead) * rms_of_adamw(state.weight.shape)
    return _decayed(update, state), {"muon_m": momentum}


_ADAMS = ("adam_m", "adam_v")
ADAMW = Rule(_ADAMS, adamw)
MUON = Rule(("muon_m",), muon, is_elementwise=False)


def _for_all(rule: Rule) -> Callable[[Parameter], Rule]:
    return lambda parameter: rule


# By name: which rule a weight moves by.
OPTIMIZERS: Mapping[str, Callable[[Parameter], Rule]] = {
    "adam": _for_all(Rule(_ADAMS, adam)),
    "adamw": _for_all(ADAMW),
    "stable_adamw": _for_all(Rule(_ADAMS, stable_adamw)),
    "lamb": _for_all(Rule(_ADAMS, lamb)),
    "muon": lambda parameter: MUON if parameter.is_hidden_matrix else ADAMW,
}
