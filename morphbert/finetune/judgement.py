"""What held-out examples say of a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from morphbert.finetune.confusion import Confusion


@dataclasses.dataclass(frozen=True)
class Mistake:
    """An example that the model is wrong about, with the probability of its prediction."""

    text: str
    label: str
    predicted: str
    probability: float


@dataclasses.dataclass(frozen=True)
class Judgement:
    """Figures with `num_examples` among them, and which classes are taken for which.

    `groups` are figures of examples of like length, by a name for them; `line` is what is said of the figures where
    that is not each of them. `mistakes` are those that the model is surest of, the surest first.
    """

    figures: dict[str, float]
    confusion: Confusion | None = None
    groups: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    line: str | None = None
    mistakes: Sequence[Mistake] = ()


def by_length(
    lengths: np.ndarray,
    figures_of: Callable[[np.ndarray], Mapping[str, float]],
    unit: str = "pieces",
    least: int = 10,
) -> dict[str, Mapping[str, float]]:
    """Figures of the shortest, middle and longest third of the examples; nothing where a third has under `least`.

    Args:
      lengths: how long each example is.
      figures_of: numbers of examples → their figures.
      unit: what lengths count.
    """
    order = np.argsort(lengths, kind="stable")
    thirds: Sequence[np.ndarray] = np.array_split(order, 3)
    if len(thirds[-1]) < least:
        return {}
    return {
        f"{lengths[rows].min()} to {lengths[rows].max()} {unit}": figures_of(np.sort(rows)) for rows in thirds
    }


def surest_mistakes(
    texts: Sequence[str], shares: np.ndarray, labels: np.ndarray, names: Sequence[str], most: int = 10
) -> list[Mistake]:
    """Returns the wrong predictions with the highest probabilities, the highest first.

    Args:
      texts: of N examples.
      shares: probabilities of the classes, [N, C].
      labels: the right classes, int [N].
      names: of the classes.
      most: how many at most.
    """
    predicted, highest = shares.argmax(1), shares.max(1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-highest[wrong], kind="stable")][:most]
    return [
        Mistake(texts[row], names[labels[row]], names[predicted[row]], float(highest[row])) for row in surest
    ]
