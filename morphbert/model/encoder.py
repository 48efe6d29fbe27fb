"""The encoder: embeddings, self-attention layers, pooler (Devlin et al. 2019; post-LN as published).

Its variants are ALBERT's (Lan et al. 2020: layers that share weights, narrow embeddings), ELECTRA's (Clark et al. 2020:
narrow embeddings, no pooler), RoBERTa's (Liu et al. 2019: positions), pre-LN, and the modern block (Warner et al. 2024,
"ModernBERT": rotary positions, gated feed-forward, local attention, no biases), each part of which has a separate key
in the configuration. Axes: B sequences, L positions, H hidden, N heads, D = H / N dimensions a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import tensorflow as tf

from morphbert.model import kernels
from morphbert.model.config import BertConfig
from morphbert.model.dropout import DropoutKeys
from morphbert.model.layers import Parameters, dense, norm
from morphbert.model.names import (
    EMBEDDING_NORM,
    FINAL_NORM,
    POOLER,
    POSITION_EMBEDDINGS,
    SEGMENT_EMBEDDINGS,
    WORD_EMBEDDINGS,
    BlockNames,
    layer_blocks,
    mapping_name,
)
from morphbert.model.parameters import block_parameters, computed_dtype
from morphbert.model.shapes import length_of
from morphbert.model.variants import VARIANTS
from morphbert.model.views import View, views


class EncoderInputs(NamedTuple):
    """The features of a batch that the encoder reads.

    Attributes:
      input_ids: int32 [B, L], under `config.vocab_size`.
      input_mask: int32 [B, L], 1 for pieces and 0 for padding.
      segment_ids: int32 [B, L], under `config.type_vocab_size`.
      sequence_ids: int32 [B, L], which of the examples that share a sequence a piece belongs to; None for one each.
      position_ids: int32 [B, L], the position of a piece in its example; None for positions that count from 0.
    """

    input_ids: tf.Tensor
    input_mask: tf.Tensor
    segment_ids: tf.Tensor
    sequence_ids: tf.Tensor | None = None
    position_ids: tf.Tensor | None = None

    @classmethod
    def of(cls, batch: Mapping[str, tf.Tensor]) -> EncoderInputs:
        """Returns the features of a batch of records with these names."""
        return cls(
            batch["input_ids"],
            batch["input_mask"],
            batch["segment_ids"],
            batch.get("sequence_ids"),
            batch.get("position_ids"),
        )


class ForwardPass(NamedTuple):
    """The settings of one forward pass.

    Attributes:
      dropout_key: int32 [2]; None switches dropout off.
      recompute: compute activations again for the gradients: less memory, more time.
      recompute_policy: which: `layer`, all but each layer's input, or `attention`, the attention weights.
    """

    dropout_key: tf.Tensor | None = None
    recompute: bool = False
    recompute_policy: Literal["layer", "attention"] = "layer"


NO_DROPOUT = ForwardPass()


def embed(
    parameters: Parameters,
    config: BertConfig,
    inputs: EncoderInputs,
    keys: DropoutKeys,
) -> tf.Tensor:
    """Returns the sum of word, segment and learned position embeddings, with dropout: [B, L, H].

    The sum is normalised, with pre-LN only if the configuration has `embedding_norm`. Its dtype is that of the layers'
    weights, also if the tables are float32.
    """
    hidden = tf.gather(parameters[WORD_EMBEDDINGS], inputs.input_ids)  # [B, L, E]
    if config.type_vocab_size:
        segments = parameters[SEGMENT_EMBEDDINGS]
        # A model that tells no segments apart takes pairs all the same, as RoBERTa does for a task.
        hidden += segments[0] if config.type_vocab_size == 1 else tf.gather(segments, inputs.segment_ids)
    if config.position_embedding_type == "absolute":
        positions = parameters[POSITION_EMBEDDINGS]
        if inputs.position_ids is None:
            hidden += positions[None, : length_of(inputs.input_ids, 1)]
        else:
            hidden += tf.gather(positions, inputs.position_ids + config.position_offset)
    if config.embedding_norm or not config.pre_layer_norm:
        hidden = norm(parameters, EMBEDDING_NORM, config, hidden)
    hidden = keys.dropout(tf.cast(hidden, computed_dtype(parameters, config)), config.hidden_dropout_prob)
    return (
        hidden
        if config.embedding_width == config.hidden_size
        else dense(parameters, mapping_name(config), hidden)
    )


def roberta_positions(input_mask: tf.Tensor) -> tf.Tensor:
    """Pieces numbered from 0, and -1 for padding, whose row is the one before theirs: int32 [B, L] → [B, L]."""
    return tf.cumsum(input_mask, 1) * input_mask - 1


def self_attention(
    parameters: Parameters,
    name: str,
    config: BertConfig,
    hidden: tf.Tensor,
    view: View,
    keys: DropoutKeys,
) -> tf.Tensor:
    """Returns the scaled dot-product attention of all heads, before the output projection: [B, L, H] → [B, L, H].

    Args:
      parameters: the weights by name.
      name: the module of the projections, `BlockNames.self_attention`.
      config: the model's configuration.
      hidden: the input, [B, L, H].
      view: the positions that each position attends to, and their rotary angles.
      keys: the dropout of the attention weights.
    """
    context = _attention_of_cut(parameters, name, config, view.cut(hidden), view, keys)
    return view.join(context, length_of(hidden, 1))


def _attention_of_cut(
    parameters: Parameters,
    name: str,
    config: BertConfig,
    hidden: tf.Tensor,
    view: View,
    keys: DropoutKeys,
) -> tf.Tensor:
    """`self_attention` from states that `view` has cut to states that it can join."""
    projections = [
        (
            parameters[f"{name}/{part}/kernel"],
            parameters[f"{name}/{part}/bias"] if config.attention_bias else None,
        )
        for part in ("query", "key", "value")
    ]
    projected = view.layout.project(hidden, projections, config.num_attention_heads)
    return view.attention(projected, keys.next(config.attention_probs_dropout_prob))


def transformer_block(
    parameters: Parameters,
    names: BlockNames,
    config: BertConfig,
    hidden: tf.Tensor,
    view: View,
    keys: DropoutKeys,
) -> tf.Tensor:
    """Applies attention and feed-forward layer, each with dropout and residual: [B, L, H] → [B, L, H].

    A norm follows each of them or, with pre-LN, precedes it. If the configuration names a plugin's block, it is applied
    instead.
    """
    if config.variant is not None:
        own = VARIANTS.get(config.variant, "the model")
        return own.block(parameters, names, config, hidden, view, keys)

    def add(update: tf.Tensor, residual: tf.Tensor) -> tf.Tensor:
        return keys.dropout_add(update, residual, config.hidden_dropout_prob)

    normed = config.pre_layer_norm and names.normalizes_attention
    before = norm(parameters, names.attention_norm, config, hidden) if normed else hidden
    context = _attention_of_cut(parameters, names.self_attention, config, view.cut(before), view, keys)
    update = dense(parameters, names.attention_output, context, config.attention_bias)
    hidden = add(view.join(update, length_of(hidden, 1)), hidden)
    if config.pre_layer_norm:
        before = norm(parameters, names.output_norm, config, hidden)
    else:
        before = hidden = norm(parameters, names.attention_norm, config, hidden)
    inner = dense(parameters, names.intermediate, before, config.mlp_bias)
    inner = (kernels.gated if config.mlp_gate else kernels.activation)(config.hidden_act, inner)
    hidden = add(dense(parameters, names.output, inner, config.mlp_bias), hidden)
    return hidden if config.pre_layer_norm else norm(parameters, names.output_norm, config, hidden)


def recomputed_block(
    parameters: Parameters,
    names: BlockNames,
    config: BertConfig,
    hidden: tf.Tensor,
    view: View,
    keys: DropoutKeys,
) -> tf.Tensor:
    """`transformer_block`, of which only the input is kept for the gradients (checkpointing, Chen et al. 2016).

    The gradients are taken by computing the block a second time, with the same dropout masks: the same numbers.
    """
    own = {name: parameters[name] for name in block_parameters(names, config)}
    calls_before = keys.calls

    @tf.recompute_grad
    def block(hidden: tf.Tensor, *tensors: tf.Tensor) -> tf.Tensor:
        keys.calls = calls_before
        named = dict(zip(own, tensors, strict=False))
        return transformer_block(named, names, config, hidden, view.of(tensors[len(own) :]), keys)

    return block(hidden, *own.values(), *view.tensors)


def encode(
    parameters: Parameters, config: BertConfig, inputs: EncoderInputs, forward: ForwardPass = NO_DROPOUT
) -> tf.Tensor:
    """Returns the last of `encode_layers`, [B, L, H]."""
    return encode_layers(parameters, config, inputs, forward)[-1]


def encode_layers(
    parameters: Parameters, config: BertConfig, inputs: EncoderInputs, forward: ForwardPass = NO_DROPOUT
) -> list[tf.Tensor]:
    """Runs the encoder.

    Args:
      parameters: weights by name, in the dtype to compute in.
      config: the model's configuration.
      inputs: the batch.
      forward: dropout and recomputation.

    Returns:
      The embeddings, then each layer's output: [B, L, H] each. With pre-LN the last is normalised.
    """
    keys = DropoutKeys(forward.dropout_key)
    if config.position_offset and inputs.position_ids is None:
        inputs = inputs._replace(position_ids=roberta_positions(inputs.input_mask))
    outputs = [embed(parameters, config, inputs, keys)]
    seen = views(config, inputs.input_mask, inputs.sequence_ids, inputs.position_ids, outputs[0].dtype)
    block = transformer_block
    if forward.recompute and forward.recompute_policy == "attention":
        seen = [view.recomputed() for view in seen]
    elif forward.recompute:
        block = recomputed_block
    for layer, blocks in enumerate(layer_blocks(config)):
        hidden = outputs[-1]
        for names in blocks:
            hidden = block(parameters, names, config, hidden, seen[layer], keys)
        outputs.append(hidden)
    if config.pre_layer_norm:
        outputs[-1] = norm(parameters, FINAL_NORM, config, outputs[-1])
    return outputs


def pool(parameters: Parameters, hidden: tf.Tensor, cls_positions: tf.Tensor | None = None) -> tf.Tensor:
    """Applies tanh to a dense layer over the first position ([CLS]): [B, L, H] → [B, H].

    With `cls_positions`, int32 [B, E], over those: → [B, E, H].
    """
    first = hidden[:, 0] if cls_positions is None else tf.gather(hidden, cls_positions, batch_dims=1)
    return tf.tanh(dense(parameters, POOLER, first))
