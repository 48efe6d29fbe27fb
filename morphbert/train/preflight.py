"""Mistakes found before they cost a day: everything that can be checked before anything is compiled."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import IO, cast

import tensorflow as tf

from morphbert.data.manifest import SUFFIX, Manifest, load_manifest
from morphbert.data.records import RecordLayout, RecordShape
from morphbert.errors import MorphbertError, UsageError
from morphbert.model.config import BertConfig
from morphbert.train.dynamic_masks import MaskRules
from morphbert.train.records_input import RecordFormat, check_first_records, count_records
from morphbert.train.storage import writing


def expand_records(patterns: str, flag: str) -> tuple[str, ...]:
    """Comma-separated paths and globs, on any filesystem that TensorFlow knows → record files by name.

    Manifests and unfinished files that a glob catches are left out.

    Raises:
      MorphbertError: a pattern matches no file.
    """
    found: list[str] = []
    for pattern in filter(None, (part.strip() for part in patterns.split(","))):
        matches = [pattern] if tf.io.gfile.exists(pattern) else sorted(tf.io.gfile.glob(pattern))
        matches = [name for name in matches if not name.endswith((SUFFIX, ".partial"))]
        matches = [name for name in matches if not tf.io.gfile.isdir(name)]
        if not matches:
            raise MorphbertError(
                f"{flag}: no record file matches {pattern!r} (working directory: {os.getcwd()}). "
                "Make records with create_pretraining_data.py, and put globs in quotes."
            )
        found.extend(matches)
    if not found:
        raise MorphbertError(f"{flag}: no record file was given: received {patterns!r}.")
    return tuple(found)


def _open_with_tensorflow(path: str) -> IO[bytes]:
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(path)
    return cast("IO[bytes]", tf.io.gfile.GFile(path, "rb"))


def manifests(files: Sequence[str]) -> dict[str, Manifest]:
    """The manifests beside record files, by record file; files without one are left out."""
    found = {file: load_manifest(file, _open_with_tensorflow) for file in files}
    return {file: manifest for file, manifest in found.items() if manifest is not None}


def num_records(files: Sequence[str]) -> int:
    """How many records the files hold: from their manifests where all have one, else by reading them."""
    known = manifests(files)
    counts = [known[f].outputs.get(os.path.basename(f)) if f in known else None for f in files]
    if all(count is not None for count in counts):
        return sum(cast("list[int]", counts))
    return count_records(files)


def mask_rules(files: Sequence[str], predictions: int, seed: int) -> MaskRules:
    """How to mask records that have no masks: what their manifests say.

    Raises:
      MorphbertError: a file has no manifest, or they say different things.
    """
    known = manifests(files)
    for file in files:
        if file not in known:
            raise MorphbertError(
                f"{file} has records without masks, and the manifest beside it, which says how to mask them, is "
                "missing: copy it there too, or make the records again."
            )
    first = files[0]
    rules = MaskRules.from_manifest(known[first].masking, predictions, seed, first)
    for file in files[1:]:
        if known[file].masking != known[first].masking:
            raise MorphbertError(
                f"{first} and {file} were made for different masks: train on one kind only, or make them again."
            )
    return rules


def check_records(files: Sequence[str], form: RecordFormat) -> None:
    """Holds the records against the flags and the model's configuration.

    Raises:
      MorphbertError: another length, another vocabulary, vocabularies that differ between the files, or a
        file that cannot be read.
    """
    known = manifests(files)
    vocabularies: dict[str, str] = {}
    for file, manifest in known.items():
        _check_manifest(file, manifest, form)
        if manifest.layout != form.layout:
            raise MorphbertError(
                f"{file} has {_in_words(manifest.layout)}, other files that this run reads have "
                f"{_in_words(form.layout)}: train and evaluate on one kind only."
            )
        vocabularies.setdefault(str(manifest.tokenizer.get("vocab", {}).get("sha256")), file)
    if len(vocabularies) > 1:
        raise MorphbertError(
            "the records were made with different vocabularies: "
            + " and ".join(vocabularies.values())
            + ". Make them again with one vocabulary, or train on one kind only."
        )
    check_first_records(files, form)


def _in_words(layout: RecordLayout) -> str:
    masks = "masks to be drawn in training" if layout.dynamic else "static masks"
    packed = (
        f"up to {layout.examples} examples in a sequence" if layout.examples else "one example in a sequence"
    )
    return f"{masks}, {packed} and {'labels' if layout.next_sentence else 'no labels'} of the segments"


def _check_manifest(file: str, manifest: Manifest, form: RecordFormat) -> None:
    shape = form.shape
    made = RecordShape(manifest.max_seq_length, manifest.max_predictions_per_seq)
    if made != shape:
        raise MorphbertError(
            f"{file} was made with max_seq_length={made.max_seq_length} and max_predictions_per_seq="
            f"{made.max_predictions_per_seq}, but the flags say --max_seq_length={shape.max_seq_length} and "
            f"--max_predictions_per_seq={shape.max_predictions_per_seq}: give --max_seq_length="
            f"{made.max_seq_length} --max_predictions_per_seq={made.max_predictions_per_seq}, or make the "
            "records again."
        )
    size = manifest.tokenizer.get("vocab", {}).get("size")
    if size is not None and size != form.vocab_size:
        raise MorphbertError(
            f"{file} was made with a vocabulary of {size} pieces, but vocab_size in --bert_config_file is "
            f"{form.vocab_size}: set it to {size}, or make the records again with the right vocabulary."
        )


def check_shapes(shape: RecordShape, model: BertConfig) -> None:
    """Holds the record lengths against each other and against the model's positions."""
    if shape.max_predictions_per_seq > shape.max_seq_length:
        raise UsageError(
            f"--max_predictions_per_seq={shape.max_predictions_per_seq} is more than --max_seq_length="
            f"{shape.max_seq_length}: a sequence cannot have more masks than pieces."
        )
    if shape.max_seq_length > model.max_position_embeddings:
        raise MorphbertError(
            f"--max_seq_length={shape.max_seq_length}, but max_position_embeddings in --bert_config_file is "
            f"{model.max_position_embeddings}: shorten the records or enlarge the model's positions."
        )


def check_batch(name: str, batch_size: int, num_replicas: int, parts: int = 1) -> None:
    """Every replica and every part of an accumulated batch gets the same number of sequences."""
    if batch_size % (num_replicas * parts):
        shares = f"{num_replicas} replica(s)" + (f" × {parts} accumulation steps" if parts > 1 else "")
        raise UsageError(
            f"--{name}={batch_size} is not divisible by {shares}: take a multiple of {num_replicas * parts}."
        )


def check_output_dir(path: str) -> None:
    """Makes the output directory and writes a file in it, to see that it can be written."""
    probe = os.path.join(path, ".write-test")
    with writing(path):
        tf.io.gfile.makedirs(path)
        with tf.io.gfile.GFile(probe, "w") as stream:
            stream.write("")
        tf.io.gfile.remove(probe)
