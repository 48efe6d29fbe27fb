"""Finds and reads files, local and remote; `atomic_files` writes them.

All code without TensorFlow uses these functions: local paths directly, paths with a scheme (`gs://`, `s3://`,
`memory://`) through fsspec.
"""

from __future__ import annotations

import difflib
import fnmatch
import glob
import hashlib
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from typing import IO, Any, cast

from morphbert.errors import MorphbertError

# Recognised by name, so that a compressed corpus is used directly.
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")

STANDARD_INPUT = "-"

# The ending of unfinished files; users' globs do not match them, because their names begin with a dot.
PARTIAL_ENDING = ".partial"

# The report of prepare_corpus.py beside its output: a glob for the output does not include it.
REPORT_ENDING = ".report.md"
# The description of a record file, beside it.
MANIFEST_ENDING = ".manifest.json"


def is_remote(path: str) -> bool:
    """Returns whether a path is remote: `gs://bucket/a.txt` → True, `/data/a.txt` → False."""
    return "://" in path


def filesystem(path: str) -> tuple[Any, str]:
    """Returns fsspec's file system of a remote path, and the path in it.

    Raises:
      MorphbertError: fsspec, or the package of the scheme, is missing.
    """
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


def expand(patterns: str, repeats: bool = False) -> list[str]:
    """Expands a comma-separated list of paths, folders, globs and lists; each one's files are sorted by name.

    `"b.txt,a*.txt"` → `["b.txt", "a1.txt", "a2.txt"]`. A folder means all files in it and below, except hidden ones and
    pipes; links are followed.
    `@files.txt` is a text file with one path, folder or glob per line; empty lines and lines that begin with `#` are
    ignored. An existing name is used literally, even with commas and brackets, and in either Unicode form (macOS writes
    Korean names decomposed).

    Args:
      patterns: the list.
      repeats: whether a file may be named twice.

    Raises:
      MorphbertError: a path does not exist, a glob or a folder has no file, or a file is named twice without `repeats`,
        which suggests a mistake in the list.
    """
    found: dict[str, str] = {}  # by the real path: the pattern that named it
    paths: list[str] = []
    for pattern in _patterns(patterns):
        for path in _files_of(pattern):
            real = path if is_remote(path) else os.path.realpath(path)
            if real in found and not repeats:
                raise MorphbertError(
                    f"{path} is read twice: {found[real]!r} and {pattern!r} both name it. Leave one of them out."
                )
            found[real] = pattern
            paths.append(path)
    if not paths:
        raise MorphbertError(f"no input file was given: received {patterns!r}.")
    return paths


def patterns_of(patterns: str) -> list[str]:
    """Returns the paths, folders and globs that `expand` expands, one by one."""
    return list(_patterns(patterns))


def names_a_file(pattern: str) -> bool:
    """Returns whether a path, a folder or a glob names a file."""
    try:
        return bool(_files_of(pattern))
    except MorphbertError:
        return False


def _patterns(patterns: str) -> Iterator[str]:
    """Divides at commas, except in existing names with commas, and opens lists (`@files.txt`)."""
    parts = patterns.split(",")
    while parts:
        size = next((n for n in range(len(parts), 1, -1) if _exists(",".join(parts[:n]))), 1)
        part = ",".join(parts[:size])
        del parts[:size]
        part = part if _exists(part) else part.strip()
        if part.startswith("@") and not _exists(part):
            yield from _listed(part[1:])
        elif part:
            yield part


def _listed(path: str) -> Iterator[str]:
    try:
        lines = read_bytes(path).decode("utf-8-sig").split("\n")
    except MorphbertError as error:
        raise MorphbertError(f"@{path} names a list of files: {error}") from error
    except UnicodeDecodeError as error:
        raise MorphbertError(
            f"@{path} names a list of files, one path per line, but is not UTF-8 text."
        ) from error
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise MorphbertError(f"@{path} lists no file: write a path, a folder or a glob on each line.")
    yield from names


def _exists(path: str) -> bool:
    return bool(path) and not is_remote(path) and os.path.exists(path)


def _files_of(pattern: str) -> list[str]:
    """Returns the files of one path, folder or glob, sorted."""
    if is_remote(pattern):
        system, inner = filesystem(pattern)
        if not glob.has_magic(inner) and system.isdir(inner):
            inner = inner.rstrip("/") + "/**"
        names = [name for name in system.glob(inner) if not system.isdir(name)]
        matches = sorted(map(system.unstrip_protocol, names))
    else:
        matches = _local_files(pattern)
    if not matches:
        raise _nothing_at(pattern)
    return matches


def _local_files(pattern: str) -> list[str]:
    # Before globbing: a file may be called `a[1].txt`.
    same = [pattern] if os.path.exists(pattern) else _in_other_form(pattern)
    if same:
        return [file for path in same for file in (_below(path) if os.path.isdir(path) else [path])]
    names = [name for name in _globbed(pattern) if not name.endswith(REPORT_ENDING)]
    return sorted(name for name in names if not os.path.isdir(name))


def _globbed(pattern: str) -> set[str]:
    """Returns the matches of a glob in either Unicode form, below folders whose names may look like globs:
    `[2020]/*.txt`.
    """
    parts = pattern.split(os.path.sep)
    folder = os.path.sep if os.path.isabs(pattern) else ""
    while parts and (same := _in_other_form(os.path.join(folder, parts[0]))):
        folder = same[0]
        del parts[0]
    rest = os.path.sep.join(parts)
    forms = {rest, unicodedata.normalize("NFC", rest), unicodedata.normalize("NFD", rest)}
    start = glob.escape(folder)
    found = {name for form in forms for name in glob.glob(os.path.join(start, form), recursive=True)}
    if re.search(r"[?[]", rest) and "**" not in parts:
        # A syllable of a decomposed name is several characters: names are composed before `?` and `[…]` see them.
        composed = unicodedata.normalize("NFC", rest).split(os.path.sep)
        wide = [part if part.isascii() and not glob.has_magic(part) else "*" for part in composed]
        for name in glob.glob(os.path.join(start, *wide)):
            names = unicodedata.normalize("NFC", os.path.relpath(name, folder or ".")).split(os.path.sep)
            if all(map(fnmatch.fnmatchcase, names, composed)):
                found.add(name)
    return found


def _below(folder: str) -> list[str]:
    """Returns the files in a folder and below, sorted; a folder that links lead to more than once counts once.

    Raises:
      MorphbertError: a folder cannot be read, whose files would be missing without a word.
    """

    def refuse(error: OSError) -> None:
        if (
            os.path.basename(error.filename) == "lost+found"
        ):  # of the file system, at the top of a mounted disk
            return
        raise MorphbertError(
            f"the folder {error.filename} cannot be read: {error.strerror}. Change its permissions, or name the files "
            "to read."
        )

    found: list[str] = []
    seen = {os.path.realpath(folder)}
    for where, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        visible = [name for name in folders if name[0] != "."]
        folders.clear()
        # A folder keeps its own name where a link beside it leads to it: `latest -> 2024`.
        for name in sorted(visible, key=lambda name: (os.path.islink(os.path.join(where, name)), name)):
            real = os.path.realpath(os.path.join(where, name))
            if real not in seen:
                seen.add(real)
                folders.append(name)
        folders.sort()
        for name in sorted(names):
            path = os.path.join(where, name)
            # Opening a pipe waits for a writer. A link that leads nowhere stays, and is named when it is opened.
            is_pipe = os.path.exists(path) and not os.path.isfile(path)
            if not (is_pipe or name.startswith(".") or name.endswith((REPORT_ENDING, MANIFEST_ENDING))):
                found.append(path)
    return found


def in_form_of_disk(path: str) -> str:
    """Returns a local path with each name in the Unicode form that the disk has, as far as the path exists.

    macOS writes Korean names decomposed (NFD), keyboards compose them (NFC), and Linux takes both for different names.
    """
    if path.isascii() or is_remote(path):
        return path
    drive, rest = os.path.splitdrive(path)
    found = drive + os.path.sep if os.path.isabs(path) else drive
    parts = rest.split(os.path.sep)
    for place, part in enumerate(parts):
        there = os.path.join(found, part)
        if part not in ("", ".", "..") and not os.path.lexists(there):
            wanted = unicodedata.normalize("NFC", part)
            try:
                names = os.listdir(found or ".")
            except OSError:
                names = []
            same = [name for name in names if unicodedata.normalize("NFC", name) == wanted]
            if not same:
                return os.path.join(found, *parts[place:])
            there = os.path.join(found, same[0])
        found = there
    return found


def in_other_forms(pattern: str) -> list[str]:
    """Returns the local files and folders that a path or a glob names in any Unicode form, sorted."""
    return _in_other_form(pattern) or sorted(_globbed(pattern))


def _in_other_form(path: str) -> list[str]:
    """Returns the path in the form of the disk, if it exists."""
    found = in_form_of_disk(path)
    return [found] if os.path.lexists(found) else []


def _nothing_at(pattern: str) -> MorphbertError:
    """Returns the error for a path or glob without a file, with the reason if the file system gives one."""
    where = f"(working directory: {os.getcwd()})"
    if is_remote(pattern):
        kind = "no file matches" if glob.has_magic(pattern) else "there is no file"
        return MorphbertError(f"{kind} {pattern!r}: check the name and your permissions.")
    if os.path.isdir(pattern):
        return MorphbertError(f"the folder {pattern!r} has no files except hidden ones.")
    folder, name = os.path.split(pattern)
    while folder and not os.path.exists(folder) and os.path.dirname(folder) != folder:
        folder, name = os.path.split(folder)
    remedy = (
        "Give a path, a folder, a glob in quotes, several with commas, or @LIST, a text file that lists them."
    )
    shown = f"the folder {folder!r}" if folder else "the working directory"
    try:
        there = os.listdir(folder or ".")
    except OSError as error:
        why = error.strerror
        return MorphbertError(f"there is no file {pattern!r}: {shown}: {why} {where}. {remedy}")
    if glob.has_magic(pattern[len(folder) :]):
        only = ", only folders: end it with /*" if glob.glob(pattern) else ""
        return MorphbertError(f"no file matches {pattern!r}{only} {where}. {remedy}")
    near = difflib.get_close_matches(name, there, 3, 0.7)
    if near:
        remedy = f"Did you mean {' or '.join(near)}? " + remedy
    return MorphbertError(f"there is no file {pattern!r}: {shown} has no {name!r} {where}. {remedy}")


def open_for_reading(path: str) -> IO[bytes]:
    """Opens a local or remote file, or standard input (`-`), for reading its stored bytes."""
    if path == STANDARD_INPUT:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    try:
        if is_remote(path):
            system, inner = filesystem(path)
            return cast("IO[bytes]", system.open(inner, "rb"))
        return open(path, "rb")
    except OSError as error:
        raise MorphbertError(f"{path} cannot be read: {error.strerror or error}") from error


def exists(path: str) -> bool:
    if is_remote(path):
        system, inner = filesystem(path)
        return bool(system.exists(inner))
    return os.path.exists(path)


def check_there(**named: str | None) -> None:
    """Refuses a flag's local path at which nothing is; remote ones are not looked up.

    Raises:
      MorphbertError: the message names the flag.
    """
    for flag, path in named.items():
        if path and not is_remote(path) and not os.path.exists(path):
            raise MorphbertError(
                f"--{flag}: {path} cannot be read: there is no such file (working directory: {os.getcwd()})."
            )


def in_folder(folder: str) -> list[str]:
    """Returns the sorted paths of the files in a folder; none if the folder does not exist."""
    try:
        if is_remote(folder):
            system, inner = filesystem(folder)
            found = system.ls(inner, detail=False) if system.isdir(inner) else []
            # With the folder's spelling, so that paths can be compared.
            return sorted(os.path.join(folder, os.path.basename(str(name).rstrip("/"))) for name in found)
        return sorted(entry.path if folder else entry.name for entry in os.scandir(folder or "."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise MorphbertError(f"{folder} cannot be read: {error.strerror or error}") from error


def remove(path: str) -> None:
    """Removes a file; a missing file is not an error."""
    try:
        if is_remote(path):
            system, inner = filesystem(path)
            system.rm_file(inner)
        else:
            os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise MorphbertError(f"{path} cannot be removed: {error.strerror or error}") from error


def identity(path: str) -> dict[str, str | int]:
    """Returns the identity of a file's content: `{"name": base name, "bytes": size, "version": time or key}`.

    Raises:
      MorphbertError: the file no longer exists.
    """
    try:
        if is_remote(path):
            system, inner = filesystem(path)
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
    """Returns the SHA-256 of the rest of a stream, at about one second per gigabyte."""
    digest = hashlib.sha256()
    while data := stream.read(1 << 20):
        digest.update(data)
    return digest.hexdigest()


def is_compressed(path: str) -> bool:
    """Returns whether a file's name is that of a compressed file, which can only be read from its beginning."""
    return os.path.splitext(path)[1] in COMPRESSED


def shard_names(output_file: str, num_shards: int) -> list[str]:
    """Returns the names of shards: `("train.tfrecord", 4)` → `train.tfrecord-00000-of-00004`, …; `.gz` stays at the
    end.
    """
    stem, ending = (output_file[:-3], ".gz") if output_file.endswith(".gz") else (output_file, "")
    return [f"{stem}-{index:05d}-of-{num_shards:05d}{ending}" for index in range(num_shards)]
