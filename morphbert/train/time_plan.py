"""`--train_time`: the number of steps in a given duration, from the times of a step, a save and an evaluation."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from morphbert.errors import MorphbertError, UsageError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
# Steps that a configuration is made with before the plan says how many there are; they decide nothing that is timed.
BEFORE_PLAN = 100_000
# The share of the time in which steps are timed, and the longest that this takes, in seconds.
TIMED_SHARE, TIMED_AT_MOST = 0.04, 60.0


def parse_train_time(text: str) -> float:
    """`30m` → 1800.0 seconds; `90s`, `1.5h`.

    Raises:
      UsageError: not a number above 0 with one of the units.
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([smh])\s*", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0.0 < seconds < math.inf:
        raise UsageError(
            f"--train_time={text} is not a number above 0 with s, m or h (seconds, minutes, hours). Example: 30m"
        )
    return seconds


@dataclasses.dataclass(frozen=True)
class Costs:
    """Measured seconds.

    Attributes:
      spent: since the start of the program.
      begin: until the first step of the run.
      step: of one step.
      save: of one checkpoint.
      evaluation: of one evaluation; 0 where there is none.
    """

    spent: float
    begin: float
    step: float
    save: float
    evaluation: float = 0.0


@dataclasses.dataclass(frozen=True)
class Stops:
    """The pauses of a run between its steps: a save and an evaluation every so many steps and at the end.

    Attributes:
      save_every: steps between checkpoints; there is one at the start, which holds the plan.
      eval_every: steps between evaluations, each of which may be the best and saved again; None for none.
      eval_at_start, eval_at_end: whether there is an evaluation too.
    """

    save_every: int
    eval_every: int | None = None
    eval_at_start: bool = False
    eval_at_end: bool = False

    def evaluations(self, steps: int) -> int:
        """Returns how many evaluations a run of so many steps has."""
        on_the_way = -(-steps // self.eval_every) if self.eval_every else int(self.eval_at_end)
        return on_the_way + self.eval_at_start

    def saves(self, steps: int) -> int:
        """Returns how many checkpoints it writes, those that are the best so far included."""
        best = -(-steps // self.eval_every) if self.eval_every else 0
        return 1 + -(-steps // self.save_every) + best


def seconds_of(steps: int, costs: Costs, stops: Stops) -> float:
    """Returns how long a run of so many steps takes, from the start of the program to its end."""
    others = stops.saves(steps) * costs.save + stops.evaluations(steps) * costs.evaluation
    return costs.spent + costs.begin + steps * costs.step + others


def steps_in(seconds: float, costs: Costs, stops: Stops) -> int:
    """Returns the most steps that end in time: 100 s, 10 of them spent, 0.5 s a step and 2 s for each of 2 saves → 172.

    Raises:
      MorphbertError: not even one step does.
    """
    if seconds_of(1, costs, stops) > seconds:
        raise MorphbertError(
            f"--train_time={seconds:g}s is too short: a run of one step takes "
            f"{math.ceil(seconds_of(1, costs, stops))} s here, {costs.spent:.0f} s of them to start, to compile and "
            "to time the steps. Give more time."
        )
    low, high = 1, 2
    while seconds_of(high, costs, stops) <= seconds:
        low, high = high, 2 * high
    while high - low > 1:  # `low` ends in time, `high` does not
        middle = (low + high) // 2
        if seconds_of(middle, costs, stops) <= seconds:
            low = middle
        else:
            high = middle
    return low


def planned_before(plan: Mapping[str, Any] | None, step: int, seconds: float, path: str) -> int | None:
    """Returns the steps that a checkpoint's plan says; None where it has none and the run stands at its beginning.

    Raises:
      MorphbertError: the run was begun without a plan.
    """
    if plan is None:
        if step:
            raise MorphbertError(
                f"--train_time: {path} is of a run that was begun without it, so the run has no plan: give "
                "--num_train_steps, or another --output_dir with --init_checkpoint."
            )
        return None
    if plan["train_time"] != seconds:
        print(
            f"warning: --train_time is {seconds:g} s, and {path} has the plan of {plan['train_time']:g} s, "
            f"{plan['num_train_steps']} steps, which stays",
            flush=True,
        )
    return int(plan["num_train_steps"])
