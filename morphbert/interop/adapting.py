"""Adapts a model to another vocabulary or to longer texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from morphbert.errors import MorphbertError
from morphbert.interop.pretrained import Pretrained
from morphbert.model.names import MASKED_LM, POSITION_EMBEDDINGS, WORD_EMBEDDINGS
from morphbert.text.jamo import compose
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import is_bracketed
from morphbert.text.wordpiece import is_continuation, piece_text
from morphbert.text.words import Word

_BIAS = f"{MASKED_LM}/output_bias"


@dataclasses.dataclass(frozen=True)
class Mapped:
    """The sources of the new vocabulary's embeddings.

    Attributes:
      same: the number of pieces that the old vocabulary has too.
      composed: the number of pieces that got the mean of the old pieces that spell them.
      unknown: the number of pieces that the old ones cannot spell; they got the mean of all embeddings.
    """

    same: int
    composed: int
    unknown: int

    def __str__(self) -> str:
        total = self.same + self.composed + self.unknown
        return (
            f"{total:,} pieces: {self.same:,} as before, {self.composed:,} the mean of their old pieces, "
            f"{self.unknown:,} the mean of all"
        )


def with_vocabulary(model: Pretrained, old: Tokenizer, new: Tokenizer) -> tuple[Pretrained, Mapped]:
    """Returns the model for another vocabulary, see `map_pieces`."""
    weights, mapped = map_pieces(model.weights, old, new)
    config = dataclasses.replace(model.config, vocab_size=len(new.vocabulary))
    return dataclasses.replace(model, config=config, weights=weights), mapped


def map_pieces(
    weights: Mapping[str, np.ndarray], old: Tokenizer, new: Tokenizer, size: int | None = None
) -> tuple[dict[str, np.ndarray], Mapped]:
    """Maps the word embeddings and the masked LM's bias piece by piece.

    `size` is the number of rows of the new table, where it is more than there are pieces: rows without a piece get
    the mean of all.

    A piece that both vocabularies have keeps its row, wherever it stands; another gets the mean of the rows of
    the old pieces that spell it; one that they cannot spell, the mean of all rows, as a piece that means nothing yet.
    """
    table = weights[WORD_EMBEDDINGS]
    bias = weights.get(_BIAS)
    everything = np.arange(len(old.vocabulary))
    rows = np.tile(table[everything].mean(0), (size or len(new.vocabulary), 1)).astype(np.float32)
    biases = np.zeros(len(rows), np.float32)
    counts = [0, 0, 0]
    for number, token in enumerate(new.vocabulary.tokens):
        if token in old.vocab:
            sources, kind = np.array([old.vocab[token]]), 0
        else:
            pieces = _spelled(token, old)
            sources, kind = (np.array(pieces), 1) if pieces else (everything, 2)
        rows[number] = table[sources].mean(0)
        if bias is not None:
            biases[number] = bias[sources].mean()
        counts[kind] += 1
    mapped = {**weights, WORD_EMBEDDINGS: rows}
    if bias is not None:
        mapped[_BIAS] = biases
    return mapped, Mapped(*counts)


def _spelled(token: str, old: Tokenizer) -> list[int]:
    """Ids of the old pieces that a new one is written with; none where it cannot be, or is a special token."""
    if is_bracketed(token):
        return []
    continues = is_continuation(token)
    text = old.splitter.normalizer(compose(piece_text(token)))
    ids: list[int] = []
    for eojeol in text.split():
        pieces = old.cut_word(Word(eojeol, 0, continues or bool(ids), 0))
        if pieces is None:
            return []
        ids += old.convert_tokens_to_ids(pieces)
    return ids


def with_positions(model: Pretrained, positions: int) -> Pretrained:
    """Lengthens the position embeddings by repetition, which keeps their knowledge of neighbours.

    (Beltagy et al. 2020, "Longformer", section 5.) Fewer are cut off. Rotary positions have no embeddings.

    Raises:
      MorphbertError: less than one position.
    """
    if positions < 1:
        raise MorphbertError(f"--max_position_embeddings={positions}: at least 1.")
    weights = dict(model.weights)
    if POSITION_EMBEDDINGS in weights:
        weights[POSITION_EMBEDDINGS] = resize_positions(weights, positions, model.config.position_offset)
    config = dataclasses.replace(model.config, max_position_embeddings=positions)
    return dataclasses.replace(model, config=config, weights=weights)


def resize_positions(
    weights: Mapping[str, np.ndarray], positions: int, offset: int = 0, new_offset: int | None = None
) -> np.ndarray:
    """Returns the position table with so many positions, see `with_positions`.

    Args:
      weights: by name.
      positions: how many.
      offset: rows of the table before the first position (`BertConfig.position_offset`).
      new_offset: of the new table; None for the same. Rows that were not there are 0: they are for padding alone.
    """
    table = weights[POSITION_EMBEDDINGS]
    before = table[:offset]
    if new_offset is not None and new_offset != offset:
        before = np.zeros((new_offset, table.shape[1]), table.dtype)
    return np.concatenate([before, np.resize(table[offset:], (positions, table.shape[1]))])
