"""The names and behaviour of google-research/bert's `tokenization.py`, and a Mecab tokenizer.

Code that imports that module keeps working with `import tokenization`. The classes accept any vocabulary; the commands
refuse one without `[MASK]`. There are two differences, in cases that the original does not cover: a `vocab_file` that
is a folder made by `build_vocab.py` gives the tokenizer that its metadata describes, and TensorFlow is not imported.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TypeVar

from morphbert.files import exists
from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.characters import is_control, is_punctuation, is_whitespace
from morphbert.text.loading import bert_tokenizer, load_tokenizer
from morphbert.text.metadata import METADATA_NAME
from morphbert.text.normalize import Normalizer
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary_file import load_vocabulary
from morphbert.text.wordpiece import longest_match
from morphbert.text.words import Continuation, WordSplitter

Key = TypeVar("Key")
Value = TypeVar("Value")

# The names of google-research/bert's first released models, and whether their text is lower-cased.
_RELEASED = {
    "uncased_L-24_H-1024_A-16": True,
    "uncased_L-12_H-768_A-12": True,
    "multilingual_L-12_H-768_A-12": True,
    "chinese_L-12_H-768_A-12": True,
    "cased_L-12_H-768_A-12": False,
    "cased_L-24_H-1024_A-16": False,
    "multi_cased_L-12_H-768_A-12": False,
}

_is_whitespace = is_whitespace
_is_control = is_control
_is_punctuation = is_punctuation


def validate_case_matches_checkpoint(do_lower_case: bool, init_checkpoint: str | None) -> None:
    """Raises ValueError if the folder name of a released model contradicts `do_lower_case`."""
    named = re.match(r"^.*?([A-Za-z0-9_-]+)/bert_model.ckpt", init_checkpoint or "")
    if named is None or named.group(1) not in _RELEASED:
        return
    expected = _RELEASED[named.group(1)]
    if bool(do_lower_case) != expected:
        raise ValueError(
            f"--do_lower_case={bool(do_lower_case)} does not fit --init_checkpoint={init_checkpoint}: "
            f"{named.group(1)} was pretrained on {'lower-cased' if expected else 'cased'} text, so give "
            f"--do_lower_case={expected}. If the folder's name misleads, rename it."
        )


def convert_to_unicode(text: str | bytes) -> str:
    """Decodes bytes as UTF-8 without undecodable bytes; returns str unchanged; raises ValueError for other types."""
    if isinstance(text, str):
        return text
    if isinstance(text, bytes):
        return text.decode("utf-8", "ignore")
    raise ValueError(f"text must be str or bytes, not {type(text).__name__}")


def printable_text(text: str | bytes) -> str:
    """Returns a str for `print`, in Python 3 the same as `convert_to_unicode`."""
    return convert_to_unicode(text)


def load_vocab(vocab_file: str) -> OrderedDict[str, int]:
    """Returns the tokens of `vocab.txt` with their ids, in file order."""
    return OrderedDict(load_vocabulary(vocab_file).ids)


def convert_by_vocab(vocab: Mapping[Key, Value], items: Iterable[Key]) -> list[Value]:
    """Returns the value of every item; raises KeyError for a missing one."""
    return [vocab[item] for item in items]


def convert_tokens_to_ids(vocab: Mapping[str, int], tokens: Iterable[str]) -> list[int]:
    """`({"가": 5}, ["가"])` → `[5]`."""
    return convert_by_vocab(vocab, tokens)


def convert_ids_to_tokens(inv_vocab: Mapping[int, str], ids: Iterable[int]) -> list[str]:
    """`({5: "가"}, [5])` → `["가"]`."""
    return convert_by_vocab(inv_vocab, ids)


def whitespace_tokenize(text: str) -> list[str]:
    """Splits a text at white space, as `str.split` does: `" 가  나 "` → `["가", "나"]`."""
    return text.split()


class _Wrapped:
    """The shared methods of both full tokenizers, which call the wrapped tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.vocab = tokenizer.vocab
        self.inv_vocab = tokenizer.inv_vocab

    def tokenize(self, text: str | bytes) -> list[str]:
        return self.tokenizer.tokenize(convert_to_unicode(text))

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        return self.tokenizer.convert_tokens_to_ids(tokens)

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        return convert_by_vocab(self.inv_vocab, ids)


class FullTokenizer(_Wrapped):
    """Basic tokenization, then WordPiece: the tokenizer of every BERT script.

    `vocab_file` may be a vocabulary folder. The folder's casing then replaces `do_lower_case`: the default is True, so
    a script that does not set it would otherwise fail, or lower-case text for a cased vocabulary.
    """

    def __init__(self, vocab_file: str, do_lower_case: bool = True) -> None:
        if _is_vocabulary_folder(vocab_file):
            super().__init__(load_tokenizer(vocab_file))
            return
        super().__init__(bert_tokenizer(load_vocabulary(vocab_file), bool(do_lower_case)))
        self.basic_tokenizer = BasicTokenizer(do_lower_case=do_lower_case)
        self.wordpiece_tokenizer = WordpieceTokenizer(vocab=self.vocab)


class MecabTokenizer(_Wrapped):
    """Morphemes, then WordPiece, with the methods of `FullTokenizer`.

    `vocab_file` is a vocabulary folder, whose metadata then replaces the other arguments, or a plain `vocab.txt`, to
    which they apply.
    """

    def __init__(
        self, vocab_file: str, do_lower_case: bool = False, continuation: Continuation = "eojeol"
    ) -> None:
        if _is_vocabulary_folder(vocab_file):
            super().__init__(load_tokenizer(vocab_file))
            return
        splitter = WordSplitter(Normalizer("nfc", bool(do_lower_case)), MecabAnalyzer(), continuation)
        super().__init__(Tokenizer(load_vocabulary(vocab_file), splitter))

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """Returns the ids of pieces, and that of `[UNK]` for missing pieces: `["사과", "없는조각"]` → `[230, 1]`.

        The classes with google-research/bert's names raise KeyError for a missing piece, as the original does.
        """
        named = map(self.tokenizer.vocabulary.special.named, tokens)
        return [self.vocab[token if token in self.vocab else self.tokenizer.unknown] for token in named]


def _is_vocabulary_folder(path: str) -> bool:
    return os.path.isdir(path) or exists(os.path.join(path, METADATA_NAME))


class BasicTokenizer:
    """Cleans and lower-cases text, and makes every punctuation mark and ideograph a separate word."""

    def __init__(self, do_lower_case: bool = True) -> None:
        self.do_lower_case = do_lower_case

    def tokenize(self, text: str | bytes) -> list[str]:
        """Returns the words of a text: `"안녕, World!"` → `["안녕", ",", "World", "!"]` (cased)."""
        splitter = WordSplitter(Normalizer("bert", bool(self.do_lower_case)))
        normalized = splitter.normalizer(convert_to_unicode(text))
        return [
            word.text for eojeol in splitter.marked_eojeols(normalized) for word in splitter.words(eojeol)
        ]


class WordpieceTokenizer:
    """Greedy longest-match-first; a word without a match, or a word that is too long, becomes `unk_token`."""

    def __init__(
        self, vocab: Mapping[str, int], unk_token: str = "[UNK]", max_input_chars_per_word: int = 200
    ) -> None:
        self.vocab = vocab
        self.unk_token = unk_token
        self.max_input_chars_per_word = max_input_chars_per_word

    def tokenize(self, text: str | bytes) -> list[str]:
        """Returns the pieces of a text: `"unaffable"` → `["un", "##aff", "##able"]` with these in the vocabulary."""
        tokens: list[str] = []
        for word in whitespace_tokenize(convert_to_unicode(text)):
            pieces = None
            if len(word) <= self.max_input_chars_per_word:
                pieces = longest_match(word, self.vocab)
            tokens += [self.unk_token] if pieces is None else pieces
        return tokens
