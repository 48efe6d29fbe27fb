"""Masks: BERT's rates, whole units, and replacements that are real pieces."""

import numpy as np
import pytest

from morphbert.data import masking
from morphbert.data.chance import below, bits, fold, key_of, uniform
from morphbert.data.config import InstanceConfig
from morphbert.data.documents import DocumentDigest, held_out
from morphbert.data.masking import Rows, Substitutes, mask, number_to_predict, real_pieces

CLS, SEP, MASK = 1, 2, 3
REAL = np.arange(10, 500)
SUBSTITUTES = Substitutes(MASK, REAL)
LENGTH = 128


@pytest.fixture(scope="module")
def batch():
    """2,000 rows `[CLS] A [SEP] B [SEP]` of many lengths, with units of one to six pieces."""
    rng = np.random.default_rng(0)
    rows = 2000
    ids = np.zeros((rows, LENGTH), np.int64)
    maskable = np.zeros((rows, LENGTH), bool)
    starts = np.zeros((rows, LENGTH), bool)
    for row in range(rows):
        first, second = rng.integers(1, 60, 2)
        ids[row, 1 : 1 + first + 1 + second] = rng.integers(10, 500, first + 1 + second)
        ids[row, [0, 1 + first, 2 + first + second]] = CLS, SEP, SEP
        maskable[row] = ids[row] >= 10
        starts[row] = maskable[row] & (rng.random(LENGTH) < 0.4)
        starts[row, [1, 2 + first]] = True
    keys = fold(key_of(0), np.arange(rows))
    return ids, maskable, starts, keys


def units_of(maskable, starts):
    """For each row, the sets of positions that belong together."""
    for row in range(len(maskable)):
        units = []
        for position in np.flatnonzero(maskable[row]).tolist():
            if starts[row, position] or not maskable[row, position - 1]:
                units.append(set())
            units[-1].add(position)
        yield units


def test_positions_and_labels_restore_the_input(batch):
    ids, maskable, starts, keys = batch
    for unit in ("piece", "eojeol"):
        made = mask(Rows(ids, maskable, starts, keys), InstanceConfig(masking_unit=unit), SUBSTITUTES)
        restored = made.ids.copy()
        for row in range(len(ids)):
            count = made.counts[row]
            positions = made.positions[row, :count]
            assert (np.diff(positions) > 0).all()
            assert maskable[row, positions].all()
            assert not made.positions[row, count:].any()
            assert not made.labels[row, count:].any()
            restored[row, positions] = made.labels[row, :count]
        assert (restored == ids).all()


@pytest.mark.parametrize("predictions", [1, 20, 128])
def test_pieces_are_predicted_in_berts_number(batch, predictions):
    ids, maskable, starts, keys = batch
    config = InstanceConfig(max_predictions_per_seq=predictions)
    made = mask(Rows(ids, maskable, starts, keys), config, SUBSTITUTES)
    lengths = (ids != 0).sum(axis=1)
    expected = [min(predictions, max(1, round(length * 0.15))) for length in lengths.tolist()]
    assert made.counts.tolist() == np.minimum(expected, maskable.sum(axis=1)).tolist()


def test_fewer_pieces_than_wanted():
    ids = np.array([[CLS, 11, SEP, 12, SEP, 0]])
    config = InstanceConfig(max_seq_length=6, max_predictions_per_seq=6, masked_lm_prob=1.0)
    maskable = ids >= 10
    made = mask(Rows(ids, maskable, maskable, key_of(1).reshape(1)), config, SUBSTITUTES)
    assert made.counts.tolist() == [2]
    assert made.positions.tolist() == [[1, 3, 0, 0, 0, 0]]
    assert made.labels.tolist() == [[11, 12, 0, 0, 0, 0]]


def test_eighty_ten_ten(batch):
    ids, maskable, starts, keys = batch
    action = {"mask": 0, "random": 0, "same": 0}
    replacements = []
    for seed in range(3):
        made = mask(Rows(ids, maskable, starts, fold(keys, seed)), InstanceConfig(), SUBSTITUTES)
        rows, slots = np.nonzero(np.arange(20)[None, :] < made.counts[:, None])
        now = made.ids[rows, made.positions[rows, slots]]
        then = made.labels[rows, slots]
        action["mask"] += int((now == MASK).sum())
        action["same"] += int((now == then).sum())
        changed = now[(now != MASK) & (now != then)]
        action["random"] += len(changed)
        replacements.append(changed)
    total = sum(action.values())
    assert total > 30_000
    # One random piece in 490 is the one that stood there.
    for name, share in (("mask", 0.8), ("same", 0.1 + 0.1 / 490), ("random", 0.1 - 0.1 / 490)):
        error = (share * (1 - share) / total) ** 0.5
        assert abs(action[name] / total - share) < 3 * error, name
    drawn = np.concatenate(replacements)
    assert np.isin(drawn, REAL).all()
    counts = np.bincount(drawn, minlength=500)[10:]
    assert abs(((counts - counts.mean()) ** 2 / counts.mean()).sum() - 489) < 4 * (2 * 489) ** 0.5


def test_every_position_is_as_likely(batch):
    ids, maskable, starts, keys = batch
    masked = np.zeros(ids.shape, bool)
    made = mask(Rows(ids, maskable, starts, keys), InstanceConfig(), SUBSTITUTES)
    rows, slots = np.nonzero(np.arange(20)[None, :] < made.counts[:, None])
    masked[rows, made.positions[rows, slots]] = True
    share = made.counts.sum() / maskable.sum()
    for columns in (slice(1, 10), slice(10, 40), slice(40, 128)):
        here = maskable[:, columns].sum()
        assert abs(masked[:, columns].sum() / here - share) < 4 * (share / here) ** 0.5 + 0.01


def test_units_are_masked_whole_or_not_at_all(batch):
    ids, maskable, starts, keys = batch
    config = InstanceConfig(masking_unit="eojeol")
    made = mask(Rows(ids, maskable, starts, keys), config, SUBSTITUTES)
    wanted = number_to_predict((ids != 0).sum(axis=1), config)
    for row, units in enumerate(units_of(maskable, starts)):
        chosen = set(made.positions[row, : made.counts[row]].tolist())
        room = wanted[row] - len(chosen)
        assert room >= 0
        for unit in units:
            assert unit <= chosen or not unit & chosen
            # Nothing is left out that would have fitted.
            assert unit <= chosen or len(unit) > room
    assert made.counts.sum() > 0.95 * wanted.sum()


def test_other_shares_of_replacements(batch):
    ids, maskable, starts, keys = batch
    for mask_token, random_token in ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0)):
        config = InstanceConfig(mask_token_prob=mask_token, random_token_prob=random_token)
        made = mask(Rows(ids, maskable, starts, keys), config, SUBSTITUTES)
        rows, slots = np.nonzero(np.arange(20)[None, :] < made.counts[:, None])
        now, then = made.ids[rows, made.positions[rows, slots]], made.labels[rows, slots]
        assert (now == MASK).all() == (mask_token == 1)
        assert (now == then).all() == (mask_token + random_token == 0)
        assert (now == MASK).any() == (mask_token == 1)


@pytest.mark.parametrize("unit", ["piece", "eojeol"])
def test_spans_are_geometric_and_replaced_as_one(batch, unit):
    ids, maskable, starts, keys = batch
    config = InstanceConfig(
        masking_unit=unit, max_span_length=10, masked_lm_prob=0.5, max_predictions_per_seq=128
    )
    made = mask(Rows(ids, maskable, starts, keys), config, SUBSTITUTES)
    masked = np.zeros(ids.shape, bool)
    rows, slots = np.nonzero(np.arange(128)[None, :] < made.counts[:, None])
    masked[rows, made.positions[rows, slots]] = True
    if unit == "eojeol":
        for row, units in enumerate(units_of(maskable, starts)):
            for positions in units:
                assert len({masked[row, position] for position in positions}) == 1
    # A run of masked positions is one span or several side by side; within a span, all or none is [MASK].
    runs = [
        len(run)
        for row in masked
        for run in np.split(np.arange(128), np.flatnonzero(np.diff(row)) + 1)
        if row[run[0]]
    ]
    one_by_one = InstanceConfig(masked_lm_prob=0.5, max_predictions_per_seq=128)
    single = mask(Rows(ids, maskable, starts, keys), one_by_one, SUBSTITUTES)
    assert np.mean(runs) > 3.5, "one by one, runs of masked pieces have a mean of 2"
    actions = (made.ids == MASK)[masked]
    neighbours = masked[:, :-1] & masked[:, 1:]
    same = ((made.ids[:, :-1] == MASK) == (made.ids[:, 1:] == MASK))[neighbours].mean()
    assert same > 0.85, "independent draws would agree in 68%"
    assert 0.7 < actions.mean() < 0.9
    assert single.counts.sum() >= made.counts.sum() > 0.88 * single.counts.sum()


def test_span_lengths():
    rows = np.ones((4000, 125), bool)
    config = InstanceConfig(max_span_length=10)
    spans = masking._span_starts(rows, rows, fold(key_of(1), np.arange(4000)), config)
    lengths = np.concatenate([np.diff(np.flatnonzero(row)) for row in spans])
    assert lengths.max() == 10
    counts = np.bincount(lengths, minlength=11)[1:4] / len(lengths)
    # In a row cut at every tenth unit at the latest, (1 − 0.8¹⁰) of the first ends are geometric.
    share = np.array([0.2, 0.16, 0.128])
    assert np.allclose(counts, share, rtol=0.06), counts


def test_long_words_are_never_masked(batch):
    ids, maskable, starts, keys = batch
    for span in (1, 5):
        config = InstanceConfig(masking_unit="eojeol", max_word_pieces=2, max_span_length=span)
        made = mask(Rows(ids, maskable, starts, keys), config, SUBSTITUTES)
        for row, units in enumerate(units_of(maskable, starts)):
            chosen = set(made.positions[row, : made.counts[row]].tolist())
            for unit in units:
                assert unit <= chosen or not unit & chosen
                assert len(unit) <= 2 or not unit & chosen
        assert made.counts.sum() > 10_000


def test_masks_differ_between_keys_and_are_the_same_for_one(batch):
    ids, maskable, starts, keys = batch
    config = InstanceConfig()
    once = mask(Rows(ids, maskable, starts, keys), config, SUBSTITUTES)
    again = mask(Rows(ids[::-1], maskable[::-1], starts[::-1], keys[::-1]), config, SUBSTITUTES)
    assert (once.ids == again.ids[::-1]).all()
    other = mask(Rows(ids, maskable, starts, fold(keys, 1)), config, SUBSTITUTES)
    assert (once.positions != other.positions).any(axis=1).mean() > 0.95


def test_real_pieces():
    tokens = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[", "]", "[]", "가", "##나", ""]
    assert real_pieces(tokens).tolist() == [6, 7, 8, 9, 10]


# ── Randomness as a function ─────────────────────────────────────────────────────────────────────────────


def test_chance_is_what_it_was():
    """Records of a seed stay the same from version to version: SplitMix64's known outputs."""
    # Sebastiano Vigna's splitmix64.c with state 1234567 gives these first numbers.
    assert bits(np.array(1234567, np.uint64), np.arange(3)).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_uniform_is_uniform_and_its_keys_are_independent():
    keys = fold(key_of(5), np.arange(1000))
    drawn = uniform(keys[:, None], np.arange(100)[None, :])
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts, _ = np.histogram(drawn, 50, (0, 1))
    assert abs(((counts - 2000) ** 2 / 2000).sum() - 49) < 4 * 98**0.5
    between = np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]
    along = np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]
    assert abs(between) < 0.015
    assert abs(along) < 0.015


def test_below_stays_below():
    keys = fold(key_of(-3), np.arange(10_000))
    assert set(below(3, keys, 0).tolist()) == {0, 1, 2}
    limits = np.array([1, 2, 2**40])
    assert (below(limits, keys[:3], 0) < limits).all()
    assert key_of(-3) != key_of(3)


# ── Held-out documents ───────────────────────────────────────────────────────────────────────────────────


def digest(*lines):
    made = DocumentDigest()
    for line in lines:
        made.add(line)
    return made.value()


def test_digests_know_their_lines():
    assert digest("비가 온다.", "해가 뜬다.") == digest("비가 온다.".encode(), "해가 뜬다.")
    assert digest("비가", "온다.") != digest("비가온다.")
    assert digest("비가", "온다.") != digest("온다.", "비가")


def test_held_out_share_and_stability():
    digests = [digest(f"문서 {number}") for number in range(20_000)]
    out = held_out(digests, 0.05)
    assert abs(out.mean() - 0.05) < 3 * (0.05 * 0.95 / 20_000) ** 0.5
    assert (held_out(digests[:5000], 0.05) == out[:5000]).all()
    assert (held_out(digests, 0.1) | ~out).all(), "a larger share only adds"


@pytest.mark.parametrize("fraction", [1e-9, 0.5, 1 - 1e-9])
def test_both_sides_have_a_document_where_there_are_two(fraction):
    for digests in ([1, 2], [2**63, 2**63], [2**64 - 1, 2**64 - 2, 2**64 - 3]):
        out = held_out(digests, fraction)
        assert 0 < out.sum() < len(digests)
    assert held_out([5], 1e-9).tolist() == [False]
    assert held_out([], 0.5).tolist() == []
