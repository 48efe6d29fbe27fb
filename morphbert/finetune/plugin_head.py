"""Calls of a plugin's head and metrics, with checks of the values that they return."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.finetune.config import HeadConfig, PieceHeadConfig
from morphbert.finetune.plugins import HEADS, METRICS, Head
from morphbert.model.losses import Batch
from morphbert.model.parameters import Parameter
from morphbert.plugins import place_of

_PREFIX = "head/"


def own_head(name: str | None) -> Head | None:
    """Returns the plugin's head of a task's `custom_head`; None for a task without one.

    Raises:
      MorphbertError: no plugin registers it.
    """
    return None if name is None else HEADS.get(name, "the model")


def head_input(head: HeadConfig, custom_head: str | None) -> HeadConfig:
    """Returns the input of a task's head. A plugin's reads the pieces: neither a pooler nor another vector of them."""
    return head if custom_head is None else PieceHeadConfig(layers=head.layers)


def own_parameters(head: Head, width: int, classes: int) -> dict[str, Parameter]:
    """Returns the weights of a plugin's head.

    Raises:
      MorphbertError: a name does not begin with `head/`.
    """
    declared = dict(head.parameters(width, classes))
    for name in declared:
        if not name.startswith(_PREFIX):
            raise MorphbertError(
                f"{type(head).__name__}.parameters names the weight {name!r}: call it {_PREFIX + name!r}, so that no "
                "weight of the encoder has its name."
            )
    return declared


def own_states(head: Head, hidden: tf.Tensor, batch: Batch) -> tf.Tensor:
    """Returns the states [B, L, D] that a plugin's head reads; [B, T, L, D] of B × T sequences for separate texts."""
    if not head.separate_texts:
        return hidden
    ids = batch["input_ids"]  # [B, T, L]
    return tf.reshape(hidden, [-1, ids.shape[1], tf.shape(ids)[2], hidden.shape[-1]])


def check_shape(head: Head, scores: tf.Tensor, classes: int, of_pieces: bool) -> None:
    """Refuses scores of a plugin's head that are not [B, C], or [B, L, C] `of_pieces`.

    Raises:
      MorphbertError: the message names both shapes.
    """
    if scores.shape.rank != 2 + of_pieces or scores.shape[-1] != classes:
        expected = f"[sequences, pieces, {classes}]" if of_pieces else f"[sequences, {classes}]"
        raise MorphbertError(
            f"{type(head).__name__}.scores returns the shape {scores.shape} instead of {expected}."
        )


def with_own_figures(
    figures: Mapping[str, float],
    names: Sequence[str],
    labels: np.ndarray,
    scores: np.ndarray,
    best_metric: str | None = None,
) -> dict[str, float]:
    """Returns a task's figures with those of plugins' metrics.

    A metric that fails here has passed `check_metrics`: a warning names it, and the run goes on without its figure.

    Args:
      best_metric: the figure that chooses the best checkpoint, with or without a leading `-`.

    Raises:
      MorphbertError: a metric is missing or has the name of a figure of the task, or the metric that chooses the best
        checkpoint fails.
    """
    more = {}
    for name in names:
        try:
            more[name] = _own_figure(name, figures, labels, scores)
        except _MetricFailure as error:
            if name == (best_metric or "").removeprefix("-"):
                raise
            print(f"warning: {error} This evaluation goes on without it.", flush=True)
    return {**figures, **more}


def check_metrics(
    names: Sequence[str],
    figures_of: Callable[[np.ndarray, np.ndarray], Mapping[str, float]],
    labels: np.ndarray,
    scores: np.ndarray,
) -> None:
    """Calls plugins' metrics once, before training, which a metric that fails would waste.

    Args:
      figures_of: returns the task's figures of scores and labels.
      labels: of some invented examples.
      scores: of the same, [N, C].

    Raises:
      MorphbertError: a metric is missing, has the name of a figure of the task, raises, or returns no number.
    """
    if names:
        figures = figures_of(scores, labels)
        for name in names:
            _own_figure(name, figures, labels, scores)


def some_scores(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels, int32 [4 C], and scores, float32 [4 C, C], of invented examples.

    Each class is the label of four examples and is predicted; the scores are right for half of all examples.
    """
    labels = np.tile(np.arange(classes, dtype=np.int32), 4)
    predicted = np.where(np.arange(4 * classes) < 2 * classes, labels, (labels + 1) % classes)
    noise = np.random.default_rng(0).normal(0.0, 0.1, (4 * classes, classes))
    return labels, (noise + np.eye(classes)[predicted]).astype(np.float32)


class _MetricFailure(MorphbertError):
    """A plugin's metric that raises or returns no number."""


def _own_figure(name: str, figures: Mapping[str, float], labels: np.ndarray, scores: np.ndarray) -> float:
    metric = METRICS.get(name, f"--metrics={name}")
    if name in figures:
        raise MorphbertError(f"--metrics={name}: the task has a figure of this name: rename the metric.")
    try:
        found = metric(labels.copy(), scores.copy())
    except Exception as error:
        where = place_of(error, METRICS.source(name))
        raise _MetricFailure(
            f"the metric {name!r} fails on {len(labels)} examples with scores {list(scores.shape)}: {where}."
        ) from error
    try:
        value = float(found)
    except (TypeError, ValueError) as error:
        raise _MetricFailure(f"the metric {name!r} returns {found!r}, which is not a number.") from error
    if math.isnan(value):
        raise _MetricFailure(f"the metric {name!r} returns NaN on {len(labels)} examples.")
    return value
