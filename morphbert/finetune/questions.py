"""Questions about paragraphs: reading SQuAD's JSON (KorQuAD 1.0, SQuAD 1.1 and 2.0, KLUE-MRC)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.files import open_for_reading


@dataclass(frozen=True)
class Answer:
    """Characters [start, start + len(text)) of the paragraph."""

    text: str
    start: int


@dataclass(frozen=True)
class Question:
    """One question; no answers where the paragraph has none, or none are known.

    Attributes:
      answers: where they really stand in the paragraph.
      golds: the answers' texts as the file has them, which predictions are compared with; also of those that stand
        nowhere.
    """

    id: str
    text: str
    context: str
    answers: tuple[Answer, ...] = ()
    is_impossible: bool = False
    golds: tuple[str, ...] = ()


@dataclass
class Account:
    """What was found about the answers: numbers, and the questions whose answers were left out."""

    questions: int = 0
    answers: int = 0
    mended: int = 0
    lost: list[str] | None = None

    def __str__(self) -> str:
        lost = self.lost or []
        words = f"{self.questions} questions, {self.answers} answers, {self.mended} of them moved to where they stand"
        if lost:
            shown = ", ".join(lost[:5]) + (" …" if lost[5:] else "")
            words += f"; {len(lost)} left out, because they are not in their paragraph: {shown}"
        return words


def read_questions(path: str) -> tuple[list[Question], Account]:
    """Reads a file in SQuAD's format.

    An answer that does not stand at its `answer_start` is moved to the nearest place where it does (double spaces and
    spaces at its edges aside); one that stands nowhere is left out and named in the account.

    Raises:
      MorphbertError: it is not JSON, or the JSON of something else.
    """
    with open_for_reading(path) as stream:
        try:
            content = json.loads(stream.read().decode("utf-8-sig"))
        except ValueError as error:
            raise MorphbertError(f"{path} is not JSON: {error}") from error
    account = Account(lost=[])
    try:
        questions = list(_questions(content, account))
    except (KeyError, TypeError, AttributeError) as error:
        raise MorphbertError(
            f"{path} is not in SQuAD's format: data → paragraphs → context and qas → question, id, answers "
            f"({type(error).__name__}: {error})."
        ) from error
    if not questions:
        raise MorphbertError(f"{path} has no question.")
    return questions, account


def _questions(content: Mapping[str, Any], account: Account) -> Iterator[Question]:
    for article in content["data"]:
        for paragraph in article["paragraphs"]:
            context = str(paragraph["context"])
            for entry in paragraph["qas"]:
                name = str(entry.get("id", entry.get("guid")))
                account.questions += 1
                answers = []
                for given in entry.get("answers") or ():
                    found = locate(context, str(given["text"]), int(given["answer_start"]))
                    if found is None:
                        assert account.lost is not None
                        account.lost.append(name)
                        continue
                    account.answers += 1
                    account.mended += found.start != int(given["answer_start"])
                    answers.append(found)
                impossible = bool(entry.get("is_impossible", False))
                golds = tuple(str(given["text"]) for given in entry.get("answers") or ())
                if impossible:
                    answers, golds = [], ()
                yield Question(name, str(entry["question"]), context, tuple(answers), impossible, golds)


def locate(context: str, text: str, start: int) -> Answer | None:
    """The answer where it really stands: at `start`, else at the nearest place; None where it is not."""
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
