"""Folders that are filled from others."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from morphbert.atomic_files import check_regular, write_error


@contextmanager
def added_to(folder: str | os.PathLike[str]) -> Iterator[str]:
    """Yields an empty folder of the same name, whose files move into `folder` when the block ends.

    `folder` may hold other files; it is made if it is not there.

    Raises:
      MorphbertError: the folder cannot be written, or holds something other than a file under the name of one.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".save_pretrained.") as partial:
            made = os.path.join(partial, os.path.basename(os.path.abspath(folder)))
            os.mkdir(made)
            yield made
            _move_into(made, os.fspath(folder))
    except OSError as error:
        raise write_error(os.fspath(folder), error) from error


def _move_into(source: str, target: str) -> None:
    """Moves the files of a folder, with those of its folders, into another; equal names are replaced."""
    for entry in sorted(os.listdir(source)):
        old, new = os.path.join(source, entry), os.path.join(target, entry)
        if os.path.isdir(old):
            os.makedirs(new, exist_ok=True)
            _move_into(old, new)
        else:
            check_regular(new)
            os.replace(old, new)
