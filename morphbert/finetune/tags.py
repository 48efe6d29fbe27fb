"""Converts tags of characters to labels of pieces and back, by offsets.

Most pieces are wholly within one entity or outside of all, and the label is then the tag of the first character: `B-PS`
  over three characters is `B-PS I-PS I-PS`. The label of a straddling piece, whose tags change within it, gives the
  positions: `B-PS:2|O` is `B-PS I-PS` and then `O` to its end. The tags of all characters can therefore be restored for
  any pieces.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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


def piece_label(tags: Sequence[str]) -> str:
    """Returns a piece's label from the tags of its characters: `["I-PS", "O", "O"]` → `"I-PS:1|O"`."""
    runs: list[tuple[str, int]] = []
    for tag in tags:
        if runs and tag == goes_on(runs[-1][0]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((tag, 1))
    return "|".join([*(f"{tag}:{length}" for tag, length in runs[:-1]), runs[-1][0]])


def label_tags(label: str, length: int) -> list[str]:
    """Returns the tags of a piece's characters from its label: `("B-PS:2|O", 3)` → `["B-PS", "I-PS", "O"]`."""
    tags: list[str] = []
    for run in label.split("|"):
        tag, _, number = run.partition(":")
        many = int(number) if number else length
        tags += [tag, *[goes_on(tag)] * (many - 1)]
    return tags[:length]


def first_of(label: str) -> str:
    """Returns the tag of a piece's first character, which KLUE's baseline assigns to the whole piece."""
    return re.split(r"[:|]", label, maxsplit=1)[0]


def piece_labels(offsets: Sequence[tuple[int, int]], tags: Sequence[str]) -> list[str]:
    """Returns the label of each piece; `offsets` are the pieces' character ranges."""
    return [piece_label(tags[start:end]) if end > start else OUTSIDE for start, end in offsets]


def character_tags(text: str, offsets: Sequence[tuple[int, int]], labels: Sequence[str]) -> list[str]:
    """Returns the tags of all characters from the labels of pieces.

    A character without a piece, mostly a space, belongs to the entity that continues after it: before `I-PS` it is
      `I-PS`, or `B-PS` if no such entity precedes it; otherwise it is `O`. If two pieces share a character (Jamo), the
      first decides.
    """
    tags: list[str | None] = [None] * len(text)
    for (start, end), label in zip(offsets, labels, strict=True):
        for place, tag in enumerate(label_tags(label, end - start), start):
            tags[place] = tag if tags[place] is None else tags[place]
    return _filled(tags)


def _filled(tags: Sequence[str | None]) -> list[str]:
    found: list[str] = []
    place = 0
    while place < len(tags):
        tag = tags[place]
        if tag is not None:
            found.append(tag)
            place += 1
            continue
        end = place
        while end < len(tags) and tags[end] is None:
            end += 1
        after = tags[end] if end < len(tags) else OUTSIDE
        assert after is not None
        if after.startswith("I-"):
            begins = not found or found[-1][1:] != after[1:]
            found += [("B" + after[1:]) if begins else after, *[after] * (end - place - 1)]
        else:
            found += [OUTSIDE] * (end - place)
        place = end
    return found


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


def labels_in(labels: Iterable[str]) -> tuple[str, ...]:
    """Returns the classes of the task: `B-` and `I-` of each type, `O`, then labels of straddling pieces, sorted."""
    seen = set(labels)
    kinds = sorted({run[2:].partition(":")[0] for label in seen for run in label.split("|")} - {""})
    plain = [f"{edge}-{kind}" for kind in kinds for edge in "BI"] + [OUTSIDE]
    return (*plain, *sorted(seen.difference(plain)))


def type_of(tag: str) -> str:
    """`B-PS` → `PS`, `O` → `O`."""
    return tag if tag == OUTSIDE else tag[2:]
