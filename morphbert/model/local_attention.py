"""Attention within a window (Beltagy et al. 2020, "Longformer"), computed along the band of the score matrix alone.

A query sees the keys at a distance of at most `half` positions on either side. Queries are taken in blocks of S ≥ half
positions; the keys that a block can see lie in it and in its two neighbours, so the products are [S, 3 S] for each of
the L / S blocks: their cost grows with L · S, not with L². Masks cut the corners exactly.
Axes: B sequences, N heads, L positions, D dimensions a head, C = ⌈L / S⌉ blocks.
"""

from __future__ import annotations

import tensorflow as tf

from morphbert.model import kernels
from morphbert.model.kernels.dropout import Dropout
from morphbert.model.shapes import length_of

# Matrix products of fewer rows than this do not use the processor well.
_SMALLEST_BLOCK = 32
_HIDDEN = -10000.0


def block_size(half: int) -> int:
    """Positions of a block of queries, S."""
    return max(half, _SMALLEST_BLOCK)


def is_banded(length: int | tf.Tensor, half: int) -> bool:
    """Whether blocks save anything: not where three of them are the whole sequence.

    A length that is not known, as in a served graph, may be long.
    """
    return not isinstance(length, int) or length > 3 * block_size(half)


def window_bias(
    input_mask: tf.Tensor, sequence_ids: tf.Tensor | None, half: int, dtype: tf.DType
) -> tf.Tensor:
    """Hides places outside the window, padding and other examples: int32 [B, L] → [B, 1, L, L], 0 or -10000."""
    place = tf.range(length_of(input_mask, 1))
    near = tf.abs(place[:, None] - place[None, :]) <= half
    if sequence_ids is None:
        visible = tf.cast(input_mask, tf.bool)[:, None, :]
    else:
        visible = tf.equal(sequence_ids[:, :, None], sequence_ids[:, None, :])
    return _bias(near & visible, dtype)[:, None]


def banded_bias(
    input_mask: tf.Tensor, sequence_ids: tf.Tensor | None, half: int, dtype: tf.DType
) -> tf.Tensor:
    """`window_bias` along the band: int32 [B, L] → [B C, 1, S, 3 S], 0 or -10000."""
    size = block_size(half)
    row, column = tf.range(size)[:, None], tf.range(3 * size)[None, :]
    near = tf.abs(column - size - row) <= half  # [S, 3 S]
    if sequence_ids is None:
        keys = _neighbours(tf.cast(input_mask, tf.int32)[:, None, :, None], size)[:, 0, :, 0]  # [B C, 3 S]
        visible = tf.cast(keys, tf.bool)[:, None, :]
    else:
        # Counted from 1, so that the zeros around the sequence are no example, nor its padding.
        numbers = (sequence_ids + 1)[:, None, :, None]
        keys = _neighbours(numbers, size)[:, 0, :, 0]
        visible = tf.equal(_blocks(numbers, size)[:, 0, :, 0][:, :, None], keys[:, None, :])
    return _bias(near & visible, dtype)[:, None]


def banded_attention(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, bias: tf.Tensor, half: int, dropout: Dropout | None
) -> tf.Tensor:
    """`attention` under `window_bias`, along the band.

    Args:
      query: [B, N, L, D], as are key and value.
      key: the keys, which are compared with the queries.
      value: the values, which are summed.
      bias: `banded_bias`, [B C, 1, S, 3 S].
      half: positions that are seen on either side.
      dropout: of the weights [B C, N, S, 3 S].

    Returns:
      [B, N, L, D].
    """
    size, length = block_size(half), length_of(query, 2)
    heads, width = query.shape[1], query.shape[3]
    context = kernels.attention(
        _blocks(query, size), _neighbours(key, size), _neighbours(value, size), bias, dropout
    )  # [B C, N, S, D]
    blocks = -(-length // size)
    context = tf.reshape(context, [-1, blocks, heads, size, width])
    context = tf.reshape(tf.transpose(context, [0, 2, 1, 3, 4]), [-1, heads, blocks * size, width])
    return context[:, :, :length]


def _bias(visible: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return (1.0 - tf.cast(visible, dtype)) * tf.cast(_HIDDEN, dtype)


def _blocks(values: tf.Tensor, size: int) -> tf.Tensor:
    """[B, N, L, D] → [B C, N, S, D], the last block filled up with zeros."""
    return _cut(tf.pad(values, [[0, 0], [0, 0], [0, -length_of(values, 2) % size], [0, 0]]), size)


def _neighbours(values: tf.Tensor, size: int) -> tf.Tensor:
    """[B, N, L, D] → [B C, N, 3 S, D]: each block between its two neighbours, zeros beyond the ends."""
    fill = -length_of(values, 2) % size
    padded = tf.pad(values, [[0, 0], [0, 0], [size, fill + size], [0, 0]])
    whole = length_of(padded, 2) - 2 * size
    parts = [_cut(padded[:, :, start : start + whole], size) for start in (0, size, 2 * size)]
    return tf.concat(parts, 2)


def _cut(values: tf.Tensor, size: int) -> tf.Tensor:
    """[B, N, C S, D] → [B C, N, S, D]."""
    heads, width, length = values.shape[1], values.shape[3], length_of(values, 2)
    blocks = tf.reshape(values, [-1, heads, length // size, size, width])
    return tf.reshape(tf.transpose(blocks, [0, 2, 1, 3, 4]), [-1, heads, size, width])
