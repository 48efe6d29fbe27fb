"""The functions of the network as in the papers: plain functions of tensors, from the dense layer to the loss.

`kernels` has fast versions under the same names, and chooses between the two; tests compare the value and the gradient
of each with the function here. Axes: B sequences, L positions, H hidden, N heads, D dimensions per head, V pieces, R
predictions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from morphbert.model.shapes import length_of

# Added to the score of a place that must not be seen or chosen, as in google-research/bert: its weight is 0 then.
HIDDEN = -10000.0

WeightDropout = Callable[[tf.Tensor], tf.Tensor] | None


def affine(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None) -> tf.Tensor:
    """Returns inputs [B, ..., in] times kernel [in, out], plus bias [out] if there is one: [B, ..., out]."""
    rows = tf.reshape(inputs, [-1, kernel.shape[0]])  # one large matrix product, whatever the rank
    outputs = tf.matmul(rows, kernel)
    if bias is not None:
        outputs = tf.nn.bias_add(outputs, bias)
    between = [length_of(inputs, axis) for axis in range(1, len(inputs.shape) - 1)]
    return tf.reshape(outputs, [-1, *between, kernel.shape[1]])


def layer_norm(inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Normalises the last axis to mean 0 and variance 1, then scales by `gamma` and shifts by `beta` (Ba et al. 2016).

    The computation and `gamma` and `beta` [H] are in float32.
    """
    values = tf.cast(inputs, tf.float32)
    mean, variance = tf.nn.moments(values, axes=[-1], keepdims=True)
    return tf.cast((values - mean) * tf.math.rsqrt(variance + epsilon) * gamma + beta, inputs.dtype)


def rms_norm(inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor | None, epsilon: float) -> tf.Tensor:
    """Applies LayerNorm without the mean (Zhang & Sennrich 2019): scales the last axis to mean square 1, in float32."""
    values = tf.cast(inputs, tf.float32)
    slope = tf.math.rsqrt(tf.reduce_mean(values * values, -1, keepdims=True) + epsilon)
    outputs = values * slope * tf.cast(gamma, tf.float32)
    if beta is not None:
        outputs += tf.cast(beta, tf.float32)
    return tf.cast(outputs, inputs.dtype)


def gelu(inputs: tf.Tensor) -> tf.Tensor:
    """Returns 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))), google-research/bert's form (Hendrycks & Gimpel 2016)."""
    x = tf.cast(inputs, tf.float32)
    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)
    return tf.cast(0.5 * x * (1.0 + tf.tanh(inner)), inputs.dtype)


def gelu_erf(inputs: tf.Tensor) -> tf.Tensor:
    """Returns x Φ(x), the form of Hugging Face's `gelu` (Hendrycks & Gimpel 2016)."""
    return tf.nn.gelu(inputs, approximate=False)


_ACTIVATIONS = {
    "gelu": gelu,
    "gelu_new": gelu,
    "gelu_erf": gelu_erf,
    "silu": tf.nn.silu,
    "relu": tf.nn.relu,
    "tanh": tf.tanh,
    "linear": tf.identity,
}


def activation(name: str, inputs: tf.Tensor) -> tf.Tensor:
    """Applies the activation with the configuration's `name`."""
    return _ACTIVATIONS[name](inputs)


def gated(name: str, inputs: tf.Tensor) -> tf.Tensor:
    """Returns activation(a) · b, [..., I], of halves [a, b], [..., 2 I] (Shazeer 2020, "GLU Variants Improve
    Transformer").

    Computed in float32.
    """
    first, second = tf.split(tf.cast(inputs, tf.float32), 2, -1)
    return tf.cast(activation(name, first) * second, inputs.dtype)


def dropout(values: tf.Tensor, kept: tf.Tensor, rate: float) -> tf.Tensor:
    """Zeroes a share `rate` of the elements and scales the rest by 1 / (1 - rate) (Srivastava et al. 2014)."""
    scale = tf.cast(1.0 / (1.0 - rate), values.dtype)
    return tf.where(kept, values * scale, tf.zeros([], values.dtype))


def rotate(values: tf.Tensor, cosines: tf.Tensor, sines: tf.Tensor) -> tf.Tensor:
    """Rotates the pairs of dimensions d and d + D/2 by the angles of their positions (Su et al. 2021, "RoFormer").

    [B, N, L, D] and float32 [B, 1, L, D/2] → [B, N, L, D], computed in float32.
    """
    first, second = tf.split(tf.cast(values, tf.float32), 2, -1)
    turned = tf.concat([first * cosines - second * sines, second * cosines + first * sines], -1)
    return tf.cast(turned, values.dtype)


def attention(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, bias: tf.Tensor, dropout: WeightDropout
) -> tf.Tensor:
    """Returns softmax(query keyᵀ / √D + bias) value, with dropout on the softmax (Vaswani et al. 2017, section 3.2.1).

    Args:
      query: the queries, [B, N, L, D].       key: the keys, [B, N, L, D].       value: the values, [B, N, L, D].
      bias: [B, 1, 1, L] or [B, 1, L, L]; it gets no gradient.
      dropout: the dropout of the weights [B, N, L, L].

    Returns:
      [B, N, L, D].
    """
    scale = tf.cast(1.0 / math.sqrt(query.shape[-1]), query.dtype)
    scores = tf.matmul(query, key, transpose_b=True) * scale + tf.stop_gradient(bias)
    weights = tf.nn.softmax(scores)
    return tf.matmul(weights if dropout is None else dropout(weights), value)


def attention_by_position(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, bias: tf.Tensor, dropout: WeightDropout
) -> tf.Tensor:
    """Computes `attention` in the layout of dense layers, with heads after positions: [B, L, N, D] each."""
    query, key, value = (tf.transpose(values, [0, 2, 1, 3]) for values in (query, key, value))
    return tf.transpose(attention(query, key, value, bias, dropout), [0, 2, 1, 3])


def attention_bias(input_mask: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns the bias of attention scores, 0 for a piece and -10000 for padding: [B, L] → [B, 1, 1, L]."""
    return (1.0 - tf.cast(input_mask, dtype)[:, None, None, :]) * tf.cast(HIDDEN, dtype)


def packed_attention_bias(sequence_ids: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns the bias by which an example sees only itself, of its number (0 = padding): [B, L] → [B, 1, L, L].

    Seen from another example, exp(-10000 + score) is 0 in every dtype: nothing leaks. (Packing with masks of
    blocks: Krell et al. 2021, "Efficient Sequence Packing without Cross-contamination".)
    """
    same = tf.equal(sequence_ids[:, :, None], sequence_ids[:, None, :])
    return (1.0 - tf.cast(same, dtype)[:, None]) * tf.cast(HIDDEN, dtype)


def window_bias(
    input_mask: tf.Tensor, sequence_ids: tf.Tensor | None, half: int, dtype: tf.DType
) -> tf.Tensor:
    """Hides places outside the window, padding and other examples: int32 [B, L] → [B, 1, L, L], 0 or -10000."""
    place = tf.range(length_of(input_mask, 1))
    near = tf.abs(place[:, None] - place[None, :]) <= half
    if sequence_ids is None:
        visible = tf.cast(input_mask, tf.bool)[:, None, :]
    else:
        visible = tf.equal(sequence_ids[:, :, None], sequence_ids[:, None, :])
    return bias_of(near & visible, dtype)[:, None]


def bias_of(visible: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns the bias of places: 0 where `visible`, a bool of any shape, is true, and else -10000."""
    return (1.0 - tf.cast(visible, dtype)) * tf.cast(HIDDEN, dtype)


def cross_entropy(scores: tf.Tensor, bias: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the cross entropy of softmax(scores + bias), and whether the highest score is the label's.

    Args:
      scores: [V, R] in any floating dtype, with the vocabulary first.
      bias: float32 [V].
      labels: int32 [R].

    Returns:
      float32 [R] losses in nats; float32 [R], 1 for a correct prediction and else 0, without a gradient.
    """
    logits = tf.transpose(tf.cast(scores, tf.float32)) + bias  # [R, V]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return losses, tf.cast(tf.argmax(logits, -1, output_type=tf.int32) == labels, tf.float32)


def cross_entropy_and_total(
    scores: tf.Tensor, bias: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the results of `cross_entropy`, and ln Σ exp(scores + bias), float32 [R], with its gradient."""
    total = tf.reduce_logsumexp(tf.transpose(tf.cast(scores, tf.float32)) + bias, -1)
    return (*cross_entropy(scores, bias, labels), total)


def both_uses(table: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the word embeddings [V, E] twice: for look-ups and for scores (Press & Wolf 2017)."""
    return table, table
