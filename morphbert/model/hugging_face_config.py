"""Translates the keys of a Hugging Face `config.json`.

transformers leaves out keys with default values. They differ by `model_type` and from google-research/bert's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from morphbert.errors import MorphbertError

ROBERTA_TYPES = ("roberta", "xlm-roberta", "camembert")
READABLE_TYPES = ("bert", "albert", *ROBERTA_TYPES, "megatron-bert", "modernbert", "electra")

# By `model_type`, where they are not google-research/bert's; those of its kind stand under "bert".
_DEFAULTS: dict[str, dict[str, Any]] = {
    "bert": {"vocab_size": 30522, "type_vocab_size": 2},
    "roberta": {"vocab_size": 50265, "type_vocab_size": 2},
    "albert": {
        "vocab_size": 30000,
        "embedding_size": 128,
        "hidden_size": 4096,
        "num_hidden_groups": 1,
        "num_attention_heads": 64,
        "intermediate_size": 16384,
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "type_vocab_size": 2,
    },
    "megatron-bert": {
        "vocab_size": 29056,
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "type_vocab_size": 2,
    },
    "electra": {
        "vocab_size": 30522,
        "embedding_size": 128,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "type_vocab_size": 2,
    },
}
# Hugging Face's names of the ELECTRA classes that are generators; the others are discriminators.
_GENERATORS = ("ElectraForMaskedLM", "ElectraForCausalLM")
# Their `gelu` is the exact form, which is `gelu_erf` here; google-research/bert's `gelu` has many names there.
_ACTIVATIONS = {
    "gelu": "gelu_erf",
    "gelu_python": "gelu_erf",
    "gelu_new": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "gelu_python_tanh": "gelu",
    "gelu_fast": "gelu",
    "gelu_accurate": "gelu",
}


def from_hugging_face(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Returns Hugging Face's values by the names of `BertConfig`; keys without a meaning here stay.

    RoBERTa's position table begins with the rows up to the padding's, and its configuration counts them in.

    Raises:
      MorphbertError: RoBERTa's padding has no id.
    """
    kind = "roberta" if values.get("model_type") in ROBERTA_TYPES else values.get("model_type")
    chosen: dict[str, Any] = {"hidden_act": "gelu", "max_position_embeddings": 512}
    chosen |= {**_DEFAULTS.get(str(kind), _DEFAULTS["bert"]), **values}
    chosen["hidden_act"] = _ACTIVATIONS.get(str(chosen["hidden_act"]), chosen["hidden_act"])
    if kind == "roberta":
        padding = values.get("pad_token_id", 1)
        if not isinstance(padding, int) or padding < 0:
            raise MorphbertError(
                f"{source}: pad_token_id is {padding!r}; a RoBERTa counts its positions from it."
            )
        chosen |= {"position_offset": padding + 1, "next_sentence_head": False}
        chosen["max_position_embeddings"] -= chosen["position_offset"]
    if chosen.get("embedding_size") == chosen.get("hidden_size"):
        chosen["embedding_size"] = None
    if kind == "megatron-bert":
        chosen["pre_layer_norm"] = True
    if kind == "electra":
        is_generator = any(name in _GENERATORS for name in values.get("architectures") or ())
        chosen |= {"electra": "generator" if is_generator else "discriminator"}
        chosen |= {"pooler": False, "next_sentence_head": False}
    return chosen


# ModernBERT's keys that are ours by another name, with their defaults there.
_MODERN_NAMES = {
    "vocab_size": ("vocab_size", 50368),
    "hidden_size": ("hidden_size", 768),
    "num_hidden_layers": ("num_hidden_layers", 22),
    "num_attention_heads": ("num_attention_heads", 12),
    "intermediate_size": ("intermediate_size", 1152),
    "max_position_embeddings": ("max_position_embeddings", 8192),
    "initializer_range": ("initializer_range", 0.02),
    "norm_eps": ("layer_norm_eps", 1e-5),
    "attention_bias": ("attention_bias", False),
    "mlp_bias": ("mlp_bias", False),
    "norm_bias": ("norm_bias", False),
    "classifier_bias": ("classifier_bias", False),
    "decoder_bias": ("decoder_bias", True),
    "attention_dropout": ("attention_probs_dropout_prob", 0.0),
    "embedding_dropout": ("hidden_dropout_prob", 0.0),
}
_MODERN_THETAS = {
    "full_attention": ("global_rope_theta", 160000.0),
    "sliding_attention": ("local_rope_theta", 10000.0),
}

# The fixed values of ModernBERT.
MODERN_BLOCK = {
    "type_vocab_size": 0,
    "position_embedding_type": "rotary",
    "mlp_gate": True,
    "pre_layer_norm": True,
    "embedding_norm": True,
    "pooler": False,
    "next_sentence_head": False,
}
# The keys of `BertConfig` that a ModernBERT's configuration sets freely.
MODERN_KEYS = frozenset(
    {ours for ours, _ in (*_MODERN_NAMES.values(), *_MODERN_THETAS.values())}
    | {"hidden_act", "classifier_activation", "global_attn_every_n_layers", "local_attention"}
)


def from_modern_bert(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """ModernBERT's `config.json` → the values of a `BertConfig`, in the form of transformers 4 or 5.

    Raises:
      MorphbertError: an option that is not computed here, by its key.
    """

    def refuse(key: str, possible: str) -> MorphbertError:
        return MorphbertError(f"{source}: {key} is {values[key]!r}; {possible}.")

    for key, only in (("tie_word_embeddings", True), ("is_decoder", False), ("rope_scaling", None)):
        if values.get(key, only) not in (only, None):
            raise refuse(key, f"only {json.dumps(only)} is computed here")
    chosen = {ours: values.get(theirs, default) for theirs, (ours, default) in _MODERN_NAMES.items()}
    if values.get("mlp_dropout", chosen["hidden_dropout_prob"]) != chosen["hidden_dropout_prob"]:
        raise refuse(
            "mlp_dropout",
            f"embedding_dropout is {chosen['hidden_dropout_prob']}, and there is one rate for both here: make them one",
        )
    if values.get("head_dim") not in (None, chosen["hidden_size"] // max(1, chosen["num_attention_heads"])):
        raise refuse("head_dim", "only hidden_size / num_attention_heads is computed here")
    for key, ours in (
        ("hidden_activation", "hidden_act"),
        ("classifier_activation", "classifier_activation"),
    ):
        name = values.get(key, "gelu")
        chosen[ours] = _ACTIVATIONS.get(name, {"swish": "silu"}.get(name, name))
        if chosen[ours] not in ("gelu", "gelu_erf", "silu", "relu", "tanh", "linear"):
            known = ", ".join([*_ACTIVATIONS, "silu", "relu", "tanh", "linear"])
            raise refuse(key, f"the values are {known}")
    if chosen["classifier_activation"] == chosen["hidden_act"]:
        chosen["classifier_activation"] = None
    return {**chosen, **_modern_attention(values, chosen["num_hidden_layers"], source), **MODERN_BLOCK}


def _modern_attention(values: Mapping[str, Any], layers: int, source: str) -> dict[str, Any]:
    """Returns which layers are global, the window of the others, and the bases of the rotary angles."""
    every = values.get("global_attn_every_n_layers", 3)
    types = values.get("layer_types")
    if types is not None:
        tried = [every, *range(1, layers + 1)]
        every = next(
            (n for n in tried if isinstance(n, int) and n > 0 and types == layer_types(n, layers)), None
        )
        if every is None:
            raise MorphbertError(
                f"{source}: layer_types is {types!r}; it must have full_attention in the layers 0, n, 2 n… and "
                "sliding_attention in the others."
            )
    if not isinstance(every, int) or every < 1:
        raise MorphbertError(f"{source}: global_attn_every_n_layers is {every!r}; it is a number from 1 up.")
    chosen: dict[str, Any] = {"global_attn_every_n_layers": every}
    if every > 1:
        chosen["local_attention"] = values.get("local_attention", 128)
    ropes = values.get("rope_parameters") or {}
    for kind, (name, default) in _MODERN_THETAS.items():
        rope = ropes.get(kind) or {}
        if rope.get("rope_type", "default") != "default":
            raise MorphbertError(
                f"{source}: rope_parameters says rope_type {rope['rope_type']!r} for {kind}; only 'default' is "
                "computed here."
            )
        chosen[name] = rope.get("rope_theta", values.get(name, default))
    if chosen["local_rope_theta"] is None:  # as the first releases wrote it for "that of the global layers"
        chosen["local_rope_theta"] = chosen["global_rope_theta"]
    return chosen


def layer_types(every: int, layers: int) -> list[str]:
    """ModernBERT's `layer_types` with global attention in every n-th layer."""
    return ["sliding_attention" if layer % every else "full_attention" for layer in range(layers)]
