"""A fine-tuned model from its folder, to predict with or to export."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from morphbert.errors import MorphbertError
from morphbert.finetune.scoring import chosen_checkpoint, task_weights
from morphbert.finetune.task import Task, parameters_of
from morphbert.finetune.task_file import read_task
from morphbert.finetune.tasks import task_of
from morphbert.interop import native
from morphbert.interop.vocabularies import tokenizer_of
from morphbert.model.config import BertConfig
from morphbert.text.wordpiece_tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class TaskModel:
    """What a folder of a fine-tuning command holds.

    Attributes:
      saved: the content of `task.json`.
      weights: the encoder's and the head's, float32, by their names.
      checkpoint, step: where they were read from.
    """

    task: Task
    saved: Mapping[str, Any]
    config: BertConfig
    tokenizer: Tokenizer
    weights: Mapping[str, np.ndarray]
    checkpoint: str
    step: int

    @property
    def max_seq_length(self) -> int:
        return int(self.saved["max_seq_length"])


def load_task(folder: str, best: bool = True) -> TaskModel:
    """Reads a model with its task's head.

    Args:
      folder: the `--output_dir` of a fine-tuning command.
      best: take the checkpoint with the best figures where one was kept, else the newest.

    Raises:
      MorphbertError: there is no such model, or its parts are damaged or of a newer version.
    """
    if not os.path.isdir(folder):
        raise MorphbertError(f"there is no folder {folder}: give the --output_dir of a fine-tuning command.")
    saved = read_task(folder)
    task = task_of(saved)
    path, step = chosen_checkpoint(folder, best)
    # Of the encoder, for its configuration and its vocabulary.
    model = native.read(folder, None)
    tokenizer = tokenizer_of(model)
    if tokenizer is None:
        raise MorphbertError(
            f"{folder} has no vocabulary: copy there the one that the model was trained with."
        )
    expected = parameters_of(task, model.config)
    weights = task_weights(path, expected)
    kept = {name: np.asarray(weights[name], np.float32) for name in expected}
    return TaskModel(task, saved, model.config, tokenizer, kept, path, step)
