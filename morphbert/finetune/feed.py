"""Batches of examples that are in memory, for the training loop and for scoring."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from morphbert.finetune.features import Features, cut_lengths, plan
from morphbert.train.record_sets import Portion


class ExampleFeed:
    """The batches of a run over `features`; where it stands is the number of the step and nothing else."""

    def __init__(
        self, features: Features, batch_size: int, num_steps: int, seed: int, group_by_length: bool
    ) -> None:
        self._features = features
        self._rows, self._lengths = plan(
            features.lengths, features.max_length, batch_size, num_steps, seed, group_by_length
        )
        self._pieces = {name: tf.constant(values) for name, values in features.pieces.items()}
        self._labels = {name: tf.constant(values) for name, values in features.labels.items()}
        self._called: set[int] = set()
        self.begin(0)

    def begin(self, step: int) -> None:
        """Says which step is taken next."""
        self._step = step
        rows, lengths = self._rows[step:], self._lengths[step:]
        self._iterators = {
            int(length): iter(self._dataset(rows[lengths == length], int(length)))
            for length in np.unique(lengths)
        }

    def _dataset(self, rows: np.ndarray, length: int) -> tf.data.Dataset:
        def batch(chosen: tf.Tensor) -> dict[str, tf.Tensor]:
            pieces = {name: tf.gather(values, chosen)[:, :length] for name, values in self._pieces.items()}
            return {**pieces, **{name: tf.gather(values, chosen) for name, values in self._labels.items()}}

        return tf.data.Dataset.from_tensor_slices(rows).map(batch).prefetch(2)

    def take(self, most: int) -> Portion:
        """The next steps whose batches are cut to one length; a length's first call is one step, to compile it."""
        length = int(self._lengths[self._step])
        first = length not in self._called
        self._called.add(length)
        count = 1
        while (
            not first
            and count < most
            and self._step + count < len(self._lengths)
            and self._lengths[self._step + count] == length
        ):
            count += 1
        self._step += count
        return Portion(None, self._iterators[length], count, first)


def scoring_batches(
    features: Features, batch_size: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Every example once, those of like length together: (examples, their pieces cut to the longest of them).

    The last batch is filled up with its first example, so that all of a length have one shape.
    """
    lengths = features.lengths
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        length = int(cut_lengths(lengths[rows].max(keepdims=True), features.max_length)[0])
        filled = np.concatenate([rows, np.repeat(rows[:1], batch_size - len(rows))])
        yield rows, {name: values[filled, :length] for name, values in features.pieces.items()}
