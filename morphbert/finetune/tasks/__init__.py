"""The tasks that a model can be fine-tuned for, one module each; see `morphbert.finetune.task` for the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from morphbert.errors import MorphbertError, UsageError
from morphbert.finetune.config import FineTuneConfig
from morphbert.finetune.plugins import CUSTOM_TASKS
from morphbert.finetune.task import Task
from morphbert.finetune.task_options import given, of_saved, with_options
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
      MorphbertError: neither this version nor a plugin has the task.
    """
    name = saved["task"]
    if name in TASKS:
        return TASKS[name].from_dict(saved)
    if name in CUSTOM_TASKS or saved.get("plugin"):
        return of_saved(CUSTOM_TASKS.get(name, "the model"), saved).from_dict(saved)
    raise MorphbertError(
        f"the task {name!r} is unknown: use a newer version of morphbert, or, if it is a plugin's, name the Python "
        "file that registers it, --plugin=FILE.py."
    )


def kind_of(config: FineTuneConfig) -> type[Task]:
    """Returns the class of a run's task.

    Raises:
      UsageError: a plugin's task extends the task of another command.
    """
    if config.custom_task is None:
        return TASKS[config.task_name]
    kind = CUSTOM_TASKS.get(config.custom_task, f"--custom_task={config.custom_task}")
    extended = [task for task in TASKS.values() if issubclass(kind, task)]
    if extended and TASKS[config.task_name] not in extended:
        raise UsageError(
            f"--custom_task={config.custom_task} extends {extended[0].__name__}, and this command trains "
            f"{TASKS[config.task_name].__name__}: use the command of that task."
        )
    return with_options(kind, given(kind, config.custom_task, config.task_option))
