"""The confusion matrix, and a picture of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# 3 × 5 dots per digit, one row per number, as bits.
_DIGITS = {
    "0": (7, 5, 5, 5, 7),
    "1": (2, 6, 2, 2, 7),
    "2": (7, 1, 7, 4, 7),
    "3": (7, 1, 7, 1, 7),
    "4": (5, 5, 7, 1, 1),
    "5": (7, 4, 7, 1, 7),
    "6": (7, 4, 7, 5, 7),
    "7": (7, 1, 1, 1, 1),
    "8": (7, 5, 7, 5, 7),
    "9": (7, 5, 7, 1, 7),
}
_CELL = 32


@dataclass(frozen=True)
class Confusion:
    """`counts` int64 [C, C]: the number of examples of the row's class that were predicted as the column's class."""

    labels: tuple[str, ...]
    counts: np.ndarray

    @classmethod
    def of(cls, wanted: np.ndarray, found: np.ndarray, labels: Sequence[str]) -> Confusion:
        """Counts pairs of true and predicted class numbers, int [N] each."""
        counts = np.zeros((len(labels), len(labels)), np.int64)
        np.add.at(counts, (wanted, found), 1)
        return cls(tuple(labels), counts)

    @property
    def shares(self) -> np.ndarray:
        """Returns the counts as shares of each row's sum, zeros for a class without examples: float64 [C, C]."""
        rows = self.counts.sum(1, keepdims=True)
        return np.asarray(self.counts / np.maximum(rows, 1))

    def picture(self) -> np.ndarray:
        """Returns the matrix as an image, uint8 [H, W, 3]: rows are true classes, columns predictions, in percent of
        the row.

        Rows and columns are numbered from 0 along the left and upper edge.
        """
        size = len(self.labels) + 1
        image = np.full((size * _CELL, size * _CELL, 3), 255, np.uint8)
        for number in range(size - 1):
            _write(image, 0, number + 1, str(number), dark=True)
            _write(image, number + 1, 0, str(number), dark=True)
        for (row, column), share in np.ndenumerate(self.shares):
            corner = (
                slice((row + 1) * _CELL, (row + 2) * _CELL - 1),
                slice((column + 1) * _CELL, (column + 2) * _CELL - 1),
            )
            image[corner] = (np.array([255, 255, 255]) * (1 - share) + np.array([8, 69, 148]) * share).astype(
                np.uint8
            )
            if self.counts[row, column]:
                _write(image, row + 1, column + 1, str(round(100 * share)), dark=bool(share < 0.5))
        return image

    def __str__(self) -> str:
        """Returns the largest mistakes in a line: `기쁨 → 놀람 12, 놀람 → 기쁨 3`."""
        wrong = [
            (int(count), row, column)
            for (row, column), count in np.ndenumerate(self.counts)
            if row != column and count
        ]
        shown = sorted(wrong, key=lambda one: (-one[0], one[1], one[2]))[:5]
        return ", ".join(
            f"{self.labels[row]} → {self.labels[column]} {count}" for count, row, column in shown
        )


def _write(image: np.ndarray, row: int, column: int, digits: str, dark: bool) -> None:
    scale = 2
    left = column * _CELL + (_CELL - (4 * len(digits) - 1) * scale) // 2
    top = row * _CELL + (_CELL - 5 * scale) // 2
    color = (0, 0, 0) if dark else (255, 255, 255)
    for number, digit in enumerate(digits):
        for line, bits in enumerate(_DIGITS[digit]):
            for dot in range(3):
                if bits >> (2 - dot) & 1:
                    y, x = top + line * scale, left + (4 * number + dot) * scale
                    image[y : y + scale, x : x + scale] = color
