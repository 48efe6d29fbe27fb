"""The common run of the fine-tuning commands."""

from __future__ import annotations

import sys
from collections.abc import Callable

from morphbert.api.tasks import fine_tune
from morphbert.cli import command
from morphbert.cli.command import Command, Main
from morphbert.finetune.config import FineTuneConfig


def main_of(make: Callable[[], Command]) -> Main:
    """Returns the `main` of a command's module; its exit status is 128 + a signal's number if that stopped the run."""
    return command.main_of(make, _run)


def _run(config: FineTuneConfig) -> int:
    stopped = fine_tune(config).stopped_by
    if stopped is None:
        return 0
    print(f"stopped by signal {stopped}; the same command continues.", file=sys.stderr)
    return 128 + stopped
