"""Tasks, heads, losses and metrics that Python files of the user register by name (`--plugin=my_task.py`).

    @morphbert.register_loss("dice")
    def dice(scores, labels): ...

A name is then a value of `--custom_task`, `--head`, `--loss` or `--metrics`. Importing this module loads no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from morphbert.errors import UsageError
from morphbert.finetune import task_options
from morphbert.plugins import Registry, source_of

if TYPE_CHECKING:
    import tensorflow as tf

    from morphbert.finetune.task import Task
    from morphbert.model.layers import Parameters
    from morphbert.model.losses import Batch
    from morphbert.model.parameters import Parameter

# Returns each example's loss, float32 [N], of scores [N, C] and labels, int32 [N].
Loss = Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"]
# Returns a figure of labels [N] and scores [N, C], or for answers of right answers [N] and given ones [N].
Metric = Callable[[np.ndarray, np.ndarray], float]


class Head(Protocol):
    """The layers between the encoder and the scores of a task.

    Shapes: B sequences, L pieces, D the size of a piece's vector, C classes. A sequence is an example, a window of a
    long text, or a question with one of its candidates. C is 2 for answers (beginning and end), and 1 for candidates.

    Attributes:
      separate_texts: for `run_classifier.py`: whether each of the T texts of an example is encoded alone. The states
        are then [B, T, L, D], and the arrays of the batch [B, T, L]. Otherwise a pair is one sequence: [B, L, D] and
        [B, L].
    """

    separate_texts: bool

    def parameters(self, width: int, classes: int) -> Mapping[str, Parameter]:
        """Returns the head's weights by name, for `width` D and C `classes`; a name begins with `head/`."""

    def scores(
        self,
        parameters: Parameters,
        hidden: tf.Tensor,
        batch: Batch,
        dropout: Callable[[tf.Tensor], tf.Tensor],
    ) -> tf.Tensor:
        """Returns the logits of the classes, or the score: [B, C]; of each piece for tags and answers: [B, L, C].

        Args:
          parameters: the weights of encoder and head.
          hidden: the encoder's states.
          batch: `input_mask`, `segment_ids` and the other arrays of the sequences; for relations also `subject` and
            `object`, which are 1 on the pieces of an entity.
          dropout: applies dropout in training, and returns its argument otherwise; called once.
        """


HEADS: Registry[Head] = Registry("head", "head")
LOSSES: Registry[Loss] = Registry("loss", "loss", ("cross_entropy", "focal", "ldam"))
METRICS: Registry[Metric] = Registry("metric", "metrics")
CUSTOM_TASKS: Registry[type[Task]] = Registry("task", "custom_task")

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Class = TypeVar("_Class", bound=type)


def register_head(name: str) -> Callable[[_Class], _Class]:
    """Returns a decorator that registers a class as a head for `--head=NAME`.

    Args:
      name: the name, of letters, digits and `_`. `morphbert.finetune.plugins.Head` describes the class's methods.

    Raises:
      UsageError: the name is taken.
    """
    return HEADS.decorator(name, lambda kind: kind())


def register_loss(name: str) -> Callable[[_Function], _Function]:
    """Returns a decorator that registers a function as a loss for `--loss=NAME`.

    The function takes scores, float32 [N, C], and labels, int32 [N], and returns the losses, float32 [N].

    Args:
      name: the name, of letters, digits and `_`.

    Raises:
      UsageError: the name is taken.
    """
    return LOSSES.decorator(name, lambda function: function)


def register_metric(name: str) -> Callable[[_Function], _Function]:
    """Returns a decorator that registers a function as a metric for `--metrics=NAME`.

    The function takes labels [N] and scores [N, C], and returns a number. Labels and scores are NumPy arrays: integers
    and logits for classes, tags and candidates, and objects for answers: tuples of right answers, and the answers
    given.

    Args:
      name: the name, of letters, digits and `_`.

    Raises:
      UsageError: the name is taken.
    """
    return METRICS.decorator(name, lambda function: function)


def register_task(name: str, options: type | None = None) -> Callable[[_Class], _Class]:
    """Returns a decorator that registers a class as a task for `--custom_task=NAME`.

    The class extends one of those in `morphbert.finetune.tasks`, and is then for the command of that task.
    `morphbert.finetune.task.Task` describes the methods.

    Args:
      name: the name, of letters, digits and `_`.
      options: a class made with `morphbert.options.configuration`. Its fields are the names of `--task_option`, and the
        task's methods find the values in `self.options`.

    Raises:
      UsageError: the name is taken, the class is no task, it is registered under another name, or an option has no
        default.
    """

    def register(kind: _Class) -> _Class:
        from morphbert.finetune.tasks import TASKS

        if name in TASKS:
            raise UsageError(
                f"the task {name!r} is built in: give the one of {source_of(kind)} another name."
            )
        if not any(isinstance(kind, type) and issubclass(kind, task) for task in TASKS.values()):
            raise UsageError(
                f"the task {name!r} of {source_of(kind)} must extend a class of morphbert.finetune.tasks."
            )
        if vars(kind).get("name", name) != name:
            raise UsageError(
                f"{source_of(kind)}: the class of the task {name!r} has another name already: extend it."
            )
        task_options.declare(kind, options, source_of(kind))
        CUSTOM_TASKS.add(name, kind, source_of(kind))
        kind.name = name  # type: ignore[attr-defined]
        if "title" not in vars(kind):
            kind.title = name  # type: ignore[attr-defined]
        return kind

    return register
