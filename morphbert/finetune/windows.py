"""Overlapping windows of texts longer than the model's input, and the choice of the best window for a piece."""

from __future__ import annotations

from collections.abc import Sequence


def best_windows(starts: Sequence[int], lengths: Sequence[int]) -> list[list[bool]]:
    """Returns for each piece of each window whether that window has the most context for it on its shorter side.

    Windows of 4 pieces that begin at 0 and 2: `best_windows([0, 2], [4, 4])` → `[[T, T, T, F], [F, T, T, T]]`: each of
    the six pieces is best in exactly one.

    Args:
      starts: the number of each window's first piece.
      lengths: the number of pieces in each window.
    """

    def context(index: int, piece: int) -> float:
        left, right = piece - starts[index], starts[index] + lengths[index] - 1 - piece
        return min(left, right) + 0.01 * lengths[index] if left >= 0 and right >= 0 else -1.0

    best = {
        piece: max(range(len(starts)), key=lambda index: context(index, piece))
        for start, length in zip(starts, lengths, strict=True)
        for piece in range(start, start + length)
    }
    return [
        [best[piece] == index for piece in range(start, start + length)]
        for index, (start, length) in enumerate(zip(starts, lengths, strict=True))
    ]
