"""Builds a BERT model's input from one or two texts: special tokens, segments, truncation, windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from morphbert.errors import MorphbertError
from morphbert.text.tokenizer import Encoding, Tokenizer
from morphbert.text.vocabulary import CLS, SEP

Truncation = Literal["longest_first", "windows"]


@dataclass(frozen=True)
class Sequence:
    """`[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`; all lists have the same length, no padding.

    Attributes:
      segment_ids: 0 up to the first [SEP], 1 after it.
      special_tokens_mask: 1 for [CLS] and [SEP], 0 for pieces of the text.
      offsets: character ranges in the original text A or B, by segment; (0, 0) for special tokens.
      word_ids, morpheme_ids: counted separately in A and B; -1 for special tokens.
    """

    ids: list[int] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    segment_ids: list[int] = field(default_factory=list)
    special_tokens_mask: list[int] = field(default_factory=list)
    offsets: list[tuple[int, int]] = field(default_factory=list)
    word_ids: list[int] = field(default_factory=list)
    morpheme_ids: list[int] = field(default_factory=list)


def encode_sequence(
    tokenizer: Tokenizer,
    text: str,
    pair: str | None = None,
    max_length: int | None = None,
    truncation: Truncation = "longest_first",
    stride: int = 0,
) -> list[Sequence]:
    """Encodes a text or a pair of texts with special tokens.

    Args:
      max_length: the number of pieces in a sequence, special tokens included; None for no limit.
      truncation: `longest_first` gives one sequence and drops pieces from the end of the longer text (of B if both are
        equally long). `windows` gives as many sequences as the text, or B, needs; each contains the whole A, as a
        question before its paragraph.
      stride: the number of pieces that a window shares with the one before it.

    Returns:
      One sequence, or with `windows` one or more in text order.

    Raises:
      MorphbertError: `max_length` leaves no room for the text, or `stride` leaves no room for new pieces.
    """
    first = tokenizer.encode(text)
    second = None if pair is None else tokenizer.encode(pair)
    if max_length is None:
        return [join(tokenizer, first, second)]
    room = max_length - (2 if second is None else 3)
    if truncation == "longest_first":
        check_room(room, 1, max_length)
        keep_first, keep_second = longest_first(len(first.ids), len(second.ids) if second else 0, room)
        return [
            join(
                tokenizer, part_of(first, 0, keep_first), part_of(second, 0, keep_second) if second else None
            )
        ]
    if second is None:
        check_room(room, stride + 1, max_length)
        return [join(tokenizer, window, None) for window in windows(first, room, stride)]
    room -= len(first.ids)
    check_room(room, stride + 1, max_length)
    return [join(tokenizer, first, window) for window in windows(second, room, stride)]


def encode_batch(tokenizer: Tokenizer, texts: Iterable[str], max_length: int | None = None) -> list[Sequence]:
    """Returns the sequence of each text, truncated to `max_length`: `[encode_sequence(t, text, None, max_length)[0]
    …]`.
    """
    return [encode_sequence(tokenizer, text, None, max_length)[0] for text in texts]


def check_room(room: int, least: int, max_length: int) -> None:
    """Refuses a length with room for fewer than `least` pieces."""
    if room < least:
        raise MorphbertError(
            f"max_length={max_length} leaves room for {max(0, room)} pieces of the text beside special tokens, the "
            f"first text and the stride, but the text needs {least}. Give a larger max_length or a smaller stride."
        )


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Returns the remaining lengths after pieces are dropped one by one from the longer text, or from the second if
    equal.
    """
    if first + second <= room:
        return first, second
    shorter = min(first, second)
    if 2 * shorter <= room:
        return (room - shorter, shorter) if first > second else (shorter, room - shorter)
    return room - room // 2, room // 2


def windows(encoding: Encoding, room: int, stride: int) -> Iterator[Encoding]:
    """Returns parts of at most `room` pieces that cover the text; each shares `stride` with the one before it."""
    start = 0
    while True:
        yield part_of(encoding, start, start + room)
        if start + room >= len(encoding.ids):
            return
        start += room - stride


def part_of(encoding: Encoding, start: int, end: int) -> Encoding:
    """Returns the pieces from `start` up to `end`."""
    return Encoding(
        encoding.ids[start:end],
        encoding.tokens[start:end],
        encoding.offsets[start:end],
        encoding.word_ids[start:end],
        encoding.morpheme_ids[start:end],
    )


def join(
    tokenizer: Tokenizer, first: Encoding, second: Encoding | None, special_tokens: bool = True
) -> Sequence:
    """Returns the sequence of one or two encodings; without special tokens it is their concatenation."""
    joined = Sequence()
    if special_tokens:
        _append_special(joined, tokenizer, CLS, 0)
    for segment, encoding in enumerate((first,) if second is None else (first, second)):
        size = len(encoding.ids)
        joined.ids.extend(encoding.ids)
        joined.tokens.extend(encoding.tokens)
        joined.segment_ids.extend([segment] * size)
        joined.special_tokens_mask.extend([0] * size)
        joined.offsets.extend(encoding.offsets)
        joined.word_ids.extend(encoding.word_ids)
        joined.morpheme_ids.extend(encoding.morpheme_ids)
        if special_tokens:
            _append_special(joined, tokenizer, SEP, segment)
    return joined


def _append_special(joined: Sequence, tokenizer: Tokenizer, token: str, segment: int) -> None:
    joined.ids.extend(tokenizer.convert_tokens_to_ids((token,)))
    joined.tokens.append(token)
    joined.segment_ids.append(segment)
    joined.special_tokens_mask.append(1)
    joined.offsets.append((0, 0))
    joined.word_ids.append(-1)
    joined.morpheme_ids.append(-1)
