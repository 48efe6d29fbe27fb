"""The weights of a model: names, shapes and initial values.

The names are those of google-research/bert's TensorFlow 1 checkpoints, an ALBERT's those of google-research/albert's,
and a checkpoint stores each weight under its name: files stay readable however the code is arranged.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Literal

import tensorflow as tf

from morphbert.model.config import BertConfig

WORD_EMBEDDINGS = "bert/embeddings/word_embeddings"

# ALBERT's matrix from the embeddings' width to the layers', and what pre-LN ends with.
EMBEDDING_MAPPING = "bert/encoder/embedding_hidden_mapping_in"
FINAL_NORM = "bert/encoder/LayerNorm"


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One weight before it exists: its shape, and which of BERT's three initial values it gets."""

    shape: tuple[int, ...]
    initial: Literal["truncated_normal", "zeros", "ones"]


@dataclasses.dataclass(frozen=True)
class BlockNames:
    """Where the weights of one Transformer block lie: the dense layers, and both LayerNorms.

    After the residual sums in BERT, before attention and feed-forward with `pre_layer_norm`.
    """

    self_attention: str
    attention_output: str
    attention_norm: str
    intermediate: str
    output: str
    output_norm: str


def _bert_block(layer: str, pre_layer_norm: bool) -> BlockNames:
    return BlockNames(
        f"{layer}/attention/self",
        f"{layer}/attention/output/dense",
        f"{layer}/attention/{'' if pre_layer_norm else 'output/'}LayerNorm",
        f"{layer}/intermediate/dense",
        f"{layer}/output/dense",
        f"{layer}/{'intermediate' if pre_layer_norm else 'output'}/LayerNorm",
    )


def _albert_block(block: str) -> BlockNames:
    """google-research/albert's names."""
    return BlockNames(
        f"{block}/attention_1/self",
        f"{block}/attention_1/output/dense",
        f"{block}/LayerNorm",
        f"{block}/ffn_1/intermediate/dense",
        f"{block}/ffn_1/intermediate/output/dense",
        f"{block}/LayerNorm_1",
    )


def layer_blocks(config: BertConfig) -> list[list[BlockNames]]:
    """For each layer its blocks: one, but for an ALBERT with `inner_group_num`, whose layers share them in groups."""
    layers = config.num_hidden_layers
    if config.num_hidden_groups is None:
        return [
            [_bert_block(f"bert/encoder/layer_{index}", config.pre_layer_norm)] for index in range(layers)
        ]
    groups = [
        [
            _albert_block(f"bert/encoder/transformer/group_{group}/inner_group_{inner}")
            for inner in range(config.inner_group_num)
        ]
        for group in range(config.num_hidden_groups)
    ]
    return [groups[index * config.num_hidden_groups // layers] for index in range(layers)]


def block_parameters(names: BlockNames, width: int, inner: int) -> dict[str, Parameter]:
    """The weights of one block, in the order of the network."""
    parameters: dict[str, Parameter] = {}
    for part in ("query", "key", "value"):
        parameters |= _dense(f"{names.self_attention}/{part}", width, width)
    parameters |= _dense(names.attention_output, width, width)
    parameters |= _layer_norm(names.attention_norm, width)
    parameters |= _dense(names.intermediate, width, inner)
    parameters |= _dense(names.output, inner, width)
    return parameters | _layer_norm(names.output_norm, width)


def _dense(name: str, inputs: int, outputs: int) -> dict[str, Parameter]:
    return {
        f"{name}/kernel": Parameter((inputs, outputs), "truncated_normal"),
        f"{name}/bias": Parameter((outputs,), "zeros"),
    }


def _layer_norm(name: str, width: int) -> dict[str, Parameter]:
    return {f"{name}/gamma": Parameter((width,), "ones"), f"{name}/beta": Parameter((width,), "zeros")}


def encoder_parameters(config: BertConfig) -> dict[str, Parameter]:
    """Embeddings, Transformer layers and pooler, in the order of the network."""
    width, embedding = config.hidden_size, config.embedding_width
    table, positions = "bert/embeddings", config.max_position_embeddings + config.position_offset
    parameters = {
        WORD_EMBEDDINGS: Parameter((config.vocab_size, embedding), "truncated_normal"),
        f"{table}/token_type_embeddings": Parameter((config.type_vocab_size, embedding), "truncated_normal"),
        f"{table}/position_embeddings": Parameter((positions, embedding), "truncated_normal"),
    }
    if not config.pre_layer_norm:
        parameters |= _layer_norm(f"{table}/LayerNorm", embedding)
    if embedding != width:
        parameters |= _dense(EMBEDDING_MAPPING, embedding, width)
    for blocks in layer_blocks(config):
        for names in blocks:
            parameters |= block_parameters(names, width, config.intermediate_size)
    if config.pre_layer_norm:
        parameters |= _layer_norm(FINAL_NORM, width)
    return parameters | _dense("bert/pooler/dense", width, width)


def pretraining_parameters(config: BertConfig) -> dict[str, Parameter]:
    """The encoder's weights and those of the masked-LM and, but for RoBERTa, next-sentence heads.

    The masked LM's output matrix is the word embedding table (Devlin et al. 2019, google-research/bert
    `get_masked_lm_output`): only its bias is a weight of its own.
    """
    width, embedding = config.hidden_size, config.embedding_width
    parameters = {
        **encoder_parameters(config),
        "cls/predictions/output_bias": Parameter((config.vocab_size,), "zeros"),
        **_dense("cls/predictions/transform/dense", width, embedding),
        **_layer_norm("cls/predictions/transform/LayerNorm", embedding),
    }
    if config.next_sentence_head:
        parameters["cls/seq_relationship/output_weights"] = Parameter((2, width), "truncated_normal")
        parameters["cls/seq_relationship/output_bias"] = Parameter((2,), "zeros")
    return parameters


def initial_value(name: str, parameter: Parameter, config: BertConfig, seed: int) -> tf.Tensor:
    """float32 initial value: a function of (seed, name) alone, on any device and in any order."""
    if parameter.initial == "truncated_normal":
        return tf.random.stateless_truncated_normal(
            parameter.shape,
            seed=(seed, zlib.crc32(name.encode())),
            stddev=config.initializer_range,
            alg="philox",
        )
    return tf.ones(parameter.shape) if parameter.initial == "ones" else tf.zeros(parameter.shape)


class TrainableModel(tf.Module):
    """Holds the float32 weights by name; what is computed with them are functions of `parameters`.

    Create it inside the strategy's scope. Every replica keeps its own copy of each weight and updates it
    with the same reduced gradient: that needs no communication when weights are written, works inside
    nested and compiled functions, and a checkpoint stores the first replica's copy.
    """

    def __init__(self, config: BertConfig, parameters: Mapping[str, Parameter], seed: int = 0):
        super().__init__()
        self.config = config
        self.parameters = {
            name: replica_variable(initial_value(name, parameter, config, seed), name)
            for name, parameter in parameters.items()
        }


def replica_variable(value: tf.Tensor, name: str) -> tf.Variable:
    """A variable of which each replica holds a copy that it alone writes; saved from the first replica."""
    return tf.Variable(
        value,
        trainable=False,  # gradients are asked for by tensor, never by a tape's watch list
        name=name,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
