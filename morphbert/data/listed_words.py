"""Finds listed words, such as names and terms of a domain, which are masked more often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from morphbert.data.arrays import Bool, Int64
from morphbert.errors import UsageError
from morphbert.formats.lines import read_lines
from morphbert.text.tokenizer import Tokenizer

# An odd number: the hash of a run of pieces is a polynomial in it, modulo 2⁶⁴.
_BASE = np.uint64(0x9E3779B97F4A7C15)


def read_words(path: str) -> tuple[str, ...]:
    """Returns the words of a file, one per line; empty lines are skipped.

    Raises:
      UsageError: the file contains no word.
    """
    words = tuple(dict.fromkeys(word for line in read_lines(path) if (word := line.strip())))
    if not words:
        raise UsageError(f"--mask_words_file={path} contains no word: give one per line.")
    return words


def pieces_of_words(words: Sequence[str], tokenizer: Tokenizer) -> tuple[tuple[int, ...], ...]:
    """Returns the ids of each word at the start of an eojeol and within one, as the tokenizer cuts it.

    A word that the vocabulary lacks, or whose pieces differ within an eojeol, counts once.
    """
    unknown = tokenizer.vocab["[UNK]"]
    found: dict[tuple[int, ...], None] = {}
    for word in words:
        tokens = tokenizer.tokenize(word)
        continued = [f"##{tokens[0]}", *tokens[1:]] if tokens and f"##{tokens[0]}" in tokenizer.vocab else []
        for pieces in (tokens, continued):
            ids = tuple(tokenizer.convert_tokens_to_ids(pieces))
            if ids and unknown not in ids:
                found[ids] = None
    return tuple(found)


def occurrences(ids: Int64, listed: Sequence[tuple[int, ...]]) -> Bool:
    """Returns the pieces within an occurrence of one of the listed runs of pieces, bool [N, L].

    Runs are compared by a 64-bit hash: one false match is expected in 10¹³ places.
    """
    found = np.zeros(ids.shape, np.bool_)
    by_length: dict[int, list[tuple[int, ...]]] = {}
    for run in listed:
        by_length.setdefault(len(run), []).append(run)
    for length, runs in by_length.items():
        if length > ids.shape[1]:
            continue
        wanted = _hashes(np.array(runs, np.int64), length)[:, 0]
        rows, columns = np.nonzero(np.isin(_hashes(ids, length), wanted))
        for offset in range(length):
            found[rows, columns + offset] = True
    return found


def _hashes(ids: Int64, length: int) -> npt.NDArray[np.uint64]:
    """Returns a hash of each run of `length` pieces of [N, L], as [N, L − length + 1]."""
    places = ids.shape[1] - length + 1
    hashes = np.zeros((len(ids), places), np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(length):
            hashes = (hashes + ids[:, offset : offset + places].astype(np.uint64) + np.uint64(1)) * _BASE
            hashes ^= hashes >> np.uint64(29)
    return hashes
