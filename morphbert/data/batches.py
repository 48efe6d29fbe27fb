"""Plans of instances → the framed bytes of their records, a few thousand at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from morphbert.data.config import InstanceConfig
from morphbert.data.encoding import MORPHEME, WORD
from morphbert.data.masking import Predictions, mask
from morphbert.data.records import entry_bytes, frame, message_bytes
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
) -> Iterator[bytes]:
    """The records of morphbert.data.records.features, features sorted by name as in `serialize_example`."""
    count = np.arange(config.max_predictions_per_seq)[None, :] < masked.counts[:, None]
    inputs = (np.arange(config.max_seq_length)[None, :] < batch.lengths[:, None]).astype(np.uint8)
    columns = [
        _entries("input_ids", _varint_rows(masked.ids)),
        _entries("input_mask", _byte_rows(inputs)),
        _entries("masked_lm_ids", _varint_rows(masked.labels)),
        _entries("masked_lm_positions", _varint_rows(masked.positions)),
        _entries("masked_lm_weights", _byte_rows(count.astype("<f4")), is_float=True),
    ]
    if config.objective != "none":
        columns.append(_entries("next_sentence_labels", _byte_rows(labels[:, None])))
    columns.append(_entries("segment_ids", _byte_rows(batch.segments.astype(np.uint8))))
    for parts in zip(*columns, strict=True):
        yield frame(message_bytes(b"".join(parts)))


def _entries(name: str, payloads: list[bytes], is_float: bool = False) -> Iterator[bytes]:
    """Payloads of one feature → its entries. The head before a payload depends on its length alone."""
    heads: dict[int, bytes] = {}
    for payload in payloads:
        head = heads.get(len(payload))
        if head is None:
            whole = entry_bytes(name, is_float, payload)
            head = heads[len(payload)] = whole[: len(whole) - len(payload)]
        yield head + payload


def _byte_rows(matrix: npt.NDArray[Any]) -> list[bytes]:
    """[N, L] → the bytes of each row (as varints too, for numbers below 128)."""
    width = matrix.shape[1] * matrix.itemsize
    data = np.ascontiguousarray(matrix).tobytes()
    return [data[start : start + width] for start in range(0, len(data), width)]


def _varint_rows(matrix: Int64) -> list[bytes]:
    r"""[N, L] numbers below 2**28 → the varints of each row: `[[1, 300]]` → `[b"\\x01\\xac\\x02"]`."""
    largest = int(matrix.max(initial=0))
    if largest < 0x80:
        return _byte_rows(matrix.astype(np.uint8))
    width = 2 if largest < 1 << 14 else 3 if largest < 1 << 21 else 4
    shifted = matrix[:, :, None] >> (7 * np.arange(width))
    used = shifted > 0
    used[:, :, 0] = True
    encoded = (shifted & 0x7F).astype(np.uint8)
    encoded[:, :, :-1] |= used[:, :, 1:].astype(np.uint8) << 7
    data = encoded[used].tobytes()
    ends = np.cumsum(used.sum(axis=(1, 2))).tolist()
    return [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
