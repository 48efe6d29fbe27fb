"""Sentences → ids and word boundaries, remembered eojeol by eojeol."""

from __future__ import annotations

from array import array

from morphbert.text.characters import stands_alone
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import UNK
from morphbert.text.words import Word

# Bits that say what starts at a piece. A space (or the start of the sentence) is before a SPACED piece.
# A unit of whole-word masking starts at a WORD piece (an eojeol, with punctuation and ideographs apart
# from it, as `##` shows it) or at a MORPHEME piece (the same, cut by the analyser).
SPACED, WORD, MORPHEME = 1, 2, 4

_REMEMBERED = 100_000
_LONGEST_REMEMBERED = 64


class SentenceEncoder:
    """Encodes sentences for the token store. Cheaper than `Tokenizer.encode`: no offsets are needed."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._normalizer = tokenizer.splitter.normalizer
        self._eojeols = tokenizer.splitter.marked_eojeols
        self._remembered: dict[str, tuple[array[int], bytes]] = {}
        # Words, apart by whether their first piece carries ##: new eojeols are mostly made of known ones.
        self._words: tuple[dict[str, list[int]], dict[str, list[int]]] = ({}, {})

    def __call__(self, text: str) -> tuple[array[int], bytes]:
        """One sentence → ids (uint32) and, for each, the bits of what starts there.

        `"사과나무를 심었다."` → ids of `사과 ##나무 ##를 심 ##었 ##다 .` and
        SPACED|WORD|MORPHEME, 0, MORPHEME, SPACED|WORD|MORPHEME, MORPHEME, MORPHEME, WORD|MORPHEME.
        """
        ids = array("I")
        marks: list[bytes] = []
        remembered = self._remembered
        for eojeol in self._eojeols(self._normalizer(text)):
            known = remembered.get(eojeol)
            if known is None:
                known = self._encode(eojeol)
            ids += known[0]
            marks.append(known[1])
        return ids, b"".join(marks)

    def _encode(self, eojeol: str) -> tuple[array[int], bytes]:
        ids: list[int] = []
        marks = bytearray()
        alone_before = True
        for word in self._tokenizer.splitter.words(eojeol):
            text = word.text
            pieces = self._words[word.continues].get(text)
            if pieces is None:
                pieces = self._cut(word)
            alone = len(text) == 1 and stands_alone(text)
            marks.append(MORPHEME | WORD if alone or alone_before else MORPHEME)
            if len(pieces) > 1:
                marks += bytes(len(pieces) - 1)
            ids += pieces
            alone_before = alone
        if marks:
            marks[0] |= SPACED
        encoded = array("I", ids), bytes(marks)
        if len(eojeol) <= _LONGEST_REMEMBERED:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[eojeol] = encoded
        return encoded

    def _cut(self, word: Word) -> list[int]:
        pieces = self._tokenizer.cut_word(word) or [UNK]
        ids = self._tokenizer.convert_tokens_to_ids(pieces)
        known = self._words[word.continues]
        if len(word.text) <= _LONGEST_REMEMBERED:
            if len(known) >= _REMEMBERED:
                known.clear()
            known[word.text] = ids
        return ids
