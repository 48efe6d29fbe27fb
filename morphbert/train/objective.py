"""The objective of a run: the only form in which the step, the loop and the log know a task."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Protocol

import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.model import electra, losses
from morphbert.model.config import BertConfig
from morphbert.model.cost import step_flops
from morphbert.model.electra import Electra
from morphbert.model.encoder import ForwardPass
from morphbert.model.layers import Parameters
from morphbert.model.losses import Batch
from morphbert.model.parameters import Parameter, pretraining_parameters

Compute = Callable[[Parameters, Batch, ForwardPass], Mapping[str, tf.Tensor]]
Evaluate = Callable[[Parameters, Batch], tuple[Mapping[str, tf.Tensor], tf.Tensor]]
# A discriminator that finds less than this share of the replaced pieces says "original" of all.
_FOUND_AT_LEAST = 0.01
# The steps after which it is said; before them most discriminators do so.
_STEPS_UNTIL_FOUND = 400


@dataclasses.dataclass(frozen=True)
class Objective:
    """A task to train.

    Attributes:
      parameters: every weight by name, before it exists.
      sums: names of the values of `compute`.
      counts: names of the values of `count`.
      count: a batch → float32 scalars, the denominators of its means.
      compute: (weights in the dtype to compute in, batch, forward pass) → float32 scalars, sums over the batch.
      loss: (sums of a part of the global batch, counts of all of it) → that part's share of the loss.
      averages: sums and counts over any number of batches → figures, `loss` among them.
      describe: figures → the words of a line of progress, without the loss.
      guessing: the loss of a model that knows nothing, by which a run that blew up is known.
      surge: how far the loss of the last steps may be above that of the steps before; where nobody can tell, infinite.
      evaluate: (weights, batch) → the sums of an evaluation, by the names of `eval_sums`, and which predictions of the
        masked LM are right, float32 [B, P]; None for an objective that is evaluated elsewhere.
      eval_sums: those names.
      draws: whether `compute` and `evaluate` draw samples, and want the feature `draw_keys` for it.
      warn: figures since the last line → a warning, or None.
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
    evaluate: Evaluate | None = None
    eval_sums: tuple[str, ...] = ()
    draws: bool = False
    warn: Callable[[int, Mapping[str, float]], str | None] = lambda step, figures: None
    flops: Callable[[int, int, int], int] | None = None
    surge: float = math.inf

    @property
    def columns(self) -> tuple[str, ...]:
        """A step's values: sums and counts over the global batch, its pieces without padding, and its update's."""
        return (*self.sums, *self.counts, "tokens", "gradient_norm", "learning_rate", "loss_scale")


class Pretraining(Protocol):
    """The attributes of `RunConfig` that decide the objective of a pretraining run."""

    @property
    def bert_config(self) -> BertConfig: ...

    @property
    def electra(self) -> Electra | None: ...

    @property
    def z_loss(self) -> float: ...


def objective_of(config: Pretraining) -> Objective:
    """Returns the objective of a pretraining run."""
    if config.electra is not None:
        return electra_objective(config.bert_config, config.electra)
    return pretraining_objective(config.bert_config, config.z_loss)


def pretraining_objective(config: BertConfig, z_loss: float = 0.0) -> Objective:
    """Masked language model and, where the records have labels, next sentence (Devlin et al. 2019).

    With `z_loss` the sums have one more, see `losses.pretraining_sums`.

    Raises:
      MorphbertError: the configuration describes the discriminator of an ELECTRA, which has no masked LM head.
    """
    if not config.has_masked_lm:
        raise MorphbertError(
            "--bert_config_file: electra is 'discriminator', a network without the masked LM's head: give "
            '--objective=electra, or set electra to "generator" for a masked LM with ELECTRA\'s encoder.'
        )

    def compute(weights: Parameters, batch: Batch, forward: ForwardPass) -> Mapping[str, tf.Tensor]:
        return losses.pretraining_sums(weights, config, batch, forward, z_loss)

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
        evaluate=lambda weights, batch: losses.sums_and_right(weights, config, batch),
        eval_sums=losses.SUMS,
        flops=functools.partial(step_flops, config),
        # From the 1 to 3 of a trained model back to the 6 or 7 of one that knows the pieces' frequencies alone.
        surge=guessing / 3.0,
    )


def electra_objective(discriminator: BertConfig, networks: Electra) -> Objective:
    """Replaced-token detection: a generator's masked LM, and a discriminator (Clark et al. 2020, section 2)."""
    generator, weight = networks.generator, networks.discriminator_weight

    def compute(weights: Parameters, batch: Batch, forward: ForwardPass) -> Mapping[str, tf.Tensor]:
        return electra.electra_sums(weights, discriminator, networks, batch, forward)[0]

    def evaluate(weights: Parameters, batch: Batch) -> tuple[Mapping[str, tf.Tensor], tf.Tensor]:
        return electra.electra_sums(weights, discriminator, networks, batch)

    def flops(batch: int, length: int, predictions: int) -> int:
        return sum(step_flops(config, batch, length, predictions) for config in (discriminator, generator))

    guessing = math.log(generator.vocab_size) + weight * math.log(2.0)
    return Objective(
        parameters=electra.electra_parameters(discriminator, generator, networks.disentangles),
        sums=electra.SUMS,
        counts=electra.COUNTS,
        count=electra.counts,
        compute=compute,
        loss=lambda sums, denominators: electra.total_loss(sums, denominators, weight),
        averages=lambda totals: electra.averages(totals, weight),
        describe=describe_pretraining,
        guessing=guessing,
        evaluate=evaluate,
        eval_sums=electra.SUMS,
        draws=True,
        warn=_says_original_of_all,
        flops=flops,
        surge=guessing / 3.0,
    )


def _says_original_of_all(step: int, figures: Mapping[str, float]) -> str | None:
    found_some = figures["replaced_recall"] >= _FOUND_AT_LEAST or not figures["replaced_share"]
    if step < _STEPS_UNTIL_FOUND or found_some:
        return None
    return (
        f'at step {step} the discriminator says "original" of nearly every piece: it found '
        f"{figures['replaced_recall']:.1%} of the {figures['replaced_share']:.1%} that are replaced. While the "
        "learning rate still rises, this may pass. Usual causes: "
        "--learning_rate too high or --num_warmup_steps too short for this size, a generator so large that its samples "
        "are right (--generator_size above 0.5), or a small --discriminator_weight."
    )


def describe_pretraining(values: Mapping[str, float]) -> str:
    """Loss and share of right answers of each task there is, the replaced pieces that were found, and minimal pairs."""
    names = {"masked_lm": "masked LM", "next_sentence": "next sentence", "discriminator": "discriminator"}
    words = [
        f"{shown} {values[f'{name}_loss']:.4f} ({values[f'{name}_accuracy']:.1%} right)"
        for name, shown in names.items()
        if f"{name}_loss" in values
    ]
    if "replaced_recall" in values:
        words.append(
            f"replaced {values['replaced_share']:.1%}: {values['replaced_recall']:.1%} found, "
            f"{values['replaced_precision']:.1%} of those named are right"
        )
    if "grammar_accuracy" in values:
        words.append(f"grammar {values['grammar_accuracy']:.1%} of {values['grammar_pairs']} pairs right")
    return "  ".join(words)
