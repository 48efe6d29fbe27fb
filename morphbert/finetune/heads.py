"""What stands between the encoder and a task's scores: chosen layers, an LSTM, a sentence's vector, dropout."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.finetune.config import HeadConfig
from morphbert.model.config import BertConfig
from morphbert.model.encoder import pool
from morphbert.model.kernels.dropout import Dropout
from morphbert.model.layers import Parameters
from morphbert.model.parameters import Parameter
from morphbert.model.shapes import length_of

LSTM = "head/lstm"


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
      MorphbertError: names the layer and those there are.
    """
    most = config.num_hidden_layers
    for layer in layers:
        if not -most - 1 <= layer <= most:
            raise MorphbertError(
                f"--layers={','.join(map(str, layers))}: there is no layer {layer}; the model has the embeddings, "
                f"0, and {most} layers, 1 to {most} or -{most} to -1."
            )


def chosen_states(states: Sequence[tf.Tensor], layers: Sequence[int]) -> tf.Tensor:
    """The encoder's states by layer, [B, L, H] each → those of `layers` side by side: [B, L, H × layers]."""
    return states[layers[0]] if len(layers) == 1 else tf.concat([states[layer] for layer in layers], -1)


def contextual(
    parameters: Parameters, hidden: tf.Tensor, input_mask: tf.Tensor, head: HeadConfig
) -> tf.Tensor:
    """Through the LSTM in both directions, where there is one: [B, L, D] → [B, L, 2 U]."""
    if not head.lstm_units:
        return hidden
    mask = tf.cast(input_mask, hidden.dtype)
    forward = _lstm(parameters, f"{LSTM}/forward", hidden, mask, head.lstm_units)
    backward = _lstm(parameters, f"{LSTM}/backward", hidden[:, ::-1], mask[:, ::-1], head.lstm_units)
    return tf.concat([forward, backward[:, ::-1]], -1)


def _lstm(parameters: Parameters, name: str, inputs: tf.Tensor, mask: tf.Tensor, units: int) -> tf.Tensor:
    """Hochreiter & Schmidhuber 1997 with forget gates whose bias starts at 1; padding leaves the state as it is.

    [B, L, D] → [B, L, U]
    """
    kernel, width = parameters[f"{name}/kernel"], inputs.shape[-1]
    # The inputs' share of all gates is one large product; what is left in the loop is the state's.
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


def sentence_vector(
    parameters: Parameters, config: BertConfig, hidden: tf.Tensor, input_mask: tf.Tensor, head: HeadConfig
) -> tf.Tensor:
    """[B, L, D] → [B, D]: by `head.pooling` the pooler over [CLS], or the mean or maximum over all pieces but padding.

    `cls` of an LSTM is what each direction ends with, and of a model without a pooler [CLS] itself.
    """
    if head.uses_pooler and config.pooler:
        return pool(parameters, hidden)
    mask = tf.cast(input_mask, hidden.dtype)
    if head.pooling == "cls":
        if not head.lstm_units:
            return hidden[:, 0]
        last = tf.reduce_sum(input_mask, 1) - 1
        forward = tf.gather(hidden[:, :, : head.lstm_units], last, batch_dims=1)
        return tf.concat([forward, hidden[:, 0, head.lstm_units :]], -1)
    if head.pooling == "mean":
        return mean_over(hidden, mask)
    return tf.reduce_max(hidden + (1.0 - mask[:, :, None]) * tf.cast(-1e4, hidden.dtype), 1)


def mean_over(hidden: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Mean of the positions whose mask [B, L] is 1, zeros where none is: [B, L, D] → [B, D]."""
    count = tf.maximum(tf.reduce_sum(mask, 1, keepdims=True), tf.ones([], mask.dtype))
    return tf.reduce_sum(hidden * mask[:, :, None], 1) / count


def head_dropout(inputs: tf.Tensor, config: BertConfig, key: tf.Tensor | None) -> tf.Tensor:
    """Dropout with a mask that no dropout of the encoder has; `key` None is none."""
    if key is None or not config.hidden_dropout_prob:
        return inputs
    return Dropout(config.hidden_dropout_prob, key + tf.constant([1, 0], key.dtype))(inputs)


def linear_parameters(name: str, outputs: int, width: int) -> dict[str, Parameter]:
    """`name`_weights [C, D] and `name`_bias [C], as google-research/bert keeps its heads."""
    return {
        f"{name}_weights": Parameter((outputs, width), "truncated_normal", "weights"),
        f"{name}_bias": Parameter((outputs,), "zeros", "bias"),
    }


def linear(parameters: Parameters, name: str, inputs: tf.Tensor) -> tf.Tensor:
    """The weights of `linear_parameters` on inputs [B, …, D] → float32 [B, …, C]."""
    weights, bias = parameters[f"{name}_weights"], parameters[f"{name}_bias"]
    scores = tf.linalg.matmul(inputs, weights, transpose_b=True)
    return tf.cast(scores, tf.float32) + tf.cast(bias, tf.float32)
