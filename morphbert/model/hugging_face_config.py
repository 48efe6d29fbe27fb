"""What the keys of a Hugging Face `config.json` mean here.

transformers leaves out what has its default, and its defaults differ by `model_type` and from google-research/bert's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from morphbert.errors import MorphbertError

ROBERTA_TYPES = ("roberta", "xlm-roberta", "camembert")
MODEL_TYPES = ("bert", "albert", *ROBERTA_TYPES, "megatron-bert")

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
}
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
    """Their values → ours, by the names of `BertConfig`; keys that mean nothing here stay.

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
    return chosen
