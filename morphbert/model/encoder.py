"""The encoder: embeddings, self-attention layers, pooler (Devlin et al. 2019; post-LN as published).

Its variants are ALBERT's (Lan et al. 2020: layers that share weights, narrow embeddings), RoBERTa's (Liu et al. 2019:
positions) and pre-LN. Axes: B sequences, L positions, H hidden, N heads, D = H / N dimensions a head.
"""

from __future__ import annotations

import tensorflow as tf

from morphbert.model.attention import attention
from morphbert.model.config import BertConfig
from morphbert.model.dropout import DropoutKeys
from morphbert.model.layers import Parameters, activation, affine, dense, layer_norm, length_of
from morphbert.model.names import (
    EMBEDDING_MAPPING,
    EMBEDDING_NORM,
    FINAL_NORM,
    POOLER,
    POSITION_EMBEDDINGS,
    SEGMENT_EMBEDDINGS,
    WORD_EMBEDDINGS,
    BlockNames,
    layer_blocks,
)
from morphbert.model.parameters import block_parameters


def embed(
    parameters: Parameters,
    config: BertConfig,
    input_ids: tf.Tensor,
    segment_ids: tf.Tensor,
    keys: DropoutKeys,
    position_ids: tf.Tensor | None = None,
) -> tf.Tensor:
    """Sum of word, segment and position embeddings, normalised (not with pre-LN): ids int32 [B, L] → [B, L, H].

    In the dtype of the layers' kernels, also where the tables are float32. Without `position_ids`, int32 [B, L],
    positions count from 0.
    """
    length = length_of(input_ids, 1)
    words = tf.gather(parameters[WORD_EMBEDDINGS], input_ids)
    segments = parameters[SEGMENT_EMBEDDINGS]
    # A model that tells no segments apart takes pairs all the same, as RoBERTa does for a task.
    segments = segments[0] if config.type_vocab_size == 1 else tf.gather(segments, segment_ids)
    positions = parameters[POSITION_EMBEDDINGS]
    if position_ids is None:
        positions = positions[None, :length]
    else:
        positions = tf.gather(positions, position_ids + config.position_offset)
    hidden = words + segments + positions  # [B, L, E]
    if not config.pre_layer_norm:
        hidden = layer_norm(parameters, EMBEDDING_NORM, hidden, config.layer_norm_eps)
    kernel = parameters[f"{layer_blocks(config)[0][0].self_attention}/query/kernel"]
    hidden = keys.dropout(tf.cast(hidden, kernel.dtype), config.hidden_dropout_prob)
    return (
        hidden
        if config.embedding_width == config.hidden_size
        else dense(parameters, EMBEDDING_MAPPING, hidden)
    )


def roberta_positions(input_mask: tf.Tensor) -> tf.Tensor:
    """Pieces numbered from 0, and -1 for padding, whose row is the one before theirs: int32 [B, L] → [B, L]."""
    return tf.cumsum(input_mask, 1) * input_mask - 1


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
    # One product for all three reads the hidden states once, and is a wide one.
    kernel, offset = (
        tf.concat([parameters[f"{name}/{part}/{kind}"] for part in ("query", "key", "value")], -1)
        for kind in ("kernel", "bias")
    )
    projected = tf.reshape(affine(hidden, kernel, offset), [-1, length, 3, heads, size])
    query, key, value = tf.unstack(tf.transpose(projected, [2, 0, 3, 1, 4]))  # [B, N, L, D] each
    dropout = keys.next(config.attention_probs_dropout_prob)
    context = attention(query, key, value, bias, dropout)  # [B, N, L, D]
    context = tf.transpose(context, [0, 2, 1, 3])
    return tf.reshape(context, [-1, length, config.hidden_size])


def transformer_block(
    parameters: Parameters,
    names: BlockNames,
    config: BertConfig,
    hidden: tf.Tensor,
    bias: tf.Tensor,
    keys: DropoutKeys,
) -> tf.Tensor:
    """Attention and feed-forward, each with dropout and residual, and LayerNorm after it or, with pre-LN, before."""

    def norm(name: str, values: tf.Tensor) -> tf.Tensor:
        return layer_norm(parameters, name, values, config.layer_norm_eps)

    def add(name: str, update: tf.Tensor, residual: tf.Tensor) -> tf.Tensor:
        return keys.dropout_add(dense(parameters, name, update), residual, config.hidden_dropout_prob)

    before = norm(names.attention_norm, hidden) if config.pre_layer_norm else hidden
    context = self_attention(parameters, names.self_attention, config, before, bias, keys)
    hidden = add(names.attention_output, context, hidden)
    if config.pre_layer_norm:
        before = norm(names.output_norm, hidden)
    else:
        before = hidden = norm(names.attention_norm, hidden)
    inner = activation(config.hidden_act, dense(parameters, names.intermediate, before))
    hidden = add(names.output, inner, hidden)
    return hidden if config.pre_layer_norm else norm(names.output_norm, hidden)


def recomputed_block(
    parameters: Parameters,
    names: BlockNames,
    config: BertConfig,
    hidden: tf.Tensor,
    bias: tf.Tensor,
    keys: DropoutKeys,
) -> tf.Tensor:
    """`transformer_block`, of which only the input is kept for the gradients (checkpointing, Chen et al. 2016).

    The gradients are taken by computing the block a second time, with the same dropout masks: the same numbers.
    """
    own = {name: parameters[name] for name in block_parameters(names, config)}
    calls_before = keys.calls

    @tf.recompute_grad
    def block(hidden: tf.Tensor, bias: tf.Tensor, *weights: tf.Tensor) -> tf.Tensor:
        keys.calls = calls_before
        named = dict(zip(own, weights, strict=True))
        return transformer_block(named, names, config, hidden, bias, keys)

    return block(hidden, bias, *own.values())


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
      The embeddings, then each layer's output: [B, L, H] each. With pre-LN the last is normalised.
    """
    keys = DropoutKeys(dropout_key)
    if config.position_offset and position_ids is None:
        position_ids = roberta_positions(input_mask)
    outputs = [embed(parameters, config, input_ids, segment_ids, keys, position_ids)]
    if sequence_ids is None:
        bias = attention_bias(input_mask, outputs[0].dtype)
    else:
        bias = packed_attention_bias(sequence_ids, outputs[0].dtype)
    block = recomputed_block if recompute else transformer_block
    for blocks in layer_blocks(config):
        hidden = outputs[-1]
        for names in blocks:
            hidden = block(parameters, names, config, hidden, bias, keys)
        outputs.append(hidden)
    if config.pre_layer_norm:
        outputs[-1] = layer_norm(parameters, FINAL_NORM, outputs[-1], config.layer_norm_eps)
    return outputs


def pool(parameters: Parameters, hidden: tf.Tensor, cls_positions: tf.Tensor | None = None) -> tf.Tensor:
    """Applies tanh to a dense layer over the first position ([CLS]): [B, L, H] → [B, H].

    With `cls_positions`, int32 [B, E], over those: → [B, E, H].
    """
    first = hidden[:, 0] if cls_positions is None else tf.gather(hidden, cls_positions, batch_dims=1)
    return tf.tanh(dense(parameters, POOLER, first))
