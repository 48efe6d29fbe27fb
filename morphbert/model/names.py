"""The names of the network's modules: google-research/bert's, and where each stands at Hugging Face.

The names here are those of google-research/bert's TensorFlow 1 checkpoints, an ALBERT's those of
google-research/albert's, those of an ELECTRA's discriminator google-research/electra's. A module is a dense layer, a
LayerNorm or a table; its weights add their own name to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from morphbert.model.config import BertConfig
from morphbert.model.hugging_face_names import HuggingFaceNames, hugging_face_names

EMBEDDINGS = "bert/embeddings"
WORD_EMBEDDINGS = f"{EMBEDDINGS}/word_embeddings"
SEGMENT_EMBEDDINGS = f"{EMBEDDINGS}/token_type_embeddings"
POSITION_EMBEDDINGS = f"{EMBEDDINGS}/position_embeddings"
EMBEDDING_NORM = f"{EMBEDDINGS}/LayerNorm"
# ALBERT's matrix from the embeddings' width to the layers', and the LayerNorm that pre-LN ends with.
EMBEDDING_MAPPING = "bert/encoder/embedding_hidden_mapping_in"
# The same matrix of an ELECTRA.
EMBEDDINGS_PROJECT = "bert/embeddings_project"
FINAL_NORM = "bert/encoder/LayerNorm"
POOLER = "bert/pooler/dense"
MASKED_LM = "cls/predictions"
TRANSFORM = f"{MASKED_LM}/transform/dense"
TRANSFORM_NORM = f"{MASKED_LM}/transform/LayerNorm"
NEXT_SENTENCE = "cls/seq_relationship"
# ELECTRA's discriminator: a dense layer with activation, and one whose single output is the score of "replaced".
DISCRIMINATOR = "discriminator_predictions/dense"
DISCRIMINATOR_SCORE = "discriminator_predictions/dense_1"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where modules stand in the network.

    Attributes:
      part: its name in reports: `embeddings`, `layer 3`, `pooler`, `masked LM head`.
      layer: 0 below the layers, 1 for the first of them; None above all of them.
      hugging_face: names of the modules here → there; none where transformers has no such modules.
    """

    part: str
    layer: int | None
    hugging_face: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class BlockNames:
    """The modules of one Transformer block: the dense layers, and both LayerNorms.

    After the residual sums in BERT, before attention and feed-forward with `pre_layer_norm`.
    `normalizes_attention` is false in the first block of a model with `embedding_norm`, which has no `attention_norm`.
    """

    self_attention: str
    attention_output: str
    attention_norm: str
    intermediate: str
    output: str
    output_norm: str
    place: Place
    normalizes_attention: bool = True

    def projection(self, part: str) -> str:
        """Returns the dense layer that makes `query`, `key` or `value`."""
        return f"{self.self_attention}/{part}"


def _bert_block(index: int, config: BertConfig) -> BlockNames:
    before = config.pre_layer_norm
    here = f"bert/encoder/layer_{index}"
    block = BlockNames(
        self_attention=f"{here}/attention/self",
        attention_output=f"{here}/attention/output/dense",
        attention_norm=f"{here}/attention/{'' if before else 'output/'}LayerNorm",
        intermediate=f"{here}/intermediate/dense",
        output=f"{here}/output/dense",
        output_norm=f"{here}/{'intermediate' if before else 'output'}/LayerNorm",
        place=Place(f"layer {index}", index + 1, {}),
    )
    return _with_hugging_face(block, config, index)


def _albert_block(group: int, inner: int, config: BertConfig) -> BlockNames:
    """google-research/albert's names."""
    here = f"bert/encoder/transformer/group_{group}/inner_group_{inner}"
    block = BlockNames(
        self_attention=f"{here}/attention_1/self",
        attention_output=f"{here}/attention_1/output/dense",
        attention_norm=f"{here}/LayerNorm",
        intermediate=f"{here}/ffn_1/intermediate/dense",
        output=f"{here}/ffn_1/intermediate/output/dense",
        output_norm=f"{here}/LayerNorm_1",
        place=Place(f"group {group}", group + 1, {}),
    )
    return _with_hugging_face(block, config, group, inner)


def _with_hugging_face(block: BlockNames, config: BertConfig, *numbers: int) -> BlockNames:
    """Adds the names of a block's modules at Hugging Face; `numbers` are those of its layer there."""
    names = hugging_face_names(config)
    if names is None:
        return block
    projections = ("query", "key", "value")
    layer = names.layer.format(*numbers)
    there = {
        block.projection(part) if part in projections else getattr(block, part): f"{layer}.{module}"
        for part, module in names.block.items()
    }
    return dataclasses.replace(block, place=dataclasses.replace(block.place, hugging_face=there))


def layer_blocks(config: BertConfig) -> list[list[BlockNames]]:
    """Returns the blocks of each layer: one, except for an ALBERT, whose layers share them in groups.

    Layers that share their weights count as one.
    """
    layers = _layer_blocks(config)
    if config.embedding_norm:
        layers[0] = [dataclasses.replace(layers[0][0], normalizes_attention=False), *layers[0][1:]]
    return layers


def _layer_blocks(config: BertConfig) -> list[list[BlockNames]]:
    layers = config.num_hidden_layers
    if config.num_hidden_groups is None:
        return [[_bert_block(index, config)] for index in range(layers)]
    groups = [
        [_albert_block(group, inner, config) for inner in range(config.inner_group_num)]
        for group in range(config.num_hidden_groups)
    ]
    return [groups[index * config.num_hidden_groups // layers] for index in range(layers)]


def _place(
    part: str,
    layer: int | None,
    config: BertConfig,
    there: Callable[[HuggingFaceNames], Mapping[str, str | None]],
) -> Place:
    """Returns a place; `there` gives the modules that the model's kind has at Hugging Face."""
    names = hugging_face_names(config)
    found = {} if names is None else there(names)
    return Place(part, layer, {ours: theirs for ours, theirs in found.items() if theirs is not None})


def embeddings_place(config: BertConfig) -> Place:
    """Returns the tables and their LayerNorm."""

    def there(names: HuggingFaceNames) -> dict[str, str | None]:
        modules = {
            WORD_EMBEDDINGS: names.word_embeddings,
            SEGMENT_EMBEDDINGS: "token_type_embeddings",
            POSITION_EMBEDDINGS: "position_embeddings",
            EMBEDDING_NORM: names.embedding_norm,
        }
        return {ours: f"{names.prefix}.embeddings.{theirs}" for ours, theirs in modules.items()}

    return _place("embeddings", 0, config, there)


def mapping_name(config: BertConfig) -> str:
    """Returns the matrix from the embeddings' width to the layers'."""
    return EMBEDDING_MAPPING if config.electra is None else EMBEDDINGS_PROJECT


def mapping_place(config: BertConfig) -> Place:
    """Returns the module of `mapping_name`; an ELECTRA's is a part of the embeddings, which are frozen with it."""
    part = "embedding_hidden_mapping_in" if config.electra is None else "embeddings"
    return _place(part, 0, config, lambda names: {mapping_name(config): names.mapping})


def final_norm_place(config: BertConfig) -> Place:
    """Returns the `FINAL_NORM` of pre-LN."""
    return _place("LayerNorm", None, config, lambda names: {FINAL_NORM: names.final_norm})


def pooler_place(config: BertConfig) -> Place:
    """Returns the layer over [CLS]."""
    return _place("pooler", None, config, lambda names: {POOLER: names.pooler})


def masked_lm_place(config: BertConfig) -> Place:
    """Returns the masked LM's head."""
    ours = (MASKED_LM, TRANSFORM, TRANSFORM_NORM)
    return _place("masked LM head", None, config, lambda names: dict(zip(ours, names.masked_lm, strict=True)))


def next_sentence_place(config: BertConfig) -> Place:
    """Returns the head for pairs."""
    return _place("next sentence head", None, config, lambda names: {NEXT_SENTENCE: names.next_sentence})


def discriminator_place(config: BertConfig) -> Place:
    """Returns the head of ELECTRA's discriminator."""
    ours = (DISCRIMINATOR, DISCRIMINATOR_SCORE)
    return _place(
        "discriminator head",
        None,
        config,
        lambda names: dict(zip(ours, names.discriminator or (None, None), strict=True)),
    )
