"""Attention within a window along the band, rotary positions and gates, against the long forms."""

import numpy as np
import pytest
import tensorflow as tf

from morphbert.model.config import BertConfig
from morphbert.model.cost import forward_flops
from morphbert.model.functions import window_bias
from morphbert.model.kernels import activation, attention, gated, rotate
from morphbert.model.kernels.local_attention import (
    banded_attention,
    banded_bias,
    block_size,
    tile_bias,
    tile_size,
    tiled_attention,
    tiles,
)
from morphbert.model.rotary import rotation


def values_and_gradients(function, inputs, upstream):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
        kept = value * upstream
    return [value, *tape.gradient(kept, inputs)]


def in_bands(query, key, value, mask, sequences, half):
    """The CPU's form."""
    band = banded_bias(mask, sequences, half, tf.float32)
    assert band.shape[-2:] == (block_size(half), 3 * block_size(half))
    return banded_attention(query, key, value, band, half, None)


def in_tiles(query, key, value, mask, sequences, half):
    """The accelerators' form, with their axes put back: [B, N, L, D] → [B, N, L, D]."""
    rows, heads, length, width = query.shape
    bias = tile_bias(mask, sequences, half, tf.float32)
    assert bias.shape[-2:] == (tile_size(half), 2 * tile_size(half))

    def cut(values):
        states = tf.reshape(tf.transpose(values, [0, 2, 1, 3]), [rows, length, heads * width])
        return tf.reshape(tiles(states, half), [rows, -1, tile_size(half), heads, width])

    context = tiled_attention(cut(query), cut(key), cut(value), bias, None)
    return tf.transpose(tf.reshape(context, [rows, -1, heads, width])[:, :length], [0, 2, 1, 3])


@pytest.mark.parametrize("form", [in_bands, in_tiles])
@pytest.mark.parametrize(("length", "half"), [(97, 32), (130, 4), (200, 40)])
@pytest.mark.parametrize("packed", [False, True])
def test_the_band_gives_what_the_masked_square_gives(form, length, half, packed):
    """Values and gradients, with padding, other examples, and a last block that is not full."""
    random = np.random.default_rng(length)
    query, key, value, upstream = (
        tf.constant(random.normal(size=(2, 3, length, 8)), tf.float32) for _ in range(4)
    )
    mask = (np.arange(length)[None] < np.array([[length], [length - 30]])).astype(np.int32)
    numbers = tf.constant(np.where(mask == 1, np.arange(length) // 37 + 1, 0).astype(np.int32))
    sequences, mask = numbers if packed else None, tf.constant(mask)
    upstream *= tf.cast(mask, tf.float32)[:, None, :, None]  # what padding sees is looked at by nobody
    square = window_bias(mask, sequences, half, tf.float32)
    expected = values_and_gradients(
        lambda *parts: attention(*parts, square, None), [query, key, value], upstream
    )
    found = values_and_gradients(
        lambda *parts: form(*parts, mask, sequences, half), [query, key, value], upstream
    )
    real = np.asarray(mask)[:, None, :, None] == 1
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(np.where(real, one, 0), np.where(real, other, 0), rtol=1e-5, atol=1e-6)


def test_a_window_reaches_half_of_it_on_each_side():
    bias = window_bias(tf.ones([1, 9], tf.int32), None, 4 // 2, tf.float32)[0, 0]
    assert [np.flatnonzero(row == 0).tolist() for row in bias.numpy()][4] == [2, 3, 4, 5, 6]


def test_the_cost_of_a_window_grows_with_the_length():
    """Not with its square, as that of global attention."""
    sizes = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "max_position_embeddings": 8192,
    }
    local = {"local_attention": 128, "global_attn_every_n_layers": 2}

    def of_attention(config, length):
        return forward_flops(config, 1, length, 0) - length * forward_flops(config, 1, 1, 0)

    everywhere, windowed = BertConfig(100, **sizes), BertConfig(100, **sizes, **local)
    short, long = (
        of_attention(everywhere, length) - of_attention(windowed, length) for length in (1024, 8192)
    )
    assert long / short > 60  # the saving is the square
    rest = [2 * of_attention(windowed, n) - of_attention(everywhere, n) for n in (1024, 8192)]
    assert rest[1] / rest[0] == pytest.approx(8, rel=0.01)


def test_turned_products_depend_on_the_distance_alone():
    random = np.random.default_rng(1)
    query, key = (tf.constant(random.normal(size=(1, 1, 1, 16)), tf.float32) for _ in range(2))

    def product(at, other):
        turned = [
            rotate(values, *rotation(tf.constant([[place]]), 16, 1e4))
            for values, place in ((query, at), (key, other))
        ]
        return float(tf.reduce_sum(turned[0] * turned[1]))

    assert product(3, 7) == pytest.approx(product(103, 107), abs=1e-4)
    assert product(3, 7) != pytest.approx(product(7, 3), abs=1e-2)
    assert product(5, 5) == pytest.approx(float(tf.reduce_sum(query * key)), abs=1e-5)


@pytest.mark.parametrize("name", ["gelu", "gelu_erf", "silu", "relu", "tanh", "linear"])
def test_a_gate_multiplies_the_activated_half(name):
    random = np.random.default_rng(2)
    inputs = tf.constant(random.normal(scale=3.0, size=(4, 10)), tf.float32)
    upstream = tf.constant(random.normal(size=(4, 5)), tf.float32)

    def plain(values):
        return activation(name, values[:, :5]) * values[:, 5:]

    expected = values_and_gradients(plain, [inputs], upstream)
    for one, other in zip(
        expected, values_and_gradients(lambda values: gated(name, values), [inputs], upstream), strict=True
    ):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=5e-6)
