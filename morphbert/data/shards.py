"""The work of the workers for one side of the held-out split: token store → plans → parts → shards.

A plan describes the pieces of an instance. It is a twentieth of the record's size, so plans are shuffled instead of
records. Each plan has a random key. A *part* is a range of keys, whose plans are turned into records and written; a
shard is a range of consecutive parts. The records are therefore sorted by key, which is a uniform shuffle of the whole
corpus and does not depend on the worker of a plan or part.

Plans are made in tasks, and every task has plans for every part. A *bucket* is a range of parts whose plans are sorted
in memory. Without buckets, each part would read the file of each task, and the time would grow with the square of the
text.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from morphbert import atomic_files, files
from morphbert.data import batches, instances
from morphbert.data.batches import Pieces, Statistics
from morphbert.data.config import InstanceConfig
from morphbert.data.manifest import Written
from morphbert.data.outputs import by_length, file_of, part_edges, sequence_lengths
from morphbert.data.sections import PlanTask, Split, plan_tasks
from morphbert.data.store import TokenStore, open_store
from morphbert.errors import MorphbertError
from morphbert.parallel import run_tasks
from morphbert.structured import load_json

# The number of pieces in a planning task and of parts in a bucket bound the memory of a worker.
_PLAN_TOKENS = 1 << 18
_BUCKET_PARTS = 32
_COPY = 1 << 20

Plan = npt.NDArray[np.void]


@dataclass(frozen=True)
class Job:
    """The settings of the workers that make the plans and parts of one side of the split.

    Attributes:
      store, folder: the token store, and the folder of unfinished files.
      num_parts: a multiple of the number of outputs.
    """

    store: str
    folder: str
    split: Split
    config: InstanceConfig
    duplicates: int
    pieces: Pieces
    num_parts: int
    outputs: tuple[str, ...]


# ── Plans ────────────────────────────────────────────────────────────────────────────────────────────────


def make_plans(job: Job, store: TokenStore, num_workers: int) -> int:
    """Makes the plans of all instances and sorts them into buckets; returns their number."""
    tasks = plan_tasks(store, job.split, job.config, _PLAN_TOKENS)
    records = sum(run_tasks(_plan, job, list(enumerate(tasks)), num_workers))
    plans = [_plan_path(job.folder, number) for number in range(len(tasks))]
    buckets = range(0, job.num_parts, _BUCKET_PARTS)
    for _ in run_tasks(_fill_bucket, (job, plans), buckets, min(num_workers, len(buckets))):
        pass
    return records


def _plan_path(folder: str, number: int) -> str:
    return os.path.join(folder, f"plan-{number:06d}")


def _bucket_path(folder: str, part: int) -> str:
    return os.path.join(folder, f"bucket-{part // _BUCKET_PARTS:06d}")


def _plan(job: Job, task: tuple[int, PlanTask]) -> int:
    """Writes the plans of one task; returns their number."""
    path = _plan_path(job.folder, task[0])
    if not os.path.exists(path):
        plan = instances.plan(open_store(job.store), job.split, task[1], job.config, job.duplicates)
        _write_plan(path, plan, job)
    return os.path.getsize(path) // instances.PLAN.itemsize


def _fill_bucket(shared: tuple[Job, Sequence[str]], first: int) -> None:
    """Writes the plans of all tasks for the bucket of parts that begins with `first`."""
    job, plans = shared
    path = _bucket_path(job.folder, first)
    if not os.path.exists(path):
        last = min(first + _BUCKET_PARTS, job.num_parts)
        _write_plan(path, np.concatenate([_read_plan(plan, first, last) for plan in plans]), job)


def _write_plan(path: str, plan: Plan, job: Job) -> None:
    """Writes plans in key order, with the beginning of each part."""
    plan = plan[np.argsort(plan["key"], kind="stable")]
    edges = part_edges(job.num_parts)
    offsets = np.concatenate([[0], np.searchsorted(plan["key"], edges), [len(plan)]]).astype(np.int64)
    with atomic_files.atomic_write(path + ".offsets") as stream:
        stream.write(offsets.tobytes())
    with atomic_files.atomic_write(path) as stream:
        stream.write(plan.tobytes())


def _read_plan(path: str, first: int, last: int) -> Plan:
    """Returns the plans in a file for the parts `first` to `last` - 1."""
    begin, end = np.fromfile(path + ".offsets", np.int64)[[first, last]].tolist()
    return np.fromfile(path, instances.PLAN, end - begin, offset=begin * instances.PLAN.itemsize)


# ── Parts and shards ─────────────────────────────────────────────────────────────────────────────────────


def _part_path(folder: str, number: int, length: int) -> str:
    return os.path.join(folder, f"part-{number:06d}-{length}")


def _make_part(job: Job, number: int) -> list[Statistics]:
    """Writes the records of one part, by length, and then their sums; skips an existing part."""
    lengths = sequence_lengths(job.config)
    paths = [_part_path(job.folder, number, length) for length in lengths]
    sums = paths[0] + ".json"
    if all(map(os.path.exists, paths)) and (made := _read_mark(sums)) is not None:
        return [Statistics(**values) for values in made]
    store = open_store(job.store)
    output = job.outputs[number * len(job.outputs) // job.num_parts]
    of_part = []
    divided = by_length(_read_plan(_bucket_path(job.folder, number), number, number + 1), job.config)
    for path, (config, plan) in zip(paths, divided, strict=True):
        statistics = Statistics()
        with atomic_files.atomic_write(path) as stream, atomic_files.compressed(stream, output) as out:
            for data, of_batch in batches.records(store, plan, config, job.pieces):
                out.write(data)
                statistics.add(of_batch)
        of_part.append(statistics)
    with atomic_files.atomic_write(sums) as stream:
        stream.write(json.dumps([statistics.as_dict() for statistics in of_part]).encode())
    return of_part


class OfLength(NamedTuple):
    """A shard's file for one length: its sums and its size and digest."""

    statistics: Statistics
    written: Written


def write_shards(job: Job, num_workers: int, progress: Callable[[int], None]) -> list[list[OfLength]]:
    """Makes the missing shards in order; returns the content of all shards, by length.

    Args:
      progress: receives the number of examples of each written part.

    Raises:
      MorphbertError: a shard disappears repeatedly.
    """
    outputs = job.outputs
    in_shard = job.num_parts // len(outputs)
    lengths = sequence_lengths(job.config)
    marks = [os.path.join(job.folder, f"shard-{index:06d}.json") for index in range(len(outputs))]
    names = [[file_of(output, job.config, length) for length in lengths] for output in outputs]
    # A shard that is removed while others are made is made again in the next round.
    for _ in range(3):
        missing = [index for index in range(len(outputs)) if not _is_done(marks[index], names[index])]
        if not missing:
            break
        parts = (index * in_shard + part for index in missing for part in range(in_shard))
        made = run_tasks(_make_part, job, parts, num_workers)
        for index in missing:
            numbers = range(index * in_shard, (index + 1) * in_shard)
            sums = _assemble(job, numbers, made, names[index], progress)
            done = [
                [files.identity(name) for name in names[index]],
                [[of.statistics.as_dict(), asdict(of.written)] for of in sums],
            ]
            with atomic_files.atomic_write(marks[index]) as stream:
                stream.write(json.dumps(done).encode())
            for number in numbers:
                for length in lengths:
                    os.unlink(_part_path(job.folder, number, length))
    else:
        raise MorphbertError(
            f"{names[missing[0]][0]} disappears or changes after each write: does another process use this folder?"
        )
    return [
        [OfLength(Statistics(**sums), Written(**written)) for sums, written in of_shard]
        for _, of_shard in map(_read_mark, marks)
    ]


def _is_done(mark: str, names: Sequence[str]) -> bool:
    """Returns whether the files of a shard were finished and have not changed since."""
    done = _read_mark(mark)
    if done is None or not all(map(files.exists, names)):
        return False
    return bool(done[0] == [files.identity(name) for name in names])


def _read_mark(path: str) -> Any:
    """Returns the value of a file that marks finished work; None if it is missing or damaged."""
    try:
        return load_json(files.read_bytes(path)) if os.path.exists(path) else None
    except ValueError:
        return None


def _assemble(
    job: Job,
    parts: range,
    made: Iterator[list[Statistics]],
    names: Sequence[str],
    progress: Callable[[int], None],
) -> list[OfLength]:
    """Joins parts, as soon as they are made, into the files of one shard, one file for each length."""
    lengths = sequence_lengths(job.config)
    statistics = [Statistics() for _ in lengths]
    with ExitStack() as stack:
        streams = [
            atomic_files.Digesting(stack.enter_context(atomic_files.atomic_write(name))) for name in names
        ]
        for number in parts:
            of_part = next(made)
            for stream, length, sums, of_length in zip(streams, lengths, statistics, of_part, strict=True):
                with open(_part_path(job.folder, number, length), "rb") as part:
                    shutil.copyfileobj(part, stream, _COPY)
                sums.add(of_length)
            progress(sum(of_length.examples for of_length in of_part))
    return [
        OfLength(sums, Written(sums.records, stream.bytes, stream.sha256))
        for sums, stream in zip(statistics, streams, strict=True)
    ]
