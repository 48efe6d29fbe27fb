"""Warnings about a model that has learned nothing, with the usual remedies."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from morphbert.finetune.confusion import Confusion

# A mean loss above this share of the loss of guessing is said to be at chance.
_AT_CHANCE = 0.98


def entropy(counts: Sequence[int]) -> float:
    """Returns the entropy of classes with these counts in nats: the lowest cross entropy without any input.

    (30, 10) → 0.5623
    """
    shares = np.asarray([count for count in counts if count], np.float64)
    shares /= shares.sum()
    return float(-(shares * np.log(shares)).sum())


@dataclasses.dataclass
class Advice:
    """The settings that can be changed in a run whose model learns nothing.

    Attributes:
      chance: the loss of guessing; infinite if it is not known.
      warmup: the number of warm-up steps.
      learning_rate: the highest learning rate.
      pretrained: whether the run starts from a pretrained model.
      frozen: whether a part of the model is frozen.
      since: the last step of the line before.
    """

    chance: float
    warmup: int
    learning_rate: float
    pretrained: bool
    frozen: bool
    since: int = 0

    def of_line(self, step: int, values: Mapping[str, float]) -> str | None:
        """Returns the warning for a line of training after the warm-up whose loss is that of guessing.

        Args:
          step: the step of the line, whose figures are those of the steps since the line before.
          values: the figures.
        """
        before, self.since = self.since, step
        low = values["loss"] < _AT_CHANCE * self.chance or not math.isfinite(self.chance)
        if before < self.warmup or low:
            return None
        return (
            f"after the warm-up, the loss of steps {before + 1} to {step} is {values['loss']:.4f}, and "
            f"guessing without reading gives {self.chance:.4f}. {self.remedies()}"
        )

    def remedies(self) -> str:
        """Returns the usual remedies, most likely first."""
        rate = f"(it is {self.learning_rate:g}"
        changes = [
            f"a lower --learning_rate {rate}; large pretrained models need 1e-5 to 5e-5) or a higher one (small models "
            "1e-4 to 1e-3)",
            f"a longer warm-up (--num_warmup_steps, now {self.warmup})",
            "more steps (--num_train_epochs)",
        ]
        if not self.pretrained:
            changes.insert(0, "a pretrained model (--init_checkpoint; the weights began at random)")
        if self.frozen:
            changes.append("fewer frozen layers (--freeze_layers, --freeze_embeddings)")
        return f"What usually helps: {'; '.join(changes)}."


def one_class(confusion: Confusion | None) -> str | None:
    """Returns a warning if one class takes all predictions although the examples have several; else None."""
    if confusion is None:
        return None
    taken = np.flatnonzero(confusion.counts.sum(0))
    rows = confusion.counts.sum(1)
    if len(taken) != 1 or np.count_nonzero(rows) < 2:
        return None
    label, total = taken[0], int(rows.sum())
    return (
        f"warning: all {total} predictions are {confusion.labels[label]!r}, which {rows[label] / total:.1%} of the "
        "examples are: the model tells no classes apart."
    )
