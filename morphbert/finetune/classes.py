"""What tasks share whose examples are of one of some classes: labels, scores and predictions."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError


def labels_in(values: Iterable[str]) -> tuple[str, ...]:
    """Returns the labels that occur, sorted (numbers as numbers)."""
    found = set(values) - {""}
    return tuple(sorted(found, key=lambda label: (0, int(label), "") if label.isdigit() else (1, 0, label)))


def check_several(labels: Sequence[str], least: int = 2) -> None:
    """Refuses training data with too few labels.

    Raises:
      MorphbertError: there is nothing to tell apart.
    """
    if len(labels) < least:
        raise MorphbertError(
            f"the training data has only the label {', '.join(map(repr, labels)) or 'of nothing'}: there is nothing to "
            "tell apart."
        )


def label_number(numbers: Mapping[str, int], label: str, row: int, source: str) -> int:
    """Returns the number of a label.

    Raises:
      MorphbertError: it is none of those that are known; `row` and `source` say where it stands.
    """
    if label not in numbers:
        raise MorphbertError(
            f"{source}: row {row} has the label {label!r}, which is not one of {', '.join(numbers)}. Mend the row, or "
            "give all labels with --labels."
        )
    return numbers[label]


def class_numbers(values: Sequence[Any], labels: Sequence[str], source: str) -> np.ndarray:
    """Labels as they stand in a file → int32 [N].

    Raises:
      MorphbertError: one is empty, or not one of `labels`.
    """
    for row, value in enumerate(values, 1):
        if not str("" if value is None else value).strip():
            raise MorphbertError(f"{source}: row {row} has an empty label: mend the row, or leave it out.")
    numbers = {label: index for index, label in enumerate(labels)}
    return np.asarray(
        [label_number(numbers, str(value), row, source) for row, value in enumerate(values, 1)], np.int32
    )


def counts_of_labels(labels: Sequence[str], given: Iterable[object], source: str | None) -> list[int]:
    """Returns how often each label occurs in the training data; those that never do are named."""
    seen = collections.Counter(map(str, given))
    empty = [label for label in labels if not seen[label]]
    if empty:
        print(f"warning: {source} has no example of {', '.join(empty)}", flush=True)
    return [seen[label] for label in labels]


def likeliest_is(scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns 1 where the class with the largest score is the label: [B, C] and int32 [B] → float32 [B]."""
    return tf.cast(tf.equal(tf.argmax(scores, -1, output_type=tf.int32), labels), tf.float32)


def shares_of_scores(scores: np.ndarray) -> np.ndarray:
    """Logits [N, C] → probabilities, float64 [N, C]."""
    values = scores.astype(np.float64)
    powers = np.exp(values - values.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def by_label(shares: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    """Returns one example's probabilities, to six places."""
    return {label: round(float(share), 6) for label, share in zip(labels, shares, strict=True)}
