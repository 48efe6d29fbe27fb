"""One or two texts → what a BERT model reads: special tokens, segments, truncation, windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
      offsets: characters of the original text A or B, as the segment says; (0, 0) for special tokens.
      word_ids, morpheme_ids: counted in A and in B apart; -1 for special tokens.
    """

    ids: list[int]
    tokens: list[str]
    segment_ids: list[int]
    special_tokens_mask: list[int]
    offsets: list[tuple[int, int]]
    word_ids: list[int]
    morpheme_ids: list[int]


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
      max_length: pieces in a sequence, special tokens included; None cuts nothing.
      truncation: `longest_first` gives one sequence and drops pieces from the end of the longer text (of B where
        they are equally long). `windows` gives as many sequences as the text, or B, needs, A whole in each:
        question and paragraph.
      stride: pieces that a window shares with the one before it.

    Returns:
      One sequence, or with `windows` one or more, in the order of the text.

    Raises:
      MorphbertError: `max_length` leaves no room for the text, or `stride` none to move on.
    """
    first = tokenizer.encode(text)
    second = None if pair is None else tokenizer.encode(pair)
    if max_length is None:
        return [_join(tokenizer, first, second)]
    room = max_length - (2 if second is None else 3)
    if truncation == "longest_first":
        _check_room(room, 1, max_length)
        keep_first, keep_second = _longest_first(len(first.ids), len(second.ids) if second else 0, room)
        return [
            _join(tokenizer, _slice(first, 0, keep_first), _slice(second, 0, keep_second) if second else None)
        ]
    if second is None:
        _check_room(room, stride + 1, max_length)
        return [_join(tokenizer, window, None) for window in _windows(first, room, stride)]
    room -= len(first.ids)
    _check_room(room, stride + 1, max_length)
    return [_join(tokenizer, first, window) for window in _windows(second, room, stride)]


def encode_batch(tokenizer: Tokenizer, texts: Iterable[str], max_length: int | None = None) -> list[Sequence]:
    """Each text on its own, cut to `max_length`: `[encode_sequence(t, text, None, max_length)[0] …]`."""
    return [encode_sequence(tokenizer, text, None, max_length)[0] for text in texts]


def _check_room(room: int, least: int, max_length: int) -> None:
    if room < least:
        raise MorphbertError(
            f"max_length={max_length} leaves room for {max(0, room)} pieces of the text beside special tokens, the "
            f"first text and the stride; {least} are needed. Give a larger max_length or a smaller stride."
        )


def _longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many pieces stay of each: one at a time goes from the longer, from the second where equal."""
    if first + second <= room:
        return first, second
    shorter = min(first, second)
    if 2 * shorter <= room:
        return (room - shorter, shorter) if first > second else (shorter, room - shorter)
    return room - room // 2, room // 2


def _windows(encoding: Encoding, room: int, stride: int) -> Iterator[Encoding]:
    start = 0
    while True:
        yield _slice(encoding, start, start + room)
        if start + room >= len(encoding.ids):
            return
        start += room - stride


def _slice(encoding: Encoding, start: int, end: int) -> Encoding:
    return Encoding(
        encoding.ids[start:end],
        encoding.tokens[start:end],
        encoding.offsets[start:end],
        encoding.word_ids[start:end],
        encoding.morpheme_ids[start:end],
    )


def _join(tokenizer: Tokenizer, first: Encoding, second: Encoding | None) -> Sequence:
    cls, sep = tokenizer.convert_tokens_to_ids((CLS, SEP))
    result = Sequence(
        [cls, *first.ids, sep],
        [CLS, *first.tokens, SEP],
        [0] * (len(first.ids) + 2),
        [1, *[0] * len(first.ids), 1],
        [(0, 0), *first.offsets, (0, 0)],
        [-1, *first.word_ids, -1],
        [-1, *first.morpheme_ids, -1],
    )
    if second is not None:
        result.ids.extend([*second.ids, sep])
        result.tokens.extend([*second.tokens, SEP])
        result.segment_ids.extend([1] * (len(second.ids) + 1))
        result.special_tokens_mask.extend([*[0] * len(second.ids), 1])
        result.offsets.extend([*second.offsets, (0, 0)])
        result.word_ids.extend([*second.word_ids, -1])
        result.morpheme_ids.extend([*second.morpheme_ids, -1])
    return result
