"""Parses JSON with a bound on its depth: a file of a few hundred bytes can nest deeper than Python's stack."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from morphbert.errors import MorphbertError

DEEPEST = 100


def load_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text, as `json.loads` does, for untrusted texts.

    Raises:
      ValueError: the text is not JSON in UTF-8, or is nested deeper than `DEEPEST`.
    """
    deep = f"values are nested more than {DEEPEST} levels deep"
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(deep) from None
    if isinstance(text, bytes):
        opened = text.count(b"[") + text.count(b"{")
    else:
        opened = text.count("[") + text.count("{")
    if opened > DEEPEST and _is_deep(value):
        raise ValueError(deep)
    return value


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
