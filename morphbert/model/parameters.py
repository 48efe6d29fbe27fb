"""The weights of a model: the role, shape and initial value of each.

A checkpoint stores each weight under its name (see `names`): files stay readable however the code is arranged.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Literal

import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.model.config import BertConfig
from morphbert.model.names import (
    DISCRIMINATOR,
    DISCRIMINATOR_SCORE,
    EMBEDDING_NORM,
    FINAL_NORM,
    MASKED_LM,
    NEXT_SENTENCE,
    POOLER,
    POSITION_EMBEDDINGS,
    SEGMENT_EMBEDDINGS,
    TRANSFORM,
    TRANSFORM_NORM,
    WORD_EMBEDDINGS,
    BlockNames,
    Place,
    discriminator_place,
    embeddings_place,
    final_norm_place,
    layer_blocks,
    mapping_name,
    mapping_place,
    masked_lm_place,
    next_sentence_place,
    pooler_place,
)
from morphbert.model.variants import VARIANTS

# The role of a weight in its module; the last three are vectors that shift or scale.
Role = Literal["table", "kernel", "weights", "bias", "norm_scale", "norm_shift"]


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One weight before it exists: everything that is known about it.

    Attributes:
      shape: its axes.
      initial: which of BERT's three initial values it gets.
      role: `table` of embeddings, whose rows are looked up; `kernel` [in, out] of a dense layer; `weights` [out, in]
        of a head as google-research/bert keeps it; `bias`; `norm_scale` and `norm_shift` of a LayerNorm.
      part: the name in reports of its part of the network.
      layer: 0 below the layers, 1 for the first of them; None above all of them.
      hugging_face: the tensor there that holds it, alone or below others of the same name; None where transformers'
        pretraining models have no such weight.
    """

    shape: tuple[int, ...]
    initial: Literal["truncated_normal", "zeros", "ones"]
    role: Role
    part: str = "task"
    layer: int | None = None
    hugging_face: str | None = None

    @property
    def decays(self) -> bool:
        """Whether weight decay is for it: not for biases and LayerNorms (google-research/bert `optimization.py`)."""
        return self.role in ("table", "kernel", "weights")

    @property
    def is_summed_from_rows(self) -> bool:
        """Whether its gradient adds up the gradients of each row's uses, thousands for a mask or a segment."""
        return self.role == "table"

    @property
    def is_hidden_matrix(self) -> bool:
        """Whether it takes one hidden state to another: a matrix of the layers, not of the embeddings or a head."""
        return self.role == "kernel" and self.layer is not None and self.layer > 0

    @property
    def is_transposed_there(self) -> bool:
        """Whether Hugging Face stores it [out, in], and it is [in, out] here."""
        return self.role == "kernel"


def _parameter(
    name: str,
    shape: tuple[int, ...],
    initial: Literal["truncated_normal", "zeros", "ones"],
    role: Role,
    place: Place,
) -> Parameter:
    """Returns a weight of the module `name`."""
    there = place.hugging_face.get(name)
    if there is not None:
        there += ".bias" if role in ("bias", "norm_shift") else ".weight"
    return Parameter(shape, initial, role, part=place.part, layer=place.layer, hugging_face=there)


def _dense(name: str, inputs: int, outputs: int, place: Place, bias: bool = True) -> dict[str, Parameter]:
    kernel = _parameter(name, (inputs, outputs), "truncated_normal", "kernel", place)
    if not bias:
        return {f"{name}/kernel": kernel}
    return {f"{name}/kernel": kernel, f"{name}/bias": _parameter(name, (outputs,), "zeros", "bias", place)}


def _norm(name: str, width: int, place: Place, config: BertConfig) -> dict[str, Parameter]:
    scale = _parameter(name, (width,), "ones", "norm_scale", place)
    if not config.norm_bias:
        return {f"{name}/gamma": scale}
    return {f"{name}/gamma": scale, f"{name}/beta": _parameter(name, (width,), "zeros", "norm_shift", place)}


def block_parameters(names: BlockNames, config: BertConfig) -> dict[str, Parameter]:
    """Returns the weights of one block, in the order of the network."""
    usual = _usual_block_parameters(names, config)
    if config.variant is None:
        return usual
    found = dict(VARIANTS.get(config.variant, "the model").parameters(names, config, usual))
    modules = tuple(f"{one}/" for one in dataclasses.astuple(names)[:6])
    for name in found:
        if not name.startswith(modules):
            raise MorphbertError(
                f"the model variant {config.variant!r} has a weight {name!r} outside of its block: names begin with "
                f"one of {', '.join(modules)}"
            )
    if not any(one.role == "kernel" for one in found.values()):
        raise MorphbertError(
            f"the model variant {config.variant!r} has no weight of the role 'kernel' in a block."
        )
    return found


def in_dtype(
    weights: Mapping[str, tf.Tensor], declared: Mapping[str, Parameter], dtype: str
) -> dict[str, tf.Tensor]:
    """Returns the weights to compute with: tables of embeddings as they are, the others in `dtype`.

    In a narrow dtype a sum of thousands, as a table's gradient is, soon stops to move.
    """
    return {
        name: value if declared[name].is_summed_from_rows else tf.cast(value, dtype)
        for name, value in weights.items()
    }


def computed_dtype(weights: Mapping[str, tf.Tensor], config: BertConfig) -> tf.DType:
    """Returns the dtype that `in_dtype` gave the weights."""
    declared = block_parameters(layer_blocks(config)[0][0], config)
    return next(weights[name].dtype for name, one in declared.items() if not one.is_summed_from_rows)


def _usual_block_parameters(names: BlockNames, config: BertConfig) -> dict[str, Parameter]:
    width, inner, place = config.hidden_size, config.intermediate_size, names.place
    parameters: dict[str, Parameter] = {}
    for part in ("query", "key", "value"):
        parameters |= _dense(names.projection(part), width, width, place, config.attention_bias)
    parameters |= _dense(names.attention_output, width, width, place, config.attention_bias)
    if names.normalizes_attention:
        parameters |= _norm(names.attention_norm, width, place, config)
    first = 2 * inner if config.mlp_gate else inner
    parameters |= _dense(names.intermediate, width, first, place, config.mlp_bias)
    parameters |= _dense(names.output, inner, width, place, config.mlp_bias)
    return parameters | _norm(names.output_norm, width, place, config)


def encoder_parameters(config: BertConfig) -> dict[str, Parameter]:
    """Returns the weights of embeddings, Transformer layers and pooler, in the order of the network."""
    width, embedding, place = config.hidden_size, config.embedding_width, embeddings_place(config)
    rows = {WORD_EMBEDDINGS: config.vocab_size}
    if config.type_vocab_size:
        rows[SEGMENT_EMBEDDINGS] = config.type_vocab_size
    if config.position_embedding_type == "absolute":
        rows[POSITION_EMBEDDINGS] = config.max_position_embeddings + config.position_offset
    parameters = {
        name: _parameter(name, (size, embedding), "truncated_normal", "table", place)
        for name, size in rows.items()
    }
    if config.embedding_norm or not config.pre_layer_norm:
        parameters |= _norm(EMBEDDING_NORM, embedding, place, config)
    if embedding != width:
        parameters |= _dense(mapping_name(config), embedding, width, mapping_place(config))
    for blocks in layer_blocks(config):
        for names in blocks:
            parameters |= block_parameters(names, config)
    if config.pre_layer_norm:
        parameters |= _norm(FINAL_NORM, width, final_norm_place(config), config)
    return parameters | pooler_parameters(config) if config.pooler else parameters


def pooler_parameters(config: BertConfig) -> dict[str, Parameter]:
    """Returns the weights that `pool` takes."""
    return _dense(POOLER, config.hidden_size, config.hidden_size, pooler_place(config))


def pretraining_parameters(config: BertConfig) -> dict[str, Parameter]:
    """Returns the encoder's weights and those of the masked-LM and, if the configuration has it, next-sentence heads.

    The discriminator of an ELECTRA has its own head instead. The masked LM's output matrix is the word embedding table
    (Devlin et al. 2019, google-research/bert `get_masked_lm_output`): only its bias is a separate weight.
    """
    parameters = encoder_parameters(config)
    if not config.has_masked_lm:
        return parameters | discriminator_parameters(config)
    if config.decoder_bias:
        bias = _parameter(MASKED_LM, (config.vocab_size,), "zeros", "bias", masked_lm_place(config))
        parameters[f"{MASKED_LM}/output_bias"] = bias
    parameters |= transform_parameters(config)
    if config.next_sentence_head:
        name, place = NEXT_SENTENCE, next_sentence_place(config)
        shape = (2, config.hidden_size)
        parameters |= {
            f"{name}/output_weights": _parameter(name, shape, "truncated_normal", "weights", place),
            f"{name}/output_bias": _parameter(name, (2,), "zeros", "bias", place),
        }
    return parameters


def transform_parameters(config: BertConfig) -> dict[str, Parameter]:
    """Returns the weights of the masked LM head's dense layer and norm."""
    place = masked_lm_place(config)
    dense = _dense(TRANSFORM, config.hidden_size, config.embedding_width, place, config.classifier_bias)
    return {**dense, **_norm(TRANSFORM_NORM, config.embedding_width, place, config)}


def discriminator_parameters(config: BertConfig) -> dict[str, Parameter]:
    """Returns the weights that `heads.discriminator_logits` takes besides the encoder's."""
    width, place = config.hidden_size, discriminator_place(config)
    return {**_dense(DISCRIMINATOR, width, width, place), **_dense(DISCRIMINATOR_SCORE, width, 1, place)}


def initial_value(name: str, parameter: Parameter, config: BertConfig, seed: int) -> tf.Tensor:
    """Returns the initial value, float32, which depends on seed and name alone, on any device and in any order."""
    if parameter.initial == "truncated_normal":
        return tf.random.stateless_truncated_normal(
            parameter.shape,
            seed=(seed, zlib.crc32(name.encode())),
            stddev=config.initializer_range,
            alg="philox",
        )
    return tf.ones(parameter.shape) if parameter.initial == "ones" else tf.zeros(parameter.shape)


class TrainableModel(tf.Module):
    """Holds the float32 weights by name; the computations are functions of `parameters`.

    `declared` has the role of each.

    Create it inside the strategy's scope. Every replica keeps its own copy of each weight and updates it
    with the same reduced gradient: that needs no communication when weights are written, works inside
    nested and compiled functions, and a checkpoint stores the first replica's copy.
    """

    def __init__(self, config: BertConfig, parameters: Mapping[str, Parameter], seed: int = 0):
        super().__init__()
        self.config = config
        self._seed = seed
        self.declared = dict(parameters)
        self.parameters = {
            name: replica_variable(initial_value(name, parameter, config, seed), name)
            for name, parameter in parameters.items()
        }

    def reset(self) -> None:
        """Gives each weight its initial value again."""
        for name, variable in self.parameters.items():
            variable.assign(initial_value(name, self.declared[name], self.config, self._seed))


def replica_variable(value: tf.Tensor, name: str) -> tf.Variable:
    """Returns a variable of which each replica holds a copy that it alone writes; saved from the first replica."""
    return tf.Variable(
        value,
        trainable=False,  # gradients are asked for by tensor, never by a tape's watch list
        name=name,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
