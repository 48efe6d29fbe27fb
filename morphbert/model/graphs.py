"""One compiled graph of a function for inputs of all shapes, shared by the models of a configuration."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from morphbert.model.config import BertConfig

Specifications = tuple[tuple[str, tuple[int, ...]], ...]


def specifications(parameters: Mapping[str, Any]) -> Specifications:
    """Names and shapes of weights."""
    return tuple((name, tuple(variable.shape)) for name, variable in parameters.items())


@functools.lru_cache(maxsize=16)
def any_shape(
    function: Callable[..., Any], config: BertConfig, weights: Specifications, inputs: int = 0
) -> Callable[..., Any]:
    """Returns one graph of `function` for inputs of every shape, shared by all models of a configuration.

    Called without a graph, each new shape is compiled, which takes longer than the call itself. The weights are
    arguments, so that the graph, which lives as long as the process, does not keep them.

    Args:
      function: takes the configuration, the weights by name, then the inputs.
      config: the model's configuration.
      weights: names and shapes of the weights.
      inputs: how many int32 [B, L] it takes; 0 for one float32 [B, L, H].
    """
    ids = tf.TensorSpec([None, None], tf.int32)
    hidden = tf.TensorSpec([None, None, config.hidden_size], tf.float32)
    taken = [ids] * inputs if inputs else [hidden]
    named = {name: tf.TensorSpec(shape, tf.float32) for name, shape in weights}
    return tf.function(functools.partial(function, config), input_signature=[named, *taken], autograph=False)
