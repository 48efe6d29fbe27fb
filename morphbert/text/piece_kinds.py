"""Finds the pieces of a sequence that are nouns, and those that are josa and endings, by analysis of the sentence.

A piece alone has no part of speech: 는 is a josa in 나는 and an ending in 가는. The text is therefore rebuilt from the
  pieces and analysed, and each piece gets the kind of its morphemes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.vocabulary import MASK, SPECIAL_TOKENS, UNK
from morphbert.text.wordpiece import is_continuation, piece_text

Kind = Literal["nouns", "josa_and_endings"]
KINDS: tuple[Kind, ...] = ("nouns", "josa_and_endings")
# Replaces a piece with unknown characters; the analyser treats it as a symbol.
_UNKNOWN = "○"


def piece_kinds(tokens: Sequence[str], analyzer: MecabAnalyzer) -> list[Kind | None]:
    """Returns the kind of each piece of a sequence; None for special tokens and for other parts of speech.

    `[CLS] 사과 ##나무 ##를 심 ##었 ##다 [SEP]` → nouns for 사과 and ##나무, josa_and_endings for ##를, ##었 and ##다.
    """
    kinds: list[Kind | None] = [None] * len(tokens)
    text = ""
    spans: list[tuple[int, int, int]] = []
    for index, token in enumerate([*tokens, SPECIAL_TOKENS[0]]):
        if token in SPECIAL_TOKENS and token not in (UNK, MASK):  # one sentence ends, another begins
            if text:
                _tag(text, spans, analyzer, kinds)
            text, spans = "", []
            continue
        shown = _UNKNOWN if token in (UNK, MASK) else piece_text(token)
        if text and not is_continuation(token):
            text += " "
        spans.append((index, len(text), len(text) + len(shown)))
        text += shown
    return kinds


def _tag(
    text: str, spans: Sequence[tuple[int, int, int]], analyzer: MecabAnalyzer, kinds: list[Kind | None]
) -> None:
    """Writes the kinds of one sentence's pieces; a span is the number of a piece and its character range."""
    by_character: list[str] = []
    for morpheme, tag in analyzer.tagged(text):
        by_character += [tag] * len(morpheme)
    for index, start, end in spans:
        kinds[index] = kind_of_tags(set(by_character[start:end]))


def kind_of_tags(tags: set[str]) -> Kind | None:
    """Returns the kind of a set of tags.      `{"NNG"}` → nouns, `{"JKO"}` and `{"EP+EF"}` → josa_and_endings,
    `{"VV+EP"}` (갔) and mixed sets → None.
    """
    parts = [part for tag in tags for part in tag.split("+")]
    if parts and all(part.startswith("N") for part in parts):
        return "nouns"
    if parts and all(part.startswith(("J", "E")) for part in parts):
        return "josa_and_endings"
    return None
