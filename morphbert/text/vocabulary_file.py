"""Reads `vocab.txt`."""

from __future__ import annotations

import codecs

from morphbert.errors import MorphbertError
from morphbert.files import read_bytes
from morphbert.text.vocabulary import Vocabulary, vocabulary_of_file


def load_vocabulary(path: str) -> Vocabulary:
    r"""Reads `vocab.txt` as google-research/bert does: lines end with `\n`, and white space around tokens is dropped.

    A byte order mark at the beginning is dropped.

    Raises:
      MorphbertError: the file cannot be read, is not UTF-8 (the message names the line), or is empty.
    """
    content = read_bytes(path)
    lines = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    tokens = []
    for number, line in enumerate(lines, start=1):
        try:
            tokens.append(line.decode("utf-8").strip())
        except UnicodeDecodeError as error:
            raise MorphbertError(
                f"{path}, line {number}: not UTF-8. A vocabulary is a UTF-8 text file with one token per line."
            ) from error
    if not tokens:
        raise MorphbertError(f"{path} is empty: a vocabulary has one token per line.")
    return vocabulary_of_file(tuple(tokens), content)
