"""Reads questions about paragraphs from SQuAD's JSON (KorQuAD 1.0, SQuAD 1.1 and 2.0, KLUE-MRC)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.files import expand
from morphbert.formats.tables import json_rows


@dataclass(frozen=True)
class Answer:
    """An answer: characters [start, start + len(text)) of the paragraph."""

    text: str
    start: int


@dataclass(frozen=True)
class Question:
    """One question, without answers if the paragraph has none or they are unknown.

    Attributes:
      answers: the answers at their actual places in the paragraph.
      golds: the answers' texts in the file, which predictions are compared with, including those that the paragraph
        lacks.
    """

    id: str
    text: str
    context: str
    answers: tuple[Answer, ...] = ()
    is_impossible: bool = False
    golds: tuple[str, ...] = ()


@dataclass
class AnswerStatistics:
    """The statistics of the answers: numbers, and the questions whose answers were left out."""

    questions: int = 0
    answers: int = 0
    mended: int = 0
    lost: list[str] | None = None
    without_id: int = 0
    repeated: Sequence[str] = ()

    def __str__(self) -> str:
        lost = self.lost or []
        words = f"{self.questions} questions, {self.answers} answers, {self.mended} of them moved to where they stand"
        if lost:
            shown = ", ".join(lost[:5]) + (" …" if lost[5:] else "")
            words += f"; {len(lost)} left out, because they are not in their paragraph: {shown}"
        if self.without_id:
            words += f"; {self.without_id} questions have no id and are called question-1 and so on"
        if self.repeated:
            name = self.repeated[0]
            words += f"; the id {name!r} occurs more than once: later ones are called {name}#2 and so on"
        return words


def read_questions(patterns: str, encoding: str = "utf-8") -> tuple[list[Question], AnswerStatistics]:
    """Reads files in SQuAD's format, or with one question per object, as JSON Lines or an array.

    For KorQuAD 2.1 the text in `context` is read; its articles contain the questions. An answer that is not at its
    `answer_start` is moved to its nearest occurrence, apart from double spaces and spaces at its edges. An answer
    without an occurrence is left out, and the statistics name it. Ids become unique: a question without an id gets a
    number, and a number is appended to a repeated id.

    Args:
      patterns: paths or globs, with commas.
      encoding: the encoding of the files.

    Raises:
      MorphbertError: a file is not JSON or has another structure.
    """
    statistics = AnswerStatistics(lost=[])
    questions: list[Question] = []
    for path in expand(patterns):
        before = len(questions)
        for row in json_rows(path, encoding):
            try:
                questions += _questions(row, statistics)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise MorphbertError(
                    f"{row.where}: not in SQuAD's format: data → paragraphs → context and qas → question, id, answers "
                    f"({type(error).__name__}: {error})."
                ) from error
        if len(questions) == before:
            raise MorphbertError(f"{path} has no question.")
    return _with_unique_ids(questions, statistics), statistics


def _questions(row: Mapping[str, Any], statistics: AnswerStatistics) -> Iterator[Question]:
    """Yields the questions of a file's only object, or of one object of several."""
    if "data" not in row and "question" in row:
        yield _question(row, str(row["context"]), statistics)
        return
    for article in row["data"]:
        for paragraph in article.get("paragraphs", [article]):
            context = str(paragraph["context"])
            for entry in paragraph["qas"]:
                yield _question(entry, context, statistics)


def _question(entry: Mapping[str, Any], context: str, statistics: AnswerStatistics) -> Question:
    name = entry.get("id", entry.get("guid"))
    name = "" if name is None else str(name)
    statistics.questions += 1
    golds, answers = [], []
    for text, start in _given_answers(entry):
        golds.append(text)
        found = locate(context, text, start)
        if found is None:
            assert statistics.lost is not None
            statistics.lost.append(name or f"question {statistics.questions}")
            continue
        statistics.answers += 1
        statistics.mended += found.start != start
        answers.append(found)
    if bool(entry.get("is_impossible", False)):
        return Question(name, str(entry["question"]), context, is_impossible=True)
    return Question(name, str(entry["question"]), context, tuple(answers), golds=tuple(golds))


def _given_answers(entry: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Returns texts and places from a list of answers, KorQuAD 2.1's single `answer`, or the columns of a table."""
    given = entry.get("answers", entry.get("answer")) or ()
    if isinstance(given, Mapping) and isinstance(given["text"], list):
        yield from (
            (str(text), int(start)) for text, start in zip(given["text"], given["answer_start"], strict=True)
        )
        return
    for one in [given] if isinstance(given, Mapping) else given:
        yield str(one["text"]), int(one["answer_start"])


def _with_unique_ids(questions: Sequence[Question], statistics: AnswerStatistics) -> list[Question]:
    counts = Counter(question.id for question in questions)
    statistics.without_id = counts.pop("", 0)
    statistics.repeated = [name for name, count in counts.items() if count > 1]
    if not statistics.without_id and not statistics.repeated:
        return list(questions)
    taken = set(counts)
    unique, seen = [], set()
    for place, question in enumerate(questions, start=1):
        name = question.id or f"question-{place}"
        number = 1
        while name in seen or (name in taken and name != question.id):
            number += 1
            name = f"{question.id or f'question-{place}'}#{number}"
        seen.add(name)
        unique.append(replace(question, id=name))
    return unique


def locate(context: str, text: str, start: int) -> Answer | None:
    """Returns the answer at `start` or at its nearest occurrence; None if there is none."""
    if text and context.startswith(text, start) and start >= 0:
        return Answer(text, start)
    for wanted in dict.fromkeys((text, text.strip(), text.strip(" \t\n\u200b\u200e\u200f\ufeff"))):
        places = _places(context, wanted) if wanted else []
        if places:
            return Answer(wanted, min(places, key=lambda place: abs(place - start)))
    return None


def _places(context: str, text: str) -> list[int]:
    places, place = [], context.find(text)
    while place >= 0:
        places.append(place)
        place = context.find(text, place + 1)
    return places
