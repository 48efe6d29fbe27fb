"""Turns plans of instances into the framed bytes of their records, a few thousand at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from morphbert.data import listed_words, packing
from morphbert.data.arrays import Bool, Int64
from morphbert.data.config import InstanceConfig
from morphbert.data.encoding import MORPHEME, WORD
from morphbert.data.masking import Rows, Substitutes, mask
from morphbert.data.matrices import framed_rows
from morphbert.data.store import TokenStore

# The number of instances per batch: large enough for NumPy, small enough for the processor's cache.
_BATCH = 1024


@dataclass(frozen=True)
class Pieces:
    """The facts about a vocabulary: ids of special tokens, and the ids that text can become.

    Attributes:
      listed: the pieces of each listed word, which is masked more often.
    """

    cls: int
    sep: int
    mask: int
    unk: int
    real: Int64
    listed: tuple[tuple[int, ...], ...] = ()


@dataclass
class Statistics:
    """Sums over records; `pieces` includes the special tokens.

    Attributes:
      room: the number of pieces that fit into the records.
      examples: the number of examples, more than records if some share one.
      positives: the number of examples with label 1.
      masked: the number of masked pieces, 0 if training draws the masks.
    """

    records: int = 0
    room: int = 0
    examples: int = 0
    pieces: int = 0
    masked: int = 0
    unknown: int = 0
    positives: int = 0

    def add(self, other: Statistics) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class InstanceBatch(NamedTuple):
    """N instances before masking, each of the arrays [N, L]; 0 is padding.

    Attributes:
      lengths: [N].
      labels: [N, 1], or with packing [N, E] like `cls_positions`.
      sequences, positions: [N, L], only with packing.
    """

    ids: Int64
    segments: Int64
    maskable: Bool
    starts: Bool
    lengths: Int64
    labels: Int64
    sequences: Int64 | None = None
    positions: Int64 | None = None
    cls_positions: Int64 | None = None


def gather(
    store: TokenStore, plan: npt.NDArray[np.void], config: InstanceConfig, pieces: Pieces
) -> InstanceBatch:
    """Takes the pieces of each instance from the store: `[CLS] A [SEP] B [SEP]`, or `[CLS] A [SEP]`."""
    length = config.max_seq_length
    column = np.arange(length)[None, :]
    first_length = plan["first_length"].astype(np.int64)[:, None]
    second_length = plan["second_length"].astype(np.int64)[:, None]
    end_of_first = 1 + first_length
    paired = second_length > 0
    end_of_second = np.where(paired, end_of_first + 1 + second_length, end_of_first)
    in_first = (column >= 1) & (column < end_of_first)
    in_second = (column > end_of_first) & (column < end_of_second)
    maskable = in_first | in_second
    place = np.where(
        in_first,
        plan["first"][:, None] + (column - 1),
        plan["second"][:, None] + (column - end_of_first - 1),
    )
    place = place[maskable]
    ids = np.zeros((len(plan), length), np.int64)
    ids[maskable] = store.tokens[place]
    ids[:, 0] = pieces.cls
    rows = np.arange(len(plan))
    ids[rows, end_of_first[:, 0]] = pieces.sep
    ids[rows, end_of_second[:, 0]] = pieces.sep
    if config.unit == "piece":
        starts = maskable
    else:
        starts = np.zeros_like(maskable)
        bit = WORD if config.unit == "eojeol" else MORPHEME
        starts[maskable] = (store.marks[place] & bit) != 0
        # A segment may begin within a long word; the rest of the word is then a unit.
        starts |= (column == 1) | (in_second & (column == end_of_first + 1))
    segments = ((column > end_of_first) & (column <= end_of_second)).astype(np.int64)
    labels = plan["label"].astype(np.int64)[:, None]
    return InstanceBatch(
        ids=ids,
        segments=segments,
        maskable=maskable,
        starts=starts,
        lengths=end_of_second[:, 0] + 1,
        labels=labels,
    )


def joined(batch: InstanceBatch, sizes: Int64, config: InstanceConfig) -> InstanceBatch:
    """Joins instances [N, L] into sequences [M, L], the first `sizes[0]` into the first sequence and so on.

    With packing, instances keep their `[CLS]`, and `sequences` distinguishes them. Otherwise they become one text with
    one `[CLS]`.
    """
    within = np.arange(len(batch.ids)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    row = np.repeat(np.arange(len(sizes)), sizes)
    column = np.arange(config.max_seq_length)[None, :]
    taken = column < batch.lengths[:, None]
    if not config.pack_sequences:
        taken &= (column > 0) | (within == 0)[:, None]
    length = taken.sum(axis=1)
    before = np.cumsum(length) - length
    begin = before - before[np.cumsum(sizes) - sizes][row]
    shape = (len(sizes), config.max_seq_length)
    place = np.repeat(row * shape[1] + begin, length) + np.arange(length.sum()) - np.repeat(before, length)

    def spread(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Moves values [N, L] to their new positions [M, L]."""
        spread = np.zeros(shape, values.dtype)
        spread.reshape(-1)[place] = values[taken]
        return spread

    lengths = np.bincount(row, length, len(sizes)).astype(np.int64)
    ids, maskable, starts = spread(batch.ids), spread(batch.maskable), spread(batch.starts)
    if not config.pack_sequences:
        return InstanceBatch(
            ids=ids,
            segments=np.zeros(shape, np.int64),
            maskable=maskable,
            starts=starts,
            lengths=lengths,
            labels=batch.labels[within == 0],
        )
    labels, cls_positions = np.zeros((2, len(sizes), config.examples), np.int64)
    labels[row, within] = batch.labels[:, 0]
    cls_positions[row, within] = begin
    sequences = spread(np.broadcast_to(within[:, None] + 1, batch.ids.shape))
    positions = spread(np.broadcast_to(column, batch.ids.shape))
    segments = spread(batch.segments)
    return InstanceBatch(
        ids=ids,
        segments=segments,
        maskable=maskable,
        starts=starts,
        lengths=lengths,
        labels=labels,
        sequences=sequences,
        positions=positions,
        cls_positions=cls_positions,
    )


def records(
    store: TokenStore, plan: npt.NDArray[np.void], config: InstanceConfig, pieces: Pieces
) -> Iterator[tuple[bytes, Statistics]]:
    """Yields the joined framed records of each batch with their sums.

    Records have the order of `plan`. If several plans share a sequence, the first of them decides.
    """
    groups = packing.group(plan, config)
    ends = np.cumsum(groups.sizes)
    for start in range(0, len(ends), _BATCH):
        sizes = groups.sizes[start : start + _BATCH]
        first = int(ends[start] - sizes[0])
        rows = plan[groups.order[first : first + int(sizes.sum())]]
        batch = gather(store, rows, config, pieces)
        keys = rows["key"]
        if config.examples > 1:
            batch = joined(batch, sizes, config)
            keys = keys[np.cumsum(sizes) - sizes]
        columns = _inputs(batch, config)
        if config.masking == "dynamic":
            masked = 0
        else:
            predictions, masked = _masks(batch, keys, config, pieces)
            columns |= predictions
        statistics = Statistics(
            records=len(sizes),
            room=len(sizes) * config.max_seq_length,
            examples=len(rows),
            pieces=int(batch.lengths.sum()),
            masked=masked,
            unknown=int(((batch.ids == pieces.unk) & _real(batch)).sum()),
            positives=int(rows["label"].sum()),
        )
        yield framed_rows(columns), statistics


def _real(batch: InstanceBatch) -> Bool:
    """Returns whether a position has a piece, [N, L]. Padding is 0, which is also the id of a piece in some
    vocabularies.
    """
    real: Bool = np.arange(batch.ids.shape[1])[None, :] < batch.lengths[:, None]
    return real


def _inputs(batch: InstanceBatch, config: InstanceConfig) -> dict[str, npt.NDArray[Any]]:
    """Returns the features of morphbert.data.records.features other than those of masks."""
    columns: dict[str, npt.NDArray[Any]] = {
        "input_ids": batch.ids,
        "segment_ids": batch.segments.astype(np.uint8),
    }
    if config.masking == "dynamic":
        starts = batch.maskable if config.unit == "piece" else batch.starts & batch.maskable
        columns["word_ids"] = np.where(batch.maskable, np.cumsum(starts, axis=1) - 1, -1)
    if batch.sequences is not None and batch.positions is not None:
        columns["sequence_ids"], columns["position_ids"] = batch.sequences, batch.positions
    if config.objective != "none":
        columns["next_sentence_labels"] = batch.labels.astype(np.uint8)
        if batch.cls_positions is not None:
            columns["cls_positions"] = batch.cls_positions
    return columns


def _masks(
    batch: InstanceBatch, keys: npt.NDArray[np.uint64], config: InstanceConfig, pieces: Pieces
) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """Returns the features of static masks, including the masked `input_ids`, and the number of masked pieces."""
    preferred = listed_words.occurrences(batch.ids, pieces.listed) if pieces.listed else None
    rows = Rows(batch.ids, batch.maskable, batch.starts, keys)
    masked = mask(rows, config, Substitutes(pieces.mask, pieces.real), preferred)
    weights = np.arange(config.max_predictions_per_seq)[None, :] < masked.counts[:, None]
    columns = {
        "input_ids": masked.ids,
        "input_mask": _real(batch),
        "masked_lm_ids": masked.labels,
        "masked_lm_positions": masked.positions,
        "masked_lm_weights": weights.astype(np.float32),
    }
    return columns, int(masked.counts.sum())
