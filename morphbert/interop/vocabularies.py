"""The vocabulary of a model that moves from one format to another."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable

import tensorflow as tf

from morphbert.data.manifest import Manifest
from morphbert.errors import MorphbertError
from morphbert.hints import held_back
from morphbert.interop.pretrained import Pretrained, find_vocabulary
from morphbert.model.config import BertConfig
from morphbert.text.analyzers import USER_DICTIONARY_NAME, MecabAnalyzer
from morphbert.text.description import described_tokenizer
from morphbert.text.foreign import SPECIALS_NAME, TOKENIZER_CONFIG_NAME, is_foreign
from morphbert.text.loading import (
    foreign_folder_of,
    load_tokenizer,
    load_vocabulary_of,
    plain_vocabulary,
)
from morphbert.text.metadata import METADATA_NAME, metadata_bytes
from morphbert.text.sentencepiece_tokenizer import SentencePieceTokenizer, find_model
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import BERT_SPELLING, VOCABULARY_NAME, check_same_vocabulary, vocabulary_bytes
from morphbert.text.vocabulary_file import load_vocabulary
from morphbert.train import storage


def tokenizer_of(model: Pretrained) -> Tokenizer | None:
    """Returns the model's tokenizer, None where its vocabulary is not known.

    A plain `vocab.txt` makes google-research/bert's tokenizer. The source says whether that lower-cases;
    otherwise the vocabulary shows it: one with capital letters is cased.

    Raises:
      MorphbertError: the vocabulary has more pieces than the model.
    """
    if model.vocabulary is None:
        return None
    tokenizer = _load(model.vocabulary, model.do_lower_case)
    if model.vocabulary_digest is not None:
        check_same_vocabulary(
            f"the vocabulary {model.vocabulary}",
            tokenizer.vocabulary,
            model.vocabulary_digest,
            f"Give the vocabulary that {model.source} was trained with.",
        )
    known = model.vocabulary_digest is not None  # and was just found to be this one
    check_rows(tokenizer, model.config.vocab_size, model.vocabulary, model.source, known)
    return tokenizer


def _load(path: str, do_lower_case: bool | None) -> Tokenizer:
    """Returns the tokenizer at a path; of a plain file whose casing nothing says, as the vocabulary shows it."""
    if os.path.isfile(path):
        vocabulary = plain_vocabulary(path)
        if do_lower_case is None and foreign_folder_of(path, None) == path:
            # With Hangul in it the loader looks itself: BERT's lower-casing would take that apart.
            do_lower_case = None if vocabulary.has_hangul_syllables() else not vocabulary.has_capitals()
        return load_tokenizer(path, do_lower_case)
    own_metadata = os.path.exists(os.path.join(path, METADATA_NAME))
    return load_tokenizer(path, None if own_metadata or not is_foreign(path) else do_lower_case)


def check_rows(tokenizer: Tokenizer, rows: int, vocabulary: str, model: str, known: bool = False) -> None:
    """Holds a vocabulary against the table of a model, which may have more rows: many are padded to a round size.

    Args:
      tokenizer: of the vocabulary.
      rows: of the model's table.
      vocabulary: where it lies, for the message.
      model: where it was read from. A vocabulary that lies beside it, or is the same as that, may have any number
        of pieces fewer; another only as many fewer as padding to a multiple of 8, 64, 128 … explains.
      known: the vocabulary is known to be the model's.

    Raises:
      MorphbertError: there are more pieces than rows, or too few.
    """
    pieces = len(tokenizer.vocabulary)
    padding = rows & -rows  # the largest power of 2 that divides it
    if pieces > rows or not (known or rows - pieces < padding or _lies_beside(tokenizer, model)):
        raise MorphbertError(
            f"the vocabulary {vocabulary} has {pieces} pieces, but the model of {model} has vocab_size={rows}: give "
            "the vocabulary that the model was trained with."
        )
    if pieces < rows:
        _say_spare_rows(model, rows, pieces)


@functools.lru_cache(maxsize=64)  # a command may compare the two more than once
def _say_spare_rows(model: str, rows: int, pieces: int) -> None:
    logging.getLogger("morphbert").warning(
        "the model of %s has %d rows of embeddings, and its vocabulary has %d pieces: the last %d rows have no piece.",
        model,
        rows,
        pieces,
        rows - pieces,
    )


def _lies_beside(tokenizer: Tokenizer, model: str) -> bool:
    own = find_vocabulary(model if os.path.isdir(model) else os.path.dirname(model))
    return own is not None and load_vocabulary_of(own).sha256 == tokenizer.vocabulary.sha256


def write_vocabulary(folder: str, tokenizer: Tokenizer, source: str) -> None:
    """Writes the files from which `load_tokenizer(folder)` makes the same tokenizer.

    Args:
      folder: where to.
      tokenizer: of the vocabulary at `source`.
      source: the folder or plain `vocab.txt`; its files are copied byte for byte.
    """
    if isinstance(tokenizer, SentencePieceTokenizer):
        names = [os.path.basename(str(find_model(source)))]
        names += [name for name in sorted(os.listdir(source)) if name == VOCABULARY_NAME]
        if VOCABULARY_NAME not in names:
            names += [n for n in sorted(os.listdir(source)) if n.endswith(".json") and "vocab" in n]
        settings = [TOKENIZER_CONFIG_NAME] if tokenizer.albert else []
        if tokenizer.vocabulary.special != BERT_SPELLING:
            settings = [TOKENIZER_CONFIG_NAME, SPECIALS_NAME]
        names += [name for name in settings if os.path.exists(os.path.join(source, name))]
        for name in names:
            shutil.copyfile(os.path.join(source, name), os.path.join(folder, name))
        return
    path = source if os.path.isfile(source) else os.path.join(source, VOCABULARY_NAME)
    target = os.path.join(folder, VOCABULARY_NAME)
    vocabulary = tokenizer.vocabulary
    if os.path.exists(path) and load_vocabulary(path).sha256 == vocabulary.sha256:
        shutil.copyfile(path, target)
    else:  # a Hugging Face folder with pieces in other files
        with open(target, "wb") as stream:
            stream.write(vocabulary_bytes(vocabulary.lines))
    with open(os.path.join(folder, METADATA_NAME), "wb") as stream:
        stream.write(metadata_bytes(tokenizer.describe()))
    words = user_dictionary_of(tokenizer)
    if words is not None:
        with open(os.path.join(folder, USER_DICTIONARY_NAME), "wb") as stream:
            stream.write(words)


@held_back()
def vocabulary_of_run(vocab_file: str, config: BertConfig, manifests: Iterable[Manifest]) -> Tokenizer:
    """Returns the tokenizer of a training run's vocabulary, which is held against the model and the records.

    Args:
      vocab_file: a vocabulary folder; or a plain `vocab.txt`, whose casing is that of the records, or else the one
        that the vocabulary shows.
      config: of the model.
      manifests: of the records, as far as they have them.

    Raises:
      MorphbertError: it is not the vocabulary of the records, or has another size than the model.
    """
    described = [manifest.tokenizer for manifest in manifests]
    if described and os.path.isfile(vocab_file) and described[0]["analyzer"]["name"] == "none":
        tokenizer = described_tokenizer(described[0], load_vocabulary(vocab_file))
    else:
        known = described and os.path.isfile(vocab_file)
        tokenizer = _load(vocab_file, bool(described[0]["do_lower_case"]) if known else None)
    sha256 = tokenizer.vocabulary.sha256
    same = bool(described) and all(one.get("vocab", {}).get("sha256") == sha256 for one in described)
    check_rows(tokenizer, config.vocab_size, f"--vocab_file={vocab_file}", "--bert_config_file", same)
    others = [one for one in described if one.get("vocab", {}).get("sha256", sha256) != sha256]
    if others:
        raise MorphbertError(
            f"--vocab_file={vocab_file} is not the vocabulary that the records were made with (SHA-256 {sha256[:12]}…, "
            f"theirs {str(others[0]['vocab']['sha256'])[:12]}…): give that one, or leave the flag out."
        )
    return tokenizer


def put_beside_run(output_dir: str, tokenizer: Tokenizer, vocab_file: str) -> None:
    """Copies a run's vocabulary into its output folder, which may be a remote one, each file whole or not at all.

    Args:
      output_dir: the run's; it is made.
      tokenizer: of the vocabulary at `vocab_file`.
      vocab_file: the folder, or plain `vocab.txt`.

    Raises:
      MorphbertError: the folder cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_vocabulary(folder, tokenizer, vocab_file)
        try:
            tf.io.gfile.makedirs(output_dir)
        except tf.errors.OpError as error:
            raise MorphbertError(f"{output_dir} cannot be written: {error.message}") from error
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as stream:
                storage.write_bytes(os.path.join(output_dir, name), stream.read())


def user_dictionary_of(tokenizer: Tokenizer) -> bytes | None:
    """Returns the compiled words of its user's own that its analyser has, if any."""
    analyzer = tokenizer.splitter.analyzer
    return analyzer.user_dictionary if isinstance(analyzer, MecabAnalyzer) else None
