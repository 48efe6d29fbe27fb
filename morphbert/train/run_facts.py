"""The description of a run: in its checkpoints, and for people as `run.json` in its output folder."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import morphbert
from morphbert.errors import MorphbertError
from morphbert.model.electra import Electra
from morphbert.structured import load_json, refuse_newer
from morphbert.text.vocabulary import VocabularyDigest, check_same_vocabulary
from morphbert.train.checkpoint import Restored
from morphbert.train.cluster.strategy import Devices
from morphbert.train.config import RunConfig
from morphbert.train.input.record_sets import RecordSet, manifests, vocabulary_of
from morphbert.train.phases import describe_phases
from morphbert.train.run_state import Description
from morphbert.train.storage import write_text

RUN_FILE = "run.json"
FORMAT_VERSION = 1
# The fields of `RunConfig` that `run.json` has in its part `run`, and those that it has in other parts or forms.
PLAIN = (
    *("output_dir", "init_checkpoint", "do_train", "eval_every", "train_batch_size", "eval_batch_size"),
    *("save_checkpoints_steps", "keep_checkpoint_max", "iterations_per_loop", "log_steps", "on_divergence"),
    *("do_eval", "masked_lm_schedule", "z_loss", "ema_decay", "train_time", "vocab_file", "eval_at_start"),
    *("dry_run", "max_eval_steps", "grammar_file", "async_checkpoints", "shuffle_buffer_size", "plugins"),
)
OTHERWISE = (
    *("bert_config", "electra", "records", "eval_records", "phases", "optimizer", "step", "devices"),
)


def describe_run(config: RunConfig, devices: str, num_replicas: int, parameters: int) -> dict[str, Any]:
    """Returns the facts as JSON values: configuration, data and environment; `devices` describes the devices."""
    plain = {name: getattr(config, name) for name in PLAIN}
    if config.phases:
        plain["phases"] = describe_phases(config.records, config.train_batch_size)
    return {
        "format_version": FORMAT_VERSION,
        "morphbert_version": morphbert.__version__,
        "parameters": parameters,
        "model": config.bert_config.to_dict(),
        **_electra(config.electra),
        "optimizer": dataclasses.asdict(config.optimizer),
        "step": dataclasses.asdict(config.step),
        "run": {
            **plain,
            "max_seq_length": config.shape.max_seq_length,
            "max_predictions_per_seq": config.shape.max_predictions_per_seq,
        },
        "data": {"train": _data(config.records), "eval": _data(config.eval_records)},
        "environment": {
            "devices": devices,
            "num_replicas": num_replicas,
            "processors": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
        },
    }


def _electra(electra: Electra | None) -> dict[str, Any]:
    if electra is None:
        return {}
    return {"electra": {**dataclasses.asdict(electra), "generator": electra.generator.to_dict()}}


def describe(
    config: RunConfig, devices: Devices, num_workers: int, plan: Mapping[str, Any] | None
) -> Description:
    """Describes a run for its checkpoints: all that influences its weights.

    A setting that came with a later version of the program stands there where it is used, so that a run without it
    goes on from the checkpoints of earlier versions.
    """
    records = config.records
    several: dict[str, Any] = {}
    if len(records) > 1:
        several["lengths"] = [[chosen.form.shape.max_seq_length, chosen.share] for chosen in records]
    if any(chosen.mixture for chosen in records):
        several["mixture"] = [chosen.mixture for chosen in records]
    if config.phases:
        several["phases"] = [chosen.batch_size or config.train_batch_size for chosen in records]
    used = {
        "masked_lm_schedule": config.masked_lm_schedule,
        "z_loss": config.z_loss or None,
        "ema_decay": config.ema_decay,
        "discriminator_weight": config.electra and config.electra.discriminator_weight,
        "disentangles": (config.electra and config.electra.disentangles) or None,
        "plugin": list(config.plugins) or None,
    }
    vocabulary = vocabulary_of(config.input_files)
    return Description(
        config=config.bert_config.to_dict(),
        vocabulary={"sha256": vocabulary.sha256} if vocabulary else {},
        settings={
            **config.optimizer.settings(),
            **config.step.settings(),
            **{name: value for name, value in used.items() if value is not None},
            "num_replicas": devices.num_replicas,
            "num_workers": num_workers,
            "tensorflow": tf.__version__,
        },
        data={
            "files": [[file, tf.io.gfile.stat(file).length] for file in config.input_files],
            **dataclasses.asdict(config.shape),
            "train_batch_size": config.train_batch_size,
            "shuffle_buffer_size": config.shuffle_buffer_size,
            "seed": config.step.seed,
            **several,
        },
        generator_config=config.electra.generator.to_dict() if config.electra else None,
        plan=plan,
        has_iterator=not devices.input_per_host,
    )


def _data(sets: Sequence[RecordSet]) -> dict[str, Any]:
    """Files and the content of their manifests; those that differ only in the number of records count as one."""
    files = [file for chosen in sets for file in chosen.files]
    different: dict[str, dict[str, Any]] = {}
    for manifest in manifests(files).values():
        content = json.loads(manifest.to_json())
        different.setdefault(json.dumps(content, sort_keys=True), content)
    facts: dict[str, Any] = {"files": files, "manifests": list(different.values())}
    sources = [
        {"files": of_source, "share": share}
        for chosen in sets
        for of_source, share in zip(chosen.sources, chosen.shares, strict=True)
        if not chosen.first_record  # a later phase has the same
    ]
    return {**facts, "mixture": sources} if sources else facts


def write_run(directory: str, facts: dict[str, Any]) -> None:
    """Writes `run.json`; a resumed run keeps the time of its beginning and adds that of the resumption."""
    path = os.path.join(directory, RUN_FILE)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    times: dict[str, Any] = {"started": now, "continued": []}
    if tf.io.gfile.exists(path):
        before = read_run(directory)
        times = {"started": before.get("started", now), "continued": [*before.get("continued", []), now]}
    write_text(path, json.dumps({**facts, **times}, ensure_ascii=False, indent=2) + "\n")


def check_records_of_run(directory: str, restored: Restored, files: Sequence[str]) -> None:
    """Refuses to resume a run on records of another vocabulary.

    Its vocabulary is that of its checkpoint, or else the one that `run.json` has of its records.

    Raises:
      MorphbertError: the vocabularies differ.
    """
    now = vocabulary_of(files)
    before = _vocabulary_of_run(directory, restored)
    if now is not None and before is not None:
        check_same_vocabulary(
            f"the vocabulary of {now.said_by.removeprefix('the records, ')}",
            now,
            before,
            f"Give records of the run's vocabulary; or another --output_dir, with --init_checkpoint={restored.path} "
            "and --vocab_file, which map the embeddings to the vocabulary of these records.",
        )


def _vocabulary_of_run(directory: str, restored: Restored) -> VocabularyDigest | None:
    if sha256 := restored.description.vocabulary.get("sha256"):
        return VocabularyDigest(sha256, f"the checkpoint {restored.path}")
    path = os.path.join(directory, RUN_FILE)
    if not tf.io.gfile.exists(path):
        return None
    try:
        for manifest in read_run(directory)["data"]["train"]["manifests"]:
            return VocabularyDigest(manifest["tokenizer"]["vocab"]["sha256"], path)
    except (
        MorphbertError,
        KeyError,
        TypeError,
    ):  # it is only shown, and may be missing
        pass
    return None


def read_run(directory: str) -> dict[str, Any]:
    """Returns the facts of the run in an output folder.

    Raises:
      MorphbertError: there are none, or a newer version wrote them.
    """
    path = os.path.join(directory, RUN_FILE)
    try:
        with tf.io.gfile.GFile(path, "r") as stream:
            facts = load_json(stream.read())
    except (tf.errors.OpError, ValueError) as error:
        raise MorphbertError(
            f"{path} cannot be read ({type(error).__name__}): give the --output_dir of a run of run_pretraining.py."
        ) from error
    version = facts.get("format_version") if isinstance(facts, dict) else None
    if not isinstance(version, int):
        raise MorphbertError(f"{path} is damaged: format_version is {version!r}, where a number is expected.")
    refuse_newer(path, version, FORMAT_VERSION)
    return dict(facts)
