"""A task from what a fine-tuned model's folder says about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.finetune.answers import SpanTask
from morphbert.finetune.classification import Classification, ClassificationConfig
from morphbert.finetune.heads import NO_POOLING, HeadConfig
from morphbert.finetune.relation import Relation, RelationConfig
from morphbert.finetune.tagging import Tagging, TaggingConfig
from morphbert.finetune.task import Task


def task_of(saved: Mapping[str, Any]) -> Task:
    """The content of `task.json` → the task as its scores need it; how it was learned is left out.

    Raises:
      MorphbertError: a task that this version does not know.
    """
    pieces = saved["task"] in ("tagging", "span")
    head = HeadConfig.from_dict({**({"pooling": NO_POOLING.pooling} if pieces else {}), **saved})
    labels = tuple(saved.get("labels", ()))
    if saved["task"] == "classification":
        return Classification(ClassificationConfig(saved["kind"], labels, head))
    if saved["task"] == "tagging":
        return Tagging(TaggingConfig(labels, head))
    if saved["task"] == "relation":
        return Relation(RelationConfig(labels, tuple(saved["entity_types"]), head))
    if saved["task"] == "span":
        return SpanTask(saved["max_seq_length"], head)
    raise MorphbertError(f"the task {saved['task']!r} is not known: use a newer version of morphbert.")
