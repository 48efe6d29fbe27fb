"""Learning, comparison and loading of vocabularies as single calls."""

from __future__ import annotations

import os
import sys

from morphbert.finetune.questions import read_questions
from morphbert.text import loading
from morphbert.text.foreign import is_foreign
from morphbert.text.metadata import METADATA_NAME
from morphbert.text.sentencepiece_tokenizer import find_model
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import VOCABULARY_NAME
from morphbert.vocab import building, comparing
from morphbert.vocab.building import BuiltVocabulary, VocabularyConfig
from morphbert.vocab.comparing import CompareConfig
from morphbert.vocab.figures import Paragraph
from morphbert.vocab.report import Report


def build_vocab(config: VocabularyConfig) -> BuiltVocabulary:
    """Learns a vocabulary and writes its folder: `vocab.txt`, the metadata and a report.

    The same input and settings give the same bytes with any number of workers.

    Raises:
      MorphbertError: the input cannot be read or is empty, the folder cannot be written, or the size is too small for
        the alphabet.
    """
    return building.build_vocabulary(config, _questions(config.answers_file))


def compare_vocabs(config: CompareConfig) -> Report:
    """Tokenizes the text with every vocabulary; returns the report, and writes it into `report_dir` if it is set.

    Raises:
      MorphbertError: a vocabulary or the text cannot be read, or there is no text.
    """
    return comparing.compare(config, _questions(config.answers_file))


def load_tokenizer(path: str | os.PathLike[str], do_lower_case: bool | None = None) -> Tokenizer:
    """Loads the tokenizer of any vocabulary.

    Args:
      path: a folder of `build_vocab`, a run or an exported model; a folder with a SentencePiece model; a Hugging Face
        folder with `vocab.txt`; or a plain `vocab.txt`.
      do_lower_case: for a plain `vocab.txt`. None takes the value of a Hugging Face file beside it. Without such a
        file, text is lower-cased as in BERT, which decomposes Hangul. A vocabulary with Hangul syllables is therefore
        cased if it has capital letters; else text is lower-cased and Hangul stays whole.

    Raises:
      MorphbertError: there is no vocabulary, or `do_lower_case` contradicts the folder's metadata.
    """
    name = os.fspath(path)
    described = os.path.exists(os.path.join(name, METADATA_NAME)) or is_foreign(name)
    if os.path.isdir(name) and not described and find_model(name) is None:
        name = os.path.join(name, VOCABULARY_NAME)
    return loading.load_tokenizer(name, do_lower_case)


def _questions(path: str) -> list[Paragraph] | None:
    """Returns the paragraphs of a SQuAD file with the places of all answers."""
    if not path:
        return None
    questions, statistics = read_questions(path)
    print(f"Answers: {statistics}.", file=sys.stderr)
    paragraphs: dict[str, list[tuple[int, int]]] = {}
    for question in questions:
        spans = paragraphs.setdefault(question.context, [])
        spans += [(answer.start, answer.start + len(answer.text)) for answer in question.answers]
    return list(paragraphs.items())
