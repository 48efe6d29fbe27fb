"""The kind of the piece behind each mask: nouns, josa and endings, whole eojeols, frequent and rare pieces.

Worked out on the host, once for each batch of an evaluation, from the records' own pieces; the device only counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.piece_kinds import KINDS, piece_kinds
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import SPECIAL_TOKENS
from morphbert.train.input.record_sets import RecordSet
from morphbert.train.input.records import evaluation_dataset

# Pieces by how often they occur: those that make up the first half of the text, the next 40% and the last tenth.
BANDS = ("frequent", "middle", "rare")
_BAND_ENDS = (0.5, 0.9)
_COUNTED_BATCHES, _COUNTED_BATCH = 100, 256


def count_pieces(sets: Sequence[RecordSet], vocab_size: int) -> np.ndarray:
    """Returns how often each piece occurs in the first some 25,000 records of the sets: int64 [V]."""
    counts = np.zeros(vocab_size, np.int64)
    for chosen in sets:
        dataset = evaluation_dataset(chosen.files, chosen.form, _COUNTED_BATCH, chosen.first_file)
        for batch in dataset.take(max(1, _COUNTED_BATCHES // len(sets))):
            real = (batch["input_mask"].numpy() > 0) & (batch["example_weights"].numpy()[:, None] > 0)
            counts += np.bincount(batch["input_ids"].numpy()[real], minlength=vocab_size)
    return counts


class PredictionKinds:
    """Finds the kinds of masked pieces in batches of records, by their vocabulary.

    Attributes:
      names: of the kinds, in the order of the last axis of `prediction_kinds`.
    """

    def __init__(self, tokenizer: Tokenizer, counts: np.ndarray):
        """counts: how often each piece occurs, int [V], for the bands."""
        analyzer = tokenizer.splitter.analyzer
        # The analyser does not know Jamo; without Mecab there are no tags.
        tagged = isinstance(analyzer, MecabAnalyzer) and not tokenizer.splitter.decomposes
        self._analyzer = analyzer if tagged and isinstance(analyzer, MecabAnalyzer) else None
        self._tokens = np.array(tokenizer.vocabulary.tokens, object)
        self._begins = ~np.array(tokenizer.vocabulary.continuations)
        special = np.isin(self._tokens, SPECIAL_TOKENS)
        # BERT treats punctuation as a separate word; it is no eojeol.
        letters = np.array([any(char.isalnum() for char in token) for token in self._tokens])
        self._is_eojeol = letters & ~special
        self._bands = frequency_bands(np.where(special, 0, counts))
        self.names: tuple[str, ...] = (*(KINDS if self._analyzer else ()), *BANDS)

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Records' features [B, …] → the kinds of their masked pieces.

        Returns:
          `prediction_kinds`, float32 [B, P, kinds], 1 where a masked piece is of the kind; `prediction_eojeols`, int32
          [B, P], the number of the eojeol, if all of its pieces are masked, from 0 in each record, else -1.
        """
        rows, places = batch["masked_lm_weights"].shape
        kinds = np.zeros([rows, places, len(self.names)], np.float32)
        eojeols = np.full([rows, places], -1, np.int32)
        for row in range(rows):
            count = int(np.count_nonzero(batch["masked_lm_weights"][row]))
            positions = batch["masked_lm_positions"][row, :count]
            labels = batch["masked_lm_ids"][row, :count]
            ids = batch["input_ids"][row].copy()
            ids[positions] = labels
            kinds[row, np.arange(count), len(self.names) - len(BANDS) + self._bands[labels]] = 1.0
            if self._analyzer:
                of_pieces = piece_kinds(self._tokens[ids].tolist(), self._analyzer)
                for place, position in enumerate(positions):
                    if (kind := of_pieces[position]) is not None:
                        kinds[row, place, KINDS.index(kind)] = 1.0
            eojeols[row, :count] = self._whole_eojeols(ids, positions)
        return {"prediction_kinds": kinds, "prediction_eojeols": eojeols}

    def _whole_eojeols(self, ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Ids [L], masked positions [M] → int [M], a number for each eojeol that is masked from end to end, or -1."""
        words = np.cumsum(self._begins[ids])
        first = np.searchsorted(words, words[positions])  # where each masked piece's word begins
        sizes, masked = np.bincount(words), np.bincount(words[positions], minlength=words[-1] + 1)
        whole = (sizes == masked)[words[positions]] & self._is_eojeol[ids[first]]
        _, numbers = np.unique(words[positions], return_inverse=True)
        return np.where(whole, numbers, -1)


def frequency_bands(counts: np.ndarray) -> np.ndarray:
    """Counts [V] → the number in `BANDS` of each piece: int [V].

    `[60, 30, 9, 1]` → 0, 1, 2, 2: the first is more than half of the text by itself.
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]  # in text, of pieces that occur more often
    bands = np.empty(len(counts), np.int64)
    bands[order] = np.searchsorted(np.array(_BAND_ENDS) * max(1, counts.sum()), before, side="right")
    return bands


def sums_by_kind(batch: Mapping[str, tf.Tensor], right: tf.Tensor) -> tf.Tensor:
    """Predictions of each kind and the right ones among them: float32 [2, kinds + 1], whole eojeols at the end.

    Args:
      batch: with `masked_lm_weights` [B, P] and the result of `PredictionKinds`.
      right: float32 [B, P], 1 where the prediction is the label.
    """
    weights = batch["masked_lm_weights"]
    of_kind = batch["prediction_kinds"] * weights[..., None]
    # One row for each eojeol of a record; it is right where all of its pieces are.
    eojeols = (
        tf.one_hot(batch["prediction_eojeols"], weights.shape[1]) * weights[..., None]
    )  # [B, P, eojeols]
    sizes, hits = tf.reduce_sum(eojeols, 1), tf.reduce_sum(eojeols * right[..., None], 1)
    exists = tf.cast(sizes > 0.0, tf.float32)
    all_right = exists * tf.cast(tf.equal(sizes, hits), tf.float32)
    counts = tf.concat([tf.reduce_sum(of_kind, [0, 1]), [tf.reduce_sum(exists)]], 0)
    rights = tf.reduce_sum(of_kind * right[..., None], [0, 1])
    return tf.stack([counts, tf.concat([rights, [tf.reduce_sum(all_right)]], 0)])
