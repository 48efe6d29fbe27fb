"""Labelled rows: the texts and labels of a table as a task uses them, with a one-line summary.

The text of a label names its class. Labels that only look alike (`1` and `1.0`, `1` and `1 `) become one class or an
error, never two classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.formats.tables import Row, clean_name, read_table

# The spellings of a missing value in tables. `None` and `NA` are labels in some data sets, so they are not listed.
_MISSING = ("", "nan", "NaN", "null", "NULL", "<NA>", "#N/A")
_SHOWN_LABELS = 10


@dataclass(frozen=True)
class LabelledRows:
    """Rows of a table.

    Attributes:
      rows: texts as text, labels as `class_label` gives them, lists of them, or numbers.
      summary: the numbers of examples and labels: `"16 examples, 2 labels: 0 (8), 1 (8)"`.
    """

    rows: list[Row]
    summary: str


def read_labelled(
    patterns: str,
    text_columns: Sequence[str],
    label_column: str | None,
    kind: str = "class",
    encoding: str = "utf-8",
) -> LabelledRows:
    """Reads texts and labels.

    Args:
      patterns: paths or globs, with commas.
      label_column: None for rows without labels.
      kind: `class` (one class per text), `labels` (any number of labels) or `score` (a number).

    Raises:
      MorphbertError: a file cannot be read, a label is missing or invalid, or one label occurs in two spellings. The
        message names the line.
    """
    names = [*text_columns, *([label_column] if label_column else [])]
    rows = read_table(patterns, names, encoding)
    empty = [row for row in rows if not _take_texts(row, text_columns)]
    summary = f"{len(rows):,} examples"
    if label_column:
        for row in rows:
            row[label_column] = _label(row, label_column, kind)
        summary += ", " + _summary(rows, label_column, kind)
    if empty:
        summary += f"; {len(empty):,} without text, the first at {empty[0].where}"
    return LabelledRows(rows, summary)


def _take_texts(row: Row, names: Sequence[str]) -> bool:
    """Converts the values of columns to text; returns whether all of them contain text."""
    return min([_take_text(row, name) for name in names])


def _take_text(row: Row, name: str) -> bool:
    """Converts the value of a column to text; returns whether it contains text."""
    value = row[name]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        value = ""
    elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise MorphbertError(
            f"{row.where}: the text column {name!r} contains {_shown(value)}, not text. Name another column with "
            "--text_column."
        )
    row[name] = str(value)
    return bool(row[name].strip())


def _label(row: Row, name: str, kind: str) -> Any:
    value = row[name]
    if kind == "labels":
        several = value if isinstance(value, list) else [] if is_missing(value) else str(value).split(",")
        return [class_label(one, row.where) for one in several if not is_missing(one)]
    if is_missing(value):
        raise MorphbertError(
            f"{row.where}: the label is missing (column {name!r} contains {_shown(value)}). Add it, or leave the row "
            "out."
        )
    return _score(value, row.where) if kind == "score" else class_label(value, row.where)


def is_missing(value: Any) -> bool:
    """Returns whether a value means that there is none: empty, null or NaN."""
    if isinstance(value, str):
        return value.strip() in _MISSING
    return value is None or (isinstance(value, float) and math.isnan(value))


def class_label(value: Any, where: str) -> str:
    """Returns a class label as text, stripped of white space and composed (NFC): `" 1 "` → `"1"`, `1` → `"1"`.

    Raises:
      MorphbertError: the value is a decimal number, a list or an object.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        raise MorphbertError(
            f"{where}: the label {value!r} is a decimal number. Classes are texts or whole numbers: write "
            f"{int(value) if value.is_integer() else repr(str(value))}, or train on numbers with --task=score."
        )
    if isinstance(value, dict):
        inner = ", ".join(map(str, value))
        raise MorphbertError(
            f"{where}: the label is an object with {inner}. Name one with a dot: "
            f"--label_column=NAME.{next(iter(value), '')}"
        )
    if not isinstance(value, (str, int)):
        raise MorphbertError(
            f"{where}: the label is {_shown(value)}, where a text or a whole number is expected. For several labels "
            "per text, give --task=labels."
        )
    return clean_name(str(value))


def _score(value: Any, where: str) -> float:
    number = math.nan
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
    if not math.isfinite(number):
        raise MorphbertError(f"{where}: the score is {_shown(value)}, which is not a number.")
    return number


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _summary(rows: Sequence[Row], column: str, kind: str) -> str:
    if kind == "score":
        scores = [row[column] for row in rows]
        return f"scores from {min(scores):g} to {max(scores):g}"
    first: dict[str, Row] = {}
    counts: Counter[str] = Counter()
    for row in rows:
        for label in row[column] if kind == "labels" else [row[column]]:
            counts[label] += 1
            first.setdefault(label, row)
    check_spellings({label: row.where for label, row in first.items()})
    return counted(counts)


def counted(counts: Counter[str], noun: str = "label") -> str:
    """Returns a list of the labels with their counts, `"2 labels: 0 (8), 1 (8)"`; of many labels, the most frequent."""
    order = sorted(counts, key=label_order)
    rest = ""
    if len(order) > _SHOWN_LABELS:
        order = [label for label, _ in counts.most_common(_SHOWN_LABELS)]
        rest = f" and {len(counts) - _SHOWN_LABELS} more"
    plural = "" if len(counts) == 1 else "s"
    return (
        f"{len(counts)} {noun}{plural}: "
        + ", ".join(f"{label} ({counts[label]:,})" for label in order)
        + rest
    )


def label_order(label: str) -> tuple[int, int, str]:
    """Returns the place of a label among others: numbers by value, then texts. `²` and very long numbers are texts."""
    return (0, int(label), "") if label.isdecimal() and len(label) < 19 else (1, 0, label)


def check_spellings(labels: dict[str, str]) -> None:
    """Refuses two spellings of one number or of true or false, and true or false beside numbers.

    Args:
      labels: each label with the place of its first occurrence, in order of occurrence.

    Raises:
      MorphbertError: two labels most likely mean the same class.
    """
    numbers: dict[float, str] = {}
    for label, where in labels.items():
        number = _number_of(label)
        if number is None:
            continue
        same = numbers.setdefault(number, label)
        if same != label:
            raise MorphbertError(
                f"{where}: the label {label!r} is the number of the label {same!r} ({labels[same]}) in another "
                "spelling. Write both alike."
            )
    words = [label for label in labels if label.casefold() in ("true", "false")]
    for word in words:
        same = next(other for other in words if other.casefold() == word.casefold())
        if same != word:
            raise MorphbertError(
                f"{labels[word]}: the label {word!r} is the label {same!r} ({labels[same]}) in another spelling. Write "
                "both alike."
            )
    if words and numbers:
        other = next(iter(numbers.values()))
        raise MorphbertError(
            f"{labels[words[0]]}: the label {words[0]!r} occurs beside the number {other!r} ({labels[other]}). Write "
            "labels of one kind: 0 and 1, or true and false."
        )


def _number_of(label: str) -> float | None:
    try:
        number = float(label)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in label else None
