"""The layers by the names of their weights. `functions` has their formulas, `kernels` fast forms.

Axes: B sequences, L positions, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from morphbert.model import functions, kernels
from morphbert.model.config import BertConfig

Parameters = Mapping[str, tf.Tensor]


def dense(parameters: Parameters, name: str, inputs: tf.Tensor, bias: bool = True) -> tf.Tensor:
    """Maps inputs [B, ..., in] → [B, ..., out] by `name`/kernel [in, out] and, with `bias`, `name`/bias [out]."""
    offset = parameters[f"{name}/bias"] if bias else None
    return kernels.affine(inputs, parameters[f"{name}/kernel"], offset)


def norm(parameters: Parameters, name: str, config: BertConfig, inputs: tf.Tensor) -> tf.Tensor:
    """Normalises the last axis by `config.norm_type`, in float32, scales by `gamma` and shifts by `beta`, if any."""
    gamma = tf.cast(parameters[f"{name}/gamma"], tf.float32)
    beta = tf.cast(parameters[f"{name}/beta"], tf.float32) if config.norm_bias else None
    if config.norm_type == "rms_norm":
        return functions.rms_norm(inputs, gamma, beta, config.layer_norm_eps)
    return kernels.layer_norm(
        inputs, gamma, tf.zeros_like(gamma) if beta is None else beta, config.layer_norm_eps
    )
