"""The exponential moving average of a model's weights (Polyak & Juditsky 1992), which is evaluated and exported."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from morphbert.model.kernels.compiled import fused
from morphbert.model.parameters import TrainableModel


class MovingAverage:
    """Follows the weights of a model: average ← kept × average + (1 - kept) × weight after each update.

    `kept` is the lower of `decay` and (1 + t) / (10 + t) after t updates, as in `tf.train.ExponentialMovingAverage`
    with `num_updates`, so that the initial weights are soon forgotten. Create it inside the strategy's scope: each
    replica moves its own copy, and all copies are equal.
    """

    def __init__(self, model: TrainableModel, decay: float):
        self.decay = decay
        #: The averages, as a model to evaluate.
        self.model = TrainableModel(model.config, model.declared)
        self.start_from(model)

    def start_from(self, model: TrainableModel) -> None:
        """Makes the averages the weights of the model."""
        for name, average in self.model.parameters.items():
            average.assign(tf.convert_to_tensor(model.parameters[name]))

    def move(self, weights: Mapping[str, tf.Variable], updates: tf.Tensor) -> None:
        """Takes in the weights after so many updates, int64; within a replica's step."""
        done = tf.cast(updates, tf.float32)
        kept = tf.minimum(self.decay, (1.0 + done) / (10.0 + done))
        # As tensors: a compiled function must not be given variables of another replica's device.
        averages, now = (
            {name: tf.convert_to_tensor(some[name]) for name in weights}
            for some in (self.model.parameters, weights)
        )
        for name, value in _moved(averages, now, kept).items():
            self.model.parameters[name].assign(value)


def _move(
    averages: Mapping[str, tf.Tensor], now: Mapping[str, tf.Tensor], kept: tf.Tensor
) -> dict[str, tf.Tensor]:
    return {name: kept * average + (1.0 - kept) * now[name] for name, average in averages.items()}


_moved = fused(_move)
