"""Reads sentences with two entities and their relation from KLUE-RE's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.files import expand
from morphbert.formats.labels import class_label, is_missing
from morphbert.formats.tables import json_rows


@dataclass(frozen=True)
class Mention:
    """An entity: characters [start, end) of the sentence, and its type."""

    start: int
    end: int
    type: str


@dataclass(frozen=True)
class RelationExample:
    """A sentence, its two entities and their relation, None if it is unknown."""

    id: str
    sentence: str
    subject: Mention
    object: Mention
    label: str | None


def read_relations(
    patterns: str, labelled: bool = True, encoding: str = "utf-8"
) -> tuple[list[RelationExample], int]:
    """Reads KLUE-RE's format: a JSON list, or one object per line, of `sentence`, `subject_entity`, `object_entity`,
    `label`.

    An entity has `word`, `start_idx`, `end_idx` (the number of the last character) and `type`. An entity whose word is
    not at its place is moved to the word's nearest occurrence.

    Args:
      labelled: whether to refuse examples without `label`.
      encoding: the encoding of the files.

    Returns:
      The examples, and the number of moved entities.

    Raises:
      MorphbertError: a file is not JSON or has another structure, or a word is not in its sentence.
    """
    examples, moved = [], 0
    for path in expand(patterns):
        for number, entry in enumerate(json_rows(path, encoding), start=1):
            try:
                found, shifts = _example(entry, number, labelled)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise MorphbertError(
                    f"{entry.where}: not in KLUE-RE's format: a list of examples, or one per line, with sentence, "
                    "subject_entity and object_entity with word, start_idx, end_idx and type, and label "
                    f"({type(error).__name__}: {error})."
                ) from error
            except MorphbertError as error:
                raise MorphbertError(f"{entry.where} ({found_id(entry, number)}): {error}") from error
            examples.append(found)
            moved += shifts
    if not examples:
        raise MorphbertError(f"there is no example in {patterns}.")
    return examples, moved


def found_id(entry: Mapping[str, Any], number: int) -> str:
    """Returns the id of an example, or its number."""
    return str(entry.get("guid", entry.get("id", number)))


def relation_example(entry: Mapping[str, Any], number: int) -> RelationExample:
    """Returns one object of KLUE-RE's format, with or without `label`; an entity is moved as `read_relations` does it.

    Raises:
      MorphbertError: a key is missing, or a word is not in its sentence.
    """
    try:
        return _example(entry, number, labelled=False)[0]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MorphbertError(
            "not in KLUE-RE's format: sentence, subject_entity and object_entity with word, start_idx, end_idx and "
            f"type ({type(error).__name__}: {error})."
        ) from error


def _example(entry: Mapping[str, Any], number: int, labelled: bool) -> tuple[RelationExample, int]:
    sentence = str(entry["sentence"])
    subject, first = _mention(entry["subject_entity"], sentence)
    object_, second = _mention(entry["object_entity"], sentence)
    label = entry.get("label")
    if is_missing(label):
        if labelled:
            raise MorphbertError("the example has no label.")
        label = None
    name = found_id(entry, number)
    known = None if label is None else class_label(label, "the example")
    return RelationExample(name, sentence, subject, object_, known), first + second


def _mention(given: Mapping[str, Any], sentence: str) -> tuple[Mention, bool]:
    word, start, kind = str(given["word"]), int(given["start_idx"]), str(given["type"])
    end = int(given["end_idx"]) + 1
    if word and sentence[max(start, 0) : end] == word:
        return Mention(start, end, kind), False
    places, place = [], sentence.find(word) if word else -1
    while place >= 0:
        places.append(place)
        place = sentence.find(word, place + 1)
    if not places:
        raise MorphbertError(f"the entity {word!r} is not in its sentence.")
    start = min(places, key=lambda place: abs(place - start))
    return Mention(start, start + len(word), kind), True
