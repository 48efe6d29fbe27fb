"""Reads the files of a corpus as documents whose text is not parsed yet.

    text            empty lines divide documents
    jsonl           one JSON object per line, each a document; or an array of objects
    csv, tsv        one document per row, the text in named columns
    parquet         the same
    wikiextractor   `<doc id=… title=…>`, the title, the text, `</doc>`; its JSON form is jsonl

The workers parse lines of JSON later; parsing here would be a bottleneck.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from morphbert.errors import MorphbertError, UsageError
from morphbert.files import STANDARD_INPUT
from morphbert.formats.document import RawDocument
from morphbert.formats.lines import is_blank, read_lines, shown, text_encoding
from morphbert.formats.plain_text import text_documents
from morphbert.formats.tables import (
    COLUMNS_REMEDY,
    KINDS,
    clean_name,
    csv_rows,
    divider_hint,
    json_rows,
    json_value,
    parquet_rows,
    plain_ending,
    tsv_rows,
    with_clean_names,
)
from morphbert.formats.wikiextractor import begins_document, wiki_documents
from morphbert.options import configuration, option
from morphbert.structured import RepeatedKey, load_json, parse_json

Format = Literal["auto", "text", "jsonl", "tsv", "csv", "parquet", "wikiextractor"]

# The number of lines that decide between a table and text.
_LOOKED_AT = 20
_FEWEST_ROWS = 3

# JSON Lines and arrays have one name here.
_KNOWN_NAMES = {ending: "jsonl" if kind == "json" else kind for ending, kind in KINDS.items()}


@dataclasses.dataclass(frozen=True)
class LineFormat:
    """A format of text files without fields or columns.

    Attributes:
      read: returns the documents of a file, from its path and its numbered lines from the first one with text.
      endings: the endings of file names for `auto`, such as `.srt`.
      begins: whether a line begins a file of this format, for `auto` and files with another ending.
    """

    read: Callable[[str, Iterable[tuple[int, str]]], Iterator[RawDocument]]
    endings: tuple[str, ...] = ()
    begins: Callable[[str], bool] = lambda line: False


LINE_FORMATS: Mapping[str, LineFormat] = {
    "text": LineFormat(text_documents),
    "wikiextractor": LineFormat(wiki_documents, begins=begins_document),
}


@configuration
class InputFormat:
    """How input files are read.

    Attributes:
      format: `auto` goes by the file names, and by the first lines of other files.
      text_fields: fields of JSON objects (dots name nested fields) or columns, each a separate paragraph. Empty means
        `text`. If it is not empty, files without fields are refused.
      header: whether the first line of TSV and CSV names the columns; without a header, fields are numbers from 1.
      encoding: the encoding of text files.
    """

    format: Format = option(
        default="auto",
        help="text: empty lines divide documents. jsonl: every line is a JSON object and one document, or the file "
        "is one array of objects. tsv, csv, parquet: every row is a document; in TSV, quotation marks are ordinary "
        "characters. wikiextractor: <doc …>, text, </doc>, or its JSON. auto: by the file name (.jsonl, .ndjson, "
        ".json, .tsv, .csv, .parquet), and by the first lines of .txt and other files.",
    )
    text_fields: tuple[str, ...] = option(
        default=(),
        flag="text_field",
        help="Default: text. The field of JSON objects or the column with the text. Dots name nested fields, in "
        "lists too; several names with commas become paragraphs of one document. Example: "
        "--text_field=title,article.body",
    )
    header: bool = option(
        default=True,
        help="The first line of TSV and CSV files names the columns. With --noheader, --text_field is a number from 1.",
    )
    encoding: str = option(
        default="utf-8",
        help="The encoding of text files. Example: --encoding=cp949, the encoding of Excel's Korean CSV files.",
    )

    def __post_init__(self) -> None:
        text_encoding(self.encoding)
        if not all(self.text_fields):
            raise UsageError("--text_field is empty: name the field or column with the text.")
        if self.format in LINE_FORMATS:
            self.refuse_fields(f"--format={self.format}")
        if not self.header:
            for field in self.fields:
                if not re.fullmatch(r"[0-9]{1,9}", field) or int(field) == 0:
                    raise UsageError(
                        f"--text_field={field}: without a header, columns are numbers from 1: --text_field=2."
                    )

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields with the text, named as the readers of tables and JSON clean names."""
        return tuple(map(clean_name, self.text_fields)) or ("text",)

    def refuse_fields(self, source: str) -> None:
        """Raises UsageError if the flags name fields and the input has none."""
        flags = [f"--text_field={','.join(self.text_fields)}"] if self.text_fields else []
        flags += [] if self.header else ["--noheader"]
        if flags:
            raise UsageError(
                f"{' and '.join(flags)} does not apply to {source}, which has no fields or columns. Leave it out, or "
                "name the format of the files: --format=tsv, csv, jsonl or parquet."
            )


def read_documents(
    path: str, form: InputFormat, count: Callable[[int], object] | None = None
) -> Iterator[RawDocument]:
    """Yields the documents of one file (`-`: standard input).

    Args:
      count: receives the number of bytes read, before decompression.

    Raises:
      MorphbertError: the file cannot be read, unpacked or decoded, or lacks a column.
      UsageError: the flags name fields and the file has none.
    """
    if _is_parquet(path, form):
        for number, row in enumerate(parquet_rows(path), start=1):
            yield RawDocument(path, number, [json.dumps(row, default=json_value)], is_json=True)
        return
    lines = _from_first_text(read_lines(path, count, form.encoding))
    ahead = list(itertools.islice(lines, _LOOKED_AT))
    if not ahead:
        return
    first = ahead[0][1]
    lines = itertools.chain(ahead, lines)
    kind: str = form.format
    if kind == "auto":
        kind = _guess(path, [line for _, line in ahead], form)
    elif kind == "wikiextractor" and first.startswith("{"):
        kind = "jsonl"
    if kind in LINE_FORMATS:
        form.refuse_fields(f"{shown(path)} (read as {kind})")
        yield from LINE_FORMATS[kind].read(path, lines)
    elif kind == "jsonl" and first.lstrip().startswith("["):
        if path == STANDARD_INPUT:
            raise MorphbertError(
                "standard input is a JSON array. Give it as a file, or send JSON Lines, one object per line."
            )
        for number, row in enumerate(json_rows(path, form.encoding), start=1):
            yield RawDocument(path, number, [json.dumps(row)], is_json=True)
    elif kind == "jsonl":
        for number, line in lines:
            if not is_blank(line):
                yield RawDocument(path, number, [line], is_json=True)
    else:
        yield from _table_documents(path, lines, form, kind)


def is_plain_text(path: str) -> bool:
    """Returns whether a file is plain text, by its name and its first line, as opposed to JSON, a table or markup.

    Raises:
      MorphbertError: the file cannot be read, unpacked or decoded.
    """
    if plain_ending(path) in _KNOWN_NAMES:
        return False
    _, first = next(_from_first_text(read_lines(path)), (0, ""))
    return _kind_of(path, first) is None


def is_sentences(path: str, encoding: str, columns: Collection[str] = ()) -> bool:
    """Returns whether a file named `.txt`, compressed or not, is lines of text, as opposed to a table.

    Args:
      path: the file.
      encoding: its encoding.
      columns: the columns that a table would have.

    Raises:
      MorphbertError: the file cannot be read, unpacked or decoded.
    """
    if plain_ending(path) != ".txt":
        return False
    numbered = itertools.islice(_from_first_text(read_lines(path, encoding=encoding)), _LOOKED_AT)
    lines = [line for _, line in numbered]
    names = {clean_name(name) for name in lines[0].split("\t")} if lines else set()
    return not (_has_even_columns(lines, fewest=1) or (columns and names.issuperset(columns)))


def blocks_of(documents: Iterable[RawDocument], characters: int) -> Iterator[list[RawDocument]]:
    """Yields runs of documents, each with at least so many characters except the last, as the work of one process."""
    block: list[RawDocument] = []
    size = 0
    for document in documents:
        block.append(document)
        size += sum(map(len, document.lines))
        if size >= characters:
            yield block
            block, size = [], 0
    if block:
        yield block


def _is_parquet(path: str, form: InputFormat) -> bool:
    if form.format != "auto":
        return form.format == "parquet"
    return plain_ending(path) == ".parquet"


def _from_first_text(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yields lines with their numbers, without the blank lines at the beginning."""
    return itertools.dropwhile(lambda numbered: is_blank(numbered[1]), enumerate(lines, start=1))


def _guess(path: str, lines: Sequence[str], form: InputFormat) -> str:
    """Returns the format of a file by its name and its first lines.

    Raises:
      MorphbertError: the file is a table and no flag names its text column.
    """
    first = lines[0]
    kind = _kind_of(path, first)
    if kind is not None:
        return kind
    columns = [clean_name(column) for column in first.split("\t")]
    if len(columns) < 2:
        return "text"
    named = form.header and all(field in columns for field in form.fields)
    if named or not form.header:
        return "tsv"
    if form.text_fields or _has_even_columns(lines):
        raise MorphbertError(
            f"{shown(path)} is a table: its lines have {len(columns)} columns with tabs between them, and none of "
            f"{', '.join(map(repr, columns))} is {', '.join(map(repr, form.fields))}. Name the column with the text, "
            f"for example --text_field={columns[-1] or columns[0]}; or --noheader --text_field=2 if the first "
            "line names no columns; or --format=text to read the lines as text, tabs included."
        )
    return "text"


def _has_even_columns(lines: Sequence[str], fewest: int = _FEWEST_ROWS) -> bool:
    """Returns whether lines, `fewest` at least, are the rows of a table."""
    # A text with tabs rarely has the same number of them on each line.
    tabs = [line.count("\t") for line in lines if not is_blank(line)]
    return len(tabs) >= fewest and tabs[0] > 0 and len(set(tabs)) == 1


def _kind_of(path: str, first: str) -> str | None:
    """Returns the format that the name or the first line of a file shows; None for text and tables named `.txt`."""
    ending = plain_ending(path)
    if ending in _KNOWN_NAMES:
        return _KNOWN_NAMES[ending]
    for name, form in LINE_FORMATS.items():
        if ending in form.endings or form.begins(first):
            return name
    # WikiExtractor's files are called wiki_00
    return "jsonl" if ending != ".txt" and first.startswith("{") and _is_object(first) else None


def _is_object(line: str) -> bool:
    try:
        return isinstance(load_json(line), dict)
    except RepeatedKey:  # its reader names the place
        return True
    except ValueError:
        return False


def _table_documents(
    path: str, numbered: Iterable[tuple[int, str]], form: InputFormat, kind: str
) -> Iterator[RawDocument]:
    rows = csv_rows(shown(path), numbered) if kind == "csv" else tsv_rows(numbered)
    columns: list[int] = []
    width = 0
    for number, row in rows:
        if not columns:
            width = len(row)
            columns = _columns(f"{shown(path)}, line {number}", row, form, kind)
            if form.header:
                continue
        if len(row) != width:
            yield RawDocument(
                path,
                number,
                [],
                problem=f"{len(row)} columns, where the first line has {width}. {COLUMNS_REMEDY[kind]}",
            )
            continue
        yield RawDocument(path, number, [line for column in columns for line in row[column].splitlines()])


def _columns(where: str, first: list[str], form: InputFormat, kind: str) -> list[int]:
    """Returns the positions of the text's columns.

    Raises:
      MorphbertError: a column is missing, or two have its name.
    """
    found = []
    first = [clean_name(name) for name in first]
    for field in form.fields:
        if form.header and first.count(field) > 1:
            raise MorphbertError(
                f"{where}: {len(first)} columns, and {field!r} occurs more than once. Rename one."
            )
        if form.header and field in first:
            found.append(first.index(field))
        elif not form.header and int(field) <= len(first):
            found.append(int(field) - 1)
        else:
            names = ", ".join(map(repr, first)) if form.header else f"{len(first)} columns"
            raise MorphbertError(
                f"{where}: there is no column {field!r} (found: {names}). Name the column with the text: "
                f"--text_field=NAME, or its number with --noheader; the file is read as {kind.upper()} (--format)."
                f"{divider_hint(first)}"
            )
    return found


def json_paragraphs(raw: RawDocument, fields: Iterable[str]) -> list[str]:
    """Returns the text in the fields of a line of JSON.

    Raises:
      MorphbertError: the line is not a JSON object, names look the same, or the field is missing or contains no text.
    """
    value = parse_json(
        raw.lines[0], "", "JSON Lines has one object per line; for plain text give --format=text."
    )
    value = with_clean_names(value, "")
    return [line for field in fields for text in _texts(value, field, field) for line in text.splitlines()]


def _texts(value: Any, rest: str, field: str) -> Iterator[str]:
    """Yields the texts at a dotted name, in every item of a list on the path."""
    if not isinstance(value, dict):
        raise _no_field(field, type(value).__name__)
    name, dot, deeper = rest.partition(".")
    if rest in value:  # a field name may contain dots
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
            what = f"an object with {', '.join(item)}" if isinstance(item, dict) else type(item).__name__
            raise MorphbertError(
                f"the field {field!r} contains {what}, not text: choose another --text_field."
            )


def _no_field(field: str, found: str) -> MorphbertError:
    return MorphbertError(
        f"there is no field {field!r} (found: {found}). Name the field with the text: --text_field=NAME, with "
        "dots for nested ones."
    )
