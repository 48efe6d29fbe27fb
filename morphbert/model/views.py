"""The visibility between the pieces of a layer: padding, examples that share a sequence, windows, rotary positions.

Axes: B sequences, L positions, H hidden.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from morphbert.model import functions, kernels
from morphbert.model.config import BertConfig
from morphbert.model.kernels.dropout import Dropout
from morphbert.model.rotary import rotation
from morphbert.model.shapes import length_of


@dataclasses.dataclass(frozen=True)
class View:
    """The inputs of one layer's attention besides the hidden states.

    Attributes:
      tensors: the bias of the scores and, with rotary positions, the angles' cosines and sines.
      layout: the order of axes, and so the form of the tensors.
      half: of attention along a band, the positions seen on either side; None where each piece is compared with all.
      recomputes: whether the attention weights are computed again for the gradients, rather than kept.
    """

    tensors: tuple[tf.Tensor, ...]
    layout: kernels.Layout
    half: int | None = None
    recomputes: bool = False

    def of(self, tensors: Sequence[tf.Tensor]) -> View:
        """Returns the same view of other tensors, those that a recomputed block was given."""
        return dataclasses.replace(self, tensors=tuple(tensors))

    def recomputed(self) -> View:
        """Returns the same view, whose attention keeps queries, keys and values for the gradients, and no weights."""
        return dataclasses.replace(self, recomputes=True)

    def cut(self, hidden: tf.Tensor) -> tf.Tensor:
        """Returns the states [B, L, H] in the form that a block's attention takes."""
        return self.layout.cut(hidden, self.half)

    def join(self, hidden: tf.Tensor, length: int | tf.Tensor) -> tf.Tensor:
        """Reverses `cut`: → [B, L, H]."""
        return self.layout.join(hidden, length, self.half)

    def attention(self, projected: kernels.Projected, dropout: Dropout | None) -> tf.Tensor:
        """Returns what the heads see, side by side, of the queries, keys and values of `layout.project`."""

        def attend(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, *tensors: tf.Tensor) -> tf.Tensor:
            bias, *angles = tensors
            again = kernels.Projected(query, key, value, projected.length)
            return self.layout.attention(again, bias, angles, self.half, dropout)

        if self.recomputes:
            attend = tf.recompute_grad(attend)
        return attend(*projected[:3], *self.tensors)


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
    layout, length = kernels.layout(), length_of(input_mask, 1)
    window = None if reaches_all or config.local_attention is None else config.local_attention // 2
    half = window if window is not None and layout.goes_along_band(length, window) else None
    if half is not None:
        bias = layout.band_bias(input_mask, sequence_ids, half, dtype)
    elif window is not None:
        bias = functions.window_bias(input_mask, sequence_ids, window, dtype)
    elif sequence_ids is None:
        bias = functions.attention_bias(input_mask, dtype)
    else:
        bias = functions.packed_attention_bias(sequence_ids, dtype)
    angles: tuple[tf.Tensor, ...] = ()
    if config.position_embedding_type != "absolute":
        theta = config.global_rope_theta if reaches_all else config.local_rope_theta
        turns = rotation(places, config.hidden_size // config.num_attention_heads, theta)
        angles = tuple(layout.angles(one, half) for one in turns)
    return View((bias, *angles), layout, half)
