"""What a task is to the training loop: a head's weights, what it computes, and its losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.finetune.heads import HeadConfig, chosen_states
from morphbert.model.config import BertConfig
from morphbert.model.encoder import encode_layers
from morphbert.model.layers import Parameters
from morphbert.model.losses import Batch
from morphbert.model.parameters import Parameter, encoder_parameters, pooler_parameters
from morphbert.train.objective import Objective

# With few classes the loss of guessing is small, and a small batch that a model is confident and wrong about goes far
# beyond it without anything being broken.
_CONFIDENT = 5.0


class Task(Protocol):
    """A head on the encoder. B examples, L pieces, D the size of a piece's vector."""

    head: HeadConfig
    guessing: float

    def parameters(self, config: BertConfig) -> dict[str, Parameter]:
        """The head's weights."""

    def extended(self, parameters: Parameters) -> Parameters:
        """The weights that the encoder reads; a task that has rows of its own for its tables adds them."""
        return parameters

    def scores(
        self,
        parameters: Parameters,
        config: BertConfig,
        hidden: tf.Tensor,
        batch: Batch,
        key: tf.Tensor | None,
    ) -> tf.Tensor:
        """States [B, L, H × layers] → float32 scores [B, …]; `key` is for dropout, None for none."""

    def count(self, batch: Batch) -> tf.Tensor:
        """What the mean of the losses goes over, examples or labelled pieces: a float32 scalar."""

    def losses(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Each example's loss, summed over its pieces if `count` counts them: float32 [B]."""

    def right(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor | None:
        """How much of what `count` counts is right: float32 [B]; None where there is no right and wrong."""


def num_examples(batch: Batch) -> tf.Tensor:
    """What `Task.count` is where a loss belongs to an example."""
    return tf.cast(tf.shape(batch["input_ids"])[0], tf.float32)


def outputs(
    task: Task,
    config: BertConfig,
    parameters: Parameters,
    batch: Batch,
    key: tf.Tensor | None = None,
    recompute: bool = False,
) -> tf.Tensor:
    """The task's scores for a batch, float32 [B, …]."""
    states = encode_layers(
        task.extended(parameters),
        config,
        batch["input_ids"],
        batch["input_mask"],
        batch["segment_ids"],
        key,
        recompute=recompute,
    )
    return task.scores(parameters, config, chosen_states(states, task.head.layers), batch, key)


def parameters_of(task: Task, config: BertConfig) -> dict[str, Parameter]:
    """The encoder's weights, without a pooler that would not be used, and the head's."""
    if task.head.uses_pooler and not config.pooler:
        raise MorphbertError(
            "the model has no pooler (pooler is false in its configuration), through which --pooling=cls reads a "
            "text: give --pooling=mean or max."
        )
    unused = {} if task.head.uses_pooler else pooler_parameters(config)
    kept = {name: p for name, p in encoder_parameters(config).items() if name not in unused}
    return {**kept, **task.parameters(config)}


def objective_of(task: Task, config: BertConfig) -> Objective:
    """The task as the training step knows it: the mean of the examples' losses."""

    def compute(
        weights: Parameters, batch: Batch, key: tf.Tensor | None, recompute: bool
    ) -> Mapping[str, tf.Tensor]:
        scores = outputs(task, config, weights, batch, key, recompute)
        right = task.right(scores, batch)
        return {
            "loss_sum": tf.reduce_sum(task.losses(scores, batch)),
            "right": tf.constant(float("nan")) if right is None else tf.reduce_sum(right),
        }

    def averages(totals: Mapping[str, float]) -> dict[str, float]:
        values = {"loss": totals["loss_sum"] / totals["examples"]}
        if "right" in totals:
            values["accuracy"] = totals["right"] / totals["examples"]
        return values

    has_right = task.guessing != float("inf")
    return Objective(
        parameters=parameters_of(task, config),
        sums=("loss_sum", "right") if has_right else ("loss_sum",),
        counts=("examples",),
        count=lambda batch: {"examples": task.count(batch)},
        compute=compute,
        loss=lambda sums, counts: sums["loss_sum"] / counts["examples"],
        averages=averages,
        describe=describe,
        guessing=_CONFIDENT * task.guessing,
    )


def describe(values: Mapping[str, float]) -> str:
    """Figures in a line: `accuracy 0.8512  f1 0.8500`."""
    left_out = ("loss", "gradient_norm", "learning_rate", "num_examples")
    return "  ".join(
        f"{name} {value:.4f}"
        for name, value in values.items()
        if name not in left_out and isinstance(value, float)
    )
