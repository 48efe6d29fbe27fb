"""Which step is to be compiled, as a value that another process and another environment can read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from morphbert.errors import UsageError
from morphbert.model.config import BertConfig
from morphbert.model.electra import Electra
from morphbert.model.variants import VARIANTS
from morphbert.plugins import load_plugins
from morphbert.train.optimizers.config import ScheduledConfig
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
    optimizer: ScheduledConfig
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
        """Returns the same for another batch."""
        return dataclasses.replace(
            self, batch=tuple(dataclasses.replace(one, shape=(rows, *one.shape[1:])) for one in self.batch)
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with the plugin that registers the model's variant.

        Raises:
          UsageError: a notebook registers the variant, and no file.
        """
        values = {**dataclasses.asdict(self), "bert_config": self.bert_config.to_dict()}
        if self.bert_config.variant is not None:
            values["plugin"] = path = VARIANTS.source(self.bert_config.variant)
            if not path.endswith(".py"):
                raise UsageError(
                    f"--compile_for runs in another process, and the model variant {self.bert_config.variant!r} is "
                    f"registered in {path}: put it into a Python file, and give --plugin=FILE.py."
                )
        if self.electra is not None:
            values["electra"]["generator"] = self.electra.generator.to_dict()
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StepProgram:
        """Returns the program of a `to_dict`, also after a round trip through JSON; runs its plugin."""
        if "plugin" in values:
            load_plugins([values["plugin"]])
        electra = values["electra"]
        if electra is not None:
            electra = Electra(**{**electra, "generator": BertConfig.from_dict(electra["generator"])})
        return cls(
            bert_config=BertConfig.from_dict(values["bert_config"]),
            optimizer=ScheduledConfig(**values["optimizer"]),
            step=StepConfig(**values["step"]),
            batch=tuple(Input(one["name"], tuple(one["shape"]), one["dtype"]) for one in values["batch"]),
            z_loss=values["z_loss"],
            ema_decay=values["ema_decay"],
            electra=electra,
        )
