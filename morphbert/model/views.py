"""The visibility between the pieces of a layer: padding, examples that share a sequence, windows, rotary positions.

Axes: B sequences, N heads, L positions, D dimensions a head.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import cast

import tensorflow as tf

from morphbert.model import kernels
from morphbert.model.config import BertConfig
from morphbert.model.kernels.dropout import Dropout
from morphbert.model.local_attention import (
    banded_attention,
    banded_bias,
    is_banded,
    is_tiled,
    tile_bias,
    tiled_attention,
    tiles,
    window_bias,
)
from morphbert.model.rotary import rotation
from morphbert.model.shapes import length_of


@dataclasses.dataclass(frozen=True)
class View:
    """The inputs of one layer's attention besides the hidden states.

    Attributes:
      tensors: the bias of the scores and, with rotary positions, the angles' cosines and sines.
      half: of attention along a band, the positions seen on either side; None where each piece is compared with all.
      tiled: whether that is computed in tiles, with heads behind positions, and the angles are [1 or B, C, T, 1, D/2].
    """

    tensors: tuple[tf.Tensor, ...]
    half: int | None = None
    tiled: bool = False

    def of(self, tensors: Sequence[tf.Tensor]) -> View:
        """Returns the same view of other tensors, those that a recomputed block was given."""
        return dataclasses.replace(self, tensors=tuple(tensors))

    def cut(self, hidden: tf.Tensor) -> tf.Tensor:
        """The states as `self_attention` takes them: [B, L, H], and in tiles [B C, T, H].

        A dense layer on tiles leaves its result in the order that the products of attention need. If the result were
        cut, it would be copied.
        """
        if not self.tiled:
            return hidden
        found = tiles(hidden, cast(int, self.half))
        return tf.reshape(found, [-1, found.shape[2], hidden.shape[2]])

    def join(self, hidden: tf.Tensor, length: int | tf.Tensor) -> tf.Tensor:
        """Returns the inverse of `cut`: → [B, L, H]."""
        if not self.tiled:
            return hidden
        size, width = hidden.shape[1:]
        return tf.reshape(hidden, [-1, -(-length // size) * size, width])[:, :length]

    def attention(
        self, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, dropout: Dropout | None
    ) -> tf.Tensor:
        """Returns the attention of queries to keys, turned by their angles if positions have any: [B, N, L, D]."""
        bias, *angles = self.tensors
        if angles:
            query, key = (kernels.rotate(values, *angles) for values in (query, key))
        if self.half is None:
            return kernels.attention(query, key, value, bias, dropout)
        return banded_attention(query, key, value, bias, self.half, dropout)

    def attention_by_position(
        self, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, dropout: Dropout | None
    ) -> tf.Tensor:
        """`attention` with heads behind positions: [B, L, N, D] each, and in tiles [B C, T, N, D]."""
        bias, *angles = self.tensors
        if self.tiled:
            query, key, value = (
                tf.reshape(values, [-1, length_of(bias, 1), *values.shape[1:]])
                for values in (query, key, value)
            )  # [B, C, T, N, D]
        query, key = (kernels.rotate(values, *angles) for values in (query, key)) if angles else (query, key)
        if self.tiled:
            return tiled_attention(query, key, value, bias, dropout)
        return kernels.attention_by_position(query, key, value, bias, dropout)


def views(
    config: BertConfig,
    input_mask: tf.Tensor,
    sequence_ids: tf.Tensor | None,
    position_ids: tf.Tensor | None,
    dtype: tf.DType,
) -> list[View]:
    """Returns the view of each layer, computed once for all layers of a kind.

    Args:
      config: the model's configuration.
      input_mask: int32 [B, L], 1 for pieces and 0 for padding.
      sequence_ids: int32 [B, L], which of the examples that share a sequence a piece belongs to; None for one each.
      position_ids: int32 [B, L], the position of a piece in its example; None for those from 0.
      dtype: of the hidden states.
    """
    places = tf.range(length_of(input_mask, 1))[None] if position_ids is None else position_ids
    by_reach = {
        reach: _view(config, reach, input_mask, sequence_ids, places, dtype)
        for reach in {config.is_global(layer) for layer in range(config.num_hidden_layers)}
    }
    return [by_reach[config.is_global(layer)] for layer in range(config.num_hidden_layers)]


def _view(
    config: BertConfig,
    reaches_all: bool,
    input_mask: tf.Tensor,
    sequence_ids: tf.Tensor | None,
    places: tf.Tensor,
    dtype: tf.DType,
) -> View:
    half = None if reaches_all or config.local_attention is None else config.local_attention // 2
    by_position, length = kernels.keeps_heads_behind_positions(), length_of(input_mask, 1)
    along_band = half is not None and (is_tiled if by_position else is_banded)(length, half)
    tiled = along_band and by_position
    if half is not None:
        bias_of = (tile_bias if tiled else banded_bias) if along_band else window_bias
        bias = bias_of(input_mask, sequence_ids, half, dtype)
    elif sequence_ids is None:
        bias = attention_bias(input_mask, dtype)
    else:
        bias = packed_attention_bias(sequence_ids, dtype)
    angles: tuple[tf.Tensor, ...] = ()
    if config.position_embedding_type != "absolute":
        theta = config.global_rope_theta if reaches_all else config.local_rope_theta
        angles = rotation(
            places, config.hidden_size // config.num_attention_heads, theta
        )  # [1 or B, 1, L, D/2]
        if by_position:
            angles = tuple(_behind_positions(one, cast(int, half) if tiled else None) for one in angles)
    return View((bias, *angles), half if along_band else None, tiled)


def _behind_positions(angles: tf.Tensor, half: int | None) -> tf.Tensor:
    """[1 or B, 1, L, D/2] → [1 or B, L, 1, D/2], or with the `half` of a band in tiles [1 or B, C, T, 1, D/2]."""
    angles = angles[:, 0]
    return (angles if half is None else tiles(angles, half))[..., None, :]


def attention_bias(input_mask: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns the bias of attention scores, 0 for a piece and -10000 for padding: [B, L] → [B, 1, 1, L]."""
    return (1.0 - tf.cast(input_mask, dtype)[:, None, None, :]) * tf.cast(-10000.0, dtype)


def packed_attention_bias(sequence_ids: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns the bias by which an example sees only itself, of its number (0 = padding): [B, L] → [B, 1, L, L].

    Seen from another example, exp(-10000 + score) is 0 in every dtype: nothing leaks. (Packing with masks of
    blocks: Krell et al. 2021, "Efficient Sequence Packing without Cross-contamination".)
    """
    same = tf.equal(sequence_ids[:, :, None], sequence_ids[:, None, :])
    return (1.0 - tf.cast(same, dtype)[:, None]) * tf.cast(-10000.0, dtype)
