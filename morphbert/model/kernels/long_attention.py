"""Attention of long sequences, one part of the queries at a time, so that no [B, N, L, L] is stored.

The gradient computes the weights of a part again from the scores and the logarithm of their sum, as Dao et al. 2022
("FlashAttention") do, but with all keys at once.
Axes: B sequences, N heads, L positions, D dimensions per head, R queries of a part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from morphbert.model.kernels.attention import level_of, scores_gradient, scores_of

# Products of 512 rows fill the matrix units of a TPU, which multiply 128 × 128.
PART = 512
# A layer's weights of 4,096 positions and 12 heads are 0.4 GB for each sequence in bfloat16.
LONG = 4096


def is_long(query: tf.Tensor) -> bool:
    """Returns whether [B, L, N, D] has so many positions that the weights of all pairs take too much memory.

    Parts need shapes that are known when the graph is made, and a length that they divide.
    """
    if not query.shape.is_fully_defined():
        return False
    length = query.shape[1]
    return length >= LONG and length % PART == 0


def attention_in_parts(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Computes `functions.attention_by_position` without dropout on [B, L, N, D] each, by R queries at a time."""
    scale = tf.constant(1.0 / math.sqrt(query.shape[-1]))

    @tf.custom_gradient
    def attend(
        query: tf.Tensor, key: tf.Tensor, value: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[Any, ...]]]:
        def scores_at(number: tf.Tensor) -> tf.Tensor:
            products = tf.einsum("bqnd,bknd->bnqk", _part(query, number, 1), key)
            seen = bias if bias.shape[2] == 1 else _part(bias, number, 2)
            return tf.cast(scores_of(products, seen, scale), tf.float32)  # [B, N, R, L]

        def weights_of(scores: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.exp(scores - total), query.dtype)

        def forward(number: tf.Tensor) -> list[tf.Tensor]:
            scores = scores_at(number)
            total = tf.reduce_logsumexp(scores, -1, keepdims=True)
            context = tf.einsum("bnqk,bknd->bqnd", weights_of(scores, total), value)
            return [context, tf.transpose(total, [0, 2, 1, 3])]

        shape, state = query.shape[:3], (query.shape[3], query.dtype)
        (context, totals), _ = _over_parts(
            lambda number, _: (forward(number), []), shape, [state, (1, tf.float32)], []
        )  # [B, L, N, D], [B, L, N, 1]

        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            def backward(number: tf.Tensor, sums: list[tf.Tensor]) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
                above = _part(upstream, number, 1)
                total, level = (
                    tf.transpose(one, [0, 2, 1, 3])  # [B, N, R, 1]
                    for one in (_part(totals, number, 1), level_of(_part(context, number, 1), above))
                )
                weights = weights_of(scores_at(number), total)
                of_weights = tf.einsum("bqnd,bknd->bnqk", above, value)
                of_scores = scores_gradient(weights, of_weights, level, scale)
                of_keys = tf.einsum("bnqk,bqnd->bknd", of_scores, _part(query, number, 1))
                of_values = tf.einsum("bnqk,bqnd->bknd", weights, above)
                # In float32: a narrow sum of many parts would lose the small ones.
                parts = zip(sums, (of_keys, of_values), strict=True)
                sums = [so_far + tf.cast(one, tf.float32) for so_far, one in parts]
                return [tf.einsum("bnqk,bknd->bqnd", of_scores, key)], sums

            zeros = [tf.zeros(one.shape, tf.float32) for one in (key, value)]
            (of_query,), sums = _over_parts(backward, shape, [state], zeros)
            return of_query, *(tf.cast(one, query.dtype) for one in sums)

        return context, gradients

    return attend(query, key, value)


def _part(values: tf.Tensor, number: tf.Tensor, axis: int) -> tf.Tensor:
    """Returns the positions of a part, on the axis of positions."""
    begin = [number * PART if one == axis else 0 for one in range(4)]
    size = [PART if one == axis else values.shape[one] for one in range(4)]
    return tf.slice(values, begin, size)


def _over_parts(
    function: Callable[[tf.Tensor, list[tf.Tensor]], tuple[list[tf.Tensor], list[tf.Tensor]]],
    shape: Sequence[int],
    results: Sequence[tuple[int, tf.DType]],
    sums: list[tf.Tensor],
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Calls `function` with the number of each part and the sums so far.

    Args:
      function: returns its results for the part, [B, R, N, X] each, and the next sums.
      shape: B, L, N.
      results: X and dtype of each result.
      sums: at the start.

    Returns:
      The results of all parts, [B, L, N, X], and the last sums.
    """
    rows, length, heads = shape
    number = length // PART
    found = [
        tf.TensorArray(dtype, number, element_shape=[rows, PART, heads, width]) for width, dtype in results
    ]

    def body(part: tf.Tensor, found: list[tf.TensorArray], sums: list[tf.Tensor]) -> tuple[Any, ...]:
        ones, after = function(part, sums)
        written = [array.write(part, one) for array, one in zip(found, ones, strict=True)]
        return part + 1, written, after

    _, found, sums = tf.while_loop(
        lambda part, *_: part < number, body, (tf.constant(0), found, sums), parallel_iterations=1
    )
    joined = [tf.transpose(one.stack(), [1, 0, 2, 3, 4]) for one in found]  # [B, L/R, R, N, X]
    return [tf.reshape(one, [rows, length, heads, -1]) for one in joined], sums
