"""WordPiece: cuts a word into pieces of the vocabulary, longest match first (Wu et al. 2016, BERT's variant)."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import NamedTuple

from morphbert.text.characters import MAY_STAND_ALONE

CONTINUATION = "##"


def is_continuation(token: str) -> bool:
    """Returns whether a token continues a word: `"##를"` and `"###"` do, `"를"` and a bare `"##"` do not."""
    return len(token) > len(CONTINUATION) and token.startswith(CONTINUATION)


def piece_text(token: str) -> str:
    """Returns the characters that a piece stands for: `"##를"` → `"를"`, `"를"` → `"를"`, `"##"` → `"##"`."""
    return token[len(CONTINUATION) :] if is_continuation(token) else token


# The numbers of cached eojeols (70 MB) and of cached rests after a first piece (15 MB). The petitions, 4 million
# characters, have 252,000 eojeols, most of which occur once, and 89,000 such rests.
_EOJEOLS = 400_000
_RESTS = 100_000
LONGEST_REMEMBERED = 64


def longest_match(
    word: str, vocabulary: Container[str], continues: bool = False, longest: int | None = None
) -> list[str] | None:
    """Cuts a word greedily from the left; returns None if no piece matches at some position.

    `"심었습니다"` with 심, ##었, ##습니다 in the vocabulary → `["심", "##었", "##습니다"]`.

    Args:
      word: characters without white space.
      vocabulary: the pieces; all except a word's first begin with `##`.
      continues: whether the first piece begins with `##` too, because the word continues another one.
      longest: the length of the longest piece without `##`; this bound makes the time linear.
    """
    pieces = []
    start = 0
    size = len(word)
    limit = size if longest is None else longest
    prefix = CONTINUATION if continues else ""
    while start < size:
        for end in range(min(size, start + limit), start, -1):
            piece = prefix + word[start:end]
            if piece in vocabulary:
                break
        else:
            return None
        pieces.append(piece)
        start = end
        prefix = CONTINUATION
    return pieces


class _Known(NamedTuple):
    """The pieces of one kind (first or continuing), by their written characters."""

    pieces: dict[str, str]
    lengths: dict[
        str, tuple[int, ...]
    ]  # the first two characters → the lengths of pieces with them, longest first

    @classmethod
    def of(cls, pieces: dict[str, str]) -> _Known:
        lengths: dict[str, set[int]] = {}
        for written in pieces:
            if len(written) > 1:
                lengths.setdefault(written[:2], {1}).add(len(written))
        return cls(pieces, {start: tuple(sorted(found, reverse=True)) for start, found in lengths.items()})


_ONE = (1,)


class LongestMatch:
    """`longest_match` for a fixed vocabulary, several times as fast.

    First and continuing pieces have separate tables, so no look-up adds `##`, and only the lengths of pieces with the
    same first two characters are tried.
    """

    def __init__(self, pieces: Iterable[str], written: Mapping[str, str] | None = None) -> None:
        """
        Args:
          pieces: the vocabulary.
          written: the text of pieces whose text differs from the piece (added tokens).
        """
        begins = {piece: piece for piece in pieces}
        continues = {piece_text(piece): piece for piece in begins if is_continuation(piece)}
        self.begins = _Known.of({**begins, **(written or {})})
        self.continues = _Known.of(continues)

    def cut(self, word: str, continues: bool = False) -> list[str] | None:
        """Returns `longest_match(word, pieces, continues)`."""
        known, lengths = self.continues if continues else self.begins
        pieces = []
        start = 0
        size = len(word)
        while start < size:
            # A slice beyond the end is the rest of the word, which may be a shorter piece; that piece ends the word
            # too.
            for length in lengths.get(word[start : start + 2], _ONE):
                piece = known.get(word[start : start + length])
                if piece is not None:
                    break
            else:
                return None
            pieces.append(piece)
            start += length
            known, lengths = self.continues
        return pieces


class EojeolPieces(dict[str, tuple[str, ...]]):
    """Maps an eojeol to its pieces, cut as BERT does; a cache that is filled on demand.

    `"나무(木)를"` → `("나무", "(", "木", ")", "를")`: punctuation and ideographs are separate words. New eojeols mostly
    combine known beginnings and known rests, so the rest after a first piece is cached too.
    """

    def __init__(
        self,
        match: LongestMatch,
        unknown: str,
        otherwise: Callable[[str], tuple[str, ...]],
        stands_alone: Callable[[str], bool],
    ) -> None:
        """
        Args:
          match: the vocabulary.
          unknown: replaces words that the vocabulary cannot write.
          otherwise: cuts an eojeol that is very long.
          stands_alone: whether a character is a separate word (`WordSplitter.stands_alone`).
        """
        super().__init__()
        self._stands_alone = stands_alone
        self._unknown = unknown
        self._otherwise = otherwise

        def has_mark(text: str) -> bool:
            return any(map(stands_alone, MAY_STAND_ALONE.findall(text)))

        # Words contain no separate characters, so pieces with one (`##.`) are never tried.
        self._begins, self._continues = (
            _Known.of({text: piece for text, piece in known.pieces.items() if not has_mark(text)})
            for known in (match.begins, match.continues)
        )
        self._alone = {
            text: piece for text, piece in match.begins.pieces.items() if len(text) == 1 and has_mark(text)
        }
        self._rests: dict[str, tuple[str, ...]] = {}  # empty: the vocabulary cannot write its first word

    def __missing__(self, eojeol: str) -> tuple[str, ...]:
        if len(eojeol) > LONGEST_REMEMBERED:
            return self._otherwise(eojeol)
        known, lengths = self._begins
        for length in lengths.get(eojeol[:2], _ONE):
            first = known.get(eojeol[:length])
            if first is not None:
                rest = eojeol[length:]
                if not rest:
                    pieces: tuple[str, ...] = (first,)
                    break
                following = self._rests.get(rest)
                if following is None:
                    following = self._rest(rest)
                pieces = (first, *following) if following else self._pieces(eojeol, False)
                break
        else:
            pieces = self._pieces(eojeol, False)
        if len(self) >= _EOJEOLS:
            self.clear()
        self[eojeol] = pieces
        return pieces

    def _rest(self, rest: str) -> tuple[str, ...]:
        if len(self._rests) >= _RESTS:
            self._rests.clear()
        self._rests[rest] = pieces = self._pieces(rest, True)
        return pieces

    def _pieces(self, text: str, continues: bool) -> tuple[str, ...]:
        """Returns the pieces of an eojeol, or of its rest after a first piece (`continues`); empty if the vocabulary
        cannot write the word that the rest continues.
        """
        pieces: list[str] = []
        start = 0
        size = len(text)
        word = -1 if continues else 0  # the index of the word's first piece; -1: it is before the rest
        known, lengths = self._continues if continues else self._begins
        while start < size:
            for length in lengths.get(text[start : start + 2], _ONE):
                piece = known.get(text[start : start + length])
                if piece is not None:
                    start += length
                    known, lengths = self._continues
                    break
            else:
                char = text[start]
                if self._stands_alone(char):
                    piece = self._alone.get(char, self._unknown)
                    start += 1
                    word = len(pieces) + 1
                elif word < 0:
                    return ()
                else:
                    del pieces[word:]
                    piece = self._unknown
                    start = self._end_of_word(text, start)
                known, lengths = self._begins
            pieces.append(piece)
        return tuple(pieces)

    def _end_of_word(self, text: str, start: int) -> int:
        marks = (
            found.start() for found in MAY_STAND_ALONE.finditer(text, start) if self._stands_alone(found[0])
        )
        return next(marks, len(text))
