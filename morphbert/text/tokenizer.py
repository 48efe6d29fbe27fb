"""The tokenizer of a path: a plain `vocab.txt`, a folder of ours, or a folder with a SentencePiece model."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from morphbert.errors import MorphbertError
from morphbert.files import exists
from morphbert.text import konlpy_adapter
from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.konlpy_adapter import KonlpyAnalyzer
from morphbert.text.metadata import METADATA_NAME, check_analyzer, check_vocabulary, read_metadata
from morphbert.text.normalize import Normalizer
from morphbert.text.sentencepiece_tokenizer import find_model, load_sentencepiece
from morphbert.text.vocabulary import VOCABULARY_NAME, Vocabulary, load_vocabulary
from morphbert.text.wordpiece_tokenizer import Encoding, Tokenizer, join_pieces
from morphbert.text.words import Analyzer, WordSplitter

__all__ = [
    "ANALYZERS",
    "Encoding",
    "Tokenizer",
    "bert_tokenizer",
    "join_pieces",
    "load_tokenizer",
    "make_analyzer",
    "make_tokenizer",
]

# google-research/bert gives [UNK] for words longer than this; so does its tokenizer here. Ours cut words
# of any length.
BERT_LONGEST_WORD = 200


def bert_tokenizer(vocabulary: Vocabulary, do_lower_case: bool = True) -> Tokenizer:
    """google-research/bert's tokenizer over any vocabulary."""
    return Tokenizer(vocabulary, WordSplitter(Normalizer("bert", do_lower_case)), BERT_LONGEST_WORD)


def make_analyzer(name: str) -> Analyzer | None:
    """The analyser of that name (the values of `--analyzer`); None for `none`."""
    if name == "none":
        return None
    if name == "mecab":
        return MecabAnalyzer()
    if name.startswith("konlpy:"):
        return KonlpyAnalyzer(name.removeprefix("konlpy:"))
    raise MorphbertError(f"there is no analyser {name!r}. Known: {', '.join(ANALYZERS)}.")


ANALYZERS: Sequence[str] = ("mecab", "none", *(f"konlpy:{name}" for name in konlpy_adapter.CLASSES))


def make_tokenizer(vocabulary: Vocabulary, splitter: WordSplitter) -> Tokenizer:
    """Joins the two; where the text is normalised as BERT does it, BERT's limit for long words holds too."""
    return Tokenizer(vocabulary, splitter, BERT_LONGEST_WORD if splitter.normalizer.form == "bert" else None)


def load_tokenizer(path: str, do_lower_case: bool | None = None) -> Tokenizer:
    """Loads a tokenizer.

    Args:
      path: a plain `vocab.txt`, which makes google-research/bert's tokenizer; or a folder with `vocab.txt` and
        `morphbert_tokenizer.json`, which makes the one that it describes; or a folder with a SentencePiece
        `*.model` (KoBERT's kind).
      do_lower_case: None takes what the metadata says and, for a plain file, BERT's default, True.

    Raises:
      MorphbertError: nothing readable there; `do_lower_case` contradicts the metadata; the engine, the
        dictionary or the vocabulary is not the one that the metadata names.
    """
    if _is_folder(path):
        return _load_folder(path, do_lower_case)
    vocabulary = load_vocabulary(path)
    folder = os.path.dirname(path)
    if exists(os.path.join(folder, METADATA_NAME)) and os.path.basename(path) == VOCABULARY_NAME:
        logging.getLogger("morphbert").warning(
            "%s is read as a plain BERT vocabulary, and beside it lies %s. For the tokenizer that the vocabulary "
            "was learned with, give the folder: %s",
            path,
            METADATA_NAME,
            folder or ".",
        )
    return bert_tokenizer(vocabulary, True if do_lower_case is None else do_lower_case)


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) or exists(os.path.join(path, METADATA_NAME))


def _load_folder(folder: str, do_lower_case: bool | None) -> Tokenizer:
    path = os.path.join(folder, METADATA_NAME)
    if not exists(path) and find_model(folder):
        return load_sentencepiece(folder, do_lower_case)
    if not exists(path):
        raise MorphbertError(
            f"the folder {folder} has no {METADATA_NAME}. Give a vocabulary folder made by build_vocab.py, or "
            f"the path of a plain {VOCABULARY_NAME}."
        )
    content = read_metadata(path)
    if do_lower_case is not None and do_lower_case != content["do_lower_case"]:
        raise MorphbertError(
            f"--do_lower_case={str(do_lower_case).lower()} contradicts {path}, which says "
            f"{str(content['do_lower_case']).lower()}: the vocabulary was learned that way. Leave the flag out, "
            "or learn another vocabulary."
        )
    vocabulary = load_vocabulary(os.path.join(folder, VOCABULARY_NAME))
    check_vocabulary(path, content, vocabulary.sha256, len(vocabulary))
    analyzer = make_analyzer(content["analyzer"]["name"])
    if analyzer is not None:
        check_analyzer(path, content["analyzer"], analyzer.describe())
    normalizer = Normalizer(content["normalization"], content["do_lower_case"])
    return make_tokenizer(vocabulary, WordSplitter(normalizer, analyzer, content["continuation"]))
