"""Reads Hugging Face tokenizers: every key of their files is either reproduced or refused by name.

    tokenizer_config.json    the class and its arguments
    tokenizer.json           the vocabulary; for a class without its own arguments, the rules of tokenization too
    special_tokens_map.json  special tokens by their role
    added_tokens.json        pieces after the last line of vocab.txt

transformers' BertTokenizer takes its arguments from `tokenizer_config.json` alone and builds the rest itself, even if a
`tokenizer.json` differs. This module does the same.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.files import exists, read_bytes
from morphbert.structured import load_json
from morphbert.text.normalize import Normalizer
from morphbert.text.vocabulary import (
    BERT_SPELLING,
    VOCABULARY_NAME,
    SpecialTokens,
    Vocabulary,
    special_tokens_of_map,
    vocabulary_from_tokens,
    with_added,
    with_special_tokens,
)
from morphbert.text.vocabulary_file import load_vocabulary
from morphbert.text.wordpiece import CONTINUATION
from morphbert.text.words import WordSplitter

TOKENIZER_CONFIG_NAME = "tokenizer_config.json"
JSON_NAME = "tokenizer.json"
SPECIALS_NAME = "special_tokens_map.json"
ADDED_NAME = "added_tokens.json"
FILE_NAMES = (TOKENIZER_CONFIG_NAME, JSON_NAME, SPECIALS_NAME, ADDED_NAME)

_OTHERWISE = "If the model uses BERT's tokenization, give --vocab_file=…/vocab.txt and --do_lower_case."
# Classes that cut text as BertTokenizer does.
_BERT_CLASSES = frozenset(
    name + speed
    for name in (
        "BertTokenizer",
        "ConvBertTokenizer",
        "DistilBertTokenizer",
        "ElectraTokenizer",
        "LayoutLMTokenizer",
        "MobileBertTokenizer",
        "RetriBertTokenizer",
        "SqueezeBertTokenizer",
    )
    for speed in ("", "Fast")
)
# Classes that follow tokenizer.json.
_GENERIC_CLASSES = frozenset(("PreTrainedTokenizerFast", "TokenizersBackend"))
# Keys, each with the only values that are reproduced.
_FIXED: Mapping[str, tuple[Any, ...]] = {
    "auto_map": (None,),
    "clean_text": (True, None),
    "do_basic_tokenize": (True, None),
    "jumanpp_kwargs": (None,),
    "mecab_kwargs": (None,),
    "never_split": (None, []),
    "subword_tokenizer_type": (None, "wordpiece"),
    "sudachi_kwargs": (None,),
    "word_tokenizer_type": (None, "basic"),
    "wordpieces_prefix": (CONTINUATION,),
}
# SentencePiece with lower-casing, without accents, and with " for `` and ''.
_ALBERT_CLASSES = ("AlbertTokenizer", "AlbertTokenizerFast")
# Keys of these classes, each with the values that are reproduced.
_ALBERT_KEYS: Mapping[str, tuple[Any, ...]] = {
    "add_prefix_space": (True, None),
    "do_lower_case": (True, False),
    "keep_accents": (True, False),
    "remove_space": (True,),
    "sp_model_kwargs": (None, {}),
    "tokenizer_class": _ALBERT_CLASSES,
    "trim_offsets": (True, False),
}
_READ = frozenset(("do_lower_case", "strip_accents", "tokenize_chinese_chars", "tokenizer_class"))
# Keys without influence on tokenization.
_INERT = frozenset(
    (
        "add_special_tokens",
        "added_tokens_decoder",
        "additional_special_tokens",
        "backend",
        "bos_token",
        "clean_up_tokenization_spaces",
        "eos_token",
        "extra_special_tokens",
        "full_tokenizer_file",
        "init_inputs",
        "is_local",
        "local_files_only",
        "max_len",
        "max_length",
        "model_input_names",
        "model_max_length",
        "name_or_path",
        "pad_to_multiple_of",
        "pad_token_type_id",
        "padding_side",
        "padding_strategy",
        "processor_class",
        "return_token_type_ids",
        "special_tokens_map_file",
        "split_special_tokens",
        "stride",
        "tokenizer_file",
        "transformers_version",
        "truncation_side",
        "truncation_strategy",
        "use_fast",
        "vocab_file",
        *BERT_SPELLING.as_map(),
    )
)


def is_foreign(folder: str) -> bool:
    """Returns whether a folder has a Hugging Face tokenizer file."""
    return any(exists(os.path.join(folder, name)) for name in FILE_NAMES)


def load_foreign(
    folder: str, do_lower_case: bool | None = None
) -> tuple[Vocabulary, WordSplitter, str | None]:
    """Reads a Hugging Face folder with `vocab.txt` or `tokenizer.json`.

    Args:
      folder: the folder's path.
      do_lower_case: replaces the folder's value; None keeps it.

    Returns:
      The vocabulary, the word splitter, and a line about guessed settings (None if the folder states all of them).

    Raises:
      MorphbertError: a class or key, which the message names, is not reproduced, or two files contradict each other.
    """
    config = _read(folder, TOKENIZER_CONFIG_NAME)
    whole = _read(folder, JSON_NAME)
    _check_class(folder, config)
    special = special_tokens_in(folder)
    _check_keys(folder, config, special)
    added, verbatim = _added(folder, config, whole)
    vocabulary = with_added(_vocabulary(folder, config, whole), added, folder, special)
    vocabulary = with_special_tokens(vocabulary, special, folder)
    _check_further_special_tokens(folder, config, vocabulary)
    described, guess = dict(config), None
    if config.get("tokenizer_class") in _GENERIC_CLASSES:
        described |= _from_pipeline(os.path.join(folder, JSON_NAME), whole)
        guess = _check_special_pieces(os.path.join(folder, JSON_NAME), whole, special)
    if do_lower_case is not None:
        described["do_lower_case"] = do_lower_case
    for key, choices in (
        ("do_lower_case", (True, False)),
        ("strip_accents", (True, False, None)),
        ("tokenize_chinese_chars", (True, False)),
    ):
        if key in described and not any(described[key] is choice for choice in choices):
            shown = ", ".join(json.dumps(choice) for choice in choices)
            raise MorphbertError(
                f"{os.path.join(folder, TOKENIZER_CONFIG_NAME)}: {key} is {json.dumps(described[key])}; it must be one "
                f"of {shown}."
            )
    accents = described.get("strip_accents")
    if "do_lower_case" in described:
        lower = described["do_lower_case"]
    else:
        lower, safe, guess = guess_casing(vocabulary, folder)
        accents = safe if accents is None else accents
    _check_added(folder, vocabulary, Normalizer("transformers", lower, accents), verbatim)
    splitter = WordSplitter(
        Normalizer("transformers", lower, accents, vocabulary.added),
        ideographs_stand_alone=described.get("tokenize_chinese_chars", True),
    )
    return vocabulary, splitter, guess


def guess_casing(vocabulary: Vocabulary, path: str) -> tuple[bool, bool | None, str | None]:
    """Guesses the casing of a vocabulary without a description.

    Returns:
      Whether text is lower-cased, `strip_accents`, and, for a vocabulary with Hangul, a line that reports the guess:
      BERT's lower-casing decomposes Hangul, so a vocabulary of syllables was made without it.
    """
    capitals = vocabulary.has_capitals()
    if not vocabulary.has_hangul_syllables():
        return not capitals, None, None
    if capitals:
        return (
            False,
            None,
            f"{path} does not state its casing; it has capital letters, so text is not lower-cased.",
        )
    return (
        True,
        False,
        f"{path} does not state its casing; it has no capital letters, so text is lower-cased, and Hangul and "
        "accents stay whole. --do_lower_case=true gives google-research/bert's lower-casing, which decomposes Hangul.",
    )


@dataclass(frozen=True)
class AlbertSettings:
    """Changes of transformers' AlbertTokenizer to text before SentencePiece; the defaults are those of the class."""

    do_lower_case: bool = True
    keep_accents: bool = False


def sentencepiece_settings(folder: str) -> AlbertSettings | None:
    """Returns the settings of an AlbertTokenizer's folder; None if text goes to SentencePiece as it is.

    Raises:
      MorphbertError: the folder's tokenizer class or one of its keys, which the message names, is not reproduced.
    """
    path, config = os.path.join(folder, TOKENIZER_CONFIG_NAME), _read(folder, TOKENIZER_CONFIG_NAME)
    name = config.get("tokenizer_class") or _read(folder, "config.json").get("tokenizer_class")
    if isinstance(name, str) and name.startswith(("XLMRoberta", "Camembert", "Barthez", "MBart", "T5")):
        raise MorphbertError(
            f"{path}: tokenizer_class is {name}, whose ids differ from those of the SentencePiece model. This class is "
            "not supported."
        )
    if name not in _ALBERT_CLASSES:
        return None
    for key, value in config.items():
        known = key in _INERT or key in _ALBERT_KEYS
        if not known or not any(
            value is choice or value == choice for choice in _ALBERT_KEYS.get(key, (value,))
        ):
            raise MorphbertError(
                f"{path}: {key} is {json.dumps(value, ensure_ascii=False):.80}, which is not reproduced for {name}."
                + (
                    f" Supported: {', '.join(json.dumps(one) for one in _ALBERT_KEYS[key])}."
                    if key in _ALBERT_KEYS
                    else " The key is unknown, so the tokenization is unknown."
                )
            )
    return AlbertSettings(config.get("do_lower_case", True), config.get("keep_accents", False))


def _read(folder: str, name: str) -> dict[str, Any]:
    path = os.path.join(folder, name)
    if not exists(path):
        return {}
    try:
        values = load_json(read_bytes(path).decode("utf-8-sig"))
    except ValueError as error:
        raise MorphbertError(f"{path} is not JSON: {error}. Copy the file again.") from error
    if not isinstance(values, dict):
        raise MorphbertError(f"{path} contains {type(values).__name__}, not an object.")
    return values


def _check_class(folder: str, config: Mapping[str, Any]) -> None:
    name = config.get("tokenizer_class")
    if name is None:
        config_json = _read(folder, "config.json")
        name = config_json.get("tokenizer_class")
    if name is not None and name not in _BERT_CLASSES | _GENERIC_CLASSES:
        raise MorphbertError(
            f"{os.path.join(folder, TOKENIZER_CONFIG_NAME)}: tokenizer_class is {name}, whose tokenization differs "
            f"from BertTokenizer's. This class is not supported. {_OTHERWISE}"
        )
    if name in _GENERIC_CLASSES and not exists(os.path.join(folder, JSON_NAME)):
        raise MorphbertError(
            f"{folder} has no {JSON_NAME}, which describes tokenizer_class {name}. Copy it into the folder."
        )


def _check_keys(folder: str, config: Mapping[str, Any], special: SpecialTokens) -> None:
    path = os.path.join(folder, TOKENIZER_CONFIG_NAME)
    for key, value in config.items():
        if key == "never_split" and value == list(special.as_map().values()):
            continue
        if key in _FIXED and not any(value == choice for choice in _FIXED[key]):
            raise MorphbertError(
                f"{path}: {key} is {json.dumps(value, ensure_ascii=False):.80}, which cuts text in a way that is not "
                f"reproduced. {_OTHERWISE}"
            )
        if key not in _FIXED and key not in _READ and key not in _INERT:
            raise MorphbertError(
                f"{path}: the key {key} is unknown, so the tokenization is unknown. {_OTHERWISE}"
            )


def _vocabulary(folder: str, config: Mapping[str, Any], whole: Mapping[str, Any]) -> Vocabulary:
    plain = os.path.join(folder, VOCABULARY_NAME)
    path = os.path.join(folder, JSON_NAME)
    vocabulary = load_vocabulary(plain) if exists(plain) else None
    if whole:
        model = whole.get("model")
        if not isinstance(model, dict) or model.get("type", "WordPiece") != "WordPiece":
            kind = model.get("type") if isinstance(model, dict) else None
            raise MorphbertError(f"{path}: the model is of type {kind}; only WordPiece is supported.")
        for key, value in (
            ("continuing_subword_prefix", CONTINUATION),
            ("max_input_chars_per_word", 100),
        ):
            if model.get(key, value) != value:
                raise MorphbertError(
                    f"{path}: {key} is {model[key]!r}; only {value!r} is supported. {_OTHERWISE}"
                )
        tokens = _in_order(path, model.get("vocab"))
        if vocabulary is not None and vocabulary.tokens[: len(tokens)] != tokens[: len(vocabulary)]:
            raise MorphbertError(
                f"{plain} and {path} have different vocabularies: copy both from the same model, or delete one."
            )
        if vocabulary is None or len(tokens) > len(vocabulary):
            vocabulary = vocabulary_from_tokens(tokens)
    if vocabulary is None:
        raise MorphbertError(
            f"{folder} has neither {VOCABULARY_NAME} nor {JSON_NAME}: copy the vocabulary of the model into it."
        )
    return vocabulary


def _in_order(path: str, ids: Any) -> tuple[str, ...]:
    whole = isinstance(ids, dict) and all(type(number) is int for number in ids.values())
    if not whole or sorted(ids.values()) != list(range(len(ids))):
        raise MorphbertError(f"{path}: the ids of model.vocab are not 0, 1, 2… without a gap.")
    return tuple(sorted(ids, key=ids.__getitem__))


def _added(
    folder: str, config: Mapping[str, Any], whole: Mapping[str, Any]
) -> tuple[dict[str, int], set[str]]:
    """Returns the added tokens with their ids, from the three files that may define them.

    Added tokens are found in the text before tokenization. The second value: those that are found before normalisation.
    """
    found: dict[str, int] = {}
    verbatim: set[str] = set()

    def add(file: str, token: Any, number: Any, entry: Any = None) -> None:
        if isinstance(entry, dict):
            if entry.get("single_word"):
                raise MorphbertError(
                    f"{os.path.join(folder, file)}: single_word of the added token {token} is not reproduced. "
                    f"{_OTHERWISE}"
                )
            if not entry.get("normalized", not entry.get("special")):
                verbatim.add(token)
        if not isinstance(token, str) or not token or isinstance(number, bool) or not isinstance(number, int):
            raise MorphbertError(
                f"{os.path.join(folder, file)}: {token!r}: {number!r} is not a token with its id."
            )
        if found.setdefault(token, number) != number:
            raise MorphbertError(
                f"{os.path.join(folder, file)}: the added token {token} has the id {number}, and elsewhere in the "
                f"folder {found[token]}."
            )

    for token, number in _read(folder, ADDED_NAME).items():
        add(ADDED_NAME, token, number)
    entries = whole.get("added_tokens") or []
    for entry in entries if isinstance(entries, list) else [entries]:
        values = entry if isinstance(entry, dict) else {}
        add(JSON_NAME, values.get("content"), values.get("id"), entry)
    decoder = config.get("added_tokens_decoder") or {}
    for number, entry in decoder.items() if isinstance(decoder, dict) else [(None, decoder)]:
        text = entry.get("content") if isinstance(entry, dict) else entry
        add(
            TOKENIZER_CONFIG_NAME,
            text,
            int(str(number)) if re.fullmatch(r"\d{1,18}", str(number)) else number,
            entry,
        )
    return found, verbatim


def _check_added(folder: str, vocabulary: Vocabulary, normalizer: Normalizer, verbatim: set[str]) -> None:
    for token in vocabulary.added:
        if token not in verbatim and normalizer(token) != token:
            raise MorphbertError(
                f"{folder}: the added token {token} is found in normalised text, where it is {normalizer(token)!r}. "
                f"This is not supported. {_OTHERWISE}"
            )


def special_tokens_in(folder: str) -> SpecialTokens:
    """Returns the spelling of the special tokens in a Hugging Face folder; BERT's where its files do not state one.

    Raises:
      MorphbertError: the two files that may state it contradict each other, or the spelling cannot be used.
    """
    found: dict[str, Any] = {}
    for file in (SPECIALS_NAME, TOKENIZER_CONFIG_NAME):
        values = _read(folder, file)
        for role in BERT_SPELLING.as_map():
            value = values.get(role)
            token = value.get("content") if isinstance(value, dict) else value
            if token is not None and found.setdefault(role, token) != token:
                raise MorphbertError(
                    f"{os.path.join(folder, file)}: {role} is {token!r}, and {found[role]!r} in {SPECIALS_NAME}."
                )
    return special_tokens_of_map(BERT_SPELLING.as_map() | found, f"the Hugging Face folder {folder}")


def _check_further_special_tokens(folder: str, config: Mapping[str, Any], vocabulary: Vocabulary) -> None:
    for file, values in ((SPECIALS_NAME, _read(folder, SPECIALS_NAME)), (TOKENIZER_CONFIG_NAME, config)):
        more = values.get("additional_special_tokens") or values.get("extra_special_tokens") or []
        for value in more.values() if isinstance(more, dict) else more:
            token = value.get("content") if isinstance(value, dict) else value
            if token not in vocabulary.lines:
                raise MorphbertError(
                    f"{os.path.join(folder, file)}: the special token {token} is not in the vocabulary, so it has no "
                    "id."
                )


def _from_pipeline(path: str, whole: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a `tokenizer.json` as BertTokenizer's arguments."""
    normalizer, cutter = whole.get("normalizer") or {}, whole.get("pre_tokenizer") or {}
    for part, values, expected in (
        ("normalizer", normalizer, "BertNormalizer"),
        ("pre_tokenizer", cutter, "BertPreTokenizer"),
    ):
        if not isinstance(values, dict) or values.get("type") != expected:
            kind = values.get("type") if isinstance(values, dict) else values
            raise MorphbertError(
                f"{path}: the {part} is {kind!r}; only {expected} is supported. {_OTHERWISE}"
            )
    if normalizer.get("clean_text", True) is not True:
        raise MorphbertError(
            f"{path}: clean_text is {normalizer['clean_text']!r}; only true is supported. {_OTHERWISE}"
        )
    return {
        "do_lower_case": normalizer.get("lowercase", True),
        "strip_accents": normalizer.get("strip_accents"),
        "tokenize_chinese_chars": normalizer.get("handle_chinese_chars", True),
    }


def _check_special_pieces(path: str, whole: Mapping[str, Any], special: SpecialTokens) -> str | None:
    """Refuses a `tokenizer.json` with another unknown piece, or other pieces around a text, than BERT's.

    Returns:
      A line that reports that the file puts nothing around a text, where [CLS] and [SEP] are put all the same.
    """
    model, values = whole["model"], whole.get("post_processor")
    unknown = model.get("unk_token", special.unk_token)
    if unknown != special.unk_token:
        raise MorphbertError(
            f"{path}: unk_token of the model is {unknown!r}, and the folder's is {special.unk_token!r}. {_OTHERWISE}"
        )
    if values is None:
        return f"{path} has no post_processor; [CLS] and [SEP] are put around a text, as BERT does."
    try:
        added = {one["content"]: one["id"] for one in whole.get("added_tokens") or ()}
        same = _is_berts(values, {**model["vocab"], **added}, special.cls_token, special.sep_token)
    except (AttributeError, KeyError, StopIteration, TypeError):
        same = False
    if not same:
        raise MorphbertError(
            f"{path}: the post_processor {json.dumps(values, ensure_ascii=False):.80} does not put "
            f"{special.cls_token} before a text and {special.sep_token} behind it; only this is supported. {_OTHERWISE}"
        )
    return None


def _is_berts(values: Any, ids: Mapping[str, int], first: str, last: str) -> bool:
    if values["type"] == "BertProcessing":
        return bool(values["cls"] == [first, ids[first]] and values["sep"] == [last, ids[last]])
    forms = [[next(iter(item.values()))["id"] for item in values[form]] for form in ("single", "pair")]
    return (
        values["type"] == "TemplateProcessing"
        and forms == [[first, "A", last], [first, "A", last, "B", last]]
        and all(values["special_tokens"][token]["ids"] == [ids[token]] for token in (first, last))
    )
