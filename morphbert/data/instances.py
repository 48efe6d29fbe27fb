"""Plans instances from documents: the pieces of the store, the segments and the label of each.

Terms. A *section* is a short document or a part of a long one: the unit of work and of randomness. Each duplicate of a
section is cut into *chunks* of the target length; a chunk becomes one instance. A *boundary* is the first piece of a
sentence.

Differences from google-research/bert (morphbert.data.google.instances), with their reasons:

- A chunk is filled up to the target length, and a sentence that does not fit continues in the next chunk, cut between
  eojeols. No part of a sentence is dropped, and no room is left empty. The original takes whole sentences and drops
  pieces beyond the length.
- B is random with probability one half for every instance. The original's share is 0.55 to 0.68, because a chunk
  of one sentence always gets a random B. Here such a chunk is divided between two eojeols; a random B for it also
  starts within a sentence, so that the cut does not reveal the label.
- A random B is drawn from all sentences of the other documents, with equal probability; the original draws a document
  first, so sentences of short documents occur more often.
- Random next sentences do not halve the rest of a document again and again.
- The choice of a short instance is drawn for each instance, not once for a document.

There are two limits. A document of a single piece has no second segment, so its B is always random (and sentence order
omits it). If the whole text is one document, a random B comes from another part of it, not adjacent to A; without such
a part, B is the actual next one.

Everything is computed for all sections and duplicates of a task at once, one chunk of each at a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from morphbert.data.arrays import Bool, Int64
from morphbert.data.chance import Keys, below, bits, fold, uniform
from morphbert.data.config import InstanceConfig
from morphbert.data.encoding import SPACED
from morphbert.data.sections import PlanTask, Sections, Split, at_space, sections
from morphbert.data.store import TokenStore

# One instance: `first` and `second` are the ranges of the segments' pieces in the store; `key` determines its place in
# the shuffled order and seeds its masks.
PLAN = np.dtype(
    [
        ("key", "<u8"),
        ("first", "<i8"),
        ("second", "<i8"),
        ("first_length", "<u4"),
        ("second_length", "<u4"),
        ("label", "<u1"),
    ]
)

# Counters of the draws of one instance.
_SHORT, _TARGET, _BOUNDARY, _COIN, _SENTENCE, _WITHIN, _KEY = range(7)


class SegmentCut(NamedTuple):
    """How random next segments are cut from their sentences; all [N].

    Attributes:
      within: whether they start after the first eojeol of the sentence.
      room: the largest number of their pieces.
      key: the key of their instance.
    """

    within: Bool
    room: Int64
    key: Keys


class Wanted(NamedTuple):
    """Random next segments to find; all [N].

    Attributes:
      sentence: the number of their first sentence among the sentences of the split.
      cut: how they are cut from it.
    """

    sentence: Int64
    cut: SegmentCut

    def at(self, rows: Int64) -> Wanted:
        """Returns the segments of some rows."""
        within, room, key = self.cut
        return Wanted(self.sentence[rows], SegmentCut(within[rows], room[rows], key[rows]))

    @classmethod
    def joined(cls, parts: list[Wanted]) -> Wanted:
        """Returns the segments of several values, one after the other."""
        within, room, key = zip(*(part.cut for part in parts), strict=True)
        cut = SegmentCut(np.concatenate(within), np.concatenate(room), np.concatenate(key))
        return cls(np.concatenate([part.sentence for part in parts]), cut)


# Finds segments: their first pieces and their numbers of pieces, both [N].
Find = Callable[[Wanted], tuple[Int64, Int64]]


class _Corpus(NamedTuple):
    """The pieces of one side of the split, and how its random next segments are found."""

    store: TokenStore
    split: Split
    find: Find


class _Chunks(NamedTuple):
    """The next chunk of each section, from `begin` to `end`, with its properties; all [sections]."""

    begin: Int64
    end: Int64
    section_end: Int64
    target: Int64
    rank: Int64
    key: Keys


def plan(
    store: TokenStore,
    split: Split,
    task: PlanTask,
    config: InstanceConfig,
    duplicates: int,
    find: Find | None = None,
) -> npt.NDArray[np.void]:
    """Returns all instances of a task in all duplicates, as PLAN rows in no particular order.

    Args:
      find: finds random next segments outside the task's documents; None searches the store. It is called for the rows
        with label 1, in their order.
    """
    made = sections(store, split, task, config, duplicates)
    corpus = _Corpus(store, split, find or finder(store, split))
    rows = [step for step in _steps(corpus, made, config) if len(step)]
    return np.concatenate(rows) if rows else np.zeros(0, PLAN)


def _steps(corpus: _Corpus, made: Sections, config: InstanceConfig) -> Iterator[npt.NDArray[np.void]]:
    """Yields the n-th instance of every section that has one."""
    store = corpus.store
    longest = config.max_seq_length - (3 if config.objective != "none" else 2)
    rank, section_key, begin, end = made.rank, made.key, made.begin, made.end
    position = begin
    step = 0
    while len(position):
        if config.objective != "none":
            position = _with_company(store, position, begin, end, longest)
        key = fold(section_key, step)
        target = _targets(key, longest, config.short_seq_prob)
        chunk_end = _chunk_ends(store, position, end, target, longest)
        rows = np.zeros(len(position), PLAN)
        rows["key"] = bits(key, _KEY)
        rows["first"] = position
        if config.objective == "none":
            rows["first_length"] = chunk_end - position
            following, kept = chunk_end, np.ones(len(position), np.bool_)
        elif config.objective == "sop":
            following, kept = _sentence_order(store, rows, chunk_end, key)
        else:
            chunks = _Chunks(
                begin=position, end=chunk_end, section_end=end, target=target, rank=rank, key=key
            )
            following, kept = _next_sentence(corpus, rows, chunks, longest)
        yield rows[kept]
        more = following < end
        rank, section_key, begin = rank[more], section_key[more], begin[more]
        position, end = following[more], end[more]
        step += 1


def _with_company(store: TokenStore, position: Int64, begin: Int64, end: Int64, longest: int) -> Int64:
    """Returns chunks in which a single last piece, which cannot make two segments, repeats the eojeol before it."""
    moved: Int64 = position.copy()
    alone = np.flatnonzero((end - position == 1) & (position > begin))
    least = np.maximum(begin[alone], end[alone] - longest)
    moved[alone] = at_space(store, position[alone] - 1, least - 1, position[alone] - 1)
    return moved


def _targets(key: Keys, longest: int, short: float) -> Int64:
    """Returns the target number of pieces of each instance: the largest possible, or a random number from 2."""
    target = np.full(len(key), longest)
    is_short = uniform(key, _SHORT) < short
    target[is_short] = 2 + below(longest - 1, key[is_short], _TARGET)
    return target


def _chunk_ends(store: TokenStore, position: Int64, end: Int64, target: Int64, longest: int) -> Int64:
    """Returns the ends of the chunks that start at `position`: at the target length, or near it between eojeols."""
    full: Int64 = np.minimum(position + target, end)
    inner = full < end
    most = np.minimum(position + longest, end)
    full[inner] = at_space(store, full[inner], position[inner] + 1, most[inner])
    # The cut moves one eojeol back if a single piece would be left at the end.
    lonely = (end - full == 1) & (full - position >= 3)
    full[lonely] = at_space(store, full[lonely] - 1, position[lonely] + 1, full[lonely] - 1)
    return full


def _boundary(store: TokenStore, begin: Int64, end: Int64, key: Keys) -> tuple[Int64, Bool]:
    """Returns the boundary of A and B in chunks of two or more pieces, and whether a sentence starts there.

    The boundary is the start of one of the sentences within the chunk, or, if none starts there, between two eojeols.
    """
    first = np.searchsorted(store.sentences, begin, "right")
    count = np.searchsorted(store.sentences, end, "left") - first
    has = count > 0
    at_sentence = first + below(np.maximum(count, 1), key, _BOUNDARY)
    anywhere = begin + 1 + below(end - begin - 1, key, _BOUNDARY)
    boundary = store.sentences[np.minimum(at_sentence, store.num_sentences)]
    boundary[~has] = at_space(store, anywhere[~has], begin[~has], end[~has] - 1)
    return boundary, has


def _sentence_order(
    store: TokenStore, rows: npt.NDArray[np.void], end: Int64, key: Keys
) -> tuple[Int64, Bool]:
    """Applies ALBERT's objective (arXiv:1909.11942, section 3.1): half of the pairs are swapped.

    A document of a single piece has no order and is omitted.
    """
    begin = rows["first"].copy()
    kept = end - begin >= 2
    boundary = end.copy()
    boundary[kept], _ = _boundary(store, begin[kept], end[kept], key[kept])
    swapped = uniform(key, _COIN) < 0.5
    rows["label"] = swapped
    rows["first"] = np.where(swapped, boundary, begin)
    rows["first_length"] = np.where(swapped, end - boundary, boundary - begin)
    rows["second"] = np.where(swapped, begin, boundary)
    rows["second_length"] = np.where(swapped, boundary - begin, end - boundary)
    return end, kept


def _next_sentence(
    corpus: _Corpus, rows: npt.NDArray[np.void], chunks: _Chunks, longest: int
) -> tuple[Int64, Bool]:
    """Applies BERT's objective; the part of the chunk that a random B replaces is used again."""
    store, split, find = corpus
    begin, end, section_end, target, rank, key = chunks
    divisible = end - begin >= 2
    boundary = end.copy()
    at_sentence = np.ones(len(end), np.bool_)
    boundary[divisible], at_sentence[divisible] = _boundary(
        store, begin[divisible], end[divisible], key[divisible]
    )
    random_next = (uniform(key, _COIN) < 0.5) | ~divisible
    if split.num_documents == 1:
        place, limit = _random_place_in_own(store, split, chunks)
        random_next &= place >= 0
    # The rest of a section would be halved again and again, so a rest of less than half a sequence stays whole. So does
    # a chunk that could only be divided within an eojeol.
    whole = (end == section_end) & (2 * (end - begin) <= target)
    whole |= (end - begin < longest) & (
        (store.marks[np.minimum(boundary, store.num_tokens - 1)] & SPACED) == 0
    )
    boundary = np.where(random_next & whole, end, boundary)
    rows["label"] = random_next
    rows["first_length"] = boundary - begin
    rows["second"] = boundary
    rows["second_length"] = end - boundary
    drawn = np.flatnonzero(random_next)
    # A chunk may exceed its target by the rest of an eojeol.
    room = np.maximum(np.maximum(target - (boundary - begin), end - boundary), 1)[drawn]
    cut = SegmentCut(~at_sentence[drawn], room, key[drawn])
    if split.num_documents == 1:
        found = _segment(store, place[drawn], limit[drawn], cut)
    else:
        found = find(Wanted(_random_sentence(split, rank[drawn], cut.key), cut))
    rows["second"][drawn], rows["second_length"][drawn] = found
    return np.where(random_next, boundary, end), divisible | random_next


def _random_sentence(split: Split, rank: Int64, key: Keys) -> Int64:
    """Returns a random sentence of the other documents of the split, as its number among all of its sentences."""
    own_first, own_last = split.before[rank], split.before[rank + 1]
    drawn = below(split.num_sentences - (own_last - own_first), key, _SENTENCE)
    drawn += np.where(drawn >= own_first, own_last - own_first, 0)
    return drawn


def finder(store: TokenStore, split: Split) -> Find:
    """Returns a function that finds segments that start in sentences of this store."""

    def find(wanted: Wanted) -> tuple[Int64, Int64]:
        rank = np.searchsorted(split.before, wanted.sentence, "right") - 1
        number = split.documents[rank]
        sentence = store.documents[number] + wanted.sentence - split.before[rank]
        place, limit = store.sentences[sentence], store.document_tokens[number + 1]
        return _segment(store, place, limit, wanted.cut)

    return find


def _segment(store: TokenStore, place: Int64, limit: Int64, cut: SegmentCut) -> tuple[Int64, Int64]:
    """Returns segments that start at sentences (or within them), up to `limit`, cut between eojeols."""
    begin = _within_sentence(store, place, cut.within, cut.key)
    end = np.minimum(begin + cut.room, limit)
    short = end < limit
    end[short] = at_space(store, end[short], begin[short], end[short])
    return begin, end - begin


def _random_place_in_own(store: TokenStore, split: Split, chunks: _Chunks) -> tuple[Int64, Int64]:
    """Returns a random sentence for a single document: one that ends before the chunk or starts after it."""
    begin, end, key = chunks.begin, chunks.end, chunks.key
    number = split.documents[chunks.rank]
    first, last = store.documents[number], store.documents[number + 1]
    before = np.maximum(np.searchsorted(store.sentences, begin, "right") - 1 - first, 0)
    after_from = np.searchsorted(store.sentences, end + 1, "left")
    after = np.maximum(last - after_from, 0)
    drawn = below(np.maximum(before + after, 1), key, _SENTENCE)
    sentence = np.where(drawn < before, first + drawn, np.minimum(after_from + drawn - before, last - 1))
    place = np.where(before + after > 0, store.sentences[sentence], -1)
    return place, np.where(drawn < before, begin, store.document_tokens[number + 1])


def _within_sentence(store: TokenStore, place: Int64, where: Bool, key: Keys) -> Int64:
    """Moves the places of `where` from the start of their sentence to an eojeol within it."""
    moved: Int64 = place.copy()
    start = place[where]
    sentence = np.searchsorted(store.sentences, start, "right")
    length = store.sentences[sentence] - start
    found = at_space(store, start + below(length, key[where], _WITHIN), start, start + length - 1)
    moved[where] = np.where((store.marks[found] & SPACED) != 0, found, start)
    return moved
