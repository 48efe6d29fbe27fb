"""The format of google-research's bert, albert and electra: a TensorFlow 1 checkpoint and `bert_config.json`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.interop import electra
from morphbert.interop.native import mark_newest, write_config
from morphbert.interop.pretrained import Pretrained

CHECKPOINT_NAME = "bert_model.ckpt"  # as Google's releases call it
# google-research/bert's modeling.py computes with these values, whatever the configuration says.
_LAYER_NORM_EPS = 1e-12
_ACTIVATIONS = ("gelu", "relu", "tanh", "linear")


def write(folder: str, model: Pretrained, slots: Mapping[str, np.ndarray] | None = None) -> None:
    """Writes `bert_model.ckpt` (index, data, meta) and `bert_config.json`.

    Args:
      slots: `…/adam_m`, `…/adam_v` and `global_step`, which its `run_pretraining.py` would have written.

    Raises:
      MorphbertError: it is a RoBERTa, has pre-LN, or a part of the modern block.
    """
    config = model.config
    if config.kind not in ("BERT", "ALBERT", "ELECTRA"):
        keys = model.config.modern_keys()
        others = "saved_model" if config.kind == "custom encoder" else "huggingface or saved_model"
        has = f" with {', '.join(keys)}, for which there are no TensorFlow 1 names" if keys else ""
        raise MorphbertError(
            f"{model.source} is a {model.config.kind}{has}, and google-research/bert's modeling.py computes BERT "
            f"alone: export it with --format={others}."
        )
    values = {**model.weights, **(slots or {})}
    if config.electra is not None:
        values = electra.joined_checkpoint(model, slots or {})
    with tf.Graph().as_default():
        variables = {}
        for name, value in values.items():
            variables[name] = tf.compat.v1.get_variable(
                name, value.shape, value.dtype, tf.compat.v1.zeros_initializer(), use_resource=False
            )
        with tf.compat.v1.Session() as session:
            for name, variable in variables.items():
                # Through a placeholder: as constants the weights would go into the .meta file too.
                fed = tf.compat.v1.placeholder(values[name].dtype, values[name].shape)
                session.run(tf.compat.v1.assign(variable, fed), {fed: values[name]})
            saver = tf.compat.v1.train.Saver(variables)
            saver.save(
                session, os.path.join(folder, CHECKPOINT_NAME), write_state=False, write_meta_graph=True
            )
    mark_newest(folder, CHECKPOINT_NAME)
    plain = model.config.hidden_act == "gelu_new"  # Hugging Face's name for google-research's `gelu`
    write_config(folder, dataclasses.replace(model.config, hidden_act="gelu") if plain else model.config)


def differences(model: Pretrained) -> list[str]:
    """Describes the parts that google-research/bert's own code would compute differently."""
    found = []
    if model.config.kind == "ALBERT":
        found.append("an ALBERT: for google-research/albert, whose albert_config.json bert_config.json is")
    if model.config.electra is not None:
        found.append(
            "an ELECTRA: for google-research/electra, which takes its sizes from its hparams, not from bert_config.json"
        )
        if model.config.hidden_act in ("gelu", "gelu_new"):
            found.append(
                f"hidden_act is {model.config.hidden_act}, and google-research/electra's gelu is gelu_erf"
            )
    elif model.config.hidden_act not in (*_ACTIVATIONS, "gelu_new"):
        found.append(
            f"hidden_act is {model.config.hidden_act}, which google-research/bert's modeling.py does not know"
        )
    if model.config.layer_norm_eps != _LAYER_NORM_EPS:
        found.append(
            f"layer_norm_eps is {model.config.layer_norm_eps:g}, and google-research/bert always takes "
            f"{_LAYER_NORM_EPS:g}"
        )
    return found
