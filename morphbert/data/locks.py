"""One process at a time in a folder: locks that the system takes back when their holder dies."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import IO

from morphbert import files
from morphbert.errors import MorphbertError

try:
    import fcntl
except ImportError:  # Windows has no flock; there, nothing guards a folder
    fcntl = None  # type: ignore[assignment]

# How long to wait for the workers of a killed run to notice and go.
_PATIENCE_SECONDS = 5.0


class Lock:
    """An open lock file. Forked children hold it too, until the last of them is gone."""

    def __init__(self, path: str, stream: IO[bytes]) -> None:
        self._path = path
        self._stream = stream

    def try_exclusive(self) -> bool:
        return self._try(exclusive=True)

    def try_shared(self) -> bool:
        return self._try(exclusive=False)

    def _try(self, exclusive: bool) -> bool:
        if fcntl is None:
            return True
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        try:
            fcntl.flock(self._stream, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextlib.contextmanager
def lock_file(path: str) -> Iterator[Lock]:
    """Opens (and makes) a lock file without locking it yet; the file stays, it is empty."""
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        stream = open(path, "ab")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise files.write_error(path, error) from error
    with stream:
        yield Lock(path, stream)


def patiently(attempt: Lock, exclusive: bool) -> bool:
    """Tries for a few seconds: the workers of a killed run need a moment to end."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while not (attempt.try_exclusive() if exclusive else attempt.try_shared()):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


@contextlib.contextmanager
def only_writer(output_file: str) -> Iterator[None]:
    """Holds an output file for this process; remote ones cannot be held.

    Raises:
      MorphbertError: another process is writing it, or its folder is not writable.
    """
    if files.is_remote(output_file):
        yield
        return
    folder, name = os.path.split(os.path.abspath(output_file))
    path = os.path.join(folder, f".{name}.lock")
    with lock_file(path) as lock:
        if not patiently(lock, exclusive=True):
            raise MorphbertError(
                f"another process is writing {output_file}. Wait for it, end it, or choose another --output_file."
            )
        yield
        # The next one to come makes a new file; who waited for this one finds its folder at rest.
        with contextlib.suppress(OSError):
            os.unlink(path)
