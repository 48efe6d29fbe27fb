"""The values that the pipeline's stages exchange, and the numbering of blocks within the corpus.

A *block* is a `TokenStore` of some consecutive documents in memory. Its *place* is its position in the corpus. The
order of the places, and the numbers of documents and sentences before each, are known when all blocks are made. They
form the `Corpus`, which is small and is sent to every worker.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from morphbert.data import instances
from morphbert.data.arrays import Bool, Int64
from morphbert.data.config import InstanceConfig
from morphbert.data.documents import DocumentDigest
from morphbert.data.encoding import SentenceEncoder
from morphbert.data.sections import PlanTask, Split
from morphbert.data.store import TokenStore, token_dtype

Tokens = npt.NDArray[np.unsignedinteger[Any]]
Marks = npt.NDArray[np.uint8]

# The file, the first byte of the range, and the number of the block within the range.
Place = tuple[int, int, int]
TRAIN, HELD_OUT = 0, 1


class Extreme(NamedTuple):
    """The document of a block with the lowest or highest digest, the first if several are equal."""

    digest: int
    document: int
    sentences: int
    tokens: int


class Summary(NamedTuple):
    """The facts about a block that the corpus needs; pairs are of the training side and of the held-out side."""

    place: Place
    documents: tuple[int, int]
    sentences: tuple[int, int]
    tokens: tuple[int, int]
    lowest: Extreme
    highest: Extreme
    digests: int  # the sum of the documents' digests


def blocks(texts: Iterable[list[str]], encoder: SentenceEncoder, tokens: int) -> Iterator[TokenStore]:
    """Yields blocks of about `tokens` pieces. Documents and sentences without a piece are left out."""
    making = _Block()
    for text in texts:
        making.add(text, encoder)
        if len(making.ids) >= tokens:
            yield making.finished(encoder)
            making = _Block()
    if making.digests:
        yield making.finished(encoder)


class _Block:
    def __init__(self) -> None:
        self.ids = array("I")
        self.marks: list[bytes] = []
        self.sentences = array("q", [0])
        self.documents = array("q", [0])
        self.document_tokens = array("q", [0])
        self.digests = array("Q")

    def add(self, text: list[str], encoder: SentenceEncoder) -> None:
        digest = DocumentDigest()
        before = len(self.ids)
        for sentence in text:
            digest.add(sentence)
            ids, marks = encoder(sentence)
            if ids:
                self.ids += ids
                self.marks.append(marks)
                self.sentences.append(len(self.ids))
        if len(self.ids) > before:
            self.documents.append(len(self.sentences) - 1)
            self.document_tokens.append(len(self.ids))
            self.digests.append(digest.value())

    def finished(self, encoder: SentenceEncoder) -> TokenStore:
        return TokenStore(
            tokens=np.frombuffer(self.ids, np.uint32).astype(token_dtype(encoder.vocab_size)),
            marks=np.frombuffer(b"".join(self.marks), np.uint8),
            sentences=np.frombuffer(self.sentences, np.int64),
            documents=np.frombuffer(self.documents, np.int64),
            document_tokens=np.frombuffer(self.document_tokens, np.int64),
            digests=np.frombuffer(self.digests, np.uint64),
        )


def summary(place: Place, block: TokenStore, fraction: float) -> Summary:
    out = _below(block, fraction)
    sentences, tokens = np.diff(block.documents), np.diff(block.document_tokens)

    def extreme(number: np.intp) -> Extreme:
        return Extreme(
            int(block.digests[number]), *(int(n) for n in (number, sentences[number], tokens[number]))
        )

    def sides(values: Int64) -> tuple[int, int]:
        return int(values[~out].sum()), int(values[out].sum())

    return Summary(
        place=place,
        documents=sides(np.ones(len(out), np.int64)),
        sentences=sides(sentences),
        tokens=sides(tokens),
        lowest=extreme(np.argmin(block.digests)),
        highest=extreme(np.argmax(block.digests)),
        digests=int(block.digests.sum(dtype=np.uint64)),
    )


def _below(block: TokenStore, fraction: float) -> Bool:
    """Returns `held_out` without its exception for tiny corpora, which needs all documents."""
    out: Bool = block.digests < np.uint64(int(fraction * 2**64))
    return out


@dataclass(frozen=True)
class Corpus:
    """The numbers of all blocks.

    Attributes:
      numbers: the number of the block at each place.
      documents: [B + 1] the number of documents before each block.
      sentences: [2, B + 1] the number of sentences of each side before each block.
      total_documents, total_tokens: the totals of each side.
      digests: the sum of the digests of all documents.
      moved: the block and document that is moved to the other side, which would otherwise be empty.
    """

    numbers: dict[Place, int]
    documents: Int64
    sentences: Int64
    total_documents: tuple[int, int]
    total_tokens: tuple[int, int]
    fraction: float
    digests: int
    moved: tuple[int, int] | None = None

    @classmethod
    def of(cls, summaries: Iterable[Summary], fraction: float) -> Corpus:
        """Numbers blocks, which may come in any order."""
        ordered = sorted(summaries)
        counts = np.array([(s.documents, s.sentences, s.tokens) for s in ordered], np.int64).reshape(-1, 3, 2)
        totals = counts.sum(axis=0)
        moved = None
        if fraction > 0 and totals[0].sum() > 1 and (side := _empty_side(totals[0])) is not None:
            number, extreme = _to_move(ordered, side)
            moved = number, extreme.document
            change = np.array([1, extreme.sentences, extreme.tokens])
            for values in (counts[number], totals):
                values[:, side] += change
                values[:, 1 - side] -= change
        before = np.concatenate([np.zeros((1, 3, 2), np.int64), np.cumsum(counts, axis=0)])
        return cls(
            numbers={one.place: number for number, one in enumerate(ordered)},
            documents=before[:, 0].sum(axis=1),
            sentences=np.ascontiguousarray(before[:, 1].T),
            total_documents=(int(totals[0, TRAIN]), int(totals[0, HELD_OUT])),
            total_tokens=(int(totals[2, TRAIN]), int(totals[2, HELD_OUT])),
            fraction=fraction,
            digests=sum(one.digests for one in ordered),
            moved=moved,
        )

    def split(self, number: int, block: TokenStore, side: int) -> Split:
        """Returns the documents of one side in a block, as a part of the whole split."""
        out = _below(block, self.fraction)
        if self.moved is not None and self.moved[0] == number:
            out[self.moved[1]] = not out[self.moved[1]]
        chosen = np.flatnonzero(out == (side == HELD_OUT)).astype(np.int64)
        lengths = block.documents[chosen + 1] - block.documents[chosen]
        first = self.sentences[side, number]
        before = first + np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        return Split(
            chosen,
            before,
            int(self.documents[number]),
            (self.total_documents[side], int(self.sentences[side, -1])),
        )

    def block_of_sentence(self, sentences: Int64, side: int) -> Int64:
        """Returns the numbers of the blocks that contain sentences, given by their numbers within a side."""
        return np.searchsorted(self.sentences[side], sentences, "right") - 1


def _empty_side(documents: Int64) -> int | None:
    """Returns the side without a document, if there is one (`held_out` then moves a document to it)."""
    empty = np.flatnonzero(documents == 0)
    return int(empty[0]) if len(empty) else None


def _to_move(ordered: list[Summary], side: int) -> tuple[int, Extreme]:
    """Returns the document to move: the first with the lowest digest is held out, the first with the highest is not."""
    if side == HELD_OUT:
        number = min(range(len(ordered)), key=lambda n: ordered[n].lowest.digest)
        return number, ordered[number].lowest
    number = max(range(len(ordered)), key=lambda n: ordered[n].highest.digest)
    return number, ordered[number].highest


class PlannedRows(NamedTuple):
    """Instances with their pieces.

    Attributes:
      order: [N] their positions among all instances.
      plan: [N] PLAN, whose `first` and `second` are ranges in `tokens` and `marks` [T]. A random next segment from
        another block has length 0 until it is found.
    """

    order: Int64
    plan: npt.NDArray[np.void]
    tokens: Tokens
    marks: Marks


class Requests(NamedTuple):
    """Requests to a block for random next segments of one part: `order` [N] of their instances, and the segments."""

    order: Int64
    wanted: instances.Wanted
    part: int


class Found(NamedTuple):
    """The answers: lengths [N] of the segments of the instances `order` [N], and their concatenated pieces [T]."""

    order: Int64
    lengths: Int64
    tokens: Tokens
    marks: npt.NDArray[np.uint8]


def taken(block: TokenStore, begin: Int64, length: Int64) -> tuple[Tokens, npt.NDArray[np.uint8], Int64]:
    """Returns the concatenated pieces of ranges of a block, their marks, and the beginning of each range among them."""
    starts = np.cumsum(length) - length
    places = np.repeat(begin - starts, length) + np.arange(length.sum())
    return block.tokens[places], block.marks[places], starts


def planned(
    block: TokenStore,
    split: Split,
    task: PlanTask,
    config: InstanceConfig,
    duplicates: int,
) -> tuple[npt.NDArray[np.void], Int64, instances.Wanted | None]:
    """Returns the plan of a task, the rows that need a random next segment of another block, and these segments."""
    wanted: list[instances.Wanted] = []

    def later(more: instances.Wanted) -> tuple[Int64, Int64]:
        wanted.append(more)
        nothing = np.zeros(len(more.sentence), np.int64)
        return nothing, nothing

    plan = instances.plan(block, split, task, config, duplicates, find=later)
    if not wanted:
        return plan, np.zeros(0, np.int64), None
    rows = np.flatnonzero(plan["label"] == 1)
    return plan, rows, instances.Wanted.joined(wanted)


def rows_of(block: TokenStore, plan: npt.NDArray[np.void], order: Int64) -> PlannedRows:
    """Returns the rows of plans, with their pieces from the block."""
    first, second = plan["first_length"].astype(np.int64), plan["second_length"].astype(np.int64)
    begin = np.concatenate([plan["first"], plan["second"]])
    tokens, marks, starts = taken(block, begin, np.concatenate([first, second]))
    plan = plan.copy()
    plan["first"], plan["second"] = starts[: len(plan)], starts[len(plan) :]
    return PlannedRows(order, plan, tokens, marks)


def found(block: TokenStore, split: Split, requests: Requests) -> Found:
    """Returns the segments that other blocks request."""
    begin, length = instances.finder(block, split)(requests.wanted)
    tokens, marks, _ = taken(block, begin, length)
    return Found(requests.order, length, tokens, marks)


def joined(rows: list[PlannedRows], answers: list[Found]) -> tuple[TokenStore, npt.NDArray[np.void]]:
    """Joins the instances of a part with their segments; returns their plan, sorted by key, over a new store."""
    order = np.concatenate([one.order for one in rows])
    plan = np.concatenate([one.plan for one in rows])
    tokens = [one.tokens for one in rows] + [one.tokens for one in answers]
    marks = [one.marks for one in rows] + [one.marks for one in answers]
    bases = np.cumsum([0, *map(len, tokens)])
    base = np.repeat(bases[: len(rows)], [len(one.order) for one in rows])
    plan["first"] += base
    plan["second"] += base
    by_order = np.argsort(order)
    for answer, base_of in zip(answers, bases[len(rows) :], strict=False):
        at = by_order[np.searchsorted(order, answer.order, sorter=by_order)]
        plan["second"][at] = base_of + np.cumsum(answer.lengths) - answer.lengths
        plan["second_length"][at] = answer.lengths
    none = np.zeros(1, np.int64)
    store = TokenStore(
        tokens=np.concatenate(tokens),
        marks=np.concatenate(marks),
        sentences=none,
        documents=none,
        document_tokens=none,
        digests=np.zeros(0, np.uint64),
    )
    # Equal keys are rare; then the order in the corpus decides, as on one machine.
    return store, plan[np.lexsort((order, plan["key"]))]
