"""The optimizer: clipping, learning rate, one update of every weight by its rule, and the state between updates.

Layer-wise learning rates are Howard & Ruder 2018, section 3.2, as ELECTRA applies them. The rules are in `rules`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping

import tensorflow as tf

from morphbert.model.kernels.compiled import fused
from morphbert.model.parameters import Parameter, replica_variable
from morphbert.train.optimizers.config import ScheduledConfig
from morphbert.train.optimizers.rules import OPTIMIZERS, Constants, Moments, Rule, WeightState
from morphbert.train.optimizers.schedules import learning_rate_at


class Optimizer(tf.Module):
    """Moves weights that are known by name, each by the rule that the configuration names for it.

    Its state is `step` (int64, finished updates) and, under each moment's name (`adam_m`, `adam_v`, …), float32
    variables by the names and of the shapes of the weights that have it; like the weights, each replica keeps a copy.
    """

    def __init__(self, config: ScheduledConfig, parameters: Mapping[str, Parameter]):
        super().__init__()
        self.config = config
        #: Names of the weights that it moves; a model's others are frozen.
        self.trained = tuple(parameters)
        self.step = replica_variable(tf.constant(0, tf.int64), "step")
        rules = {name: OPTIMIZERS[config.optimizer](parameter) for name, parameter in parameters.items()}
        #: Names of the moments of each weight.
        self.moments = {name: rule.moments for name, rule in rules.items()}
        for moment in dict.fromkeys(moment for names in self.moments.values() for moment in names):
            variables = {
                name: replica_variable(tf.zeros(parameters[name].shape), f"{name}/{moment}")
                for name, names in self.moments.items()
                if moment in names
            }
            setattr(self, moment, variables)
        scales = layer_scales(parameters, config.layer_decay)
        self._movements = tuple(
            _Movement(
                Constants.of(config),
                tuple(
                    (name, rule, scales[name], config.decays(name, parameters[name])) for name, rule in some
                ),
            )
            for some in _by_kind(rules)
        )

    def take_steps(self, config: ScheduledConfig) -> None:
        """Changes the numbers of steps; functions that were traced before keep the former ones.

        Raises:
          ValueError: another value of the configuration differs, for which the optimizer was not made.
        """
        if self.config.with_steps(config.num_train_steps, config.num_warmup_steps) != config:
            raise ValueError(f"{config} differs from {self.config} in more than the numbers of steps")
        self.config = config

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
        for movement in self._movements:
            variables = {name: (parameters[name], self._moments_of(name)) for name in movement.names}
            # As tensors: a compiled function must not be given variables of another replica's device.
            before = tf.nest.map_structure(tf.convert_to_tensor, variables)
            some = {name: gradients[name] for name in movement.names}
            after = _function(movement)(before, some, clip, rate, done)
            tf.nest.map_structure(lambda variable, value: variable.assign(value), variables, after)
        self.step.assign_add(1)
        return norm, rate

    def reset(self) -> None:
        """Returns to the initial state: no step, no moments."""
        self.step.assign(0)
        for moment in dict.fromkeys(moment for names in self.moments.values() for moment in names):
            for variable in getattr(self, moment).values():
                variable.assign(tf.zeros(variable.shape))

    def pass_over(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Counts a step whose gradients were not finite and changes nothing else; returns norm 0 and the rate."""
        rate = learning_rate_at(self.config, self.step)
        self.step.assign_add(1)
        return tf.constant(0.0), rate

    def _moments_of(self, name: str) -> dict[str, tf.Variable]:
        return {moment: getattr(self, moment)[name] for moment in self.moments[name]}


def _by_kind(rules: Mapping[str, Rule]) -> list[list[tuple[str, Rule]]]:
    """Returns the weights whose rules are loops over memory, and the others; both in the order of the network."""
    kinds = ([item for item in rules.items() if item[1].is_elementwise is wanted] for wanted in (True, False))
    return [some for some in kinds if some]


_State = dict[str, tuple[tf.Tensor, Moments]]


@dataclasses.dataclass(frozen=True)
class _Movement:
    """The parts of an update with given weights; optimizers with equal parts share the compiled function.

    Attributes:
      constants: of all rules.
      weights: name, rule, the factor of the learning rate, and whether the weight is decayed.
    """

    constants: Constants
    weights: tuple[tuple[str, Rule, float, bool], ...]

    @property
    def names(self) -> list[str]:
        return [name for name, _, _, _ in self.weights]

    @property
    def is_elementwise(self) -> bool:
        return all(rule.is_elementwise for _, rule, _, _ in self.weights)

    def move_all(
        self,
        before: _State,
        gradients: Mapping[str, tf.Tensor],
        clip: tf.Tensor,
        rate: tf.Tensor,
        done: tf.Tensor,
    ) -> _State:
        """Returns each weight and its moments, by name, after the update that makes `done` of them."""
        after = {}
        for name, rule, scale, decays in self.weights:
            weight, moments = before[name]
            decay = self.constants.weight_decay_rate if decays else 0.0
            state = WeightState(weight, gradients[name] * clip, moments, done, decay)
            update, moments = rule.update(self.constants, state)
            after[name] = (weight - scale * rate * update, moments)
        return after


@functools.lru_cache(maxsize=8)
def _function(movement: _Movement) -> Callable[..., _State]:
    """Returns one loop over memory for each weight instead of some fifteen, compiled also where the step is not.

    All at once, because most weights are so small that to start a loop takes longer than the loop; and once for all
    trainings of a process that move weights alike. Matrix products are left to TensorFlow, which uses all cores.
    """
    return (
        fused(movement.move_all)
        if movement.is_elementwise
        else tf.function(movement.move_all, autograph=False)
    )


def layer_scales(parameters: Mapping[str, Parameter], decay: float) -> dict[str, float]:
    """Returns the factor of each weight's learning rate: 1 for the heads, `decay` less with each layer below.

    Two layers, 0.5: heads and pooler 1, layer_1 0.5, layer_0 0.25, embeddings 0.125. Layers that share their weights
    (ALBERT's groups) count as one.
    """
    top = 1 + max((p.layer for p in parameters.values() if p.layer is not None), default=0)
    return {name: 1.0 if p.layer is None else decay ** (top - p.layer) for name, p in parameters.items()}
