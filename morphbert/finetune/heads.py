"""A sentence's vector from its hidden states, and dropout before a head."""

from __future__ import annotations

import tensorflow as tf

from morphbert.model.config import BertConfig
from morphbert.model.encoder import pool
from morphbert.model.layers import Parameters, stateless_dropout


def sentence_vector(
    parameters: Parameters, hidden: tf.Tensor, input_mask: tf.Tensor, pooling: str
) -> tf.Tensor:
    """[B, L, H] → [B, H]: the pooler over [CLS], or the mean or maximum over all pieces but padding."""
    if pooling == "cls":
        return pool(parameters, hidden)
    mask = tf.cast(input_mask, hidden.dtype)[:, :, None]
    if pooling == "mean":
        return tf.reduce_sum(hidden * mask, 1) / tf.reduce_sum(mask, 1)
    return tf.reduce_max(hidden + (1.0 - mask) * tf.cast(-1e4, hidden.dtype), 1)


def head_dropout(inputs: tf.Tensor, config: BertConfig, key: tf.Tensor | None) -> tf.Tensor:
    """Dropout with a mask that no dropout of the encoder has; `key` None is none."""
    if key is None or not config.hidden_dropout_prob:
        return inputs
    return stateless_dropout(inputs, config.hidden_dropout_prob, key + tf.constant([1, 0], key.dtype))


def linear(parameters: Parameters, name: str, inputs: tf.Tensor) -> tf.Tensor:
    """`name`_weights [C, H] and `name`_bias [C], as google-research/bert keeps its heads: [B, …, H] → float32."""
    weights, bias = parameters[f"{name}_weights"], parameters[f"{name}_bias"]
    scores = tf.linalg.matmul(inputs, weights, transpose_b=True)
    return tf.cast(scores, tf.float32) + tf.cast(bias, tf.float32)
