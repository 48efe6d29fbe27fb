"""Writes files atomically, and checks where they may be written."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, cast

from morphbert.errors import MorphbertError, UsageError
from morphbert.files import PARTIAL_ENDING, filesystem, is_remote

try:
    import fcntl
except ImportError:  # Windows has no flock, so files are not locked there
    fcntl = None  # type: ignore[assignment]


def json_bytes(value: Any, indent: int | None = None, default: Callable[[Any], Any] | None = None) -> bytes:
    r"""Returns a value as JSON in UTF-8; a lone half of a surrogate pair, which UTF-8 lacks, stays escaped.

    `{"text": "\ud83d"}` → `b'{"text": "\\ud83d"}'`

    `default` turns a value that JSON does not know into one that it does.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=default)
    return text.encode("utf-8", "backslashreplace")


def write_error(path: str, error: OSError) -> MorphbertError:
    """Returns the message for a failed write, with the remedy for the usual causes."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "The disk is full: free some space or choose another disk, then run the same command again."
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        remedy = "The folder is not writable: choose another one or change its permissions."
    else:
        remedy = "Check that the folder exists and is a folder."
    return MorphbertError(f"{path} cannot be written: {error.strerror or error}. {remedy}")


def check_apart(outputs: Iterable[str], inputs: Iterable[tuple[str, str]]) -> None:
    """Refuses an output that would replace an input.

    Args:
      outputs: paths of files.
      inputs: flags and the paths that they name: `("--input_file", "a.txt")`.

    Raises:
      UsageError: names both.
    """
    local = {os.path.realpath(path): (flag, path) for flag, path in inputs if not is_remote(path)}
    for output in outputs:
        if not is_remote(output) and os.path.realpath(output) in local:
            flag, path = local[os.path.realpath(output)]
            raise UsageError(
                f"the output {output} is {flag}={path}, which is read: give the output another name."
            )


def check_writable(folder: str, flag: str = "output_dir") -> None:
    """Refuses a local folder that cannot be made or written to; changes nothing.

    Raises:
      MorphbertError: the message names the folder, or the file in its place.
    """
    if is_remote(folder):
        return
    there = os.path.abspath(folder)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise MorphbertError(f"--{flag}={folder} cannot be written: {there} is not a folder. Choose another.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise MorphbertError(
            f"--{flag}={folder} cannot be written: permission denied in {there}. Choose another folder, or change its "
            "permissions."
        )


@contextlib.contextmanager
def atomic_write(path: str) -> Iterator[IO[bytes]]:
    """Opens a binary stream whose bytes appear under `path` atomically when the block ends without an error.

    Locally the bytes go to a new file beside it, `.NAME.RANDOM.partial`, which is synced and renamed; folders are
    created. Only a regular file is replaced, and only by one process at a time. Leftovers of killed processes are
    removed.

    Raises:
      MorphbertError: the path cannot be written or is not a regular file, or another process is writing it.
    """
    if is_remote(path):
        system, inner = filesystem(path)
        # fsspec's object stores publish an object when it is closed, and discard() drops it; a transaction gives the
        # same guarantee for file systems that write in place.
        with system.transaction, system.open(inner, "wb") as stream:
            yield stream
        return
    folder, name = os.path.split(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        check_regular(path)
        partial, stream = _new_partial(folder, name)
    except OSError as error:
        raise write_error(path, error) from error
    try:
        with stream:
            if _being_written(folder, name, partial):
                raise MorphbertError(
                    f"another process is writing {path}. Wait for it, end it, or choose another name."
                )
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if fcntl is not None:
                # While it is locked, so that no process mistakes it for a leftover.
                os.replace(partial, path)
        if fcntl is None:  # Windows cannot rename an open file
            os.replace(partial, path)
        with contextlib.suppress(OSError):  # not every system can
            sync(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise write_error(path, error) from error
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


def check_regular(path: str) -> None:
    """Refuses a device, a pipe or a folder as output: only regular files are replaced.

    Raises:
      MorphbertError: the path is one of these.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:  # the path does not exist yet
        return
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        raise MorphbertError(
            f"{path} is {kinds.get(stat.S_IFMT(mode), 'a device')}, not a file: only regular files are written and "
            "replaced. Give the path of a file."
        )


def usual_permissions(path: str) -> None:
    """Gives a file that a library created with private permissions the usual ones: 0666 minus the umask."""
    umask = os.umask(0)
    os.umask(umask)
    mode = 0o666 & ~umask
    if stat.S_IMODE(os.stat(path).st_mode) == 0o600 != mode:
        os.chmod(path, mode)


def _new_partial(folder: str, name: str) -> tuple[str, IO[bytes]]:
    """Returns a new locked file beside the final one, with an unpredictable name and the usual permissions."""
    while True:
        # The final name may already have the largest possible length.
        partial = os.path.join(folder, f".{name[:200]}.{secrets.token_hex(8)}{PARTIAL_ENDING}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        stream = os.fdopen(os.open(partial, flags, 0o666), "wb")
        if lock(stream.fileno()):
            return partial, stream
        stream.close()  # another process mistook it for a leftover and removes it


def _being_written(folder: str, name: str, own: str) -> bool:
    """Returns whether another process writes a file for the same name; removes files of ended processes."""
    pattern = re.compile(rf"\.{re.escape(name[:200])}\.[0-9a-f]{{16}}{re.escape(PARTIAL_ENDING)}")
    for entry in os.listdir(folder):
        path = os.path.join(folder, entry)
        if path == own or not pattern.fullmatch(entry):
            continue
        try:
            handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        except OSError:  # removed meanwhile, or a foreign link
            continue
        try:
            if not lock(handle):
                return True
            with contextlib.suppress(OSError):
                os.unlink(path)
        finally:
            os.close(handle)
    return False


def lock(handle: int) -> bool:
    """Locks an open file, until every process that inherits it has closed it; returns False if another has locked it.

    Returns True on systems without locks, too.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def sync(path: str) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Digesting:
    """A stream that counts and digests the bytes that it writes to another one."""

    def __init__(self, stream: IO[bytes]):
        self._stream = stream
        self._hash = hashlib.sha256()
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """Returns the SHA-256 of all bytes written so far."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.bytes += len(data)
        return self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()


@contextlib.contextmanager
def compressed(stream: IO[bytes] | Digesting, path: str) -> Iterator[IO[bytes]]:
    """Yields the stream for the bytes of `path`: for the ending `.gz`, a gzip member without name and time.

    Concatenated members form a gzip file, so parts of a file may be compressed separately.
    """
    if not path.endswith(".gz"):
        yield cast("IO[bytes]", stream)
        return
    with gzip.GzipFile("", "wb", 6, cast("IO[bytes]", stream), mtime=0) as packed:
        yield cast("IO[bytes]", packed)
