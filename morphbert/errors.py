"""Errors that the user can correct, as opposed to faults of the program."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class MorphbertError(Exception):
    """The input, the flags or the machine must change before the work can continue.

    The message is for the user of a command: it names the received value and the remedy. Commands print it without a
      traceback and exit with status 1. Any other exception is a fault of the program and keeps its traceback.
    """


class UsageError(MorphbertError):
    """A flag is missing, unknown or out of its range. Commands exit with status 2."""


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Adds the name of the file to errors of writing within the block; the system's errors of open files have none."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = path
        raise
