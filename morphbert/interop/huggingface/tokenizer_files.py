"""The tokenizer files of a Hugging Face folder: a stock one where that is exact, else one that brings its code.

    analyser none    `tokenizer.json` alone: read by AutoTokenizer in every version, and by other programs.
    mecab            `tokenization_morphbert.py` (`trust_remote_code=True`) gives exactly our ids and offsets; beside
                     it `stock_tokenizer/`, which cuts without Mecab and so differently.

A stock tokenizer of transformers matches special tokens in the text before anything else is done to it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.interop.huggingface.copied_code import copied_code
from morphbert.interop.vocabularies import user_dictionary_of
from morphbert.text.analyzers import USER_DICTIONARY_NAME
from morphbert.text.description import LONGEST_WORD, make_tokenizer
from morphbert.text.foreign import SPECIALS_NAME
from morphbert.text.metadata import METADATA_NAME, metadata_bytes
from morphbert.text.sentencepiece_tokenizer import SentencePieceTokenizer
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import (
    BERT_SPELLING,
    CLS,
    SEP,
    SPECIAL_TOKENS,
    UNK,
    VOCABULARY_NAME,
    SpecialTokens,
    vocabulary_bytes,
)
from morphbert.text.wordpiece import CONTINUATION
from morphbert.text.words import WordSplitter

STOCK_FOLDER = "stock_tokenizer"
CODE_NAME = "tokenization_morphbert.py"
CODE_CLASS = "MorphbertTokenizer"
_CODE_MODULE = "morphbert.interop.huggingface.remote_tokenizer"
_ROLES = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")  # in transformers' order
# Longer than any text: only google-research/bert has a limit.
_NO_LIMIT = 2**31 - 1

# White space and dropped characters, as Oniguruma writes them; \x1c-\x1f are white space to Python.
_NFC_SPACE = r"[\t-\r\x1c-\x1f\x{85}\p{Z}]"
_NFC_DROPPED = r"[[\p{Cc}\p{Cf}]&&[^\t-\r\x1c-\x1f\x{85}]]"
_BERT_SPACE = r"[ \t\n\r\p{Zs}\x{2028}\x{2029}]"
_PUNCTUATION = r"[!-/:-@\[-`{-~\p{P}]"
_BERT_DROPPED = r"[[\p{Cc}\p{Cf}\x{fffd}]&&[^\t\n\r]]"
_CLEANED = {
    "nfc": (_NFC_SPACE, _NFC_DROPPED),
    "jamo": (_NFC_SPACE, _NFC_DROPPED),
    "bert": (_BERT_SPACE, _BERT_DROPPED),
    "transformers": (_BERT_SPACE, r"[[\p{Cc}\p{Cf}\p{Co}\x{fffd}]&&[^\t\n\r]]"),
}


def has_exact_stock_tokenizer(tokenizer: Tokenizer) -> bool:
    """Returns whether a tokenizer of transformers gives the same ids: neither analyser nor Jamo."""
    plain = tokenizer.splitter.analyzer is None and not tokenizer.splitter.decomposes
    return plain and not isinstance(tokenizer, SentencePieceTokenizer)


def write_tokenizer(folder: str, tokenizer: Tokenizer, max_length: int, segments: bool = True) -> None:
    """Writes `vocab.txt`, our metadata and the files of transformers.

    Args:
      folder: where to.
      tokenizer: whose files are written.
      max_length: pieces that the model takes.
      segments: whether the model tells segments apart, so that `token_type_ids` are among its inputs.

    Raises:
      MorphbertError: the tokenizer is of a kind that no tokenizer file can be written for, or its vocabulary lacks a
        special token or has a token on two lines, which the written files cannot be loaded with.
    """
    analyzer = tokenizer.describe()["analyzer"]["name"]
    if analyzer not in ("none", "mecab"):
        raise MorphbertError(
            f"a tokenizer with the analyser {analyzer} cannot be exported to Hugging Face: there are files for "
            "mecab and none."
        )
    tokenizer.vocabulary.check_for_pretraining("the vocabulary of the tokenizer")
    lines = vocabulary_bytes(tokenizer.vocabulary.lines)
    _write(folder, VOCABULARY_NAME, lines)
    described = tokenizer.describe()
    sha256 = hashlib.sha256(lines).hexdigest()
    described["vocab"] = {"size": len(tokenizer.vocabulary), "sha256": sha256}
    _write(folder, METADATA_NAME, metadata_bytes(described))
    common = _common(tokenizer.vocabulary.special, max_length, segments)
    if has_exact_stock_tokenizer(tokenizer):
        _write_stock(folder, tokenizer, common)
        return
    words = user_dictionary_of(tokenizer)
    if words is not None:
        _write(folder, USER_DICTIONARY_NAME, words)
    for name, source in copied_code(_CODE_MODULE, CODE_NAME.removesuffix(".py")).items():
        _write(folder, name, source.encode("utf-8"))
    _write_json(
        folder,
        "tokenizer_config.json",
        {
            **common,
            "tokenizer_class": CODE_CLASS,
            "auto_map": {"AutoTokenizer": [f"{CODE_NAME.removesuffix('.py')}.{CODE_CLASS}", None]},
            "do_lower_case": tokenizer.splitter.normalizer.do_lower_case,
        },
    )
    _write_special_tokens_map(folder, tokenizer.vocabulary.special)
    stock = os.path.join(folder, STOCK_FOLDER)
    os.makedirs(stock)
    _write(stock, VOCABULARY_NAME, lines)
    _write_stock(stock, without_analyzer(tokenizer), common)


def without_analyzer(tokenizer: Tokenizer) -> Tokenizer:
    """Returns the tokenizer with the same vocabulary and normalisation and without Mecab, as the stock tokenizer is."""
    normalizer = tokenizer.splitter.normalizer
    return make_tokenizer(tokenizer.vocabulary, WordSplitter(normalizer, None, "eojeol"))


def agreement(tokenizer: Tokenizer, lines: Iterable[str]) -> tuple[int, float, float]:
    """Returns how often the stock tokenizer cuts as `tokenizer` does: (eojeols, share of them, share of lines)."""
    stock = without_analyzer(tokenizer)
    eojeols = same = texts = same_texts = 0
    for line in lines:
        ours, theirs = _by_eojeol(tokenizer, line), _by_eojeol(stock, line)
        equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
        eojeols += len(ours)
        same += equal
        texts += 1
        same_texts += equal == len(ours)
    return eojeols, same / max(eojeols, 1), same_texts / max(texts, 1)


def _by_eojeol(tokenizer: Tokenizer, line: str) -> list[tuple[int, ...]]:
    encoding = tokenizer.encode(line)
    found: list[list[int]] = [[] for _ in range(encoding.word_ids[-1] + 1)] if encoding.ids else []
    for number, word in zip(encoding.ids, encoding.word_ids, strict=True):
        found[word].append(number)
    return [tuple(ids) for ids in found]


def _common(special: SpecialTokens, max_length: int, segments: bool) -> dict[str, Any]:
    inputs = ["input_ids", *(["token_type_ids"] if segments else []), "attention_mask"]
    return {
        **{role: special.as_map()[role] for role in _ROLES},
        "model_max_length": max_length,
        "model_input_names": inputs,
        "clean_up_tokenization_spaces": False,
    }


def _write_stock(folder: str, tokenizer: Tokenizer, common: dict[str, Any]) -> None:
    content = json.dumps(stock_tokenizer(tokenizer), ensure_ascii=False, indent=1) + "\n"
    _write(folder, "tokenizer.json", content.encode("utf-8"))
    # The class that takes tokenizer.json as it is: BertTokenizer builds its own normalisation since transformers 5.
    _write_json(
        folder,
        "tokenizer_config.json",
        {
            **common,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "do_lower_case": tokenizer.splitter.normalizer.do_lower_case,
        },
    )
    _write_special_tokens_map(folder, tokenizer.vocabulary.special)


def _write_special_tokens_map(folder: str, special: SpecialTokens) -> None:
    """Writes the file for programs that do not read `tokenizer_config.json`; BERT's spelling needs none."""
    if special != BERT_SPELLING:
        _write_json(folder, SPECIALS_NAME, special.as_map())


def stock_tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    """Returns the content of `tokenizer.json` for a tokenizer without analyser."""
    written = tokenizer.vocabulary.special.written
    ids = {written(token): number for token, number in tokenizer.vocab.items()}
    first, last = written(CLS), written(SEP)
    longest = LONGEST_WORD.get(tokenizer.splitter.normalizer.form, _NO_LIMIT)
    single: list[dict[str, Any]] = [_special(first, 0), _sequence("A", 0), _special(last, 0)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": ids[token],
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for token in (*map(written, SPECIAL_TOKENS), *tokenizer.vocabulary.added)
        ],
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(tokenizer.splitter)},
        # BertPreTokenizer would do, except for punctuation that Unicode has had since version 8.
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "WhitespaceSplit"},
                {
                    "type": "Split",
                    "pattern": {"Regex": _PUNCTUATION},
                    "behavior": "Isolated",
                    "invert": False,
                },
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, _sequence("B", 1), _special(last, 1)],
            "special_tokens": {
                token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in (first, last)
            },
        },
        "decoder": {"type": "WordPiece", "prefix": CONTINUATION, "cleanup": False},
        "model": {
            "type": "WordPiece",
            "unk_token": written(UNK),
            "continuing_subword_prefix": CONTINUATION,
            "max_input_chars_per_word": longest,
            "vocab": ids,
        },
    }


def _normalizers(splitter: WordSplitter) -> list[dict[str, Any]]:
    """Our normalisation in the terms of the library `tokenizers`; ideographs are parted from their neighbours last."""
    normalizer = splitter.normalizer
    space, dropped = _CLEANED[normalizer.form]
    steps = [_replace(space, " "), _replace(dropped, "")]
    if normalizer.do_lower_case:
        steps.append({"type": "Lowercase"})
    if normalizer.strips:
        steps += [{"type": "NFD"}, _replace(r"\p{Mn}", "")]
    if normalizer.composes:
        # Beside the exact tokenizer only: NFD takes apart more than Hangul.
        steps.append({"type": "NFD" if normalizer.form == "jamo" else "NFC"})
    ideographs = {
        "clean_text": False,
        "handle_chinese_chars": splitter.ideographs_stand_alone,
        "strip_accents": False,
        "lowercase": False,
    }
    return [*steps, {"type": "BertNormalizer", **ideographs}]


def _replace(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def _special(token: str, segment: int) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": segment}}


def _sequence(name: str, segment: int) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": segment}}


def _write(folder: str, name: str, content: bytes) -> None:
    with open(os.path.join(folder, name), "wb") as stream:
        stream.write(content)


def _write_json(folder: str, name: str, values: dict[str, Any]) -> None:
    _write(folder, name, (json.dumps(values, ensure_ascii=False, indent=2) + "\n").encode("utf-8"))
