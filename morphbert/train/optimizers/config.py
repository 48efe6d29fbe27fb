"""The optimizer's configuration, which needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, Literal

from morphbert.options import NonNegativeFloat, PositiveFloat, Share, configuration, option

if TYPE_CHECKING:
    from morphbert.model.parameters import Parameter

GROUP = "Optimizer (the defaults are BERT's)"
# google-research/bert's `exclude_from_weight_decay`.
BIASES_AND_NORMS = ("LayerNorm", "layer_norm", "bias")
_MOST = 1e30
# The fields that one optimizer alone reads. Checkpoints of others do not record them.
_OWN = {"muon": ("muon_momentum",)}


@configuration
class OptimizerConfig:
    """The configuration of an optimizer; the defaults are BERT's.

    Attributes:
      optimizer: `adam` is BERT's: decoupled weight decay and no bias correction; `adamw` corrects the bias of
        the moments; `stable_adamw` does too, and lowers a weight's rate where its gradients surge; `lamb` scales each
        weight's update to the weight's norm; `muon` moves the layers' matrices by orthogonal updates, and all other
        weights as `adamw`.
      learning_rate: the highest rate, reached at the end of the warm-up.
      num_train_steps: the step at which the rate has fallen to its end; see `with_steps`.
      num_warmup_steps: the number of steps over which the rate rises linearly from 0; see `with_steps`.
      schedule: how the rate falls, see `learning_rate_at`, also for the next three.
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
      muon_momentum: of `muon`: decay of the sum of gradients.
      clip_norm: gradients are scaled down to this global norm, after the reduction over replicas.
    """

    optimizer: Literal["adam", "adamw", "lamb", "muon", "stable_adamw"] = option(
        default="adam",
        help="adam: BERT's, with decoupled weight decay and without bias correction. adamw: with it. lamb: for batches "
        "of many thousand sequences. muon: orthogonal updates of the layers' matrices, adamw for the rest. "
        "stable_adamw: adamw with updates clipped where gradients surge.",
    )
    learning_rate: float = option(
        default=5e-5,
        at_least=0,
        at_most=_MOST,
        help="The highest learning rate. 1e-4 is BERT's for pretraining from nothing; 2e-5 to 5e-5 suit going on from "
        "a trained model.",
    )
    num_train_steps: int = dataclasses.field(default=100_000, init=False)
    num_warmup_steps: int = dataclasses.field(default=10_000, init=False)
    schedule: Literal["linear", "polynomial", "cosine", "constant", "warmup_stable_decay"] = option(
        default="linear",
        help="How the learning rate falls to --end_learning_rate at the last step. warmup_stable_decay keeps it and "
        "falls at the end, so that a run can be lengthened.",
    )
    end_learning_rate: NonNegativeFloat = option(default=0.0, help="The learning rate of the last step.")
    power: NonNegativeFloat = option(default=1.0, help="Exponent of --schedule=polynomial.")
    decay_share: float = option(
        default=0.1,
        above=0,
        at_most=1,
        help="Share of the steps in which --schedule=warmup_stable_decay falls.",
    )
    layer_decay: Share = option(
        default=1.0,
        help="Each layer learns at the rate of the layer above times this; for going on from a trained model. "
        "Example: 0.8",
    )
    weight_decay_rate: float = option(default=0.01, at_least=0, at_most=_MOST, help="Decoupled weight decay.")
    exclude_from_weight_decay: tuple[str, ...] = option(
        default=BIASES_AND_NORMS,
        help="Weights whose names contain one of these (regular expressions) are not decayed.",
    )
    beta_1: Share = option(default=0.9, flag="adam_beta_1", help="Decay of the mean of gradients.")
    beta_2: Share = option(default=0.999, flag="adam_beta_2", help="Decay of the mean of squares.")
    epsilon: NonNegativeFloat = option(
        default=1e-6, flag="adam_epsilon", help="Added to the root of the mean of squares."
    )
    clip_norm: PositiveFloat = option(
        default=1.0, help="Gradients are scaled down to this norm, over the whole batch."
    )
    muon_momentum: Share = option(default=0.95, help="Of --optimizer=muon: decay of the sum of gradients.")

    def with_steps(self, num_train_steps: int, num_warmup_steps: int) -> ScheduledConfig:
        """Returns the same with the numbers of steps, which a run determines."""
        names = [field.name for field in dataclasses.fields(OptimizerConfig) if field.init]
        values = {name: getattr(self, name) for name in names}
        return ScheduledConfig(**values, num_train_steps=num_train_steps, num_warmup_steps=num_warmup_steps)

    def settings(self) -> dict[str, Any]:
        """Returns the values that a checkpoint records, JSON-able: all that change the run."""
        others = {name for owner, names in _OWN.items() if owner != self.optimizer for name in names}
        values = {name: value for name, value in dataclasses.asdict(self).items() if name not in others}
        return {**values, "exclude_from_weight_decay": list(self.exclude_from_weight_decay)}

    def decays(self, name: str, parameter: Parameter) -> bool:
        """Returns whether weight decay applies to a weight.

        google-research/bert's list of names means biases and LayerNorms, whatever they are called.
        """
        if not self.weight_decay_rate:
            return False
        if self.exclude_from_weight_decay == BIASES_AND_NORMS:
            return parameter.decays
        return not any(re.search(pattern, name) for pattern in self.exclude_from_weight_decay)


@configuration
class ScheduledConfig(OptimizerConfig):
    """The configuration of the optimizer of a run, whose numbers of steps are known."""

    num_train_steps: int = 100_000
    num_warmup_steps: int = 10_000


def warmup_steps(steps: int | None, proportion: float | None, num_train_steps: int) -> int:
    """Steps of the warm-up: those that are given, or the proportion of all steps where none are."""
    return int(num_train_steps * (proportion or 0.0)) if steps is None else steps
