"""Reads texts with a tag for each character, in KLUE-NER's format, and the entities that such tags mark.

`B-TYPE` begins an entity, `I-TYPE` continues it, and `O` is outside of all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from morphbert.errors import MorphbertError
from morphbert.files import expand
from morphbert.formats.lines import read_lines

OUTSIDE = "O"
_TAG = re.compile(r"O|[BI]-[^\s:|]+")


@dataclass(frozen=True)
class TaggedText:
    """A text with a tag for each of its characters, spaces included; None if they are unknown."""

    id: str
    text: str
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Entity:
    """Characters [start, end) of the text."""

    type: str
    start: int
    end: int
    text: str


@dataclass
class TagStatistics:
    """The statistics of a file: texts, entities by type, and `I-` tags without a preceding entity of their type."""

    texts: int = 0
    mended: int = 0
    entities: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(self.entities.items()))
        words = f"{self.texts} texts, {sum(self.entities.values())} entities ({kinds or 'of no type'})"
        return words + (f"; {self.mended} tags I- without a beginning became B-" if self.mended else "")


def read_tagged(patterns: str, encoding: str = "utf-8") -> tuple[list[TaggedText], TagStatistics]:
    """Reads KLUE-NER's format: a character, a tab, its tag on each line; an empty line after each text.

    Lines that begin with `##` are comments; the one before a text names it.

    Raises:
      MorphbertError: a line has another form; the message names its number.
    """
    texts: list[TaggedText] = []
    statistics = TagStatistics()
    for path in expand(patterns):
        before = len(texts)
        for name, lines in _blocks(path, encoding):
            found = _tagged(name, lines, path, statistics)
            statistics.texts += 1
            statistics.entities.update(entity.type for entity in entities_of(found.text, found.tags or ()))
            texts.append(found)
        if len(texts) == before:
            raise MorphbertError(f"{path} has no text: each line needs a character, a tab and its tag.")
    return texts, statistics


def read_untagged(patterns: str, encoding: str = "utf-8") -> list[TaggedText]:
    """Reads texts without tags, one on each line; the number of a text over all files is its id."""
    lines = (line.rstrip("\r") for path in expand(patterns) for line in read_lines(path, encoding=encoding))
    return [TaggedText(str(number), line) for number, line in enumerate(lines, start=1)]


def _blocks(path: str, encoding: str) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    name, lines, count = "", [], 0
    for number, line in enumerate(read_lines(path, encoding=encoding), start=1):
        line = line.rstrip("\r")
        if line.startswith("##"):
            name = line.lstrip("# ").split("\t")[0]
        elif line.strip("\t"):
            lines.append((number, line))
        elif lines:
            count += 1
            yield name or str(count), lines
            name, lines = "", []
    if lines:
        yield name or str(count + 1), lines


def _tagged(name: str, lines: Sequence[tuple[int, str]], path: str, statistics: TagStatistics) -> TaggedText:
    characters: list[str] = []
    tags: list[str] = []
    for number, line in lines:
        character, tab, tag = line.rpartition("\t")
        if not tab or len(character) != 1 or not _TAG.fullmatch(tag):
            raise MorphbertError(
                f"{path}: line {number} is {line!r}, not a character, a tab and a tag (O, B-TYPE or I-TYPE), as in "
                "KLUE-NER."
            )
        if tag.startswith("I-") and (not tags or tags[-1][1:] != tag[1:]):
            statistics.mended += 1
            tag = "B" + tag[1:]
        characters.append(character)
        tags.append(tag)
    return TaggedText(name, "".join(characters), tuple(tags))


def goes_on(tag: str) -> str:
    """Returns the tag of the next character of the same entity: `B-PS` → `I-PS`, `O` → `O`."""
    return tag if tag == OUTSIDE else "I" + tag[1:]


def entities_of(text: str, tags: Sequence[str]) -> list[Entity]:
    """Returns the entities of character tags, without spaces at their edges and without entities of spaces only."""
    entities, place = [], 0
    while place < len(tags):
        start, tag = place, tags[place]
        place += 1
        if tag == OUTSIDE:
            continue
        while place < len(tags) and tags[place] == goes_on(tag):
            place += 1
        words = text[start:place]
        first = start + len(words) - len(words.lstrip())
        if words.strip():
            entities.append(Entity(tag[2:], first, first + len(words.strip()), words.strip()))
    return entities
