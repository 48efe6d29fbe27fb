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
import io
import os
from collections.abc import Iterator
from typing import IO, Any, cast

from morphbert.errors import MorphbertError

# Opened by name, so that a compressed corpus is used as it lies on the disk.
_DECOMPRESSORS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}


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
    """Opens a local or remote file for reading bytes, as they are stored."""
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


def is_compressed(path: str) -> bool:
    """Whether its name says that a file has to be unpacked as a whole to be read."""
    return os.path.splitext(path)[1] in _DECOMPRESSORS


def read_lines(path: str) -> Iterator[str]:
    r"""Yields the lines of a UTF-8 text file without their `\n`; `.gz` and `.bz2` are unpacked.

    Only `\n` ends a line: U+2028, form feed and the like are characters of the text.

    Raises:
      MorphbertError: the file cannot be read or unpacked, or is not UTF-8 (the message names the line).
    """
    with open_for_reading(path) as raw:
        yield from lines_of(raw, path)


def lines_of(raw: IO[bytes], path: str) -> Iterator[str]:
    """`read_lines` of a file that is open; `path` says how it is packed."""
    opener = _DECOMPRESSORS.get(os.path.splitext(path)[1])
    stream: IO[bytes] = cast("IO[bytes]", opener(raw)) if opener else raw
    number = 0
    try:
        for line in io.BufferedReader(cast(Any, stream), 1 << 20):
            number += 1
            yield line.decode("utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise not_utf8(f"{path}, line {number}", error) from error
    except (OSError, EOFError) as error:
        raise MorphbertError(
            f"{path} cannot be read after line {number}: {error}. "
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

    Locally the bytes go to `.NAME.partial` in the same folder, are synced and renamed; folders are made.
    """
    if is_remote(path):
        system, inner = _filesystem(path)
        # fsspec's object stores publish an object when it is closed, and discard() drops it: a
        # transaction is the same promise for those file systems that write in place.
        with system.transaction, system.open(inner, "wb") as stream:
            yield stream
        return
    folder, name = os.path.split(os.path.abspath(path))
    partial = os.path.join(folder, f".{name}.partial")
    try:
        os.makedirs(folder, exist_ok=True)
        stream = open(partial, "wb")  # noqa: SIM115 (closed below, before the rename)
    except OSError as error:
        raise write_error(path, error) from error
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise write_error(path, error) from error
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
