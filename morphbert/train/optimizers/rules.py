"""How one weight moves: the optimizers' update rules, each a function, and the table that chooses one by name.

To add an optimizer is to write an `Update` here or in a file beside this one, and to name it in `OPTIMIZERS`.
Sources: `adam` is google-research/bert's `optimization.py`; `adamw` Loshchilov & Hutter 2019; `stable_adamw` Wortsman
et al. 2023, algorithm 2; `lamb` You et al. 2020, algorithm 2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol

import tensorflow as tf

from morphbert.model.parameters import Parameter
from morphbert.train.optimizers.muon import orthogonal, rms_of_adamw

Moments = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Constants:
    """The values that all rules may read; see `OptimizerConfig`."""

    weight_decay_rate: float
    beta_1: float
    beta_2: float
    epsilon: float
    muon_momentum: float


class Update(Protocol):
    """One update of one weight."""

    def __call__(
        self,
        constants: Constants,
        weight: tf.Tensor,
        gradient: tf.Tensor,
        moments: Moments,
        done: tf.Tensor,
        decay: float,
    ) -> tuple[tf.Tensor, Moments]:
        """Returns the update, which is multiplied by the learning rate and subtracted, and the moments after it.

        Args:
          weight: float32, as are all tensors.
          gradient: clipped, of the weight's shape.
          moments: by name, of the weight's shape; zeros at the start.
          done: number of this update, from 1.
          decay: rate of weight decay of this weight, 0 for none.
        """


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


def _means(constants: Constants, gradient: tf.Tensor, moments: Moments) -> dict[str, tf.Tensor]:
    """Moving means of the gradient and of its square."""
    return {
        "adam_m": constants.beta_1 * moments["adam_m"] + (1.0 - constants.beta_1) * gradient,
        "adam_v": constants.beta_2 * moments["adam_v"] + (1.0 - constants.beta_2) * tf.square(gradient),
    }


def _corrected(constants: Constants, means: Moments, done: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Both means without the zeros that they started from (Kingma & Ba 2015, section 3)."""
    mean = means["adam_m"] / (1.0 - tf.pow(constants.beta_1, done))
    return mean, means["adam_v"] / (1.0 - tf.pow(constants.beta_2, done))


def _decayed(update: tf.Tensor, weight: tf.Tensor, decay: float) -> tf.Tensor:
    return update + decay * weight if decay else update


def adam(
    constants: Constants,
    weight: tf.Tensor,
    gradient: tf.Tensor,
    moments: Moments,
    done: tf.Tensor,
    decay: float,
) -> tuple[tf.Tensor, Moments]:
    """BERT's: decoupled weight decay, and no correction of the moments."""
    means = _means(constants, gradient, moments)
    update = means["adam_m"] / (tf.sqrt(means["adam_v"]) + constants.epsilon)
    return _decayed(update, weight, decay), means


def adamw(
    constants: Constants,
    weight: tf.Tensor,
    gradient: tf.Tensor,
    moments: Moments,
    done: tf.Tensor,
    decay: float,
) -> tuple[tf.Tensor, Moments]:
    """The same with the moments corrected."""
    means = _means(constants, gradient, moments)
    mean, square = _corrected(constants, means, done)
    return _decayed(mean / (tf.sqrt(square) + constants.epsilon), weight, decay), means


def stable_adamw(
    constants: Constants,
    weight: tf.Tensor,
    gradient: tf.Tensor,
    moments: Moments,
    done: tf.Tensor,
    decay: float,
) -> tuple[tf.Tensor, Moments]:
    """AdamW whose rate falls for a weight whose gradients are larger than its second moment expects.

    The rate is divided by the root mean square of gradient / √second moment where that is above 1, as Adafactor clips
    its updates.
    """
    means = _means(constants, gradient, moments)
    mean, square = _corrected(constants, means, done)
    ratio = tf.square(gradient) / tf.maximum(square, constants.epsilon**2)
    update = _decayed(mean / (tf.sqrt(square) + constants.epsilon), weight, decay)
    return update / tf.maximum(1.0, tf.sqrt(tf.reduce_mean(ratio))), means


def lamb(
    constants: Constants,
    weight: tf.Tensor,
    gradient: tf.Tensor,
    moments: Moments,
    done: tf.Tensor,
    decay: float,
) -> tuple[tf.Tensor, Moments]:
    """AdamW, its update scaled to the weight's norm: × ‖weight‖ / ‖update‖, or 1 where either is 0."""
    update, means = adamw(constants, weight, gradient, moments, done, decay)
    weight_norm, update_norm = tf.norm(weight), tf.norm(update)
    usable = tf.logical_and(weight_norm > 0.0, update_norm > 0.0)  # not so for biases at the start
    return update * tf.where(usable, weight_norm / tf.where(usable, update_norm, 1.0), 1.0), means


def muon(
    constants: Constants,
    weight: tf.Tensor,
    gradient: tf.Tensor,
    moments: Moments,
    done: tf.Tensor,
    decay: float,
) -> tuple[tf.Tensor, Moments]:
    """The momentum's nearest orthogonal matrix, see the module `muon`."""
    momentum = constants.muon_momentum * moments["muon_m"] + gradient
    ahead = gradient + constants.muon_momentum * momentum  # Nesterov's
    update = orthogonal(ahead) * rms_of_adamw(weight.shape)
    return _decayed(update, weight, decay), {"muon_m": momentum}


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
