"""Files as corpora come → documents whose text has not been looked at yet.

    text            empty lines divide documents
    jsonl           a JSON object a line, each a document
    csv, tsv        a row a document, the text in named columns
    wikiextractor   `<doc id=… title=…>`, the title, the text, `</doc>`; its JSON form is jsonl

JSON is parsed later, by the workers: here it would hold everybody up.
"""

from __future__ import annotations

import csv
import html
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

from morphbert.errors import MorphbertError, UsageError
from morphbert.files import COMPRESSED, STANDARD_INPUT, read_lines
from morphbert.options import configuration, option

Format = Literal["auto", "text", "jsonl", "tsv", "csv", "wikiextractor"]

# A text document with more characters is divided: a corpus whose author forgot the empty lines is one document,
# and has to fit in no memory.
_LONGEST_DOCUMENT = 4_000_000
_LONGEST_FIELD = 100_000_000

_KNOWN_NAMES: dict[str, Format] = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".tsv": "tsv",
    ".csv": "csv",
}
_DOC = re.compile(r"<doc\s+id=\"[^\"]*\"(?:.*?\stitle=\"(?P<title>.*)\")?[^\"]*>\s*")


@configuration
class InputFormat:
    """How input files are read.

    Attributes:
      format: `auto` goes by the names, and by the first line where they say nothing.
      text_fields: fields of JSON objects (dots go into nested objects) or columns, each a paragraph of its own.
      header: whether the first line of TSV and CSV names the columns; without, fields are numbers, from 1.
    """

    format: Format = option(
        default="auto",
        help="text: empty lines divide documents. jsonl: every line is a JSON object, a document. tsv, csv: every row "
        "is a document; in TSV, quotation marks are characters. wikiextractor: <doc …>, text, </doc>, or its JSON. "
        "auto: by the names (.txt, .jsonl, .ndjson, .json, .tsv, .csv), and by the first line where they say nothing.",
    )
    text_fields: tuple[str, ...] = option(
        default=("text",),
        flag="text_field",
        help="The field of JSON objects or the column with the text; dots go into nested objects and lists; several "
        "with commas become paragraphs of one document. Example: --text_field=title,article.body",
    )
    header: bool = option(
        default=True,
        help="The first line of TSV and CSV files names the columns. With --noheader --text_field is a number, from 1.",
    )

    def __post_init__(self) -> None:
        if not self.text_fields:
            raise UsageError("--text_field is empty: name the field or column with the text.")
        if not self.header:
            for field in self.text_fields:
                if not field.isascii() or not field.isdigit() or int(field) == 0:
                    raise UsageError(
                        f"--text_field={field}: without a header, columns are numbers from 1: --text_field=2."
                    )


class RawDocument(NamedTuple):
    """One document before its text is known.

    Attributes:
      path, line: where it begins.
      lines: its lines; of JSON, the one that is yet to be parsed.
      problem: what is wrong with it where it cannot be read, a whole sentence or more.
      divided: whether its end was set here, because it was too long.
    """

    path: str
    line: int
    lines: list[str]
    is_json: bool = False
    problem: str = ""
    divided: bool = False


def read_documents(
    path: str, form: InputFormat, count: Callable[[int], object] | None = None
) -> Iterator[RawDocument]:
    """Yields the documents of one file (`-`: standard input).

    Args:
      count: receives the bytes that were read, as they lie on the disk.

    Raises:
      MorphbertError: the file cannot be read or unpacked, is not UTF-8, or has not the columns.
    """
    lines: Iterator[tuple[int, str]] = enumerate(read_lines(path, count), start=1)
    # Blank lines before the first one are no documents.
    for number, line in lines:
        line = line.removeprefix("\ufeff") if number == 1 else line
        if not _is_blank(line):
            break
    else:
        return
    lines = itertools.chain([(number, line)], lines)
    kind = form.format
    if kind == "auto":
        kind = _guess(path, line)
    elif kind == "wikiextractor" and line.startswith("{"):
        kind = "jsonl"
    if kind == "jsonl":
        for number, line in lines:
            if not _is_blank(line):
                yield RawDocument(path, number, [line], is_json=True)
    elif kind == "wikiextractor":
        yield from _wiki_documents(path, lines)
    elif kind == "text":
        yield from _text_documents(path, lines)
    else:
        yield from _table_documents(path, lines, form, kind)


def _guess(path: str, first: str) -> Format:
    name = os.path.basename(path).lower()
    stem, ending = os.path.splitext(name)
    known = _KNOWN_NAMES.get(os.path.splitext(stem)[1] if ending in COMPRESSED else ending)
    if known not in (None, "text"):
        return known
    if _DOC.fullmatch(first):
        return "wikiextractor"
    if known is None and first.startswith("{"):  # WikiExtractor's files have names like wiki_00
        try:
            json.loads(first)
        except (ValueError, RecursionError):
            return "text"
        return "jsonl"
    return "text"


def _is_blank(line: str) -> bool:
    return not line or line.isspace()


def _text_documents(path: str, numbered: Iterable[tuple[int, str]]) -> Iterator[RawDocument]:
    begin = size = 0
    lines: list[str] = []
    for number, line in numbered:
        if not _is_blank(line):
            begin = begin or number
            lines.append(line)
            size += len(line)
            if size < _LONGEST_DOCUMENT:
                continue
        if lines:
            yield RawDocument(path, begin, lines, divided=size >= _LONGEST_DOCUMENT)
        begin, size, lines = 0, 0, []
    if lines:
        yield RawDocument(path, begin, lines)


def _wiki_documents(path: str, numbered: Iterable[tuple[int, str]]) -> Iterator[RawDocument]:
    """Without the title that stands above the text, as in the extractor's JSON form."""
    begin = 0
    title = ""
    lines: list[str] = []
    for number, line in numbered:
        line = line.rstrip()
        header = _DOC.fullmatch(line)
        if begin and line == "</doc>":
            yield RawDocument(path, begin, lines)
            begin, lines = 0, []
        elif begin and header:
            break
        elif begin:
            line = html.unescape(line)
            if line and (lines or line != title):
                lines.append(line)
        elif header:
            begin, title = number, html.unescape(header["title"] or "")
        elif line:
            yield RawDocument(
                path,
                number,
                [],
                problem="text outside of <doc …> and </doc>: is this WikiExtractor's output?",
            )
            return
    if begin:
        yield RawDocument(path, begin, [], problem="this <doc> has no end: was the file cut off?")


def _table_documents(
    path: str, numbered: Iterable[tuple[int, str]], form: InputFormat, kind: Format
) -> Iterator[RawDocument]:
    rows = _csv_rows(path, numbered) if kind == "csv" else _tsv_rows(numbered)
    columns: list[int] = []
    width = 0
    for number, row in rows:
        if not columns:
            width = len(row)
            columns = _columns(f"{path}, line {number}", row, form, kind)
            if form.header:
                continue
        if len(row) != width:
            yield RawDocument(
                path,
                number,
                [],
                problem=f"{len(row)} columns, where the first line has {width}. {_COLUMNS_REMEDY[kind]}",
            )
            continue
        yield RawDocument(path, number, [line for column in columns for line in row[column].splitlines()])


_COLUMNS_REMEDY = {
    "csv": "Is a quotation mark or a comma too much or missing?",
    "tsv": "Columns are divided by tabs and not quoted: is there a tab or a line end inside a text?",
}


def _columns(where: str, first: list[str], form: InputFormat, kind: Format) -> list[int]:
    """The positions of the text's columns.

    Raises:
      MorphbertError: there is no such column.
    """
    found = []
    for field in form.text_fields:
        if form.header and field in first:
            found.append(first.index(field))
        elif not form.header and int(field) <= len(first):
            found.append(int(field) - 1)
        else:
            names = ", ".join(map(repr, first)) if form.header else f"{len(first)} columns"
            raise MorphbertError(
                f"{where}: there is no column {field!r} (found: {names}). Name the column with the text: "
                f"--text_field=NAME, or its number with --noheader; the file is read as {kind.upper()} (--format)."
            )
    return found


def _tsv_rows(numbered: Iterable[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """Without quoting, as NSMC and KorSTS are: a quotation mark is a character."""
    for number, line in numbered:
        if not _is_blank(line):
            yield number, line.rstrip("\r").split("\t")


def _csv_rows(path: str, numbered: Iterable[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """Rows and the lines where they begin; a quoted field may go over several.

    Raises:
      MorphbertError: a quotation mark that is never closed.
    """
    last = begin = 0

    def with_ends() -> Iterator[str]:
        nonlocal last
        for last, line in numbered:  # noqa: B007 (read below)
            yield line + "\n"

    before = csv.field_size_limit(_LONGEST_FIELD)  # the default of 131,072 is a long article
    try:
        for row in csv.reader(with_ends(), strict=True):
            if row:
                yield begin + 1 if begin else last, row
            begin = last
    except csv.Error as error:
        raise MorphbertError(
            f"{path}, line {begin + 1}: not CSV ({error}; read to line {last}). Fields with commas, quotation marks or "
            'line ends are quoted, and quotation marks in them doubled: "그는 ""응""이라고 했다."'
        ) from error
    finally:
        csv.field_size_limit(before)


def json_paragraphs(raw: RawDocument, fields: Iterable[str]) -> list[str]:
    """The text in the fields of a line of JSON.

    Raises:
      MorphbertError: no JSON object, no such field, or something else than text in it.
    """
    try:
        value = json.loads(raw.lines[0])
    except (ValueError, RecursionError) as error:
        raise MorphbertError(
            f"not JSON ({error}). JSON Lines has one object a line; for plain text give --format=text."
        ) from error
    return [line for field in fields for text in _texts(value, field, field) for line in text.splitlines()]


def _texts(value: Any, rest: str, field: str) -> Iterator[str]:
    """The texts at a dotted name, inside of every item where a list stands on the way."""
    if not isinstance(value, dict):
        raise _no_field(field, type(value).__name__)
    name, dot, deeper = rest.partition(".")
    if rest in value:  # a name may have dots itself
        name, dot = rest, ""
    if name not in value:
        raise _no_field(field, ", ".join(map(str, value)) or "nothing")
    items = value[name] if isinstance(value[name], list) else [value[name]]
    for item in items:
        if item is None:
            continue
        if dot:
            yield from _texts(item, deeper, field)
        elif isinstance(item, str):
            yield item
        else:
            raise MorphbertError(
                f"the field {field!r} holds {type(item).__name__}, not text: choose another --text_field."
            )


def _no_field(field: str, found: str) -> MorphbertError:
    return MorphbertError(
        f"there is no field {field!r} (found: {found}). Name the field with the text: --text_field=NAME, with "
        "dots for nested ones."
    )


def where(raw: RawDocument) -> str:
    """`"posts.jsonl, line 3"`; standard input is called so."""
    return f"{'standard input' if raw.path == STANDARD_INPUT else raw.path}, line {raw.line}"
