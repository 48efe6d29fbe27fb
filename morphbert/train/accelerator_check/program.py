"""Which step is to be compiled, as a value that another process and another environment can read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from morphbert.model.config import BertConfig
from morphbert.model.electra import Electra
from morphbert.train.optimizers.config import OptimizerConfig
from morphbert.train.step_config import StepConfig


@dataclasses.dataclass(frozen=True)
class Input:
    """One tensor of a batch: its feature's name, its shape and its dtype's name."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclasses.dataclass(frozen=True)
class StepProgram:
    """Everything that the program of a step on one device depends on.

    Attributes:
      bert_config: the model.
      optimizer: the update.
      step: how it is computed; always with XLA.
      batch: of this device; the rows are the first axis of all of them.
      z_loss, ema_decay, electra: as in `RunConfig`.
    """

    bert_config: BertConfig
    optimizer: OptimizerConfig
    step: StepConfig
    batch: tuple[Input, ...]
    z_loss: float = 0.0
    ema_decay: float | None = None
    electra: Electra | None = None

    @property
    def rows(self) -> int:
        """B, of this device."""
        return self.batch[0].shape[0]

    @property
    def length(self) -> int:
        """L."""
        return self._width("input_ids")

    @property
    def predictions(self) -> int:
        """P."""
        return self._width("masked_lm_ids")

    def _width(self, name: str) -> int:
        return next(one.shape[1] for one in self.batch if one.name == name)

    def with_rows(self, rows: int) -> StepProgram:
        """The same for another batch."""
        return dataclasses.replace(
            self, batch=tuple(dataclasses.replace(one, shape=(rows, *one.shape[1:])) for one in self.batch)
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        values = {**dataclasses.asdict(self), "bert_config": self.bert_config.to_dict()}
        if self.electra is not None:
            values["electra"]["generator"] = self.electra.generator.to_dict()
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StepProgram:
        """Returns the program of a `to_dict`, also after a round trip through JSON."""
        electra = values["electra"]
        if electra is not None:
            electra = Electra(**{**electra, "generator": BertConfig.from_dict(electra["generator"])})
        return cls(
            bert_config=BertConfig.from_dict(values["bert_config"]),
            optimizer=OptimizerConfig(**values["optimizer"]),
            step=StepConfig(**values["step"]),
            batch=tuple(Input(one["name"], tuple(one["shape"]), one["dtype"]) for one in values["batch"]),
            z_loss=values["z_loss"],
            ema_decay=values["ema_decay"],
            electra=electra,
        )
