"""Shared functions of tasks with classes: labels, scores and predictions."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.formats.labels import label_order


def labels_in(values: Iterable[str]) -> tuple[str, ...]:
    """Returns the distinct labels, sorted (numbers by value)."""
    found = set(values) - {""}
    return tuple(sorted(found, key=label_order))


def check_several(labels: Sequence[str], least: int = 2) -> None:
    """Refuses training data with too few labels.

    Raises:
      MorphbertError: there are fewer than two labels.
    """
    if len(labels) < least:
        raise MorphbertError(
            f"the training data has only the label {', '.join(map(repr, labels)) or 'of nothing'}: there is nothing to "
            "tell apart."
        )


def label_number(numbers: Mapping[str, int], label: str, row: int, source: str) -> int:
    """Returns the number of a label.

    Raises:
      MorphbertError: the label is unknown; the message names `row` and `source`.
    """
    if label not in numbers:
        raise MorphbertError(
            f"{source}: row {row} has the label {label!r}, which is not one of {', '.join(numbers)}. Correct the "
            "row, or give all labels with --labels."
        )
    return numbers[label]


def class_numbers(values: Sequence[Any], labels: Sequence[str], source: str) -> np.ndarray:
    """Returns the numbers of labels from a file, int32 [N].

    Raises:
      MorphbertError: a label is empty or not in `labels`.
    """
    for row, value in enumerate(values, 1):
        if not str("" if value is None else value).strip():
            raise MorphbertError(f"{source}: row {row} has an empty label: correct the row, or leave it out.")
    numbers = {label: index for index, label in enumerate(labels)}
    return np.asarray(
        [label_number(numbers, str(value), row, source) for row, value in enumerate(values, 1)], np.int32
    )


def counts_of_labels(labels: Sequence[str], given: Iterable[object], source: str | None) -> list[int]:
    """Returns the count of each label in the training data; prints a warning for labels without examples."""
    seen = collections.Counter(map(str, given))
    empty = [label for label in labels if not seen[label]]
    if empty:
        print(f"warning: {source} has no example of {', '.join(empty)}", flush=True)
    return [seen[label] for label in labels]


def likeliest_is(scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns 1 where the class with the largest score is the label: [B, C] and int32 [B] → float32 [B]."""
    return tf.cast(tf.equal(tf.argmax(scores, -1, output_type=tf.int32), labels), tf.float32)


def shares_of_scores(scores: np.ndarray) -> np.ndarray:
    """Returns the probabilities of logits [N, C], float64 [N, C]."""
    values = scores.astype(np.float64)
    powers = np.exp(values - values.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def by_label(shares: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    """Returns one example's probabilities by label, rounded to six places."""
    return {label: round(float(share), 6) for label, share in zip(labels, shares, strict=True)}
