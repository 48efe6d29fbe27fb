"""Documents → one file, or shards of it that read one after the other are that file."""

from __future__ import annotations

import contextlib
import os
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import IO

from morphbert.files import atomic_write, compressed, is_remote, shard_names

_COPIED_AT_ONCE = 1 << 20


@contextlib.contextmanager
def open_corpus(path: str, num_shards: int | None) -> Iterator[Callable[[bytes], None]]:
    """A function that writes one document, its sentences with their line ends; empty lines are added.

    The files appear when the block ends, or not at all. Shards need as much space again on the disk while they
    are made, and 8 bytes of memory a document. They are divided between documents, and all but the last end with an
    empty line: joined they are the file that there would be without them.
    """
    with contextlib.ExitStack() as stack:
        if num_shards is None:
            stream = stack.enter_context(compressed(stack.enter_context(atomic_write(path)), path))
        else:
            folder = None if is_remote(path) else os.path.dirname(os.path.abspath(path))
            if folder:
                os.makedirs(folder, exist_ok=True)
            stream = stack.enter_context(tempfile.TemporaryFile(dir=folder))
        starts = array("Q")
        position = 0

        def write(document: bytes) -> None:
            nonlocal position
            if position:
                position += stream.write(b"\n")
            if num_shards is not None:
                starts.append(position)
            position += stream.write(document)

        yield write
        if num_shards is not None:
            starts.append(position)
            _divide(stream, starts, shard_names(path, num_shards))


def _divide(spool: IO[bytes], starts: array[int], names: list[str]) -> None:
    """Copies the documents, which begin at `starts` (and end at the last of them), into shards of about one size."""
    total = starts[-1]
    cuts = [starts[bisect_left(starts, total * number // len(names))] for number in range(len(names))] + [
        total
    ]
    spool.seek(0)
    with contextlib.ExitStack() as stack:  # so that all appear together
        for name, start, end in zip(names, cuts[:-1], cuts[1:], strict=True):
            out = stack.enter_context(compressed(stack.enter_context(atomic_write(name)), name))
            left = end - start
            while left:
                left -= out.write(spool.read(min(left, _COPIED_AT_ONCE)))
