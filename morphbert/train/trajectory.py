"""What a checkpoint says of its run, beside what the run is now: where they differ, it arrives elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

Difference = tuple[str, Any, Any]


def differences(before: Any, now: Any) -> list[Difference]:
    """Where two JSON-able values differ: (path, before, now), None for what is not there.

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
    """A warning for each, under the flag's name where it has one."""
    said = {
        "the input files changed"
        if path == "files"
        else f"{path.rpartition('.')[2]} was {before}, is {now}": None
        for path, before, now in found
    }
    for change in said:
        print(
            f"warning: {change}: the run goes on, but not to the weights it would have reached",
            flush=True,
        )
