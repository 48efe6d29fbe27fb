"""Writes the files of a run atomically on any filesystem that TensorFlow knows; errors name a remedy."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from morphbert import atomic_files, files
from morphbert.errors import MorphbertError


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Turns a failed write of `path` into a `MorphbertError` with the remedy."""
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        reason = getattr(error, "message", None) or str(error)
        if "No space left" in reason or "File too large" in reason or "Disk quota" in reason:
            remedy = (
                "Free some space, then run the same command again: it continues from the last checkpoint."
            )
        else:
            remedy = "Check that the folder exists and may be written to, or choose another --output_dir."
        raise MorphbertError(f"{path} cannot be written: {reason.splitlines()[0]}. {remedy}") from error


def write_json_lines(path: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one object per line, as `write_text` does."""
    write_text(path, "".join(atomic_files.json_bytes(row).decode() + "\n" for row in rows))


def write_text(path: str, text: str) -> None:
    """Writes a small file atomically and waits until it is on the disk."""
    if not files.is_remote(path):
        with atomic_files.atomic_write(path) as local:
            local.write(text.encode())
        return
    partial = path + ".partial"
    with writing(path):
        with tf.io.gfile.GFile(partial, "w") as stream:
            stream.write(text)
        tf.io.gfile.rename(partial, path, overwrite=True)


def sync(path: str) -> None:
    """Waits until a local file, or the names in a local folder, are on the disk; remote stores do this themselves."""
    if files.is_remote(path):
        return
    handle = os.open(path or ".", os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
