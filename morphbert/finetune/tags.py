"""Converts tags of characters to labels of pieces and back, by offsets.

Most pieces are wholly within one entity or outside of all, and the label is then the tag of the first character: `B-PS`
  over three characters is `B-PS I-PS I-PS`. The label of a straddling piece, whose tags change within it, gives the
  positions: `B-PS:2|O` is `B-PS I-PS` and then `O` to its end. The tags of all characters can therefore be restored for
  any pieces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from morphbert.formats.tags import OUTSIDE, goes_on


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


def labels_in(labels: Iterable[str]) -> tuple[str, ...]:
    """Returns the classes of the task: `B-` and `I-` of each type, `O`, then labels of straddling pieces, sorted."""
    seen = set(labels)
    kinds = sorted({run[2:].partition(":")[0] for label in seen for run in label.split("|")} - {""})
    plain = [f"{edge}-{kind}" for kind in kinds for edge in "BI"] + [OUTSIDE]
    return (*plain, *sorted(seen.difference(plain)))


def type_of(tag: str) -> str:
    """`B-PS` → `PS`, `O` → `O`."""
    return tag if tag == OUTSIDE else tag[2:]
