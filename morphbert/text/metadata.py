"""`morphbert_tokenizer.json`: the settings that, with the vocabulary, define a tokenizer.

The file is beside `vocab.txt`. The loader compares the installed analyser with it, because the same text must give the
same pieces on every machine, and another dictionary version would silently give others.
"""

from __future__ import annotations

import json
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.structured import load_json, refuse_newer
from morphbert.text.analyzers import OVERRIDE
from morphbert.text.vocabulary import VOCABULARY_NAME, special_tokens_of_map

METADATA_NAME = "morphbert_tokenizer.json"
FORMAT_VERSION = 4

_CHOICES = {
    "continuation": ("eojeol", "morpheme"),
    "normalization": ("nfc", "jamo", "bert", "transformers"),
    "do_lower_case": (False, True),
}
# Optional entries: transformers' arguments of these names, and added tokens.
_OPTIONAL = {"strip_accents": (False, True), "tokenize_chinese_chars": (False, True)}


def metadata_bytes(description: dict[str, Any]) -> bytes:
    """Returns the file's content for a tokenizer's description; the same description gives the same bytes.

    It has the lowest sufficient format version, so older programs can read it if they support its settings.
    """
    content = {"format_version": _needed_version(description), **description}
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode("utf-8")


def _needed_version(description: dict[str, Any]) -> int:
    if "special_tokens" in description:
        return 4
    if description["normalization"] == "transformers" or {*_OPTIONAL, "added_tokens"} & description.keys():
        return 3
    newer = {"morpheme_tags", "user_dictionary"} & set(description["analyzer"])
    return 2 if newer or description["normalization"] == "jamo" else 1


def parse_metadata(data: bytes, path: str) -> dict[str, Any]:
    """Returns the content of the file, with its form checked; `check_analyzer` compares it with the installed analyser.

    Args:
      data: the bytes of the file.
      path: the file, for messages.

    Raises:
      MorphbertError: the file is not JSON or has a newer format, or an entry is missing or has an unknown value.
    """
    try:
        content = load_json(data)
    except ValueError as error:
        raise MorphbertError(
            f"{path} is damaged: {error}. Copy the vocabulary folder again, or recreate it with build_vocab.py."
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("format_version"), int):
        raise MorphbertError(f"{path} is not a tokenizer description: it has no format_version.")
    refuse_newer(path, content["format_version"], FORMAT_VERSION)
    for key, choices in _CHOICES.items():
        if content.get(key) not in choices:
            shown = "nothing" if key not in content else json.dumps(content[key], ensure_ascii=False)
            raise MorphbertError(
                f"{path}: {key} is {shown}; it must be one of {', '.join(json.dumps(choice) for choice in choices)}."
            )
    for key, choices in _OPTIONAL.items():
        if key in content and content[key] not in choices:
            raise MorphbertError(f"{path}: {key} is {json.dumps(content[key])}; it must be true or false.")
    added = content.get("added_tokens", [])
    if not isinstance(added, list) or not all(isinstance(token, str) for token in added):
        raise MorphbertError(f"{path}: added_tokens is not a list of tokens.")
    if "special_tokens" in content:
        special_tokens_of_map(content["special_tokens"], f"{path}: special_tokens")
    analyzer = content.get("analyzer")
    if not isinstance(analyzer, dict) or not isinstance(analyzer.get("name"), str):
        raise MorphbertError(f"{path}: analyzer has no name.")
    return content


def check_vocabulary(path: str, recorded: dict[str, Any], sha256: str, size: int) -> None:
    """Refuses a `vocab.txt` other than the one that the metadata at `path` describes, if it describes one."""
    vocabulary = recorded.get("vocab")
    if not vocabulary:
        return
    if vocabulary.get("sha256") != sha256:
        raise MorphbertError(
            f"the {VOCABULARY_NAME} beside {path} has {size} lines and SHA-256 {sha256[:12]}…, but the folder was "
            f"made with {vocabulary.get('size')} lines and {str(vocabulary.get('sha256'))[:12]}…. Copy the "
            'folder again, or, if the vocabulary was edited on purpose, delete the entry "vocab".'
        )


def check_casing(path: str, recorded: bool, wanted: bool) -> None:
    """Refuses a casing other than the one that the vocabulary was learned with."""
    if recorded != wanted:
        raise MorphbertError(
            f"--do_lower_case={str(wanted).lower()} contradicts {path}, with {str(recorded).lower()}: the vocabulary "
            f"was learned that way. Leave the flag out, or learn another vocabulary. {OVERRIDE}"
        )
