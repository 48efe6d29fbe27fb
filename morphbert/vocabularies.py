"""Vocabularies as two calls: learn one from raw text, or compare several on the same text."""

from __future__ import annotations

import sys

from morphbert.finetune.questions import read_questions
from morphbert.vocab import building, comparing
from morphbert.vocab.building import BuiltVocabulary, VocabularyConfig
from morphbert.vocab.comparing import CompareConfig
from morphbert.vocab.figures import Paragraph
from morphbert.vocab.report import Report


def build_vocab(config: VocabularyConfig) -> BuiltVocabulary:
    """Learns a vocabulary and writes its folder: `vocab.txt`, the metadata and a report.

    Same input and settings, same bytes, whatever the number of workers.

    Raises:
      MorphbertError: unreadable or empty input, a folder that cannot be written, or a size too small for the alphabet.
    """
    return building.build_vocabulary(config, _questions(config.answers_file))


def compare_vocabs(config: CompareConfig) -> Report:
    """Cuts the text with every vocabulary; returns the report, and writes it where `report_dir` says so.

    Raises:
      MorphbertError: a vocabulary or the text cannot be read, or there is no text.
    """
    return comparing.compare(config, _questions(config.answers_file))


def _questions(path: str) -> list[Paragraph] | None:
    """A SQuAD file → its paragraphs with the places of all answers."""
    if not path:
        return None
    questions, account = read_questions(path)
    print(f"Answers: {account}.", file=sys.stderr)
    paragraphs: dict[str, list[tuple[int, int]]] = {}
    for question in questions:
        spans = paragraphs.setdefault(question.context, [])
        spans += [(answer.start, answer.start + len(answer.text)) for answer in question.answers]
    return list(paragraphs.items())
