"""ALBERT, RoBERTa, pre-LN and the modern block: their configurations, and the output of their models."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from hugging_face_reference import bfloat16_gradients
from samples import ROOT
from variants import CUSTOM, VARIANTS, config_of, padded_batch, random_weights, tensors

from morphbert.errors import MorphbertError
from morphbert.model.config import BertConfig
from morphbert.model.encoder import EncoderInputs, ForwardPass, encode_layers
from morphbert.model.losses import counts, pretraining_sums, total_loss
from morphbert.model.parameters import pretraining_parameters
from morphbert.train.optimizers.optimizer import layer_scales


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embedding_size": 16}, ["embedding_size", "num_hidden_groups is missing"]),
        ({"inner_group_num": 2}, ["inner_group_num", "num_hidden_groups is missing"]),
        ({"num_hidden_groups": 5}, ["not divisible by num_hidden_groups 5"]),
        ({"num_hidden_groups": 1, "position_offset": 1}, ["position_offset", "no ALBERT"]),
        ({"next_sentence_head": 1}, ["next_sentence_head is 1", "true or false"]),
        ({"embeding_size": 16}, ["embeding_size", "'embedding_size'"]),
        ({"pre_layernorm": True}, ["'pre_layer_norm'"]),
        ({"ln_type": "preln"}, ["ln_type", "postln"]),
        ({"position_offset": -1}, ["from 0 up"]),
        ({"position_embedding_type": "relative_key"}, ["'relative_key'", "absolute, rotary"]),
        (
            {"position_embedding_type": "rotary", "hidden_size": 36, "num_attention_heads": 4},
            ["in pairs", "gives 9"],
        ),
        (
            {"position_embedding_type": "rotary", "position_offset": 1},
            ["position_offset", "rotary has no table"],
        ),
        ({"global_rope_theta": 1e4}, ["global_rope_theta", 'position_embedding_type to "rotary"']),
        ({"local_rope_theta": 0}, ["local_rope_theta is 0"]),
        ({"global_rope_theta": float("inf")}, ["global_rope_theta is inf"]),
        ({"local_attention": 128}, ["global_attn_every_n_layers 1", "no layer would use it"]),
        (
            {"global_attn_every_n_layers": 3},
            ["global_attn_every_n_layers is 3", "local_attention", "missing"],
        ),
        (
            {"local_attention": 128, "global_attn_every_n_layers": 3, "max_position_embeddings": 64},
            ["local_attention 128 is wider than max_position_embeddings 64"],
        ),
        ({"embedding_norm": True}, ["embedding_norm goes with pre_layer_norm"]),
        ({"pooler": False}, ["next_sentence_head", "pooler is false"]),
        ({"norm_type": "rmsnorm"}, ["norm_type is 'rmsnorm'", "layer_norm, rms_norm"]),
        ({"hidden_activation": "gelu"}, ["'hidden_act'"]),
        ({"classifier_activation": "swish"}, ["classifier_activation is 'swish'", "silu"]),
    ],
)
def test_what_is_no_model_is_said(changes, words):
    with pytest.raises(MorphbertError) as error:
        BertConfig.from_dict({"vocab_size": 97, **changes})
    assert all(word in str(error.value) for word in words), error.value


def test_released_configurations_of_transformers_are_read():
    roberta = {
        "model_type": "roberta",
        "vocab_size": 50265,
        "max_position_embeddings": 514,
        "pad_token_id": 1,
    }
    config = BertConfig.from_dict({**roberta, "hidden_act": "gelu", "type_vocab_size": 1})
    assert (config.position_offset, config.max_position_embeddings, config.hidden_act) == (2, 512, "gelu_erf")
    assert config.kind == "RoBERTa"
    assert not config.next_sentence_head
    albert = BertConfig.from_dict({"model_type": "albert", "vocab_size": 30000})
    assert (albert.embedding_width, albert.hidden_size, albert.num_hidden_groups) == (128, 4096, 1)


def test_plain_configurations_are_written_as_before():
    assert "embedding_size" not in BertConfig(97).to_json()
    for variant in (*VARIANTS, *CUSTOM):
        config = config_of(variant)
        assert BertConfig.from_dict(json.loads(config.to_json())) == config


@pytest.mark.parametrize(("variant", "millions"), [("albert_base", 11.7), ("albert_large", 17.7)])
def test_alberts_have_the_published_sizes(variant, millions):
    """12 and 18 million (Lan et al. 2020, table 1), to the digit as transformers counts AlbertModel's."""
    values = json.loads((ROOT / "morphbert" / "model" / "configs" / f"{variant}.json").read_text())
    shapes = pretraining_parameters(BertConfig.from_dict({**values, "vocab_size": 30000}))
    weights = sum(math.prod(p.shape) for name, p in shapes.items() if not name.startswith("cls/"))
    assert round(weights / 1e6, 1) == millions


# ── output ─────────────────────────────────────────────────────────────────────────────────────────────


def test_layers_that_share_weights_learn_at_one_rate():
    scales = layer_scales(pretraining_parameters(config_of("albert groups")), 0.5)
    group = "bert/encoder/transformer/group_{}/inner_group_1/ffn_1/intermediate/dense/kernel"
    assert [scales[group.format(n)] for n in (0, 1)] == [0.25, 0.5]
    assert scales["bert/encoder/embedding_hidden_mapping_in/kernel"] == 0.125
    assert scales["bert/embeddings/word_embeddings"] == 0.125
    assert scales["cls/predictions/output_bias"] == 1.0
    pre_ln = layer_scales(pretraining_parameters(config_of("pre_ln")), 0.5)
    assert pre_ln["bert/encoder/LayerNorm/beta"] == 1


@pytest.mark.parametrize(
    "variant",
    [
        v
        if v == "modern"
        else pytest.param(v, marks=pytest.mark.long if v == "albert groups" else pytest.mark.slow)
        for v in (*VARIANTS, *CUSTOM)
    ],
)
def test_recomputed_and_compiled_gradients_are_the_same(variant):
    """Also with dropout on, which recomputation has to repeat."""
    # Two layers are one of each kind, with global and with local attention; of each group of shared weights two,
    # whose gradients are summed.
    layers = max(2, 2 * {**VARIANTS, **CUSTOM}[variant].get("num_hidden_groups", 0))
    config = config_of(variant, vocab_size=300, num_hidden_layers=layers)
    ids, mask, segments = padded_batch(config.type_vocab_size, padding=0, length=20)
    batch = {"input_ids": ids, "input_mask": mask, "segment_ids": segments}
    batch |= {"masked_lm_positions": np.tile([1, 2, 0], (4, 1)), "masked_lm_ids": np.full((4, 3), 7)}
    batch = {name: tf.constant(value, tf.int32) for name, value in batch.items()}
    batch["masked_lm_weights"] = tf.ones([4, 3])
    if config.next_sentence_head:
        batch["next_sentence_labels"] = tf.constant([[0], [1], [1], [0]])
    weights = tensors(random_weights(config))

    def gradients(recompute, key, policy="layer"):
        forward = ForwardPass(key, recompute, policy)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = total_loss(pretraining_sums(weights, config, batch, forward), counts(batch))
        found = tape.gradient(loss, list(weights.values()), unconnected_gradients="zero")
        return [tf.convert_to_tensor(gradient) for gradient in found]

    key = tf.constant([3, 4])
    plain = tf.function(gradients)(False, key)
    assert all(np.abs(g).sum() > 0 for g, n in zip(plain, weights, strict=True) if "pooler" not in n)
    for policy in ("layer", "attention"):
        for a, b in zip(plain, tf.function(gradients)(True, key, policy), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for a, b in zip(
        tf.function(gradients)(False, None),
        tf.function(gradients, jit_compile=True)(False, None),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.long
def test_gradients_of_the_modern_block_in_bfloat16_are_added_up_in_float32():
    """As those of BERT's block (`test_model.py`): the gradient of a batch is the float64 sum of its parts'."""
    config = config_of("modern", num_hidden_layers=2)
    random, rows, part = np.random.default_rng(6), 96, 12
    batch = {
        "input_ids": random.integers(5, 97, (rows, 24)),
        "input_mask": np.tile([1] * 22 + [0] * 2, (rows, 1)),
        "segment_ids": np.zeros((rows, 24)),
        "masked_lm_positions": random.integers(0, 22, (rows, 4)),
        "masked_lm_ids": random.integers(0, 97, (rows, 4)),
    }
    batch = {name: tf.constant(value, tf.int32) for name, value in batch.items()}
    batch["masked_lm_weights"] = tf.ones([rows, 4])
    gradients = bfloat16_gradients(config, tensors(random_weights(config)), counts(batch))
    parts = [
        gradients({name: values[begin : begin + part] for name, values in batch.items()})
        for begin in range(0, rows, part)
    ]
    for name, found in gradients(batch).items():
        wanted = sum(gradient[name].numpy().astype(np.float64) for gradient in parts)
        assert np.linalg.norm(wanted) > 0
        assert np.linalg.norm(found - wanted) < 2**-8 * np.linalg.norm(wanted), name


@pytest.mark.parametrize("variant", [*VARIANTS, *CUSTOM])
def test_packed_examples_are_computed_as_if_alone(variant):
    config = config_of(variant)
    weights = tensors(random_weights(config))
    random = np.random.default_rng(4)
    one, other = random.integers(1, 97, 9), random.integers(1, 97, 7)

    def last(ids, **packed):
        ids = tf.constant([ids], tf.int32)
        mask = tf.cast(tf.range(ids.shape[1]) < 16, tf.int32)[None]
        return encode_layers(weights, config, EncoderInputs(ids, mask, tf.zeros_like(ids), **packed))[-1][0]

    packed = last(
        [*one, *other, 0, 0],
        sequence_ids=tf.constant([[1] * 9 + [2] * 7 + [0, 0]]),
        position_ids=tf.constant([[*range(9), *range(7), 0, 0]]),
    )
    np.testing.assert_allclose(packed[:9], last(one), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(packed[9:16], last(other), rtol=1e-5, atol=1e-5)


def test_a_model_of_one_segment_takes_pairs():
    config = config_of("roberta")
    weights, ids = tensors(random_weights(config)), tf.constant([[5, 6, 7, 8]])
    one, other = (
        encode_layers(weights, config, EncoderInputs(ids, tf.ones_like(ids), tf.constant(segments)))[-1]
        for segments in ([[0, 0, 0, 0]], [[0, 0, 1, 1]])
    )
    np.testing.assert_array_equal(one, other)


def test_a_configuration_alone_is_that_of_transformers_and_googles_files_are_googles():
    config = BertConfig()
    assert (config.vocab_size, config.type_vocab_size) == (30522, 2)
    assert BertConfig.from_dict({"vocab_size": 100}).type_vocab_size == 16
    assert BertConfig.from_dict(config.to_dict()) == config
    with pytest.raises(MorphbertError, match="vocab_size is missing"):
        BertConfig.from_dict({})
