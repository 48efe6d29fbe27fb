"""Reads `vocab.txt` and a map of its special tokens."""

from __future__ import annotations

from morphbert.errors import MorphbertError
from morphbert.files import in_form_of_disk, read_bytes
from morphbert.structured import load_json
from morphbert.text.vocabulary import SpecialTokens, Vocabulary, parse_vocabulary, special_tokens_of_map


def load_vocabulary(path: str) -> Vocabulary:
    """Reads `vocab.txt`; see `parse_vocabulary`.

    Raises:
      MorphbertError: the file cannot be read, is not UTF-8 (the message names the line), or is empty.
    """
    return parse_vocabulary(read_bytes(path), path)


def read_special_tokens_map(given: str) -> SpecialTokens:
    """Reads a value of `--special_tokens_map`: the path of a JSON file, or the JSON itself, which begins with `{`.

    Raises:
      MorphbertError: the file cannot be read, is not JSON, has a key twice, or its map cannot be used
        (`special_tokens_of_map`).
    """
    inline = given.lstrip().startswith("{")
    source = "--special_tokens_map" if inline else f"--special_tokens_map={given}"
    try:
        values = load_json(given if inline else read_bytes(in_form_of_disk(given)).decode("utf-8-sig"))
    except ValueError as error:
        raise MorphbertError(
            f"{source} is not JSON: {error}. Give the path of a special_tokens_map.json, or its content in single "
            "quotes."
        ) from error
    return special_tokens_of_map(values, source)
