"""Cuts documents into sections, the units of work and of randomness, between eojeols.

A *section* is a short document or a part of a long one. Its instances depend only on its pieces, its key, and the
sentences from which random next segments are drawn.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from morphbert import atomic_files
from morphbert.data.arrays import Bool, Int64
from morphbert.data.chance import Keys, fold, key_of, uniform
from morphbert.data.config import InstanceConfig
from morphbert.data.encoding import SPACED
from morphbert.data.store import TokenStore

# The number of documents processed at once: a corpus may have too many for even a few bytes each.
_DOCUMENTS_AT_ONCE = 1 << 16
# The length of a section in sequences. Only longer documents are cut; each cut leaves one instance in this many
# unfilled.
_SECTION_SEQUENCES = 64
# The draw from a document's key that decides whether it is used once more.
_ONCE_MORE = 0
# The distance that a cut searches backward, and then forward, for the start of an eojeol. Nearly all eojeols are
# shorter.
_LOOK_AROUND = 24


@dataclass(frozen=True)
class Split:
    """The documents of one side of the held-out split, with the numbers for drawing their sentences.

    Attributes:
      documents: [D] their numbers in the store, ascending.
      before: [D + 1] the number of the split's sentences before each document; the last entry is their total.
      first_number: the number of the store's first document in the corpus, if the store is a block of it.
      corpus: the total numbers of documents and sentences of the split, if the store is a block of the corpus.
      times: for each source of a mixture, the end of its documents in the store and the average number of times that a
        document is used; empty if all documents are used equally often.
    """

    documents: Int64
    before: Int64
    first_number: int = 0
    corpus: tuple[int, int] | None = None
    times: tuple[tuple[int, float], ...] = ()

    @property
    def num_documents(self) -> int:
        return self.corpus[0] if self.corpus else len(self.documents)

    @property
    def num_sentences(self) -> int:
        return self.corpus[1] if self.corpus else int(self.before[-1])


def split_of(store: TokenStore, chosen: Bool, folder: str | None = None) -> Split:
    """Returns the split of the documents where `chosen` [D] is true.

    Args:
      folder: the folder for its mapped arrays; None keeps them in memory, 16 bytes per document.
    """
    if folder is None:
        parts = list(_parts_of_split(store, chosen))
        documents, before = (np.concatenate([part[which] for part in parts]) for which in (0, 1))
        return Split(documents, np.concatenate([np.zeros(1, np.int64), before]))
    paths = [os.path.join(folder, name) for name in ("documents", "before")]
    with (
        atomic_files.atomic_write(paths[0]) as of_documents,
        atomic_files.atomic_write(paths[1]) as of_before,
    ):
        of_before.write(bytes(8))
        for documents, before in _parts_of_split(store, chosen):
            of_documents.write(documents.tobytes())
            of_before.write(before.tobytes())
    documents, before = (np.memmap(path, np.int64, "r").view(np.ndarray) for path in paths)
    return Split(documents, before)


def _parts_of_split(store: TokenStore, chosen: Bool) -> Iterator[tuple[Int64, Int64]]:
    """Yields some documents of a split at a time, and the number of its sentences up to the end of each."""
    sentences = 0
    for start in range(0, len(chosen), _DOCUMENTS_AT_ONCE):
        numbers = start + np.flatnonzero(chosen[start : start + _DOCUMENTS_AT_ONCE])
        before = sentences + np.cumsum(store.documents[numbers + 1] - store.documents[numbers])
        yield numbers, before
        sentences = int(before[-1]) if len(before) else sentences


def pieces_of(store: TokenStore, chosen: Bool) -> int:
    """Returns the number of pieces of the documents where `chosen` [D] is true."""
    pieces = 0
    for start in range(0, len(chosen), _DOCUMENTS_AT_ONCE):
        here = chosen[start : start + _DOCUMENTS_AT_ONCE]
        pieces += int(np.diff(store.document_tokens[start : start + len(here) + 1])[here].sum())
    return pieces


@dataclass(frozen=True)
class Sections:
    """The stretches that are cut into chunks, as arrays of the same length.

    Attributes:
      rank: the place of the document in its split.
      key: the key of the randomness.
      begin, end: the range of pieces in the store.
    """

    rank: Int64
    key: Keys
    begin: Int64
    end: Int64


class PlanTask(NamedTuple):
    """The documents of rank `first` to `last` - 1 of a split, or some sections of a single long document."""

    first: int
    last: int
    first_part: int = 0
    last_part: int | None = None


def plan_tasks(store: TokenStore, split: Split, config: InstanceConfig, tokens: int) -> list[PlanTask]:
    """Cuts a split into tasks of about `tokens` pieces, which depend only on the arguments."""
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
    """Returns the sections of a task, each `duplicates` times."""
    rank = np.arange(task.first, task.last)
    numbers = split.documents[task.first : task.last]
    begin = store.document_tokens[numbers]
    end = store.document_tokens[numbers + 1]
    size = _section_size(config)
    # A short last section is joined with the one before.
    parts = np.maximum((end - begin) // size, 1)
    part = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    rank, numbers, begin, end, parts = (np.repeat(a, parts) for a in (rank, numbers, begin, end, parts))
    starts = np.where(part == 0, begin, at_space(store, begin + part * size, begin, end))
    ends = np.where(part == parts - 1, end, np.roll(starts, -1))
    if task.last_part is not None:
        chosen = slice(task.first_part, task.last_part)
        rank, numbers, part, starts, ends = (a[chosen] for a in (rank, numbers, part, starts, ends))
    copies = None
    if split.times:
        copies = copies_of(split.times, numbers, config.random_seed)
        duplicates = int(copies.max(initial=0))
    # The key depends on the document's number in the corpus, so the split does not change it.
    duplicate = np.arange(duplicates)[:, None]
    key = fold(fold(fold(key_of(config.random_seed), duplicate), numbers + split.first_number), part)
    whole = tuple(np.broadcast_to(a, key.shape) for a in (rank, key, starts, ends))
    if copies is None:
        return Sections(*(a.reshape(-1) for a in whole))
    return Sections(*(a[duplicate < copies] for a in whole))


def copies_of(times: Sequence[tuple[int, float]], numbers: Int64, seed: int) -> Int64:
    """Returns how often documents are gone through: a function of the seed and their numbers [N].

    Of documents that are gone through 2.3 times, three in ten are gone through three times and the others twice.
    """
    ends = np.array([end for end, _ in times])
    wanted = np.array([number for _, number in times])[np.searchsorted(ends, numbers, "right")]
    whole = np.floor(wanted)
    drawn = uniform(fold(key_of(seed), numbers), _ONCE_MORE) < wanted - whole
    copies: Int64 = whole.astype(np.int64) + drawn
    return copies


def at_space(store: TokenStore, position: Int64, least: Int64, most: Int64) -> Int64:
    """Returns the start of an eojeol near each position, where a cut divides no eojeol.

    The result is the last start at or before the position that is above `least`; otherwise the next start that is at
    most `most`; otherwise (a word as long as a sequence) the position itself.
    """
    moved: Int64 = position.copy()
    left = np.arange(len(position))
    for step in (-1, 1):
        candidates = position[left, None] + step * np.arange(_LOOK_AROUND)
        within = (candidates > least[left, None]) & (candidates <= most[left, None])
        marks = store.marks[np.clip(candidates, 0, store.num_tokens - 1)]
        # Nothing follows the last piece, so its end divides nothing.
        spaced = within & (((marks & SPACED) != 0) | (candidates >= store.num_tokens))
        found = spaced.argmax(axis=1)
        has = spaced[np.arange(len(left)), found]
        moved[left[has]] += step * found[has]
        left = left[~has]
    return moved
