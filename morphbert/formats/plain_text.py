"""Plain text: empty lines divide documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from morphbert.formats.document import RawDocument
from morphbert.formats.lines import is_blank

# A text document with more characters is divided. A corpus without empty lines is one document, which need not fit in
# memory.
_LONGEST_DOCUMENT = 4_000_000


def text_documents(path: str, numbered: Iterable[tuple[int, str]]) -> Iterator[RawDocument]:
    """Yields the documents of numbered lines; a document that is too long is divided."""
    begin = size = 0
    lines: list[str] = []
    for number, line in numbered:
        if not is_blank(line):
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
