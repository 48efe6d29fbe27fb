"""Reads the rows of tables by column names: TSV, CSV, JSON Lines, JSON arrays and Parquet.

Every row knows its file and line. A row with another number of columns and an unclosed quotation mark are errors,
because either merges rows without a later sign of it.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, Literal

from morphbert.errors import MorphbertError
from morphbert.files import COMPRESSED, expand, open_for_reading
from morphbert.formats.lines import read_lines, read_text, shown
from morphbert.git_lfs import refuse_pointer
from morphbert.structured import parse_json

Kind = Literal["tsv", "csv", "json", "parquet"]

_LONGEST_FIELD = 100_000_000  # characters; the csv module's default of 131,072 is a long article
KINDS: dict[str, Kind] = {
    ".tsv": "tsv",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}
_PARQUET_MAGIC = b"PAR1"
_HEAD = 64
COLUMNS_REMEDY = {
    "csv": "Is there a quotation mark or a comma too many or too few?",
    "tsv": "Columns are divided by tabs and not quoted. Is there a tab or a line end inside a text?",
}


class Row(dict[str, Any]):
    """One row: values by column name, and its place, as in `"train.tsv, line 3"`.

    Readers clean the names (`clean_name`), so that a name is found as a user types it. `divided` says whether commas or
    tabs divide the columns.
    """

    def __init__(
        self, values: Mapping[str, Any] | Iterable[tuple[str, Any]], where: str, divided: bool = False
    ) -> None:
        super().__init__(values)
        self.where, self.divided = where, divided

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or super().__contains__(clean_name(str(name)))

    def __missing__(self, name: str) -> Any:
        clean = clean_name(name)
        if clean == name:
            raise KeyError(name)
        return self[clean]

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name if super().__contains__(name) else clean_name(name), default)


def read_table(patterns: str, columns: Sequence[str], encoding: str = "utf-8") -> list[Row]:
    """Reads the named columns of all rows.

    Args:
      patterns: paths or globs, divided by commas; `rows_of` describes how each is read.
      columns: the columns to return; dots name nested fields of JSON: `labels.real-label`.
      encoding: the encoding of text files, the value of `--encoding`.

    Returns:
      The rows in order, each with these columns.

    Raises:
      MorphbertError: a file cannot be read, there is no row, or a row lacks a column.
    """
    rows = [
        Row([(name, value_at(row, name)) for name in columns], row.where)
        for path in expand(patterns)
        for row in rows_of(path, encoding)
    ]
    if not rows:
        raise MorphbertError(
            f"there is no row in {patterns}. The first line of TSV and CSV names the columns."
        )
    return rows


def value_at(row: Row, name: str, flag: str | None = None) -> Any:
    """Returns the value of a column, or of a dotted name within an object; an error names the `flag` of the column.

    Raises:
      MorphbertError: no column has this name.
    """
    if name in row:
        return row[name]
    value: Any = row
    for part in map(clean_name, name.split(".")):
        if not isinstance(value, dict) or part not in value:
            remedy = "Correct its name." if flag is None else f"Name the column with {flag}."
            raise MorphbertError(
                f"{row.where}: there is no column {name!r} (found: {', '.join(map(repr, _names(row)))}). "
                f"{remedy}{divider_hint(row) if row.divided else ''}"
            )
        value = value[part]
    return value


def divider_hint(names: Iterable[str]) -> str:
    """Returns a sentence about columns that semicolons seem to divide, as spreadsheets of some countries write them."""
    several = any(";" in name for name in names)
    return " Semicolons seem to divide the columns: write the table with commas or tabs." if several else ""


def _names(row: Mapping[str, Any]) -> Iterator[str]:
    """Yields the names of columns, and dotted names for the values of an object."""
    for name, value in row.items():
        yield name
        if isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in value)


def plain_ending(path: str) -> str:
    """Returns the ending of a file's name in lower case, without that of the compression: `"A.TSV.gz"` → `".tsv"`."""
    name = os.path.basename(path).lower()
    stem, ending = os.path.splitext(name)
    return os.path.splitext(stem)[1] if ending in COMPRESSED else ending


def is_table(path: str) -> bool:
    """Returns whether the name of a file is that of a table, as opposed to plain lines of text."""
    return plain_ending(path) in KINDS


def rows_of(path: str, encoding: str = "utf-8") -> Iterator[Row]:
    """Yields the rows of one file as they are read.

    The name gives the kind of file: `.csv` (quoted as spreadsheets do), `.tsv` (not quoted, as in NSMC and KorSTS),
      `.json` and `.jsonl` (an array of objects, or one object per line), `.parquet`. For another name the first line
      decides: a bracket means JSON, commas without a tab mean CSV, everything else is TSV. Text files may be
      compressed.

    Raises:
      MorphbertError: the file cannot be read or is not of its kind, or a row has another number of columns.
    """
    kind = KINDS.get(plain_ending(path)) or _kind_by_content(path, encoding)
    if kind == "parquet":
        yield from parquet_rows(path)
    elif kind == "json":
        yield from json_rows(path, encoding)
    else:
        yield from _named_rows(path, kind, encoding)


def _kind_by_content(path: str, encoding: str) -> Kind:
    with open_for_reading(path) as stream:
        if stream.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC:
            return "parquet"
    first = next((line for line in read_lines(path, encoding=encoding) if line.strip()), "").lstrip()
    if first.startswith(("{", "[")):
        return "json"
    return "csv" if "," in first and "\t" not in first else "tsv"


# White space at the ends of a name, and characters without a width: zero-width spaces and byte order marks.
_AROUND = re.compile(r"^[\s\u200b\ufeff]+|[\s\u200b\ufeff]+$")


def clean_name(name: str) -> str:
    """Returns the name of a column or a label composed (NFC), without white space around it: `" 1 "` → `"1"`."""
    return _AROUND.sub("", unicodedata.normalize("NFC", name))


def with_clean_names(values: Any, where: str) -> Any:
    """Returns a value of JSON or Parquet whose objects, at every depth, have the names that `clean_name` gives.

    Args:
      where: the place of the value for the message; empty if the caller adds it.

    Raises:
      MorphbertError: two names of an object look the same.
    """
    if isinstance(values, list):
        return [with_clean_names(value, where) for value in values]
    if not isinstance(values, dict):
        return values
    found: dict[str, Any] = {}
    for name, value in values.items():
        clean = clean_name(name)
        if clean in found:
            place = f"{where}: " if where else ""
            raise MorphbertError(
                f"{place}the name {clean!r} occurs more than once in one object. Rename one."
            )
        found[clean] = with_clean_names(value, where)
    return found


def _named_rows(path: str, kind: Kind, encoding: str) -> Iterator[Row]:
    name = shown(path)
    lines = enumerate(read_lines(path, encoding=encoding), start=1)
    rows = csv_rows(name, lines) if kind == "csv" else tsv_rows(lines)
    names: list[str] = []
    for number, fields in rows:
        where = f"{name}, line {number}"
        if not names:
            names = [clean_name(field) for field in fields]
            twice = {one for one in names if one and names.count(one) > 1}
            if twice:
                raise MorphbertError(
                    f"{where}: {len(names)} columns, and {min(twice)!r} occurs more than once. Rename one."
                )
        elif len(fields) != len(names):
            raise MorphbertError(
                f"{where}: {len(fields)} columns, where the first line has {len(names)} "
                f"({', '.join(names)}). {divider_hint(names).strip() or COLUMNS_REMEDY[kind]}"
            )
        else:
            yield Row(zip(names, fields, strict=True), where, divided=True)


def tsv_rows(numbered: Iterable[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """Yields line numbers with the fields of the lines. Fields are not quoted, as in NSMC and KorSTS: `"` is an
    ordinary character.
    """
    for number, line in numbered:
        if line and not (line.isspace() and "\t" not in line):
            yield number, line.rstrip("\r").split("\t")


def csv_rows(name: str, numbered: Iterable[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """Yields the number of each row's first line with the fields; a quoted field may span lines.

    Raises:
      MorphbertError: a quotation mark is not closed, closes in the middle of another field, or follows white space.
    """
    last = begin = 0
    opened: list[str] = []  # the lines of the current row
    swallowed = SwallowedRows(name)

    def with_ends() -> Iterator[str]:
        nonlocal last
        for last, line in numbered:  # noqa: B007 (read below)
            opened.append(line)
            yield line + "\n"

    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        for row in csv.reader(with_ends(), strict=True):
            if any(map(_SPACED_QUOTATION.fullmatch, row)) and _SPACE_BEFORE_IT.search("\n".join(opened)):
                raise MorphbertError(
                    f"{name}, line {last - len(opened) + 1}: white space between a comma and a quotation mark, which "
                    "then is part of the field. Leave the white space out."
                )
            if row:
                swallowed.look(last - len(opened) + 1, row, opened)
                yield last - len(opened) + 1, row
            begin = last
            opened.clear()
        swallowed.check()
    except csv.Error as error:
        raise MorphbertError(
            f"{name}, line {begin + 1}: not CSV ({error}; a quotation mark that opens there does not close before line "
            f"{last}). Fields with commas, quotation marks or line ends are quoted, and quotation marks in them "
            "doubled: "
            '"그는 ""응""이라고 했다."'
        ) from error
    finally:
        csv.field_size_limit(before)


_SPACED_QUOTATION = re.compile(r'[ \t]+"[^"]*"[ \t]*')
_SPACE_BEFORE_IT = re.compile(r'(^|,)[ \t]+"', re.M)


class SwallowedRows:
    """Finds rows that an unclosed quotation mark made part of one field, up to the next quotation mark.

    Such a field contains whole lines with as many columns as the table. Texts of several lines with commas can look the
    same, so one column of all these lines must have values that occur in that column of other rows, as labels do.
    """

    _MOST = 50  # distinct values: a column with more is not a column of labels

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: list[set[str] | None] = []
        self._suspects: list[tuple[int, int, list[list[str]]]] = []

    def look(self, line: int, row: list[str], lines: Sequence[str]) -> None:
        """Records a row, the number of its first line, and the lines that it was read from."""
        if not self._seen:
            self._seen = [set() for _ in row]
            return
        for column, value in enumerate(row[: len(self._seen)]):
            seen = self._seen[column]
            if seen is not None:
                seen.add(value.strip())
                if len(seen) > self._MOST:
                    self._seen[column] = None
        inner = [line.rstrip("\r").split(",") for line in lines[1:-1]]
        if inner and len(row) > 1 and all(len(fields) == len(row) for fields in inner):
            self._suspects.append((line, line + len(lines) - 1, inner))

    def check(self) -> None:
        """Raises MorphbertError for the first field that contains rows."""
        for first, last, inner in self._suspects:
            for column, seen in enumerate(self._seen):
                values = {fields[column].strip() for fields in inner if column < len(fields)}
                if seen is not None and values and values <= seen and values != {""}:
                    raise MorphbertError(
                        f"{self._name}, line {first}: the quotation mark that opens there closes only in line "
                        f"{last}, and the {len(inner)} lines between are rows themselves. Close it, or double it "
                        "within a quoted field."
                    )


def json_rows(path: str, encoding: str = "utf-8") -> Iterator[Row]:
    """Yields the objects of a JSON array or of JSON Lines (one object per line; empty lines are skipped).

    Raises:
      MorphbertError: the file is not JSON or contains other values than objects.
    """
    name = shown(path)
    lines = enumerate(read_lines(path, encoding=encoding), start=1)
    begin, first = next(((number, line) for number, line in lines if line.strip()), (0, ""))
    if not first:
        return
    if first.lstrip().startswith("[") or not _is_json(first):
        yield from _whole(path, encoding)
        return
    for number, line in itertools.chain([(begin, first)], lines):
        if line.strip():
            where = f"{name}, line {number}"
            found = parse_json(line, name, "Write one object per line, or one array of objects.", number)
            yield _row_of(found, where)


def _is_json(line: str) -> bool:
    """Returns whether a line alone is JSON, as opposed to the first line of an object that spans lines."""
    try:
        json.loads(line)
    except RecursionError:
        return True
    except ValueError:
        return line.strip() not in ("{", "[") and not line.rstrip().endswith((",", "[", "{"))
    return True


def _whole(path: str, encoding: str) -> Iterator[Row]:
    name = shown(path)
    content = parse_json(
        read_text(path, encoding), name, "Write an array of objects, or one object per line.", 1
    )
    for place, found in enumerate(content if isinstance(content, list) else [content], start=1):
        yield _row_of(found, f"{name}, example {place}")


def _row_of(found: Any, where: str) -> Row:
    if not isinstance(found, dict):
        names = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}
        kind = names.get(type(found), "a number")
        raise MorphbertError(f"{where}: {kind}, where an object with named values is expected.")
    return Row(with_clean_names(found, where), where)


def json_value(value: Any) -> Any:
    r"""Returns a value of Parquet that JSON does not know as one that it does: a date or a decimal number as text.

    Bytes that are not text become an object, which no text field takes: `b"\xff"` → `{"bytes": 1}`.
    """
    return {"bytes": len(value)} if isinstance(value, bytes) else str(value)


def parquet_rows(path: str) -> Iterator[Row]:
    """Yields the rows of a Parquet file.

    A column of bytes is read as UTF-8, as writers without a type for text store it; other bytes stay bytes.

    Raises:
      MorphbertError: pyarrow is missing, or the file cannot be read.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MorphbertError(f"{path}: Parquet needs pyarrow: pip install 'morphbert[finetune]'") from error
    with open_for_reading(path) as stream:
        refuse_pointer(stream.read(_HEAD), path)
        stream.seek(0)
        try:
            rows = itertools.chain.from_iterable(_batches(pyarrow.parquet, stream))
            for number, row in enumerate(rows, start=1):
                where = f"{path}, row {number}"
                yield Row(with_clean_names(row, where), where)
        except (pyarrow.ArrowException, OSError) as error:
            raise MorphbertError(f"{path} is not a readable Parquet file: {error}") from error


def _batches(parquet: Any, stream: IO[bytes]) -> Iterator[list[dict[str, Any]]]:
    return (list(map(_with_text, batch.to_pylist())) for batch in parquet.ParquetFile(stream).iter_batches())


def _with_text(value: Any) -> Any:
    """Returns a value of Parquet with the bytes in it that are UTF-8 as text."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value
    if isinstance(value, dict):
        return {name: _with_text(inner) for name, inner in value.items()}
    return [_with_text(inner) for inner in value] if isinstance(value, list) else value
