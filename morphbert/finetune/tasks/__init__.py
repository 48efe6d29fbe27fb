"""The tasks that a model can be fine-tuned for, one module each; see `morphbert.finetune.task` for the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.finetune.task import Task
from morphbert.finetune.tasks.classification import Classification
from morphbert.finetune.tasks.multiple_choice import MultipleChoice
from morphbert.finetune.tasks.relation import Relation
from morphbert.finetune.tasks.spans import Spans
from morphbert.finetune.tasks.tagging import Tagging

TASKS: Mapping[str, type[Task]] = {
    task.name: task for task in (Classification, Tagging, Relation, Spans, MultipleChoice)
}


def task_of(saved: Mapping[str, Any]) -> Task:
    """Returns the task of the content of `task.json`, as needed for scores, without the settings of training.

    Raises:
      MorphbertError: this version does not know the task.
    """
    if saved["task"] not in TASKS:
        raise MorphbertError(f"the task {saved['task']!r} is unknown: use a newer version of morphbert.")
    return TASKS[saved["task"]].from_dict(saved)
