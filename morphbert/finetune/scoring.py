"""Scores examples with a task's model, for evaluation, prediction and export."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from morphbert.errors import MorphbertError
from morphbert.finetune.features import Features
from morphbert.finetune.task import Task, outputs, parameters_of
from morphbert.interop.sequence_batches import scoring_batches
from morphbert.model.config import BertConfig
from morphbert.model.parameters import in_dtype
from morphbert.train.checkpoint import latest


class Scorer:
    """Scores examples with the weights at the time of the call."""

    def __init__(
        self,
        task: Task,
        config: BertConfig,
        parameters: Mapping[str, Any],
        batch_size: int,
        dtype: str = "float32",
    ) -> None:
        """`parameters` are variables or arrays by name; batches have `batch_size` examples of similar length."""
        self._task, self._config, self._parameters = task, config, parameters
        self._batch_size = batch_size
        # Scoring in float16 needs no loss scale, but its rounding would change close decisions.
        self._dtype = "bfloat16" if dtype == "bfloat16" else "float32"
        self._scores = tf.function(self._scores_of_batch, autograph=False)
        # One trace per batch length is intended, although TensorFlow warns about it.
        tf.get_logger().addFilter(lambda record: "retracing" not in record.getMessage())

    def __call__(self, features: Features) -> list[np.ndarray]:
        """Returns the task's scores of each example, in order; scores of pieces have the length of their batch."""
        found: list[Any] = [None] * len(features)
        batches = scoring_batches(features.pieces, self._batch_size)
        total = -(-len(features) // self._batch_size)
        for rows, batch in tqdm(
            batches, desc="scoring", unit="batch", total=total, leave=False, disable=None
        ):
            values = self._scores({name: tf.constant(value) for name, value in batch.items()}).numpy()
            for row, value in zip(rows, values, strict=False):
                found[row] = value
        return found

    def _scores_of_batch(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        declared = parameters_of(self._task, self._config)
        weights = {name: tf.convert_to_tensor(self._parameters[name]) for name in declared}
        return outputs(self._task, self._config, in_dtype(weights, declared, self._dtype), batch)


def chosen_checkpoint(folder: str, best: bool) -> tuple[str, int]:
    """Returns the prefix and the step of a folder's best checkpoint, if there is one, or of its newest.

    Raises:
      MorphbertError: the folder has no checkpoint.
    """
    chosen = (latest(os.path.join(folder, "best")) if best else None) or latest(folder)
    if chosen is None:
        raise MorphbertError(f"there is no checkpoint in {folder}: train first (--do_train).")
    return chosen.path, chosen.step


def check_task(path: str, names: Container[str], expected: Iterable[str]) -> None:
    """Refuses a checkpoint without the task's head.

    Args:
      path: the checkpoint's prefix, for the message.
      names: the names of its weights.
      expected: the names of the task's weights.

    Raises:
      MorphbertError: the checkpoint is of another task.
    """
    missing = [name for name in expected if name not in names and not name.startswith("bert/")]
    if missing:
        raise MorphbertError(
            f"{os.path.dirname(path)} contains the checkpoint of another task: it lacks {', '.join(missing[:3])}. Give "
            "another --output_dir."
        )
