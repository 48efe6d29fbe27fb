"""The schema of the training records, their encoding, and their files.

A record is a `tf.train.Example` with the features of google-research/bert's `create_pretraining_data.py`,
in a TFRecord file. Writer and trainer take names, lengths and types from `features`, their only definition. This module
encodes records without protobuf, because encoding is the hot path of data creation: equal values give equal bytes, and
the parts of a message that many records share are encoded once. `morphbert.data.example_message` reads records with
protobuf. Neither needs TensorFlow (3.8 s and 400 MB for each worker process).

Wire format (protobuf.dev/programming-guides/encoding), field number and wire type in brackets:

    Example   { Features features [1, 2] }
    Features  { map<string, Feature> feature [1, 2] }     an entry is { key [1, 2], value [2, 2] }
    Feature   { BytesList [1, 2] | FloatList [2, 2] | Int64List [3, 2] }, each { repeated value [1, packed] }

TFRecord (tensorflow/core/lib/io/record_writer.h), little-endian:

    uint64 length, uint32 masked crc32c of these 8 bytes, the bytes, uint32 masked crc32c of the bytes
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any, Literal, NamedTuple

import google_crc32c
import numpy as np

from morphbert.errors import MorphbertError

DType = Literal["int64", "float"]
Values = Sequence[int] | Sequence[float] | np.ndarray[Any, Any]


class Feature(NamedTuple):
    """The number of values and their type in the file."""

    length: int
    dtype: DType


@dataclass(frozen=True)
class RecordShape:
    """The two lengths of a record: tokens in a sequence (L) and masked positions in it (P)."""

    max_seq_length: int
    max_predictions_per_seq: int


@dataclass(frozen=True)
class RecordLayout:
    """The features of records in addition to their pieces.

    Attributes:
      next_sentence: whether each example has a label for its segments: next sentence or sentence order.
      dynamic: whether records have the number of each piece's masking unit instead of masks, which training then draws.
      examples: the largest number of examples in a sequence; 0 means one, without the features of packing.
    """

    next_sentence: bool = True
    dynamic: bool = False
    examples: int = 0


NEXT_SENTENCE_LABELS = "next_sentence_labels"
WORD_IDS = "word_ids"
SEQUENCE_IDS = "sequence_ids"
CLS_POSITIONS = "cls_positions"


def features(shape: RecordShape, layout: RecordLayout | None = None) -> dict[str, Feature]:
    """Returns the features of one record, zero-padded to L and P. Without a layout, google-research/bert's.

    `RecordShape(128, 20)` → `{"input_ids": Feature(128, "int64"), …}`

    Dynamic records have `word_ids`, the number of the masking unit, -1 for special tokens and padding, and
    nothing about masks; padding begins behind the `[SEP]` after the last unit. Packed ones have `sequence_ids` (0 =
    padding, 1, 2, … = example), `position_ids` (from 0 in each example) and, with labels, one label for each example
    at the `[CLS]` of `cls_positions`; an entry after the first with position 0 is unused.

    Source: google-research/bert, create_pretraining_data.py, for the features of the default layout.
    """
    layout = layout or RecordLayout()
    tokens = Feature(shape.max_seq_length, "int64")
    masks = Feature(shape.max_predictions_per_seq, "int64")
    chosen = {"input_ids": tokens, "segment_ids": tokens}
    if layout.dynamic:
        chosen[WORD_IDS] = tokens
    else:
        chosen |= {
            "input_mask": tokens,
            "masked_lm_positions": masks,
            "masked_lm_ids": masks,
            "masked_lm_weights": Feature(shape.max_predictions_per_seq, "float"),
        }
    if layout.examples:
        chosen |= {SEQUENCE_IDS: tokens, "position_ids": tokens}
    if layout.next_sentence:
        chosen[NEXT_SENTENCE_LABELS] = Feature(layout.examples or 1, "int64")
        if layout.examples:
            chosen[CLS_POSITIONS] = Feature(layout.examples, "int64")
    return chosen


def layout_of(record: Mapping[str, Values]) -> RecordLayout:
    """Returns the layout of a parsed record, from its features."""
    examples = 0
    if SEQUENCE_IDS in record:
        examples = len(record.get(NEXT_SENTENCE_LABELS, ())) or 1
    return RecordLayout(NEXT_SENTENCE_LABELS in record, WORD_IDS in record, examples)


class CorruptRecord(MorphbertError):
    """A TFRecord file is damaged or cut off; `number` (from 0) and `offset` (bytes) give the place."""

    def __init__(self, what: str, number: int, offset: int):
        super().__init__(
            f"record {number} (at byte {offset}) {what}. The file is damaged or incomplete: make it again."
        )
        self.number = number
        self.offset = offset


# ── tf.train.Example ─────────────────────────────────────────────────────────────────────────────────────

_FLOAT_LIST, _INT64_LIST = 2, 3  # field numbers in Feature


def _varint(value: int) -> bytes:
    r"""Returns a varint: 300 → b"\xac\x02". Negative numbers are in 64-bit two's complement, ten bytes long."""
    value &= 0xFFFFFFFFFFFFFFFF
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


# Ids and positions repeat millions of times, so the varints for common vocabulary sizes are cached.
_KNOWN_VARINTS = 1 << 17


@lru_cache(maxsize=1)
def _varint_table() -> tuple[bytes, ...]:
    return tuple(_varint(value) for value in range(_KNOWN_VARINTS))


def _delimited(tag: int, payload: bytes) -> bytes:
    """Returns one length-delimited field (wire type 2)."""
    return b"%c%b%b" % (tag << 3 | 2, _varint(len(payload)), payload)


def _int64_payload(values: Sequence[int]) -> bytes:
    if values and min(values) >= 0 and max(values) < 0x80:
        return bytes(values)  # masks, segments and most positions: one byte each
    table = _varint_table()
    return b"".join([table[v] if 0 <= v < _KNOWN_VARINTS else _varint(v) for v in values])


def _feature_entry(name: str, values: Values) -> bytes:
    if isinstance(values, np.ndarray):
        values = values.tolist()
    is_float = bool(values) and isinstance(values[0], float)
    if is_float:
        payload, field = struct.pack(f"<{len(values)}f", *values), _FLOAT_LIST
    else:
        payload, field = _int64_payload([int(v) for v in values]), _INT64_LIST
    return entry_bytes(name, field == _FLOAT_LIST, payload)


def entry_bytes(name: str, is_float: bool, payload: bytes) -> bytes:
    """Returns one entry of `Features.feature` from encoded values (packed floats or varints)."""
    a_list = _delimited(1, payload) if payload else b""
    feature = _delimited(_FLOAT_LIST if is_float else _INT64_LIST, a_list)
    return _delimited(1, _delimited(1, name.encode()) + _delimited(2, feature))


def serialize_example(values: Mapping[str, Values]) -> bytes:
    """Returns the bytes of a `tf.train.Example`, features sorted by name, so that equal values give equal bytes.

    Lists of float become a FloatList, everything else an Int64List.

    `{"next_sentence_labels": [1]}` → the bytes of `tf.train.Example.SerializeToString(deterministic=True)`.
    """
    return message_bytes(b"".join(_feature_entry(name, values[name]) for name in sorted(values)))


def message_bytes(entries: bytes) -> bytes:
    """Returns the Example with its entries (`entry_bytes`), sorted by name."""
    return message_head(len(entries)) + entries


@lru_cache(maxsize=4096)
def message_head(length: int) -> bytes:
    """Returns the head of an Example whose entries have `length` bytes."""
    return b"%c%b" % (1 << 3 | 2, _varint(length))


# ── TFRecord ─────────────────────────────────────────────────────────────────────────────────────────────

_MASK_DELTA = 0xA282EAD8
HEADER_BYTES, FOOTER_BYTES = 12, 4


def _masked_crc(data: bytes) -> int:
    """Returns TFRecord's checksum: rotated, because a crc of data that contains crcs is weak."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


@lru_cache(maxsize=4096)
def frame_header(length: int) -> bytes:
    """Returns the frame's head for a record of `length` bytes."""
    encoded = struct.pack("<Q", length)
    return encoded + struct.pack("<I", _masked_crc(encoded))


def frame(record: bytes) -> bytes:
    """Returns one record with TFRecord framing, 16 bytes longer than the record."""
    return b"%b%b%b" % (frame_header(len(record)), record, struct.pack("<I", _masked_crc(record)))


def checksums(data: np.ndarray[Any, Any], starts: Iterable[int], ends: Iterable[int]) -> np.ndarray[Any, Any]:
    """Returns the checksums after the records `data[start:end]` of an array of bytes, as bytes [N, 4]."""
    view = data.tobytes()
    crcs = np.array([google_crc32c.value(view[a:b]) for a, b in zip(starts, ends, strict=True)], np.uint32)
    masked: np.ndarray[Any, Any] = (crcs >> 15 | crcs << 17) + np.uint32(_MASK_DELTA)
    return masked.astype("<u4").view(np.uint8).reshape(-1, FOOTER_BYTES)


class RecordWriter:
    """Writes records to an open binary stream, which the caller closes."""

    def __init__(self, stream: IO[bytes]):
        self._stream = stream

    def write(self, record: bytes) -> None:
        self._stream.write(frame(record))


def read_records(stream: IO[bytes]) -> Iterator[bytes]:
    """Yields the records of an open TFRecord stream (a `gzip.GzipFile` for a `.gz`) after it verifies their checksums.

    Raises:
      CorruptRecord: a checksum is wrong, or the stream ends within a record or cannot be decompressed.
    """
    number = offset = 0

    def take(length: int) -> bytes:
        try:
            data = stream.read(length)
        except (OSError, EOFError) as error:
            raise CorruptRecord(f"cannot be read: {error}", number, offset) from error
        return data

    while header := take(12):
        if len(header) < 12:
            raise CorruptRecord(f"ends after {len(header)} of the 12 bytes of its header", number, offset)
        length, crc = struct.unpack("<QI", header)
        if crc != _masked_crc(header[:8]):
            raise CorruptRecord("has a wrong checksum over its length", number, offset)
        body = take(length + 4)
        if len(body) < length + 4:
            raise CorruptRecord(f"ends after {len(body)} of {length + 4} bytes", number, offset)
        record = body[:length]
        if struct.unpack("<I", body[length:])[0] != _masked_crc(record):
            raise CorruptRecord("has a wrong checksum over its bytes", number, offset)
        yield record
        number += 1
        offset += 16 + length
