"""Measures a vocabulary on text: counts over lines, and the share of answers at token boundaries."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from morphbert.formats.questions import read_questions
from morphbert.text.loading import bert_tokenizer
from morphbert.text.tokenizer import Encoding, Tokenizer
from morphbert.text.vocabulary import BEGINS, SPECIAL_TOKENS, is_bracketed
from morphbert.text.wordpiece import piece_text

# A paragraph, and the half-open character ranges of its answers.
Paragraph = tuple[str, list[tuple[int, int]]]


@dataclass(frozen=True)
class Figures:
    """Counts over lines; the rates are properties.

    Attributes:
      eojeols_with_unknown: the number of eojeols with at least one [UNK].
      whole_eojeols: the number of eojeols that are a single piece other than [UNK].
      as_stock_bert: the number of eojeols that google-research/bert's tokenizer, without an analyser, cuts into the
        same pieces with the same `vocab.txt`; None if that tokenizer cannot read the vocabulary (SentencePiece).
      characters, unknown_characters: the numbers of original characters within pieces, so without spaces, and within
        [UNK].
      eojeols_by_pieces: the number of eojeols for each number of pieces.
      lines_by_pieces: the number of lines for each number of pieces, without special tokens.
      pieces_by_length: the number of pieces of the text other than [UNK] for each length in characters, without `##`.
    """

    lines: int = 0
    eojeols: int = 0
    pieces: int = 0
    characters: int = 0
    unknown_pieces: int = 0
    unknown_characters: int = 0
    eojeols_with_unknown: int = 0
    whole_eojeols: int = 0
    as_stock_bert: int | None = None
    eojeols_by_pieces: Counter[int] = field(default_factory=Counter)
    lines_by_pieces: Counter[int] = field(default_factory=Counter)
    pieces_by_length: Counter[int] = field(default_factory=Counter)

    @property
    def pieces_per_eojeol(self) -> float:
        return self.pieces / max(1, self.eojeols)

    @property
    def pieces_per_character(self) -> float:
        return self.pieces / max(1, self.characters)

    @property
    def unknown_share(self) -> float:
        """The share of the eojeols that contain [UNK]."""
        return self.eojeols_with_unknown / max(1, self.eojeols)

    @property
    def coverage(self) -> float:
        """The share of the characters that are in a piece of the vocabulary other than [UNK]."""
        return 1 - self.unknown_characters / max(1, self.characters)


class Measurement:
    """Counts the results of one tokenizer line by line; keeps only the counts."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        stock = tokenizer.splitter.marks_stand_alone
        self._stock = (
            bert_tokenizer(tokenizer.vocabulary, tokenizer.splitter.normalizer.do_lower_case)
            if stock
            else None
        )
        self._counts: Counter[str] = Counter()
        self._eojeols: Counter[int] = Counter()
        self._lines: Counter[int] = Counter()
        self._lengths: Counter[int] = Counter()

    def add(self, line: str) -> None:
        """Tokenizes and counts one line."""
        encoding = self._tokenizer.encode(line)
        unknown = self._tokenizer.unknown
        groups = _by_eojeol(encoding)
        stock = dict(_by_eojeol(self._stock.encode(line))) if self._stock else {}
        gaps = (
            span for token, span in zip(encoding.tokens, encoding.offsets, strict=True) if token == unknown
        )
        self._counts.update(
            lines=1,
            eojeols=len(groups),
            pieces=len(encoding.tokens),
            characters=_covered(encoding.offsets),
            unknown_characters=_covered(gaps),
        )
        self._lines[len(encoding.tokens)] += 1
        for start, tokens in groups:
            missing = tokens.count(unknown)
            self._counts["unknown_pieces"] += missing
            self._counts["eojeols_with_unknown"] += missing > 0
            self._counts["whole_eojeols"] += len(tokens) == 1 and not missing
            self._counts["as_stock_bert"] += stock.get(start) == tokens
            self._eojeols[len(tokens)] += 1
        self._lengths.update(_length(token) for token in encoding.tokens if token != unknown)

    def figures(self) -> Figures:
        """Returns the counts so far."""
        counts: dict[str, int | None] = dict(self._counts)
        if self._stock is None:
            counts.pop("as_stock_bert", None)
        return Figures(
            **counts,  # type: ignore[arg-type]
            eojeols_by_pieces=self._eojeols,
            lines_by_pieces=self._lines,
            pieces_by_length=self._lengths,
        )


def measure(tokenizer: Tokenizer, lines: Iterable[str]) -> Figures:
    """Tokenizes the lines and returns the counts."""
    measurement = Measurement(tokenizer)
    for line in lines:
        measurement.add(line)
    return measurement.figures()


@dataclass(frozen=True)
class AnswerCeiling:
    """The share of answers whose first and last characters are the first and last of a token.

    A model that marks a first and a last token, as BERT does for SQuAD, can give only these answers exactly. The share
    is the highest exact match that any such model could reach (apart from punctuation that a metric ignores).
    """

    answers: int
    reachable: int

    @property
    def share(self) -> float:
        return self.reachable / max(1, self.answers)


def read_paragraphs(path: str) -> list[Paragraph] | None:
    """Returns the paragraphs of a file of questions in SQuAD's format; None without a path. Prints the numbers.

    Raises:
      MorphbertError: the file cannot be read or has another format.
    """
    if not path:
        return None
    questions, statistics = read_questions(path)
    print(f"Answers: {statistics}.", file=sys.stderr)
    paragraphs: dict[str, list[tuple[int, int]]] = {}
    for question in questions:
        spans = paragraphs.setdefault(question.context, [])
        spans += [(answer.start, answer.start + len(answer.text)) for answer in question.answers]
    return list(paragraphs.items())


def answer_ceiling(tokenizer: Tokenizer, paragraphs: Iterable[Paragraph]) -> AnswerCeiling:
    """Counts the answers whose ends are token boundaries, from offsets into the paragraph.

    Of `사과나무를 심었다` the answer `사과나무` is reachable if 를 is a token, but not if 나무를 is one.
    """
    answers = reachable = 0
    for context, spans in paragraphs:
        offsets = tokenizer.encode(context).offsets
        starts = {start for start, _ in offsets}
        ends = {end for _, end in offsets}
        answers += len(spans)
        reachable += sum(start in starts and end in ends for start, end in spans)
    return AnswerCeiling(answers, reachable)


def lengths_of_pieces(tokens: Iterable[str]) -> Counter[int]:
    """Returns the number of pieces of each length in characters, without special tokens and `[unusedN]`."""
    return Counter(
        _length(token) for token in tokens if token not in SPECIAL_TOKENS and not is_bracketed(token)
    )


def _length(token: str) -> int:
    """Returns the length of a piece without its continuation sign (`##`) or beginning sign (SentencePiece's)."""
    return len(piece_text(token).removeprefix(BEGINS)) or 1


def _covered(offsets: Iterable[tuple[int, int]]) -> int:
    """Returns the number of characters within ascending ranges; characters in two ranges count once."""
    total = position = 0
    for start, end in offsets:
        total += max(0, end - max(start, position))
        position = max(position, end)
    return total


def _by_eojeol(encoding: Encoding) -> list[tuple[int, list[str]]]:
    """Returns the pieces of each eojeol, by its start in the text."""
    grouped: list[tuple[int, list[str]]] = []
    last = -1
    for token, word, (start, _) in zip(encoding.tokens, encoding.word_ids, encoding.offsets, strict=True):
        if word != last:
            grouped.append((start, []))
            last = word
        grouped[-1][1].append(token)
    return grouped
