"""Writes the files of a run atomically on any filesystem that TensorFlow knows; errors name a remedy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from morphbert import atomic_files, files
from morphbert.errors import MorphbertError

_FULL = ("No space left on device", "File too large", "Disk quota exceeded")
_FORBIDDEN = ("Permission denied", "Read-only file system")


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Turns a failed write of `path` into a `MorphbertError` with the remedy."""
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        reason = reason_of(error)
        if reason in _FULL:
            remedy = (
                "Free some space, then run the same command again: it continues from the last checkpoint."
            )
        else:
            remedy = "Check that the folder exists and may be written to, or choose another --output_dir."
        raise MorphbertError(f"{path} cannot be written: {reason}. {remedy}") from error


def reason_of(error: Exception) -> str:
    """Returns why a write failed, in the system's words where TensorFlow's text has them among others."""
    text = str(getattr(error, "strerror", None) or getattr(error, "message", None) or error)
    return next((reason for reason in (*_FULL, *_FORBIDDEN) if reason in text), text.splitlines()[0])


def write_json_lines(path: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one object per line, as `write_text` does."""
    write_text(path, "".join(atomic_files.json_bytes(row).decode() + "\n" for row in rows))


def write_text(path: str, text: str) -> None:
    """Writes a small file atomically and waits until it is on the disk."""
    write_bytes(path, text.encode())


def write_bytes(path: str, content: bytes) -> None:
    """Writes a small file atomically and waits until it is on the disk."""
    if not files.is_remote(path):
        with atomic_files.atomic_write(path) as local:
            local.write(content)
        return
    partial = path + ".partial"
    with writing(path):
        with tf.io.gfile.GFile(partial, "wb") as stream:
            stream.write(content)
        tf.io.gfile.rename(partial, path, overwrite=True)


def sync(path: str) -> None:
    """Waits until a local file, or the names in a local folder, are on the disk; remote stores do this themselves."""
    if not files.is_remote(path):
        atomic_files.sync(path or ".")
