"""A model between two formats: configuration, weights by name, and where its tokenizer lies."""

from __future__ import annotations

import dataclasses
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from morphbert import atomic_files
from morphbert.data.locks import alone
from morphbert.errors import MorphbertError
from morphbert.files import is_remote
from morphbert.model.config import BertConfig
from morphbert.model.parameters import (
    Parameter,
    encoder_parameters,
    initial_value,
    pooler_parameters,
    pretraining_parameters,
)
from morphbert.text.foreign import JSON_NAME, is_foreign
from morphbert.text.metadata import METADATA_NAME
from morphbert.text.sentencepiece_tokenizer import find_model
from morphbert.text.vocabulary import VOCABULARY_NAME, VocabularyDigest
from morphbert.train import storage


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A model between formats: every format is read into it and written from it.

    Attributes:
      config: the model's configuration.
      weights: float32, by google-research/bert's names; heads and pooler may be missing.
      source: the file or folder that they were read from, for messages.
      left_over: names in the source of the weights that a BERT model does not have.
      vocabulary: a vocabulary folder or a plain `vocab.txt`; None where the source has neither.
      do_lower_case: of a plain `vocab.txt` or a Hugging Face folder, which overrides the value there; None keeps it.
      vocabulary_digest: the vocabulary that it was trained with, as its checkpoint says; None where that says nothing.
      details: known facts about the training (JSON-able); may be empty.
      other_network: of a checkpoint of both networks of an ELECTRA, the weights of the other one by their names there,
        without those that both share.
      generator_config: of a discriminator from such a checkpoint, the generator's configuration, where it is known.
    """

    config: BertConfig
    weights: Mapping[str, np.ndarray]
    source: str
    left_over: tuple[str, ...] = ()
    vocabulary: str | None = None
    do_lower_case: bool | None = None
    vocabulary_digest: VocabularyDigest | None = None
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    other_network: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    generator_config: BertConfig | None = None

    def missing(self) -> list[str]:
        """Weights of a pretraining model that are not there, in the order of the network."""
        return [name for name in pretraining_parameters(self.config) if name not in self.weights]

    def completed(self, seed: int = 0) -> Pretrained:
        """Returns the same with initial values for missing weights, drawn from the seed."""
        expected = pretraining_parameters(self.config)
        new = {
            name: initial_value(name, expected[name], self.config, seed).numpy() for name in self.missing()
        }
        ordered = {name: self.weights[name] if name in self.weights else new[name] for name in expected}
        return dataclasses.replace(self, weights=ordered)


def optional_parameters(config: BertConfig) -> set[str]:
    """Returns the weights that a pretrained encoder may lack: pooler and heads."""
    return set(pretraining_parameters(config)) - (
        set(encoder_parameters(config)) - set(pooler_parameters(config))
    )


def check_weights(
    source: str,
    config: BertConfig,
    shapes: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, Parameter] | None = None,
) -> None:
    """Refuses weights that do not fit the configuration.

    Args:
      source: where they are, for the message.
      config: the model's.
      shapes: theirs, by name.
      expected: the required weights; None for a pretrained encoder, which may come without pooler and heads.

    Raises:
      MorphbertError: lists every shape that differs and every weight that is missing.
    """
    optional = optional_parameters(config) if expected is None else set()
    expected = pretraining_parameters(config) if expected is None else expected
    problems = [
        f"{name} is {list(shapes[name])}, the configuration's is {list(parameter.shape)}"
        for name, parameter in expected.items()
        if name in shapes and shapes[name] != parameter.shape
    ]
    problems += [f"{name} is missing" for name in expected if name not in shapes and name not in optional]
    if problems:
        shown = "\n  ".join(problems[:8]) + (f"\n  … and {len(problems) - 8} more" if problems[8:] else "")
        raise MorphbertError(
            f"{source} does not hold the model that its configuration describes:\n  {shown}\n"
            "Is the file complete, and the configuration the one that belongs to it?"
        )


def as_float32(source: str, name: str, values: np.ndarray) -> np.ndarray:
    """Returns a weight as float32.

    Raises:
      MorphbertError: it holds NaN, infinity, a number beyond float32, or whole numbers.
    """
    # bfloat16 of TensorFlow's checkpoints is a type that NumPy does not count among its own ("V").
    if values.dtype.kind not in "fV":
        raise MorphbertError(
            f"{source}: {name} contains {values.dtype}, not floating-point numbers: a quantised or damaged model is "
            "not read. Give the weights in float32, float16 or bfloat16."
        )
    with np.errstate(over="ignore"):
        converted = values.astype(np.float32, copy=False)
    finite = np.isfinite(converted)
    if finite.all():
        return converted
    place = tuple(int(axis) for axis in np.argwhere(~finite)[0])
    value = values[place]
    kind = f"{value} at {list(place)}"
    if np.isfinite(values.astype(np.float64)[place]):
        kind += ", which is beyond float32"
    raise MorphbertError(
        f"{source}: {name} holds {kind} ({int((~finite).sum()):,} such numbers of {finite.size:,}): the model has "
        "diverged or the file is damaged. Take an earlier checkpoint, or copy the file again."
    )


def check_other_network(source: str, weights: Mapping[str, np.ndarray]) -> None:
    """Refuses an ELECTRA whose other network holds NaN or infinity: the two were trained together.

    Args:
      source: where the weights are, for the message.
      weights: those that are not taken, by name; only floating-point numbers are looked at.

    Raises:
      MorphbertError: names the weight and the place in it.
    """
    for name, values in weights.items():
        if values.dtype.kind in "fV":
            as_float32(source, name, values)


def find_vocabulary(folder: str) -> str | None:
    """Returns the vocabulary of a model's folder: the folder itself, its plain `vocab.txt`, or None."""
    if os.path.exists(os.path.join(folder, METADATA_NAME)):
        return folder
    has_pieces = any(os.path.exists(os.path.join(folder, name)) for name in (VOCABULARY_NAME, JSON_NAME))
    if has_pieces and is_foreign(folder):
        return folder
    plain = os.path.join(folder, VOCABULARY_NAME)
    if os.path.exists(plain):
        return plain
    return folder if os.path.isdir(folder) and find_model(folder) else None


def check_keeps(path: str, sources: Iterable[str | None]) -> None:
    """Refuses an output folder that holds a file or folder that is read: the output replaces the whole folder.

    Raises:
      MorphbertError: names both.
    """
    target = os.path.realpath(path)
    for source in sources:
        if source is None or is_remote(source):
            continue
        if os.path.commonpath([os.path.realpath(source), target]) == target:
            raise MorphbertError(
                f"--output_dir={path} holds {source}, which is read and would be lost: give another folder."
            )


@contextmanager
def new_folder(path: str, overwrite: bool = False) -> Iterator[str]:
    """A folder beside `path` to write into, which takes its name when the block ends, or is gone if it fails.

    Raises:
      MorphbertError: `path` exists and holds something, or cannot be written.
    """
    if "://" in path:
        raise MorphbertError(f"{path} is a remote path: write to a local folder, and copy that.")
    target = os.path.realpath(path)  # a link stays, and the folder that it leads to is replaced
    if os.path.isdir(target) and os.listdir(target) and not overwrite:
        raise MorphbertError(
            f"the folder {path} is not empty: give another one, or --overwrite to replace it."
        )
    if os.path.exists(target) and not os.path.isdir(target):
        raise MorphbertError(f"{path} is a file: give a folder.")
    parent, name = os.path.split(target)
    busy = f"another process is writing {path}: wait for it, end it, or give another folder."
    with alone(os.path.join(parent, f".{name}.lock"), busy):
        for entry in os.listdir(parent):  # leftovers of killed processes: a writer would hold the lock
            if re.fullmatch(rf"\.{re.escape(name)}\.[0-9a-f]{{16}}\.partial", entry):
                shutil.rmtree(os.path.join(parent, entry), ignore_errors=True)
        partial, earlier = (os.path.join(parent, f".{name}.{secrets.token_hex(8)}.partial") for _ in range(2))
        try:
            os.mkdir(partial)
            yield partial
            _sync(partial)
            if os.path.isdir(target):
                os.rename(target, earlier)
            os.rename(partial, target)
        except (OSError, tf.errors.OpError) as error:
            raise MorphbertError(
                f"{path} cannot be written: {storage.reason_of(error)}. Check that there is room and that the folder "
                "may be written to."
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(earlier, ignore_errors=True)


def _sync(folder: str) -> None:
    """Brings a folder with all files to the disk, and gives files the permissions that the user's files have."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            atomic_files.usual_permissions(path)
            storage.sync(path)
        storage.sync(place)
