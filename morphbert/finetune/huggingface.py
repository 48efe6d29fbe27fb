"""Conversion of heads to transformers: the parts that tasks share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from morphbert.errors import MorphbertError
from morphbert.finetune.config import HeadConfig
from morphbert.finetune.heads import DENSE


@dataclasses.dataclass(frozen=True)
class TransformersHead:
    """A class of transformers with the weights of one model.

    Attributes:
      suffix: the ending of its name: `ForSequenceClassification`.
      pipeline: the Hub's name of the task, for the card.
      tensors: all tensors, the encoder's included, by transformers' names.
      values: the entries of `config.json` for the head.
    """

    suffix: str
    pipeline: str
    tensors: Mapping[str, np.ndarray]
    values: Mapping[str, Any]


def check_last_layer(head: HeadConfig) -> None:
    """Refuses a head that does not read only the last layer.

    Raises:
      MorphbertError: no class of transformers computes it.
    """
    if head.layers != (-1,) or head.lstm_units:
        raise MorphbertError(
            "no class of transformers computes this head, because it reads other layers than the last one, or an "
            "LSTM. Use predict.py, or train with --layers=-1 and without --lstm_units."
        )


def check_pooler(head: HeadConfig) -> None:
    """Refuses a head that does not read [CLS] of the last layer through the pooler.

    Raises:
      MorphbertError: no class of transformers computes it.
    """
    check_last_layer(head)
    if not head.uses_pooler:
        raise MorphbertError(
            f"--pooling={head.pooling}: transformers' classes for sentences read [CLS] through the pooler. Use "
            "predict.py, or train with --pooling=cls."
        )


def linear_tensors(weights: Mapping[str, np.ndarray], ours: str, theirs: str) -> dict[str, np.ndarray]:
    """Returns the weights of `heads.linear_parameters` by transformers' names."""
    return {f"{theirs}.weight": weights[f"{ours}_weights"], f"{theirs}.bias": weights[f"{ours}_bias"]}


def dense_tensors(weights: Mapping[str, np.ndarray], theirs: str) -> dict[str, np.ndarray]:
    """Returns the weights of `heads.electra_parameters` by transformers' names."""
    return {f"{theirs}.weight": weights[f"{DENSE}/kernel"].T, f"{theirs}.bias": weights[f"{DENSE}/bias"]}


def label_values(labels: Sequence[str]) -> dict[str, Any]:
    """Returns the entries of `config.json` for labels in the order of the scores."""
    return {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }
