"""Minimal pairs scored by pseudo-log-likelihood (Salazar et al. 2020, "Masked Language Model Scoring").

The discriminator of an ELECTRA scores them without masks: by its probabilities that the pieces are original.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from morphbert.grammar.cutting import Cut, Cutter, Side
from morphbert.grammar.pairs import MinimalPair
from morphbert.grammar.results import GrammarResult, tally
from morphbert.model.config import BertConfig
from morphbert.model.encoder import EncoderInputs, encode
from morphbert.model.graphs import any_shape, specifications
from morphbert.model.heads import discriminator_logits, masked_lm_logits

# Masked copies of so many pairs are made at a time, and so many pieces, padding included, go through the network.
_PAIRS_AT_A_TIME = 512
_TIMED_PAIRS = 256
BATCH_PIECES = 8192
# Scores of the vocabulary's pieces in a call: 256 MB of float32.
_MOST_SCORES = 1 << 26


class _Copy(NamedTuple):
    """A sentence with masks: its pieces, the places of the masks, and the number of the sentence."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    sentence: int


def log_probabilities(
    config: BertConfig,
    weights: Mapping[str, tf.Tensor],
    ids: tf.Tensor,
    mask: tf.Tensor,
    positions: tf.Tensor,
    labels: tf.Tensor,
) -> tf.Tensor:
    """The logarithms of the probabilities of pieces: at masked places, or by a discriminator that they are original.

    Args:
      config: the model's configuration.
      weights: by name, float32.
      ids: int32 [B, L], with [MASK] at the places; for a discriminator with the pieces themselves.
      mask: int32 [B, L], 1 for pieces and 0 for padding.
      positions: int32 [B, P].
      labels: int32 [B, P], the pieces.

    Returns:
      float32 [B, P].
    """
    hidden = encode(weights, config, EncoderInputs(ids, mask, tf.zeros_like(ids)))
    if not config.has_masked_lm:
        replaced = tf.gather(discriminator_logits(weights, config, hidden), positions, batch_dims=1)
        return tf.math.log_sigmoid(-replaced)
    logits = masked_lm_logits(weights, config, hidden, positions)
    return -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


class PairScorer:
    """Scores cut pairs with any weights of a configuration; float32, on whatever device there is."""

    def __init__(self, config: BertConfig, mask_id: int, batch_pieces: int = BATCH_PIECES):
        """`batch_pieces`: pieces in a call of the network, padding included."""
        self._config = config
        self._masks, self._mask_id = config.has_masked_lm, mask_id
        self._batch_pieces = batch_pieces

    def __call__(
        self,
        weights: Mapping[str, tf.Tensor],
        cuts: Sequence[Cut],
        stopping: Callable[[], bool] = lambda: False,
        done: Callable[[int], object] = lambda pairs: None,
    ) -> list[tuple[float, float]] | None:
        """The pseudo-log-likelihoods, or a discriminator's scores, of both sentences of each pair that has sides.

        Args:
          weights: by name, float32.
          cuts: the pairs; those without sides are passed over.
          stopping: asked before each part whether to leave it; then None is returned.
          done: told how many pairs were scored since it was called last.
        """
        sides = [side for cut in cuts for side in (cut.good, cut.bad) if side is not None]
        compute = any_shape(log_probabilities, self._config, specifications(weights), 4)
        scores: list[float] = []
        for start in range(0, len(sides), 2 * _PAIRS_AT_A_TIME):
            if stopping():
                return None
            part = sides[start : start + 2 * _PAIRS_AT_A_TIME]
            scores += self._scores(compute, weights, part)
            done(len(part) // 2)
        return list(zip(scores[::2], scores[1::2], strict=True))

    def _scores(
        self, compute: Callable[..., tf.Tensor], weights: Mapping[str, tf.Tensor], sides: Sequence[Side]
    ) -> list[float]:
        """Sums of the log-probabilities of each sentence's scored pieces, added up in float64."""
        sums = np.zeros(len(sides))
        copies = [
            _Copy(side.ids, positions, number)
            for number, side in enumerate(sides)
            for positions in (side.copies() if self._masks else (side.positions,))
        ]
        for batch in self._batches(copies):
            arrays = self._arrays(batch)
            found = compute(weights, *map(tf.constant, arrays)).numpy().astype(np.float64)
            for copy, row in zip(batch, found, strict=True):
                sums[copy.sentence] += row[: len(copy.positions)].sum()
        return [float(value) for value in sums]

    def _batches(self, copies: Sequence[_Copy]) -> Iterator[list[_Copy]]:
        """Copies of like length together; a longer one than a batch's pieces goes alone."""
        most_places = _MOST_SCORES // self._config.vocab_size
        batch: list[_Copy] = []
        widest = 0
        for copy in sorted(copies, key=lambda one: len(one.ids)):
            widest = max(widest, len(copy.positions))
            rows = len(batch) + 1
            if batch and (rows * len(copy.ids) > self._batch_pieces or rows * widest > most_places):
                yield batch
                batch, widest = [], len(copy.positions)
            batch.append(copy)
        if batch:
            yield batch

    def _arrays(self, batch: Sequence[_Copy]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Copies → ids and mask, int32 [B, L], places and their pieces, int32 [B, P]; padded with 0."""
        length = max(len(copy.ids) for copy in batch)
        places = max(len(copy.positions) for copy in batch)
        ids, mask = (np.zeros([len(batch), length], np.int32) for _ in range(2))
        positions, labels = (np.zeros([len(batch), places], np.int32) for _ in range(2))
        for row, copy in enumerate(batch):
            masked = list(copy.positions)
            ids[row, : len(copy.ids)] = copy.ids
            mask[row, : len(copy.ids)] = 1
            positions[row, : len(masked)] = masked
            labels[row, : len(masked)] = ids[row, masked]
            if self._masks:
                ids[row, masked] = self._mask_id
        return ids, mask, positions, labels


class GrammarEvaluator:
    """Pairs that were cut once for a model, to be scored with its weights as they are at the moment.

    Attributes:
      scored: how many pairs are scored, with spaces and without.
    """

    def __init__(
        self,
        config: BertConfig,
        pairs: Sequence[MinimalPair],
        cutter: Cutter,
        batch_pieces: int = BATCH_PIECES,
    ):
        self._spaced, self._unspaced = cutter(pairs), cutter(pairs, spaces=False)
        self._score = PairScorer(config, cutter.mask_id, batch_pieces)
        self.scored = sum(cut.reason is None for cut in (*self._spaced, *self._unspaced))

    def __call__(
        self,
        weights: Mapping[str, tf.Tensor],
        stopping: Callable[[], bool] = lambda: False,
        done: Callable[[int], object] = lambda pairs: None,
    ) -> GrammarResult | None:
        """Counts by phenomenon, with spaces and without; None if `stopping` said to leave it.

        Args:
          weights: by name, float32.
          stopping: asked now and then.
          done: told how many pairs were scored, each of them twice.
        """
        tallies = []
        for cuts in (self._spaced, self._unspaced):
            scores = self._score(weights, cuts, stopping, done)
            if scores is None:
                return None
            tallies.append(tally(cuts, scores))
        return GrammarResult(*tallies)

    def seconds(self, weights: Mapping[str, tf.Tensor]) -> float:
        """Returns how long an evaluation takes, from some of its pairs, after the network has been compiled."""
        timed = [cut for cut in self._spaced if cut.reason is None][:_TIMED_PAIRS]
        took = 0.0
        for _ in range(2):  # the first time compiles
            started = time.monotonic()
            self._score(weights, timed)
            took = time.monotonic() - started
        return took * self.scored / max(1, len(timed))
