"""The order of endings: 심었습니다 → 심습니다었."""

from __future__ import annotations

from collections.abc import Iterator

from morphbert.grammar.change import Change
from morphbert.grammar.sentence import Sentence

_PREFINAL = ("었", "았", "였", "겠", "으시", "시")


def order(sentence: Sentence) -> Iterator[Change]:
    """A tense or an honorific stands after the ending that follows it."""
    stems = zip(sentence.morphemes, sentence.morphemes[1:], sentence.morphemes[2:], strict=False)
    for stem, first, second in stems:
        if (
            first.tag == "EP"
            and first.text in _PREFINAL
            and second.tag in ("EP", "EF", "EC", "ETM", "ETN")
            and (stem.is_predicate or stem.tag == "EP")
            and not first.begins_word
            and not second.begins_word
            and first.text != second.text
        ):
            yield Change(first.start, second.end, second.text + first.text)
