"""Encodes matrices of features, one row per record, as the framed bytes of the records.

All possible bytes of a record form a row of one matrix, with a second matrix that marks the used ones, because heads
and varints differ in length. The used bytes in order are the records. This is many times faster than encoding each
record separately.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from morphbert.data.arrays import Bool, Int64
from morphbert.data.records import (
    FOOTER_BYTES,
    HEADER_BYTES,
    checksums,
    entry_bytes,
    frame_header,
    message_head,
)

Bytes = npt.NDArray[np.uint8]


class _Columns(NamedTuple):
    """Some bytes of each of N records: the elements of `data` [N, width] where `used` [N, width] is true.

    Attributes:
      sizes: [N] the numbers of used bytes.
    """

    data: Bytes
    used: Bool
    sizes: Int64


def framed_rows(columns: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Returns N framed records of features by name, [N, values] each; features are sorted as in `serialize_example`.

    Floats are float32 weights; booleans and uint8 are numbers below 128; int64 are any numbers from -1 to 2²⁸ - 1.
    """
    entries = [part for name in sorted(columns) for part in _entry(name, columns[name])]
    of_entries: Int64 = np.sum([part.sizes for part in entries], axis=0)
    message = _by_length(of_entries, message_head)
    of_records = of_entries + message.sizes
    header = _by_length(of_records, frame_header)
    footer = _all_used(np.zeros((len(of_records), FOOTER_BYTES), np.uint8))
    parts = [header, message, *entries, footer]
    used = np.concatenate([part.used for part in parts], axis=1).reshape(-1)
    framed = np.concatenate([part.data for part in parts], axis=1).reshape(-1)[np.flatnonzero(used)]
    ends = np.cumsum(of_records + HEADER_BYTES + FOOTER_BYTES) - FOOTER_BYTES
    framed[ends[:, None] + np.arange(FOOTER_BYTES)] = checksums(framed, ends - of_records, ends)
    return framed.tobytes()


def _entry(name: str, matrix: npt.NDArray[Any]) -> tuple[_Columns, _Columns]:
    """Returns one feature: its head, which depends only on the size of the values in bytes, and the values."""
    is_float = matrix.dtype == np.float32
    if is_float:
        values = _all_used(np.ascontiguousarray(matrix, "<f4").view(np.uint8))
    elif matrix.dtype != np.int64:
        values = _all_used(matrix.astype(np.uint8))
    else:
        values = _varints(matrix)
    return _by_length(values.sizes, lambda length: _entry_head(name, is_float, length)), values


def _all_used(data: Bytes) -> _Columns:
    return _Columns(data, np.ones(data.shape, np.bool_), np.full(len(data), data.shape[1]))


@lru_cache(maxsize=8192)
def _entry_head(name: str, is_float: bool, length: int) -> bytes:
    return entry_bytes(name, is_float, bytes(length))[:-length]


def _by_length(lengths: Int64, head: Callable[[int], bytes]) -> _Columns:
    """Returns the heads of contents by their lengths [N]."""
    different, which = np.unique(lengths, return_inverse=True)
    heads = [head(length) for length in different.tolist()]
    width = max(map(len, heads), default=0)
    data = np.frombuffer(b"".join(one.ljust(width, b"\0") for one in heads), np.uint8).reshape(-1, width)
    sizes = np.array(list(map(len, heads)), np.int64)
    used = np.arange(width) < sizes[:, None]
    return _Columns(data[which], used[which], sizes[which])


def _varints(matrix: Int64) -> _Columns:
    """Returns the varints of ids or positions [N, L]."""
    largest = int(matrix.max(initial=0))
    if matrix.min(initial=0) < 0:
        data, used = _table_with_minus_one(largest)
        return _laid_out(data[matrix + 1], used[matrix + 1])
    if largest < 0x80:
        return _all_used(matrix.astype(np.uint8))
    encoded, flags = _varint_tables(largest.bit_length())
    return _laid_out(encoded[matrix].view(np.uint8), flags[matrix].view(np.bool_))


def _laid_out(data: Bytes, used: Bool) -> _Columns:
    """Returns the bytes of all values of a row side by side."""
    rows = len(data)
    used = used.reshape(rows, -1)
    return _Columns(data.reshape(rows, -1), used, np.count_nonzero(used, axis=1))


@lru_cache(maxsize=4)
def _varint_tables(bit_length: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Returns the varints of all numbers of some bits: their bytes, and 1 for each used byte.

    Four bytes form a uint32, lowest first, so numbers have at most 28 bits.
    """
    numbers: npt.NDArray[np.uint32] = np.arange(1 << bit_length, dtype=np.uint32)
    encoded: npt.NDArray[np.uint32] = numbers & np.uint32(0x7F)
    used = np.ones_like(encoded)
    for position in range(1, 4):
        goes_on = (numbers >= 1 << 7 * position).astype(np.uint32)
        encoded |= ((numbers >> 7 * position) & 0x7F) << 8 * position
        encoded |= goes_on << (8 * position - 1)
        used |= goes_on << 8 * position
    return encoded, used


# -1 is ten bytes long: all 64 bits of its two's complement are set.
_MINUS_ONE = b"\xff" * 9 + b"\x01"


def _table_with_minus_one(largest: int) -> tuple[Bytes, Bool]:
    """Returns the varints of -1, 0, 1, … up to 2¹⁴ - 1, and the used ones of their ten bytes."""
    table = np.zeros((largest + 2, len(_MINUS_ONE)), np.uint8)
    table[0] = np.frombuffer(_MINUS_ONE, np.uint8)
    numbers = np.arange(largest + 1)
    table[1:, 0] = numbers & 0x7F | np.where(numbers > 0x7F, 0x80, 0)
    table[1:, 1] = numbers >> 7
    lengths = np.concatenate([[len(_MINUS_ONE)], np.where(numbers > 0x7F, 2, 1)])
    return table, np.arange(len(_MINUS_ONE)) < lengths[:, None]
