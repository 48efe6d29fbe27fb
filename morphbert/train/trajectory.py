"""Compares the settings in a checkpoint with those of the resumed run: a difference changes its result."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from morphbert.train.run_state import Description

Difference = tuple[str, Any, Any]
# The number of files that a message names.
_LISTED = 3


def same_data(before: Description, now: Description, say: bool) -> bool:
    """Returns whether a run that goes on has the data of its checkpoint; `say` prints all that differs."""
    # Part by part, so that a name that is in two of them, as the seed is, is said once.
    parts = ("config", "generator_config", "settings", "data")
    config, generator, settings, data = (
        differences(getattr(before, part) or {}, getattr(now, part) or {}) for part in parts
    )
    if say:
        say_differences([*config, *generator, *settings, *data])
        if data:
            changed = ", ".join(path.rpartition(".")[2] for path, _, _ in data)
            print(
                f"warning: the data is another (changed: {changed}), so it is read from its beginning",
                flush=True,
            )
    return not data


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
    """Prints a warning for each difference, with the flag's name if it has one."""
    said = {
        f"the input files changed ({change_of_files(before, now)})"
        if path == "files"
        else f"{path.rpartition('.')[2]} was {before}, is {now}": None
        for path, before, now in found
    }
    for change in said:
        print(
            f"warning: {change}: the run continues, but does not reach the weights of an uninterrupted run",
            flush=True,
        )


def change_of_files(before: Any, now: Any) -> str:
    """Describes the differences between two lists of [path, bytes].

    `[["a", 1], ["b", 2]]` and `[["a", 1], ["c", 2]]` → `"2 before, 2 now; no longer b; new c"`
    """
    old, new = ({str(path): size for path, size in files or []} for files in (before, now))
    parts = {
        "no longer": [path for path in old if path not in new],
        "new": [path for path in new if path not in old],
        "another size:": [path for path in new if path in old and new[path] != old[path]],
    }
    listed = [f"{title} {_first(paths)}" for title, paths in parts.items() if paths]
    return "; ".join([f"{len(old)} before, {len(new)} now", *(listed or ["in another order"])])


def _first(paths: list[str]) -> str:
    more = f" and {len(paths) - _LISTED} more" if len(paths) > _LISTED else ""
    return ", ".join(paths[:_LISTED]) + more
