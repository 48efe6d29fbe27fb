"""Reads the documents that begin in ranges of text files.

A file is divided into ranges of bytes, so that many workers can read it. A document belongs to the range in which the
empty line before it begins, and the first document of a file to the first range. Each document is therefore read
exactly once, for any ranges.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple, cast

from morphbert import files
from morphbert.errors import MorphbertError
from morphbert.formats.lines import ends_lines_plainly, lines_of, not_decoded

_BUFFER = 1 << 20
# The bytes of text in a range: many for a large corpus, but even a small corpus uses several workers.
_LEAST, _MOST, _RANGES = 1 << 18, 1 << 25, 256

Open = Callable[[str], IO[bytes]]


class Range(NamedTuple):
    """Bytes `begin` to `end` of the input file with a number; `end` None is the whole of a file that stays whole."""

    file: int
    path: str
    begin: int
    end: int | None


def ranges_of(inputs: list[tuple[str, int]], size: int | None = None, encoding: str = "utf-8") -> list[Range]:
    """Divides files, given as (path, bytes), into ranges of `size` bytes, which by default depends on their sum.

    Compressed files, and those in an encoding such as UTF-16, whose lines cannot be found from the middle, stay whole.
    """
    if size is None:
        size = min(max(sum(length for _, length in inputs) // _RANGES, _LEAST), _MOST)
    ranges = []
    for number, (path, length) in enumerate(inputs):
        if files.is_compressed(path) or not ends_lines_plainly(encoding):
            ranges.append(Range(number, path, 0, None))
        else:
            ranges += [Range(number, path, begin, begin + size) for begin in range(0, length, size)]
    return ranges


def documents(chosen: Range, open_file: Open, encoding: str = "utf-8") -> Iterator[list[str]]:
    """Yields the documents of a range, each as its stripped, non-empty lines.

    Raises:
      MorphbertError: the file cannot be read, unpacked or decoded.
    """
    document: list[str] = []
    # Whether the lines belong to a document of this range, as the first lines of a file do.
    ours = chosen.begin == 0
    for begin, line in _lines(chosen, open_file, encoding):
        if line:
            if ours:
                document.append(line)
            continue
        if document:
            yield document
            document = []
        if chosen.end is not None and begin >= chosen.end:
            return
        ours = True
    if document:
        yield document


def _lines(chosen: Range, open_file: Open, encoding: str) -> Iterator[tuple[int, str]]:
    """Yields the stripped lines that begin at or after `chosen.begin`, with their positions."""
    if chosen.end is None:
        with open_file(chosen.path) as raw:
            for line in lines_of(raw, chosen.path, encoding):
                yield 0, line.strip()
        return
    with open_file(chosen.path) as raw:
        position = max(chosen.begin - 1, 0)
        try:
            raw.seek(position)
            stream = io.BufferedReader(cast(Any, raw), _BUFFER)
            if chosen.begin:  # the rest of a line that begins before the range
                position += len(stream.readline())
            for data in stream:
                text = data.decode(encoding)
                yield position, (text if position else text.removeprefix("\ufeff")).strip()
                position += len(data)
        except UnicodeDecodeError as error:
            raise not_decoded(f"{chosen.path}, the line at byte {position}", error, data, encoding) from error
        except OSError as error:
            raise MorphbertError(f"{chosen.path} cannot be read after byte {position}: {error}.") from error
