"""Phases of one run, each with records of one length.

BERT was trained on 128 pieces for 90% of its steps and on 512 for the rest (Devlin et al. 2019, appendix A.2): a
sequence four times as long costs more than four times as much, and it is needed only to learn the later positions.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from morphbert.errors import MorphbertError, UsageError

if TYPE_CHECKING:
    from morphbert.train.input.record_sets import RecordSet


@dataclasses.dataclass(frozen=True)
class Phase:
    """Attributes: the length of its records, its share of all steps, and its batch size (None: the run's)."""

    max_seq_length: int
    share: float
    batch_size: int | None = None


def parse_phases(text: str) -> tuple[Phase, ...]:
    """`128:0.9,512:0.1:64` → two phases, the second with batches of 64.

    Raises:
      UsageError: not of that form, a length comes twice, or the shares are not 1 together.
    """
    phases = []
    for part in text.split(","):
        length, *rest = part.strip().split(":")
        try:
            share, *more = rest
            phase = Phase(int(length), float(share), *map(int, more))
        except (TypeError, ValueError):
            raise UsageError(
                f"--phases={text}: {part.strip()!r} is not LENGTH:SHARE or LENGTH:SHARE:BATCH_SIZE. "
                "Example: --phases=128:0.9,512:0.1"
            ) from None
        if phase.max_seq_length < 1 or not phase.share > 0.0 or (phase.batch_size or 1) < 1:
            raise UsageError(f"--phases={text}: the numbers of {part.strip()!r} must be above 0.")
        phases.append(phase)
    for one, other in itertools.pairwise(phases):
        if dataclasses.replace(one, share=other.share) == other:
            raise UsageError(
                f"--phases={text}: two phases that follow each other are alike: give them as one, with the sum of "
                "their shares."
            )
    total = sum(phase.share for phase in phases)
    if abs(total - 1.0) > 1e-6:
        raise UsageError(f"--phases={text}: the shares add up to {total:g}, not to 1.")
    return tuple(phases)


def steps_of(phases: Sequence[Phase], num_train_steps: int) -> list[int]:
    """Returns how many steps each phase gets: 0.9 and 0.1 of 1,005 → 904 and 101 (the ends are rounded, half to even).

    Raises:
      UsageError: one of them gets none.
    """
    ends, done = [], 0.0
    for phase in phases:
        done += phase.share
        ends.append(round(done * num_train_steps))
    steps = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    if min(steps) < 1:
        raise UsageError(
            f"--phases: of {num_train_steps} steps the phases get {steps}: every one needs a step."
        )
    return steps


def in_phases(
    sets: Sequence[RecordSet], phases: Sequence[Phase], num_train_steps: int, batch_size: int
) -> tuple[RecordSet, ...]:
    """Returns the sets in the order of the phases, each with its steps as its share and its batch size.

    A phase on the records of an earlier one, with larger batches say, goes on where that one stopped.

    Raises:
      MorphbertError: a phase has no records, or some of another number of predictions than the rest.
    """
    found: list[RecordSet] = []
    read: dict[int, int] = {}  # records by length
    lengths = [chosen.form.shape.max_seq_length for chosen in sets]
    for phase, steps in zip(phases, steps_of(phases, num_train_steps), strict=True):
        own = [chosen for chosen in sets if chosen.form.shape.max_seq_length == phase.max_seq_length]
        if len(own) != 1:
            problem = "there are records with different max_predictions_per_seq" if own else "there are none"
            raise MorphbertError(
                f"--phases: of max_seq_length={phase.max_seq_length} {problem} among --input_file, which has "
                f"{', '.join(map(str, lengths))}: name one set of records for each phase."
            )
        first = read.get(phase.max_seq_length, 0)
        read[phase.max_seq_length] = first + steps * (phase.batch_size or batch_size)
        made = dataclasses.replace(own[0], share=steps, batch_size=phase.batch_size, first_record=first)
        found.append(made)
    unused = sorted(set(lengths) - {phase.max_seq_length for phase in phases})
    if unused:
        print(
            f"warning: the records of max_seq_length={', '.join(map(str, unused))} are of no phase",
            flush=True,
        )
    return tuple(found)


def describe_phases(sets: Sequence[RecordSet], batch_size: int) -> str:
    """`steps 1 to 900 on 128 pieces, batches of 32; 901 to 1000 on 512, batches of 32`."""
    parts, done = [], 0
    for chosen in sets:
        first, done = done + 1, done + chosen.share
        length = chosen.form.shape.max_seq_length
        parts.append(
            f"steps {first} to {done} on {length} pieces, batches of {chosen.batch_size or batch_size}"
        )
    return "; ".join(parts)
