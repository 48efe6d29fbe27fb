"""The network against Hugging Face's BertForPreTraining: same weights in, same numbers out."""

import dataclasses
import gc
import json
import weakref

import numpy as np
import pytest
import tensorflow as tf
from hugging_face_reference import (
    CONFIG,
    bfloat16_gradients,
    hugging_face_losses,
    hugging_face_model,
    hugging_face_name,
    random_batch,
)

from morphbert.errors import MorphbertError
from morphbert.model import functions, kernels
from morphbert.model.config import BertConfig
from morphbert.model.dropout import DropoutKeys
from morphbert.model.encoder import EncoderInputs, ForwardPass, embed, encode, pool
from morphbert.model.heads import masked_lm_logits, next_sentence_logits
from morphbert.model.kernels import attention, cross_entropy, gelu, layer_norm
from morphbert.model.kernels.compiled import gradients_released
from morphbert.model.kernels.dropout import Dropout
from morphbert.model.losses import averages, counts, pretraining_sums, total_loss
from morphbert.model.parameters import TrainableModel, in_dtype, initial_value, pretraining_parameters


def random_weights(config=CONFIG, seed=3):
    """Weights large enough that every part of the network moves the result."""
    random = np.random.default_rng(seed)
    return {
        name: random.normal(1.0 if p.initial == "ones" else 0.0, 0.2, p.shape).astype(np.float32)
        for name, p in pretraining_parameters(config).items()
    }


def loss_and_gradients(weights, batch, config=CONFIG):
    tensors = {name: tf.constant(value) for name, value in weights.items()}
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        sums = pretraining_sums(tensors, config, batch)
        loss = total_loss(sums, counts(batch))
    gradients = tape.gradient(loss, tensors)
    return sums, loss, {name: tf.convert_to_tensor(value).numpy() for name, value in gradients.items()}


@pytest.mark.parity
def test_logits_losses_and_gradients_equal_hugging_face():
    weights, batch = random_weights(), random_batch(1)
    model = hugging_face_model(weights)
    logits, next_logits, masked_lm, next_sentence = hugging_face_losses(model, batch)
    (masked_lm + next_sentence).backward()

    tensors = {name: tf.constant(value) for name, value in weights.items()}
    hidden = encode(tensors, CONFIG, EncoderInputs.of(batch))
    ours = masked_lm_logits(tensors, CONFIG, hidden, batch["masked_lm_positions"])
    real = batch["masked_lm_weights"].numpy() > 0
    np.testing.assert_allclose(ours.numpy()[real], logits.detach().numpy()[real], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        next_sentence_logits(tensors, pool(tensors, hidden)), next_logits.detach(), rtol=1e-5, atol=1e-5
    )

    sums, loss, gradients = loss_and_gradients(weights, batch)
    denominators = counts(batch)
    assert float(sums["masked_lm_loss"] / denominators["masked_lm"]) == pytest.approx(
        masked_lm.item(), abs=1e-5
    )
    assert float(sums["next_sentence_loss"] / denominators["next_sentence"]) == pytest.approx(
        next_sentence.item(), abs=1e-5
    )
    assert float(loss) == pytest.approx((masked_lm + next_sentence).item(), abs=1e-5)
    parameters = dict(model.named_parameters())
    for name, gradient in gradients.items():
        theirs, transposed = hugging_face_name(name)
        expected = parameters[theirs].grad.numpy()
        np.testing.assert_allclose(
            gradient, expected.T if transposed else expected, rtol=1e-4, atol=1e-5, err_msg=name
        )


def test_padding_changes_nothing():
    weights = {name: tf.constant(value) for name, value in random_weights().items()}
    batch = random_batch(2, batch=1, length=16)
    real = int(tf.reduce_sum(batch["input_mask"]))
    hidden = encode(weights, CONFIG, EncoderInputs.of(batch))
    cut = [batch[name][:, :real] for name in ("input_ids", "input_mask", "segment_ids")]
    np.testing.assert_allclose(
        hidden[:, :real], encode(weights, CONFIG, EncoderInputs(*cut)), rtol=1e-5, atol=1e-5
    )


def test_correct_predictions_are_counted_over_real_masks_only():
    weights, batch = random_weights(), random_batch(4)
    tensors = {name: tf.constant(value) for name, value in weights.items()}
    hidden = encode(tensors, CONFIG, EncoderInputs.of(batch))
    guesses = tf.argmax(masked_lm_logits(tensors, CONFIG, hidden, batch["masked_lm_positions"]), -1).numpy()
    rigged = {**batch, "masked_lm_ids": tf.constant(guesses, tf.int32)}  # all right, padding included
    sums = pretraining_sums(tensors, CONFIG, rigged)
    assert float(sums["masked_lm_correct"]) == float(tf.reduce_sum(batch["masked_lm_weights"]))


def test_dropout_is_a_function_of_its_key():
    tensors = {name: tf.constant(value) for name, value in random_weights().items()}
    batch = random_batch(5)

    def hidden(key):
        return encode(tensors, CONFIG, EncoderInputs.of(batch), ForwardPass(tf.constant(key))).numpy()

    np.testing.assert_array_equal(hidden([1, 2]), hidden([1, 2]))
    assert np.abs(hidden([1, 2]) - hidden([1, 3])).max() > 0.1
    still = encode(tensors, CONFIG, EncoderInputs.of(batch)).numpy()
    assert np.abs(hidden([1, 2]) - still).max() > 0.1


@pytest.mark.parametrize("shape", [[400, 500], [3, 7, 11]])
def test_dropout_drops_its_share_and_keeps_the_mean(shape):
    draws = [Dropout(0.1, tf.constant([7, n]))(tf.ones(shape)).numpy() for n in range(50)]
    values = np.stack(draws)
    assert abs(float((values == 0).mean()) - 0.1) < 4 * np.sqrt(0.09 / values.size)
    np.testing.assert_allclose(values[values != 0], 1 / 0.9, rtol=1e-6)
    each = (values == 0).mean(axis=0)  # no element is dropped always or never
    assert 0 < each.mean() < 1
    assert each.max() < 0.5


def test_dropout_masks_have_nothing_to_do_with_their_neighbours_or_with_each_other():
    size = 1 << 20
    masks = [Dropout(0.1, tf.constant([7, n]))(tf.ones([size])).numpy() == 0 for n in range(4)]
    deviation = np.sqrt(0.01 * 0.99 / size)
    for mask in masks:
        for distance in (1, 2, 16, 64, 256, 4096, 65536):
            both = (mask[distance:] & mask[:-distance]).mean()
            assert abs(both - 0.01) < 5 * deviation, distance
    for number, mask in enumerate(masks):
        for other in masks[:number]:
            assert abs((mask & other).mean() - 0.01) < 5 * deviation


def test_dropout_does_to_gradients_what_it_does_to_values():
    values, upstream = (
        tf.random.stateless_normal([30, 40], [1, 2]),
        tf.random.stateless_normal([30, 40], [3, 4]),
    )
    dropout = Dropout(0.2, tf.constant([5, 6]))
    with tf.GradientTape() as tape:
        tape.watch(values)
        residual = values * 3.0
        outputs = dropout.add(values, residual)
    mask = dropout(tf.ones([30, 40]))
    np.testing.assert_allclose(outputs, values * mask + residual, rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(outputs, values, upstream), upstream * (mask + 3.0), rtol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_attention_and_its_gradient_are_those_of_the_formula(dtype, tolerance, rate):
    shape = [2, 3, 8, 4]  # [B, N, L, D]
    inputs = [tf.cast(tf.random.stateless_normal(shape, [1, n]), dtype) for n in range(3)]
    upstream = tf.cast(tf.random.stateless_normal(shape, [2, 1]), dtype)
    bias = tf.cast([[[[0.0] * 8]], [[[0.0] * 5 + [-10000.0] * 3]]], dtype)
    dropout = Dropout(rate, tf.constant([5, 6])) if rate else None
    mask = dropout(tf.ones([2, 3, 8, 8])) if dropout else 1.0

    def written_out(query, key, value):
        scores = tf.matmul(query, key, transpose_b=True) / 2.0 + tf.cast(bias, tf.float32)
        return tf.matmul(tf.nn.softmax(scores) * mask, value)

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        found = attention(*inputs, bias, dropout)
        wanted = written_out(*(tf.cast(tensor, tf.float32) for tensor in inputs))
    assert found.dtype == dtype
    np.testing.assert_allclose(tf.cast(found, tf.float32), wanted, atol=tolerance)
    ours = tape.gradient(found, inputs, upstream)
    for mine, theirs in zip(ours, tape.gradient(wanted, inputs, tf.cast(upstream, tf.float32)), strict=True):
        np.testing.assert_allclose(
            tf.cast(mine, tf.float32),
            tf.cast(theirs, tf.float32),
            atol=10 * tolerance if dtype == "bfloat16" else 3e-6,
        )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gelu_and_its_gradient_are_those_of_the_formula(dtype):
    x = tf.cast(tf.linspace(-6.0, 6.0, 1001), dtype)
    exact = tf.cast(x, tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, exact])
        value, expected = gelu(x), tf.nn.gelu(exact, approximate=True)
    tolerance = 1e-6 if dtype == "float32" else 2e-2
    np.testing.assert_allclose(tf.cast(value, tf.float64), expected, atol=tolerance)
    slope, expected_slope = tape.gradient(value, x), tape.gradient(expected, exact)
    np.testing.assert_allclose(tf.cast(slope, tf.float64), expected_slope, atol=tolerance)


def test_a_forgotten_graph_lets_its_weights_go():
    def graph_of_a_slope():
        weight = tf.Variable([0.25, 0.25])

        @tf.function
        def slope():
            with tf.GradientTape() as tape:
                value = gelu(tf.reduce_sum(weight))
            return tape.gradient(value, weight)

        with gradients_released():
            before = slope()
        np.testing.assert_array_equal(slope(), before)  # the functions in use go on
        return weakref.ref(slope.get_concrete_function().graph)

    graph = graph_of_a_slope()
    gc.collect()
    assert graph() is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_layer_norm_and_its_gradient_are_those_of_the_formula(dtype):
    """The gradient is written by hand: against TensorFlow's own of the formula in float64, off centre and scaled."""
    random = np.random.default_rng(2)
    x = tf.cast(random.normal(3.0, 2.0, (4, 5, 64)), dtype)
    gamma, beta = (tf.constant(random.normal(1.0, 0.5, 64), tf.float32) for _ in range(2))
    upstream = tf.constant(random.normal(0.0, 1.0, (4, 5, 64)))
    exact = [tf.cast(value, tf.float64) for value in (x, gamma, beta)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, gamma, beta, *exact])
        value = layer_norm(x, gamma, beta, 1e-12)
        mean, variance = tf.nn.moments(exact[0], [-1], keepdims=True)
        expected = (exact[0] - mean) / tf.sqrt(variance + 1e-12) * exact[1] + exact[2]
        ours = tf.reduce_sum(tf.cast(value, tf.float64) * upstream)
        theirs = tf.reduce_sum(expected * upstream)
    tolerance = 1e-5 if dtype == "float32" else 3e-2
    np.testing.assert_allclose(tf.cast(value, tf.float64), expected, atol=tolerance, rtol=tolerance)
    wanted = tape.gradient(theirs, exact)
    for found, right in zip(tape.gradient(ours, [x, gamma, beta]), wanted, strict=True):
        np.testing.assert_allclose(tf.cast(found, tf.float64), right, atol=3 * tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("pieces", [7, 50, 64])  # reductions begin with sixteen parts
def test_cross_entropy_and_its_gradient_are_tensorflows(pieces, dtype):
    random = np.random.default_rng(3)
    scores = tf.cast(random.normal(0.0, 5.0, (pieces, 9)), dtype)
    bias = tf.constant(random.normal(0.0, 1.0, pieces), tf.float32)
    labels = tf.constant(random.integers(0, pieces, 9), tf.int32)
    weights = tf.constant(random.normal(0.0, 1.0, 9), tf.float32)
    exact = tf.transpose(tf.cast(scores, tf.float32))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([scores, bias, exact])
        losses, right = cross_entropy(scores, bias, labels)
        logits = exact + bias
        expected = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        ours, theirs = tf.reduce_sum(losses * weights), tf.reduce_sum(expected * weights)
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-6)
    rounding = {"rtol": 1e-4, "atol": 1e-6} if dtype == "float32" else {"rtol": 4e-3, "atol": 4e-3}
    of_scores, of_bias = tape.gradient(ours, [scores, bias])
    wanted, wanted_of_bias = tape.gradient(theirs, [exact, bias])
    np.testing.assert_allclose(tf.cast(of_scores, tf.float32), tf.transpose(wanted), **rounding)
    # A sum of rounded terms, which is rounded itself: each of both by 2⁻⁸ at most.
    terms = tf.reduce_sum(tf.abs(wanted), 0).numpy() if dtype == "bfloat16" else 0.0
    assert np.all(np.abs(of_bias - wanted_of_bias) <= 1e-4 * np.abs(wanted_of_bias) + 1e-6 + 2**-7 * terms)
    guesses = tf.argmax(logits, -1, output_type=tf.int32)
    np.testing.assert_array_equal(right, tf.cast(guesses == labels, tf.float32))


@pytest.mark.parametrize("package", [kernels, functions])
def test_the_normaliser_and_its_gradient_are_those_of_float64(package):
    random = np.random.default_rng(3)
    scores, bias = random.normal(0.0, 5.0, (50, 9)), random.normal(0.0, 1.0, 50)
    labels = tf.constant(random.integers(0, 50, 9), tf.int32)
    weights = random.uniform(0.0, 1.0, (2, 9))

    def weighed(losses, totals):
        return tf.reduce_sum(losses * tf.cast(weights[0], losses.dtype)) + 0.3 * tf.reduce_sum(
            totals**2 * tf.cast(weights[1], losses.dtype)
        )

    narrow, exact = (
        [tf.constant(value, dtype) for value in (scores, bias)] for dtype in ("float32", "float64")
    )
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([*narrow, *exact])
        losses, right, totals = package.cross_entropy_and_total(*narrow, labels)
        ours = weighed(losses, totals)
        logits = tf.transpose(exact[0]) + exact[1]
        theirs = weighed(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits), tf.reduce_logsumexp(logits, -1)
        )
    np.testing.assert_allclose(totals, tf.reduce_logsumexp(logits, -1), rtol=1e-6)
    np.testing.assert_array_equal(right, functions.cross_entropy(*narrow, labels)[1])
    for one, other in zip(tape.gradient(ours, narrow), tape.gradient(theirs, exact), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_z_loss_is_the_mean_square_of_the_normaliser_and_not_in_the_loss():
    weights = {name: tf.constant(value) for name, value in random_weights().items()}
    batch = random_batch(1, batch=4)
    denominators = counts(batch)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(weights)
        plain = pretraining_sums(weights, CONFIG, batch)
        with_z = pretraining_sums(weights, CONFIG, batch, z_loss=0.1)
        losses = [total_loss(sums, denominators) for sums in (plain, with_z)]
    totals = {**with_z, **denominators}
    found = averages({name: float(value) for name, value in totals.items()})
    expected = averages({name: float(value) for name, value in {**plain, **denominators}.items()})
    assert found.pop("z_loss") == pytest.approx(float(losses[1] - losses[0]), rel=1e-4)
    assert found == pytest.approx(expected, rel=1e-6)
    bias = "cls/predictions/output_bias"
    moved = tape.gradient(losses[1], weights)[bias] - tape.gradient(losses[0], weights)[bias]
    # Raising every score by d raises the normaliser by d: the sum of the bias' gradient is 0.1 × twice its mean.
    logits = masked_lm_logits_of(weights, batch)
    mean = float(tf.reduce_sum(tf.reduce_logsumexp(logits, -1) * batch["masked_lm_weights"]))
    assert float(tf.reduce_sum(moved)) == pytest.approx(
        0.2 * mean / float(denominators["masked_lm"] + 1e-5), rel=1e-4
    )


def masked_lm_logits_of(weights, batch):
    hidden = encode(weights, CONFIG, EncoderInputs.of(batch))
    return masked_lm_logits(weights, CONFIG, hidden, batch["masked_lm_positions"])


def test_of_equal_scores_the_first_is_the_guess_as_argmax_has_it():
    right = cross_entropy(tf.zeros([50, 3]), tf.zeros([50]), tf.constant([0, 1, 49]))[1]
    np.testing.assert_array_equal(right, [1.0, 0.0, 0.0])


def test_gradients_in_bfloat16_are_added_up_in_float32():
    """A batch's gradient equals the float64 sum of its parts' gradients, apart from their own rounding.

    The sums of biases and of embedding rows run over all positions; bfloat16, with its 8 digits, loses such a sum.
    Both sides round the same products to bfloat16, so the bound does not depend on the processor's own bfloat16: a
    sum is rounded once, by at most 2⁻⁹ of its value, and so is each part.
    """
    weights = {name: tf.constant(value) for name, value in random_weights().items()}
    batch, part = random_batch(1, batch=288), 24
    gradients = bfloat16_gradients(CONFIG, weights, counts(batch))

    def of_part(begin):
        return gradients({name: values[begin : begin + part] for name, values in batch.items()})

    parts = [of_part(begin) for begin in range(0, 288, part)]
    for name, found in gradients(batch).items():
        if not name.endswith("/key/bias"):  # the softmax does not change by it: its gradient is 0
            wanted = sum(gradient[name].numpy().astype(np.float64) for gradient in parts)
            assert np.linalg.norm(found - wanted) < 2**-8 * np.linalg.norm(wanted), name


def test_rows_of_embeddings_get_the_sum_of_their_uses_in_bfloat16_too():
    config = dataclasses.replace(CONFIG, pre_layer_norm=True)  # without LayerNorm the gradient is a mere sum
    weights = in_dtype(
        {name: tf.constant(value) for name, value in random_weights(config).items()},
        pretraining_parameters(config),
        "bfloat16",
    )
    ids, segments = tf.fill([128, 32], 5), tf.ones([128, 32], tf.int32)
    upstream = tf.cast(tf.random.stateless_normal([128, 32, 48], [1, 2], mean=0.3), "bfloat16")
    with tf.GradientTape() as tape:
        tape.watch(weights)
        hidden = embed(weights, config, EncoderInputs(ids, tf.ones_like(ids), segments), DropoutKeys(None))
    gradients = tape.gradient(hidden, weights, upstream)
    wanted = tf.reduce_sum(tf.cast(upstream, tf.float32), [0, 1])
    for table, row in (("word", 5), ("token_type", 1)):
        found = tf.convert_to_tensor(gradients[f"bert/embeddings/{table}_embeddings"])[row]
        assert found.dtype == tf.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_initial_weights_are_berts_and_depend_on_seed_and_name_alone():
    config = dataclasses.replace(CONFIG, vocab_size=2000)
    first, again = (
        TrainableModel(config, pretraining_parameters(config), seed=5).parameters,
        TrainableModel(config, pretraining_parameters(config), seed=5).parameters,
    )
    other = TrainableModel(config, pretraining_parameters(config), seed=6).parameters
    table = "bert/embeddings/word_embeddings"
    np.testing.assert_array_equal(first[table], again[table])
    assert not np.array_equal(first[table], other[table])
    values = first[table].numpy()
    assert abs(values).max() <= 0.04  # cut off at two standard deviations
    assert values.std() == pytest.approx(0.02 * 0.8796, rel=0.02)  # of a normal cut off there
    for name, parameter in pretraining_parameters(config).items():
        if name.endswith(("bias", "beta")):
            assert not first[name].numpy().any(), name
        if name.endswith("gamma"):
            assert (first[name].numpy() == 1).all(), name
        np.testing.assert_array_equal(first[name], initial_value(name, parameter, config, 5))


def test_names_and_shapes_are_google_research_berts():
    """Published: `bert_model.ckpt` of BERT-base has 110,106,428 parameters, pretraining heads included."""
    base = BertConfig(vocab_size=30522, type_vocab_size=2)
    parameters = pretraining_parameters(base)
    assert sum(int(np.prod(p.shape)) for p in parameters.values()) == 110_106_428
    assert parameters["bert/encoder/layer_11/attention/self/query/kernel"].shape == (768, 768)
    assert parameters["cls/seq_relationship/output_weights"].shape == (2, 768)
    assert parameters["cls/predictions/transform/LayerNorm/gamma"].shape == (768,)
    assert len(parameters) == 5 + 12 * 16 + 2 + 7


@pytest.mark.long
def test_step_functions_compile_with_xla():
    weights, batch = random_weights(), random_batch(6)
    compiled = tf.function(lambda: loss_and_gradients_tensors(weights, batch), jit_compile=True)()
    _, loss, gradients = loss_and_gradients(weights, batch)
    assert float(compiled[0]) == pytest.approx(float(loss), rel=1e-5)
    for name, gradient in compiled[1].items():
        np.testing.assert_allclose(gradient, gradients[name], rtol=1e-3, atol=1e-5, err_msg=name)


def loss_and_gradients_tensors(weights, batch):
    tensors = {name: tf.constant(value) for name, value in weights.items()}
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = total_loss(pretraining_sums(tensors, CONFIG, batch), counts(batch))
    gradients = tape.gradient(loss, tensors)
    return loss, {name: tf.convert_to_tensor(value) for name, value in gradients.items()}


# ── configuration ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"vocab_size": 100, "hiden_size": 32}, ["hiden_size", "hidden_size"]),
        ({"vocab_size": 100, "hidden_size": 30, "num_attention_heads": 4}, ["30", "4", "divisible"]),
        ({"hidden_size": 32}, ["vocab_size", "missing"]),
        ({"vocab_size": 0}, ["vocab_size", "0"]),
        ({"vocab_size": 100, "hidden_act": "swish"}, ["swish", "gelu"]),
        ({"vocab_size": 100, "hidden_dropout_prob": 1.5}, ["hidden_dropout_prob", "1.5"]),
        ({"vocab_size": "100"}, ["vocab_size", "100"]),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_remedy(values, words):
    with pytest.raises(MorphbertError) as error:
        BertConfig.from_dict(values)
    assert all(word in str(error.value) for word in words)


def test_released_configurations_are_read(tmp_path):
    multilingual = {
        "attention_probs_dropout_prob": 0.1,
        "directionality": "bidi",
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 768,
        "initializer_range": 0.02,
        "intermediate_size": 3072,
        "max_position_embeddings": 512,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "pooler_fc_size": 768,
        "pooler_num_attention_heads": 12,
        "pooler_num_fc_layers": 3,
        "pooler_size_per_head": 128,
        "pooler_type": "first_token_transform",
        "type_vocab_size": 2,
        "vocab_size": 119547,
    }
    path = tmp_path / "bert_config.json"
    path.write_text(json.dumps(multilingual))
    config = BertConfig.from_json_file(str(path))
    assert (config.vocab_size, config.hidden_act) == (119547, "gelu")
    assert BertConfig.from_dict(json.loads(config.to_json())) == config
    # Hugging Face means the exact form by the same word.
    assert BertConfig.from_dict({**multilingual, "model_type": "bert"}).hidden_act == "gelu_erf"
