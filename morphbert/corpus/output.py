"""Writes documents to one file, or to shards whose concatenation is that file."""

from __future__ import annotations

import contextlib
import os
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import IO

from morphbert.atomic_files import atomic_write, compressed, write_error
from morphbert.files import is_remote, shard_names

_COPIED_AT_ONCE = 1 << 20


@contextlib.contextmanager
def open_corpus(path: str, num_shards: int | None) -> Iterator[Callable[[bytes], None]]:
    """Yields a function that writes the sentences of one document, with line ends, and adds the empty lines.

    The files appear when the block ends without an error. While shards are made, they need the same disk space again,
    and 8 bytes of memory per document. Shards are divided between documents, and all except the last end with an empty
    line: their concatenation is the file without shards.
    """
    if num_shards is None:
        with atomic_write(path) as raw, compressed(raw, path) as stream:
            yield _Joiner(stream).write
        return
    folder = None if is_remote(path) else os.path.dirname(os.path.abspath(path))
    try:
        if folder:
            os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as spool:
            starts = array("Q")
            joiner = _Joiner(spool, starts)
            yield joiner.write
            _divide(spool, starts, joiner.position, shard_names(path, num_shards))
    except OSError as error:
        raise write_error(path, error) from error


class _Joiner:
    """Writes documents with empty lines between them, and records their beginnings."""

    def __init__(self, stream: IO[bytes], starts: array[int] | None = None):
        self._stream = stream
        self._starts = starts
        self.position = 0

    def write(self, document: bytes) -> None:
        if self.position:
            self.position += self._stream.write(b"\n")
        if self._starts is not None:
            self._starts.append(self.position)
        self.position += self._stream.write(document)


def _divide(spool: IO[bytes], starts: array[int], total: int, names: list[str]) -> None:
    """Copies the documents, which begin at `starts`, into shards of similar size."""
    starts.append(total)
    cuts = [starts[bisect_left(starts, total * number // len(names))] for number in range(len(names))]
    cuts.append(total)
    spool.seek(0)
    with contextlib.ExitStack() as stack:  # makes all of them appear together
        for name, start, end in zip(names, cuts[:-1], cuts[1:], strict=True):
            out = stack.enter_context(compressed(stack.enter_context(atomic_write(name)), name))
            left = end - start
            while left:
                left -= out.write(spool.read(min(left, _COPIED_AT_ONCE)))
