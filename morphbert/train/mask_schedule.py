"""The share of pieces to predict over a run, for records whose masks are drawn in training.

More masks teach more a step at first, and fewer leave more to read later (Wettig et al. 2023, "Should You Mask 15% in
Masked Language Modeling?"; Ankner et al. 2024, "Dynamic Masking Rate Schedules for MLM Pretraining").
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from morphbert.errors import UsageError

if TYPE_CHECKING:
    from morphbert.train.input.record_sets import RecordSet


@dataclasses.dataclass(frozen=True)
class MaskSchedule:
    """A share that moves in a line from `start`, at the first step, to `end`, at the last."""

    start: float
    end: float

    def places(self, max_seq_length: int) -> int:
        """Places for predictions that the highest share needs in a sequence: 30% of 128 → 39."""
        return math.ceil(max_seq_length * max(self.start, self.end) - 1e-9)

    def in_words(self) -> str:
        """`30.0% of the pieces at the first step, 15.0% at the last`."""
        return f"{self.start:.1%} of the pieces at the first step, {self.end:.1%} at the last"

    def __str__(self) -> str:
        return f"{self.start:g}:{self.end:g}"


def parse_mask_schedule(text: str) -> MaskSchedule:
    """`0.30:0.15` → a share that falls from 30% to 15%.

    Raises:
      UsageError: not of that form, or a share that is not above 0 and at most 1.
    """
    try:
        start, end = map(float, text.split(":"))
    except ValueError:
        raise UsageError(
            f"--masked_lm_schedule={text} is not START:END, two shares of the pieces. Example: 0.30:0.15"
        ) from None
    if not (0.0 < start <= 1.0 and 0.0 < end <= 1.0):
        raise UsageError(f"--masked_lm_schedule={text}: both shares must be above 0 and at most 1.")
    return MaskSchedule(start, end)


@dataclasses.dataclass(frozen=True)
class BatchShares:
    """The share of each batch of a set of records: a function of its number, so that a resumed run draws it again.

    Attributes:
      schedule: the share by the run's progress.
      num_steps: of the run.
      first_step: the step that takes the set's first batch.
      stretch: steps from one batch of the set to its next, on average.
      done: batches before the first that is read.
    """

    schedule: MaskSchedule
    num_steps: int
    first_step: int = 0
    stretch: float = 1.0
    done: int = 0


def with_schedule(
    sets: Sequence[RecordSet], schedule: MaskSchedule, num_steps: int, began: int, in_phases: bool
) -> tuple[RecordSet, ...]:
    """Returns the sets with the share of each of their batches.

    Args:
      sets: of records without masks.
      schedule: the share by the run's progress.
      num_steps: of the run.
      began: the step at which the data was begun: not 0 where a run went on with other records.
      in_phases: whether a set's share is its steps, one set after the other, instead of all in turns.
    """
    total, first, found = sum(chosen.share for chosen in sets), 0, []
    for chosen in sets:
        stretch = 1.0 if in_phases else total / chosen.share
        shares = BatchShares(schedule, num_steps, max(first, began), stretch)
        assert chosen.form.masks is not None
        masks = dataclasses.replace(chosen.form.masks, shares=shares)
        found.append(dataclasses.replace(chosen, form=dataclasses.replace(chosen.form, masks=masks)))
        first += chosen.share if in_phases else 0
    return tuple(found)
