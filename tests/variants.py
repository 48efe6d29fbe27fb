"""Small models of every kind: as configurations of ours, and as transformers' own with random weights."""

import numpy as np
import tensorflow as tf

from morphbert.model.config import BertConfig
from morphbert.model.parameters import pretraining_parameters

_SIZES = {
    "hidden_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
}
# What each kind is made of; [PAD] is piece 0 in the vocabularies of the tests.
VARIANTS = {
    "albert": {"embedding_size": 16, "num_hidden_groups": 1},
    "albert groups": {"embedding_size": 16, "num_hidden_groups": 2, "inner_group_num": 2},
    "albert wide": {"num_hidden_groups": 4},
    "roberta": {
        "position_offset": 1,
        "next_sentence_head": False,
        "type_vocab_size": 1,
        "hidden_act": "gelu_erf",
    },
    "pre_ln": {"pre_layer_norm": True},
}


def config_of(variant, **changes):
    """A small configuration of the variant."""
    return BertConfig(**{"vocab_size": 97, **_SIZES, **VARIANTS[variant], **changes})


def random_weights(config, seed=3):
    """Weights large enough that every part of the network moves the result."""
    random = np.random.default_rng(seed)
    return {
        name: random.normal(1.0 if p.initial == "ones" else 0.0, 0.2, p.shape).astype(np.float32)
        for name, p in pretraining_parameters(config).items()
    }


def tensors(weights):
    return {name: tf.constant(value) for name, value in weights.items()}


def transformers_model(kind, seed=1):
    """A model of transformers with heads: → (model, whether it has a head for pairs)."""
    import torch
    import transformers

    torch.manual_seed(seed)
    sizes = {**_SIZES, "vocab_size": 300, "initializer_range": 0.2, "attn_implementation": "eager"}
    if kind == "albert":
        config = transformers.AlbertConfig(**sizes, embedding_size=16, num_hidden_groups=2, inner_group_num=2)
        model = transformers.AlbertForPreTraining(config)
    elif kind == "roberta":
        sizes |= {"max_position_embeddings": 66, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
        model = transformers.RobertaForMaskedLM(transformers.RobertaConfig(**sizes, pad_token_id=1))
    else:
        model = transformers.MegatronBertForPreTraining(transformers.MegatronBertConfig(**sizes))
    with torch.no_grad():  # so that biases and LayerNorms count
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()
