"""The layers between the encoder and a task's scores: layer selection, an LSTM, pooling, dropout."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.finetune.config import HeadConfig
from morphbert.model import kernels
from morphbert.model.config import BertConfig
from morphbert.model.encoder import pool
from morphbert.model.functions import HIDDEN
from morphbert.model.kernels.dropout import Dropout
from morphbert.model.layers import Parameters, dense
from morphbert.model.parameters import Parameter
from morphbert.model.shapes import length_of

LSTM = "head/lstm"
# The layer over [CLS] of a task on an ELECTRA, which has no pooler.
DENSE = "head/dense"


def head_width(head: HeadConfig, config: BertConfig) -> int:
    """Returns the size of each piece's vector, D."""
    return 2 * head.lstm_units if head.lstm_units else config.hidden_size * len(head.layers)


def lstm_parameters(head: HeadConfig, config: BertConfig) -> dict[str, Parameter]:
    """Returns the LSTM's weights: kernel [inputs + U, 4 U] and bias [4 U] in each direction."""
    units = head.lstm_units
    rows = config.hidden_size * len(head.layers) + units
    return {
        f"{LSTM}/{direction}/{name}": parameter
        for direction in (("forward", "backward") if units else ())
        for name, parameter in (
            ("kernel", Parameter((rows, 4 * units), "truncated_normal", "kernel")),
            ("bias", Parameter((4 * units,), "zeros", "bias")),
        )
    }


def check_layers(layers: Sequence[int], config: BertConfig) -> None:
    """Refuses layers that the encoder does not have.

    Raises:
      MorphbertError: a layer is missing; the message names it and the existing layers.
    """
    most = config.num_hidden_layers
    for layer in layers:
        if not -most - 1 <= layer <= most:
            raise MorphbertError(
                f"--layers={','.join(map(str, layers))}: there is no layer {layer}; the model has the embeddings, "
                f"0, and {most} layers, 1 to {most} or -{most} to -1."
            )


def chosen_states(states: Sequence[tf.Tensor], layers: Sequence[int]) -> tf.Tensor:
    """Returns the concatenated states of `layers`, [B, L, H × layers], from the encoder's states by layer, [B, L, H]
    each.
    """
    return states[layers[0]] if len(layers) == 1 else tf.concat([states[layer] for layer in layers], -1)


def contextual(
    parameters: Parameters, hidden: tf.Tensor, input_mask: tf.Tensor, head: HeadConfig
) -> tf.Tensor:
    """Applies the LSTM in both directions, if there is one: [B, L, D] → [B, L, 2 U]."""
    if not head.lstm_units:
        return hidden
    mask = tf.cast(input_mask, hidden.dtype)
    forward = _lstm(parameters, f"{LSTM}/forward", hidden, mask, head.lstm_units)
    backward = _lstm(parameters, f"{LSTM}/backward", hidden[:, ::-1], mask[:, ::-1], head.lstm_units)
    return tf.concat([forward, backward[:, ::-1]], -1)


def _lstm(parameters: Parameters, name: str, inputs: tf.Tensor, mask: tf.Tensor, units: int) -> tf.Tensor:
    """Applies an LSTM (Hochreiter & Schmidhuber 1997) whose forget gate's bias starts at 1; padding keeps the state.

    [B, L, D] → [B, L, U]
    """
    kernel, width = parameters[f"{name}/kernel"], inputs.shape[-1]
    # The contribution of the inputs to all gates is one large product; the loop computes only that of the state.
    flat = tf.matmul(tf.reshape(inputs, [-1, width]), kernel[:width]) + parameters[f"{name}/bias"]
    length = length_of(inputs, 1)
    gates = tf.transpose(tf.reshape(flat, [-1, length, 4 * units]), [1, 0, 2])  # [L, B, 4 U]
    kept = tf.transpose(mask)[:, :, None]  # [L, B, 1]
    recurrent = kernel[width:]

    def advance(
        state: tuple[tf.Tensor, tf.Tensor], now: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        cell, output = state
        gate, real = now
        enter, forget, new, leave = tf.split(gate + tf.matmul(output, recurrent), 4, -1)
        next_cell = cell * tf.sigmoid(forget + 1.0) + tf.sigmoid(enter) * tf.tanh(new)
        next_output = tf.sigmoid(leave) * tf.tanh(next_cell)
        return real * next_cell + (1.0 - real) * cell, real * next_output + (1.0 - real) * output

    zeros = tf.zeros_like(gates[0, :, :units])
    _, outputs = tf.scan(advance, (gates, kept), (zeros, zeros))
    return tf.transpose(outputs, [1, 0, 2])


def electra_parameters(head: HeadConfig, config: BertConfig) -> dict[str, Parameter]:
    """Returns the weights of the dense layer over [CLS] of a task on an ELECTRA: [H, H] and [H]."""
    if not head.uses_pooler:
        return {}
    width = config.hidden_size
    return {
        f"{DENSE}/kernel": Parameter((width, width), "truncated_normal", "kernel"),
        f"{DENSE}/bias": Parameter((width,), "zeros", "bias"),
    }


def sentence_vector(
    parameters: Parameters, config: BertConfig, hidden: tf.Tensor, input_mask: tf.Tensor, head: HeadConfig
) -> tf.Tensor:
    """Pools pieces [B, L, D] to a vector [B, D]: by `head.pooling` the pooler over [CLS], or the mean or maximum.

    Mean and maximum exclude padding. `cls` is the final state of each direction of an LSTM, and [CLS] itself in a model
    without a pooler. An ELECTRA has a dense layer with a GELU of the task's own there, as transformers' classes.
    """
    if head.uses_pooler and config.pooler:
        return pool(parameters, hidden)
    if head.uses_pooler and config.electra is not None:
        return kernels.activation("gelu_erf", dense(parameters, DENSE, hidden[:, 0]))
    mask = tf.cast(input_mask, hidden.dtype)
    if head.pooling == "cls":
        if not head.lstm_units:
            return hidden[:, 0]
        last = tf.reduce_sum(input_mask, 1) - 1
        forward = tf.gather(hidden[:, :, : head.lstm_units], last, batch_dims=1)
        return tf.concat([forward, hidden[:, 0, head.lstm_units :]], -1)
    if head.pooling == "mean":
        return mean_over(hidden, mask)
    return tf.reduce_max(hidden + (1.0 - mask[:, :, None]) * tf.cast(HIDDEN, hidden.dtype), 1)


def mean_over(hidden: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Returns the mean of the positions whose mask [B, L] is 1, or zeros: [B, L, D] → [B, D]."""
    count = tf.maximum(tf.reduce_sum(mask, 1, keepdims=True), tf.ones([], mask.dtype))
    return tf.reduce_sum(hidden * mask[:, :, None], 1) / count


def head_dropout(inputs: tf.Tensor, config: BertConfig, key: tf.Tensor | None) -> tf.Tensor:
    """Applies dropout with a mask different from all of the encoder's; no dropout if `key` is None."""
    if key is None or not config.hidden_dropout_prob:
        return inputs
    return Dropout(config.hidden_dropout_prob, key + tf.constant([1, 0], key.dtype))(inputs)


def linear_parameters(name: str, outputs: int, width: int) -> dict[str, Parameter]:
    """Returns `name`_weights [C, D] and `name`_bias [C], in google-research/bert's layout of heads."""
    return {
        f"{name}_weights": Parameter((outputs, width), "truncated_normal", "weights"),
        f"{name}_bias": Parameter((outputs,), "zeros", "bias"),
    }


def linear(parameters: Parameters, name: str, inputs: tf.Tensor) -> tf.Tensor:
    """Applies the weights of `linear_parameters` to inputs [B, …, D]: float32 [B, …, C]."""
    weights, bias = parameters[f"{name}_weights"], parameters[f"{name}_bias"]
    scores = tf.linalg.matmul(inputs, weights, transpose_b=True)
    return tf.cast(scores, tf.float32) + tf.cast(bias, tf.float32)
