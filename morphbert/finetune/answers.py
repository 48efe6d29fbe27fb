"""Converts answers in paragraphs to spans of pieces in windows, and back to the paragraph's characters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from morphbert.finetune.features import Features
from morphbert.finetune.windows import best_windows
from morphbert.formats.questions import Question
from morphbert.interop.sequence_batches import piece_arrays
from morphbert.text.sequences import Sequence as Encoded
from morphbert.text.sequences import encode_sequence
from morphbert.text.tokenizer import Tokenizer

# [CLS], and the [SEP] after question and paragraph.
_SPECIAL = 3


@dataclass(frozen=True)
class WindowConfig:
    """The sizes of windows.

    Attributes:
      max_seq_length: the number of pieces of question and window, special tokens included.
      doc_stride: the number of pieces between the beginnings of consecutive windows.
      max_query_length: the number of the question's pieces that are kept.
    """

    max_seq_length: int = 384
    doc_stride: int = 128
    max_query_length: int = 64


@dataclass(frozen=True)
class Window:
    """A question with a part of its paragraph.

    Attributes:
      question: its number.
      sequence: pieces with offsets into the paragraph.
      first: the index of the paragraph's first piece; its pieces continue to the last but one of the sequence.
      best: for each piece of the sequence, whether this is the window in which it has the most context.
    """

    question: int
    sequence: Encoded
    first: int
    best: list[bool]


def windows_of(tokenizer: Tokenizer, questions: Sequence[Question], config: WindowConfig) -> Iterator[Window]:
    """Yields the windows of each question's paragraph, in order."""
    for number, question in enumerate(questions):
        text = _cut_question(tokenizer, question.text, config.max_query_length)
        used = len(tokenizer.encode(text).ids) + _SPECIAL
        stride = max(0, config.max_seq_length - used - config.doc_stride)
        found = encode_sequence(
            tokenizer, text, question.context, config.max_seq_length, truncation="windows", stride=stride
        )
        lengths = [len(sequence.ids) - used for sequence in found]
        starts = [0]
        for length in lengths[:-1]:
            starts.append(starts[-1] + length - stride)
        first = used - 1
        for sequence, best in zip(found, best_windows(starts, lengths), strict=True):
            yield Window(number, sequence, first, [*[False] * first, *best, False])


def _cut_question(tokenizer: Tokenizer, text: str, most: int) -> str:
    offsets = tokenizer.encode(text).offsets
    return text if len(offsets) <= most else text[: offsets[most - 1][1]]


def span_of(window: Window, start: int, end: int) -> tuple[int, int] | None:
    """Returns the first and last piece of the paragraph's characters [start, end); None if the window lacks some of
    them.

    A piece that contains the beginning or end of an answer is included whole.
    """
    first = last = None
    for position in range(window.first, len(window.sequence.ids) - 1):
        low, high = window.sequence.offsets[position]
        if low < end and start < high:
            first = position if first is None else first
            last = position
    if first is None or last is None:
        return None
    offsets = window.sequence.offsets
    covered = offsets[first][0] <= start and offsets[last][1] >= end
    # At an inner edge of the window, a part of the answer may be in a piece outside the window.
    return (first, last) if covered else None


def text_of(window: Window, first: int, last: int, context: str) -> tuple[str, int]:
    """Returns the paragraph's characters of a range of pieces, and their beginning."""
    start, end = window.sequence.offsets[first][0], window.sequence.offsets[last][1]
    return context[start:end], start


def features_of(
    windows: Sequence[Window], questions: Sequence[Question], max_seq_length: int, labelled: bool
) -> Features:
    """Returns windows as arrays; with labels, `start_positions` and `end_positions` ([CLS] for answers elsewhere)."""
    pieces = piece_arrays([window.sequence for window in windows], max_seq_length)
    if not labelled:
        return Features(pieces, {})
    ends = np.zeros((len(windows), 2), np.int32)
    for row, window in enumerate(windows):
        for answer in questions[window.question].answers[:1]:
            ends[row] = _label(window, answer.text, answer.start, questions[window.question].context)
    return Features(pieces, {"start_positions": ends[:, 0], "end_positions": ends[:, 1]})


def _label(window: Window, text: str, start: int, context: str) -> tuple[int, int]:
    begin, end = _stripped(context, start, start + len(text))
    return span_of(window, begin, end) or (0, 0)


def _stripped(context: str, start: int, end: int) -> tuple[int, int]:
    """Returns the range without spaces and invisible marks at its edges, which no piece covers."""

    def empty(character: str) -> bool:
        return character.isspace() or character in "\u200b\u200e\u200f\ufeff"

    while start < end and empty(context[start]):
        start += 1
    while start < end and empty(context[end - 1]):
        end -= 1
    return start, end


def ceiling(windows: Sequence[Window], questions: Sequence[Question]) -> dict[str, str]:
    """Returns the best possible predictions with spans of these pieces: texts by question id."""
    best: dict[str, str] = {}
    for window in windows:
        question = questions[window.question]
        if not question.answers:
            best.setdefault(question.id, "")
        for answer in question.answers:
            span = span_of(
                window, *_stripped(question.context, answer.start, answer.start + len(answer.text))
            )
            if span is not None and question.id not in best:
                best[question.id] = text_of(window, *span, question.context)[0]
    return best


@dataclass(frozen=True)
class Guess:
    """A span with its score (the sum of both logits) and probability among the best spans; `start` in characters."""

    text: str
    start: int
    score: float
    probability: float


def guesses_of(
    windows: Sequence[Window],
    scores: Sequence[np.ndarray],
    questions: Sequence[Question],
    n_best_size: int = 20,
    max_answer_length: int = 30,
) -> tuple[list[list[Guess]], list[float]]:
    """Returns the best spans of each question and its no-answer score, from the scores [L, 2] of each window."""
    found: list[list[tuple[float, str, int]]] = [[] for _ in questions]
    nothing = [math.inf] * len(questions)
    for window, logits in zip(windows, scores, strict=True):
        number, last = window.question, len(window.sequence.ids) - 1
        nothing[number] = min(nothing[number], float(logits[0, 0] + logits[0, 1]))
        starts = window.first + np.argsort(-logits[window.first : last, 0], kind="stable")[:n_best_size]
        ends = window.first + np.argsort(-logits[window.first : last, 1], kind="stable")[:n_best_size]
        for start in starts:
            if not window.best[start]:
                continue
            for end in ends:
                if start <= end < start + max_answer_length:
                    text, place = text_of(window, start, end, questions[number].context)
                    found[number].append((float(logits[start, 0] + logits[end, 1]), text, place))
    return [_shares(sorted(spans, key=lambda span: -span[0])[:n_best_size]) for spans in found], nothing


def _shares(spans: Sequence[tuple[float, str, int]]) -> list[Guess]:
    powers = [math.exp(score - spans[0][0]) for score, _, _ in spans]
    return [
        Guess(text, place, score, power / sum(powers))
        for (score, text, place), power in zip(spans, powers, strict=True)
    ]
