"""The vocabulary of a model that moves from one format to another."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable

import tensorflow as tf

from morphbert.data.manifest import Manifest
from morphbert.errors import MorphbertError
from morphbert.interop.pretrained import Pretrained
from morphbert.model.config import BertConfig
from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.loading import load_tokenizer
from morphbert.text.metadata import METADATA_NAME, metadata_bytes
from morphbert.text.sentencepiece_tokenizer import SentencePieceTokenizer, find_model
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.user_dictionary import USER_DICTIONARY_NAME
from morphbert.text.vocabulary import VOCABULARY_NAME, check_same_vocabulary, load_vocabulary


def tokenizer_of(model: Pretrained) -> Tokenizer | None:
    """The model's tokenizer, None where its vocabulary is not known.

    A plain `vocab.txt` makes google-research/bert's tokenizer. Whether that lower-cases is what the source says,
    and otherwise what the vocabulary shows: one with capital letters in it is cased.

    Raises:
      MorphbertError: the vocabulary has another number of pieces than the model.
    """
    if model.vocabulary is None:
        return None
    lower = model.do_lower_case
    if os.path.isfile(model.vocabulary):
        if lower is None:
            lower = not load_vocabulary(model.vocabulary).has_capitals()
        tokenizer = load_tokenizer(model.vocabulary, lower)
    else:
        tokenizer = load_tokenizer(model.vocabulary)
    size = len(tokenizer.vocabulary)
    if size != model.config.vocab_size:
        raise MorphbertError(
            f"the vocabulary {model.vocabulary} has {size} pieces, but the model of {model.source} has "
            f"{model.config.vocab_size}: give the vocabulary that the model was trained with."
        )
    if model.vocabulary_digest is not None:
        check_same_vocabulary(
            f"the vocabulary {model.vocabulary}",
            tokenizer.vocabulary,
            model.vocabulary_digest,
            f"Give the vocabulary that {model.source} was trained with.",
        )
    return tokenizer


def write_vocabulary(folder: str, tokenizer: Tokenizer, source: str) -> None:
    """Writes what `load_tokenizer(folder)` needs to make the same tokenizer again.

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
        for name in names:
            shutil.copyfile(os.path.join(source, name), os.path.join(folder, name))
        return
    path = source if os.path.isfile(source) else os.path.join(source, VOCABULARY_NAME)
    shutil.copyfile(path, os.path.join(folder, VOCABULARY_NAME))
    with open(os.path.join(folder, METADATA_NAME), "wb") as stream:
        stream.write(metadata_bytes(tokenizer.describe()))
    words = user_dictionary_of(tokenizer)
    if words is not None:
        with open(os.path.join(folder, USER_DICTIONARY_NAME), "wb") as stream:
            stream.write(words)


def vocabulary_of_run(vocab_file: str, config: BertConfig, manifests: Iterable[Manifest]) -> Tokenizer:
    """The tokenizer of a training run's vocabulary, which is held against the model and the records.

    Args:
      vocab_file: a vocabulary folder; or a plain `vocab.txt`, whose casing is that of the records, or where they say
        nothing what the vocabulary shows.
      config: of the model.
      manifests: of the records, as far as they have them.

    Raises:
      MorphbertError: it is not the vocabulary of the records, or has another size than the model.
    """
    described = [manifest.tokenizer for manifest in manifests]
    if os.path.isdir(vocab_file):
        tokenizer = load_tokenizer(vocab_file)
    else:
        shown = not load_vocabulary(vocab_file).has_capitals()
        tokenizer = load_tokenizer(vocab_file, bool(described[0]["do_lower_case"]) if described else shown)
    size, sha256 = len(tokenizer.vocabulary), tokenizer.vocabulary.sha256
    if size != config.vocab_size:
        raise MorphbertError(
            f"--vocab_file={vocab_file} has {size} pieces, and --bert_config_file says vocab_size={config.vocab_size}: "
            "they have to be equal."
        )
    others = [one for one in described if one.get("vocab", {}).get("sha256", sha256) != sha256]
    if others:
        raise MorphbertError(
            f"--vocab_file={vocab_file} is not the vocabulary that the records were made with (SHA-256 {sha256[:12]}…, "
            f"theirs {str(others[0]['vocab']['sha256'])[:12]}…): give that one, or leave the flag out."
        )
    return tokenizer


def put_beside_run(output_dir: str, tokenizer: Tokenizer, vocab_file: str) -> None:
    """Copies a run's vocabulary into its output folder, which may be a remote one.

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
            for name in os.listdir(folder):
                target = os.path.join(output_dir, name)
                tf.io.gfile.copy(os.path.join(folder, name), target, overwrite=True)
        except tf.errors.OpError as error:
            raise MorphbertError(f"{output_dir} cannot be written: {error.message}") from error


def user_dictionary_of(tokenizer: Tokenizer) -> bytes | None:
    """The compiled words of its user's own that its analyser has, if any."""
    analyzer = tokenizer.splitter.analyzer
    return analyzer.user_dictionary if isinstance(analyzer, MecabAnalyzer) else None
