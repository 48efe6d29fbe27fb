"""Draws masks in the graph of the input pipeline, as morphbert.data.masking does, for records without masks.

The same numbers come out for the same keys, so that one set of rules and one set of proofs holds for both. The key
of a record is a function of (seed, pass over the data, file, number in the file): each pass masks other pieces, and a
run that is resumed masks those that it would have masked.

They are operations of TensorFlow, not a `tf.numpy_function` over that module: a pipeline with Python code in it cannot
be sent to the other hosts of a TPU pod. docs/performance.md compares their time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from morphbert.data.chance import FIRST, GOLDEN, SECOND
from morphbert.data.masking import ACTION, ORDER, POSITION_BITS, SPAN, WORD
from morphbert.errors import MorphbertError
from morphbert.train.mask_schedule import BatchShares

# Larger than any position or number of pieces.
_NEVER = tf.int64.max


@dataclasses.dataclass(frozen=True)
class MaskRules:
    """How to mask, from the manifest of the records (morphbert.data.manifest).

    Attributes:
      predictions: P, masked positions in a sequence at most.
      unit: the unit that `word_ids` number: "piece", "morpheme" or "eojeol".
      prob: share of a sequence's pieces that are to be predicted, where `shares` gives none.
      mask_token_prob, random_token_prob: of these, the share replaced by `[MASK]` and by a random piece.
      max_span_length, span_prob: spans of units; 1 masks units one by one.
      max_word_pieces: longer units are never masked; 0 is no limit.
      mask_id: the id of `[MASK]`.
      random_ids: ranges [first, last + 1] of the ids that random pieces are drawn from.
      seed: of the run, or for an evaluation of the records.
      shares: the share of each batch in training.
    """

    predictions: int
    unit: str
    prob: float
    mask_token_prob: float
    random_token_prob: float
    max_span_length: int
    span_prob: float
    max_word_pieces: int
    mask_id: int
    random_ids: tuple[tuple[int, int], ...]
    seed: int
    shares: BatchShares | None = None

    @classmethod
    def from_manifest(cls, masking: Mapping[str, Any], predictions: int, seed: int, origin: str) -> MaskRules:
        """Returns the rules that the manifest of dynamic records gives.

        Raises:
          MorphbertError: it does not say all of them.
        """
        names = {field.name for field in dataclasses.fields(cls)} - {"predictions", "seed", "shares"}
        missing = sorted(names - masking.keys())
        if missing:
            raise MorphbertError(
                f"{origin} has records without masks, and its manifest does not say {', '.join(missing)}: make "
                "them again with create_pretraining_data.py --masking=dynamic."
            )
        chosen = {name: masking[name] for name in names}
        chosen["random_ids"] = tuple((int(first), int(last)) for first, last in masking["random_ids"])
        return cls(predictions=predictions, seed=seed, **chosen)


def record_keys(seed: int, passes: tf.Tensor, files: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """int64 [B] each → uint64 [B]."""
    key = _fold(_uint64(0), _uint64(seed))
    for part in (passes, files, numbers):
        key = _fold(key, tf.cast(part, tf.uint64))
    return key


def share_of_batch(shares: BatchShares, number: tf.Tensor) -> tf.Tensor:
    """Returns the share of the pieces to predict in a batch, by the number of the batch: int64 → float64."""
    batches = tf.cast(number + shares.done, tf.float64)
    step = shares.first_step + batches * tf.constant(shares.stretch, tf.float64)
    progress = tf.minimum(step / tf.constant(float(shares.num_steps), tf.float64), 1.0)
    start, end = (tf.constant(share, tf.float64) for share in (shares.schedule.start, shares.schedule.end))
    return start + (end - start) * progress


def with_masks(
    batch: Mapping[str, tf.Tensor], keys: tf.Tensor, rules: MaskRules, share: tf.Tensor | None = None
) -> dict[str, tf.Tensor]:
    """Draws masks for a batch.

    Args:
      batch: int64 `input_ids` [B, L] and `word_ids` [B, L], -1 where nothing is to be masked; others pass through.
        B and L are static. keys: uint64 [B].
      share: float64 scalar, of the pieces that are to be predicted; None for that of the rules.

    Returns:
      The batch without `word_ids` and with `input_ids` masked, `input_mask` [B, L], and `masked_lm_positions`,
      `masked_lm_ids` and float32 `masked_lm_weights` [B, P].
    """
    ids, words = batch["input_ids"], batch["word_ids"]
    maskable = words >= 0
    lengths = _lengths(maskable)
    starts = maskable & tf.not_equal(words, _shifted(words, 1, -1))
    if rules.max_word_pieces:
        too_long = _sizes(starts, maskable) > rules.max_word_pieces
        maskable &= ~tf.gather(too_long, _unit_of(starts), batch_dims=1)
        starts &= maskable
    decided_at = tf.broadcast_to(_columns(ids), ids.shape)
    if rules.max_span_length > 1:
        starts = _span_starts(starts, maskable, keys, rules)
        decided_at = _unit_of(starts)
    share = tf.constant(rules.prob, tf.float64) if share is None else share
    wanted = _number_to_predict(lengths, share, rules.predictions)
    if rules.unit == "piece" and rules.max_span_length == 1:
        masked = _first_pieces(starts, keys, wanted)
    else:
        masked = _first_units(starts, maskable, keys, wanted)
    positions = _positions(masked, rules.predictions)
    taken = positions >= 0
    at = tf.where(taken, positions, 0)
    labels = tf.where(taken, tf.gather(ids, at, batch_dims=1), 0)
    others = {name: values for name, values in batch.items() if name != "word_ids"}
    return {
        **others,
        "input_ids": tf.where(masked, _replacements(ids, decided_at, keys, rules), ids),
        "input_mask": tf.cast(_columns(ids) < lengths[:, None], tf.int64),
        "masked_lm_positions": at,
        "masked_lm_ids": labels,
        "masked_lm_weights": tf.cast(taken, tf.float32),
    }


def _lengths(maskable: tf.Tensor) -> tf.Tensor:
    """int64 [B]: the last piece that can be masked, and the `[SEP]` after it; id 0 need not be padding."""
    last = tf.reduce_max(tf.where(maskable, _columns(maskable), -1), 1)
    return tf.minimum(last + 2, maskable.shape[1])


def _number_to_predict(lengths: tf.Tensor, share: tf.Tensor, most: int) -> tf.Tensor:
    """int64 [B]: the share of the length, at least 1 and at most P."""
    wanted = tf.cast(tf.round(tf.cast(lengths, tf.float64) * share), tf.int64)
    return tf.clip_by_value(wanted, 1, most)


def _span_starts(starts: tf.Tensor, maskable: tf.Tensor, keys: tf.Tensor, rules: MaskRules) -> tf.Tensor:
    ends = _uniform(keys, SPAN, _columns(starts)) < rules.span_prob
    first = starts & (~_shifted(maskable, 1, False) | ends)
    unit = tf.cumsum(tf.cast(starts, tf.int64), axis=1)
    since = unit - _running_max(tf.where(first, unit, 0))
    return starts & tf.equal(since % rules.max_span_length, 0)


def _order(starts: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """int64 [B, L] the positions of the starts in random order, then `_NEVER`."""
    columns = tf.cast(_columns(starts), tf.uint64)
    low = (1 << POSITION_BITS) - 1
    order = tf.bitwise.bitwise_and(_bits(keys, ORDER, columns), _uint64(~low))
    order = tf.bitwise.bitwise_or(order, columns)
    # Sorting is for signed numbers: with the top bit turned over they sort as unsigned ones do.
    order = tf.bitcast(tf.bitwise.bitwise_xor(order, _uint64(1 << 63)), tf.int64)
    order = tf.sort(tf.where(starts, order, _NEVER), axis=1)
    return tf.where(order < _NEVER, tf.bitwise.bitwise_and(order, tf.constant(low, tf.int64)), _NEVER)


def _first_pieces(starts: tf.Tensor, keys: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """[B, L], true at the first `wanted` [B] pieces in random order."""
    order = _order(starts, keys)
    return _scattered(order, (_columns(starts) < wanted[:, None]) & (order < _NEVER))


def _first_units(starts: tf.Tensor, maskable: tf.Tensor, keys: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Returns the same for units of several pieces, each taken whole, or passed over where it does not fit any more."""
    order = _order(starts, keys)
    exists = order < _NEVER
    sizes = tf.gather(_sizes(starts, maskable), tf.where(exists, order, 0), batch_dims=1)
    by_column = tf.transpose(tf.where(exists, sizes, _NEVER))
    rows, length = by_column.shape[1], by_column.shape[0]
    chosen = tf.TensorArray(tf.bool, size=length, element_shape=[rows])

    def not_full(column: tf.Tensor, left: tf.Tensor, chosen: tf.TensorArray) -> tf.Tensor:
        return (column < length) & tf.reduce_any(left > 0)

    def take(
        column: tf.Tensor, left: tf.Tensor, chosen: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
        fits = by_column[column] <= left
        return column + 1, left - tf.where(fits, by_column[column], 0), chosen.write(column, fits)

    # Places that the loop does not reach are False.
    _, _, chosen = tf.while_loop(not_full, take, (tf.constant(0), wanted, chosen))
    units = _scattered(order, tf.transpose(chosen.stack()) & exists)
    return tf.gather(units, _unit_of(starts), batch_dims=1) & maskable


def _scattered(order: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """[B, L], true at the positions order[b, i] where chosen[b, i]."""
    where = tf.where(chosen)
    indices = tf.stack([where[:, 0], tf.gather_nd(order, where)], 1)
    return tf.ensure_shape(
        tf.scatter_nd(indices, tf.ones(tf.shape(where)[:1], tf.int32), tf.shape(order, tf.int64)) > 0,
        order.shape,
    )


def _positions(masked: tf.Tensor, predictions: int) -> tf.Tensor:
    """int64 [B, P] the places that are true in [B, L], ascending; -1 after them."""
    numbers = tf.where(masked, _columns(masked), _NEVER)
    if predictions > masked.shape[1]:
        numbers = tf.pad(numbers, [[0, 0], [0, predictions - masked.shape[1]]], constant_values=_NEVER)
    smallest = tf.sort(numbers, axis=1)[:, :predictions]
    return tf.where(smallest < _NEVER, smallest, -1)


def _replacements(ids: tf.Tensor, decided_at: tf.Tensor, keys: tf.Tensor, rules: MaskRules) -> tf.Tensor:
    """The replacement at each place [B, L] if it is masked; `decided_at`: the place whose draw chooses its kind."""
    real = np.concatenate([np.arange(first, last) for first, last in rules.random_ids])
    drawn = _uniform(keys, WORD, _columns(ids)) * tf.constant(len(real), tf.float64)
    random = tf.gather(tf.constant(real, tf.int64), tf.minimum(tf.cast(drawn, tf.int64), len(real) - 1))
    action = _uniform(keys, ACTION, decided_at)
    replaced = rules.mask_token_prob + rules.random_token_prob
    mask = tf.constant(rules.mask_id, tf.int64)
    return tf.where(action < rules.mask_token_prob, mask, tf.where(action < replaced, random, ids))


# ── Units ────────────────────────────────────────────────────────────────────────────────────────────────


def _unit_of(starts: tf.Tensor) -> tf.Tensor:
    """int64 [B, L] for each place the start of the unit that it is in (0 before the first)."""
    return _running_max(tf.where(starts, _columns(starts), 0))


def _sizes(starts: tf.Tensor, maskable: tf.Tensor) -> tf.Tensor:
    """int64 [B, L] at each start the size of its unit: up to the next start or the next place that cannot be masked."""
    length = starts.shape[1]
    columns = _columns(starts)
    edge = tf.where(starts | ~maskable, columns, length)
    # The next edge: the running minimum from the right, as a running maximum of the negated numbers.
    following = -_running_max(tf.reverse(-edge, [1]))[:, ::-1]
    return (
        tf.concat([following[:, 1:], tf.fill([tf.shape(edge)[0], 1], tf.constant(length, tf.int64))], 1)
        - columns
    )


def _running_max(values: tf.Tensor) -> tf.Tensor:
    """int64 [B, L] → the largest number up to each place, in log₂ L steps."""
    step = 1
    while step < values.shape[1]:
        values = tf.maximum(values, _shifted(values, step, tf.int64.min))
        step *= 2
    return values


def _shifted(values: tf.Tensor, step: int, fill: int | bool) -> tf.Tensor:
    """[B, L] moved `step` places to the right."""
    return tf.pad(values[:, :-step], [[0, 0], [step, 0]], constant_values=tf.constant(fill, values.dtype))


def _columns(like: tf.Tensor) -> tf.Tensor:
    """int64 [1, L]: 0, 1, 2, …"""
    return tf.range(like.shape[1], dtype=tf.int64)[None, :]


# ── Chance ───────────────────────────────────────────────────────────────────────────────────────────────


def _uint64(number: int) -> tf.Tensor:
    return tf.constant(number % 2**64, tf.uint64)


def _mix(values: tf.Tensor) -> tf.Tensor:
    for shift, factor in ((30, int(FIRST)), (27, int(SECOND))):
        values = tf.bitwise.bitwise_xor(values, tf.bitwise.right_shift(values, _uint64(shift))) * _uint64(
            factor
        )
    return tf.bitwise.bitwise_xor(values, tf.bitwise.right_shift(values, _uint64(31)))


def _fold(keys: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    inner = _mix((numbers + _uint64(1)) * _uint64(int(GOLDEN)))
    return _mix(tf.bitwise.bitwise_xor(keys, inner))


def _bits(keys: tf.Tensor, draw: int, columns: tf.Tensor) -> tf.Tensor:
    """uint64 [B, L]: random bits of one kind of draw for each key [B] and place [B or 1, L]."""
    counter = tf.cast(columns, tf.uint64) + _uint64(draw + 1)
    return _mix(keys[:, None] + counter * _uint64(int(GOLDEN)))


def _uniform(keys: tf.Tensor, draw: int, columns: tf.Tensor) -> tf.Tensor:
    """float64 [B, L] from 0 up to, not including, 1."""
    high = tf.bitwise.right_shift(_bits(keys, draw, columns), _uint64(11))
    return tf.cast(high, tf.float64) * tf.constant(2.0**-53, tf.float64)
