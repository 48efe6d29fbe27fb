"""Finds files of an earlier set under the names of a new one, which a glob would match together."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence

from morphbert import files
from morphbert.data.manifest import SUFFIX, Manifest, load_manifest, manifest_path
from morphbert.data.outputs import series_of
from morphbert.errors import MorphbertError


def check_replaceable(outputs: Sequence[str]) -> None:
    """Refuses leftovers other than those of an earlier set, which the new set replaces.

    Args:
      outputs: the names of the new set: final names, or an `--output_file` whose shards are not known yet.

    Raises:
      MorphbertError: there are such files; the message names them and the remedy.
    """
    unknown = [path for path, manifest in _of_same_name(outputs) if manifest is None]
    if unknown:
        raise MorphbertError(
            f"{', '.join(unknown)}: these files have the name of --output_file and no manifest, and a glob over the "
            f"new records would match them too. Remove them ({_remove_command(unknown)}), or choose another "
            "--output_file."
        )
    for output in outputs:
        if others := _others_of_earlier_set(output, outputs):
            raise MorphbertError(
                f"{output} belongs to a set with {', '.join(others)} (see {manifest_path(output)}), which this "
                "command does not write, so they would stay beside the new records. Remove them "
                f"({_remove_command(others)}), or choose another --output_file."
            )


def remove_leftovers(outputs: Sequence[str], say: Callable[[str], None]) -> None:
    """Removes the files of an earlier set of the same name that the complete new set has not replaced.

    A manifest is removed before its file, because readers of the set detect a file without a manifest. They also detect
    the leftovers of a run that is killed here.

    Args:
      outputs: all final names of the new set. say: receives a line if files are removed.
    """
    leftovers = [path for path, manifest in _of_same_name(outputs) if manifest is not None]
    for path in leftovers:
        files.remove(path)
        files.remove(manifest_path(path))
    if leftovers:
        names = ", ".join(map(os.path.basename, leftovers[:3])) + (" …" if leftovers[3:] else "")
        say(f"removed {len(leftovers)} file(s) of the earlier set: {names}")
    for manifest in _lone_manifests(outputs):
        files.remove(manifest)


def _of_same_name(outputs: Sequence[str]) -> Iterator[tuple[str, Manifest | None]]:
    """Returns files outside the outputs that have the name of an output except for the shard number or the length."""
    given = set(map(_absolute, outputs))
    for folder, name in _series(outputs):
        for path in files.in_folder(folder):
            if path.endswith(SUFFIX) or _absolute(path) in given or not _may_be(path, name):
                continue
            manifest = None
            with contextlib.suppress(MorphbertError):  # an unreadable manifest names no files
                manifest = load_manifest(path)
            if series_of(path, manifest.length_bins if manifest else ())[1] == name:
                yield path, manifest


def _lone_manifests(outputs: Sequence[str]) -> Iterator[str]:
    given = set(map(_absolute, outputs))
    for folder, name in _series(outputs):
        there = set(files.in_folder(folder))
        for path in there:
            record = path.removesuffix(SUFFIX)
            if record == path or record in there or _absolute(record) in given or not _may_be(record, name):
                continue
            with contextlib.suppress(MorphbertError):
                manifest = load_manifest(record)
                if manifest is not None and series_of(record, manifest.length_bins)[1] == name:
                    yield path


def _others_of_earlier_set(output: str, outputs: Sequence[str]) -> list[str]:
    """Returns the existing files with other names that the present manifest of an output names."""
    try:
        manifest = load_manifest(output)
    except MorphbertError:
        return []
    if manifest is None:
        return []
    given = set(map(_absolute, outputs))
    series = {name for _, name in _series(outputs)}
    found = []
    for name in manifest.outputs:
        path = name if os.path.dirname(name) else os.path.join(os.path.dirname(output), name)
        if _absolute(path) in given or series_of(path, manifest.length_bins)[1] in series:
            continue
        with contextlib.suppress(MorphbertError):
            if files.exists(path) and load_manifest(path) == manifest:
                found.append(path)
    return found


def _series(outputs: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the folders and names of the outputs, without the lengths in their manifests."""
    found = set()
    for output in outputs:
        try:
            manifest = load_manifest(output)
        except MorphbertError:
            manifest = None
        found.add(series_of(output, manifest.length_bins if manifest else ()))
    return sorted(found)


def _may_be(path: str, name: str) -> bool:
    stem = re.escape(name.removesuffix(".gz"))
    ending = r"\.gz" if name.endswith(".gz") else ""
    return bool(re.fullmatch(rf"{stem}(-len\d+)?(-\d{{5}}-of-\d{{5}})?{ending}", os.path.basename(path)))


def _absolute(path: str) -> str:
    return path if files.is_remote(path) else os.path.abspath(path)


def _remove_command(paths: Sequence[str]) -> str:
    return "rm " + " ".join(paths)
