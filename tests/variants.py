"""Small models of every kind: as configurations of ours, and as transformers' own with random weights."""

import numpy as np
import tensorflow as tf

from morphbert.model.config import BertConfig
from morphbert.model.encoder import EncoderInputs, encode_layers, pool
from morphbert.model.heads import masked_lm_logits, next_sentence_logits
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
    "modern": {
        "position_embedding_type": "rotary",
        "mlp_gate": True,
        "pre_layer_norm": True,
        "embedding_norm": True,
        "attention_bias": False,
        "mlp_bias": False,
        "norm_bias": False,
        "classifier_bias": False,
        "pooler": False,
        "next_sentence_head": False,
        "type_vocab_size": 0,
        "hidden_act": "gelu_erf",
        "global_attn_every_n_layers": 3,
        "local_attention": 16,
        "layer_norm_eps": 1e-5,
    },
}
# The networks of an ELECTRA; a generator is as narrow as its hidden_size says.
ELECTRA = {"embedding_size": 16, "hidden_act": "gelu_erf", "pooler": False, "next_sentence_head": False}
DISCRIMINATOR = {**ELECTRA, "electra": "discriminator"}
GENERATOR = {**ELECTRA, "electra": "generator"}
NETWORKS = {"discriminator": DISCRIMINATOR, "generator": GENERATOR}
# The modern block's switches in other combinations, for which transformers has no model.
CUSTOM = {
    "rotary": {"position_embedding_type": "rotary", "global_rope_theta": 10000.0},
    "swiglu": {
        "mlp_gate": True,
        "hidden_act": "silu",
        "classifier_activation": "gelu_erf",
        "mlp_bias": False,
    },
    "rms": {"norm_type": "rms_norm", "norm_bias": False, "decoder_bias": False, "pre_layer_norm": True},
    "local": {"local_attention": 6, "global_attn_every_n_layers": 2, "attention_bias": False},
    "modern albert": {
        "embedding_size": 16,
        "num_hidden_groups": 2,
        "inner_group_num": 2,
        "pre_layer_norm": True,
        "embedding_norm": True,
        "position_embedding_type": "rotary",
        "mlp_gate": True,
        "local_attention": 16,
        "global_attn_every_n_layers": 2,
        "norm_type": "rms_norm",
    },
}


def config_of(variant, **changes):
    """A small configuration of the variant."""
    return BertConfig(
        **{"vocab_size": 97, **_SIZES, **{**VARIANTS, **CUSTOM, **NETWORKS}[variant], **changes}
    )


def random_weights(config, seed=3):
    """The weights of a model, see `random_weights_of`."""
    return random_weights_of(pretraining_parameters(config), seed)


def random_weights_of(parameters, seed=3):
    """Weights large enough that every part of the network moves the result."""
    random = np.random.default_rng(seed)
    return {
        name: random.normal(1.0 if p.initial == "ones" else 0.0, 0.2, p.shape).astype(np.float32)
        for name, p in parameters.items()
    }


def tensors(weights):
    return {name: tf.constant(value) for name, value in weights.items()}


def transformers_model(kind, seed=1, **changes):
    """A model of transformers with heads: → (model, whether it has a head for pairs)."""
    import torch
    import transformers

    torch.manual_seed(seed)
    sizes = {**_SIZES, "vocab_size": 300, "initializer_range": 0.2, "attn_implementation": "eager", **changes}
    if kind == "albert":
        config = transformers.AlbertConfig(**sizes, embedding_size=16, num_hidden_groups=2, inner_group_num=2)
        model = transformers.AlbertForPreTraining(config)
    elif kind == "roberta":
        sizes |= {"max_position_embeddings": 66, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
        model = transformers.RobertaForMaskedLM(transformers.RobertaConfig(**sizes, pad_token_id=1))
    elif kind == "modern":
        ids = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
        config = transformers.ModernBertConfig(
            **sizes, **ids, local_attention=16, global_attn_every_n_layers=3
        )
        model = transformers.ModernBertForMaskedLM(config)
    else:
        model = transformers.MegatronBertForPreTraining(transformers.MegatronBertConfig(**sizes))
    with torch.no_grad():  # so that biases and LayerNorms count
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


def as_flags(variant):
    """The variant's configuration without the vocabulary's size."""
    values = config_of(variant).to_dict()
    values.pop("vocab_size")
    return values


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def ours_of(model, ids, mask, segments):
    """Hidden states of every layer, logits of every position, and of the pairs where there is a head for them."""
    weights = tensors(model.weights)
    ids, mask, segments = (tf.constant(values, tf.int32) for values in (ids, mask, segments))
    hidden = encode_layers(weights, model.config, EncoderInputs(ids, mask, segments))
    every = tf.broadcast_to(tf.range(ids.shape[1])[None], ids.shape)
    logits = masked_lm_logits(weights, model.config, hidden[-1], every).numpy()
    pairs = None
    if model.config.next_sentence_head:
        pairs = next_sentence_logits(weights, pool(weights, hidden[-1])).numpy()
    return [h.numpy() for h in hidden], logits, pairs


def inputs_of(model, ids, mask, segments):
    """The arguments of transformers' model: ModernBERT takes no segments."""
    import torch

    inputs = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
    if model.config.model_type != "modernbert":
        inputs["token_type_ids"] = torch.tensor(segments)
    return inputs


def theirs_of(model, ids, mask, segments):
    import torch

    with torch.no_grad():
        outputs = model(**inputs_of(model, ids, mask, segments), output_hidden_states=True)
    logits = outputs.prediction_logits if "prediction_logits" in outputs else outputs.logits
    pairs = next(
        (outputs[n].numpy() for n in ("sop_logits", "seq_relationship_logits") if n in outputs), None
    )
    return [h.numpy() for h in outputs.hidden_states], logits.numpy(), pairs


def padded_batch(types, padding, size=300, length=60):
    """Ids, mask and segments [4, L] of sequences of different lengths."""
    random = np.random.default_rng(5)
    ids, lengths = random.integers(5, size, (4, length)), [length, 41, 17, 3]
    mask = (np.arange(length)[None] < np.array(lengths)[:, None]).astype(np.int64)
    ids = np.where(mask == 1, ids, padding)
    segments = ((np.arange(length)[None] > 10) & (mask == 1) & (types > 1)).astype(np.int64)
    return ids, mask, segments
