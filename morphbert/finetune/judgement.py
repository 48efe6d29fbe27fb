"""The evaluation of a model on held-out examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from morphbert.finetune.confusion import Confusion
from morphbert.pages.phrases import Phrase, phrase


@dataclasses.dataclass(frozen=True)
class Mistake:
    """An example with a wrong prediction, and the probability of the prediction."""

    text: str
    label: str
    predicted: str
    probability: float


@dataclasses.dataclass(frozen=True)
class Judgement:
    """Figures, including `num_examples`, and the confusion matrix.

    `groups` has the figures of examples of similar length, by the name of the group. `line` is the printed summary if
    it does not list all figures. `mistakes` are the mistakes with the highest probabilities, highest first.
    """

    figures: dict[str, float]
    confusion: Confusion | None = None
    groups: Mapping[Phrase, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    line: str | None = None
    mistakes: Sequence[Mistake] = ()


def by_length(
    lengths: np.ndarray,
    figures_of: Callable[[np.ndarray], Mapping[str, float]],
    of_characters: bool = False,
    least: int = 10,
) -> dict[Phrase, Mapping[str, float]]:
    """Returns the figures of the shortest, middle and longest third of the examples; nothing for thirds below `least`.

    Args:
      lengths: the length of each example.
      figures_of: returns the figures of the examples with some numbers.
      of_characters: whether the lengths count characters instead of pieces.
    """
    order = np.argsort(lengths, kind="stable")
    thirds: Sequence[np.ndarray] = np.array_split(order, 3)
    if len(thirds[-1]) < least:
        return {}

    def named(of_group: np.ndarray) -> Phrase:
        ends = {"shortest": int(of_group.min()), "longest": int(of_group.max())}
        if of_characters:
            return phrase("{shortest} to {longest} characters", **ends)
        return phrase("{shortest} to {longest} pieces", **ends)

    return {named(lengths[rows]): figures_of(np.sort(rows)) for rows in thirds}


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
