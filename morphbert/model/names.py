"""The names of the network's modules: google-research/bert's, which are used here, and Hugging Face's.

The names here are those of google-research/bert's TensorFlow 1 checkpoints, an ALBERT's those of
google-research/albert's, those of an ELECTRA's discriminator google-research/electra's. A module is a dense layer, a
LayerNorm or a table; its weights add their own name to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from morphbert.model.config import BertConfig

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

# By kind of model (`BertConfig.kind`): the beginning of Hugging Face's names of the encoder. There is none for a
# `custom encoder`, of which transformers has no model.
HUGGING_FACE_PREFIXES = {
    "BERT": "bert",
    "ALBERT": "albert",
    "RoBERTa": "roberta",
    "pre-LN BERT": "bert",
    "ModernBERT": "model",
    "ELECTRA": "electra",
}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where modules stand in the network.

    Attributes:
      part: its name in reports: `embeddings`, `layer 3`, `pooler`, `masked LM head`.
      layer: 0 below the layers, 1 for the first of them; None above all of them.
      hugging_face: names of the modules here → there.
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


_Six = tuple[str, str, str, str, str, str]


def _bert_block(index: int, config: BertConfig) -> BlockNames:
    before = config.pre_layer_norm
    here = f"bert/encoder/layer_{index}"
    there = f"{HUGGING_FACE_PREFIXES.get(config.kind)}.encoder.layer.{index}"
    ours = (
        f"{here}/attention/self",
        f"{here}/attention/output/dense",
        f"{here}/attention/{'' if before else 'output/'}LayerNorm",
        f"{here}/intermediate/dense",
        f"{here}/output/dense",
        f"{here}/{'intermediate' if before else 'output'}/LayerNorm",
    )
    theirs = (
        f"{there}.attention.self",
        f"{there}.attention.output.dense",
        f"{there}.attention.{'ln' if before else 'output.LayerNorm'}",
        f"{there}.intermediate.dense",
        f"{there}.output.dense",
        f"{there}.{'ln' if before else 'output.LayerNorm'}",
    )
    block = _block(f"layer {index}", index, ours, theirs)
    return dataclasses.replace(block, place=_modern_place(block, index, config))


def _modern_place(block: BlockNames, index: int, config: BertConfig) -> Place:
    """Returns the block's place; in a ModernBERT query, key and value are one tensor, one below the other."""
    if config.kind == "custom encoder":
        return dataclasses.replace(block.place, hugging_face={})
    if config.kind != "ModernBERT":
        return block.place
    there = f"model.layers.{index}"
    names = {
        block.attention_output: f"{there}.attn.Wo",
        block.attention_norm: f"{there}.attn_norm",
        block.intermediate: f"{there}.mlp.Wi",
        block.output: f"{there}.mlp.Wo",
        block.output_norm: f"{there}.mlp_norm",
    }
    names |= {block.projection(part): f"{there}.attn.Wqkv" for part in ("query", "key", "value")}
    return dataclasses.replace(block.place, hugging_face=names)


def _albert_block(group: int, inner: int) -> BlockNames:
    """google-research/albert's names."""
    here = f"bert/encoder/transformer/group_{group}/inner_group_{inner}"
    there = f"albert.encoder.albert_layer_groups.{group}.albert_layers.{inner}"
    ours = (
        f"{here}/attention_1/self",
        f"{here}/attention_1/output/dense",
        f"{here}/LayerNorm",
        f"{here}/ffn_1/intermediate/dense",
        f"{here}/ffn_1/intermediate/output/dense",
        f"{here}/LayerNorm_1",
    )
    theirs = (
        f"{there}.attention",
        f"{there}.attention.dense",
        f"{there}.attention.LayerNorm",
        f"{there}.ffn",
        f"{there}.ffn_output",
        f"{there}.full_layer_layer_norm",
    )
    return _block(f"group {group}", group, ours, theirs)


def _block(part: str, index: int, ours: _Six, theirs: _Six) -> BlockNames:
    hugging_face = dict(zip(ours, theirs, strict=True))
    for name in ("query", "key", "value"):
        hugging_face[f"{ours[0]}/{name}"] = f"{theirs[0]}.{name}"
    return BlockNames(*ours, Place(part, index + 1, hugging_face))


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
        [_albert_block(group, inner) for inner in range(config.inner_group_num)]
        for group in range(config.num_hidden_groups)
    ]
    return [groups[index * config.num_hidden_groups // layers] for index in range(layers)]


def embeddings_place(config: BertConfig) -> Place:
    """Returns the tables and their LayerNorm."""
    if config.kind == "ModernBERT":
        modern = {WORD_EMBEDDINGS: "tok_embeddings", EMBEDDING_NORM: "norm"}
        return Place("embeddings", 0, {ours: f"model.embeddings.{theirs}" for ours, theirs in modern.items()})
    if config.kind == "custom encoder":
        return Place("embeddings", 0, {})
    there = f"{HUGGING_FACE_PREFIXES[config.kind]}.embeddings"
    names = ("word_embeddings", "token_type_embeddings", "position_embeddings", "LayerNorm")
    return Place("embeddings", 0, {f"{EMBEDDINGS}/{name}": f"{there}.{name}" for name in names})


def mapping_name(config: BertConfig) -> str:
    """Returns the matrix from the embeddings' width to the layers'."""
    return EMBEDDING_MAPPING if config.electra is None else EMBEDDINGS_PROJECT


def mapping_place(config: BertConfig) -> Place:
    """Returns the module of `mapping_name`; an ELECTRA's is a part of the embeddings, which are frozen with it."""
    there = {
        "ALBERT": {EMBEDDING_MAPPING: "albert.encoder.embedding_hidden_mapping_in"},
        "ELECTRA": {EMBEDDINGS_PROJECT: "electra.embeddings_project"},
    }
    part = "embedding_hidden_mapping_in" if config.electra is None else "embeddings"
    return Place(part, 0, there.get(config.kind, {}))


def final_norm_place(config: BertConfig) -> Place:
    """Returns the `FINAL_NORM` of pre-LN."""
    there = "model.final_norm" if config.kind == "ModernBERT" else "bert.encoder.ln"
    return Place("LayerNorm", None, {FINAL_NORM: there})


def pooler_place(config: BertConfig) -> Place:
    """Returns the layer over [CLS]."""
    prefix = HUGGING_FACE_PREFIXES.get(config.kind)
    there = "albert.pooler" if config.kind == "ALBERT" else f"{prefix}.pooler.dense"
    return Place("pooler", None, {POOLER: there})


def masked_lm_place(config: BertConfig) -> Place:
    """Returns the masked LM's head."""
    there = {
        "ALBERT": ("predictions", "predictions.dense", "predictions.LayerNorm"),
        "RoBERTa": ("lm_head", "lm_head.dense", "lm_head.layer_norm"),
        "ModernBERT": ("decoder", "head.dense", "head.norm"),
        "ELECTRA": ("generator_lm_head", "generator_predictions.dense", "generator_predictions.LayerNorm"),
    }.get(
        config.kind,
        ("cls.predictions", "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
    )
    ours = (MASKED_LM, TRANSFORM, TRANSFORM_NORM)
    return Place("masked LM head", None, dict(zip(ours, there, strict=True)))


def next_sentence_place(config: BertConfig) -> Place:
    """Returns the head for pairs."""
    there = "sop_classifier.classifier" if config.kind == "ALBERT" else "cls.seq_relationship"
    return Place("next sentence head", None, {NEXT_SENTENCE: there})


def discriminator_place(config: BertConfig) -> Place:
    """Returns the head of ELECTRA's discriminator."""
    there = "discriminator_predictions"
    names = {DISCRIMINATOR: f"{there}.dense", DISCRIMINATOR_SCORE: f"{there}.dense_prediction"}
    return Place("discriminator head", None, names if config.kind == "ELECTRA" else {})
