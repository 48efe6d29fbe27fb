"""Batches of examples in memory, for the training loop."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from morphbert.finetune.features import REWEIGHTED, Features, plan
from morphbert.train.input.record_sets import Portion
from morphbert.train.input.records import unconverted


class ExampleFeed:
    """The batches of a run over `features`; its only state is the number of the step."""

    def __init__(
        self,
        features: Features,
        batch_size: int,
        num_steps: int,
        seed: int,
        group_by_length: bool,
        reweighted_from: int | None = None,
    ) -> None:
        """With `reweighted_from`, every batch records whether its step is that one or a later one."""
        self._rows, self._lengths = plan(
            features.lengths,
            features.max_length,
            batch_size=batch_size,
            num_steps=num_steps,
            seed=seed,
            group_by_length=group_by_length,
        )
        self._pieces = {name: tf.constant(values) for name, values in features.pieces.items()}
        self._labels = {name: tf.constant(values) for name, values in features.labels.items()}
        begun = num_steps if reweighted_from is None else reweighted_from
        self._reweighted = (np.arange(num_steps) >= begun).astype(np.float32)
        self._says_reweighted = reweighted_from is not None
        self._called: set[int] = set()
        self.begin(0)

    def begin(self, step: int) -> None:
        """Sets the next step."""
        self._step = step
        steps = np.arange(step, len(self._lengths))
        self._iterators = {
            int(length): iter(self._dataset(steps[self._lengths[step:] == length], int(length)))
            for length in np.unique(self._lengths[step:])
        }

    @unconverted
    def _dataset(self, steps: np.ndarray, length: int) -> tf.data.Dataset:
        def batch(chosen: tf.Tensor, reweighted: tf.Tensor) -> dict[str, tf.Tensor]:
            pieces = {name: tf.gather(values, chosen)[..., :length] for name, values in self._pieces.items()}
            labels = {name: tf.gather(values, chosen) for name, values in self._labels.items()}
            if self._says_reweighted:
                labels[REWEIGHTED] = tf.fill(tf.shape(chosen), reweighted)
            return {**pieces, **labels}

        rows = tf.data.Dataset.from_tensor_slices((self._rows[steps], self._reweighted[steps]))
        return rows.map(batch).prefetch(2)

    def take(self, most: int) -> Portion:
        """Returns the next steps with batches of one length; the first call of a length is one step, for its
        compilation.
        """
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
        rows = self._rows[self._step : self._step + count]
        self._step += count

        def named(number: int) -> str:
            return f"examples {', '.join(map(str, sorted(rows[number].tolist())))}, counted from 0"

        return Portion(None, self._iterators[length], count, first, named)
