"""Encodes sentences as ids and word boundaries, with a cache of eojeols."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from morphbert.text.analyzers import MARK
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import UNK

# Bits for the units that start at a piece. A space (or the start of the sentence) is before a SPACED piece. A unit of
# whole-word masking starts at a WORD piece (an eojeol without its punctuation and ideographs, as `##` shows it) or at a
# MORPHEME piece (the same, cut by the analyser).
SPACED, WORD, MORPHEME = 1, 2, 4

_REMEMBERED = 100_000
_LONGEST_REMEMBERED = 64

Kept = TypeVar("Kept")


class _Part(NamedTuple):
    """A morpheme in an eojeol: its ids, the bits of each, and whether its last character is a separate word."""

    ids: array[int]
    marks: bytes
    alone: bool


class SentenceEncoder:
    """Encodes sentences for the token store. Cheaper than `Tokenizer.encode`, because it computes no offsets."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._normalizer = tokenizer.splitter.normalizer
        self._eojeols = tokenizer.splitter.marked_eojeols
        self._remembered: dict[str, tuple[array[int], bytes]] = {}
        # Morphemes at the beginning of a word and elsewhere: new eojeols mostly consist of known morphemes.
        self._morphemes: tuple[dict[str, _Part], dict[str, _Part]] = ({}, {})

    @property
    def vocab_size(self) -> int:
        return len(self._tokenizer.vocabulary)

    def __call__(self, text: str) -> tuple[array[int], bytes]:
        """Returns the ids (uint32) of one sentence and, for each, the bits of the units that start there.

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
        morphemes = eojeol.removesuffix(MARK).split(MARK)
        if len(morphemes) == 1:
            ids, marks, _ = self._cut(morphemes[0], begins=True)
        else:
            ids, marks = self._joined(morphemes)
        if marks:
            marks = bytes([marks[0] | SPACED]) + marks[1:]
        if len(eojeol) <= _LONGEST_REMEMBERED:
            _remember(self._remembered, eojeol, (ids, marks))
        return ids, marks

    def _joined(self, morphemes: Sequence[str]) -> tuple[array[int], bytes]:
        ids = array("I")
        marks: list[bytes] = []
        begins = True
        for morpheme in morphemes:
            part = self._morphemes[begins].get(morpheme)
            if part is None:
                part = self._cut(morpheme, begins)
                if len(morpheme) <= _LONGEST_REMEMBERED:
                    _remember(self._morphemes[begins], morpheme, part)
            ids += part.ids
            marks.append(part.marks)
            begins = part.alone
        return ids, b"".join(marks)

    def _cut(self, morpheme: str, begins: bool) -> _Part:
        """Cuts one morpheme into pieces; `begins` is whether a word begins with it, as `##` shows it."""
        tokenizer = self._tokenizer
        ids: list[int] = []
        marks = bytearray()
        alone_before = begins
        for word in tokenizer.splitter.words(morpheme):
            text = word.text
            alone = len(text) == 1 and tokenizer.splitter.stands_alone(text)
            if not (alone or alone_before) and tokenizer.splitter.continuation == "eojeol":
                word = word._replace(continues=True)
            pieces = tokenizer.cut_word(word) or [UNK]
            ids += tokenizer.convert_tokens_to_ids(pieces)
            marks.append(MORPHEME | WORD if alone or alone_before else MORPHEME)
            marks += bytes(len(pieces) - 1)
            alone_before = alone
        return _Part(array("I", ids), bytes(marks), alone_before)


def _remember(known: dict[str, Kept], text: str, made: Kept) -> None:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[text] = made
