"""Calls of a plugin's head and metrics, with checks of what they return."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.finetune.heads import head_dropout
from morphbert.finetune.plugins import METRICS, Head
from morphbert.model.config import BertConfig
from morphbert.model.layers import Parameters
from morphbert.model.losses import Batch
from morphbert.model.parameters import Parameter

_PREFIX = "head/"


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


def own_scores(
    head: Head,
    parameters: Parameters,
    config: BertConfig,
    hidden: tf.Tensor,
    batch: Batch,
    key: tf.Tensor | None,
    classes: int,
) -> tf.Tensor:
    """Returns the scores of a plugin's head, float32 [B, C].

    Args:
      hidden: states [B, L, D]; for a head with separate texts [B × T, L, D].
      key: the key of dropout; None for no dropout.

    Raises:
      MorphbertError: the scores have another shape.
    """
    if head.separate_texts:
        ids = batch["input_ids"]  # [B, T, L]
        hidden = tf.reshape(hidden, [-1, ids.shape[1], tf.shape(ids)[2], hidden.shape[-1]])
    scores = head.scores(parameters, hidden, batch, lambda inputs: head_dropout(inputs, config, key))
    if scores.shape.rank != 2 or scores.shape[1] != classes:
        raise MorphbertError(
            f"{type(head).__name__}.scores returns the shape {scores.shape}: expected is [examples, {classes}]."
        )
    return tf.cast(scores, tf.float32)


def with_own_figures(
    figures: Mapping[str, float], names: Sequence[str], labels: np.ndarray, scores: np.ndarray
) -> dict[str, float]:
    """Returns a task's figures with those of plugins' metrics.

    Raises:
      MorphbertError: a metric is missing, has the name of a figure of the task, or returns no number.
    """
    more = {}
    for name in names:
        found = METRICS.get(name, f"--metrics={name}")(labels, scores)
        if name in figures:
            raise MorphbertError(f"--metrics={name}: the task has a figure of this name: rename the metric.")
        try:
            more[name] = float(found)
        except (TypeError, ValueError) as error:
            raise MorphbertError(f"the metric {name!r} returns {found!r}, which is not a number.") from error
        if math.isnan(more[name]):
            raise MorphbertError(f"the metric {name!r} returns NaN on {len(labels)} examples.")
    return {**figures, **more}
