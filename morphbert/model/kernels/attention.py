"""Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1) with a hand-written gradient.

Axes: B sequences, N heads, L positions, D dimensions per head. The elementwise operations between the four kinds of
  matrix products are compiled into one loop each. The sums over L positions in the softmax's gradient are computed as
  sums over D products of the result with its gradient, which are equal (Dao et al. 2022, appendix B.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from morphbert.model.kernels.compiled import compiled
from morphbert.model.kernels.dropout import Dropout, dropped


def attention(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, bias: tf.Tensor, dropout: Dropout | None
) -> tf.Tensor:
    """Computes `functions.attention` on [B, N, L, D] each, with contiguous matrices, as a CPU needs."""
    scale = tf.constant(1.0 / math.sqrt(query.shape[-1]))

    @tf.custom_gradient
    def attend(
        query: tf.Tensor, key: tf.Tensor, value: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[Any, ...]]]:
        scores = scores_of(tf.matmul(query, key, transpose_b=True), bias, scale)
        # TensorFlow's optimizer of graphs does not look into the compiled loop: without a shape here, it warns of a
        # softmax of unknown rank in 600 characters, for each layer and graph.
        weights = tf.nn.softmax(tf.ensure_shape(scores, scores.shape))
        used = weights if dropout is None else dropout(weights)
        context = tf.matmul(used, value)

        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            of_used = tf.matmul(upstream, value, transpose_b=True)
            level = level_of(context, upstream)
            mask = () if dropout is None else dropout.tensors
            of_scores = scores_gradient(weights, of_used, level, scale, *mask)
            of_query, of_key = tf.matmul(of_scores, key), tf.matmul(of_scores, query, transpose_a=True)
            return of_query, of_key, tf.matmul(used, upstream, transpose_a=True)

        return context, gradients

    return attend(query, key, value)


def attention_by_position(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, bias: tf.Tensor, dropout: Dropout | None
) -> tf.Tensor:
    """Computes `functions.attention_by_position` on [B, L, N, D] each, so that XLA transposes no tensor.

    Copies took 12 of 55 million cycles of BERT-base's step on a TPU v5e by its compiler's estimate; without them it
    is 46 million.
    """
    scale = tf.constant(1.0 / math.sqrt(query.shape[-1]))

    @tf.custom_gradient
    def attend(
        query: tf.Tensor, key: tf.Tensor, value: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[Any, ...]]]:
        products = tf.einsum("bqnd,bknd->bnqk", query, key)
        weights = tf.nn.softmax(scores_of(products, bias, scale))
        used = weights if dropout is None else dropout(weights)
        context = tf.einsum("bnqk,bknd->bqnd", used, value)

        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            of_used = tf.einsum("bqnd,bknd->bnqk", upstream, value)
            level = tf.transpose(level_of(context, upstream), [0, 2, 1, 3])  # [B, N, L, 1]
            mask = () if dropout is None else dropout.tensors
            of_scores = scores_gradient(weights, of_used, level, scale, *mask)
            of_query = tf.einsum("bnqk,bknd->bqnd", of_scores, key)
            of_key = tf.einsum("bnqk,bqnd->bknd", of_scores, query)
            return of_query, of_key, tf.einsum("bnqk,bqnd->bknd", used, upstream)

        return context, gradients

    return attend(query, key, value)


def _scores(products: tf.Tensor, bias: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    return products * tf.cast(scale, products.dtype) + bias


def _level(context: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Returns the common term in the gradient of each row's weights, float32, of size 1 in the last axis."""
    return tf.reduce_sum(tf.cast(context, tf.float32) * tf.cast(upstream, tf.float32), -1, keepdims=True)


def _scores_gradient(
    weights: tf.Tensor, of_used: tf.Tensor, level: tf.Tensor, scale: tf.Tensor, *mask: tf.Tensor
) -> tf.Tensor:
    of_weights = tf.cast(dropped(of_used, *mask) if mask else of_used, tf.float32)
    return tf.cast(tf.cast(weights, tf.float32) * (of_weights - level) * scale, weights.dtype)


scores_of = compiled(_scores)
level_of = compiled(_level)
scores_gradient = compiled(_scores_gradient)
