"""Sequences of pieces as arrays, and in batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from morphbert.text.sequences import Sequence as Encoded

# The lengths of batches as shares of the longest: a step is compiled once for each.
_SHARES = (0.125, 0.25, 0.375, 0.5, 0.75, 1.0)


def piece_arrays(encoded: Sequence[Encoded], max_length: int) -> dict[str, np.ndarray]:
    """Returns `input_ids`, `input_mask`, `segment_ids`, int32 [N, L], of sequences of at most `max_length` pieces."""
    arrays = {
        name: np.zeros((len(encoded), max_length), np.int32)
        for name in ("input_ids", "input_mask", "segment_ids")
    }
    for row, sequence in enumerate(encoded):
        length = len(sequence.ids)
        arrays["input_ids"][row, :length] = sequence.ids
        arrays["input_mask"][row, :length] = 1
        arrays["segment_ids"][row, :length] = sequence.segment_ids
    return arrays


def lengths_of(pieces: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the number of pieces of each example, or of the longest of its sequences: int64 [N].

    Args:
      pieces: `input_mask`, [N, L] or, with C sequences each, [N, C, L].
    """
    lengths = np.asarray(pieces["input_mask"].sum(-1))
    return lengths if lengths.ndim == 1 else lengths.max(1)


def cut_lengths(lengths: np.ndarray, max_length: int) -> np.ndarray:
    """Returns each length rounded up to one of a few, the largest `max_length`."""
    few = np.unique([min(max_length, max(8, -(-int(max_length * share) // 8) * 8)) for share in _SHARES])
    few = np.unique([*few, max_length])
    return few[np.searchsorted(few, lengths)]


def scoring_batches(
    pieces: Mapping[str, np.ndarray], batch_size: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yields each example once, in batches of similar length: (examples, their pieces cut to the longest).

    The last batch is filled with its first example, so that all batches of a length have one shape.

    Args:
      pieces: values per piece, [N, L] or [N, C, L], with `input_mask`.
    """
    lengths, max_length = lengths_of(pieces), int(pieces["input_mask"].shape[-1])
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        length = int(cut_lengths(lengths[rows].max(keepdims=True), max_length)[0])
        filled = np.concatenate([rows, np.repeat(rows[:1], batch_size - len(rows))])
        yield rows, {name: values[filled][..., :length] for name, values in pieces.items()}
