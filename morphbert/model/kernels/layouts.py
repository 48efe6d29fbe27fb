"""The order of axes within attention, from the states of a layer to the states of all its heads, by device.

A CPU multiplies contiguous matrices: heads come before positions, and one wide product for queries, keys and values
reads the states once. XLA's products for accelerators accept any order of axes, and a transposition is a copy there:
heads stay behind positions, where dense layers leave them. Attention within a window is computed along the band of the
scores (`local_attention`), in blocks on a CPU and in tiles on accelerators.
Axes: B sequences, L positions, H hidden, N heads, D = H / N dimensions a head, C tiles of T positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import tensorflow as tf

from morphbert.model.kernels.choice import affine, attention, attention_by_position, platform, rotate
from morphbert.model.kernels.dropout import Dropout
from morphbert.model.kernels.local_attention import (
    banded_attention,
    banded_bias,
    is_banded,
    is_tiled,
    tile_bias,
    tiled_attention,
    tiles,
)
from morphbert.model.shapes import length_of

# The kernel [H, H] and the bias [H], if any, of each dense layer before attention: queries', keys', values'.
Projections = Sequence[tuple[tf.Tensor, tf.Tensor | None]]


class Projected(NamedTuple):
    """The inputs of the products of attention: queries, keys and values of all heads, and the positions of a row."""

    query: tf.Tensor
    key: tf.Tensor
    value: tf.Tensor
    length: int | tf.Tensor


class Layout(Protocol):
    """One order of axes. `half` is that of attention along a band: the positions seen on either side, None without."""

    def goes_along_band(self, length: int | tf.Tensor, half: int) -> bool:
        """Returns whether attention within a window is computed along the band, and not on all pairs with a bias."""

    def band_bias(
        self, input_mask: tf.Tensor, sequence_ids: tf.Tensor | None, half: int, dtype: tf.DType
    ) -> tf.Tensor:
        """Returns `functions.window_bias` in the form that `attention` takes along a band."""

    def angles(self, angles: tf.Tensor, half: int | None) -> tf.Tensor:
        """Returns cosines or sines of positions, [1 or B, 1, L, D/2], in the form that `attention` takes."""

    def cut(self, hidden: tf.Tensor, half: int | None) -> tf.Tensor:
        """Returns the states [B, L, H] in the form that `project` takes: in tiles [B C, T, H], else unchanged.

        A dense layer on tiles leaves its result in the order that the products of attention need. If the result were
        cut, it would be copied.
        """

    def join(self, hidden: tf.Tensor, length: int | tf.Tensor, half: int | None) -> tf.Tensor:
        """Reverses `cut`: → [B, L, H]."""

    def project(self, hidden: tf.Tensor, projections: Projections, heads: int) -> Projected:
        """Returns queries, keys and values in the order of axes of this layout."""

    def attention(
        self,
        projected: Projected,
        bias: tf.Tensor,
        angles: Sequence[tf.Tensor],
        half: int | None,
        dropout: Dropout | None,
    ) -> tf.Tensor:
        """Computes attention of queries to keys, turned by their positions' angles if there are any.

        Returns:
          The states of all heads side by side, [B, L, H], or in tiles [B C, T, H].
        """


class HeadsBeforePositions:
    """[B, N, L, D], for CPUs."""

    def goes_along_band(self, length: int | tf.Tensor, half: int) -> bool:
        return is_banded(length, half)

    def band_bias(
        self, input_mask: tf.Tensor, sequence_ids: tf.Tensor | None, half: int, dtype: tf.DType
    ) -> tf.Tensor:
        return banded_bias(input_mask, sequence_ids, half, dtype)

    def angles(self, angles: tf.Tensor, half: int | None) -> tf.Tensor:
        return angles

    def cut(self, hidden: tf.Tensor, half: int | None) -> tf.Tensor:
        return hidden

    def join(self, hidden: tf.Tensor, length: int | tf.Tensor, half: int | None) -> tf.Tensor:
        return hidden

    def project(self, hidden: tf.Tensor, projections: Projections, heads: int) -> Projected:
        length = length_of(hidden, 1)
        kernel = tf.concat([kernel for kernel, _ in projections], -1)
        biases = [bias for _, bias in projections if bias is not None]
        found = affine(hidden, kernel, tf.concat(biases, -1) if biases else None)
        size = kernel.shape[1] // (len(projections) * heads)
        found = tf.reshape(found, [-1, length, len(projections), heads, size])
        query, key, value = tf.unstack(tf.transpose(found, [2, 0, 3, 1, 4]))
        return Projected(query, key, value, length)

    def attention(
        self,
        projected: Projected,
        bias: tf.Tensor,
        angles: Sequence[tf.Tensor],
        half: int | None,
        dropout: Dropout | None,
    ) -> tf.Tensor:
        query, key, value, length = projected
        width = query.shape[1] * query.shape[3]
        if angles:
            query, key = (rotate(values, *angles) for values in (query, key))
        if half is None:
            context = attention(query, key, value, bias, dropout)
        else:
            context = banded_attention(query, key, value, bias, half, dropout)
        return tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [-1, length, width])


class HeadsBehindPositions:
    """[B, L, N, D], and in tiles [B, C, T, N, D], for accelerators."""

    def goes_along_band(self, length: int | tf.Tensor, half: int) -> bool:
        return is_tiled(length, half)

    def band_bias(
        self, input_mask: tf.Tensor, sequence_ids: tf.Tensor | None, half: int, dtype: tf.DType
    ) -> tf.Tensor:
        return tile_bias(input_mask, sequence_ids, half, dtype)

    def angles(self, angles: tf.Tensor, half: int | None) -> tf.Tensor:
        """→ [1 or B, L, 1, D/2], and in tiles [1 or B, C, T, 1, D/2]."""
        angles = angles[:, 0]
        return (angles if half is None else tiles(angles, half))[..., None, :]

    def cut(self, hidden: tf.Tensor, half: int | None) -> tf.Tensor:
        if half is None:
            return hidden
        found = tiles(hidden, half)
        return tf.reshape(found, [-1, found.shape[2], hidden.shape[2]])

    def join(self, hidden: tf.Tensor, length: int | tf.Tensor, half: int | None) -> tf.Tensor:
        if half is None:
            return hidden
        size, width = hidden.shape[1:]
        return tf.reshape(hidden, [-1, -(-length // size) * size, width])[:, :length]

    def project(self, hidden: tf.Tensor, projections: Projections, heads: int) -> Projected:
        length = length_of(hidden, 1)
        query, key, value = (
            tf.reshape(affine(hidden, kernel, bias), [-1, length, heads, kernel.shape[1] // heads])
            for kernel, bias in projections
        )
        return Projected(query, key, value, length)

    def attention(
        self,
        projected: Projected,
        bias: tf.Tensor,
        angles: Sequence[tf.Tensor],
        half: int | None,
        dropout: Dropout | None,
    ) -> tf.Tensor:
        query, key, value, length = projected
        width = query.shape[2] * query.shape[3]
        if half is not None:
            query, key, value = (
                tf.reshape(values, [-1, length_of(bias, 1), *values.shape[1:]])
                for values in (query, key, value)
            )  # [B, C, T, N, D]
        if angles:
            query, key = (rotate(values, *angles) for values in (query, key))
        attend = attention_by_position if half is None else tiled_attention
        return tf.reshape(attend(query, key, value, bias, dropout), [-1, length, width])


def layout() -> Layout:
    """Returns the layout for the device of the current graph."""
    return HeadsBeforePositions() if platform() == "CPU" else HeadsBehindPositions()
