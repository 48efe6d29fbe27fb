"""The table of word embeddings that is both looked up and scored with, with one gradient."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


@tf.custom_gradient
def both_uses(
    table: tf.Tensor,
) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable[[tf.IndexedSlices, tf.Tensor], tf.Tensor]]:
    """`functions.both_uses`.

    The looked up rows' gradients are added to those of the scores, which are of all rows. Left to itself, TensorFlow
    makes a table for each and adds the two: several times as much of the widest weight to write and read.
    """

    def gradients(of_rows: tf.IndexedSlices, of_table: tf.Tensor) -> tf.Tensor:
        return tf.tensor_scatter_nd_add(of_table, of_rows.indices[:, None], of_rows.values)

    return (tf.identity(table), tf.identity(table)), gradients
