"""google-research/bert's `tokenization.py` by name and behaviour, and Mecab beside it.

Code that imported that module goes on working with `import tokenization`. The classes take any vocabulary;
what refuses one without `[MASK]` is the commands. Differences, both where the original had no behaviour to
keep: a `vocab_file` that is a folder made by `build_vocab.py` gives the tokenizer that its metadata
describes, and TensorFlow is not imported.
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

# The names by which google-research/bert released its first models, and whether their text is lower-cased.
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
    """Raises ValueError if the name of a released model's folder contradicts `do_lower_case`."""
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
    """Bytes → str as UTF-8, undecodable bytes dropped; str stays; anything else is a ValueError."""
    if isinstance(text, str):
        return text
    if isinstance(text, bytes):
        return text.decode("utf-8", "ignore")
    raise ValueError(f"text has to be str or bytes, not {type(text).__name__}")


def printable_text(text: str | bytes) -> str:
    """A str fit for `print`: in Python 3 the same as `convert_to_unicode`."""
    return convert_to_unicode(text)


def load_vocab(vocab_file: str) -> OrderedDict[str, int]:
    """`vocab.txt` → token → id, in the order of the file."""
    return OrderedDict(load_vocabulary(vocab_file).ids)


def convert_by_vocab(vocab: Mapping[Key, Value], items: Iterable[Key]) -> list[Value]:
    """Looks every item up; KeyError for one that is missing."""
    return [vocab[item] for item in items]


def convert_tokens_to_ids(vocab: Mapping[str, int], tokens: Iterable[str]) -> list[int]:
    """`({"가": 5}, ["가"])` → `[5]`."""
    return convert_by_vocab(vocab, tokens)


def convert_ids_to_tokens(inv_vocab: Mapping[int, str], ids: Iterable[int]) -> list[str]:
    """`({5: "가"}, [5])` → `["가"]`."""
    return convert_by_vocab(inv_vocab, ids)


def whitespace_tokenize(text: str) -> list[str]:
    """Splits at white space as `str.split` sees it; `" 가  나 "` → `["가", "나"]`."""
    return text.split()


class _Wrapped:
    """The methods that both full tokenizers share, over the tokenizer that does the work."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.vocab = tokenizer.vocab
        self.inv_vocab = tokenizer.inv_vocab

    def tokenize(self, text: str | bytes) -> list[str]:
        return self.tokenizer.tokenize(convert_to_unicode(text))

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        return convert_by_vocab(self.vocab, tokens)

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        return convert_by_vocab(self.inv_vocab, ids)


class FullTokenizer(_Wrapped):
    """Basic tokenization, then WordPiece: the tokenizer of every BERT script.

    `vocab_file` may be a vocabulary folder. The folder then decides, whatever `do_lower_case` says: its
    default is True, so that a script that never mentions it would otherwise be refused, or lower-case a
    cased vocabulary.
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

    `vocab_file` is a vocabulary folder, whose metadata then decides, or a plain `vocab.txt`, to which the
    other arguments apply.
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
        """Pieces → ids, `[UNK]`'s for what the vocabulary lacks: `["사과", "없는조각"]` → `[230, 1]`.

        The classes of google-research/bert raise KeyError there, as the original does.
        """
        return [self.vocab[token if token in self.vocab else self.tokenizer.unknown] for token in tokens]


def _is_vocabulary_folder(path: str) -> bool:
    return os.path.isdir(path) or exists(os.path.join(path, METADATA_NAME))


class BasicTokenizer:
    """Cleaning, lower-casing, and a word of its own for every punctuation mark and ideograph."""

    def __init__(self, do_lower_case: bool = True) -> None:
        self.do_lower_case = do_lower_case

    def tokenize(self, text: str | bytes) -> list[str]:
        """`"안녕, World!"` → `["안녕", ",", "World", "!"]` (cased)."""
        splitter = WordSplitter(Normalizer("bert", bool(self.do_lower_case)))
        normalized = splitter.normalizer(convert_to_unicode(text))
        return [
            word.text for eojeol in splitter.marked_eojeols(normalized) for word in splitter.words(eojeol)
        ]


class WordpieceTokenizer:
    """Greedy longest-match-first; a word that cannot be cut, or is too long, becomes `unk_token`."""

    def __init__(
        self, vocab: Mapping[str, int], unk_token: str = "[UNK]", max_input_chars_per_word: int = 200
    ) -> None:
        self.vocab = vocab
        self.unk_token = unk_token
        self.max_input_chars_per_word = max_input_chars_per_word

    def tokenize(self, text: str | bytes) -> list[str]:
        """`"unaffable"` → `["un", "##aff", "##able"]`, given those three."""
        tokens: list[str] = []
        for word in whitespace_tokenize(convert_to_unicode(text)):
            pieces = None
            if len(word) <= self.max_input_chars_per_word:
                pieces = longest_match(word, self.vocab)
            tokens += [self.unk_token] if pieces is None else pieces
        return tokens
