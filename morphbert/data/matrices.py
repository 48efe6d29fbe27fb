"""Matrices of features, a row a record → the framed bytes of the records.

Features whose encoding has the same length in every record are laid side by side in a matrix, heads included, and
cut from it together: many times faster than record by record.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from morphbert.data.records import entry_bytes, framed

Int64 = npt.NDArray[np.int64]


def framed_rows(columns: Mapping[str, npt.NDArray[Any]]) -> list[bytes]:
    """Features by name, [N, values] each → what to write, the features sorted by name as in `serialize_example`.

    Floats are float32 weights; booleans and uint8 are numbers below 128; int64 are any numbers from -1 to 2²⁸ - 1.
    """
    encoded = [_encoded(name, columns[name]) for name in sorted(columns)]
    parts: list[list[bytes]] = []
    for is_fixed, group in itertools.groupby(encoded, lambda column: isinstance(column, np.ndarray)):
        if is_fixed:
            parts.append(_rows(np.concatenate(list(group), axis=1)))
        else:
            parts.extend(cast("Iterator[list[bytes]]", group))
    return framed([b"".join(row) for row in zip(*parts, strict=True)])


def _encoded(name: str, matrix: npt.NDArray[Any]) -> npt.NDArray[np.uint8] | list[bytes]:
    if matrix.dtype == np.float32:
        return _fixed(name, matrix.astype("<f4"), is_float=True)
    if matrix.dtype != np.int64:
        return _fixed(name, matrix.astype(np.uint8))
    return _varints(name, matrix)


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
    if matrix.min(initial=0) < 0:
        data, sizes = _with_minus_one(matrix, largest)
    elif largest < 0x80:
        return _fixed(name, matrix.astype(np.uint8))
    else:
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


# -1 is ten bytes long: all 64 bits of its two's complement are set.
_MINUS_ONE = b"\xff" * 9 + b"\x01"


def _with_minus_one(matrix: Int64, largest: int) -> tuple[bytes, Int64]:
    """All bytes one after the other, and how many belong to each row [N]; for numbers from -1 to 2¹⁴ - 1."""
    table = np.zeros((largest + 2, len(_MINUS_ONE)), np.uint8)
    table[0] = np.frombuffer(_MINUS_ONE, np.uint8)
    numbers = np.arange(largest + 1)
    table[1:, 0] = numbers & 0x7F | np.where(numbers > 0x7F, 0x80, 0)
    table[1:, 1] = numbers >> 7
    lengths = np.concatenate([[len(_MINUS_ONE)], np.where(numbers > 0x7F, 2, 1)])
    used = np.arange(len(_MINUS_ONE)) < lengths[:, None]
    chosen = matrix.reshape(-1) + 1
    return table[chosen][used[chosen]].tobytes(), lengths[chosen].reshape(matrix.shape).sum(axis=1)
