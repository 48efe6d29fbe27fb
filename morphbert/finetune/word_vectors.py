"""Initial word embeddings of pieces from a word2vec text file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from morphbert.errors import MorphbertError
from morphbert.formats.word_vectors import word_vectors
from morphbert.text.vocabulary import SPECIAL_TOKENS
from morphbert.text.wordpiece import piece_text


@dataclass(frozen=True)
class WordVectors:
    """Rows for the word embeddings: float32 [E] by piece id, for a vocabulary of `pieces` pieces."""

    source: str
    rows: Mapping[int, np.ndarray]
    pieces: int

    def over(self, table: np.ndarray) -> np.ndarray:
        """Returns word embeddings [V, E] with these rows replaced."""
        changed = table.copy()
        for number, row in self.rows.items():
            changed[number] = row
        return changed

    def __str__(self) -> str:
        return f"{len(self.rows)} of {self.pieces} word embeddings from {self.source}"


def read_word_vectors(path: str, vocabulary: Sequence[str], width: int) -> WordVectors:
    """Returns the vectors of the pieces in a file of word2vec's text format.

    A piece gets the vector of its spelling, or else that of the spelling without `##`.

    Args:
      vocabulary: the pieces in order.
      width: the size of a row of the model's word embeddings.

    Raises:
      MorphbertError: the size differs, a line has another form, or the file has no piece.
    """
    wanted: dict[str, list[int]] = {}
    for number, piece in enumerate(vocabulary):
        if piece not in SPECIAL_TOKENS:
            for word in dict.fromkeys((piece, piece_text(piece))):
                wanted.setdefault(word, []).append(number)
    rows: dict[int, np.ndarray] = {}
    exact: set[int] = set()
    for line_number, word, numbers in word_vectors(path):
        if len(numbers) != width:
            raise MorphbertError(
                f"--word_embeddings={path}: line {line_number} has {len(numbers)} numbers, but the model's word "
                f"embeddings have {width}. Train vectors of that size, or a model of the vectors' size."
            )
        if word not in wanted:
            continue
        try:
            vector = np.asarray(numbers, np.float32)
        except ValueError as error:
            raise MorphbertError(f"--word_embeddings={path}: line {line_number}: {error}") from error
        for number in wanted[word]:
            if vocabulary[number] == word or number not in exact:
                rows[number] = vector
            if vocabulary[number] == word:
                exact.add(number)
    if not rows:
        raise MorphbertError(
            f"--word_embeddings={path} has none of the vocabulary's {len(vocabulary)} pieces."
        )
    return WordVectors(path, rows, len(vocabulary))
