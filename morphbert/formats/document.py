"""A document of a corpus whose text is not parsed yet."""

from __future__ import annotations

from typing import NamedTuple

from morphbert.formats.lines import shown


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


def where(raw: RawDocument) -> str:
    """Returns the place of a document for messages: `"posts.jsonl, line 3"` or `"standard input, line 3"`."""
    return f"{shown(raw.path)}, line {raw.line}"
