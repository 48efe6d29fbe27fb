"""BERT's encoder: embeddings, self-attention layers, pooler (Devlin et al. 2019; post-LN as published).

Axes: B sequences, L positions, H hidden, N heads, D = H / N dimensions a head.
"""

from __future__ import annotations

import math

import tensorflow as tf

from morphbert.model.config import BertConfig
from morphbert.model.layers import DropoutKeys, Parameters, activation, dense, layer_norm, length_of


def embed(
    parameters: Parameters,
    config: BertConfig,
    input_ids: tf.Tensor,
    segment_ids: tf.Tensor,
    keys: DropoutKeys,
    position_ids: tf.Tensor | None = None,
) -> tf.Tensor:
    """Sum of word, segment and position embeddings, normalised: ids int32 [B, L] → [B, L, H].

    Without `position_ids`, int32 [B, L], positions count from 0.
    """
    table = "bert/embeddings"
    length = length_of(input_ids, 1)
    words = tf.gather(parameters[f"{table}/word_embeddings"], input_ids)
    segments = tf.gather(parameters[f"{table}/token_type_embeddings"], segment_ids)
    positions = parameters[f"{table}/position_embeddings"]
    if position_ids is None:
        positions = positions[None, :length]
    else:
        positions = tf.gather(positions, position_ids)
    hidden = layer_norm(parameters, table, words + segments + positions, config.layer_norm_eps)
    return keys.dropout(hidden, config.hidden_dropout_prob)


def attention_bias(input_mask: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """input_mask [B, L] (1 = piece, 0 = padding) → [B, 1, 1, L], 0 or -10000, added to attention scores."""
    return (1.0 - tf.cast(input_mask, dtype)[:, None, None, :]) * tf.cast(-10000.0, dtype)


def packed_attention_bias(sequence_ids: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """sequence_ids [B, L] (number of the example, 0 = padding) → [B, 1, L, L]: each example sees itself alone.

    Seen from another example, exp(-10000 + score) is 0 in every dtype: nothing leaks. (Packing with masks of
    blocks: Krell et al. 2021, "Efficient Sequence Packing without Cross-contamination".)
    """
    same = tf.equal(sequence_ids[:, :, None], sequence_ids[:, None, :])
    return (1.0 - tf.cast(same, dtype)[:, None]) * tf.cast(-10000.0, dtype)


def self_attention(
    parameters: Parameters,
    name: str,
    config: BertConfig,
    hidden: tf.Tensor,
    bias: tf.Tensor,
    keys: DropoutKeys,
) -> tf.Tensor:
    """Scaled dot-product attention of all heads, before the output projection: [B, L, H] → [B, L, H]."""
    length, heads = length_of(hidden, 1), config.num_attention_heads
    size = config.hidden_size // heads

    def project(part: str) -> tf.Tensor:
        flat = dense(parameters, f"{name}/{part}", hidden)
        return tf.transpose(tf.reshape(flat, [-1, length, heads, size]), [0, 2, 1, 3])  # [B, N, L, D]

    # Scaling the query instead of the scores touches L·D numbers a head instead of L·L.
    query = project("query") * tf.cast(1.0 / math.sqrt(size), hidden.dtype)
    scores = tf.matmul(query, project("key"), transpose_b=True) + bias  # [B, N, L, L]
    weights = keys.dropout(tf.nn.softmax(scores), config.attention_probs_dropout_prob)
    context = tf.transpose(tf.matmul(weights, project("value")), [0, 2, 1, 3])  # [B, L, N, D]
    return tf.reshape(context, [-1, length, config.hidden_size])


def transformer_layer(
    parameters: Parameters,
    name: str,
    config: BertConfig,
    hidden: tf.Tensor,
    bias: tf.Tensor,
    keys: DropoutKeys,
) -> tf.Tensor:
    """One layer: attention and feed-forward, each followed by dropout, residual and LayerNorm."""

    def add_and_norm(part: str, update: tf.Tensor, residual: tf.Tensor) -> tf.Tensor:
        update = keys.dropout(dense(parameters, f"{name}/{part}/dense", update), config.hidden_dropout_prob)
        return layer_norm(parameters, f"{name}/{part}", update + residual, config.layer_norm_eps)

    context = self_attention(parameters, f"{name}/attention/self", config, hidden, bias, keys)
    hidden = add_and_norm("attention/output", context, hidden)
    inner = activation(config.hidden_act, dense(parameters, f"{name}/intermediate/dense", hidden))
    return add_and_norm("output", inner, hidden)


def recomputed_layer(
    parameters: Parameters,
    name: str,
    config: BertConfig,
    hidden: tf.Tensor,
    bias: tf.Tensor,
    keys: DropoutKeys,
) -> tf.Tensor:
    """`transformer_layer`, of which only the input is kept for the gradients (checkpointing, Chen et al. 2016).

    The gradients are taken by computing the layer a second time, with the same dropout masks: the same numbers.
    """
    own = {key: value for key, value in parameters.items() if key.startswith(f"{name}/")}
    calls_before = keys.calls

    @tf.recompute_grad
    def layer(hidden: tf.Tensor, bias: tf.Tensor, *weights: tf.Tensor) -> tf.Tensor:
        keys.calls = calls_before
        named = dict(zip(own, weights, strict=True))
        return transformer_layer(named, name, config, hidden, bias, keys)

    return layer(hidden, bias, *own.values())


def encode(
    parameters: Parameters,
    config: BertConfig,
    input_ids: tf.Tensor,
    input_mask: tf.Tensor,
    segment_ids: tf.Tensor,
    dropout_key: tf.Tensor | None = None,
    sequence_ids: tf.Tensor | None = None,
    position_ids: tf.Tensor | None = None,
    recompute: bool = False,
) -> tf.Tensor:
    """The last of `encode_layers`, [B, L, H]."""
    return encode_layers(
        parameters,
        config,
        input_ids,
        input_mask,
        segment_ids,
        dropout_key,
        sequence_ids,
        position_ids,
        recompute,
    )[-1]


def encode_layers(
    parameters: Parameters,
    config: BertConfig,
    input_ids: tf.Tensor,
    input_mask: tf.Tensor,
    segment_ids: tf.Tensor,
    dropout_key: tf.Tensor | None = None,
    sequence_ids: tf.Tensor | None = None,
    position_ids: tf.Tensor | None = None,
    recompute: bool = False,
) -> list[tf.Tensor]:
    """Runs the encoder.

    Args:
      parameters: weights by name, in the dtype to compute in.
      config: the model's configuration.
      input_ids: int32 [B, L], under `config.vocab_size`.
      input_mask: int32 [B, L], 1 for pieces and 0 for padding.
      segment_ids: int32 [B, L], under `config.type_vocab_size`.
      dropout_key: int32 [2]; None switches dropout off.
      sequence_ids: int32 [B, L], which of the examples that share a sequence a piece belongs to; None for one each.
      position_ids: int32 [B, L], the position of a piece in its example.
      recompute: keep only the layers' inputs for gradients and compute the rest again: less memory, more time.

    Returns:
      The embeddings, then each layer's output: [B, L, H] each.
    """
    keys = DropoutKeys(dropout_key)
    outputs = [embed(parameters, config, input_ids, segment_ids, keys, position_ids)]
    if sequence_ids is None:
        bias = attention_bias(input_mask, outputs[0].dtype)
    else:
        bias = packed_attention_bias(sequence_ids, outputs[0].dtype)
    layer = recomputed_layer if recompute else transformer_layer
    for index in range(config.num_hidden_layers):
        name = f"bert/encoder/layer_{index}"
        outputs.append(layer(parameters, name, config, outputs[-1], bias, keys))
    return outputs


def pool(parameters: Parameters, hidden: tf.Tensor, cls_positions: tf.Tensor | None = None) -> tf.Tensor:
    """Applies tanh to a dense layer over the first position ([CLS]): [B, L, H] → [B, H].

    With `cls_positions`, int32 [B, E], over those: → [B, E, H].
    """
    first = hidden[:, 0] if cls_positions is None else tf.gather(hidden, cls_positions, batch_dims=1)
    return tf.tanh(dense(parameters, "bert/pooler/dense", first))
