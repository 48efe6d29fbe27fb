"""WikiExtractor's output: `<doc id=… title=…>`, the title, the text, `</doc>`. Its JSON form is JSON Lines."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator

from morphbert.formats.document import RawDocument

_DOC = re.compile(r"<doc\s+id=\"[^\"]*\"(?:.*?\stitle=\"(?P<title>.*)\")?[^\"]*>\s*")


def begins_document(line: str) -> bool:
    """Returns whether a line is the header of a document."""
    return _DOC.fullmatch(line) is not None


def wiki_documents(path: str, numbered: Iterable[tuple[int, str]]) -> Iterator[RawDocument]:
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
