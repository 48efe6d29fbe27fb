"""WordPiece: one word → pieces of the vocabulary, the longest that fits first (Wu et al. 2016, BERT's variant)."""

from __future__ import annotations

from collections.abc import Container

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
