"""Parses JSON: a key may not repeat, and depth is bounded, as a short file can nest deeper than Python's stack."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.git_lfs import REASON, is_pointer

DEEPEST = 100


class RepeatedKey(ValueError):
    """An object of JSON has a key twice, and readers disagree about which value counts.

    Attributes:
      key: the key.
      line: the line of its second occurrence in the text, from 1.
    """

    def __init__(self, key: str, line: int) -> None:
        super().__init__(f"the key {key!r} occurs more than once in one object (line {line})")
        self.key = key
        self.line = line


def refuse_newer(path: str, version: int, newest: int, made_by: str | None = None) -> None:
    """Refuses a format version above the newest that this program reads.

    Args:
      path: the file, for the message.
      version: its format version.
      newest: the newest that is read.
      made_by: the version of morphbert that wrote the file, if it is known.

    Raises:
      MorphbertError: the version is newer.
    """
    if version > newest:
        remedy = f"use morphbert {made_by} or newer." if made_by else "pip install --upgrade morphbert"
        raise MorphbertError(
            f"{path} has format version {version}, and this program reads versions up to {newest}: {remedy}"
        )


def load_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text, as `json.loads` does, for untrusted texts. A byte order mark is dropped.

    Raises:
      RepeatedKey: an object has a key twice.
      ValueError: the text is not JSON in UTF-8, or is nested deeper than `DEEPEST`.
    """
    if isinstance(text, str):
        text = text.removeprefix("\ufeff")
    deep = f"values are nested more than {DEEPEST} levels deep"
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError(deep) from None
    except _Repeated:
        raise _repeated_key(text) from None
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


class _Repeated(ValueError):
    """`RepeatedKey` before its place is known: the parser does not tell places."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Repeated
    return found


_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],\n]')


def _repeated_key(text: str | bytes) -> RepeatedKey:
    """Returns the first repeated key of a text that is JSON up to the end of its object."""
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    opened: list[set[str] | None] = []  # the keys of each open object; None is an array
    line, at_key = 1, False
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token == "\n":
            line += 1
        elif token in ("{", "["):
            opened.append(set() if token == "{" else None)
            at_key = token == "{"
        elif token in ("}", "]"):
            opened.pop()
        elif token == ",":
            at_key = opened[-1] is not None
        elif at_key and (keys := opened[-1]) is not None:
            key = json.loads(token)
            if key in keys:
                return RepeatedKey(key, line)
            keys.add(key)
            at_key = False
    raise AssertionError("the parser found a repeated key")


def parse_json(text: str | bytes, where: str, expected: str = "", first_line: int | None = None) -> Any:
    """Returns the value of a JSON text, with errors that name its source.

    Args:
      where: the file or another source, for the message; empty if the caller adds it.
      expected: a sentence about the expected content, for the message.
      first_line: the number of the text's first line in the file, for the message.

    Raises:
      MorphbertError: the text is not JSON in UTF-8, is nested deeper than `DEEPEST`, or has a key twice.
    """

    def place(line: int) -> str:
        number = "" if first_line is None else f", line {first_line + line - 1}"
        return f"{where}{number}: " if where else ""

    try:
        return load_json(text)
    except RepeatedKey as error:
        raise MorphbertError(
            f"{place(error.line)}the key {error.key!r} occurs more than once in one object. Keep one of them."
        ) from error
    except ValueError as error:
        raise MorphbertError(
            f"{place(getattr(error, 'lineno', 1))}not JSON ({error}). {expected}".rstrip()
        ) from error


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
