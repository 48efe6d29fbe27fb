"""Chooses the pieces to predict in a batch of instances, and their replacements.

Source: BERT (arXiv:1810.04805, section 3.1 and appendix A.1); whole words as in google-research/bert's
`--do_whole_word_mask`: units are taken in random order, a unit that would exceed the number to predict is skipped for a
shorter one, and the pieces of a unit are replaced independently. Spans as in SpanBERT (arXiv:1907.10529, section 3.1),
except that a row is first divided into spans, from which some are drawn, so that no two overlap.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from morphbert.data.arrays import Bool, Int64
from morphbert.data.chance import Keys, below, bits, uniform
from morphbert.data.config import InstanceConfig
from morphbert.text.vocabulary import is_bracketed

# Counters of the draws at one position.
ORDER, ACTION, WORD, SPAN = (n << 32 for n in range(4))
# The low bits of a random number store a position: positions stay below 65,536.
POSITION_BITS = 16
_NEVER = np.uint64(2**64 - 1)


class Predictions(NamedTuple):
    """For a batch of N rows: the first `counts[i]` of row i are real, the rest are 0.

    Attributes:
      ids: [N, L] the pieces with masks applied.
      positions: [N, P] ascending.
      labels: [N, P] the original pieces.
      counts: [N].
    """

    ids: Int64
    positions: Int64
    labels: Int64
    counts: Int64


def number_to_predict(lengths: npt.ArrayLike, config: InstanceConfig) -> Int64:
    """Returns BERT's number: the share of the length with `[CLS]` and `[SEP]`, at least 1 and at most P."""
    share = np.rint(np.asarray(lengths) * config.masked_lm_prob).astype(np.int64)
    return np.clip(share, 1, config.max_predictions_per_seq)


class Rows(NamedTuple):
    """A batch of N rows to mask.

    Attributes:
      ids: [N, L] pieces.
      maskable: [N, L] not special, not padding.
      starts: [N, L] the starts of units; a unit ends at the next start or at a position that is not maskable. Ignored
        for the unit "piece".
      keys: [N] the keys of the instances.
    """

    ids: Int64
    maskable: Bool
    starts: Bool
    keys: Keys


class Substitutes(NamedTuple):
    """The id of `[MASK]`, and the ids from which random replacements are drawn."""

    mask: int
    real: Int64


def mask(
    rows: Rows, config: InstanceConfig, substitutes: Substitutes, preferred: Bool | None = None
) -> Predictions:
    """Masks a batch.

    Args:
      preferred: [N, L] pieces whose units are to be drawn `config.mask_words_factor` times as likely as others.
    """
    ids, maskable, starts, keys = rows
    wanted = number_to_predict(_lengths(maskable), config)
    columns = np.arange(ids.shape[1])[None, :]
    if config.unit == "piece":
        starts = maskable
    else:
        starts = starts & maskable
    if config.max_word_pieces:
        too_long = _sizes(starts, maskable) > config.max_word_pieces
        maskable = maskable & ~np.take_along_axis(too_long, _unit_of(starts), axis=1)
        starts = starts & maskable
    in_spans = config.max_span_length > 1
    if in_spans:
        starts = _span_starts(starts, maskable, keys, config)
    order = bits(keys[:, None], ORDER + columns)
    if preferred is not None:
        order = _earlier(order, starts, preferred & maskable, config.mask_words_factor)
    # The low bits contain the position, so that sorting the numbers also sorts the positions.
    order &= ~np.uint64((1 << POSITION_BITS) - 1)
    order |= columns.astype(np.uint64)
    order[~starts] = _NEVER
    if config.unit == "piece" and not in_spans:
        positions = _first_pieces(order, wanted, config.max_predictions_per_seq)
    else:
        positions = _first_units(order, _sizes(starts, maskable), wanted, config.max_predictions_per_seq)
    decided_at = _unit_of(starts) if in_spans else np.broadcast_to(columns, ids.shape)
    return _replace(rows, positions, decided_at, config, substitutes)


def _earlier(order: Keys, starts: Bool, preferred: Bool, factor: float) -> Keys:
    """Returns order numbers [N, L] in which units with preferred pieces are moved to the front.

    u → 1 − (1 − u)^(1 / factor): drawn in this order, a unit is drawn next with a probability in proportion to its
    weight (Efraimidis & Spirakis 2006, "Weighted random sampling with a reservoir").
    """
    rows, columns = np.nonzero(preferred)
    chosen = np.zeros_like(starts)
    chosen[rows, _unit_of(starts)[rows, columns]] = True
    chosen &= starts
    share = (order[chosen] >> np.uint64(11)).astype(np.float64) * 2.0**-53
    moved = -np.expm1(np.log1p(-share) / factor)
    order = order.copy()
    order[chosen] = (moved * 2.0**53).astype(np.uint64) << np.uint64(11)
    return order


def _lengths(maskable: Bool) -> Int64:
    """Returns [N], the number of pieces of a row without padding, up to the `[SEP]` after its last maskable one.

    The id 0 does not show padding, because it is `[UNK]` in KoBERT's vocabulary.
    """
    length = maskable.shape[1]
    lengths: Int64 = np.minimum(length - np.argmax(maskable[:, ::-1], axis=1) + 1, length)
    return lengths


def _unit_of(starts: Bool) -> Int64:
    """Returns [N, L], for each position the start of its unit (0 before the first)."""
    columns = np.arange(starts.shape[1])[None, :]
    units: Int64 = np.maximum.accumulate(np.where(starts, columns, 0), axis=1)
    return units


def _sizes(starts: Bool, maskable: Bool) -> Int64:
    """Returns [N, L], at each start the size of its unit, which ends at the next start or an unmaskable position."""
    length = starts.shape[1]
    columns = np.arange(length)[None, :]
    edge = np.where(starts | ~maskable, columns, length)
    following = np.minimum.accumulate(edge[:, ::-1], axis=1)[:, ::-1]
    following = np.concatenate([following[:, 1:], np.full((len(starts), 1), length)], axis=1)
    sizes: Int64 = following - columns
    return sizes


def _span_starts(starts: Bool, maskable: Bool, keys: Keys, config: InstanceConfig) -> Bool:
    """Returns the starts of spans: a span ends after each unit with `span_prob`, and always after `max_span_length`.

    A constant probability of an end makes the lengths geometric.
    """
    columns = np.arange(starts.shape[1])[None, :]
    before = np.concatenate([np.zeros((len(starts), 1), np.bool_), maskable[:, :-1]], axis=1)
    first = starts & (~before | (uniform(keys[:, None], SPAN + columns) < config.span_prob))
    unit = np.cumsum(starts, axis=1)
    since: Int64 = unit - np.maximum.accumulate(np.where(first, unit, 0), axis=1)
    spans: Bool = starts & (since % config.max_span_length == 0)
    return spans


def _first_pieces(order: Keys, wanted: Int64, predictions: int) -> Int64:
    """Returns [N, P], the positions of the `wanted` smallest numbers of each row, ascending, and −1 in the rest."""
    if predictions < order.shape[1]:
        order = np.partition(order, predictions - 1, axis=1)[:, :predictions]
    order = np.sort(order, axis=1)
    return _ascending(order, np.arange(order.shape[1])[None, :] < wanted[:, None], predictions)


def _ascending(order: Keys, taken: Bool, predictions: int) -> Int64:
    positions = (order & np.uint64((1 << POSITION_BITS) - 1)).astype(np.int64)
    missing = np.int64(1 << POSITION_BITS)
    positions[~taken | (order == _NEVER)] = missing
    positions = np.sort(positions, axis=1)[:, :predictions]
    positions[positions == missing] = -1
    return positions


def _first_units(order: Keys, sizes: Int64, wanted: Int64, predictions: int) -> Int64:
    """Returns the positions of whole units, as `_first_pieces` does for pieces; sizes: [N, L] at their starts."""
    rows, length = order.shape
    order = np.sort(order, axis=1)
    most = int((order != _NEVER).sum(axis=1).max(initial=0))
    order = order[:, :most].T  # [units, N]
    unit = (order & np.uint64((1 << POSITION_BITS) - 1)).astype(np.int64)
    unit[order == _NEVER] = 0
    sizes = sizes[np.arange(rows), unit]
    sizes[order == _NEVER] = length + predictions  # never fits
    chosen = np.zeros((rows, length), np.int64)
    left = wanted.copy()
    unfilled = np.arange(rows)
    for nth in range(most):
        size = sizes[nth, unfilled]
        fits = size <= left[unfilled]
        taken, size = unfilled[fits], size[fits]
        left[taken] -= size
        chosen[taken, unit[nth, taken]] = size
        unfilled = unfilled[left[unfilled] > 0]
        if not len(unfilled):
            break
    return _spread(chosen, predictions)


def _spread(sizes: Int64, predictions: int) -> Int64:
    """Returns the positions of the pieces of units [N, P], −1 in the rest, from unit sizes [N, L] at their starts."""
    rows, starts = np.nonzero(sizes)
    size = sizes[rows, starts]
    within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    row, position = np.repeat(rows, size), np.repeat(starts, size) + within
    count = np.bincount(row, minlength=len(sizes))
    positions = np.full((len(sizes), predictions), -1)
    positions[row, np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)] = position
    return positions


def _replace(
    given: Rows, positions: Int64, decided_at: Int64, config: InstanceConfig, substitutes: Substitutes
) -> Predictions:
    """Replaces 80% by `[MASK]` and 10% by a random piece, and keeps 10% (appendix A.1).

    Args:
      decided_at: [N, L] the position whose draw decides which of the three it is.
    """
    ids, real = given.ids, substitutes.real
    taken = positions >= 0
    rows, slots = np.nonzero(taken)
    column = positions[rows, slots]
    labels = np.zeros(positions.shape, np.int64)
    labels[rows, slots] = ids[rows, column]
    key = given.keys[rows]
    action = uniform(key, ACTION + decided_at[rows, column])
    random_piece = real[below(len(real), key, WORD + column)]
    replaced = config.mask_token_prob + config.random_token_prob
    masked = ids.copy()
    masked[rows, column] = np.where(
        action < config.mask_token_prob,
        substitutes.mask,
        np.where(action < replaced, random_piece, ids[rows, column]),
    )
    return Predictions(masked, np.where(taken, positions, 0), labels, taken.sum(axis=1))


def real_pieces(tokens: Any) -> Int64:
    """Returns the ids that text can become: not `[UNK]`, `[MASK]` or `[unused0]`."""
    chosen = [number for number, token in enumerate(tokens) if token and not is_bracketed(token)]
    return np.array(chosen, np.int64)
