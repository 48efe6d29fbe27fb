"""Plans of instances → the framed bytes of their records, a few thousand at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from morphbert.data.config import InstanceConfig
from morphbert.data.encoding import MORPHEME, WORD
from morphbert.data.masking import Predictions, mask
from morphbert.data.records import entry_bytes, framed
from morphbert.data.store import TokenStore

Int64 = npt.NDArray[np.int64]

# Instances worked on at once: large enough for numpy, small enough for the processor's cache.
_BATCH = 1024


@dataclass(frozen=True)
class Pieces:
    """What has to be known of the vocabulary: ids of special tokens, and those that text can become."""

    cls: int
    sep: int
    mask: int
    unk: int
    real: Int64


@dataclass
class Statistics:
    """Sums over records; `positives` are those with label 1, `pieces` count the special tokens."""

    records: int = 0
    pieces: int = 0
    masked: int = 0
    unknown: int = 0
    positives: int = 0

    def add(self, other: Statistics) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class Batch(NamedTuple):
    """N instances before masking, each of the arrays [N, L]; 0 is padding."""

    ids: Int64
    segments: Int64
    maskable: npt.NDArray[np.bool_]
    starts: npt.NDArray[np.bool_]
    lengths: Int64  # [N]


def gather(store: TokenStore, plan: npt.NDArray[np.void], config: InstanceConfig, pieces: Pieces) -> Batch:
    """Takes the pieces of each instance from the store: `[CLS] A [SEP] B [SEP]`, or `[CLS] A [SEP]`."""
    length = config.max_seq_length
    column = np.arange(length)[None, :]
    first_length = plan["first_length"].astype(np.int64)[:, None]
    second_length = plan["second_length"].astype(np.int64)[:, None]
    end_of_first = 1 + first_length
    paired = second_length > 0
    end_of_second = np.where(paired, end_of_first + 1 + second_length, end_of_first)
    in_first = (column >= 1) & (column < end_of_first)
    in_second = (column > end_of_first) & (column < end_of_second)
    maskable = in_first | in_second
    place = np.where(
        in_first,
        plan["first"][:, None] + (column - 1),
        plan["second"][:, None] + (column - end_of_first - 1),
    )
    place = place[maskable]
    ids = np.zeros((len(plan), length), np.int64)
    ids[maskable] = store.tokens[place]
    ids[:, 0] = pieces.cls
    rows = np.arange(len(plan))
    ids[rows, end_of_first[:, 0]] = pieces.sep
    ids[rows, end_of_second[:, 0]] = pieces.sep
    if config.masking_unit == "piece":
        starts = maskable
    else:
        starts = np.zeros_like(maskable)
        bit = WORD if config.masking_unit == "eojeol" else MORPHEME
        starts[maskable] = (store.marks[place] & bit) != 0
        # A segment may begin within a long word: what is there of the word is a unit.
        starts |= (column == 1) | (in_second & (column == end_of_first + 1))
    segments = ((column > end_of_first) & (column <= end_of_second)).astype(np.int64)
    return Batch(ids, segments, maskable, starts, end_of_second[:, 0] + 1)


def records(
    store: TokenStore, plan: npt.NDArray[np.void], config: InstanceConfig, pieces: Pieces
) -> Iterator[tuple[bytes, Statistics]]:
    """Yields framed records, joined, with their sums; in the order of `plan`, batch by batch."""
    for start in range(0, len(plan), _BATCH):
        rows = plan[start : start + _BATCH]
        batch = gather(store, rows, config, pieces)
        masked = mask(batch.ids, batch.maskable, batch.starts, rows["key"], config, pieces.mask, pieces.real)
        statistics = Statistics(
            records=len(rows),
            pieces=int(batch.lengths.sum()),
            masked=int(masked.counts.sum()),
            unknown=int((batch.ids == pieces.unk).sum()),
            positives=int(rows["label"].sum()),
        )
        yield b"".join(_framed(batch, masked, rows["label"], config)), statistics


def _framed(
    batch: Batch, masked: Predictions, labels: npt.NDArray[np.uint8], config: InstanceConfig
) -> list[bytes]:
    """The records of morphbert.data.records.features, features sorted by name as in `serialize_example`.

    Features whose encoding has the same length in every record are laid side by side in a matrix, heads
    included, and cut from it together.
    """
    weights = np.arange(config.max_predictions_per_seq)[None, :] < masked.counts[:, None]
    inputs = np.arange(config.max_seq_length)[None, :] < batch.lengths[:, None]
    encoded = [
        _varints("input_ids", masked.ids),
        _fixed("input_mask", inputs.astype(np.uint8)),
        _varints("masked_lm_ids", masked.labels),
        _varints("masked_lm_positions", masked.positions),
        _fixed("masked_lm_weights", weights.astype("<f4"), is_float=True),
    ]
    if config.objective != "none":
        encoded.append(_fixed("next_sentence_labels", labels[:, None]))
    encoded.append(_fixed("segment_ids", batch.segments.astype(np.uint8)))
    columns: list[list[bytes]] = []
    for is_fixed, group in itertools.groupby(encoded, lambda column: isinstance(column, np.ndarray)):
        if is_fixed:
            columns.append(_rows(np.concatenate(list(group), axis=1)))
        else:
            columns.extend(cast("Iterator[list[bytes]]", group))
    return framed([b"".join(parts) for parts in zip(*columns, strict=True)])


def _fixed(name: str, matrix: npt.NDArray[Any], is_float: bool = False) -> npt.NDArray[np.uint8]:
    """[N, L] floats, or numbers below 128, → [N, bytes] the entries of one feature."""
    values = np.ascontiguousarray(matrix).view(np.uint8).reshape(len(matrix), -1)
    head = np.frombuffer(_entry_head(name, is_float, values.shape[1]), np.uint8)
    return np.concatenate([np.broadcast_to(head, (len(matrix), len(head))), values], axis=1)


@lru_cache(maxsize=8192)
def _entry_head(name: str, is_float: bool, length: int) -> bytes:
    """What stands before the values of an entry; it depends on their length in bytes alone."""
    return entry_bytes(name, is_float, bytes(length))[:-length]


def _rows(matrix: npt.NDArray[np.uint8]) -> list[bytes]:
    width = matrix.shape[1]
    data = np.ascontiguousarray(matrix).tobytes()
    return [data[start : start + width] for start in range(0, len(data), width)]


def _varints(name: str, matrix: Int64) -> npt.NDArray[np.uint8] | list[bytes]:
    """[N, L] ids or positions → the entries of one feature, a matrix where all have the same length."""
    largest = int(matrix.max(initial=0))
    if largest < 0x80:
        return _fixed(name, matrix.astype(np.uint8))
    encoded, used, lengths = _varint_tables(largest.bit_length())
    numbers = matrix.reshape(-1)
    data = encoded[numbers].view(np.uint8)[used[numbers].view(np.bool_)].tobytes()
    sizes = lengths[numbers].reshape(matrix.shape).sum(axis=1, dtype=np.int64)
    ends = np.cumsum(sizes).tolist()
    return [
        _entry_head(name, False, end - start) + data[start:end]
        for start, end in itertools.pairwise([0, *ends])
    ]


@lru_cache(maxsize=4)
def _varint_tables(
    bit_length: int,
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.uint8]]:
    """For all numbers of so many bits: the bytes of the varint, 1 for each byte that is used, and how many.

    Four bytes side by side make a uint32, the lowest first, so numbers have at most 28 bits.
    """
    numbers: npt.NDArray[np.uint32] = np.arange(1 << bit_length, dtype=np.uint32)
    encoded: npt.NDArray[np.uint32] = numbers & np.uint32(0x7F)
    used = np.ones_like(encoded)
    for position in range(1, 4):
        goes_on = (numbers >= 1 << 7 * position).astype(np.uint32)
        encoded |= ((numbers >> 7 * position) & 0x7F) << 8 * position
        encoded |= goes_on << (8 * position - 1)
        used |= goes_on << 8 * position
    lengths: npt.NDArray[np.uint8] = used.view(np.uint8).reshape(-1, 4).sum(axis=1, dtype=np.uint8)
    return encoded, used, lengths
