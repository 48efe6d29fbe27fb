"""Classifies one or two sentences: a class, several labels, or a score (google-research/bert's run_classifier.py)."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.finetune import classes, huggingface
from morphbert.finetune.classes import by_label, likeliest_is, shares_of_scores
from morphbert.finetune.config import CROSS_ENTROPY, POOLER, HeadConfig, LossConfig
from morphbert.finetune.confusion import Confusion
from morphbert.finetune.features import REWEIGHTED, Features
from morphbert.finetune.head_task import HeadTask, saved_values
from morphbert.finetune.huggingface import TransformersHead
from morphbert.finetune.judgement import Judgement, by_length, surest_mistakes
from morphbert.finetune.losses import class_losses
from morphbert.finetune.plugin_head import (
    check_metrics,
    head_input,
    some_scores,
    with_own_figures,
)
from morphbert.finetune.rows import Row, texts_in
from morphbert.finetune.task import Data, Examples, Purpose, Reader, Scores
from morphbert.finetune.task_configs import ClassificationConfig, PredictConfig
from morphbert.formats.labels import read_labelled
from morphbert.interop.sequence_batches import piece_arrays
from morphbert.model.hugging_face_names import HUGGING_FACE_NAMES
from morphbert.model.losses import Batch
from morphbert.pages.phrases import Text, phrase
from morphbert.text.sequences import encode_sequence
from morphbert.train.storage import write_text

# The separator between the labels of a text with several.
SEVERAL = ","
_PROBLEMS = {
    "class": "single_label_classification",
    "labels": "multi_label_classification",
    "score": "regression",
}


@dataclasses.dataclass(frozen=True)
class TextExample:
    """A text or a pair of texts, and the table's label, None if it is unknown."""

    text: str
    pair: str | None = None
    label: Any = None


@dataclasses.dataclass(frozen=True)
class Classification(HeadTask):
    """The head: dropout and one linear layer, `output_weights` and `output_bias`, on one vector per text.

    Attributes:
      kind: `class`, `labels` (any number per text) or `score`.
      labels: the classes in the order of the scores; empty for `score`.
      head: the input of the head.
      loss: the loss of `class`.
      max_seq_length: the number of pieces in a sequence.
      custom_head: the name of a plugin's head, which replaces this one.
      text_columns: 2 for pairs of texts.
      text_column: the names of the columns of the training data; empty if they are not known.
    """

    name: ClassVar[str] = "classification"
    title: ClassVar[Text] = phrase("classification")

    kind: str
    labels: tuple[str, ...] = ()
    head: HeadConfig = POOLER
    loss: LossConfig = CROSS_ENTROPY
    max_seq_length: int = 128
    text_columns: int = 1
    text_column: tuple[str, ...] = ()
    custom_head: str | None = None

    @property
    def outputs(self) -> int:
        """The number of classes; 1 for a score."""
        return max(1, len(self.labels))

    @property
    def guessing(self) -> float:
        """The loss of guessing; infinite for a score."""
        if self.kind == "score":
            return math.inf
        if self.kind == "labels":
            return len(self.labels) * math.log(2.0)
        return self.loss.guessing(len(self.labels))

    def best_metric(self, config: ClassificationConfig) -> str:
        """Accuracy, the micro F1 or Spearman's correlation."""
        return {"class": "accuracy", "labels": "f1_micro", "score": "spearman"}[self.kind]

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `task.json`."""
        return {
            **super().to_dict(),
            "kind": self.kind,
            "labels": list(self.labels),
            "text_columns": self.text_columns,
            **({"text_column": list(self.text_column)} if self.text_column else {}),
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Classification:
        """Returns the task of a `task.json`."""
        return cls(
            saved["kind"],
            tuple(saved.get("labels", ())),
            text_columns=int(saved.get("text_columns", 1)),
            text_column=tuple(saved.get("text_column", ())),
            **saved_values(saved),
        )

    # ── Examples ─────────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def read(cls, config: ClassificationConfig, path: str, purpose: Purpose) -> Examples:
        """Reads the columns of a table; counts the examples, and those of each label."""
        columns, label = config.text_column, None if purpose == "predict" else config.label_column
        found = read_labelled(path, columns, label, config.task, config.encoding)
        items = [
            TextExample(
                row[columns[0]],
                None if len(columns) == 1 else row[columns[1]],
                None if label is None else row[label],
            )
            for row in found.rows
        ]
        examples = Examples(items, path, found.summary)
        examples.say()
        return examples

    def from_row(self, row: Row, number: int, config: PredictConfig) -> TextExample:
        """Reads the columns of `config.text_column`, else those of the training data, else `text` and `text_pair`."""
        usual = ("text", "text_pair")[: self.text_columns]
        learned = self.text_column or usual
        if not all(name in row for name in learned) and all(name in row for name in usual):
            learned = usual
        columns = config.text_column or learned
        if len(columns) != self.text_columns:
            raise MorphbertError(
                f"--text_column={','.join(columns)} names {len(columns)} columns, but the model was trained on "
                f"{'one text' if self.text_columns == 1 else 'pairs of texts'}."
            )
        return TextExample(*texts_in(row, columns))

    @classmethod
    def texts(cls, config: ClassificationConfig, path: str) -> Iterator[Sequence[str]]:
        """Yields the texts of each row as one document."""
        for row in read_labelled(path, config.text_column, None, encoding=config.encoding).rows:
            yield [row[name] for name in config.text_column]

    @classmethod
    def learn(
        cls, config: ClassificationConfig, examples: Examples, reader: Reader
    ) -> tuple[Classification, Data]:
        """Uses the given labels, or those that occur."""
        given = [example.label for example in examples.items]
        labels = () if config.task == "score" else config.labels or _labels_in(given, config.task)
        counts: Sequence[int] = ()
        if config.task == "class":
            counts = classes.counts_of_labels(labels, given, examples.source)
        task = cls(
            kind=config.task,
            labels=labels,
            head=head_input(config.head, config.custom_head),
            loss=config.loss.of_counts(counts),
            max_seq_length=config.max_seq_length,
            text_columns=len(config.text_column),
            text_column=config.text_column,
            custom_head=config.custom_head,
        )
        check_metrics(
            config.metrics, lambda scores, wanted: metrics(scores, wanted, task), *task.some_scores()
        )
        return task, task.data(examples, reader, "train", config)

    def some_scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns labels, as `label_arrays` does, and scores [N, C] of invented examples, half of them right."""
        if self.kind == "score":
            scores = np.linspace(0.0, 5.0, 8, dtype=np.float32)
            return np.roll(scores, 1), scores[:, None]
        labels, scores = some_scores(max(2, len(self.labels)))
        if self.kind == "class":
            return labels, scores
        several = np.eye(len(scores[0]), dtype=np.float32)[labels]
        return several[:, : len(self.labels)], scores[:, : len(self.labels)] - 0.5

    def data(
        self, examples: Examples, reader: Reader, purpose: Purpose, config: ClassificationConfig | None = None
    ) -> Data:
        """Returns texts truncated to the sequence's length; `labels` are those of `label_arrays`."""
        labels = {}
        if purpose != "predict":
            given = [example.label for example in examples.items]
            labels["labels"] = label_arrays(given, self, str(examples.source))
        apart = self.plugin_head is not None and self.plugin_head.separate_texts
        texts: list[tuple[str, str | None]] = [(example.text, example.pair) for example in examples.items]
        if apart:
            texts = [(part or "", None) for both in texts for part in both[: self.text_columns]]
        encoded = [
            encode_sequence(reader.tokenizer, text, pair, self.max_seq_length)[0] for text, pair in texts
        ]
        pieces = piece_arrays(encoded, self.max_seq_length)
        if apart:
            pieces = {
                name: values.reshape(-1, self.text_columns, self.max_seq_length)
                for name, values in pieces.items()
            }
        return Data(examples.items, Features(pieces, labels))

    # ── Network ──────────────────────────────────────────────────────────────────────────────────────────

    def losses(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Returns the losses, float32 [B]; for a score the squared error."""
        labels = batch["labels"]
        if self.kind == "score":
            return tf.square(scores[:, 0] - labels)
        if self.kind == "labels":
            return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels, scores), -1)
        return class_losses(self.loss, scores, labels, batch.get(REWEIGHTED))

    def right(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor | None:
        """Returns 1 where the most likely class is the label, or where all labels are correct."""
        if self.kind == "score":
            return None
        if self.kind == "labels":
            same = tf.equal(scores > 0.0, batch["labels"] > 0.5)
            return tf.cast(tf.reduce_all(same, -1), tf.float32)
        return likeliest_is(scores, batch["labels"])

    # ── Scores → figures and predictions ─────────────────────────────────────────────────────────────────

    def judge(self, data: Data, scores: Scores, config: ClassificationConfig) -> Judgement:
        """Returns the figures of `metrics`; for classes also the confusion matrix."""
        stacked, labels = np.stack(scores), data.features.labels["labels"]
        figures = with_own_figures(
            metrics(stacked, labels, self), config.metrics, labels, stacked, config.best_metric
        )
        groups = by_length(data.features.lengths, lambda rows: metrics(stacked[rows], labels[rows], self))
        if self.kind != "class":
            return Judgement(figures, groups=groups)
        texts = [" / ".join(filter(None, (example.text, example.pair))) for example in data.examples]
        return Judgement(
            figures,
            Confusion.of(labels, stacked.argmax(1), self.labels),
            groups,
            mistakes=surest_mistakes(texts, shares_of_scores(stacked), labels, self.labels),
        )

    def predictions(self, data: Data, scores: Scores, config: PredictConfig) -> list[dict[str, Any]]:
        """Returns `label` and the `probabilities` of all classes; `labels` and `probabilities`; or `score`."""
        return [self._prediction(row) for row in probabilities(np.stack(scores), self.kind)]

    def _prediction(self, values: np.ndarray) -> dict[str, Any]:
        if self.kind == "score":
            return {"score": float(values[0])}
        shares = by_label(values, self.labels)
        if self.kind == "labels":
            return {
                "labels": [label for label, share in shares.items() if share > 0.5],
                "probabilities": shares,
            }
        return {"label": self.labels[int(values.argmax())], "probabilities": shares}

    def write(self, folder: str, data: Data, scores: Scores, config: ClassificationConfig) -> str:
        """Writes google-research/bert's `test_results.tsv`: one line of probabilities per example."""
        shares = probabilities(np.stack(scores), self.kind)
        path = os.path.join(folder, "test_results.tsv")
        write_text(path, "".join("\t".join(f"{value:.6f}" for value in row) + "\n" for row in shares))
        return f"{len(shares)} examples, written to {path}"

    # ── Hugging Face ─────────────────────────────────────────────────────────────────────────────────────

    def to_transformers(
        self, kind: str, weights: Mapping[str, np.ndarray], encoder: Mapping[str, np.ndarray]
    ) -> TransformersHead:
        """`…ForSequenceClassification`."""
        huggingface.check_pooler(self.head)
        tensors = dict(encoder)
        if kind == "RoBERTa":
            # RoBERTa's class has no pooler; its head contains the same layer.
            pooler = HUGGING_FACE_NAMES[kind].pooler
            for part in ("weight", "bias"):
                tensors[f"classifier.dense.{part}"] = tensors.pop(f"{pooler}.{part}")
        if kind == "ELECTRA":
            tensors |= huggingface.dense_tensors(weights, "classifier.dense")
        output = "classifier.out_proj" if kind in ("RoBERTa", "ELECTRA") else "classifier"
        tensors |= huggingface.linear_tensors(weights, "output", output)
        labels = {"num_labels": 1} if self.kind == "score" else huggingface.label_values(self.labels)
        values = {"problem_type": _PROBLEMS[self.kind], **labels}
        return TransformersHead("ForSequenceClassification", "text-classification", tensors, values)


def label_arrays(values: Sequence[Any], task: Classification, source: str) -> np.ndarray:
    """Returns the table's labels as int32 [N], for several labels as float32 [N, C], and for scores as float32 [N].

    Raises:
      MorphbertError: a label is not in `task.labels`.
    """
    if task.kind == "class":
        return classes.class_numbers(values, task.labels, source)
    if task.kind == "score":
        scores = np.asarray(values, np.float32)
        if not np.isfinite(scores).all():  # a custom task has a reader of its own
            raise MorphbertError(
                f"{source}: row {int(np.flatnonzero(~np.isfinite(scores))[0]) + 1} has no score"
            )
        return scores
    numbers = {label: index for index, label in enumerate(task.labels)}
    several = np.zeros((len(values), len(numbers)), np.float32)
    for row, value in enumerate(values):
        for label in split_labels(value):
            several[row, classes.label_number(numbers, label, row + 1, source)] = 1.0
    return several


def split_labels(value: Any) -> list[str]:
    """Returns the labels of a cell: both of `"기쁨,놀람"` or `["기쁨", "놀람"]`, none of an empty one."""
    parts = value if isinstance(value, list) else str(value).split(SEVERAL)
    return [str(part).strip() for part in parts if str(part).strip()]


def _labels_in(values: Sequence[Any], kind: str) -> tuple[str, ...]:
    split = (label for value in values for label in split_labels(value))
    found = classes.labels_in(split if kind == "labels" else map(str, values))
    classes.check_several(found, 1 if kind == "labels" else 2)
    return found


def probabilities(scores: np.ndarray, kind: str) -> np.ndarray:
    """Returns the probabilities of logits [N, C]; returns scores unchanged."""
    if kind == "class":
        return shares_of_scores(scores)
    values = scores.astype(np.float64)
    return values if kind == "score" else 1.0 / (1.0 + np.exp(-values))


def metrics(scores: np.ndarray, labels: np.ndarray, task: Classification) -> dict[str, float]:
    """Returns the figures of scores [N, C] against the labels of `label_arrays`.

    Returns:
      `class`: accuracy, macro F1 and loss; `labels`: exact match, micro and macro F1, loss; `score`: Pearson's and
      Spearman's correlation (0 if one side is constant) and the mean squared error as loss. Always `num_examples`.
    """
    from scipy import stats
    from sklearn.metrics import f1_score, log_loss

    if task.kind == "score":
        found = scores[:, 0].astype(np.float64)
        varies = len(found) > 1 and float(np.ptp(found)) > 0 and float(np.ptp(labels)) > 0
        return {
            "pearson": float(stats.pearsonr(found, labels)[0]) if varies else 0.0,
            "spearman": float(stats.spearmanr(found, labels)[0]) if varies else 0.0,
            "loss": float(np.mean((found - labels) ** 2)),
            "num_examples": len(labels),
        }
    shares = probabilities(scores, task.kind)
    if task.kind == "labels":
        chosen, wanted = shares > 0.5, labels > 0.5
        near = np.clip(shares, 1e-7, 1 - 1e-7)
        loss = -(wanted * np.log(near) + ~wanted * np.log(1 - near)).sum(1).mean()
        return {
            "exact_match": float(np.mean((chosen == wanted).all(1))),
            "f1_micro": float(f1_score(wanted, chosen, average="micro", zero_division=0)),
            "f1_macro": float(f1_score(wanted, chosen, average="macro", zero_division=0)),
            "loss": float(loss),
            "num_examples": len(labels),
        }
    best, known = shares.argmax(1), np.arange(len(task.labels))
    return {
        "accuracy": float(np.mean(best == labels)),
        "f1": float(f1_score(labels, best, labels=known, average="macro", zero_division=0)),
        "loss": float(log_loss(labels, shares, labels=known)),
        "num_examples": len(labels),
    }
