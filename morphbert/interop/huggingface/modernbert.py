"""ModernBERT's `config.json` at Hugging Face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from morphbert.model.config import BertConfig
from morphbert.model.hugging_face_config import layer_types

# By their name in transformers; `gelu` there is the exact form.
_ACTIVATIONS = {"gelu": "gelu_new", "gelu_erf": "gelu"}
# transformers' default, for a model without local attention, whose window is never looked at.
_ANY_WINDOW = 128


def config_values(config: BertConfig, special_ids: Mapping[str, int] | None) -> dict[str, Any]:
    """Returns the entries of `config.json` that are a ModernBERT's, as transformers 4 and 5 read them.

    Args:
      config: of a model whose kind is `ModernBERT`.
      special_ids: ids of the pieces `[PAD]`, `[CLS]` and `[SEP]`; None where the vocabulary is not known.
    """
    ids = special_ids or {}
    first, last = ids.get("[CLS]"), ids.get("[SEP]")
    every, layers = config.global_attn_every_n_layers, config.num_hidden_layers
    thetas = {
        "full_attention": float(config.global_rope_theta),
        "sliding_attention": float(config.local_rope_theta),
    }
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": layers,
        "num_attention_heads": config.num_attention_heads,
        "max_position_embeddings": config.max_position_embeddings,
        "hidden_activation": _activation(config.hidden_act),
        "classifier_activation": _activation(config.classifier_activation or config.hidden_act),
        "classifier_pooling": "cls",
        "initializer_range": config.initializer_range,
        "norm_eps": config.layer_norm_eps,
        "norm_bias": config.norm_bias,
        "attention_bias": config.attention_bias,
        "mlp_bias": config.mlp_bias,
        "classifier_bias": config.classifier_bias,
        "decoder_bias": config.decoder_bias,
        "attention_dropout": config.attention_probs_dropout_prob,
        "embedding_dropout": config.hidden_dropout_prob,
        "mlp_dropout": config.hidden_dropout_prob,
        "classifier_dropout": 0.0,
        "local_attention": config.local_attention or _ANY_WINDOW,
        # transformers 4 reads the first three, 5 the others.
        "global_attn_every_n_layers": every,
        "global_rope_theta": thetas["full_attention"],
        "local_rope_theta": thetas["sliding_attention"],
        "layer_types": layer_types(every, layers),
        "rope_parameters": {
            kind: {"rope_theta": theta, "rope_type": "default"} for kind, theta in thetas.items()
        },
        # Their defaults are ids of a vocabulary of 50,368 pieces.
        "pad_token_id": ids.get("[PAD]"),
        "bos_token_id": first,
        "cls_token_id": first,
        "eos_token_id": last,
        "sep_token_id": last,
    }


def _activation(name: str) -> str:
    return _ACTIVATIONS.get(name, name)
