"""Loads the tokenizer of a path: a `vocab.txt`, a vocabulary folder, a SentencePiece or a Hugging Face folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

from morphbert.errors import MorphbertError
from morphbert.files import exists, is_remote, read_bytes
from morphbert.hub import local_path
from morphbert.text import konlpy_adapter
from morphbert.text.analyzers import OVERRIDE, USER_DICTIONARY_NAME, MecabAnalyzer, check_analyzer
from morphbert.text.description import described_spelling, described_tokenizer, make_tokenizer
from morphbert.text.foreign import guess_casing, is_foreign, load_foreign, special_tokens_in
from morphbert.text.konlpy_adapter import KonlpyAnalyzer
from morphbert.text.metadata import (
    METADATA_NAME,
    check_casing,
    check_vocabulary,
    parse_metadata,
)
from morphbert.text.normalize import Normalizer
from morphbert.text.sentencepiece_tokenizer import find_model, load_sentencepiece
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import (
    SPECIAL_TOKENS,
    VOCABULARY_NAME,
    SpecialTokens,
    Vocabulary,
    with_special_tokens,
)
from morphbert.text.vocabulary_file import load_vocabulary
from morphbert.text.words import Analyzer, WordSplitter

__all__ = [
    "ANALYZERS",
    "bert_tokenizer",
    "load_tokenizer",
    "make_analyzer",
]


def bert_tokenizer(vocabulary: Vocabulary, do_lower_case: bool = True) -> Tokenizer:
    """Returns google-research/bert's tokenizer for any vocabulary."""
    return make_tokenizer(vocabulary, WordSplitter(Normalizer("bert", do_lower_case)))


def make_analyzer(
    name: str, morpheme_tags: str = "", user_dictionary: bytes | None = None
) -> Analyzer | None:
    """Returns the analyser with a name (a value of `--analyzer`), or None for `none`.

    Args:
      morpheme_tags, user_dictionary: see `MecabAnalyzer`, the only analyser that accepts them.
    """
    if name == "mecab":
        return MecabAnalyzer(morpheme_tags, user_dictionary)
    for flag, given in (("morpheme_tags", morpheme_tags), ("user_dictionary", user_dictionary)):
        if given:
            raise MorphbertError(f"--{flag} goes with --analyzer=mecab, not with --analyzer={name}.")
    if name == "none":
        return None
    if name.startswith("konlpy:"):
        return KonlpyAnalyzer(name.removeprefix("konlpy:"))
    raise MorphbertError(f"there is no analyser {name!r}. Known: {', '.join(ANALYZERS)}.")


ANALYZERS: Sequence[str] = ("mecab", "none", *(f"konlpy:{name}" for name in konlpy_adapter.CLASSES))


def load_tokenizer(path: str, do_lower_case: bool | None = None, allow_mismatch: bool = False) -> Tokenizer:
    """Loads a tokenizer.

    Args:
      path: a plain `vocab.txt`, which makes google-research/bert's tokenizer; or a folder with `vocab.txt` and
        `morphbert_tokenizer.json`, which makes the one that it describes; or a folder with a SentencePiece
        `*.model` (KoBERT's kind), or that file; or a Hugging Face folder (`morphbert.text.foreign`), also by its
        name on the Hub.
      do_lower_case: None takes the value of the metadata. For a plain file, it takes the value of a Hugging Face file
        beside it, else BERT's default, True. A vocabulary with Hangul syllables, which BERT's lower-casing would
        decompose, decides by its own capital letters instead, and a message reports this.
      allow_mismatch: turns the error for an engine, dictionary, casing or vocabulary other than the metadata's into a
        warning. The tokenizer then uses the installed ones and `do_lower_case`.

    Raises:
      MorphbertError: the path cannot be read; `do_lower_case` contradicts the metadata; the engine, dictionary or
        vocabulary differs from the metadata's; or the Hugging Face tokenizer is not supported.
    """
    path = foreign_folder_of(_folder_of_model(local_path(path)), do_lower_case)
    if is_vocabulary_folder(path):
        return _load_folder(path, do_lower_case, _warn if allow_mismatch else _refuse)
    vocabulary = plain_vocabulary(path)
    folder = os.path.dirname(path)
    if exists(os.path.join(folder, METADATA_NAME)) and os.path.basename(path) == VOCABULARY_NAME:
        logging.getLogger("morphbert").warning(
            "%s is read as a plain BERT vocabulary, although %s is beside it. For the tokenizer that the vocabulary "
            "was learned with, give the folder: %s",
            path,
            METADATA_NAME,
            folder or ".",
        )
    if do_lower_case is not None or not vocabulary.has_hangul_syllables():
        return bert_tokenizer(vocabulary, True if do_lower_case is None else do_lower_case)
    lower, accents, guess = guess_casing(vocabulary, path)
    _say_guess(guess)
    return make_tokenizer(vocabulary, WordSplitter(Normalizer("bert", lower, accents)))


def foreign_folder_of(path: str, do_lower_case: bool | None) -> str:
    """Returns the folder of a `vocab.txt` that belongs to a Hugging Face tokenizer, and any other path unchanged."""
    folder = os.path.dirname(path)
    if do_lower_case is not None or os.path.basename(path) != VOCABULARY_NAME or os.path.isdir(path):
        return path
    if exists(os.path.join(folder, METADATA_NAME)) or not is_foreign(folder) or not exists(path):
        return path
    return folder or "."


def _folder_of_model(path: str) -> str:
    """Returns the folder of a SentencePiece `*.model`, whose ids may be mapped there; any other path as it is."""
    is_model = path.endswith(".model") and os.path.isfile(path)
    return os.path.dirname(path) or "." if is_model else path


def _say_guess(guess: str | None) -> None:
    if guess:
        logging.getLogger("morphbert").warning("tokenizer: %s", guess)


def load_vocabulary_of(path: str) -> Vocabulary:
    """Returns only the vocabulary of any path that `load_tokenizer` accepts; this needs no engine or dictionary."""
    path = _folder_of_model(local_path(path))
    if not is_vocabulary_folder(path):
        return plain_vocabulary(path)
    if not exists(os.path.join(path, METADATA_NAME)) and find_model(path):
        return load_sentencepiece(path).vocabulary
    if not exists(os.path.join(path, METADATA_NAME)) and is_foreign(path):
        return load_foreign(path)[0]
    return plain_vocabulary(os.path.join(path, VOCABULARY_NAME))


def plain_vocabulary(path: str) -> Vocabulary:
    """Reads a `vocab.txt`, whose special tokens may have the spelling that a file beside it states.

    These files are `morphbert_tokenizer.json` or those of Hugging Face. If the vocabulary has none of the other
    spellings that they state, they belong to another vocabulary: it keeps BERT's names, and a warning says so. If it
    has all of BERT's names, files that state no usable spelling do not matter either.

    Raises:
      MorphbertError: a file cannot be read, or the spelling does not belong to the vocabulary.
    """
    vocabulary = load_vocabulary(path)
    folder = os.path.dirname(path)
    try:
        special, source = _spelling_beside(folder)
    except MorphbertError:
        if all(token in vocabulary.ids for token in SPECIAL_TOKENS):
            return vocabulary
        raise
    own = [token for token in special.as_map().values() if token not in SPECIAL_TOKENS]
    if own and not any(token in vocabulary.ids for token in own):
        logging.getLogger("morphbert").warning(
            "%s has none of the special tokens %s, which %s states: it is read with BERT's names, %s. If the two "
            "belong together, copy both from the same model.",
            path,
            " ".join(own),
            source,
            " ".join(SPECIAL_TOKENS),
        )
        return vocabulary
    return with_special_tokens(vocabulary, special, source)


def _spelling_beside(folder: str) -> tuple[SpecialTokens, str]:
    """Returns the spelling that the files of a folder state, BERT's without them, and its name in messages."""
    metadata = os.path.join(folder, METADATA_NAME)
    if not exists(metadata):
        return special_tokens_in(folder), folder or "."
    return described_spelling(parse_metadata(read_bytes(metadata), metadata), metadata)


def is_vocabulary_folder(path: str) -> bool:
    """Returns whether a path, local or remote, is a folder and not a plain `vocab.txt`."""
    if os.path.isdir(path) or exists(os.path.join(path, METADATA_NAME)):
        return True
    return is_remote(path) and not path.endswith(".txt") and is_foreign(path)


def _refuse(error: MorphbertError) -> None:
    raise error


def _warn(error: MorphbertError) -> None:
    logging.getLogger("morphbert").warning(
        "--allow_tokenizer_mismatch: %s", str(error).removesuffix(OVERRIDE)
    )


def _load_folder(
    folder: str, do_lower_case: bool | None, mismatch: Callable[[MorphbertError], None]
) -> Tokenizer:
    path = os.path.join(folder, METADATA_NAME)
    if not exists(path) and find_model(folder):
        return load_sentencepiece(folder, do_lower_case)
    if not exists(path) and is_foreign(folder):
        vocabulary, splitter, guess = load_foreign(folder, do_lower_case)
        _say_guess(guess)
        return make_tokenizer(vocabulary, splitter)
    if not exists(path):
        raise MorphbertError(
            f"the folder {folder} has no {METADATA_NAME}. Give a vocabulary folder made by build_vocab.py, or "
            f"the path of a plain {VOCABULARY_NAME}."
        )
    content = parse_metadata(read_bytes(path), path)
    vocabulary = load_vocabulary(os.path.join(folder, VOCABULARY_NAME))
    recorded = content["analyzer"]
    compiled = None
    if "user_dictionary" in recorded:
        compiled = read_bytes(os.path.join(folder, USER_DICTIONARY_NAME))
    analyzer = make_analyzer(recorded["name"], recorded.get("morpheme_tags", ""), compiled)
    lower = bool(content["do_lower_case"] if do_lower_case is None else do_lower_case)
    checks: list[Callable[[], None]] = [
        lambda: check_casing(path, content["do_lower_case"], lower),
        lambda: check_vocabulary(path, content, vocabulary.sha256, len(vocabulary)),
        lambda: check_analyzer(path, recorded, analyzer.describe() if analyzer else {}),
    ]
    for check in checks:
        try:
            check()
        except MorphbertError as error:
            mismatch(error)
    return described_tokenizer({**content, "do_lower_case": lower}, vocabulary, analyzer, path)
