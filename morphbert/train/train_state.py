"""A model in training, with everything that a step changes beside its weights."""

from __future__ import annotations

import dataclasses

from morphbert.model.parameters import TrainableModel
from morphbert.train.moving_average import MovingAverage
from morphbert.train.optimizers.loss_scale import LossScale
from morphbert.train.optimizers.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class TrainState:
    """The variables of a training step, which a checkpoint stores.

    Attributes:
      optimizer: the moments of the trained weights; weights that it was not given are frozen.
      loss_scale: for float16, else None.
      average: the moving average of the weights, if the run keeps one.
    """

    model: TrainableModel
    optimizer: Optimizer
    loss_scale: LossScale | None = None
    average: MovingAverage | None = None

    @classmethod
    def of(
        cls, model: TrainableModel, optimizer: Optimizer, dtype: str, ema_decay: float | None = None
    ) -> TrainState:
        """Adds the variables that computing in `dtype` and a moving average need; within a strategy's scope."""
        return cls(
            model,
            optimizer,
            LossScale() if dtype == "float16" else None,
            None if ema_decay is None else MovingAverage(model, ema_decay),
        )
