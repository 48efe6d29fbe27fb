"""The common run of the fine-tuning commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from morphbert.api.tasks import fine_tune
from morphbert.cli.command import Command, Main
from morphbert.errors import UsageError
from morphbert.finetune.config import FineTuneConfig


def main_of(make: Callable[[], Command]) -> Main:
    """Returns the `main` of a command's module; its exit status is 128 + a signal's number if that stopped the run."""

    def main(argv: Sequence[str] | None = None) -> int:
        command = make()
        return command.run(argv, lambda config: _run(command, config))

    return main


def _run(command: Command, config: FineTuneConfig) -> int:
    for one, other in (
        ("num_train_steps", "num_train_epochs"),
        ("num_warmup_steps", "warmup_proportion"),
    ):
        if command.given(one) and command.given(other):
            raise UsageError(f"give --{one} or --{other}, not both.")
    stopped = fine_tune(config).stopped_by
    if stopped is None:
        return 0
    print(f"stopped by signal {stopped}; the same command continues.", file=sys.stderr)
    return 128 + stopped
