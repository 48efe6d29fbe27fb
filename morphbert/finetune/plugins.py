"""Heads, losses and metrics that Python files of the user register by name (`--plugin=my_task.py`).

    @morphbert.register_loss("dice")
    def dice(scores, labels): ...

A name is then a value of `--head`, `--loss` or `--metrics`. Only files that the user names are run, never a file in a
model's folder. Importing this module loads no TensorFlow.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from morphbert import quiet_tensorflow
from morphbert.errors import MorphbertError, UsageError

if TYPE_CHECKING:
    import tensorflow as tf

    from morphbert.model.layers import Parameters
    from morphbert.model.losses import Batch
    from morphbert.model.parameters import Parameter

# Returns each example's loss, float32 [N], of scores [N, C] and labels, int32 [N].
Loss = Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"]
# Returns a figure of labels [N] and scores [N, C].
Metric = Callable[[np.ndarray, np.ndarray], float]


class Head(Protocol):
    """The layers between the encoder and the scores of `run_classifier.py`.

    Shapes: B examples, L pieces, D the size of a piece's vector, C classes.

    Attributes:
      separate_texts: whether each of the T texts of an example is encoded alone. The states are then [B, T, L, D], and
        the arrays of the batch [B, T, L]. Otherwise a pair is one sequence: [B, L, D] and [B, L].
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
        """Returns the logits of the classes, or the score: float32 [B, C].

        Args:
          parameters: the weights of encoder and head.
          hidden: the encoder's states.
          batch: `input_mask`, `segment_ids` and the other arrays of the examples.
          dropout: applies dropout in training, and returns its argument otherwise; called once.
        """


_Entry = TypeVar("_Entry")


class Registry(Generic[_Entry]):
    """Entries by name, each with the file that registered it."""

    def __init__(self, kind: str, flag: str, own: Sequence[str] = ()) -> None:
        """`kind` is a word for messages, `flag` is the option that selects an entry, `own` are built-in names."""
        self._kind, self._flag, self.own = kind, flag, tuple(own)
        self._entries: dict[str, tuple[_Entry, str]] = {}

    def add(self, name: str, entry: _Entry, source: str) -> None:
        """Registers an entry; the same file may register its name again.

        Raises:
          UsageError: the name is built in, no name, or another file's.
        """
        if not name.isidentifier():
            raise UsageError(f"{name!r} is no name for a {self._kind}: use letters, digits and _.")
        if name in self.own:
            raise UsageError(f"the {self._kind} {name!r} is built in: give the one of {source} another name.")
        before = self._entries.get(name)
        if before is not None and before[1] != source:
            raise UsageError(f"{before[1]} and {source} both register the {self._kind} {name!r}: rename one.")
        self._entries[name] = (entry, source)

    def check(self, name: str, plugins: Sequence[str] = ()) -> None:
        """Refuses a name that is neither built in nor registered.

        Raises:
          UsageError: the message lists the known names.
        """
        if name not in self.own and name not in self._entries:
            known = ", ".join([*self.own, *self._entries]) or "none"
            searched = (
                f"--plugin={','.join(plugins)} does not register it" if plugins else "it is not built in"
            )
            raise UsageError(
                f"--{self._flag}={name} is out of range: {searched}. Known names: {known}. A name of your own needs "
                "the Python file that registers it: --plugin=FILE.py."
            )

    def get(self, name: str, needed_by: str) -> _Entry:
        """Returns a registered entry.

        Raises:
          MorphbertError: it is missing; the message says that `needed_by` needs it.
        """
        if name not in self._entries:
            raise MorphbertError(
                f"{needed_by} needs the {self._kind} {name!r} of a plugin: name the Python file that registers it, "
                "--plugin=FILE.py (in Python: plugin=[...], or import the module first)."
            )
        return self._entries[name][0]

    def source(self, name: str) -> str:
        """Returns the file that registered an entry."""
        return self._entries[name][1]


HEADS: Registry[Head] = Registry("head", "head")
LOSSES: Registry[Loss] = Registry("loss", "loss", ("cross_entropy", "focal", "ldam"))
METRICS: Registry[Metric] = Registry("metric", "metrics")

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Class = TypeVar("_Class", bound=type)
# The digest of each loaded file, by its real path.
_loaded: dict[str, str] = {}


def register_head(name: str) -> Callable[[_Class], _Class]:
    """Registers a class as a head for `run_classifier.py --head=NAME`; see `morphbert.finetune.plugins.Head`.

    Raises:
      UsageError: the name is taken.
    """

    def register(kind: _Class) -> _Class:
        HEADS.add(name, kind(), _source(kind))
        return kind

    return register


def register_loss(name: str) -> Callable[[_Function], _Function]:
    """Registers a function of scores, float32 [N, C], and labels, int32 [N], that returns float32 [N] as `--loss=NAME`.

    Raises:
      UsageError: the name is taken.
    """

    def register(function: _Function) -> _Function:
        LOSSES.add(name, function, _source(function))
        return function

    return register


def register_metric(name: str) -> Callable[[_Function], _Function]:
    """Registers a function of labels [N] and scores [N, C] that returns a number as `--metrics=NAME`.

    Labels and scores are NumPy arrays: for classes, int32 and logits.

    Raises:
      UsageError: the name is taken.
    """

    def register(function: _Function) -> _Function:
        METRICS.add(name, function, _source(function))
        return function

    return register


def load_plugins(paths: Sequence[str]) -> None:
    """Runs Python files that register heads, losses and metrics; a file that has not changed is not run again.

    Raises:
      UsageError: a file is missing or is not a Python file, or registers a name that is taken.
      MorphbertError: a file raises an exception.
    """
    for path in paths:
        if not path.endswith(".py"):
            raise UsageError(f"--plugin={path} is not a Python file: give FILE.py.")
        if not os.path.isfile(path):
            raise UsageError(f"--plugin={path}: there is no such file.")
    if paths:
        quiet_tensorflow.load()  # a plugin imports it, which would print its start-up notes
    for path in paths:
        real, digest = os.path.realpath(path), _digest(path)
        if _loaded.get(real) == digest:
            continue
        name = "morphbert_plugin_" + os.path.basename(path).removesuffix(".py")
        spec = importlib.util.spec_from_file_location(name, real)
        assert spec is not None  # the name ends with .py
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except MorphbertError:
            raise
        except Exception as error:
            raise MorphbertError(f"--plugin={path} cannot be loaded: {place_of(error, real)}") from error
        _loaded[real] = digest


def identities(paths: Sequence[str]) -> list[str]:
    """Returns the name of each plugin file and its SHA-256, for the settings in a checkpoint."""
    return [f"{os.path.basename(path)} {_digest(path)}" for path in paths]


def _digest(path: str) -> str:
    with open(path, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def _source(entry: Any) -> str:
    """Returns the file of a function or class, or its module's name, as in a notebook."""
    module = sys.modules.get(entry.__module__)
    return str(getattr(module, "__file__", None) or entry.__module__)


def place_of(error: Exception, path: str) -> str:
    """Returns an exception in words, with the line of `path` that raised it."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    line = f"line {lines[-1]}: " if lines else ""
    return f"{line}{type(error).__name__}: {error}"
