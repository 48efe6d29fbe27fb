"""Cuts text into eojeols and words: all steps of tokenization before the vocabulary look-up.

An eojeol is the text between two spaces. The analyser cuts it into morphemes. WordPiece cuts words: a word is a
morpheme, or a part of one between punctuation marks and ideographs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from morphbert.text.analyzers import MARK
from morphbert.text.characters import MAY_STAND_ALONE, is_punctuation, stands_alone
from morphbert.text.jamo import decompose
from morphbert.text.normalize import Normalizer, is_added_char

Continuation = Literal["eojeol", "morpheme"]

# The sign before a morpheme that begins a word within an eojeol; normalised text cannot contain it.
BEGINS_WORD = "\x1e"
# Candidates for it: positions after a character that is neither Hangul nor an ASCII letter or digit. Only separate
# characters among these count.
_BEHIND_A_MARK = re.compile(f"([^ {MARK}가-힣ㄱ-ㆎ0-9A-Za-z]){MARK}(?=[^ ])")
_EVERY_MORPHEME = re.compile(f"{MARK}(?=[^ ])")


class Analyzer(Protocol):
    """Cuts normalised text into morphemes (see `morphbert.text.analyzers`)."""

    def mark(self, text: str) -> str: ...

    def describe(self) -> dict[str, Any]: ...


class Word(NamedTuple):
    """A unit for WordPiece: its characters, its position in the eojeol, and the form of its first piece.

    With normalisation `jamo`, `text` is decomposed, and `start` still counts the eojeol's composed characters.
    """

    text: str
    start: int
    continues: bool  # the first piece carries ##
    morpheme: int  # the number of its morpheme in the eojeol


@dataclass(frozen=True)
class WordSplitter:
    """Normalisation, analysis and cutting of one tokenizer; no vocabulary.

    The steps are separate so that a caller can cache the result for each distinct eojeol: only `marked_eojeols` reads a
      whole line. With `marks_stand_alone` false, punctuation and ideographs stay in their words (SentencePiece). With
      `ideographs_stand_alone` false, ideographs stay in their words (transformers' `tokenize_chinese_chars`; only
      without an analyser).
    """

    normalizer: Normalizer
    analyzer: Analyzer | None = None
    continuation: Continuation = "eojeol"
    marks_stand_alone: bool = True
    ideographs_stand_alone: bool = True

    def marked_eojeols(self, normalized: str) -> list[str]:
        """Returns the eojeols of normalised text, with MARK after every morpheme if there is an analyser.

        `"사과나무를 심었다"` → `["사과나무|를|", "심|었|다|"]`, with MARK for `|`.
        """
        if not normalized:
            return []
        if self.analyzer is None:
            return normalized.split(" ")
        return self.analyzer.mark(normalized).split(" ")

    def morphemes(self, normalized: str) -> list[str]:
        """Returns the morphemes of a line of normalised text, with a sign before those that begin a word.

        The sign is a space before an eojeol's first morpheme, and BEGINS_WORD (shown as `^`) within an eojeol:
        `"나무(소나무)를 심었다"` → `[" 나무", "(", "^소나무", ")", "^를", " 심", "었", "다"]`. Without an analyser
        eojeols are not cut. The pieces of a morpheme depend only on the morpheme and its sign.
        """
        if not normalized:
            return []
        if self.analyzer is None:
            return [f" {eojeol}" for eojeol in normalized.split(" ")]
        marked = self.analyzer.mark(normalized)
        if self.continuation == "morpheme":
            marked = _EVERY_MORPHEME.sub(MARK + BEGINS_WORD, marked)
        elif self.marks_stand_alone:
            marked = _BEHIND_A_MARK.sub(_with_sign, marked)
        return f" {marked}".removesuffix(MARK).split(MARK)

    def words(self, marked: str) -> list[Word]:
        """Returns the words of one marked eojeol.

        `"심|었|습니다|.|"` → 심, ##었, ##습니다, . (continuation eojeol) or 심, 었, 습니다, . (morpheme);
        `"한국어|(|韓|國語|)|는|"` → 한국어, (, 韓, 國, 語, ), 는 with either.
        """
        found = self._composed_words(marked)
        if self.decomposes:
            return [word._replace(text=decompose(word.text)) for word in found]
        return found

    def stands_alone(self, char: str) -> bool:
        """Returns whether a character is a separate word: punctuation, and ideographs unless they are joined."""
        if not self.marks_stand_alone:
            return False
        if self.normalizer.added and is_added_char(char):
            return True
        return stands_alone(char) if self.ideographs_stand_alone else is_punctuation(char)

    @property
    def decomposes(self) -> bool:
        """Whether syllables become Jamo (normalisation `jamo`)."""
        return self.normalizer.form == "jamo"

    def _composed_words(self, marked: str) -> list[Word]:
        found: list[Word] = []
        position = 0
        bare = True
        # Without that option this is the function itself, which is faster.
        alone = (
            stands_alone if self.ideographs_stand_alone and not self.normalizer.added else self.stands_alone
        )
        for number, morpheme in enumerate(marked.removesuffix(MARK).split(MARK)):
            if self.continuation == "morpheme":
                bare = True
            first = 0
            for match in MAY_STAND_ALONE.finditer(morpheme) if self.marks_stand_alone else ():
                index, char = match.start(), match.group()
                if not alone(char):
                    continue
                if first < index:
                    found.append(Word(morpheme[first:index], position + first, not bare, number))
                found.append(Word(char, position + index, False, number))
                first = index + 1
                bare = True
            if first < len(morpheme):
                found.append(Word(morpheme[first:], position + first, not bare, number))
                bare = False
            position += len(morpheme)
        return found

    def describe(self) -> dict[str, Any]:
        """Returns everything that the output depends on except the vocabulary, as JSON values."""
        accents = self.normalizer.strip_accents
        return {
            "analyzer": {"name": "none"} if self.analyzer is None else self.analyzer.describe(),
            "continuation": self.continuation,
            "normalization": self.normalizer.form,
            "do_lower_case": self.normalizer.do_lower_case,
            # Written only for values other than the defaults, which hold in metadata from before these keys existed.
            **({} if accents is None else {"strip_accents": accents}),
            **({} if self.ideographs_stand_alone else {"tokenize_chinese_chars": False}),
        }


def _with_sign(found: re.Match[str]) -> str:
    return found[0] + BEGINS_WORD if stands_alone(found[1]) else found[0]
