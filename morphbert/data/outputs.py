"""The names of a run's record files, and the number of parts in which they are made."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from morphbert.data import packing
from morphbert.data.config import InstanceConfig
from morphbert.files import shard_names

# The number of records in a part bounds the memory of a worker.
_PART_RECORDS = 8192


def binned_name(output_file: str, length: int) -> str:
    """Adds a length to a name: `("train.tfrecord-00000-of-00004", 64)` → `train.tfrecord-len64-00000-of-00004`."""
    parts = re.fullmatch(r"(.*?)((?:-\d{5}-of-\d{5})?(?:\.gz)?)", output_file, re.S)
    assert parts is not None  # the second part may be empty
    return f"{parts[1]}-len{length}{parts[2]}"


_SHARDED = re.compile(
    r"(?P<stem>.*?)(?P<shard>-(?P<index>\d{5})-of-(?P<count>\d{5}))?(?P<ending>\.gz)?", re.S
)


def series_of(path: str, length_bins: Sequence[int] = ()) -> tuple[str, str]:
    """Returns the folder and the name of the `--output_file` of a record file.

    `("data/train.tfrecord-len64-00000-of-00004", [64, 128])` → `("data", "train.tfrecord")`

    Args:
      length_bins: the lengths in the file's manifest; another length is part of the name.
    """
    folder, name = os.path.split(path)
    parts = _SHARDED.fullmatch(name)
    assert parts is not None  # all groups but the first may be missing
    stem = parts["stem"]
    for length in length_bins:
        stem = stem.removesuffix(f"-len{length}")
    return folder, stem + (parts["ending"] or "")


def shard_count(path: str) -> int | None:
    """Returns the number of shards: `train.tfrecord-00000-of-00004` → 4; None for another name."""
    parts = _SHARDED.fullmatch(os.path.basename(path))
    return int(parts["count"]) if parts is not None and parts["count"] else None


def expected_records(pieces: int, config: InstanceConfig, duplicates: int) -> int:
    """Returns the approximate number of records of some pieces of text, to divide them into parts and shards."""
    # On average, a random next sentence replaces half of a chunk, which is used again.
    used = 2 / 3 if config.objective == "nsp" else 1.0
    return int(pieces * duplicates / (config.max_seq_length * used)) + 1


def record_bytes(config: InstanceConfig) -> int:
    """Returns the approximate size of an uncompressed record: ids take two bytes, flags one, weights four."""
    return 4 * config.max_seq_length + 7 * config.max_predictions_per_seq + 200


def shards_of_size(output_file: str, shard_bytes: int, records: int, config: InstanceConfig) -> list[str]:
    """Returns the names of as many shards as give files of about a size."""
    return shard_names(output_file, max(round(records * record_bytes(config) / shard_bytes), 1))


def number_of_parts(records: int, num_shards: int) -> int:
    """Returns the number of parts of about `_PART_RECORDS` records, equal for each shard."""
    return num_shards * max(-(-records // (_PART_RECORDS * num_shards)), 1)


def part_edges(num_parts: int) -> npt.NDArray[np.uint64]:
    """Returns the edges of parts: part p has the keys from `edges[p - 1]` to below `edges[p]`."""
    return np.array([(p << 64) // num_parts for p in range(1, num_parts)], np.uint64)


def sequence_lengths(config: InstanceConfig) -> tuple[int, ...]:
    """Returns the lengths with separate files."""
    return config.length_bins or (config.max_seq_length,)


def file_of(output: str, config: InstanceConfig, length: int) -> str:
    """Returns the file for the records of a length, among those of `output`."""
    return binned_name(output, length) if config.length_bins else output


def final_names(outputs: Sequence[str], config: InstanceConfig) -> list[str]:
    """Returns the files of all shards: with length bins, those of the first bin come first."""
    return [file_of(output, config, length) for length in sequence_lengths(config) for output in outputs]


def by_length(
    plan: npt.NDArray[np.void], config: InstanceConfig
) -> Iterator[tuple[InstanceConfig, npt.NDArray[np.void]]]:
    """Groups values by the length of their file."""
    if not config.length_bins:
        yield config, plan
        return
    bins = np.searchsorted(np.array(config.length_bins), packing.instance_lengths(plan), "left")
    for number, length in enumerate(config.length_bins):
        yield config.of_bin(length), plan[bins == number]
