"""Paths → bytes and lines, and back without half files.

Everything that runs without TensorFlow reads and writes through here: local paths directly, anything
with a scheme (`gs://`, `s3://`, `memory://`) through fsspec.
"""

from __future__ import annotations

import bz2
import contextlib
import errno
import glob
import gzip
import hashlib
import io
import lzma
import os
import re
import secrets
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

from morphbert.errors import MorphbertError

try:
    import fcntl
except ImportError:  # Windows has no flock; there, nothing guards a file
    fcntl = None  # type: ignore[assignment]

# Taken by name, so that a compressed corpus is used as it lies on the disk.
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")

STANDARD_INPUT = "-"

# Of files that are not finished; no glob that a user writes means them, as their names begin with a dot.
PARTIAL_ENDING = ".partial"

# What prepare_corpus.py says about the file beside it: no glob that finds that file means this one too.
REPORT_ENDING = ".report.md"


def is_remote(path: str) -> bool:
    """`gs://bucket/a.txt` → True, `/data/a.txt` → False."""
    return "://" in path


def _filesystem(path: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        raise MorphbertError(
            f"{path} is a remote path and the package fsspec is missing: pip install fsspec "
            "(and gcsfs for gs://, s3fs for s3://)."
        ) from error
    try:
        return cast("tuple[Any, str]", fsspec.core.url_to_fs(path))
    except (ImportError, ValueError) as error:
        raise MorphbertError(f"{path} cannot be opened: {error}") from error


def expand(patterns: str) -> list[str]:
    """Expands a comma-separated list of paths and globs; each pattern's files are sorted by name.

    `"b.txt,a*.txt"` → `["b.txt", "a1.txt", "a2.txt"]`

    Raises:
      MorphbertError: a path does not exist or a glob matches nothing, in which case all of the
        list would be in doubt.
    """
    found: list[str] = []
    for pattern in (part.strip() for part in patterns.split(",")):
        if not pattern:
            continue
        if is_remote(pattern):
            system, inner = _filesystem(pattern)
            matches = sorted(system.unstrip_protocol(name) for name in system.glob(inner))
        elif os.path.exists(pattern):  # before globbing: a file may be called `a[1].txt`
            matches = [pattern]
        else:
            matches = sorted(glob.glob(pattern, recursive=True))
            matches = [name for name in matches if not name.endswith(REPORT_ENDING)]
        matches = [name for name in matches if is_remote(name) or not os.path.isdir(name)]
        if not matches:
            kind = "no file matches" if glob.has_magic(pattern) else "there is no file"
            raise MorphbertError(
                f"{kind} {pattern!r} (working directory: {os.getcwd()}). Give a path, a glob in quotes "
                "or a comma-separated list of both."
            )
        found.extend(matches)
    if not found:
        raise MorphbertError(f"no input file was given: received {patterns!r}.")
    return found


def open_for_reading(path: str) -> IO[bytes]:
    """Opens a local or remote file, or standard input (`-`), for reading bytes, as they are stored."""
    if path == STANDARD_INPUT:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    try:
        if is_remote(path):
            system, inner = _filesystem(path)
            return cast("IO[bytes]", system.open(inner, "rb"))
        return open(path, "rb")
    except OSError as error:
        raise MorphbertError(f"{path} cannot be read: {error.strerror or error}") from error


def exists(path: str) -> bool:
    if is_remote(path):
        system, inner = _filesystem(path)
        return bool(system.exists(inner))
    return os.path.exists(path)


def in_folder(folder: str) -> list[str]:
    """Paths of the files in a folder, sorted; empty where there is no such folder."""
    try:
        if is_remote(folder):
            system, inner = _filesystem(folder)
            found = system.ls(inner, detail=False) if system.isdir(inner) else []
            # In the spelling of the folder, so that paths can be compared.
            return sorted(os.path.join(folder, os.path.basename(str(name).rstrip("/"))) for name in found)
        return sorted(entry.path if folder else entry.name for entry in os.scandir(folder or "."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise MorphbertError(f"{folder} cannot be read: {error.strerror or error}") from error


def remove(path: str) -> None:
    """Removes a file; one that is not there is no error."""
    try:
        if is_remote(path):
            system, inner = _filesystem(path)
            system.rm_file(inner)
        else:
            os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise MorphbertError(f"{path} cannot be removed: {error.strerror or error}") from error


def identity(path: str) -> dict[str, str | int]:
    """What changes when a file does: `{"name": base name, "bytes": size, "version": time or key}`.

    Raises:
      MorphbertError: there is no such file any more.
    """
    try:
        if is_remote(path):
            system, inner = _filesystem(path)
            size, version = int(system.info(inner)["size"]), str(system.ukey(inner))
        else:
            status = os.stat(path)
            size, version = status.st_size, str(status.st_mtime_ns)
    except OSError as error:
        raise MorphbertError(f"{path} cannot be read: {error.strerror or error}") from error
    return {"name": os.path.basename(path), "bytes": size, "version": version}


def read_bytes(path: str) -> bytes:
    with open_for_reading(path) as stream:
        return stream.read()


def sha256_of(stream: IO[bytes]) -> str:
    """The SHA-256 of what is left of a stream, about a second a gigabyte."""
    digest = hashlib.sha256()
    while data := stream.read(1 << 20):
        digest.update(data)
    return digest.hexdigest()


def is_compressed(path: str) -> bool:
    """Whether its name says that a file has to be unpacked as a whole to be read."""
    return os.path.splitext(path)[1] in COMPRESSED


class _Counted(io.RawIOBase):
    """A stream that tells how many bytes were taken from it."""

    def __init__(self, stream: IO[bytes], count: Callable[[int], object]):
        self._stream = stream
        self._count = count

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._count(len(data))
        return len(data)


def _compression(path: str) -> tuple[Callable[..., Any] | None, type[Exception]]:
    """How a file of this name is opened, and what is raised, beside OSError and EOFError, where it is damaged."""
    ending = os.path.splitext(path)[1]
    if ending == ".gz":
        return gzip.open, zlib.error
    if ending == ".bz2":
        return bz2.open, OSError
    if ending == ".xz":
        return lzma.open, lzma.LZMAError
    if ending != ".zst":
        return None, OSError
    try:
        from backports import zstd
    except ImportError as error:
        raise MorphbertError(f"{path}: .zst needs a package: pip install backports.zstd") from error
    return zstd.open, zstd.ZstdError


def read_lines(path: str, count: Callable[[int], object] | None = None) -> Iterator[str]:
    r"""Yields the lines of a UTF-8 text file without their `\n`; `.gz`, `.bz2`, `.xz` and `.zst` are unpacked.

    Only `\n` ends a line: U+2028, form feed and the like are characters of the text.

    Args:
      count: receives the bytes of the file that were read, as it lies on the disk.

    Raises:
      MorphbertError: the file cannot be read or unpacked, or is not UTF-8 (the message names the line).
    """
    with open_for_reading(path) as raw:
        counted: Any = _Counted(raw, count) if count else raw
        yield from lines_of(counted, path)


def lines_of(raw: IO[bytes], path: str) -> Iterator[str]:
    """`read_lines` of a file that is open; `path` says how it is packed."""
    opener, damaged = _compression(path)
    stream: Any = opener(raw) if opener else raw
    name = "standard input" if path == STANDARD_INPUT else path
    number = 0
    try:
        for line in io.BufferedReader(stream, 1 << 20):
            number += 1
            yield line.decode("utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise not_utf8(f"{name}, line {number}", error) from error
    except (OSError, EOFError, damaged) as error:
        raise MorphbertError(
            f"{name} cannot be read after line {number}: {error}. "
            "Is the file complete, and is its ending the right one?"
        ) from error


def not_utf8(where: str, error: UnicodeDecodeError) -> MorphbertError:
    """The message for a line that is in another encoding."""
    return MorphbertError(
        f"{where}: not UTF-8 ({error.reason} at byte {error.start} of the line). "
        "Convert the file first, for example: iconv -f CP949 -t UTF-8 IN > OUT"
    )


def write_error(path: str, error: OSError) -> MorphbertError:
    """The message for a failed write, with the remedy for the usual causes."""
    if error.errno == errno.ENOSPC:
        remedy = "The disk is full: free some space or write elsewhere, then run the same command again."
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        remedy = "The folder is not writable: choose another one or change its permissions."
    else:
        remedy = "Check that the folder exists and is a folder."
    return MorphbertError(f"{path} cannot be written: {error.strerror or error}. {remedy}")


@contextlib.contextmanager
def atomic_write(path: str) -> Iterator[IO[bytes]]:
    """A binary stream whose bytes appear under `path` all at once when the block ends, or not at all.

    Locally the bytes go to a new file beside it, `.NAME.RANDOM.partial`, which is synced and renamed; folders are made.
    Only a regular file is replaced, and only by one process at a time. What killed processes left is removed.

    Raises:
      MorphbertError: it cannot be written, is no regular file, or another process is writing it.
    """
    if is_remote(path):
        system, inner = _filesystem(path)
        # fsspec's object stores publish an object when it is closed, and discard() drops it: a
        # transaction is the same promise for those file systems that write in place.
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
                    f"another process is writing {path}: wait for it, end it, or choose another name."
                )
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if fcntl is not None:
                # While it is locked, so that nobody takes it for what a killed process left.
                os.replace(partial, path)
        if fcntl is None:  # Windows renames no open file
            os.replace(partial, path)
        _sync_folder(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise write_error(path, error) from error
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


def check_regular(path: str) -> None:
    """Refuses a device, a pipe or a folder as something to write: only regular files are replaced.

    Raises:
      MorphbertError: says what it is.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:  # not there yet
        return
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        raise MorphbertError(
            f"{path} is {kinds.get(stat.S_IFMT(mode), 'a device')}, not a file: only regular files are written and "
            "replaced. Give the path of a file."
        )


def usual_permissions(path: str) -> None:
    """Gives a file that a library made for its user alone the permissions of all new files: 0666 less the umask."""
    umask = os.umask(0)
    os.umask(umask)
    mode = 0o666 & ~umask
    if stat.S_IMODE(os.stat(path).st_mode) == 0o600 != mode:
        os.chmod(path, mode)


def _new_partial(folder: str, name: str) -> tuple[str, IO[bytes]]:
    """A new file beside the final one, locked; its name cannot be guessed, and its permissions are the user's usual."""
    while True:
        # The name may be as long as a file's name can be.
        partial = os.path.join(folder, f".{name[:200]}.{secrets.token_hex(8)}{PARTIAL_ENDING}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        stream = os.fdopen(os.open(partial, flags, 0o666), "wb")
        if _lock(stream.fileno()):
            return partial, stream
        stream.close()  # another process took it for a leftover in that moment, and removes it


def _being_written(folder: str, name: str, own: str) -> bool:
    """Whether another process has a file for the same name; removes those whose processes are gone."""
    pattern = re.compile(rf"\.{re.escape(name[:200])}\.[0-9a-f]{{16}}{re.escape(PARTIAL_ENDING)}")
    for entry in os.listdir(folder):
        path = os.path.join(folder, entry)
        if path == own or not pattern.fullmatch(entry):
            continue
        try:
            handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        except OSError:  # gone meanwhile, or a link that somebody put there
            continue
        try:
            if not _lock(handle):
                return True
            with contextlib.suppress(OSError):
                os.unlink(path)
        finally:
            os.close(handle)
    return False


def _lock(handle: int) -> bool:
    """Locks an open file for this process; True also where there are no locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _sync_folder(folder: str) -> None:
    """Returns when a folder's names are on the disk, where the system can say so."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Digesting:
    """A stream to write to that counts and digests the bytes on their way to another one."""

    def __init__(self, stream: IO[bytes]):
        self._stream = stream
        self._hash = hashlib.sha256()
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """Of all bytes that were written so far."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.bytes += len(data)
        return self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()


@contextlib.contextmanager
def compressed(stream: IO[bytes] | Digesting, path: str) -> Iterator[IO[bytes]]:
    """What to write the bytes of `path` to: where it ends with `.gz`, a gzip member without name and time.

    Members one after the other are a gzip file, so parts of a file may be compressed apart.
    """
    if not path.endswith(".gz"):
        yield cast("IO[bytes]", stream)
        return
    with gzip.GzipFile("", "wb", 6, cast("IO[bytes]", stream), mtime=0) as packed:
        yield cast("IO[bytes]", packed)


def shard_names(output_file: str, num_shards: int) -> list[str]:
    """`("train.tfrecord", 4)` → `train.tfrecord-00000-of-00004`, …; a `.gz` stays at the end of the names."""
    stem, ending = (output_file[:-3], ".gz") if output_file.endswith(".gz") else (output_file, "")
    return [f"{stem}-{index:05d}-of-{num_shards:05d}{ending}" for index in range(num_shards)]
