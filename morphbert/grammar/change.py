"""The result of a rule: a morpheme of a sentence, and the one that makes it wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from morphbert.grammar.sentence import Sentence


class Change(NamedTuple):
    """One morpheme, or its place, and the replacement that makes the sentence wrong.

    Attributes:
      start, end: the range of characters that are replaced; empty where something is put in.
      new: the text there in the wrong sentence.
      noun: the range of the characters of the noun before it, where there is one.
      particle: how many of the first characters of `new` have to be a particle to Mecab in the wrong sentence, too:
        where they are something else, the sentence may be another right one (국이 → 국가).
    """

    start: int
    end: int
    new: str
    noun: tuple[int, int] | None = None
    particle: int = 0


Rule = Callable[[Sentence], Iterator[Change]]
