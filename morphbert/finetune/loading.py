"""Loads a fine-tuned model from its folder, for prediction or export."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from morphbert.errors import MorphbertError
from morphbert.finetune.scoring import check_task, chosen_checkpoint
from morphbert.finetune.task import Task, parameters_of
from morphbert.finetune.task_file import check_vocabulary, read_task
from morphbert.finetune.tasks import task_of
from morphbert.hints import held_back
from morphbert.interop.native import check_no_other_weights
from morphbert.interop.pretrained import Pretrained, as_float32, check_weights, find_vocabulary
from morphbert.interop.vocabularies import tokenizer_of
from morphbert.model.config import BERT_CONFIG_NAME, BertConfig
from morphbert.plugins import say_changed
from morphbert.text.tokenizer import Tokenizer
from morphbert.train.checkpoint import read_shapes, read_weights


@dataclasses.dataclass(frozen=True)
class TaskModel:
    """The content of a folder of a fine-tuning command.

    Attributes:
      saved: the content of `task.json`.
      weights: the weights of encoder and head, float32, by name.
      checkpoint, step: the source of the weights.
    """

    task: Task
    saved: Mapping[str, Any]
    config: BertConfig
    tokenizer: Tokenizer
    weights: Mapping[str, np.ndarray]
    checkpoint: str
    step: int


@held_back()
def load_task(folder: str, best: bool = True) -> TaskModel:
    """Reads a model with its task's head.

    Args:
      folder: the `--output_dir` of a fine-tuning command.
      best: whether to take the checkpoint with the best figures if one was kept, else the newest.

    Raises:
      MorphbertError: the model is missing, its parts are damaged or of a newer version, or a weight is NaN or infinite.
    """
    if not os.path.isdir(folder):
        raise MorphbertError(f"there is no folder {folder}: give the --output_dir of a fine-tuning command.")
    saved = read_task(folder)
    task = task_of(saved)
    say_changed(folder, saved.get("plugin"))
    path, step = chosen_checkpoint(folder, best)
    config = BertConfig.from_json_file(os.path.join(folder, BERT_CONFIG_NAME))
    expected = parameters_of(task, config)
    shapes = read_shapes(path)
    check_no_other_weights(path, shapes, config)
    check_task(path, shapes, expected)
    check_weights(path, config, shapes, expected)
    tokenizer = tokenizer_of(Pretrained(config, {}, path, vocabulary=find_vocabulary(folder)))
    if tokenizer is None:
        raise MorphbertError(f"{folder} has no vocabulary: copy the model's vocabulary into it.")
    check_vocabulary(folder, saved, tokenizer)
    weights = read_weights(path)
    kept = {name: as_float32(path, name, weights[name]) for name in expected}
    return TaskModel(
        task=task, saved=saved, config=config, tokenizer=tokenizer, weights=kept, checkpoint=path, step=step
    )
