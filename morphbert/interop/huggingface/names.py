"""Translates names of tensors and configurations to and from Hugging Face's."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from morphbert.errors import MorphbertError
from morphbert.interop.huggingface import modernbert
from morphbert.model.config import BertConfig
from morphbert.model.hugging_face_names import HuggingFaceNames, hugging_face_names
from morphbert.model.names import EMBEDDING_MAPPING, mapping_place

# The beginnings of the names of an encoder's tensors, after the model's prefix.
ENCODER = "encoder|embeddings|embeddings_project|layers|final_norm"
# The vector of a sequence in the task classes of ELECTRA; their defaults.
_SUMMARY = {
    "summary_type": "first",
    "summary_use_proj": True,
    "summary_activation": "gelu",
    "summary_last_dropout": 0.1,
}

# google-research/bert's `gelu` is the tanh form. transformers calls that `gelu_new` ("currently in Google BERT
# repo") and means the exact form by `gelu`.
_ACTIVATIONS = {"gelu": "gelu_new", "gelu_new": "gelu_new", "gelu_erf": "gelu"}


def full_name(name: str, names: HuggingFaceNames) -> str:
    """Returns a tensor's name as it stands in a model with heads: `embeddings.…` of a bare encoder gets its prefix."""
    if re.match(rf"({ENCODER}|pooler)\.", name):
        name = f"{names.prefix}.{name}"
    return re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", name))


def electra_network(tensors: Collection[str], names: HuggingFaceNames, configured: str) -> str:
    """Returns which network of an ELECTRA tensors are, by the head among them, else by `config.json`."""
    heads = {"discriminator": names.discriminator or (), "generator": names.masked_lm}
    found = [
        network
        for network, modules in heads.items()
        if any(tensor.startswith(f"{module}.") for tensor in tensors for module in modules)
    ]
    return found[0] if len(found) == 1 else configured


def beside_bert(config: BertConfig) -> str:
    """Returns the keys of a custom encoder, with their values, by which it is no BERT, in words."""
    return ", ".join(config.modern_keys()) or "pre_layer_norm together with num_hidden_groups"


def exportable_names(config: BertConfig) -> HuggingFaceNames:
    """Returns the names of a model's kind.

    Raises:
      MorphbertError: it is a custom encoder; the message names the keys.
    """
    names = hugging_face_names(config)
    if names is None:
        raise MorphbertError(
            "transformers has no model that this could be exported to. It is no BERT by "
            f"{beside_bert(config)}, and no ModernBERT "
            f"by {', '.join(config.beside_modern_bert())}. Use --format=saved_model or ours."
        )
    return names


def check_exportable(config: BertConfig, padding: int | None) -> None:
    """Refuses a model that none of transformers' computes; `padding` is the id of [PAD], if known.

    Raises:
      MorphbertError: there is no such class; the message names the key.
    """
    exportable_names(config)
    if config.electra == "generator" and config.hidden_act != "gelu_erf":
        raise MorphbertError(
            f"hidden_act is {config.hidden_act}, and the head of transformers' ElectraForMaskedLM always takes "
            "gelu_erf: the generator cannot be exported to it. Use --format=saved_model or onnx."
        )
    offset = config.position_offset
    if config.pre_layer_norm and offset:
        raise MorphbertError(
            "transformers has no model that this could be exported to: pre_layer_norm together with position_offset."
        )
    if offset:
        _check_roberta(config, padding)


def _check_roberta(config: BertConfig, padding: int | None) -> None:
    offset = config.position_offset
    if config.next_sentence_head:
        raise MorphbertError(
            "transformers' RoBERTa has no next sentence head, so a model with position_offset and next_sentence_head "
            "cannot be exported to it."
        )
    if config.hidden_act != "gelu_erf":
        raise MorphbertError(
            f"hidden_act is {config.hidden_act}, and the masked LM's head of transformers' RoBERTa always takes "
            "gelu_erf: the model cannot be exported to it."
        )
    if padding not in (None, offset - 1):
        raise MorphbertError(
            f"position_offset is {offset}, so that transformers' RoBERTa takes piece {offset - 1} for padding, but "
            f"[PAD] is piece {padding} of the vocabulary: a model whose position_offset is one more than that can be "
            "exported."
        )


def config_values(config: BertConfig, special_ids: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Returns the content of `config.json`; `special_ids`: those of [PAD], [CLS] and [SEP], if they are known."""
    names = exportable_names(config)
    has_masked_lm_alone = config.has_masked_lm and not config.next_sentence_head
    ours = modernbert.config_values(config, special_ids) if config.kind == "ModernBERT" else _values(config)
    return {
        "architectures": [names.class_prefix + ("ForMaskedLM" if has_masked_lm_alone else "ForPreTraining")],
        "model_type": names.model_type,
        **ours,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
    }


def _values(config: BertConfig) -> dict[str, Any]:
    """Returns the values of BERT's configuration and of those of its kind."""
    values = config.to_dict()
    if config.electra is not None:
        for name in ("electra", "pooler", "next_sentence_head"):
            values.pop(name, None)
        values |= {"embedding_size": config.embedding_width, **_SUMMARY}
    if config.kind == "RoBERTa":
        values.pop("next_sentence_head", None)
        values["max_position_embeddings"] += values.pop("position_offset")
    if config.kind == "ALBERT":
        values |= {"embedding_size": config.embedding_width, "inner_group_num": config.inner_group_num}
    values.pop("pre_layer_norm", None)
    return {
        **values,
        "hidden_act": _ACTIVATIONS.get(config.hidden_act, config.hidden_act),
        "pad_token_id": max(0, config.position_offset - 1),
        "position_embedding_type": "absolute",
        "use_cache": False,
    }


def mapping_tensors(config: BertConfig) -> dict[str, np.ndarray]:
    """Theirs maps an ALBERT's embeddings also where they are as wide as its layers: ours are mapped to themselves."""
    width = config.hidden_size
    if config.kind != "ALBERT" or config.embedding_width != width:
        return {}
    module = mapping_place(config).hugging_face[EMBEDDING_MAPPING]
    return {
        f"{module}.weight": np.eye(width, dtype=np.float32),
        f"{module}.bias": np.zeros(width, np.float32),
    }
