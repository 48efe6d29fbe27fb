"""Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1), with its gradient written by hand.

Axes: B sequences, N heads, L positions, D dimensions a head. What goes element by element between the four kinds of
matrix products is compiled into one loop each. Sums of the softmax's gradient over L positions are taken as sums
over D products of the result with its gradient: the same number (Dao et al. 2022, appendix B.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from morphbert.model.compiled import compiled
from morphbert.model.dropout import Dropout, dropped


def attention(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, bias: tf.Tensor, dropout: Dropout | None
) -> tf.Tensor:
    """softmax(query keyᵀ / √D + bias) value, with dropout on the softmax.

    Args:
      query: [B, N, L, D], as are key and value.
      key: what is compared with the query.
      value: what is summed up.
      bias: [B, 1, 1, L] or [B, 1, L, L]; it gets no gradient.
      dropout: of the weights [B, N, L, L].

    Returns:
      [B, N, L, D].
    """
    scale = tf.constant(1.0 / math.sqrt(query.shape[-1]))

    @tf.custom_gradient
    def attend(
        query: tf.Tensor, key: tf.Tensor, value: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[Any, ...]]]:
        weights = tf.nn.softmax(_fused_scores(tf.matmul(query, key, transpose_b=True), bias, scale))
        used = weights if dropout is None else dropout(weights)
        context = tf.matmul(used, value)

        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            of_used = tf.matmul(upstream, value, transpose_b=True)
            level = _fused_level(context, upstream)
            mask = () if dropout is None else dropout.tensors
            of_scores = _fused_scores_gradient(weights, of_used, level, scale, *mask)
            of_query, of_key = tf.matmul(of_scores, key), tf.matmul(of_scores, query, transpose_a=True)
            return of_query, of_key, tf.matmul(used, upstream, transpose_a=True)

        return context, gradients

    return attend(query, key, value)


def _scores(products: tf.Tensor, bias: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    return products * tf.cast(scale, products.dtype) + bias


def _level(context: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """float32 [B, N, L, 1]: what each row's weights have in common in their gradient."""
    return tf.reduce_sum(tf.cast(context, tf.float32) * tf.cast(upstream, tf.float32), -1, keepdims=True)


def _scores_gradient(
    weights: tf.Tensor, of_used: tf.Tensor, level: tf.Tensor, scale: tf.Tensor, *mask: tf.Tensor
) -> tf.Tensor:
    of_weights = tf.cast(dropped(of_used, *mask) if mask else of_used, tf.float32)
    return tf.cast(tf.cast(weights, tf.float32) * (of_weights - level) * scale, weights.dtype)


_fused_scores = compiled(_scores)
_fused_level = compiled(_level)
_fused_scores_gradient = compiled(_scores_gradient)
