"""Minimal pairs → pieces and the places that are scored, or the reason why a pair cannot be scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from morphbert.grammar.pairs import MinimalPair, Span
from morphbert.text.tokenizer import Encoding, Tokenizer
from morphbert.text.vocabulary import CLS, MASK, SEP

Positions = Literal["changed", "all"]
Reason = Literal["unknown_piece", "too_long", "same_pieces", "noun_cut_differently"]
# The words for each reason.
REASONS: dict[str, str] = {
    "unknown_piece": "[UNK] where the sentences differ",
    "too_long": "longer than the model's positions",
    "same_pieces": "the same pieces in both sentences",
    "noun_cut_differently": "the noun has other pieces in the wrong sentence",
}


class Side(NamedTuple):
    """One sentence of a pair.

    Attributes:
      ids: its pieces with [CLS] and [SEP].
      positions: the places that are scored.
      together: whether they are masked at once, instead of one after the other.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    together: bool

    def copies(self) -> Iterator[tuple[int, ...]]:
        """Yields the places that each masked copy of the sentence has."""
        if self.together:
            yield self.positions
        else:
            yield from ((position,) for position in self.positions)


class Cut(NamedTuple):
    """A pair as it is scored; without its sides where it cannot be, with the reason."""

    phenomenon: str
    good: Side | None = None
    bad: Side | None = None
    reason: Reason | None = None


class Cutter:
    """Cuts pairs for one model.

    Attributes:
      mask_id: the id of [MASK].
    """

    def __init__(
        self, tokenizer: Tokenizer, longest: int, positions: Positions = "changed", context_words: int = 2
    ):
        """
        Args:
          tokenizer: of the model.
          longest: the model's positions, [CLS] and [SEP] included.
          positions: changed: the pieces that differ and those of the words around; all: every piece.
          context_words: how many words on either side of the changed ones are scored.
        """
        self._tokenizer = tokenizer
        self._longest = longest
        self._all = positions == "all"
        self._context = context_words
        self.mask_id = tokenizer.vocab[MASK]

    def __call__(self, pairs: Iterable[MinimalPair], spaces: bool = True) -> list[Cut]:
        """Cuts pairs; without `spaces`, the sentences have none, and the same characters are scored."""
        return [self._cut(pair, spaces) for pair in pairs]

    def _cut(self, pair: MinimalPair, spaces: bool) -> Cut:
        windows = (self._window(pair.good, pair.good_span), self._window(pair.bad, pair.bad_span))
        if not spaces:
            windows = (_unspaced(pair.good, windows[0]), _unspaced(pair.bad, windows[1]))
            pair = pair.without_spaces()
        good, bad = self._tokenizer.encode(pair.good), self._tokenizer.encode(pair.bad)
        reason = self._reason(pair, good, bad)
        if reason is not None:
            return Cut(pair.phenomenon, reason=reason)
        before, after = _common(good.ids, bad.ids)
        sides = []
        for encoding, window in zip((good, bad), windows, strict=True):
            if pair.noun_span is not None:
                places = _overlapping(encoding, pair.noun_span)
            elif self._all:
                places = list(range(len(encoding.ids)))
            else:
                differ = range(before, len(encoding.ids) - after)
                places = sorted({*_overlapping(encoding, window), *differ})
            sides.append(self._side(encoding, places, pair.noun_span is not None))
        return Cut(pair.phenomenon, good=sides[0], bad=sides[1])

    def _side(self, encoding: Encoding, places: Iterable[int], together: bool) -> Side:
        vocab = self._tokenizer.vocab
        return Side((vocab[CLS], *encoding.ids, vocab[SEP]), tuple(place + 1 for place in places), together)

    def _window(self, text: str, span: Span) -> Span:
        """Returns the characters of the words that a range touches, and of so many words on either side."""
        start, end = text.rfind(" ", 0, span[0]) + 1, text.find(" ", max(span[0], span[1] - 1))
        end = len(text) if end < 0 else end
        for _ in range(self._context):
            start = text.rfind(" ", 0, max(0, start - 1)) + 1
            after = text.find(" ", end + 1)
            end = len(text) if after < 0 else after
        return start, end

    def _reason(self, pair: MinimalPair, good: Encoding, bad: Encoding) -> Reason | None:
        unknown = self._tokenizer.unknown
        if good.ids == bad.ids:
            return "same_pieces"
        if max(len(good.ids), len(bad.ids)) + 2 > self._longest:
            return "too_long"
        spans = [(good, pair.good_span), (bad, pair.bad_span)]
        if pair.noun_span is not None:
            spans += [(good, pair.noun_span), (bad, pair.noun_span)]
        if any(
            encoding.tokens[place] == unknown
            for encoding, span in spans
            for place in _overlapping(encoding, span)
        ):
            return "unknown_piece"
        if pair.noun_span is not None:
            nouns = [
                [
                    (encoding.ids[place], encoding.offsets[place])
                    for place in _overlapping(encoding, pair.noun_span)
                ]
                for encoding in (good, bad)
            ]
            if nouns[0] != nouns[1] or nouns[0][-1][1][1] > pair.noun_span[1]:
                return "noun_cut_differently"
        return None


def _overlapping(encoding: Encoding, span: Span) -> list[int]:
    """Returns the pieces that stand for a character of a range."""
    return [place for place, (start, end) in enumerate(encoding.offsets) if start < span[1] and end > span[0]]


def _common(one: list[int], other: list[int]) -> tuple[int, int]:
    """Returns how many pieces two sentences have in common at their beginnings and, of the others, at their ends."""
    shorter = min(len(one), len(other))
    before = next((place for place in range(shorter) if one[place] != other[place]), shorter)
    after = next(
        (place for place in range(shorter - before) if one[-1 - place] != other[-1 - place]), shorter - before
    )
    return before, after


def _unspaced(text: str, span: Span) -> Span:
    start, end = (place - text.count(" ", 0, place) for place in span)
    return start, end
