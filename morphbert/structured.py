"""Parses JSON with a bound on its depth: a file of a few hundred bytes can nest deeper than Python's stack."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.git_lfs import REASON, is_pointer

DEEPEST = 100


def load_json(text: str | bytes, unique_keys: bool = False) -> Any:
    """Returns the value of a JSON text, as `json.loads` does, for untrusted texts. A byte order mark is dropped.

    Args:
      unique_keys: whether a key that occurs twice in an object is an error, as in configurations. Otherwise the last
        one counts.

    Raises:
      ValueError: the text is not JSON in UTF-8, is nested deeper than `DEEPEST`, or has a key twice.
    """
    if isinstance(text, str):
        text = text.removeprefix("\ufeff")
    deep = f"values are nested more than {DEEPEST} levels deep"
    try:
        value = json.loads(text, object_pairs_hook=_unique if unique_keys else None)
    except RecursionError:
        raise ValueError(deep) from None
    except ValueError:
        if is_pointer(text.encode("utf-8", "replace") if isinstance(text, str) else text):
            raise ValueError(f"it is {REASON}") from None
        raise
    if isinstance(text, bytes):
        opened = text.count(b"[") + text.count(b"{")
    else:
        opened = text.count("[") + text.count("{")
    if opened > DEEPEST and _is_deep(value):
        raise ValueError(deep)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"the key {next(name for name in names if names.count(name) > 1)!r} occurs more than once"
        )
    return found


def parse_json(text: str | bytes, where: str, expected: str = "") -> Any:
    """Returns the value of a JSON text, with errors that name its source.

    Args:
      where: the file, or the file and the line, for the message; empty if the caller adds it.
      expected: a sentence about the expected content, for the message.

    Raises:
      MorphbertError: the text is not JSON in UTF-8, or is nested deeper than `DEEPEST`.
    """
    try:
        return load_json(text)
    except ValueError as error:
        prefix = f"{where}: " if where else ""
        raise MorphbertError(f"{prefix}not JSON ({error}). {expected}".rstrip()) from error


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [item for outer in level for item in _inner(outer)]
        if not level:
            return False
    return True


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return ()
    return (item for item in value if isinstance(item, (dict, list)))
