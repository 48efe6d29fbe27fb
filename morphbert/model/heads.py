"""The two pretraining heads: masked language model and next sentence (Devlin et al. 2019, section 3.1)."""

from __future__ import annotations

import tensorflow as tf

from morphbert.model.config import BertConfig
from morphbert.model.layers import Parameters, activation, dense, layer_norm, length_of


def masked_lm_scores(
    parameters: Parameters, config: BertConfig, hidden: tf.Tensor, positions: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores of all V pieces at the given positions only, and the bias that has still to be added to them.

    They are apart so that the loss can add them in passing: B P V numbers are the widest tensor of a step.

    Args:
      hidden: [B, L, H] in the dtype to compute in.
      positions: int32 [B, P].

    Returns:
      [B P, V] in that dtype, and float32 [V].
    """
    name = "cls/predictions"
    picked = tf.gather(hidden, positions, batch_dims=1)  # [B, P, H]
    inner = activation(config.hidden_act, dense(parameters, f"{name}/transform/dense", picked))
    inner = layer_norm(parameters, f"{name}/transform/LayerNorm", inner, config.layer_norm_eps)
    rows = tf.reshape(inner, [-1, config.embedding_width])
    scores = tf.matmul(rows, parameters["bert/embeddings/word_embeddings"], transpose_b=True)
    return scores, tf.cast(parameters[f"{name}/output_bias"], tf.float32)


def masked_lm_logits(
    parameters: Parameters, config: BertConfig, hidden: tf.Tensor, positions: tf.Tensor
) -> tf.Tensor:
    """Scores of all V pieces at the given positions only: [B, L, H], int32 [B, P] → float32 [B, P, V]."""
    scores, bias = masked_lm_scores(parameters, config, hidden, positions)
    return tf.reshape(tf.cast(scores, tf.float32) + bias, [-1, length_of(positions, 1), config.vocab_size])


def next_sentence_logits(parameters: Parameters, pooled: tf.Tensor) -> tf.Tensor:
    """Scores of "B follows A" (0) and "B is random" (1): [B, H] → float32 [B, 2], or [B, E, H] → [B, E, 2]."""
    name = "cls/seq_relationship"
    scores = tf.linalg.matmul(pooled, tf.transpose(parameters[f"{name}/output_weights"]))
    return tf.cast(scores, tf.float32) + tf.cast(parameters[f"{name}/output_bias"], tf.float32)
