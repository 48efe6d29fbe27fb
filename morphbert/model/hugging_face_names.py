"""The names of weights and classes in Hugging Face transformers, by kind of model (`BertConfig.kind`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from morphbert.model.config import BertConfig


@dataclasses.dataclass(frozen=True)
class HuggingFaceNames:
    """The names that transformers gives to the modules and classes of one kind of model.

    A module that the kind does not have is None.

    Attributes:
      model_type: in `config.json`.
      class_prefix: the beginning of its classes' names: `Bert` of `BertForMaskedLM`.
      prefix: the beginning of the encoder's names in a model with heads.
      layer: one layer; with the numbers of its group and of its place in the group where layers are shared.
      block: the modules of a layer, by the fields of `names.BlockNames` and the three projections.
      masked_lm: the module with the bias of the pieces' scores, the dense layer before it, and the LayerNorm of that.
      scores: the module that gives the scores of the pieces.
      word_embeddings: the table of the pieces, below `prefix` and `embeddings`.
      embedding_norm: the LayerNorm over the sum of the embeddings, likewise.
      mapping: the matrix from the embeddings' width to that of the layers.
      final_norm: the LayerNorm after the last layer.
      pooler: the dense layer over [CLS].
      next_sentence: the head for pairs.
      discriminator: the dense layer and the score of ELECTRA's discriminator.
      has_task_classes: whether its classes for tasks compute the heads that are fine-tuned here.
    """

    model_type: str
    class_prefix: str
    prefix: str
    layer: str
    block: Mapping[str, str]
    masked_lm: tuple[str, str, str]
    scores: str
    word_embeddings: str = "word_embeddings"
    embedding_norm: str = "LayerNorm"
    mapping: str | None = None
    final_norm: str | None = None
    pooler: str | None = None
    next_sentence: str | None = None
    discriminator: tuple[str, str] | None = None
    has_task_classes: bool = True


_BERT_BLOCK = {
    "self_attention": "attention.self",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}
_ALBERT_BLOCK = {
    "self_attention": "attention",
    "query": "attention.query",
    "key": "attention.key",
    "value": "attention.value",
    "attention_output": "attention.dense",
    "attention_norm": "attention.LayerNorm",
    "intermediate": "ffn",
    "output": "ffn_output",
    "output_norm": "full_layer_layer_norm",
}
# Query, key and value are one tensor, one below the other.
_MODERN_BLOCK = {
    **dict.fromkeys(("query", "key", "value"), "attn.Wqkv"),
    "attention_output": "attn.Wo",
    "attention_norm": "attn_norm",
    "intermediate": "mlp.Wi",
    "output": "mlp.Wo",
    "output_norm": "mlp_norm",
}
_BERT_HEAD = ("cls.predictions", "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm")

HUGGING_FACE_NAMES = {
    "BERT": HuggingFaceNames(
        model_type="bert",
        class_prefix="Bert",
        prefix="bert",
        layer="bert.encoder.layer.{0}",
        block=_BERT_BLOCK,
        masked_lm=_BERT_HEAD,
        scores="cls.predictions.decoder",
        pooler="bert.pooler.dense",
        next_sentence="cls.seq_relationship",
    ),
    "ALBERT": HuggingFaceNames(
        model_type="albert",
        class_prefix="Albert",
        prefix="albert",
        layer="albert.encoder.albert_layer_groups.{0}.albert_layers.{1}",
        block=_ALBERT_BLOCK,
        masked_lm=("predictions", "predictions.dense", "predictions.LayerNorm"),
        scores="predictions.decoder",
        mapping="albert.encoder.embedding_hidden_mapping_in",
        pooler="albert.pooler",
        next_sentence="sop_classifier.classifier",
    ),
    "RoBERTa": HuggingFaceNames(
        model_type="roberta",
        class_prefix="Roberta",
        prefix="roberta",
        layer="roberta.encoder.layer.{0}",
        block=_BERT_BLOCK,
        masked_lm=("lm_head", "lm_head.dense", "lm_head.layer_norm"),
        scores="lm_head.decoder",
        pooler="roberta.pooler.dense",
    ),
    "pre-LN BERT": HuggingFaceNames(
        model_type="megatron-bert",
        class_prefix="MegatronBert",
        prefix="bert",
        layer="bert.encoder.layer.{0}",
        block={**_BERT_BLOCK, "attention_norm": "attention.ln", "output_norm": "ln"},
        masked_lm=_BERT_HEAD,
        scores="cls.predictions.decoder",
        final_norm="bert.encoder.ln",
        pooler="bert.pooler.dense",
        next_sentence="cls.seq_relationship",
        has_task_classes=False,
    ),
    "ModernBERT": HuggingFaceNames(
        model_type="modernbert",
        class_prefix="ModernBert",
        prefix="model",
        word_embeddings="tok_embeddings",
        embedding_norm="norm",
        layer="model.layers.{0}",
        block=_MODERN_BLOCK,
        masked_lm=("decoder", "head.dense", "head.norm"),
        scores="decoder",
        final_norm="model.final_norm",
    ),
    "ELECTRA": HuggingFaceNames(
        model_type="electra",
        class_prefix="Electra",
        prefix="electra",
        layer="electra.encoder.layer.{0}",
        block=_BERT_BLOCK,
        masked_lm=("generator_lm_head", "generator_predictions.dense", "generator_predictions.LayerNorm"),
        scores="generator_lm_head",
        mapping="electra.embeddings_project",
        discriminator=("discriminator_predictions.dense", "discriminator_predictions.dense_prediction"),
    ),
}


def hugging_face_names(config: BertConfig) -> HuggingFaceNames | None:
    """Returns the names for a model; None for a `custom encoder`, which no class of transformers computes."""
    return HUGGING_FACE_NAMES.get(config.kind)
