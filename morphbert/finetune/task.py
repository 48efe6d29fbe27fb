"""The contract of a task: everything that fine-tuning, prediction and export need to know of it.

    file ─ read ─► examples ─ data ─► features ─ scores ─► losses                    (training)
                                               └ scores ─► judge, predictions, write (evaluation, prediction)

A task is one file in `morphbert.finetune.tasks`, with the class that fills in the contract.
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
from morphbert.finetune.heads import chosen_states
from morphbert.finetune.huggingface import TransformersHead
from morphbert.finetune.judgement import Judgement
from morphbert.finetune.rows import Row
from morphbert.finetune.task_configs import PredictConfig
from morphbert.model.config import BertConfig
from morphbert.model.encoder import encode_layers
from morphbert.model.heads import transform
from morphbert.model.layers import Parameters
from morphbert.model.losses import Batch
from morphbert.model.parameters import Parameter, encoder_parameters, pooler_parameters, transform_parameters
from morphbert.text.tokenizer import Tokenizer
from morphbert.train.objective import Objective

# With few classes the loss of guessing is small, and a small batch that a model is confident and wrong about goes far
# beyond it without anything being broken.
_CONFIDENT = 5.0

# A file's part in a run.
Purpose = Literal["train", "eval", "predict"]
Scores = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Examples:
    """What a task reads from a file, or from rows.

    Attributes:
      items: the examples, of a type that each task has for itself.
      source: the file, for messages and printed facts; None for rows.
      account: what was found in it, in words.
    """

    items: Sequence[Any]
    source: str | None = None
    account: str = ""

    def say(self, more: str = "") -> None:
        """Prints what was found in the file, and `more` about it; of rows nothing."""
        if self.source is not None:
            print(f"data: {os.path.basename(self.source)}: {self.account}{more}", flush=True)


@dataclasses.dataclass(frozen=True)
class Data:
    """Examples as the model takes them.

    Attributes:
      examples: the `items` that were read.
      features: the arrays; as many rows as there are examples, or windows of them.
      windows: of a task that cuts long texts, what stands in each row of `features`.
    """

    examples: Sequence[Any]
    features: Features
    windows: Sequence[Any] = ()


class Task(Protocol):
    """A task that has been learned or is to be: a frozen value, as `task.json` keeps it.

    Shapes: B examples, L pieces, D the size of a piece's vector. `config` is the task's own subclass of
    `FineTuneConfig`.
    """

    #: Its key in `TASKS` and in `task.json`.
    name: ClassVar[str]

    @property
    def head(self) -> HeadConfig:
        """What the head reads."""

    @property
    def max_seq_length(self) -> int:
        """Pieces in a sequence, special tokens included."""

    @property
    def loss(self) -> LossConfig | None:
        """How its classes are learned; None where it has none that could be weighed."""
        return None

    @property
    def guessing(self) -> float:
        """About the largest mean loss of a model that knows nothing; infinite where there is no such figure."""

    def best_metric(self, config: Any) -> str:
        """Returns the figure by which the best checkpoint is kept, where no other is asked for."""

    # ── task.json ────────────────────────────────────────────────────────────────────────────────────────

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `task.json`, `task` and `max_seq_length` among it; how it was learned is left out."""

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Task:
        """Returns the task of a `task.json`, of an older version too."""

    def used_by(self, config: Any) -> Task:
        """Returns the task with the lengths that a run asks for, which need not be those that it was trained with."""
        changed: Task = dataclasses.replace(self, max_seq_length=config.max_seq_length)  # type: ignore[type-var]
        return changed

    # ── Examples ─────────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def read(cls, config: Any, path: str, purpose: Purpose) -> Examples:
        """Reads examples of a file; those to predict need no labels.

        Raises:
          MorphbertError: names the file and the place where something else stands.
        """

    def from_row(self, row: Row, number: int, config: PredictConfig) -> Any:
        """Returns the example of an object of `predict.py`, which is the `number`th of its file.

        Raises:
          RowError: it cannot be used, the others can.
          MorphbertError: it lacks a key that all of them need.
        """

    @classmethod
    def texts(cls, config: Any, path: str) -> Iterator[Sequence[str]]:
        """Yields the texts of a file for continued pretraining, a document's parts at a time."""

    @classmethod
    def learn(
        cls, config: Any, examples: Examples, tokenizer: Tokenizer, bert_config: BertConfig
    ) -> tuple[Task, Data]:
        """Returns the task that training examples pose, with its labels, and the examples as data with labels."""

    def data(
        self,
        examples: Examples,
        tokenizer: Tokenizer,
        bert_config: BertConfig,
        purpose: Purpose,
        config: Any = None,
    ) -> Data:
        """Returns examples as arrays; with labels for training, and for evaluation where the task compares arrays.

        Args:
          config: the run's, for printed facts about a file; None where rows are predicted.

        Raises:
          MorphbertError: a label that the task does not have.
          RowError: one of the examples cannot be used.
        """

    # ── Network ──────────────────────────────────────────────────────────────────────────────────────────

    def parameters(self, config: BertConfig) -> dict[str, Parameter]:
        """Returns the head's weights."""

    def extended(self, parameters: Parameters) -> Parameters:
        """Returns the weights that the encoder reads; a task that has rows of its own for its tables adds them."""
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
        return num_examples(batch)

    def losses(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Each example's loss, summed over its pieces if `count` counts them: float32 [B]."""

    def right(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor | None:
        """How much of what `count` counts is right: float32 [B]; None where there is no right and wrong."""

    # ── Scores → figures and predictions ─────────────────────────────────────────────────────────────────

    def can_judge(self, data: Data) -> bool:
        """Whether the examples say what is right."""
        return True

    def judge(self, data: Data, scores: Scores, config: Any) -> Judgement:
        """Returns the figures of scores, those of each row of `data.features`."""

    def predictions(self, data: Data, scores: Scores, config: PredictConfig) -> list[dict[str, Any]]:
        """Returns the JSON-able prediction of each example."""

    def write(self, folder: str, data: Data, scores: Scores, config: Any) -> str:
        """Writes predictions as google-research/bert's users know them; returns a line about them."""

    # ── Hugging Face ─────────────────────────────────────────────────────────────────────────────────────

    def to_transformers(
        self, kind: str, weights: Mapping[str, np.ndarray], encoder: Mapping[str, np.ndarray]
    ) -> TransformersHead:
        """Returns the class of transformers that computes the same, and its tensors.

        Args:
          kind: the encoder's, `BERT`, `ALBERT` or `RoBERTa`.
          weights: the encoder's and the head's, by our names.
          encoder: the encoder's, by transformers' names.

        Raises:
          MorphbertError: there is no such class.
        """


def num_examples(batch: Batch) -> tf.Tensor:
    """Returns what `Task.count` is where a loss belongs to an example."""
    return tf.cast(tf.shape(batch["input_ids"])[0], tf.float32)


def outputs(
    task: Task,
    config: BertConfig,
    parameters: Parameters,
    batch: Batch,
    key: tf.Tensor | None = None,
    recompute: bool = False,
) -> tf.Tensor:
    """Returns the task's scores for a batch, float32 [B, …].

    Sequences that belong together, [B, N, L], are encoded as B × N of them: the states have that many rows.
    """
    states = encode_layers(
        task.extended(parameters),
        config,
        _sequences(batch["input_ids"]),
        _sequences(batch["input_mask"]),
        _sequences(batch["segment_ids"]),
        key,
        recompute=recompute,
    )
    chosen = chosen_states(states, task.head.layers)
    if not config.pooler and task.head.uses_transform:
        chosen = transform(parameters, config, chosen)
    return task.scores(parameters, config, chosen, batch, key)


def _sequences(pieces: tf.Tensor) -> tf.Tensor:
    """[B, L] or [B, N, L] → [B, L] or [B × N, L]."""
    return pieces if pieces.shape.rank == 2 else tf.reshape(pieces, [-1, pieces.shape[-1]])


def parameters_of(task: Task, config: BertConfig) -> dict[str, Parameter]:
    """Returns the encoder's weights, without a pooler that would not be used, and the head's.

    Of a model that has no pooler, those of the masked LM head's dense layer and norm are the head's, as ModernBERT's.
    """
    if not config.pooler:
        shared = transform_parameters(config) if task.head.uses_transform else {}
        return {**encoder_parameters(config), **shared, **task.parameters(config)}
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
