"""Reads `vocab.txt`."""

from __future__ import annotations

from morphbert.files import read_bytes
from morphbert.text.vocabulary import Vocabulary, parse_vocabulary


def load_vocabulary(path: str) -> Vocabulary:
    """Reads `vocab.txt`; see `parse_vocabulary`.

    Raises:
      MorphbertError: the file cannot be read, is not UTF-8 (the message names the line), or is empty.
    """
    return parse_vocabulary(read_bytes(path), path)
