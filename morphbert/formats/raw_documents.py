"""Reads the files of a corpus as documents whose text is not parsed yet.

    text            empty lines divide documents
    jsonl           one JSON object per line, each a document; or an array of objects
    csv, tsv        one document per row, the text in named columns
    parquet         the same
    wikiextractor   `<doc id=… title=…>`, the title, the text, `</doc>`; its JSON form is jsonl

The workers parse lines of JSON later; parsing here would be a bottleneck.
"""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from morphbert.errors import MorphbertError, UsageError
from morphbert.files import STANDARD_INPUT
from morphbert.formats.lines import read_lines, shown, text_encoding
from morphbert.formats.tables import (
    COLUMNS_REMEDY,
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
from morphbert.options import configuration, option
from morphbert.structured import RepeatedKey, load_json, parse_json

Format = Literal["auto", "text", "jsonl", "tsv", "csv", "parquet", "wikiextractor"]

# A text document with more characters is divided. A corpus without empty lines is one document, which need not fit in
# memory.
_LONGEST_DOCUMENT = 4_000_000
# The number of lines that decide between a table and text.
_LOOKED_AT = 20
_FEWEST_ROWS = 3

_KNOWN_NAMES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".tsv": "tsv",
    ".csv": "csv",
    ".parquet": "parquet",
}
_DOC = re.compile(r"<doc\s+id=\"[^\"]*\"(?:.*?\stitle=\"(?P<title>.*)\")?[^\"]*>\s*")


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
        if self.format in ("text", "wikiextractor"):
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


class RawDocument(NamedTuple):
    """One document before its text is known.

    Attributes:
      path, line: the place of its beginning; for Parquet and JSON arrays, the number of the row.
      lines: its lines; for JSON, the one unparsed line.
      problem: the reason why it cannot be read, as one or more whole sentences.
      divided: whether the document was too long and ends here for that reason.
      follows_file: whether `lines` are those of the file, from `line` on, one after the other.
    """

    path: str
    line: int
    lines: list[str]
    is_json: bool = False
    problem: str = ""
    divided: bool = False
    follows_file: bool = False


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
    kind = form.format
    if kind == "auto":
        kind = _guess(path, [line for _, line in ahead], form)
    elif kind == "wikiextractor" and first.startswith("{"):
        kind = "jsonl"
    if kind in ("text", "wikiextractor"):
        form.refuse_fields(f"{shown(path)} (read as {kind})")
    if kind == "jsonl" and first.lstrip().startswith("["):
        if path == STANDARD_INPUT:
            raise MorphbertError(
                "standard input is a JSON array. Give it as a file, or send JSON Lines, one object per line."
            )
        for number, row in enumerate(json_rows(path, form.encoding), start=1):
            yield RawDocument(path, number, [json.dumps(row)], is_json=True)
    elif kind == "jsonl":
        for number, line in lines:
            if not _is_blank(line):
                yield RawDocument(path, number, [line], is_json=True)
    elif kind == "wikiextractor":
        yield from _wiki_documents(path, lines)
    elif kind == "text":
        yield from _text_documents(path, lines)
    else:
        yield from _table_documents(path, lines, form, kind)


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
    return itertools.dropwhile(lambda numbered: _is_blank(numbered[1]), enumerate(lines, start=1))


def _guess(path: str, lines: Sequence[str], form: InputFormat) -> Format:
    """Returns the format of a file by its name and its first lines.

    Raises:
      MorphbertError: the file is a table and no flag names its text column.
    """
    ending = plain_ending(path)
    if ending in _KNOWN_NAMES:
        return _KNOWN_NAMES[ending]
    first = lines[0]
    if _DOC.fullmatch(first):
        return "wikiextractor"
    if (
        ending != ".txt" and first.startswith("{") and _is_object(first)
    ):  # WikiExtractor's files are called wiki_00
        return "jsonl"
    rows = [line for line in lines if not _is_blank(line)]
    columns = [clean_name(column) for column in first.split("\t")]
    if len(columns) < 2:
        return "text"
    named = form.header and all(field in columns for field in form.fields)
    if named or not form.header:
        return "tsv"
    # A text with tabs rarely has the same number of them on each line.
    if form.text_fields or (len(rows) >= _FEWEST_ROWS and len({line.count("\t") for line in rows}) == 1):
        raise MorphbertError(
            f"{shown(path)} is a table: its lines have {len(columns)} columns with tabs between them, and none of "
            f"{', '.join(map(repr, columns))} is {', '.join(map(repr, form.fields))}. Name the column with the text, "
            f"for example --text_field={columns[-1] or columns[0]}; or --noheader --text_field=2 if the first "
            "line names no columns; or --format=text to read the lines as text, tabs included."
        )
    return "text"


def _is_object(line: str) -> bool:
    try:
        return isinstance(load_json(line), dict)
    except RepeatedKey:  # its reader names the place
        return True
    except ValueError:
        return False


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
            yield RawDocument(path, begin, lines, divided=size >= _LONGEST_DOCUMENT, follows_file=True)
        begin, size, lines = 0, 0, []
    if lines:
        yield RawDocument(path, begin, lines, follows_file=True)


def _wiki_documents(path: str, numbered: Iterable[tuple[int, str]]) -> Iterator[RawDocument]:
    """Yields documents without the title line above the text, as in the extractor's JSON form."""
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
                problem="there is text outside of <doc …> and </doc>: is this WikiExtractor's output?",
            )
            return
    if begin:
        yield RawDocument(path, begin, [], problem="this <doc> has no end: was the file cut off?")


def _table_documents(
    path: str, numbered: Iterable[tuple[int, str]], form: InputFormat, kind: Format
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


def _columns(where: str, first: list[str], form: InputFormat, kind: Format) -> list[int]:
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


def where(raw: RawDocument) -> str:
    """Returns the place of a document for messages: `"posts.jsonl, line 3"` or `"standard input, line 3"`."""
    return f"{shown(raw.path)}, line {raw.line}"
