"""Documents → sections: the units of work and of randomness, cut between eojeols.

A *section* is a stretch of one document, whole where it is short. What becomes of it depends on nothing but its
pieces, its key, and the sentences that random next segments are drawn from.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from morphbert import files
from morphbert.data.chance import Keys, fold, key_of
from morphbert.data.config import InstanceConfig
from morphbert.data.encoding import SPACED
from morphbert.data.store import TokenStore

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

# Documents whose numbers are worked on at once: a corpus may have so many that a few bytes for each are too much.
_DOCUMENTS_AT_ONCE = 1 << 16
# Pieces in a section, in sequences. Only documents of more are cut, and lose one filled-up instance in this many.
_SECTION_SEQUENCES = 64
# How far a cut looks back, and then ahead, for the start of an eojeol. Nearly all eojeols are shorter.
_LOOK_AROUND = 24


@dataclass(frozen=True)
class Split:
    """The documents of one side of the held-out split, and how to draw sentences from them.

    documents: [D] their numbers in the store, ascending.
    before: [D + 1] sentences in those of the split that stand before each, and before what follows the last.
    first_number: what the store's first document is in the corpus, where the store holds a block of it.
    corpus: documents and sentences of the split in all, where the store holds a block of them.
    """

    documents: Int64
    before: Int64
    first_number: int = 0
    corpus: tuple[int, int] | None = None

    @property
    def num_documents(self) -> int:
        return self.corpus[0] if self.corpus else len(self.documents)

    @property
    def num_sentences(self) -> int:
        return self.corpus[1] if self.corpus else int(self.before[-1])


def split_of(store: TokenStore, chosen: Bool, folder: str | None = None) -> Split:
    """The split with the documents where `chosen` [D] is true.

    folder: where its arrays are written, to be mapped; None keeps them in memory, 16 bytes for each document.
    """
    if folder is None:
        parts = list(_parts_of_split(store, chosen))
        documents, before = (np.concatenate([part[which] for part in parts]) for which in (0, 1))
        return Split(documents, np.concatenate([np.zeros(1, np.int64), before]))
    paths = [os.path.join(folder, name) for name in ("documents", "before")]
    with files.atomic_write(paths[0]) as of_documents, files.atomic_write(paths[1]) as of_before:
        of_before.write(bytes(8))
        for documents, before in _parts_of_split(store, chosen):
            of_documents.write(documents.tobytes())
            of_before.write(before.tobytes())
    documents, before = (np.memmap(path, np.int64, "r").view(np.ndarray) for path in paths)
    return Split(documents, before)


def _parts_of_split(store: TokenStore, chosen: Bool) -> Iterator[tuple[Int64, Int64]]:
    """Yields the documents of a split, some at a time, and how many of its sentences stand before what follows each."""
    sentences = 0
    for start in range(0, len(chosen), _DOCUMENTS_AT_ONCE):
        numbers = start + np.flatnonzero(chosen[start : start + _DOCUMENTS_AT_ONCE])
        before = sentences + np.cumsum(store.documents[numbers + 1] - store.documents[numbers])
        yield numbers, before
        sentences = int(before[-1]) if len(before) else sentences


def pieces_of(store: TokenStore, chosen: Bool) -> int:
    """How many pieces the documents have where `chosen` [D] is true."""
    pieces = 0
    for start in range(0, len(chosen), _DOCUMENTS_AT_ONCE):
        here = chosen[start : start + _DOCUMENTS_AT_ONCE]
        pieces += int(np.diff(store.document_tokens[start : start + len(here) + 1])[here].sum())
    return pieces


@dataclass(frozen=True)
class Sections:
    """Arrays of the same length: what is cut into chunks.

    rank: place of the document in its split. key: of the randomness. begin, end: pieces in the store.
    """

    rank: Int64
    key: Keys
    begin: Int64
    end: Int64


class PlanTask(NamedTuple):
    """The documents from rank `first` to `last` - 1 of a split; of a long one alone, some of its sections."""

    first: int
    last: int
    first_part: int = 0
    last_part: int | None = None


def plan_tasks(store: TokenStore, split: Split, config: InstanceConfig, tokens: int) -> list[PlanTask]:
    """Cuts a split into tasks of about `tokens` pieces. They depend on nothing but the arguments."""
    tasks = []
    first = 0
    while first < len(split.documents):
        numbers = split.documents[first : first + _DOCUMENTS_AT_ONCE]
        ends = np.cumsum(store.document_tokens[numbers + 1] - store.document_tokens[numbers])
        documents = max(int(np.searchsorted(ends, tokens, "right")), 1)
        last = first + documents
        length = int(ends[documents - 1])
        parts = -(-length // tokens)
        if parts == 1:
            tasks.append(PlanTask(first, last))
        else:  # a document too long for one task
            sections_in_all = max(length // _section_size(config), 1)
            edges = np.linspace(0, sections_in_all, min(parts, sections_in_all) + 1).astype(int).tolist()
            tasks += [PlanTask(first, last, a, b) for a, b in itertools.pairwise(edges)]
        first = last
    return tasks


def _section_size(config: InstanceConfig) -> int:
    return _SECTION_SEQUENCES * config.max_seq_length


def sections(
    store: TokenStore, split: Split, task: PlanTask, config: InstanceConfig, duplicates: int
) -> Sections:
    """The sections of a task, each one `duplicates` times."""
    rank = np.arange(task.first, task.last)
    numbers = split.documents[task.first : task.last]
    begin = store.document_tokens[numbers]
    end = store.document_tokens[numbers + 1]
    size = _section_size(config)
    # A last section that would be short is joined with the one before.
    parts = np.maximum((end - begin) // size, 1)
    part = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    rank, numbers, begin, end, parts = (np.repeat(a, parts) for a in (rank, numbers, begin, end, parts))
    starts = np.where(part == 0, begin, at_space(store, begin + part * size, begin, end))
    ends = np.where(part == parts - 1, end, np.roll(starts, -1))
    if task.last_part is not None:
        chosen = slice(task.first_part, task.last_part)
        rank, numbers, part, starts, ends = (a[chosen] for a in (rank, numbers, part, starts, ends))
    # The key is of the document's number in the corpus, so that the split does not change it.
    duplicate = np.arange(duplicates)[:, None]
    key = fold(fold(fold(key_of(config.random_seed), duplicate), numbers + split.first_number), part)
    return Sections(*(np.broadcast_to(a, key.shape).reshape(-1) for a in (rank, key, starts, ends)))


def at_space(store: TokenStore, position: Int64, least: Int64, most: Int64) -> Int64:
    """The start of an eojeol near each position, so that a cut there divides none.

    The last one at or before the position that is above `least`; where there is none, the next one that is
    at most `most`; where there is none either (a word as long as a sequence), the position itself.
    """
    moved: Int64 = position.copy()
    left = np.arange(len(position))
    for step in (-1, 1):
        candidates = position[left, None] + step * np.arange(_LOOK_AROUND)
        within = (candidates > least[left, None]) & (candidates <= most[left, None])
        marks = store.marks[np.clip(candidates, 0, store.num_tokens - 1)]
        # Past the last piece there is nothing left to divide.
        spaced = within & (((marks & SPACED) != 0) | (candidates >= store.num_tokens))
        found = spaced.argmax(axis=1)
        has = spaced[np.arange(len(left)), found]
        moved[left[has]] += step * found[has]
        left = left[~has]
    return moved
