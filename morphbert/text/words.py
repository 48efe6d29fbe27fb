"""Text → eojeols → words: everything that happens before the vocabulary is asked.

An eojeol is what stands between spaces. A morpheme is what the analyser cuts it into. A word is what
WordPiece is applied to: a morpheme, or the part of one that stands between punctuation and ideographs.
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

# Stands before a morpheme that begins a word within an eojeol; normalised text cannot contain it.
BEGINS_WORD = "\x1e"
# Where that may be: behind what is neither Hangul nor a letter or digit of ASCII, and of that behind what stands alone.
_BEHIND_A_MARK = re.compile(f"([^ {MARK}가-힣ㄱ-ㆎ0-9A-Za-z]){MARK}(?=[^ ])")
_EVERY_MORPHEME = re.compile(f"{MARK}(?=[^ ])")


class Analyzer(Protocol):
    """Cuts normalised text into morphemes (see `morphbert.text.analyzers`)."""

    def mark(self, text: str) -> str: ...

    def describe(self) -> dict[str, Any]: ...


class Word(NamedTuple):
    """What WordPiece cuts: its characters, where it stands in the eojeol, how its first piece is written.

    With normalisation `jamo`, `text` is decomposed, and `start` still counts the eojeol's own characters.
    """

    text: str
    start: int
    continues: bool  # the first piece carries ##
    morpheme: int  # the number of its morpheme in the eojeol


@dataclass(frozen=True)
class WordSplitter:
    """Normalisation, analysis and cutting of one tokenizer; no vocabulary.

    The steps are apart so that a caller can remember what each distinct eojeol became: `marked_eojeols`
    is the only one that looks at a whole line. With `marks_stand_alone` false, punctuation and ideographs stay in
    their words (SentencePiece); with `ideographs_stand_alone` false, ideographs do (transformers'
    `tokenize_chinese_chars`; without an analyser).
    """

    normalizer: Normalizer
    analyzer: Analyzer | None = None
    continuation: Continuation = "eojeol"
    marks_stand_alone: bool = True
    ideographs_stand_alone: bool = True

    def marked_eojeols(self, normalized: str) -> list[str]:
        """Normalised text → its eojeols, with MARK after every morpheme where there is an analyser.

        `"사과나무를 심었다"` → `["사과나무|를|", "심|었|다|"]`, with MARK for `|`.
        """
        if not normalized:
            return []
        if self.analyzer is None:
            return normalized.split(" ")
        return self.analyzer.mark(normalized).split(" ")

    def morphemes(self, normalized: str) -> list[str]:
        """Normalised text → its morphemes with a sign in front of those that begin a word, for a whole line at once.

        The sign is a space before an eojeol's first morpheme, and BEGINS_WORD (shown as `^`) within an eojeol:
        `"나무(소나무)를 심었다"` → `[" 나무", "(", "^소나무", ")", "^를", " 심", "었", "다"]`. Without an analyser
        eojeols are not cut. What a morpheme becomes depends on it and on its sign alone.
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
        """One marked eojeol → its words.

        `"심|었|습니다|.|"` → 심, ##었, ##습니다, . (continuation eojeol) or 심, 었, 습니다, . (morpheme);
        `"한국어|(|韓|國語|)|는|"` → 한국어, (, 韓, 國, 語, ), 는 with either.
        """
        found = self._composed_words(marked)
        if self.decomposes:
            return [word._replace(text=decompose(word.text)) for word in found]
        return found

    def stands_alone(self, char: str) -> bool:
        """Whether a character is a word of its own: punctuation, and ideographs unless the vocabulary joins them."""
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
        # The function itself where it does, which is faster.
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
        """What the output depends on, apart from the vocabulary (JSON-able)."""
        accents = self.normalizer.strip_accents
        return {
            "analyzer": {"name": "none"} if self.analyzer is None else self.analyzer.describe(),
            "continuation": self.continuation,
            "normalization": self.normalizer.form,
            "do_lower_case": self.normalizer.do_lower_case,
            # Only where it differs from what these were before the keys were there.
            **({} if accents is None else {"strip_accents": accents}),
            **({} if self.ideographs_stand_alone else {"tokenize_chinese_chars": False}),
        }


def _with_sign(found: re.Match[str]) -> str:
    return found[0] + BEGINS_WORD if stands_alone(found[1]) else found[0]
