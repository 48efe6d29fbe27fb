"""The table of word embeddings for both look-ups and scores, with one gradient."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


@tf.custom_gradient
def both_uses(
    table: tf.Tensor,
) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable[[tf.IndexedSlices, tf.Tensor], tf.Tensor]]:
    """Computes `functions.both_uses`.

    The gradients of looked-up rows are added to those of the scores, which cover all rows. TensorFlow itself would make
    a table for each and add the two, with several times the memory traffic for the widest weight.
    """

    def gradients(of_rows: tf.IndexedSlices, of_table: tf.Tensor) -> tf.Tensor:
        return tf.tensor_scatter_nd_add(of_table, of_rows.indices[:, None], of_rows.values)

    return (tf.identity(table), tf.identity(table)), gradients
