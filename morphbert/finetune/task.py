"""The protocol of a task for fine-tuning, prediction and export.

    file ─ read ─► examples ─ data ─► features ─ scores ─► losses                    (training)
                                               └ scores ─► judge, predictions, write (evaluation, prediction)

A task is one file in `morphbert.finetune.tasks`, with the class that implements the protocol.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import tensorflow as tf

from morphbert.finetune.config import HeadConfig, LossConfig
from morphbert.finetune.features import Features
from morphbert.finetune.heads import chosen_states, electra_parameters
from morphbert.finetune.huggingface import TransformersHead
from morphbert.finetune.judgement import Judgement
from morphbert.finetune.rows import Row
from morphbert.finetune.task_configs import PredictConfig
from morphbert.model.config import BertConfig
from morphbert.model.encoder import NO_DROPOUT, EncoderInputs, ForwardPass, encode_layers
from morphbert.model.heads import transform
from morphbert.model.layers import Parameters
from morphbert.model.losses import Batch
from morphbert.model.parameters import Parameter, encoder_parameters, pooler_parameters, transform_parameters
from morphbert.pages.phrases import Text
from morphbert.text.tokenizer import Tokenizer
from morphbert.train.objective import Objective

# With few classes the loss of guessing is small, and a small batch with confident mistakes exceeds it by far although
# nothing is broken.
_CONFIDENT = 5.0

# The role of a file in a run.
Purpose = Literal["train", "eval", "predict"]
Scores = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Examples:
    """The examples of a file or of rows.

    Attributes:
      items: the examples, of the task's own type.
      source: the file, for messages; None for rows.
      summary: a description of the content.
    """

    items: Sequence[Any]
    source: str | None = None
    summary: str = ""

    def say(self, more: str = "") -> None:
        """Prints the description of the file and `more`; prints nothing for rows."""
        if self.source is not None:
            print(f"data: {os.path.basename(self.source)}: {self.summary}{more}", flush=True)


@dataclasses.dataclass(frozen=True)
class Data:
    """Examples as input of the model.

    Attributes:
      examples: the `items` of the examples.
      features: the arrays, with one row for each example or window.
      windows: for a task that cuts long texts, the window in each row of `features`.
    """

    examples: Sequence[Any]
    features: Features
    windows: Sequence[Any] = ()


class Reader(Protocol):
    """The parts of a model that turn examples into its input, as a `Start` and a `TaskModel` have them."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the model's vocabulary."""

    @property
    def config(self) -> BertConfig:
        """The model's configuration."""


class Task(Protocol):
    """A task as a frozen value, which `task.json` stores.

    Shapes: B examples, L pieces, D the size of a piece's vector. `config` is the task's subclass of `FineTuneConfig`.
    """

    #: The task's key in `TASKS` and in `task.json`.
    name: ClassVar[str]
    #: The task's name on the page of a model; `morphbert/pages/korean.py` has the Korean form of a phrase.
    title: ClassVar[Text]

    @property
    def head(self) -> HeadConfig:
        """The input of the head."""

    @property
    def max_seq_length(self) -> int:
        """The number of pieces in a sequence, special tokens included."""

    @property
    def loss(self) -> LossConfig | None:
        """The loss of its classes; None for a task without weighted classes."""
        return None

    @property
    def guessing(self) -> float:
        """The approximate largest mean loss of an untrained model; infinite if there is no such figure."""

    def best_metric(self, config: Any) -> str:
        """Returns the default figure for the choice of the best checkpoint."""

    # ── task.json ────────────────────────────────────────────────────────────────────────────────────────

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `task.json`, with `task` and `max_seq_length`, without the settings of training."""

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Task:
        """Returns the task of the content of a `task.json`, including one of an older version."""

    def used_by(self, config: Any) -> Task:
        """Returns the task with the lengths of a run, which may differ from those of its training."""
        changed: Task = dataclasses.replace(self, max_seq_length=config.max_seq_length)  # type: ignore[type-var]
        return changed

    # ── Examples ─────────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def read(cls, config: Any, path: str, purpose: Purpose) -> Examples:
        """Reads the examples of a file.

        Args:
          config: the run's configuration.
          path: the file, or several, divided by commas.
          purpose: the role of the file; examples to predict need no labels.

        Raises:
          MorphbertError: the file has another form; the message names the file and the place.
        """

    def from_row(self, row: Row, number: int, config: PredictConfig) -> Any:
        """Returns the example of an object of `predict.py`.

        Args:
          row: the object.
          number: its place among the rows, from 0.
          config: the configuration of the command.

        Raises:
          RowError: this object cannot be used, but others can.
          MorphbertError: the object lacks a key that all objects need.
        """

    @classmethod
    def texts(cls, config: Any, path: str) -> Iterator[Sequence[str]]:
        """Yields the texts of a file for continued pretraining, the parts of one document at a time."""

    @classmethod
    def learn(cls, config: Any, examples: Examples, reader: Reader) -> tuple[Task, Data]:
        """Returns the task that training examples define, with its labels, and the examples as data with labels."""

    def data(self, examples: Examples, reader: Reader, purpose: Purpose, config: Any = None) -> Data:
        """Returns examples as arrays, with labels for training, and for evaluation if the task compares arrays.

        Args:
          examples: the examples of a file or of rows.
          reader: the model's tokenizer and configuration.
          purpose: the role of the examples; those to predict have no labels.
          config: the run's configuration, for messages about a file; None for predictions of rows.

        Raises:
          MorphbertError: the task lacks a label.
          RowError: one of the examples cannot be used.
        """

    # ── Network ──────────────────────────────────────────────────────────────────────────────────────────

    def parameters(self, config: BertConfig) -> dict[str, Parameter]:
        """Returns the head's weights."""

    def extended(self, parameters: Parameters) -> Parameters:
        """Returns the encoder's weights; a task with additional rows for its tables adds them."""
        return parameters

    def scores(
        self,
        parameters: Parameters,
        config: BertConfig,
        hidden: tf.Tensor,
        batch: Batch,
        key: tf.Tensor | None,
    ) -> tf.Tensor:
        """Returns the scores of a batch, float32 [B, …].

        Args:
          parameters: the weights of encoder and head, by name.
          config: the model's configuration.
          hidden: the encoder's states, [B, L, H × layers].
          batch: the arrays of `Data.features`.
          key: the key of dropout, int32 [2]; None for no dropout.
        """

    def count(self, batch: Batch) -> tf.Tensor:
        """Returns the denominator of the mean loss, the number of examples or labelled pieces: a float32 scalar."""
        return num_examples(batch)

    def losses(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Returns each example's loss, summed over its pieces if `count` counts them: float32 [B].

        Args:
          scores: the result of `scores`, float32 [B, …].
          batch: the arrays of `Data.features`, with labels.
        """

    def right(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor | None:
        """Returns the number of correct items among those of `count`, float32 [B]; None if correctness is undefined."""

    # ── Scores → figures and predictions ─────────────────────────────────────────────────────────────────

    def can_judge(self, data: Data) -> bool:
        """Returns whether the examples have labels for an evaluation."""
        return True

    def judge(self, data: Data, scores: Scores, config: Any) -> Judgement:
        """Returns the evaluation of the scores of each row of `data.features`."""

    def predictions(self, data: Data, scores: Scores, config: PredictConfig) -> list[dict[str, Any]]:
        """Returns the prediction of each example as JSON values."""

    def write(self, folder: str, data: Data, scores: Scores, config: Any) -> str:
        """Writes predictions, in google-research/bert's format if there is one; returns a line about them."""

    # ── Hugging Face ─────────────────────────────────────────────────────────────────────────────────────

    def to_transformers(
        self, kind: str, weights: Mapping[str, np.ndarray], encoder: Mapping[str, np.ndarray]
    ) -> TransformersHead:
        """Returns the equivalent class of transformers and its tensors.

        Args:
          kind: the kind of encoder, a key of `HUGGING_FACE_NAMES`.
          weights: the weights of encoder and head, by our names.
          encoder: the encoder's weights, by transformers' names.

        Raises:
          MorphbertError: no class is equivalent.
        """


def num_examples(batch: Batch) -> tf.Tensor:
    """Returns `Task.count` for tasks with one loss per example."""
    return tf.cast(tf.shape(batch["input_ids"])[0], tf.float32)


def outputs(
    task: Task,
    config: BertConfig,
    parameters: Parameters,
    batch: Batch,
    forward: ForwardPass = NO_DROPOUT,
) -> tf.Tensor:
    """Returns the task's scores for a batch, float32 [B, …].

    Groups of sequences, [B, N, L], are encoded as B × N sequences: the states have that many rows.
    """
    states = encode_layers(
        task.extended(parameters),
        config,
        EncoderInputs(*(_sequences(batch[name]) for name in ("input_ids", "input_mask", "segment_ids"))),
        forward,
    )
    chosen = chosen_states(states, task.head.layers)
    if not config.pooler and config.electra is None and task.head.uses_transform:
        chosen = transform(parameters, config, chosen)
    return task.scores(parameters, config, chosen, batch, forward.dropout_key)


def _sequences(pieces: tf.Tensor) -> tf.Tensor:
    """[B, L] or [B, N, L] → [B, L] or [B × N, L]."""
    return pieces if pieces.shape.rank == 2 else tf.reshape(pieces, [-1, pieces.shape[-1]])


def parameters_of(task: Task, config: BertConfig) -> dict[str, Parameter]:
    """Returns the weights of the encoder, without an unused pooler, and of the head.

    In a model without a pooler, the head includes the dense layer and norm of the masked LM's head, as in ModernBERT;
    on an ELECTRA it has a dense layer of its own where it reads [CLS].
    """
    if config.electra is not None:
        own = electra_parameters(task.head, config)
        return {**encoder_parameters(config), **own, **task.parameters(config)}
    if not config.pooler:
        shared = transform_parameters(config) if task.head.uses_transform else {}
        return {**encoder_parameters(config), **shared, **task.parameters(config)}
    unused = {} if task.head.uses_pooler else pooler_parameters(config)
    kept = {name: p for name, p in encoder_parameters(config).items() if name not in unused}
    return {**kept, **task.parameters(config)}


def objective_of(task: Task, config: BertConfig) -> Objective:
    """Returns the task's objective for the training step: the mean of the examples' losses."""

    def compute(weights: Parameters, batch: Batch, forward: ForwardPass) -> Mapping[str, tf.Tensor]:
        scores = outputs(task, config, weights, batch, forward)
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
    """Returns figures in a line: `accuracy 0.8512  f1 0.8500`."""
    left_out = ("loss", "gradient_norm", "learning_rate", "num_examples")
    return "  ".join(
        f"{name} {value:.4f}"
        for name, value in values.items()
        if name not in left_out and isinstance(value, float)
    )
