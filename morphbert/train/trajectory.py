"""Compares the settings in a checkpoint with those of the resumed run: a difference changes its result."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

Difference = tuple[str, Any, Any]


def differences(before: Any, now: Any) -> list[Difference]:
    """Returns the differences of two JSON values: (path, before, now), None for a missing value.

    `{"step": {"xla": False}}` and `{"step": {"xla": True}}` → [("step.xla", False, True)]
    """
    # A tuple is then the list that a checkpoint has of it.
    before, now = json.loads(json.dumps([before, now]))
    return _differences(before, now, "")


def _differences(before: Any, now: Any, path: str) -> list[Difference]:
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [] if before == now else [(path, before, now)]
    names = [*now, *(name for name in before if name not in now)]
    return [
        found
        for name in names
        for found in _differences(before.get(name), now.get(name), f"{path}.{name}" if path else name)
    ]


def say_differences(found: Iterable[Difference]) -> None:
    """Returns a warning for each difference, with the flag's name if it has one."""
    said = {
        "the input files changed"
        if path == "files"
        else f"{path.rpartition('.')[2]} was {before}, is {now}": None
        for path, before, now in found
    }
    for change in said:
        print(
            f"warning: {change}: the run continues, but does not reach the weights of an uninterrupted run",
            flush=True,
        )
