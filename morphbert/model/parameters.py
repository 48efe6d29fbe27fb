"""The weights of a model: names, shapes and initial values.

The names are those of google-research/bert's TensorFlow 1 checkpoints, and a checkpoint stores each weight
under its name: files stay readable however the code is arranged.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Literal

import tensorflow as tf

from morphbert.model.config import BertConfig


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One weight before it exists: its shape, and which of BERT's three initial values it gets."""

    shape: tuple[int, ...]
    initial: Literal["truncated_normal", "zeros", "ones"]


def _dense(name: str, inputs: int, outputs: int) -> dict[str, Parameter]:
    return {
        f"{name}/kernel": Parameter((inputs, outputs), "truncated_normal"),
        f"{name}/bias": Parameter((outputs,), "zeros"),
    }


def _layer_norm(name: str, width: int) -> dict[str, Parameter]:
    return {
        f"{name}/LayerNorm/gamma": Parameter((width,), "ones"),
        f"{name}/LayerNorm/beta": Parameter((width,), "zeros"),
    }


def encoder_parameters(config: BertConfig) -> dict[str, Parameter]:
    """Embeddings, Transformer layers and pooler, in the order of the network."""
    width, inner = config.hidden_size, config.intermediate_size
    table = "bert/embeddings"
    parameters = {
        f"{table}/word_embeddings": Parameter((config.vocab_size, width), "truncated_normal"),
        f"{table}/token_type_embeddings": Parameter((config.type_vocab_size, width), "truncated_normal"),
        f"{table}/position_embeddings": Parameter(
            (config.max_position_embeddings, width), "truncated_normal"
        ),
        **_layer_norm(table, width),
    }
    for index in range(config.num_hidden_layers):
        layer = f"bert/encoder/layer_{index}"
        for part in ("query", "key", "value"):
            parameters |= _dense(f"{layer}/attention/self/{part}", width, width)
        parameters |= _dense(f"{layer}/attention/output/dense", width, width)
        parameters |= _layer_norm(f"{layer}/attention/output", width)
        parameters |= _dense(f"{layer}/intermediate/dense", width, inner)
        parameters |= _dense(f"{layer}/output/dense", inner, width)
        parameters |= _layer_norm(f"{layer}/output", width)
    return parameters | _dense("bert/pooler/dense", width, width)


def pretraining_parameters(config: BertConfig) -> dict[str, Parameter]:
    """The encoder's weights and those of the masked-LM and next-sentence heads.

    The masked LM's output matrix is the word embedding table (Devlin et al. 2019, google-research/bert
    `get_masked_lm_output`): only its bias is a weight of its own.
    """
    width = config.hidden_size
    return {
        **encoder_parameters(config),
        "cls/predictions/output_bias": Parameter((config.vocab_size,), "zeros"),
        **_dense("cls/predictions/transform/dense", width, width),
        **_layer_norm("cls/predictions/transform", width),
        "cls/seq_relationship/output_weights": Parameter((2, width), "truncated_normal"),
        "cls/seq_relationship/output_bias": Parameter((2,), "zeros"),
    }


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
