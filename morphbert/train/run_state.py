"""The part of a checkpoint that is not tensors: the description, the data position and the progress of a run.

A JSON object under the key `run`; the fields of all parts stand beside each other in it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

import morphbert
from morphbert.errors import MorphbertError

FORMAT_VERSION = 1
Json = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Description:
    """The description of a run; it stays the same from its first step to its last.

    Attributes:
      config: the model's configuration.
      settings: all values except the data that affect the weights after a step.
      data: the identity of the input: files with their sizes, and how they are read.
      vocabulary: the `sha256` of the vocabulary of the records; empty where they do not say it.
      plan: the plan of `--train_time`, or None.
      generator_config: the configuration of an ELECTRA's generator, whose discriminator's is `config`; None for every
        other run.
      has_iterator: whether the checkpoints hold an iterator over the data.
      morphbert_version: the version of the program that wrote the checkpoint.
    """

    config: Json
    settings: Json
    data: Json
    vocabulary: Json = dataclasses.field(default_factory=dict)
    plan: Json | None = None
    generator_config: Json | None = None
    has_iterator: bool = True
    morphbert_version: str = morphbert.__version__

    @property
    def num_workers(self) -> int:
        """Returns the number of workers that read the data."""
        return int(self.settings["num_workers"])

    @property
    def has_mask_schedule(self) -> bool:
        """Returns whether the share of masks changes over the run; a reader that counts batches has another state."""
        return "masked_lm_schedule" in self.settings

    @classmethod
    def from_json(cls, values: Json) -> Description:
        """Reads the fields that are there; the others have their defaults.

        Raises:
          MorphbertError: one that has no default is missing.
        """
        missing = [name for name in ("config", "settings", "data") if name not in values]
        if missing:
            raise MorphbertError(f"the state of a run lacks {', '.join(missing)}: it is of another program.")
        return cls(**_own(cls, values))

    def to_json(self) -> dict[str, Any]:
        """Returns the fields; `plan` and `generator_config` where there is one."""
        values = dataclasses.asdict(self)
        for name in ("plan", "generator_config"):
            if values[name] is None:
                del values[name]
        return values


@dataclasses.dataclass
class Position:
    """Where the data of a run stands.

    Attributes:
      taken: the batches that were taken from each set of records; the reader of the data counts them.
      data_began: the step at which the data was begun.
    """

    taken: list[int] = dataclasses.field(default_factory=list)
    data_began: int = 0


@dataclasses.dataclass
class LineSums:
    """The sums over the steps since the last line of progress, so that a resumed run logs the same lines.

    Attributes:
      sums: one for each column of the objective.
      steps: their number.
      learning_rate, loss_scale: those of the last step.
    """

    sums: list[float]
    steps: int = 0
    learning_rate: float = 0.0
    loss_scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class Rollbacks:
    """How often in succession the run went back to the checkpoint of a step; -1 for none."""

    step: int = -1
    times: int = 0


@dataclasses.dataclass(frozen=True)
class BestLoss:
    """The best evaluation of pretraining so far."""

    step: int
    loss: float


@dataclasses.dataclass(frozen=True)
class BestMetric:
    """The best evaluation of fine-tuning so far.

    Attributes:
      waited: the evaluations since.
    """

    step: int
    metric: str
    value: float
    waited: int = 0


@dataclasses.dataclass
class Progress:
    """How far the training loop has come.

    Attributes:
      log: the sums since the last line.
      best: the best evaluation so far; None before the first.
      rollbacks: of `--on_divergence=rollback`.
      evaluated: the step of the last evaluation.
      loss_means: the long and the short mean of the loss; None before the first step.
    """

    log: LineSums
    best: BestLoss | BestMetric | None = None
    rollbacks: Rollbacks = Rollbacks()
    evaluated: int = 0
    loss_means: list[float] | None = None

    @classmethod
    def before(cls, columns: int) -> Progress:
        """Returns the progress before the first step of an objective with so many columns."""
        return cls(LineSums([0.0] * columns))

    @classmethod
    def from_json(cls, values: Json, columns: int) -> Progress:
        """Reads a checkpoint's; sums of another number of columns are those of other settings, and are dropped."""
        log = LineSums(**values.get("log", {"sums": []}))
        if len(log.sums) != columns:
            log = LineSums([0.0] * columns)
        rollbacks = Rollbacks(**values.get("rollbacks", {}))
        found = values.get("best")
        kind = BestMetric if found and "metric" in found else BestLoss
        best = found and kind(**_own(kind, found))
        return cls(**{**_own(cls, values), "log": log, "best": best, "rollbacks": rollbacks})


class RunState(tf.train.experimental.PythonState):
    """The state of one run.

    A restored checkpoint brings its progress. The description stays that of the run as it is configured now, and the
    position that of its reader of the data: the caller has compared both with the checkpoint's before.
    """

    def __init__(self, description: Description, columns: int, position: Position | None = None):
        super().__init__()
        self.description = description
        self.position = position or Position()
        self.progress = Progress.before(columns)
        self._columns = columns

    def serialize(self) -> str:
        return _serialized(
            {
                **self.description.to_json(),
                **dataclasses.asdict(self.position),
                **dataclasses.asdict(self.progress),
            }
        )

    def deserialize(self, string_value: str | bytes) -> None:
        self.progress = Progress.from_json(json.loads(string_value), self._columns)


class ModelState(tf.train.experimental.PythonState):
    """The state in a checkpoint that holds a model and no run."""

    def __init__(self, config: Json, origin: str):
        super().__init__()
        self._values = {"morphbert_version": morphbert.__version__, "config": dict(config), "origin": origin}

    def serialize(self) -> str:
        return _serialized(self._values)

    def deserialize(self, string_value: str | bytes) -> None:
        """Reads nothing: a model is read from its weights and its configuration file."""


def _serialized(values: Json) -> str:
    return json.dumps({"format_version": FORMAT_VERSION, **values}, ensure_ascii=False, sort_keys=True)


def _own(kind: Any, values: Json) -> dict[str, Any]:
    """Returns the values whose keys are fields of a dataclass."""
    return {field.name: values[field.name] for field in dataclasses.fields(kind) if field.name in values}
