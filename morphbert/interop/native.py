"""A model in this program's own format: a folder with a checkpoint, `bert_config.json` and the vocabulary.

Every command accepts it as `--checkpoint` or `--init_checkpoint`. Unlike the output of a run it has no
optimizer and no position in the data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from morphbert.data.manifest import load_manifest
from morphbert.errors import MorphbertError
from morphbert.interop import electra
from morphbert.interop.pretrained import (
    Pretrained,
    as_float32,
    check_other_network,
    check_weights,
    find_vocabulary,
)
from morphbert.model.config import BERT_CONFIG_NAME, BertConfig
from morphbert.model.electra import GENERATOR_CONFIG
from morphbert.model.parameters import pretraining_parameters
from morphbert.text.vocabulary import VocabularyDigest
from morphbert.train.checkpoint import other_names, read_state, read_weights, resolve, shapes_of
from morphbert.train.checkpoint_files import vouch
from morphbert.train.log import METRICS_FILE, read_metrics
from morphbert.train.run_state import ModelState
from morphbert.train.storage import write_text

CHECKPOINT_NAME = "model.ckpt-0"


def write(folder: str, model: Pretrained) -> None:
    """Writes checkpoint and configuration; `model` has every weight."""
    variables = {name: tf.Variable(value, name=name) for name, value in model.weights.items()}
    state = ModelState(model.config.to_dict(), os.path.basename(os.path.abspath(model.source)))
    tf.train.Checkpoint(model=variables, run=state).write(os.path.join(folder, CHECKPOINT_NAME))
    vouch(os.path.join(folder, CHECKPOINT_NAME))
    mark_newest(folder, CHECKPOINT_NAME)
    write_config(folder, model.config)


def mark_newest(folder: str, name: str) -> None:
    """Writes the file `checkpoint`, by which `tf.train.latest_checkpoint` finds `name` wherever the folder goes."""
    with open(os.path.join(folder, "checkpoint"), "w", encoding="utf-8") as stream:
        stream.write(f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n')


def write_config(folder: str, config: BertConfig) -> None:
    write_text(os.path.join(folder, BERT_CONFIG_NAME), config.to_json())


def read(path: str, config_file: str | None = None) -> Pretrained:
    """Reads a checkpoint of this program, or a TensorFlow 1 one of google-research's bert, albert or electra.

    Args:
      path: a prefix, or a folder of which the newest is taken.
      config_file: its `bert_config.json`; None takes the one beside it.

    Raises:
      MorphbertError: nothing readable there, or weights and configuration do not belong together.
    """
    prefix = resolve(path)
    folder = os.path.dirname(prefix)
    config = BertConfig.from_json_file(config_file or _config_beside(folder))
    weights, others = electra.of_network(read_weights(prefix), config, prefix)
    check_no_other_weights(prefix, weights, config)
    known = pretraining_parameters(config)
    kept = {name: as_float32(prefix, name, weights[name]) for name in known if name in weights}
    check_other_network(prefix, others)
    check_weights(prefix, config, shapes_of(kept))
    extra = sorted(name for name in weights if name not in known)
    left_over = (*extra, *electra.describe_others(others, config), *other_names(prefix))
    return Pretrained(
        config,
        kept,
        prefix,
        left_over,
        find_vocabulary(folder),
        vocabulary_digest=digest_in(prefix),
        details=_details(prefix),
        other_network=others,
        generator_config=_generator_config(prefix) if config.electra == "discriminator" else None,
    )


def _generator_config(prefix: str) -> BertConfig | None:
    """Returns the generator's configuration, as the run says it or a file beside the checkpoint."""
    found = read_state(prefix)
    if found is not None and (values := found.state.get("generator_config")):
        return BertConfig.from_dict(values, prefix)
    path = os.path.join(os.path.dirname(prefix), GENERATOR_CONFIG)
    return BertConfig.from_json_file(path) if tf.io.gfile.exists(path) else None


def digest_in(prefix: str) -> VocabularyDigest | None:
    """Returns the vocabulary of the records that a checkpoint was trained on, where it says so."""
    found = read_state(prefix)
    sha256 = found and found.state.get("vocabulary", {}).get("sha256")
    return VocabularyDigest(sha256, f"the checkpoint {prefix}") if sha256 else None


def check_no_other_weights(prefix: str, names: Iterable[str], config: BertConfig) -> None:
    """Refuses a checkpoint whose encoder has weights that the configuration does not describe.

    Raises:
      MorphbertError: names the first of them.
    """
    known = pretraining_parameters(config)
    layers = sorted(
        name for name in names if name.startswith(("bert/encoder/", "bert/embeddings/")) and name not in known
    )
    if layers:
        raise MorphbertError(
            f"{prefix} has {', '.join(layers[:3])}{' …' if layers[3:] else ''}, which the encoder that the "
            "configuration describes does not: is it the configuration of this checkpoint?"
        )


def _config_beside(folder: str) -> str:
    """Returns the path of `bert_config.json`, or of the file that Google's ALBERTs have instead."""
    path, other = (os.path.join(folder, name) for name in (BERT_CONFIG_NAME, "albert_config.json"))
    return other if not tf.io.gfile.exists(path) and tf.io.gfile.exists(other) else path


def _details(prefix: str) -> Mapping[str, Any]:
    """Returns the records of the run that made the checkpoint: settings, manifest of its records, last evaluation."""
    found = read_state(prefix)
    if found is None or found.step is None:
        return {}
    details: dict[str, Any] = {"step": found.step, **found.state}
    for file, _ in found.state["data"]["files"][:1]:
        try:
            manifest = load_manifest(file)
        except MorphbertError:
            manifest = None
        if manifest is not None:
            details["manifest"] = json.loads(manifest.to_json())
    folder = os.path.dirname(prefix)
    for place in (folder, os.path.dirname(folder)):  # best/ lies one deeper
        metrics = os.path.join(place, METRICS_FILE)
        if tf.io.gfile.exists(metrics):
            lines = [m for m in read_metrics(metrics) if m["kind"] == "eval" and m["step"] <= found.step]
            if lines:
                details["evaluation"] = lines[-1]
            break
    return details
