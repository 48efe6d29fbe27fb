"""Rows of a table, or objects of a caller, from which examples are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.formats.tables import Row as TableRow

Row = Mapping[str, Any]


class RowError(MorphbertError):
    """One row cannot be predicted; the others can."""


def where_of(row: Row) -> str:
    """Returns the file and line of a row, for messages."""
    return row.where if isinstance(row, TableRow) else "a row"


def chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Yields lists of `size` rows, the last one shorter."""
    some: list[Row] = []
    for row in rows:
        some.append(row)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


def field_in(row: Row, name: str, remedy: str = "") -> Any:
    """Returns a field.

    Raises:
      MorphbertError: the row lacks it; `remedy` ends the message.
    """
    if name not in row:
        there = ", ".join(map(repr, row)) or "nothing"
        raise MorphbertError(f"{where_of(row)}: there is no {name!r}, only {there}.{remedy}")
    return row[name]


def text_in(row: Row, name: str, remedy: str = "") -> str:
    """Returns a field as text; null is an empty one, and a number its digits.

    Raises:
      MorphbertError: the row lacks the field, or it is no text; `remedy` ends the message.
    """
    value = field_in(row, name, remedy)
    if isinstance(value, bool) or not isinstance(value, (str, int, float, type(None))):
        raise MorphbertError(f"{where_of(row)}: {name!r} contains {repr(value)[:60]}, not text.{remedy}")
    return "" if value is None else str(value)


def texts_in(row: Row, names: Sequence[str]) -> tuple[str, ...]:
    """Returns the fields that `--text_column` names, as text."""
    return tuple(text_in(row, name, " Name it with --text_column.") for name in names)
