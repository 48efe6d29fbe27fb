"""Minimal pairs, and the file that holds them: JSON Lines, a pair a line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.formats.lines import read_lines
from morphbert.structured import parse_json

Span = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class MinimalPair:
    """A sentence, and the same with one morpheme wrong.

    Attributes:
      phenomenon: the kind of mistake.
      good, bad: the two sentences, with their spaces.
      good_span, bad_span: the range of the characters that differ, in each of them.
      source: where the sentence stands, `FILE:LINE`.
      noun_span: the range, in both, of the noun that is scored, masked as a whole; None where the sentence is scored.
    """

    phenomenon: str
    good: str
    bad: str
    good_span: Span
    bad_span: Span
    source: str = ""
    noun_span: Span | None = None

    def without_spaces(self) -> MinimalPair:
        """Returns the same with no space in either sentence."""
        good, bad = (_place_without_spaces(text) for text in (self.good, self.bad))
        return dataclasses.replace(
            self,
            good=self.good.replace(" ", ""),
            bad=self.bad.replace(" ", ""),
            good_span=(good[self.good_span[0]], good[self.good_span[1]]),
            bad_span=(bad[self.bad_span[0]], bad[self.bad_span[1]]),
            noun_span=self.noun_span and (good[self.noun_span[0]], good[self.noun_span[1]]),
        )

    def to_json(self) -> str:
        """Returns the line of the file."""
        values = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return json.dumps(values, ensure_ascii=False)


def _place_without_spaces(text: str) -> list[int]:
    """Returns the number of characters other than spaces before each place in a text, the end included."""
    places = [0]
    for char in text:
        places.append(places[-1] + (char != " "))
    return places


def read_pairs(path: str) -> list[MinimalPair]:
    """Reads a file of pairs.

    Raises:
      MorphbertError: it cannot be read, a line is no pair, or there is none.
    """
    pairs = [_pair(path, number, line) for number, line in _lines(path)]
    if not pairs:
        raise MorphbertError(
            f"--grammar_file={path} is empty: make pairs with evaluate_grammar.py --input_file=TEXT "
            f"--grammar_file={path}."
        )
    return pairs


def _lines(path: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            yield number, line


def _pair(path: str, number: int, line: str) -> MinimalPair:
    where = f"--grammar_file={path}, line {number}"
    values = parse_json(line, where, "A line is one object, as evaluate_grammar.py --input_file writes it.")
    if not isinstance(values, dict):
        raise MorphbertError(f"{where}: {type(values).__name__} where an object was expected.")
    for name in ("good", "bad", "phenomenon"):
        if not isinstance(values.get(name), str) or not values[name]:
            raise MorphbertError(f"{where}: {name!r} must be text, but is {values.get(name)!r}.")
    pair = MinimalPair(
        phenomenon=values["phenomenon"],
        good=values["good"],
        bad=values["bad"],
        good_span=_span(where, "good_span", values),
        bad_span=_span(where, "bad_span", values),
        source=str(values.get("source", "")),
        noun_span=_span(where, "noun_span", values) if values.get("noun_span") is not None else None,
    )
    if pair.good == pair.bad:
        raise MorphbertError(f"{where}: the two sentences are the same, {pair.good!r}.")
    return pair


def _span(where: str, name: str, values: dict[str, Any]) -> Span:
    span, text = values.get(name), values["bad" if name == "bad_span" else "good"]
    whole = isinstance(span, list) and len(span) == 2 and all(type(place) is int for place in span)
    if not isinstance(span, list) or not whole or not 0 <= span[0] <= span[1] <= len(text):
        raise MorphbertError(
            f"{where}: {name!r} must be two places in the sentence of {len(text)} characters, [start, end], and is "
            f"{span!r}."
        )
    return (span[0], span[1])
