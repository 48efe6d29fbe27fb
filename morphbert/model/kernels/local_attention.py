"""Attention within a window (Beltagy et al. 2020, "Longformer"), computed along the band of the score matrix alone.

The plain form is `functions.attention` with `functions.window_bias`.

A query sees the keys at a distance of at most `half` positions on either side. Queries are taken in blocks of S ≥ half
positions; the keys that a block can see lie in it and in its two neighbours, so the products are [S, 3 S] for each of
the L / S blocks: their cost grows with L · S, not with L². Masks cut the corners exactly.

Accelerators get tiles (`tile_bias`, `tiled_attention`): T = 2 S queries and 2 T keys, those of the tile itself and the
nearer halves of its neighbours. All keys keep their place in the tile, so that nothing moves along the fast axis of a
TPU's memory, and with S = 64 a tile fills its 128 lanes.
Axes: B sequences, N heads, L positions, D dimensions a head, C = ⌈L / S⌉ blocks or ⌈L / T⌉ tiles.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from morphbert.model.functions import bias_of
from morphbert.model.kernels.choice import attention, attention_by_position
from morphbert.model.kernels.dropout import Dropout
from morphbert.model.shapes import length_of

# Matrix products of fewer rows than this do not use the processor well.
_SMALLEST_BLOCK = 32


def block_size(half: int) -> int:
    """Returns the number of positions in a block of queries, S."""
    return max(half, _SMALLEST_BLOCK)


def is_banded(length: int | tf.Tensor, half: int) -> bool:
    """Returns whether blocks save anything: not where three of them are the whole sequence.

    A length that is not known, as in a served graph, may be long.
    """
    return not isinstance(length, int) or length > 3 * block_size(half)


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
    return bias_of(near & visible, dtype)[:, None]


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
    context = attention(
        _blocks(query, size), _neighbours(key, size), _neighbours(value, size), bias, dropout
    )  # [B C, N, S, D]
    blocks = -(-length // size)
    context = tf.reshape(context, [-1, blocks, heads, size, width])
    context = tf.reshape(tf.transpose(context, [0, 2, 1, 3, 4]), [-1, heads, blocks * size, width])
    return context[:, :, :length]


def is_tiled(length: int | tf.Tensor, half: int) -> bool:
    """Returns whether tiles save anything: not where two of them are the whole sequence."""
    return not isinstance(length, int) or length > 2 * tile_size(half)


def tile_size(half: int) -> int:
    """Returns the number of positions in a tile of queries, T."""
    return 2 * block_size(half)


def tiles(values: tf.Tensor, half: int) -> tf.Tensor:
    """[B, L, X] → [B, C, T, X], the last tile filled up with zeros."""
    size = tile_size(half)
    padded = tf.pad(values, [[0, 0], [0, -length_of(values, 1) % size], [0, 0]])
    return tf.reshape(padded, [-1, length_of(padded, 1) // size, size, values.shape[2]])


def tile_bias(input_mask: tf.Tensor, sequence_ids: tf.Tensor | None, half: int, dtype: tf.DType) -> tf.Tensor:
    """`window_bias` for `tiled_attention`: int32 [B, L] → [B, C, 1, T, 2 T], 0 or -10000."""
    size = tile_size(half)
    row, column = tf.range(size)[:, None], tf.range(size)[None, :]
    beside = column + tf.where(_first_half(size), size, -size)
    near = tf.abs(tf.concat([column, beside], 1) - row) <= half  # [T, 2 T]
    # Counted from 1, so that the zeros beyond the ends are no example.
    numbers = input_mask if sequence_ids is None else sequence_ids + 1
    queries = tiles(numbers[:, :, None], half)[:, :, :, 0, None, None]  # [B, C, T, 1, 1]
    keys = _with_neighbours(queries)[:, :, 0, 0]  # [B C, 2 T]
    if sequence_ids is None:
        visible = tf.cast(keys, tf.bool)[:, None, :]
    else:
        visible = tf.equal(tf.reshape(queries, [-1, size, 1]), keys[:, None, :])
    return tf.reshape(bias_of(near & visible, dtype), [-1, length_of(queries, 1), 1, size, 2 * size])


def tiled_attention(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, bias: tf.Tensor, dropout: Dropout | None
) -> tf.Tensor:
    """`attention` under `window_bias`, in tiles.

    Args:
      query: [B, C, T, N, D], as are key and value.
      key: the keys, which are compared with the queries.
      value: the values, which are summed.
      bias: `tile_bias`, [B, C, 1, T, 2 T].
      dropout: of the weights [B C, N, T, 2 T].

    Returns:
      [B C, T, N, D].
    """
    queries, biases = (tf.reshape(one, [-1, *one.shape[2:]]) for one in (query, bias))
    return attention_by_position(queries, _with_neighbours(key), _with_neighbours(value), biases, dropout)


def _with_neighbours(values: tf.Tensor) -> tf.Tensor:
    """[B, C, T, N, D] → [B C, 2 T, N, D]: each tile, then the near halves of its neighbours, zeros beyond the ends."""
    size, *rest = values.shape[2:]
    return tf.reshape(tf.concat([values, _beside(values)], 2), [-1, 2 * size, *rest])


@tf.custom_gradient
def _beside(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """[B, C, T, N, D] → the same: the first half of the next tile, then the second half of the one before."""
    first = _first_half(values.shape[2])[:, None, None]

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.where(first, _before(upstream), _next(upstream))

    return tf.where(first, _next(values), _before(values)), gradient


def _first_half(size: int) -> tf.Tensor:
    return tf.range(size) < size // 2


def _next(values: tf.Tensor) -> tf.Tensor:
    """Returns each tile of [B, C, T, N, D] replaced by the next one, the last one by zeros."""
    return tf.pad(values[:, 1:], [[0, 0], [0, 1], [0, 0], [0, 0], [0, 0]])


def _before(values: tf.Tensor) -> tf.Tensor:
    """Returns each tile of [B, C, T, N, D] replaced by the one before, the first one by zeros."""
    return tf.pad(values[:, :-1], [[0, 0], [1, 0], [0, 0], [0, 0], [0, 0]])


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
