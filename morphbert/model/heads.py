"""The pretraining heads: masked language model and next sentence (Devlin et al. 2019, section 3.1), and ELECTRA's
discriminator (Clark et al. 2020, section 2).
"""

from __future__ import annotations

import tensorflow as tf

from morphbert.model import kernels
from morphbert.model.config import BertConfig
from morphbert.model.layers import Parameters, dense, norm
from morphbert.model.names import (
    DISCRIMINATOR,
    DISCRIMINATOR_SCORE,
    MASKED_LM,
    NEXT_SENTENCE,
    TRANSFORM,
    TRANSFORM_NORM,
    WORD_EMBEDDINGS,
)
from morphbert.model.shapes import length_of


def masked_lm_scores(
    parameters: Parameters, config: BertConfig, hidden: tf.Tensor, positions: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores of all V pieces at the given positions only, and the bias that has still to be added to them.

    They are apart, and turned, for the loss, which can add the bias in passing: see `cross_entropy`.

    Args:
      hidden: [B, L, H] in the dtype to compute in.
      positions: int32 [B, P].

    Returns:
      [V, B P] in that dtype, and float32 [V].
    """
    rows = _transformed(parameters, config, hidden, positions)
    return tf.matmul(_table(parameters, rows), rows, transpose_b=True), _output_bias(parameters, config)


def masked_lm_logits(
    parameters: Parameters, config: BertConfig, hidden: tf.Tensor, positions: tf.Tensor
) -> tf.Tensor:
    """Scores of all V pieces at the given positions only: [B, L, H], int32 [B, P] → float32 [B, P, V]."""
    rows = _transformed(parameters, config, hidden, positions)
    scores = tf.cast(tf.matmul(rows, _table(parameters, rows), transpose_b=True), tf.float32)
    return tf.reshape(
        scores + _output_bias(parameters, config), [-1, length_of(positions, 1), config.vocab_size]
    )


def _transformed(
    parameters: Parameters, config: BertConfig, hidden: tf.Tensor, positions: tf.Tensor
) -> tf.Tensor:
    """Returns the vectors that are compared with the word embeddings: [B, L, H], int32 [B, P] → [B P, E]."""
    picked = tf.gather(hidden, positions, batch_dims=1)  # [B, P, H]
    return tf.reshape(transform(parameters, config, picked), [-1, config.embedding_width])


def transform(parameters: Parameters, config: BertConfig, hidden: tf.Tensor) -> tf.Tensor:
    """Returns the dense layer, activation and norm before the scores: [..., H] → [..., E]."""
    inner = dense(parameters, TRANSFORM, hidden, config.classifier_bias)
    inner = kernels.activation(config.classifier_activation or config.hidden_act, inner)
    return norm(parameters, TRANSFORM_NORM, config, inner)


def _table(parameters: Parameters, rows: tf.Tensor) -> tf.Tensor:
    return tf.cast(parameters[WORD_EMBEDDINGS], rows.dtype)


def _output_bias(parameters: Parameters, config: BertConfig) -> tf.Tensor:
    if not config.decoder_bias:
        return tf.zeros([config.vocab_size])
    return tf.cast(parameters[f"{MASKED_LM}/output_bias"], tf.float32)


def next_sentence_logits(parameters: Parameters, pooled: tf.Tensor) -> tf.Tensor:
    """Scores of "B follows A" (0) and "B is random" (1): [B, H] → float32 [B, 2], or [B, E, H] → [B, E, 2]."""
    scores = tf.linalg.matmul(pooled, tf.transpose(parameters[f"{NEXT_SENTENCE}/output_weights"]))
    return tf.cast(scores, tf.float32) + tf.cast(parameters[f"{NEXT_SENTENCE}/output_bias"], tf.float32)


def discriminator_logits(parameters: Parameters, config: BertConfig, hidden: tf.Tensor) -> tf.Tensor:
    """Scores of "this piece is replaced", the logits of its probability: [B, L, H] → float32 [B, L]."""
    inner = kernels.activation(config.hidden_act, dense(parameters, DISCRIMINATOR, hidden))
    return tf.cast(dense(parameters, DISCRIMINATOR_SCORE, inner), tf.float32)[..., 0]
