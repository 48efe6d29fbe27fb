"""WordPiece: one word → pieces of the vocabulary, the longest that fits first (Wu et al. 2016, BERT's variant)."""

from __future__ import annotations

from collections.abc import Container, Iterable

CONTINUATION = "##"


def longest_match(
    word: str, vocabulary: Container[str], continues: bool = False, longest: int | None = None
) -> list[str] | None:
    """Cuts a word greedily from the left; None where at some point no piece fits.

    `"심었습니다"` with 심, ##었, ##습니다 in the vocabulary → `["심", "##었", "##습니다"]`.

    Args:
      word: characters without white space.
      vocabulary: the pieces; all but a word's first are written with `##`.
      continues: the first piece is written with `##` too, because the word goes on with another one.
      longest: no piece has more characters than this (`##` not counted); makes the time linear.
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


class LongestMatch:
    """`longest_match` with one vocabulary, some times as fast.

    Pieces that begin words and pieces that continue them are looked up apart, without putting `##` before each try,
    and no try is longer than the longest piece with the same first two characters.
    """

    def __init__(self, pieces: Iterable[str]) -> None:
        self._begins: dict[str, str] = {}
        self._continues: dict[str, str] = {}
        for piece in pieces:
            self._begins[piece] = piece
            if piece.startswith(CONTINUATION):
                self._continues[piece[len(CONTINUATION) :]] = piece
        self._longest_begin = _longest_by_two_characters(self._begins)
        self._longest_continuing = _longest_by_two_characters(self._continues)

    def cut(self, word: str, continues: bool = False) -> list[str] | None:
        """As `longest_match(word, pieces, continues)`."""
        known, longest = self._begins, self._longest_begin
        if continues:
            known, longest = self._continues, self._longest_continuing
        pieces = []
        start = 0
        size = len(word)
        while start < size:
            end = start + longest.get(word[start : start + 2], 1)
            if end > size:
                end = size
            while end > start:
                piece = known.get(word[start:end])
                if piece is not None:
                    break
                end -= 1
            else:
                return None
            pieces.append(piece)
            start = end
            known, longest = self._continues, self._longest_continuing
        return pieces


def _longest_by_two_characters(texts: Iterable[str]) -> dict[str, int]:
    longest: dict[str, int] = {}
    for text in texts:
        if len(text) > 1:
            longest[text[:2]] = max(longest.get(text[:2], 0), len(text))
    return longest
