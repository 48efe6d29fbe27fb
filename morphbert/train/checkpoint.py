"""Checkpoints: the complete state for an exact resume, in flat `tf.train.Checkpoint` files.

    model.ckpt-1000.index, model.ckpt-1000.data-00000-of-00001, model.ckpt-1000.sha256, checkpoint

The content by path: `model/NAME` (weights under google-research/bert's names), `optimizer/step`,
`optimizer/adam_m/NAME`, `optimizer/adam_v/NAME`, `average/NAME` (with `--ema_decay`: the moving average of the
weights, which other commands read), `loss_scale` (with float16), `iterator` (position in the data, or
`iterator/L` for each length) and `run` (a JSON string,
see `morphbert.train.run_state`). A run that is killed while saving leaves the previous checkpoint as the newest; see
`morphbert.train.checkpoint_files`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.model.electra import GENERATOR, TABLE_DIFFERENCE, with_differences, with_whole_tables
from morphbert.model.parameters import Parameter, TrainableModel
from morphbert.structured import parse_json, refuse_newer
from morphbert.train.checkpoint_files import (
    DAMAGED,
    Background,
    Folder,
    check_sound,
    newest_sound,
    open_checkpoint,
    remove_unfinished,
    sound_beside,
    steps_in,
    tensor,
    vouch,
)
from morphbert.train.cluster.workers import ALONE, Cluster
from morphbert.train.optimizers.optimizer import Optimizer
from morphbert.train.run_state import FORMAT_VERSION, Description, Position, RunState
from morphbert.train.storage import writing
from morphbert.train.train_state import TrainState

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SLOT = re.compile(r"/adam_[mv]$")
_AVERAGE = "average/"
# The beginnings of the names of weights in checkpoints of google-research/bert, albert and electra.
_TENSORFLOW_1 = r"(bert|cls|electra|discriminator_predictions|generator|generator_predictions)/"
_RUN_KEY = "run/.ATTRIBUTES/py_state"


@dataclasses.dataclass(frozen=True)
class Restored:
    """The start of a continued run: the newest checkpoint, its step, and its description of the run."""

    path: str
    step: int
    description: Description
    position: Position


class Checkpoints:
    """Saves and restores one run in its output directory.

    Of several workers the first writes the checkpoint, and each other one its position in the data beside it, in
    `workers/NUMBER/position.ckpt-STEP`, before the checkpoint has its name: one that is found is whole.

    Args of the constructor: `reached` is called by each worker and returns when all have called it. With
    `asynchronous`, a save returns when the data is written; the rest is done beside training, until `finish`.
    """

    def __init__(
        self,
        directory: str,
        train_state: TrainState,
        iterator: Any,
        state: RunState,
        max_to_keep: int,
        *,
        cluster: Cluster = ALONE,
        reached: Callable[[], object] = lambda: None,
        asynchronous: bool = False,
    ):
        self._cluster = cluster
        self._reached = reached
        self._optimizer = train_state.optimizer
        self._parts = {
            "model": train_state.model.parameters,
            "optimizer": train_state.optimizer,
            "run": state,
        }
        if train_state.loss_scale is not None:
            self._parts["loss_scale"] = train_state.loss_scale
        if train_state.average is not None:
            self._parts["average"] = train_state.average.model.parameters
        self._iterator = iterator
        position = {} if iterator is None else {"iterator": iterator}
        self._checkpoint = checkpoint = tf.train.Checkpoint(**self._parts, **position)

        best = os.path.join(directory, "best")
        if cluster.is_chief:
            for folder in (directory, best):
                remove_unfinished(folder)
        self._background = Background() if asynchronous else None
        self._folder = Folder(directory, checkpoint, max_to_keep, "model.ckpt", self._background)
        self._best = Folder(best, checkpoint, 1, "model.ckpt", self._background)
        if not cluster.is_chief:
            positions = os.path.join(directory, "workers", str(cluster.index))
            remove_unfinished(positions, "position.ckpt")
            # One more than there are checkpoints: a kill may come between the two. And one more where the first
            # worker may not have named the checkpoint before the next position is written.
            kept = max_to_keep + (2 if asynchronous else 1)
            self._positions = Folder(positions, tf.train.Checkpoint(**position), kept, "position.ckpt")
            # Positions without a checkpoint, of saves that were cut off, would push out those with one.
            self._positions.drop_all_but(steps_in(directory))

    @property
    def newest(self) -> str | None:
        """Returns the prefix of the newest checkpoint in the directory."""
        return self._folder.newest

    def finish(self) -> None:
        """Returns when all that was saved is on the disk and named. Of several workers, each has to call it.

        Raises:
          MorphbertError: it could not be written.
        """
        if self._background is not None:
            self._background.finish()
            self._reached()  # from here on, all workers find the checkpoint that the first one has named

    @contextlib.contextmanager
    def finishing(self) -> Iterator[None]:
        """Calls `finish` at the end. After an error it waits as well, so that nothing is written after the run."""
        try:
            yield
        except BaseException:
            if self._background is not None:
                try:
                    self._background.finish()
                except MorphbertError as error:
                    print(f"warning: {error}", file=sys.stderr, flush=True)
            raise
        self.finish()

    def save(self, step: int) -> str:
        """Writes `model.ckpt-STEP` and drops the oldest beyond `max_to_keep`; returns its prefix."""
        path = os.path.join(self._folder.directory, f"model.ckpt-{step}")
        if not self._cluster.is_chief:
            with writing(self._positions.directory):
                self._positions.save(step)
        self._reached()
        if self._cluster.is_chief:
            with writing(path):
                self._folder.save(step)
        return path

    def seconds_of_save(self) -> float:
        """Writes a checkpoint aside, removes it again, and returns the seconds of writing; 0 where others write."""
        if not self._cluster.is_chief:
            return 0.0
        aside = os.path.join(self._folder.directory, "timing")
        started = time.monotonic()
        with writing(aside):
            tf.io.gfile.makedirs(aside)
            self._checkpoint.write(os.path.join(aside, "model.ckpt"))
            vouch(os.path.join(aside, "model.ckpt"))
        seconds = time.monotonic() - started
        tf.io.gfile.rmtree(aside)
        return seconds

    def save_best(self, step: int) -> str:
        """Writes `best/model.ckpt-STEP` in place of the one that was best so far; returns its prefix."""
        path = os.path.join(self._best.directory, f"model.ckpt-{step}")
        if self._cluster.is_chief:
            with writing(path):
                self._best.save(step)
        return path

    def restore(self, path: str, with_data_position: bool) -> None:
        """Restores everything; without the data position where the data is another than it was."""
        parts = dict(self._parts)
        _check_moments(path, self._optimizer)
        keys = open_checkpoint(path).get_variable_to_shape_map()
        if not any(key.startswith("loss_scale/") for key in keys):
            parts.pop("loss_scale", None)  # of a run in another dtype: the scale finds itself in a few steps
        if not _has_average(keys):
            parts.pop("average", None)  # of a run without: the caller begins one
        position = {"iterator": self._iterator} if with_data_position and self._iterator is not None else {}
        if position and not self._cluster.is_chief:
            position_file = os.path.join(
                self._positions.directory, f"position.ckpt-{path.rpartition('-')[2]}"
            )
            if not tf.io.gfile.exists(position_file + ".index"):
                raise MorphbertError(
                    f"{position_file} is missing: where this worker stands in the data. All workers have to see the "
                    "same --output_dir."
                )
            _restore(position_file, position)
            position = {}
        _restore(path, {**parts, **position})


def _check_moments(path: str, optimizer: Optimizer) -> None:
    """Refuses a checkpoint whose optimizer kept another state.

    Raises:
      MorphbertError: names a moment that is missing.
    """
    keys = open_checkpoint(path).get_variable_to_shape_map()
    for moment in dict.fromkeys(chain.from_iterable(optimizer.moments.values())):
        there = weight_names(keys, f"optimizer/{moment}/")
        missing = [name for name, some in optimizer.moments.items() if moment in some and name not in there]
        if missing:
            raise MorphbertError(
                f"{path} has no {moment} of {missing[0]}, which --optimizer={optimizer.config.optimizer} keeps. "
                "Continue with the run's --optimizer, or start another run from it with --init_checkpoint and "
                "a new --output_dir."
            )


def _restore(path: str, parts: Mapping[str, Any]) -> None:
    try:
        tf.train.Checkpoint(**parts).restore(path).expect_partial().assert_existing_objects_matched()
    except DAMAGED as error:
        reason = getattr(error, "message", None) or str(error)
        raise MorphbertError(
            f"the checkpoint {path} is damaged or cut off: {reason.splitlines()[0]}"
        ) from error


def latest(directory: str, repair: bool = True) -> Restored | None:
    """Returns the newest sound checkpoint of an output directory, or None if it contains none.

    With `repair` a lost list of checkpoints is written again; of several workers the first one does this.

    Raises:
      MorphbertError: all are damaged, or it is of another program or of a newer version of this one.
    """
    path = newest_sound(directory, repair)
    if path is None:
        return None
    saved = read_state(path)
    if saved is None or saved.step is None:
        raise MorphbertError(
            f"{path} is not a checkpoint of a run of this program, so it cannot be continued. Give another "
            f"--output_dir, and --init_checkpoint={path} to start from its weights."
        )
    position = Position(saved.state.get("taken", []), saved.state.get("data_began", 0))
    return Restored(path, saved.step, Description.from_json(saved.state), position)


@dataclasses.dataclass(frozen=True)
class State:
    """The description in a checkpoint of this program; without a step it is a model, not a run."""

    step: int | None
    state: dict[str, Any]


def read_state(prefix: str) -> State | None:
    """Returns the state of the checkpoint's run; None for a checkpoint of another program.

    Raises:
      MorphbertError: it is unreadable, or of a newer version of this program.
    """
    reader = open_checkpoint(prefix)
    keys = reader.get_variable_to_shape_map()
    if _RUN_KEY not in keys:
        return None
    state = parse_json(tensor(prefix, reader, _RUN_KEY), f"{prefix}, the state of its run")
    if not isinstance(state, dict) or not isinstance(state.get("format_version"), int):
        raise MorphbertError(
            f"{prefix}: the state of its run has no format_version: the checkpoint is damaged, or of another program."
        )
    refuse_newer(prefix, state["format_version"], FORMAT_VERSION, state.get("morphbert_version"))
    step = "optimizer/step" + _VALUE
    return State(int(tensor(prefix, reader, step)) if step in keys else None, state)


def resolve(path: str) -> str:
    """Returns the prefix of a checkpoint, given by its prefix or by a directory, whose newest undamaged one is used.

    Raises:
      MorphbertError: there is no checkpoint, or the one that is meant is damaged.
    """
    prefix: str | None = path
    if tf.io.gfile.isdir(path):
        # Google's released folders have no file that lists them.
        alone = tf.io.gfile.glob(os.path.join(path, "*.index"))
        prefix = alone[0] if len(alone) == 1 else newest_sound(path)
        if prefix is None:
            with contextlib.suppress(*DAMAGED):  # of an empty file that should name the newest
                prefix = tf.train.latest_checkpoint(path)
    prefix = re.sub(r"\.(index|data-\d{5}-of-\d{5}|meta)$", "", prefix) if prefix else prefix
    if prefix is None or not tf.io.gfile.exists(prefix + ".index"):
        raise MorphbertError(
            f"there is no checkpoint at {path}: give a folder that contains one, or its prefix, for example "
            "out/model/model.ckpt-1000 (without .index)."
        )
    try:
        check_sound(str(prefix), read_through=False)
    except MorphbertError as error:
        raise MorphbertError(f"{error}{sound_beside(str(prefix))}") from error
    return str(prefix)


def read_weights(path: str, as_stored: bool = False) -> dict[str, np.ndarray]:
    """Returns a checkpoint's weights by google-research/bert's names: one of this program's, or a TensorFlow 1 one.

    Where a checkpoint has a moving average of the weights, that is taken, and a line on stderr says so. Optimizer slots
    and counters are left out.

    Raises:
      MorphbertError: there is no readable checkpoint, or none of its names is BERT's.
    """
    prefix = resolve(path)
    reader = open_checkpoint(prefix)
    keys = reader.get_variable_to_shape_map()
    names = weight_names(keys, _AVERAGE) if _has_average(keys) else weight_names(keys)
    if _has_average(keys):
        print(
            f"{prefix}: the moving average of the weights is taken (--ema_decay)", file=sys.stderr, flush=True
        )
    if not names:
        raise MorphbertError(f"{prefix} contains no BERT weights; it has {', '.join(sorted(keys)[:5])}…")
    stored = {name: tensor(prefix, reader, key) for name, key in names.items()}
    return stored if as_stored else with_whole_tables(stored)


def has_average(prefix: str) -> bool:
    """Returns whether a checkpoint has a moving average of the weights."""
    return _has_average(open_checkpoint(prefix).get_variable_to_shape_map())


def _has_average(keys: Iterable[str]) -> bool:
    return any(key.startswith(_AVERAGE) and key.endswith(_VALUE) for key in keys)


def other_names(path: str) -> list[str]:
    """Returns a TensorFlow 1 checkpoint's content besides BERT's weights; an optimizer's slots are only counted.

    Empty for a checkpoint of this program, whose other parts belong to its run.
    """
    keys = open_checkpoint(resolve(path)).get_variable_to_shape_map()
    if any(key.endswith(_VALUE) for key in keys):
        return []
    slots = [key for key in keys if _SLOT.search(key)]
    others = sorted(set(keys) - set(slots) - set(weight_names(keys).values()))
    return others + ([f"{len(slots)} slots of an optimizer"] if slots else [])


def read_shapes(prefix: str) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a checkpoint's weights by google-research/bert's names; reads only the index."""
    shapes = open_checkpoint(prefix).get_variable_to_shape_map()
    return {name: tuple(shapes[key]) for name, key in weight_names(shapes).items()}


def shapes_of(weights: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of weights in memory, by name."""
    return {name: tuple(values.shape) for name, values in weights.items()}


def read_slots(path: str) -> dict[str, np.ndarray]:
    """Returns the optimizer's moments, by google-research/bert's names: `…/adam_m` and `…/adam_v`; and `global_step`.

    Empty where the checkpoint is not one of a run of this program.

    Raises:
      MorphbertError: its optimizer is not one of Adam's kind, or the weights that are read are an average.
    """
    prefix = resolve(path)
    reader = open_checkpoint(prefix)
    keys = reader.get_variable_to_shape_map()
    if "optimizer/step" + _VALUE not in keys:
        return {}
    if _has_average(keys):
        raise MorphbertError(
            f"{prefix}: its moments are those of the last weights, and the export takes their moving average: "
            "export it without --with_optimizer."
        )
    if TABLE_DIFFERENCE in weight_names(keys):
        raise MorphbertError(
            f"{prefix}: its word embeddings are trained as a table and a difference "
            "(--embedding_sharing=gradient_disentangled), and no other program knows their moments: export it without "
            "--with_optimizer."
        )
    slots = {"global_step": np.asarray(tensor(prefix, reader, "optimizer/step" + _VALUE), np.int64)}
    for slot in ("adam_m", "adam_v"):
        names = weight_names(keys, f"optimizer/{slot}/")
        if len(names) < len(weight_names(keys)):
            raise MorphbertError(
                f"{prefix}: its optimizer keeps {slot} of {len(names)} of {len(weight_names(keys))} weights, and "
                "google-research/bert's keeps it of all: export it without --with_optimizer."
            )
        slots |= {f"{name}/{slot}": tensor(prefix, reader, key) for name, key in names.items()}
    return slots


def weight_names(keys: Iterable[str], part: str = "model/") -> dict[str, str]:
    """Returns the weights among a checkpoint's keys: name → key. Of this program under `part`, else TensorFlow 1's.

    `model/bert.Spooler.Sdense.Sbias/.ATTRIBUTES/VARIABLE_VALUE` is `bert/pooler/dense/bias`; so is `electra/` of
    google-research/electra `bert/`.
    """
    ours = {
        key[len(part) : -len(_VALUE)].replace(".S", "/").replace("..", "."): key
        for key in keys
        if key.startswith(part) and key.endswith(_VALUE)
    }
    return ours or {
        re.sub(r"^electra/", "bert/", key): key
        for key in keys
        if re.match(_TENSORFLOW_1, key) and not _SLOT.search(key)
    }


def check_shapes(
    path: str, shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, Parameter], exact: bool
) -> None:
    """Refuses the weights of another model.

    Args:
      path: where the weights come from, for the message.
      shapes: theirs, by name.
      expected: the model's parameters by name.
      exact: whether every expected weight has to be there, as when a run is continued.

    Raises:
      MorphbertError: lists the names whose shapes differ and, with `exact`, those that are missing.
    """
    problems = [
        f"{name} is {list(shapes[name])}, the model's is {list(parameter.shape)}"
        for name, parameter in expected.items()
        if name in shapes and shapes[name] != parameter.shape
    ]
    if exact:
        problems += [f"{name} is missing" for name in expected if name not in shapes]
        problems += [f"{name} is not in the model" for name in shapes if name not in expected]
    if problems:
        shown = "\n  ".join(problems)
        other = "--output_dir" if exact else "--init_checkpoint"
        both = any(name.startswith(GENERATOR) for name in (*shapes, *expected))
        more = " and its --objective, --generator_size and --embedding_sharing" if both else ""
        raise MorphbertError(
            f"{path} is the checkpoint of another model than --bert_config_file describes:\n  {shown}\n"
            f"Give the checkpoint's configuration{more}, or another {other}."
        )


WeightReader = Callable[[str], Mapping[str, np.ndarray]]


def load_weights(
    path: str,
    model: TrainableModel,
    expected: Mapping[str, Parameter],
    read: WeightReader = read_weights,
) -> list[str]:
    """Initialises a model from a checkpoint (`--init_checkpoint`).

    Args:
      path: the argument of `read`.
      read: path → weights by name; another one knows more formats than this module.

    Returns:
      The names that the checkpoint does not have, which keep their initial values.
    """
    weights = read(path)
    if TABLE_DIFFERENCE in expected:
        weights = with_differences(weights)
    check_shapes(path, shapes_of(weights), expected, exact=False)
    for name, variable in model.parameters.items():
        if name in weights:
            variable.assign(weights[name])
    return [name for name in model.parameters if name not in weights]
