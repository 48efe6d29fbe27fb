"""The files of checkpoints: listing, verification, and atomic creation.

    model.ckpt-1000.index  model.ckpt-1000.data-00000-of-00001  model.ckpt-1000.sha256  checkpoint

`.sha256` has the digests of the other two, as `sha256sum -c` reads them. It is written when their bytes are on the
disk, and before `checkpoint` names them. A damaged or truncated checkpoint is reported and skipped.

With a `Background` the caller waits for the data alone: its bytes are brought to the disk, digested and named while
training goes on. For a remote folder, which may take minutes, the data is written to a local one and copied from there.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.files import is_remote, sha256_of
from morphbert.train.storage import sync, write_text, writing

DIGESTS = ".sha256"
LIST = "checkpoint"
# The errors of reading a damaged checkpoint: they depend on where TensorFlow notices the damage.
DAMAGED = (tf.errors.OpError, RuntimeError, IndexError, ValueError)

# Sizes and times of the files of checkpoints that were found sound in this process.
_sound: dict[str, tuple[tuple[str, int, int], ...]] = {}


class Background:
    """A thread beside training for one task at a time: the next one waits until the one before is done."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._task: Future[None] | None = None

    def start(self, task: Callable[[], None]) -> None:
        """Starts a task. Raises the error of the one before."""
        self.finish()
        self._task = self._thread.submit(task)

    def finish(self) -> None:
        """Returns when no task is running. Raises the error of the last one."""
        task, self._task = self._task, None
        if task is not None:
            task.result()


class Folder:
    """Saves checkpoints `NAME-STEP` in a folder and keeps the newest of them."""

    def __init__(
        self,
        directory: str,
        checkpoint: tf.train.Checkpoint,
        keep: int,
        name: str,
        background: Background | None = None,
    ):
        """`keep`: how many are kept; only those that the file `checkpoint` lists are ever removed."""
        self.directory, self._checkpoint, self._keep, self._name = directory, checkpoint, keep, name
        self._background = background
        # Of the folder, so that the remains of a killed run are found again.
        self._local = f"morphbert-checkpoint-{hashlib.sha256(directory.encode()).hexdigest()[:12]}-"
        if background is not None and is_remote(directory):
            for left in glob.glob(os.path.join(glob.escape(tempfile.gettempdir()), self._local + "*")):
                shutil.rmtree(left, ignore_errors=True)
        self._paths = listed(directory, name)

    @property
    def newest(self) -> str | None:
        """Prefix of the one that was saved last."""
        return self._paths[-1] if self._paths else None

    def save(self, step: int) -> str:
        """Writes `NAME-STEP`: the data, then its digests, then its name in `checkpoint`; each is on the disk before
        the next is written. Then removes the oldest beyond those that are kept. With a background, all after the data
        happens there.
        """
        prefix = os.path.join(self.directory, f"{self._name}-{step}")
        if self._background is None:
            self._write(prefix)
            self._publish(prefix)
            return prefix
        self._background.finish()
        if not is_remote(prefix):
            self._write(prefix)
            self._background.start(lambda: self._publish(prefix))
            return prefix
        here = tempfile.TemporaryDirectory(prefix=self._local)
        source = os.path.join(here.name, os.path.basename(prefix))
        try:
            self._write(prefix, source)
        except (tf.errors.OpError, OSError) as error:
            raise MorphbertError(
                f"{here.name} cannot be written: {_first_line(error)}. Free some space, set TMPDIR to a folder with "
                "room for a checkpoint, or leave out --async_checkpoints."
            ) from error

        def copy_and_publish() -> None:
            with here:
                self._publish(prefix, source)

        self._background.start(copy_and_publish)
        return prefix

    def _write(self, prefix: str, path: str | None = None) -> None:
        """Writes the data, at `path` instead if one is given."""
        tf.io.gfile.makedirs(self.directory)
        _remove(prefix + DIGESTS)
        self._checkpoint.save_counter.assign_add(1)
        with self._nothing_left_of_a_failure():
            self._checkpoint.write(path or prefix)

    def _publish(self, prefix: str, source: str | None = None) -> None:
        """Digests and names the data that was written, after copying it from `source` if one is given."""
        with writing(prefix), self._nothing_left_of_a_failure():
            if source is not None:
                for file in reversed(_files(source)):  # the index last: it makes a checkpoint of the data
                    tf.io.gfile.copy(file, prefix + file.removeprefix(source), overwrite=True)
            vouch(prefix, source)
        self._paths = [path for path in self._paths if path != prefix] + [prefix]
        self._keep_only(self._paths[-self._keep :])

    def drop_all_but(self, steps: set[int]) -> None:
        """Removes the listed checkpoints of other steps."""
        kept = [path for path in self._paths if int(path.rpartition("-")[2]) in steps]
        if kept and kept != self._paths:
            with writing(self.directory):
                self._keep_only(kept)

    def _keep_only(self, kept: list[str]) -> None:
        dropped, self._paths = [path for path in self._paths if path not in kept], kept
        write_list(self.directory, kept)
        for path in dropped:
            for file in (path + ".index", *tf.io.gfile.glob(path + ".data-*"), path + DIGESTS):
                _remove(file)

    @contextlib.contextmanager
    def _nothing_left_of_a_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            remove_unfinished(self.directory, self._name)
            raise


def vouch(prefix: str, source: str | None = None) -> None:
    """Brings a checkpoint that was just written to the disk, and writes its digests beside it.

    `source`: the local prefix that it was copied from, whose bytes are digested instead of reading the copy.
    """
    files = _files(prefix)
    for file in files:
        sync(file)
    lines = []
    for file in files:
        digest = _digest(source + file.removeprefix(prefix) if source else file)
        lines.append(f"{digest}  {os.path.basename(file)}\n")
    sync(os.path.dirname(prefix))
    write_text(prefix + DIGESTS, "".join(lines))


def write_list(directory: str, prefixes: list[str]) -> None:
    """Writes `checkpoint`, by which `tf.train.latest_checkpoint` finds the last of the prefixes.

    It has base names, so that the folder can be moved.
    """
    names = [os.path.basename(prefix) for prefix in prefixes]
    lines = [f'model_checkpoint_path: "{names[-1]}"\n']
    lines += [f'all_model_checkpoint_paths: "{name}"\n' for name in names]
    write_text(os.path.join(directory, LIST), "".join(lines))


def listed(directory: str, name: str, repair: bool = False) -> list[str]:
    """Prefixes that `checkpoint` lists and that are there, the newest last.

    Where that file is lost, cannot be read, or names a newest one that is not there, they are found by their names;
    with `repair` the file is written again.
    """
    state = None
    with contextlib.suppress(*DAMAGED):
        state = tf.train.get_checkpoint_state(directory)
    if state is not None and _files(str(state.model_checkpoint_path)):
        newest = str(state.model_checkpoint_path)
        older = [str(path) for path in state.all_model_checkpoint_paths if str(path) != newest]
        return [path for path in (*older, newest) if _files(path)]
    paths = by_name(directory, name)
    if paths and repair:
        print(
            f"warning: {os.path.join(directory, LIST)}, which lists the checkpoints, is missing, unreadable or names "
            "a missing checkpoint. It was written again with the existing checkpoints "
            f"({', '.join(map(os.path.basename, paths))}).",
            flush=True,
        )
        with contextlib.suppress(MorphbertError), writing(directory):  # it may be read-only
            write_list(directory, paths)
    return paths


def by_name(directory: str, name: str) -> list[str]:
    """Prefixes of the checkpoints `name-STEP` in a directory, the newest last.

    Data without index and digests is none: a run was killed while it was copied there.
    """
    files = tf.io.gfile.listdir(directory) if tf.io.gfile.isdir(directory) else []
    pattern = re.compile(rf"{re.escape(name)}-(\d+)(\.index|{re.escape(DIGESTS)})")
    steps = {int(match[1]) for match in map(pattern.fullmatch, files) if match}
    return [os.path.join(directory, f"{name}-{step}") for step in sorted(steps)]


def steps_in(directory: str) -> set[int]:
    """Returns the steps of all checkpoints of a run, whether they are listed or not."""
    paths = [*listed(directory, "model.ckpt"), *by_name(directory, "model.ckpt")]
    return {int(path.rpartition("-")[2]) for path in paths}


@functools.lru_cache(maxsize=64)  # a command may look for the newest one more than once
def _say_damaged(problem: str, path: str) -> None:
    print(f"warning: {problem} The run uses the one before it, {path}.", flush=True)


def newest_sound(directory: str, repair: bool = False) -> str | None:
    """Returns the newest checkpoint that is sound, or None where the folder has none; damaged ones are named.

    Args:
      directory: the folder.
      repair: write the file that lists them again where it is lost.

    Raises:
      MorphbertError: there are checkpoints, and all of them are damaged: to begin at step 0 would overwrite them.
    """
    candidates = [*reversed(listed(directory, "model.ckpt", repair))]
    candidates += [path for path in reversed(by_name(directory, "model.ckpt")) if path not in candidates]
    problem = None
    for path in candidates:
        try:
            check_sound(path)
        except MorphbertError as error:
            problem = problem or error
            continue
        if problem:
            _say_damaged(str(problem), path)
        return path
    if problem:
        raise MorphbertError(
            f"{problem} None of the checkpoints in {directory} is sound "
            f"({', '.join(map(os.path.basename, candidates))}): give another folder, or move them away to restart."
        )
    return None


def check_sound(prefix: str, read_through: bool = True) -> None:
    """Refuses a changed checkpoint, by its digests or, without digests, by reading it.

    Raises:
      MorphbertError: the checkpoint is damaged; the message says where.
    """
    signature = _signature(prefix)
    if _sound.get(prefix) == signature:
        return
    if not tf.io.gfile.exists(prefix + ".index"):
        raise MorphbertError(f"the checkpoint {prefix} is damaged: {prefix}.index is missing.")
    _check_length(prefix)
    if tf.io.gfile.exists(prefix + DIGESTS):
        for file, expected in _expected(prefix):
            if not tf.io.gfile.exists(file):
                raise MorphbertError(f"the checkpoint {prefix} is damaged: {file} is missing.")
            if (found := _digest(file)) != expected:
                raise MorphbertError(
                    f"the checkpoint {prefix} is damaged: {os.path.basename(file)} has changed since it was written "
                    f"(SHA-256 {found[:12]}…, expected {expected[:12]}…)."
                )
    elif read_through:
        reader = open_checkpoint(prefix)
        for key, dtype in reader.get_variable_to_dtype_map().items():
            if dtype != tf.variant:  # the state of an iterator, which is no array
                tensor(prefix, reader, key)
    else:
        return
    _sound[prefix] = signature


def sound_beside(prefix: str) -> str:
    """Returns the remedy for a damaged checkpoint: names the sound ones beside it; empty if there are none."""
    name = os.path.basename(prefix).rpartition("-")[0]
    sound = []
    for path in by_name(os.path.dirname(prefix), name) if name else []:
        with contextlib.suppress(MorphbertError):
            if path != prefix:
                check_sound(path)
                sound.append(path)
    return f" Sound ones beside it: {', '.join(sound)}." if sound else " Copy it again, or give another one."


def open_checkpoint(prefix: str) -> Any:
    """TensorFlow's reader of a checkpoint.

    Raises:
      MorphbertError: its index cannot be read.
    """
    try:
        return tf.train.load_checkpoint(prefix)
    except DAMAGED as error:
        raise MorphbertError(f"the checkpoint {prefix} cannot be read: {_first_line(error)}") from error


def tensor(prefix: str, reader: Any, key: str) -> Any:
    """Returns a value of a checkpoint.

    Raises:
      MorphbertError: its bytes are damaged or not there.
    """
    try:
        return reader.get_tensor(key)
    except DAMAGED as error:
        raise MorphbertError(
            f"the checkpoint {prefix} is damaged or cut off, at {key}: {_first_line(error)}."
        ) from error


def remove_unfinished(directory: str, name: str = "model.ckpt") -> None:
    """Removes the leftovers of killed saves. No other process may save in the folder meanwhile.

    Among them is data without index and digests: it was being copied to a remote folder, and cannot be read.
    """
    if not tf.io.gfile.isdir(directory):
        return
    left = re.compile(
        rf"{re.escape(name)}-\d+(_temp/?|\.(index|data-\d{{5}}-of-\d{{5}})\.tempstate\d+)"
        rf"|{re.escape(name)}-\d+\.sha256\.partial|\.{re.escape(name)}-\d+\.sha256\.\w+\.partial"
        r"|checkpoint\.tmp[0-9a-f]+|\.?checkpoint\.\w+\.partial|checkpoint\.partial"
    )
    data = re.compile(rf"({re.escape(name)}-\d+)\.data-\d{{5}}-of-\d{{5}}")
    entries = tf.io.gfile.listdir(directory)
    there = set(entries)
    for entry in entries:
        of = data.fullmatch(entry)
        if left.fullmatch(entry) or (of and not {of[1] + ".index", of[1] + DIGESTS} & there):
            path = os.path.join(directory, entry.rstrip("/"))
            with contextlib.suppress(tf.errors.OpError, OSError):
                if tf.io.gfile.isdir(path):
                    tf.io.gfile.rmtree(path)
                else:
                    tf.io.gfile.remove(path)


def _expected(prefix: str) -> Iterator[tuple[str, str]]:
    try:
        with tf.io.gfile.GFile(prefix + DIGESTS, "r") as stream:
            rows = [line.split("  ", 1) for line in stream.read().splitlines()]
        found = [
            (os.path.join(os.path.dirname(prefix), os.path.basename(name)), digest) for digest, name in rows
        ]
    except DAMAGED as error:
        raise MorphbertError(f"the checkpoint {prefix} is damaged: its digests cannot be read.") from error
    if not found:
        raise MorphbertError(f"the checkpoint {prefix} is damaged: {prefix}{DIGESTS} is empty.")
    yield from found


def _check_length(prefix: str) -> None:
    """Refuses a checkpoint whose data is shorter than its index says, without reading it."""
    reader = open_checkpoint(prefix)
    dtypes = reader.get_variable_to_dtype_map()
    needed = sum(
        math.prod(shape) * (1 if dtypes[key] == tf.string else dtypes[key].size)
        for key, shape in reader.get_variable_to_shape_map().items()
    )
    held = sum(tf.io.gfile.stat(file).length for file in tf.io.gfile.glob(prefix + ".data-*"))
    if held < needed:
        raise MorphbertError(
            f"the checkpoint {prefix} is cut off: {held} of at least {needed} bytes are there."
        )


def _files(prefix: str) -> list[str]:
    found = [prefix + ".index"] if tf.io.gfile.exists(prefix + ".index") else []
    return found + sorted(tf.io.gfile.glob(prefix + ".data-*"))


def _signature(prefix: str) -> tuple[tuple[str, int, int], ...]:
    digests = [prefix + DIGESTS] if tf.io.gfile.exists(prefix + DIGESTS) else []
    stats = [(file, tf.io.gfile.stat(file)) for file in (*_files(prefix), *digests)]
    return tuple((file, int(stat.length), int(stat.mtime_nsec)) for file, stat in stats)


def _digest(file: str) -> str:
    with tf.io.gfile.GFile(file, "rb") as stream:
        return sha256_of(stream)


def _remove(file: str) -> None:
    with contextlib.suppress(tf.errors.NotFoundError):
        tf.io.gfile.remove(file)


def _first_line(error: Exception) -> str:
    return (getattr(error, "message", None) or str(error) or type(error).__name__).splitlines()[0].rstrip(".")
