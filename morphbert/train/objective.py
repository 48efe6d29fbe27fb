"""The objective of a run: the only form in which the step, the loop and the log know a task."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping

import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.model import losses
from morphbert.model.config import BertConfig
from morphbert.model.cost import step_flops
from morphbert.model.layers import Parameters
from morphbert.model.losses import Batch
from morphbert.model.parameters import Parameter, pretraining_parameters

Compute = Callable[[Parameters, Batch, "tf.Tensor | None", bool], Mapping[str, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Objective:
    """A task to train.

    Attributes:
      parameters: every weight by name, before it exists.
      sums: names of what `compute` gives.
      counts: names of what `count` gives.
      count: a batch → float32 scalars, the denominators of its means.
      compute: (weights in the dtype to compute in, batch, dropout key int32 [2] or None, recompute) → float32
        scalars, sums over the batch.
      loss: (sums of a part of the global batch, counts of all of it) → that part's share of the loss.
      averages: sums and counts over any number of batches → figures, `loss` among them.
      describe: figures → the words of a line of progress, without the loss.
      guessing: the loss of a model that knows nothing, by which a run that blew up is known.
      surge: how far the loss of the last steps may be above that of the steps before; where nobody can tell, infinite.
      flops: (B, L, P) → floating-point operations of a step, where somebody has counted them.
    """

    parameters: Mapping[str, Parameter]
    sums: tuple[str, ...]
    counts: tuple[str, ...]
    count: Callable[[Batch], Mapping[str, tf.Tensor]]
    compute: Compute
    loss: Callable[[Mapping[str, tf.Tensor], Mapping[str, tf.Tensor]], tf.Tensor]
    averages: Callable[[Mapping[str, float]], dict[str, float]]
    describe: Callable[[Mapping[str, float]], str]
    guessing: float
    flops: Callable[[int, int, int], int] | None = None
    surge: float = math.inf

    @property
    def columns(self) -> tuple[str, ...]:
        """What a step reports: sums and counts over the global batch, its pieces without padding, and its update's."""
        return (*self.sums, *self.counts, "tokens", "gradient_norm", "learning_rate", "loss_scale")


def pretraining_objective(config: BertConfig, z_loss: float = 0.0) -> Objective:
    """Masked language model and, where the records have labels, next sentence (Devlin et al. 2019).

    With `z_loss` the sums have one more, see `losses.pretraining_sums`.

    Raises:
      MorphbertError: the configuration describes the discriminator of an ELECTRA, which has no masked LM head.
    """
    if not config.has_masked_lm:
        raise MorphbertError(
            "--bert_config_file: electra is 'discriminator', a network without the masked LM's head: set electra to "
            '"generator" for a masked LM with ELECTRA\'s encoder.'
        )

    def compute(
        weights: Parameters, batch: Batch, key: tf.Tensor | None, recompute: bool
    ) -> Mapping[str, tf.Tensor]:
        return losses.pretraining_sums(weights, config, batch, key, recompute, z_loss)

    guessing = math.log(config.vocab_size) + math.log(2.0)
    return Objective(
        parameters=pretraining_parameters(config),
        sums=(*losses.SUMS, "z_loss") if z_loss else losses.SUMS,
        counts=losses.COUNTS,
        count=losses.counts,
        compute=compute,
        loss=losses.total_loss,
        averages=losses.averages,
        describe=describe_pretraining,
        guessing=guessing,
        flops=functools.partial(step_flops, config),
        # From the 1 to 3 of a trained model back to the 6 or 7 of one that knows the pieces' frequencies alone.
        surge=guessing / 3.0,
    )


def describe_pretraining(values: Mapping[str, float]) -> str:
    """Loss and share of right answers of each task there is, and of minimal pairs."""
    names = {"masked_lm": "masked LM", "next_sentence": "next sentence"}
    words = [
        f"{shown} {values[f'{name}_loss']:.4f} ({values[f'{name}_accuracy']:.1%} right)"
        for name, shown in names.items()
        if f"{name}_loss" in values
    ]
    if "grammar_accuracy" in values:
        words.append(f"grammar {values['grammar_accuracy']:.1%} of {values['grammar_pairs']} pairs right")
    return "  ".join(words)
