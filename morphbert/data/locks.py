"""Locks for one process at a time in a folder; the system releases them when their holder dies."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterable, Iterator
from typing import IO

import filelock

from morphbert import atomic_files, files
from morphbert.data.outputs import series_of
from morphbert.errors import MorphbertError

try:
    import fcntl
except ImportError:  # Windows has no flock, so folders are not locked there
    fcntl = None  # type: ignore[assignment]

# The time to wait for the workers of a killed run to end.
_PATIENCE_SECONDS = 5.0


class Lock:
    """An open lock file of several readers or one writer. Forked children share the lock until the last of them ends.

    `filelock` has no shared locks that survive a fork.
    """

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
    """Opens (and creates) a lock file without locking it; the empty file stays."""
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        # Neither follows a link nor waits for the reader of a pipe.
        flags = (
            os.O_WRONLY
            | os.O_CREAT
            | os.O_APPEND
            | getattr(os, "O_NOFOLLOW", 0)
            | getattr(os, "O_NONBLOCK", 0)
        )
        stream = os.fdopen(os.open(path, flags, 0o666), "ab")
    except OSError as error:
        raise atomic_files.write_error(path, error) from error
    with stream:
        yield Lock(path, stream)


def patiently(attempt: Lock, exclusive: bool) -> bool:
    """Retries for a few seconds, because the workers of a killed run need a moment to end."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while not (attempt.try_exclusive() if exclusive else attempt.try_shared()):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


@contextlib.contextmanager
def only_writer(output_files: Iterable[str]) -> Iterator[None]:
    """Locks output files for this process, shards by their common name; remote files cannot be locked.

    Locks are taken in path order, so that one of two processes with the same outputs in another order gets all of them.

    Raises:
      MorphbertError: another process is writing an output, an output is not a regular file, or a folder is not
        writable.
    """
    local = [path for path in output_files if not files.is_remote(path)]
    for path in local:
        atomic_files.check_regular(path)
    series = {series_of(os.path.abspath(path)) for path in local}
    with contextlib.ExitStack() as stack:
        for folder, name in sorted(series):
            path = os.path.join(folder, name)
            busy = f"another process is writing {path}. Wait for it, end it, or choose another --output_file."
            stack.enter_context(alone(os.path.join(folder, f".{name}.lock"), busy))
        yield


@contextlib.contextmanager
def alone(lock_path: str, busy: str, patience: float | None = None, keep: bool = False) -> Iterator[None]:
    """Holds a lock file while the block runs. The system releases the lock when the process ends for any reason.

    Args:
      lock_path: the file; its folder is created.
      busy: the message if another process holds it.
      patience: the seconds to wait for another process; None for `_PATIENCE_SECONDS`.
      keep: whether the file stays.

    Raises:
      MorphbertError: another process holds the lock (with the message `busy`), or the folder is not writable.
    """
    try:
        os.makedirs(os.path.dirname(os.path.abspath(lock_path)), exist_ok=True)
        lock = filelock.FileLock(lock_path, timeout=_PATIENCE_SECONDS if patience is None else patience)
        lock.acquire()
    except filelock.Timeout as error:
        raise MorphbertError(busy) from error
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK):
            yield  # a file system without locks, such as Google Drive's, gives no protection
            return
        raise atomic_files.write_error(lock_path, error) from error
    try:
        yield
    finally:
        # Removed while locked: the next process makes a new file, and a waiting one notices that this file is gone.
        if not keep:
            with contextlib.suppress(OSError):
                os.unlink(lock_path)
        lock.release()
