"""Makes a tokenizer from its description: a `morphbert_tokenizer.json`, or the entry in a manifest of records.

An exported Hugging Face folder carries a copy of this module (`morphbert.interop.huggingface.copied_code`), so its
tokenizer is the one that `load_tokenizer` makes. The module therefore opens no files and does not import KoNLPy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from morphbert.text.normalize import Normalizer
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import (
    BERT_SPELLING,
    SpecialTokens,
    Vocabulary,
    special_tokens_of_map,
    with_special_tokens,
)
from morphbert.text.words import Analyzer, WordSplitter

# google-research/bert and transformers give [UNK] for longer words, and their tokenizers here do the same. Our
# tokenizers cut words of any length.
LONGEST_WORD = {"bert": 200, "transformers": 100}


def make_tokenizer(vocabulary: Vocabulary, splitter: WordSplitter) -> Tokenizer:
    """Returns the tokenizer of a splitter and a vocabulary; with BERT's normalisation, BERT's limit for long words
    holds.
    """
    return Tokenizer(vocabulary, splitter, LONGEST_WORD.get(splitter.normalizer.form))


def described_spelling(description: Mapping[str, Any], source: str) -> tuple[SpecialTokens, str]:
    """Returns the spelling that a tokenizer's description states, BERT's if none, and its name in messages."""
    source = f"{source}: special_tokens"
    if "special_tokens" not in description:
        return BERT_SPELLING, source
    return special_tokens_of_map(description["special_tokens"], source), source


def described_tokenizer(
    description: Mapping[str, Any],
    vocabulary: Vocabulary,
    analyzer: Analyzer | None = None,
    source: str = "the tokenizer's description",
) -> Tokenizer:
    """Returns the tokenizer of a description (`Tokenizer.describe`).

    Args:
      description: a value that `parse_metadata` accepts.
      vocabulary: as read from its file.
      analyzer: the analyser that the description names.
      source: the name of the description in messages.

    Raises:
      MorphbertError: the vocabulary lacks a special token in the description's spelling.
    """
    vocabulary = with_special_tokens(vocabulary, *described_spelling(description, source))
    vocabulary = dataclasses.replace(vocabulary, added=tuple(description.get("added_tokens", ())))
    normalizer = Normalizer(
        description["normalization"],
        description["do_lower_case"],
        description.get("strip_accents"),
        vocabulary.added,
    )
    ideographs = description.get("tokenize_chinese_chars", True)
    splitter = WordSplitter(
        normalizer, analyzer, description["continuation"], ideographs_stand_alone=ideographs
    )
    return make_tokenizer(vocabulary, splitter)
