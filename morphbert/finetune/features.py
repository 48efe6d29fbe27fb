"""Labelled examples as arrays, and their order in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from morphbert.interop.sequence_batches import cut_lengths, lengths_of

# The batch feature for deferred class weights: 0 before they begin, 1 afterwards; float32 [B].
REWEIGHTED = "reweighted"
# The number of batches within which examples are sorted by length; the order of the rest stays random.
_POOL = 50


@dataclass(frozen=True)
class Features:
    """N examples of at most L pieces, or of C sequences of at most L pieces each.

    Attributes:
      pieces: `input_ids`, `input_mask`, `segment_ids` and other values per piece: int32 [N, L] or [N, C, L].
      labels: values per example: [N, …].
    """

    pieces: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.pieces["input_ids"])

    @property
    def lengths(self) -> np.ndarray:
        """Returns the number of pieces of each example, or of its longest sequence: int64 [N]."""
        return lengths_of(self.pieces)

    @property
    def max_length(self) -> int:
        return int(self.pieces["input_ids"].shape[-1])


def plan(
    lengths: np.ndarray, max_length: int, batch_size: int, num_steps: int, seed: int, group_by_length: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the examples of each step. They depend only on the arguments, so a resumed run takes the same examples.

    Every pass over the examples has a different order, drawn from (seed, pass); passes follow without a gap.

    Args:
      group_by_length: whether to sort the examples of each 50 batches by length, and cut each batch to its length.

    Returns:
      int64 [num_steps, batch_size], the examples; int64 [num_steps], the lengths of the batches.
    """
    total, passes = num_steps * batch_size, []
    for number in range(-(-total // len(lengths))):
        passes.append(np.random.default_rng((seed, number)).permutation(len(lengths)))
    order = np.concatenate([*passes, np.zeros(0, np.int64)])[:total]
    if not group_by_length:
        return order.reshape(num_steps, batch_size), np.full(num_steps, max_length)
    random, rows = np.random.default_rng((seed, len(passes), 1)), []
    for start in range(0, total, _POOL * batch_size):
        pool = order[start : start + _POOL * batch_size]
        batches = pool[np.argsort(lengths[pool], kind="stable")].reshape(-1, batch_size)
        rows.append(batches[random.permutation(len(batches))])
    chosen = np.concatenate(rows) if rows else np.zeros((0, batch_size), np.int64)
    return chosen, cut_lengths(lengths[chosen].max(1), max_length)
