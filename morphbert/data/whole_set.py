"""Checks that a set of record files is complete: all files that its manifest names, and no others under the same name.

Before records are used, the manifests and the sizes of the files must show that no file of the set is missing, that
none is left from an earlier set of the same name, that every file has its original size, and that the numbers in the
manifest agree. Files of up to `READ_THROUGH` bytes in total are also read (about a second per gigabyte) to compare
their SHA-256 and count their records.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, NamedTuple

from morphbert import files
from morphbert.data.manifest import Manifest, manifest_path
from morphbert.data.outputs import series_of, shard_count
from morphbert.data.records import FOOTER_BYTES, HEADER_BYTES

READ_THROUGH = 1 << 30
_CHUNK = 1 << 20
_AGAIN = "Make the records again, or copy all files of the set again."


class Problem(NamedTuple):
    """The description of a problem with its remedy, and the file; `path` may be a pattern."""

    path: str
    what: str


class Access(NamedTuple):
    """The functions for access to files: existence, size in bytes, and content."""

    exists: Callable[[str], bool]
    size: Callable[[str], int]
    open: Callable[[str], IO[bytes]]


LOCAL = Access(files.exists, lambda path: int(files.identity(path)["bytes"]), files.open_for_reading)


def problems_of(
    paths: Sequence[str],
    manifests: Mapping[str, Manifest],
    access: Access = LOCAL,
    read_through: int = READ_THROUGH,
    whole_files: bool = True,
) -> Iterator[Problem]:
    """Yields the problems of the sets of some record files, each with its remedy.

    Args:
      paths: the files to read together.
      manifests: the manifests by file. Records of other programs have none; they are only checked for leftovers.
      access: the functions for access to the files.
      read_through: the largest number of bytes to read for digests; 0 compares only sizes.
      whole_files: whether files must be unchanged; False if damaged files are used deliberately.
    """
    yield from _leftovers(paths, manifests)
    known = [path for path in paths if path in manifests]
    yield from _missing(known, manifests, access)
    for path in known:
        yield from _contradictions(path, manifests[path])
    if not whole_files:
        return
    lengths = {path: access.size(path) for path in known}
    changed = set()
    for path in known:
        for problem in _of_length(path, manifests[path], lengths[path]):
            changed.add(path)
            yield problem
    if sum(lengths.values()) <= read_through:
        for path in known:
            if path not in changed:
                yield from _of_content(path, manifests[path], access)


def _leftovers(paths: Sequence[str], manifests: Mapping[str, Manifest]) -> Iterator[Problem]:
    """Yields a problem for files of one name that belong to different sets."""
    groups: dict[tuple[str, str], list[str]] = {}
    for path in paths:
        manifest = manifests.get(path)
        groups.setdefault(series_of(path, manifest.length_bins if manifest else ()), []).append(path)
    for (folder, name), group in groups.items():
        by_set: dict[object, list[str]] = {}
        for path in group:
            manifest = manifests.get(path)
            by_set.setdefault((shard_count(path), manifest and _run_of(manifest)), []).append(path)
        if len(by_set) > 1:
            listed = "; ".join(
                f"{len(some)} file(s), {os.path.basename(some[0])}"
                + (" …" if some[1:] else "")
                + ("" if some[0] in manifests else ", without a manifest")
                for some in by_set.values()
            )
            yield Problem(
                os.path.join(folder, name) + "*",
                f"{os.path.join(folder, name)}*: these files belong to different sets, and some are left from "
                f"earlier records: {listed}. Remove the leftovers with their manifests, or name the files of one set "
                "only.",
            )


def _run_of(manifest: Manifest) -> object:
    """Returns the common content of the manifests of one run, for all lengths."""
    return (
        manifest.format_version,
        *(manifest.tokenizer.get("vocab", {}).get("sha256"), str(manifest.inputs), manifest.corpus),
        *(manifest.mode, manifest.objective, manifest.random_seed, manifest.dupe_factor),
        *(manifest.split, manifest.eval_fraction, tuple(manifest.length_bins)),
        *(manifest.num_documents, manifest.num_sentences),
        manifest.to_json() if not manifest.length_bins else None,
    )


def _missing(paths: Sequence[str], manifests: Mapping[str, Manifest], access: Access) -> Iterator[Problem]:
    """Yields a problem for each missing file that a manifest names."""
    given = set(paths)
    said: set[str] = set()
    for path in paths:
        manifest = manifests[path]
        for name in manifest.outputs:
            if os.path.dirname(name):  # made in several folders, from which the set may have been moved
                continue
            # Older manifests have base names even for files in different folders; shards are always in one folder.
            if manifest.format_version < 3 and shard_count(name) is None:
                continue
            other = os.path.join(os.path.dirname(path), name)
            if other in given or other in said or _is_renamed(path, manifest):
                continue
            if not access.exists(other):
                said.add(other)
                yield Problem(
                    other,
                    f"{other} is missing; {manifest_path(path)} names it as one of {len(manifest.outputs)} files of "
                    f"the set. {_AGAIN}",
                )


def _is_renamed(path: str, manifest: Manifest) -> bool:
    """Returns whether a file is the only one of its set and has been renamed."""
    return len(manifest.outputs) == 1 and name_in(manifest, path) is None


def name_in(manifest: Manifest, path: str) -> str | None:
    """Returns the name of a file in a manifest, or None."""
    base = os.path.basename(path)
    if base in manifest.outputs:
        return base
    same = [name for name in manifest.outputs if os.path.dirname(name) and path.endswith(name)]
    if path in manifest.outputs:
        return path
    if same:
        return same[0]
    # Made in several folders and moved: a unique base name identifies it.
    same = [name for name in manifest.outputs if os.path.basename(name) == base]
    return same[0] if len(same) == 1 else None


def _contradictions(path: str, manifest: Manifest) -> Iterator[Problem]:
    beside = manifest_path(path)
    total = sum(manifest.outputs.values())
    if manifest.outputs and total != manifest.num_records:
        yield Problem(
            path,
            f"{beside} has {manifest.num_records:,} records for the set, but its files have {total:,} together: it "
            f"was changed after it was written. {_AGAIN}",
        )
    if manifest.outputs and len(manifest.outputs) > 1 and name_in(manifest, path) is None:
        what = f"{beside} does not name {os.path.basename(path)}: it is a manifest of other files. {_AGAIN}"
        yield Problem(path, what)


def _facts(path: str, manifest: Manifest) -> dict[str, object]:
    name = name_in(manifest, path)
    if name is None and len(manifest.outputs) == 1:
        name = next(iter(manifest.outputs))
    found = dict(manifest.files.get(name, {})) if name is not None else {}
    return found | ({"records": manifest.outputs[name]} if name in manifest.outputs else {})


def _of_length(path: str, manifest: Manifest, length: int) -> Iterator[Problem]:
    facts = _facts(path, manifest)
    expected = facts.get("bytes")
    if expected is not None and expected != length:
        cut = " It was cut off or is from another run." if length < int(str(expected)) else ""
        what = f"{path} has {length:,} bytes, but its manifest says {expected:,}.{cut} {_AGAIN}"
        yield Problem(path, what)
    elif expected is None and facts.get("records") and length == 0:
        what = f"{path} is empty, but its manifest says {facts['records']:,} records. {_AGAIN}"
        yield Problem(path, what)


def _of_content(path: str, manifest: Manifest, access: Access) -> Iterator[Problem]:
    facts = _facts(path, manifest)
    digest, records = facts.get("sha256"), facts.get("records")
    found, count = _read(path, access, count=not path.endswith(".gz"))
    if digest is not None and digest != found:
        yield Problem(
            path,
            f"{path} has changed since it was written: its SHA-256 is {found[:12]}…, but its manifest says "
            f"{str(digest)[:12]}…. inspect_records.py finds a damaged record. {_AGAIN}",
        )
    elif count is not None and records is not None and count != records:
        yield Problem(path, f"{path} has {count:,} records, but its manifest says {records:,}. {_AGAIN}")


def _read(path: str, access: Access, count: bool) -> tuple[str, int | None]:
    """Returns the SHA-256 of a file and, with `count`, its number of records (None if the last is incomplete)."""
    digest, records, position, next_record = hashlib.sha256(), 0, 0, 0
    header = b""
    with access.open(path) as stream:
        while data := stream.read(_CHUNK):
            digest.update(data)
            end = position + len(data)
            while count and next_record < end:
                start = max(next_record - position + len(header), 0)
                header += data[start : next_record - position + HEADER_BYTES]
                if len(header) < HEADER_BYTES:
                    break
                (length,) = struct.unpack("<Q", header[:8])
                next_record += HEADER_BYTES + length + FOOTER_BYTES
                records, header = records + 1, b""
            position = end
    return digest.hexdigest(), records if count and next_record == position and not header else None


def held_out_problem(training: Mapping[str, Manifest], evaluation: Mapping[str, Manifest]) -> str | None:
    """Returns the reason why held-out records cannot be used with training records, or None.

    Records of another corpus are always held out. Records of the same corpus must come from one split: one command made
    both, one as its training side and the other as its held-out side. Otherwise documents of the evaluation may be
    among those of training.

    Args:
      training, evaluation: the manifests by file. A file in both is a deliberate evaluation on training records, unless
        it is the held-out side of other training records.
    """
    for path, held in evaluation.items():
        for other, trained in training.items():
            if path == other or not _same_corpus(held, trained):
                continue
            if path in training and not (held.split == "eval" and trained.split == "train"):
                continue
            if path in training:
                return f"{path} has the held-out documents of {other}: take it out of --input_file."
            if differs := _split_differs(trained, held):
                return (
                    f"{path} is not held out from {other}: {differs}. Documents of the evaluation may be among those "
                    "of training. Make both with one command (create_pretraining_data.py --eval_fraction "
                    "--eval_output_file), or hold out another corpus."
                )
    return None


def _same_corpus(one: Manifest, other: Manifest) -> bool:
    """Returns whether both were made from a file of the same name, or from the same documents."""
    if one.corpus and one.corpus == other.corpus:
        return True
    names = [{found.get("name") for found in manifest.inputs} for manifest in (one, other)]
    return bool(names[0] & names[1])


def _split_differs(trained: Manifest, held: Manifest) -> str | None:
    if trained.split != "train" or held.split != "eval":
        sides = {
            "all": "from all documents",
            "train": "from the training side",
            "eval": "from the held-out side",
        }
        return (
            f"the training records were made {sides.get(trained.split, trained.split)} of a corpus, the others "
            f"{sides.get(held.split, held.split)}"
        )
    if trained.corpus and held.corpus and trained.corpus != held.corpus:
        return "they were made from different texts"
    if not (trained.corpus and held.corpus) and trained.inputs != held.inputs:
        return "they were made from different input files"
    for name in ("eval_fraction", "random_seed"):
        ours, theirs = getattr(trained, name), getattr(held, name)
        if ours != theirs:
            return f"{name} is {ours} for the training records and {theirs} for the others"
    return None
