"""One or two sentences → a class, several labels, or a score (google-research/bert's run_classifier.py)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.finetune.features import REWEIGHTED, Features, piece_arrays
from morphbert.finetune.heads import (
    POOLER,
    HeadConfig,
    contextual,
    head_dropout,
    linear,
    linear_parameters,
    sentence_vector,
)
from morphbert.finetune.losses import CROSS_ENTROPY, LossConfig, class_losses
from morphbert.finetune.task import Task, num_examples
from morphbert.model.config import BertConfig
from morphbert.model.layers import Parameters
from morphbert.model.losses import Batch
from morphbert.model.parameters import Parameter
from morphbert.text.sequences import encode_sequence
from morphbert.text.tokenizer import Tokenizer

# Between the labels of a text that has several.
SEVERAL = ","


@dataclasses.dataclass(frozen=True)
class ClassificationConfig:
    """What is predicted and how it is learned.

    Attributes:
      kind: `class`, `labels` (any number of them for a text) or `score`.
      labels: the classes in the order of the scores; empty for `score`.
      head: what the classes are told from.
      loss: of `class`.
    """

    kind: str
    labels: tuple[str, ...] = ()
    head: HeadConfig = POOLER
    loss: LossConfig = CROSS_ENTROPY


class Classification(Task):
    """The head: dropout and one linear layer, `output_weights` and `output_bias`, on one vector a text."""

    def __init__(self, config: ClassificationConfig) -> None:
        self.config, self.head = config, config.head
        self.guessing = {
            "class": config.loss.guessing(len(config.labels)),
            "labels": len(config.labels) * math.log(2.0),
            "score": math.inf,
        }[config.kind]

    def parameters(self, config: BertConfig) -> dict[str, Parameter]:
        """The head's weights: [C, D] and [C], and an LSTM's."""
        outputs = max(1, len(self.config.labels))
        return {
            **self.head.parameters(config),
            **linear_parameters("output", outputs, self._width(config)),
        }

    def _width(self, config: BertConfig) -> int:
        return self.head.width(config)

    def scores(
        self,
        parameters: Parameters,
        config: BertConfig,
        hidden: tf.Tensor,
        batch: Batch,
        key: tf.Tensor | None,
    ) -> tf.Tensor:
        """Logits of the classes, or the score: float32 [B, C]."""
        hidden = contextual(parameters, hidden, batch["input_mask"], self.head)
        vector = self._vector(parameters, hidden, batch)
        return linear(parameters, "output", head_dropout(vector, config, key))

    def _vector(self, parameters: Parameters, hidden: tf.Tensor, batch: Batch) -> tf.Tensor:
        return sentence_vector(parameters, hidden, batch["input_mask"], self.head)

    def count(self, batch: Batch) -> tf.Tensor:
        """Examples."""
        return num_examples(batch)

    def losses(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Float32 [B]; of a score the squared error."""
        labels = batch["labels"]
        if self.config.kind == "score":
            return tf.square(scores[:, 0] - labels)
        if self.config.kind == "labels":
            return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels, scores), -1)
        return class_losses(self.config.loss, scores, labels, batch.get(REWEIGHTED))

    def right(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor | None:
        """1 where the likeliest class is the label, or all labels are right."""
        if self.config.kind == "score":
            return None
        if self.config.kind == "labels":
            same = tf.equal(scores > 0.0, batch["labels"] > 0.5)
            return tf.cast(tf.reduce_all(same, -1), tf.float32)
        return tf.cast(tf.equal(tf.argmax(scores, -1, output_type=tf.int32), batch["labels"]), tf.float32)


def texts_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[tuple[str, str | None]]:
    """One or two columns of each row; None, which some tables have for an empty text, is one."""
    return [
        (
            str(row[columns[0]] if row[columns[0]] is not None else ""),
            None if len(columns) == 1 else str(row[columns[1]]),
        )
        for row in rows
    ]


def encode_texts(
    tokenizer: Tokenizer, texts: Sequence[tuple[str, str | None]], max_length: int
) -> dict[str, np.ndarray]:
    """Texts or pairs, cut to `max_length` pieces → int32 [N, L] by name."""
    return piece_arrays(
        [encode_sequence(tokenizer, text, pair, max_length)[0] for text, pair in texts], max_length
    )


def label_arrays(values: Sequence[Any], config: ClassificationConfig, source: str) -> np.ndarray:
    """Labels as they stand in the table → int32 [N], float32 [N, C] for several, float32 [N] for scores.

    Raises:
      MorphbertError: a label that is not one of `config.labels`, or a score that is no number.
    """
    for row, value in enumerate(values, 1):
        if config.kind == "class" and not str("" if value is None else value).strip():
            raise MorphbertError(f"{source}: row {row} has an empty label: mend the row, or leave it out.")
    if config.kind == "score":
        return np.asarray([_number(value, row, source) for row, value in enumerate(values, 1)], np.float32)
    numbers = {label: index for index, label in enumerate(config.labels)}
    if config.kind == "class":
        return np.asarray(
            [_index(numbers, str(value), row, source) for row, value in enumerate(values, 1)], np.int32
        )
    several = np.zeros((len(values), len(numbers)), np.float32)
    for row, value in enumerate(values):
        for label in split_labels(value):
            several[row, _index(numbers, label, row + 1, source)] = 1.0
    return several


def split_labels(value: Any) -> list[str]:
    """`"기쁨,놀람"` or `["기쁨", "놀람"]` → both labels; nothing → none."""
    parts = value if isinstance(value, list) else str(value).split(SEVERAL)
    return [str(part).strip() for part in parts if str(part).strip()]


def _index(numbers: Mapping[str, int], label: str, row: int, source: str) -> int:
    if label not in numbers:
        raise MorphbertError(
            f"{source}: row {row} has the label {label!r}, which is not one of {', '.join(numbers)}. Mend the row, or "
            "give all labels with --labels."
        )
    return numbers[label]


def _number(value: Any, row: int, source: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise MorphbertError(f"{source}: row {row} has the score {value!r}, which is not a number.")
    return number


def labels_in(values: Sequence[Any], several: bool) -> tuple[str, ...]:
    """The labels that occur, sorted (numbers as numbers).

    Raises:
      MorphbertError: there are fewer than two.
    """
    found = {label for value in values for label in (split_labels(value) if several else [str(value)])} - {""}
    if len(found) < (1 if several else 2):
        raise MorphbertError(
            f"the training data has only the label {', '.join(map(repr, found)) or 'of nothing'}: there is nothing to "
            "tell apart."
        )
    return tuple(sorted(found, key=lambda label: (0, int(label), "") if label.isdigit() else (1, 0, label)))


def features_of(
    tokenizer: Tokenizer,
    texts: Sequence[tuple[str, str | None]],
    labels: np.ndarray | None,
    max_length: int,
) -> Features:
    """Examples as arrays; without labels for prediction."""
    return Features(encode_texts(tokenizer, texts, max_length), {} if labels is None else {"labels": labels})


def probabilities(scores: np.ndarray, kind: str) -> np.ndarray:
    """Logits [N, C] → probabilities [N, C]; scores stay what they are."""
    values = scores.astype(np.float64)
    if kind == "score":
        return values
    if kind == "labels":
        return 1.0 / (1.0 + np.exp(-values))
    powers = np.exp(values - values.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def metrics(scores: np.ndarray, labels: np.ndarray, config: ClassificationConfig) -> dict[str, float]:
    """Held-out figures: scores [N, C] against labels as `label_arrays` gives them.

    Returns:
      `class`: accuracy, macro F1 and loss; `labels`: exact match, micro and macro F1, loss; `score`: Pearson's and
      Spearman's correlation (0 where one side is constant) and the mean squared error as loss. Always `num_examples`.
    """
    try:
        from scipy import stats
        from sklearn.metrics import f1_score, log_loss
    except ImportError as error:
        raise MorphbertError(
            f"figures need scikit-learn ({error}): pip install 'morphbert[finetune]'"
        ) from error

    if config.kind == "score":
        found = scores[:, 0].astype(np.float64)
        varies = len(found) > 1 and float(np.ptp(found)) > 0 and float(np.ptp(labels)) > 0
        return {
            "pearson": float(stats.pearsonr(found, labels)[0]) if varies else 0.0,
            "spearman": float(stats.spearmanr(found, labels)[0]) if varies else 0.0,
            "loss": float(np.mean((found - labels) ** 2)),
            "num_examples": len(labels),
        }
    shares = probabilities(scores, config.kind)
    if config.kind == "labels":
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
    best, known = shares.argmax(1), np.arange(len(config.labels))
    return {
        "accuracy": float(np.mean(best == labels)),
        "f1": float(f1_score(labels, best, labels=known, average="macro", zero_division=0)),
        "loss": float(log_loss(labels, shares, labels=known)),
        "num_examples": len(labels),
    }
