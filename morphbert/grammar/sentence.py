"""A sentence as Mecab sees it: its morphemes with their parts of speech and their characters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from morphbert.text.analyzers import MecabAnalyzer

_PREDICATES = ("VV", "VA", "VX", "VCP", "VCN", "XSV", "XSA")


class Morpheme(NamedTuple):
    """One morpheme of a sentence.

    Attributes:
      text: its characters, without the space before it.
      tags: its parts of speech; more than one where two have grown together (갔: VV, EP).
      start, end: the range of its characters in the sentence.
      begins_word: whether a space, or the sentence's beginning, stands before it.
    """

    text: str
    tags: tuple[str, ...]
    start: int
    end: int
    begins_word: bool

    @property
    def tag(self) -> str:
        """The tags as Mecab writes them: `VV+EP`."""
        return "+".join(self.tags)

    @property
    def is_predicate(self) -> bool:
        """Whether it begins with the stem of a verb or adjective, the copula or a suffix that makes one."""
        return self.tags[0] in _PREDICATES

    @property
    def is_noun(self) -> bool:
        """Whether it is a noun, a pronoun, a numeral, or an affix of a noun."""
        return len(self.tags) == 1 and (self.tags[0][0] == "N" or self.tags[0] in ("XSN", "XPN", "XR"))


class Sentence(NamedTuple):
    """A normalised text and its morphemes, in their order."""

    text: str
    morphemes: tuple[Morpheme, ...]

    def begins(self, index: int) -> bool:
        """Returns whether a morpheme of that number begins a word; True where there is none, after the last."""
        return index >= len(self.morphemes) or self.morphemes[index].begins_word

    def ends_word(self, index: int) -> bool:
        """Returns whether nothing but punctuation follows a morpheme in its word."""
        following = index + 1
        while not self.begins(following) and self.morphemes[following].tags[0][0] == "S":
            following += 1
        return self.begins(following)

    def word_of(self, start: int, end: int) -> tuple[int, int]:
        """Returns the range of characters of the words that a range touches: `("나는 간다", 1, 2)` → `(0, 2)`."""
        after = self.text.find(" ", max(start, end - 1))
        return self.text.rfind(" ", 0, start) + 1, len(self.text) if after < 0 else after

    def has(self, texts: Iterable[str]) -> bool:
        """Returns whether a morpheme has one of these texts."""
        return not {morpheme.text for morpheme in self.morphemes}.isdisjoint(texts)


def analyze(text: str, analyzer: MecabAnalyzer) -> Sentence:
    """Returns the morphemes of a normalised text of ordinary length: `"심었다"` → 심/VV, 었/EP, 다/EC."""
    found = []
    start = 0
    for piece, tag in analyzer.tagged(text):
        bare = piece.lstrip(" ")
        end = start + len(piece)
        found.append(Morpheme(bare, tuple(tag.split("+")), end - len(bare), end, start == 0 or bare != piece))
        start = end
    return Sentence(text, tuple(found))
