"""Instances: what is made of documents, by invariants and by statistics over a hundred thousand of them."""

import io
from array import array
from pathlib import Path

import numpy as np
import pytest
from creating import within_three_standard_errors
from hypothesis import given, settings
from hypothesis import strategies as st

from morphbert.data import batches, sections
from morphbert.data.config import InstanceConfig
from morphbert.data.encoding import MORPHEME, SPACED, WORD, SentenceEncoder
from morphbert.data.example_message import parse_example
from morphbert.data.instances import plan
from morphbert.data.records import read_records
from morphbert.data.sections import PlanTask, Split, pieces_of, plan_tasks, split_of
from morphbert.data.store import TokenStore
from morphbert.errors import UsageError
from morphbert.text.loading import load_tokenizer

GOLDEN = Path(__file__).parent / "golden"
CLS, SEP, MASK, UNK, FIRST_PIECE, VOCABULARY = 1, 2, 3, 4, 5, 1000
PIECES = batches.Pieces(CLS, SEP, MASK, UNK, np.arange(FIRST_PIECE, VOCABULARY))


def store_of(documents):
    """A store of documents that are lists of sentences, which are lists of eojeol lengths."""
    rng = np.random.default_rng(0)
    marks, sentences, first_sentence, first_token = [], [0], [0], [0]
    for document in documents:
        for sentence in document:
            for eojeol in sentence:
                marks += [SPACED | WORD | MORPHEME] + [
                    MORPHEME if rng.random() < 0.4 else 0 for _ in range(eojeol - 1)
                ]
            sentences.append(len(marks))
        first_sentence.append(len(sentences) - 1)
        first_token.append(len(marks))
    count = len(marks)
    return TokenStore(
        tokens=rng.integers(FIRST_PIECE, VOCABULARY, count).astype(np.uint16),
        marks=np.array(marks, np.uint8),
        sentences=np.array(sentences),
        documents=np.array(first_sentence),
        document_tokens=np.array(first_token),
        digests=np.arange(len(documents), dtype=np.uint64),
    )


@pytest.fixture(scope="module")
def corpus():
    """Documents of 1 to 60 sentences of 1 to 40 eojeols, some sentences far too long for a sequence."""
    rng = np.random.default_rng(1)
    documents = []
    for _ in range(950):
        document = []
        for _ in range(int(rng.geometric(1 / 12))):
            eojeols = int(rng.integers(1, 40)) if rng.random() > 0.02 else int(rng.integers(60, 400))
            document.append(rng.integers(1, 6, eojeols).tolist())
        documents.append(document)
    return store_of(documents)


def whole(store):
    return split_of(store, np.ones(store.num_documents, bool))


def all_plans(store, split, config, duplicates=None, tokens=1 << 16):
    tasks = plan_tasks(store, split, config, tokens)
    return np.concatenate([plan(store, split, t, config, duplicates or config.dupe_factor) for t in tasks])


def by_key(plans):
    return plans[np.argsort(plans["key"])].tobytes()


def document_of(store, token):
    return np.searchsorted(store.document_tokens, token, "right") - 1


def segment_ends(plans):
    return (
        plans["first"] + plans["first_length"].astype(np.int64),
        plans["second"] + plans["second_length"].astype(np.int64),
    )


@pytest.fixture(scope="module")
def hundred_thousand(corpus):
    config = InstanceConfig(dupe_factor=10)
    plans = all_plans(corpus, whole(corpus), config)
    assert len(plans) >= 100_000, len(plans)
    return config, plans


def test_next_sentence_labels_are_a_fair_coin(hundred_thousand):
    _, plans = hundred_thousand
    assert within_three_standard_errors(plans["label"].sum(), len(plans), 0.5)


def test_lengths(hundred_thousand):
    config, plans = hundred_thousand
    lengths = plans["first_length"] + plans["second_length"] + 3
    assert lengths.max() == config.max_seq_length
    assert plans["first_length"].min() >= 1
    assert plans["second_length"].min() >= 1
    # Nine in ten aim at the full length; what is shorter is drawn so, a document's end, or cut at an eojeol.
    assert (lengths >= config.max_seq_length - 5).mean() > 0.6


def test_no_segment_leaves_its_document(corpus, hundred_thousand):
    _, plans = hundred_thousand
    for start, end in zip(("first", "second"), segment_ends(plans), strict=True):
        assert (document_of(corpus, plans[start]) == document_of(corpus, end - 1)).all()


def test_label_0_follows_and_label_1_is_from_another_document(corpus, hundred_thousand):
    _, plans = hundred_thousand
    first_end, _ = segment_ends(plans)
    random_next = plans["label"] == 1
    assert (plans["second"][~random_next] == first_end[~random_next]).all()
    other = document_of(corpus, plans["second"][random_next])
    assert (other != document_of(corpus, plans["first"][random_next])).all()


def test_random_next_sentences_are_spread_over_the_corpus(corpus, hundred_thousand):
    _, plans = hundred_thousand
    drawn = document_of(corpus, plans["second"][plans["label"] == 1])
    counts = np.bincount(drawn, minlength=corpus.num_documents)
    expected = np.diff(corpus.documents) / corpus.num_sentences * len(drawn)
    # Chi-square with D − 1 degrees of freedom, its mean D and its standard deviation √(2D).
    statistic = ((counts - expected) ** 2 / expected).sum()
    degrees = corpus.num_documents - 1
    assert abs(statistic - degrees) < 4 * (2 * degrees) ** 0.5


def test_nothing_is_lost(corpus, hundred_thousand):
    """In every duplicate, each piece of the corpus stands in an instance of its own place."""
    _config, _ = hundred_thousand
    for objective in ("nsp", "none"):
        own = all_plans(corpus, whole(corpus), InstanceConfig(dupe_factor=1, objective=objective))
        seen = np.zeros(corpus.num_tokens, bool)
        first_end, second_end = segment_ends(own)
        for row, (end_a, end_b) in zip(own, zip(first_end, second_end, strict=True), strict=True):
            seen[row["first"] : end_a] = True
            if row["label"] == 0:
                seen[row["second"] : end_b] = True
        assert seen.all()


def test_segments_are_cut_between_eojeols(corpus, hundred_thousand):
    _, plans = hundred_thousand
    spaced = (corpus.marks & SPACED) != 0
    assert spaced[plans["first"]].all()
    # The exception: a single eojeol whose second half has to be B.
    divided = plans[~spaced[plans["second"]]]
    assert (divided["label"] == 0).all()
    assert (divided["first_length"] + divided["second_length"]).max() <= 5
    assert len(divided) < 0.01 * len(plans)


def test_sentence_boundaries_are_used_where_there_are_any(corpus, hundred_thousand):
    _, plans = hundred_thousand
    starts = np.zeros(corpus.num_tokens + 1, bool)
    starts[corpus.sentences] = True
    follows = plans[plans["label"] == 0]
    first_end, second_end = segment_ends(follows)
    inside = np.searchsorted(corpus.sentences, second_end, "left") - np.searchsorted(
        corpus.sentences, follows["first"], "right"
    )
    assert starts[first_end[inside > 0]].all()


def test_the_place_of_b_does_not_tell_the_label(corpus, hundred_thousand):
    """B starts with a sentence as often when it is random as when it is not."""
    _, plans = hundred_thousand
    starts = np.zeros(corpus.num_tokens + 1, bool)
    starts[corpus.sentences] = True
    shares = [starts[plans["second"][plans["label"] == label]].mean() for label in (0, 1)]
    assert shares[0] < 0.9, "the corpus has long sentences, so there is something to tell"
    assert abs(shares[0] - shares[1]) < 0.02


def test_duplicates_and_seeds_differ(corpus):
    config = InstanceConfig(dupe_factor=2)
    plans = all_plans(corpus, whole(corpus), config)
    assert len(np.unique(plans["key"])) == len(plans)
    other = all_plans(corpus, whole(corpus), InstanceConfig(dupe_factor=2, random_seed=1))
    assert not np.isin(plans["key"], other["key"]).any()


def test_instances_of_a_document_depend_on_nothing_around_it(corpus):
    """The same rows, however the work is cut and how many duplicates there are."""
    config = InstanceConfig(dupe_factor=2)
    small = all_plans(corpus, whole(corpus), config, tokens=20_000)
    large = all_plans(corpus, whole(corpus), config, tokens=10**9)
    assert by_key(small) == by_key(large)
    more = all_plans(corpus, whole(corpus), config, duplicates=3)
    assert np.isin(small["key"], more["key"]).all()


def test_documents_are_looked_at_some_at_a_time(corpus, tmp_path, monkeypatch):
    """So that memory does not grow with their number; it changes nothing."""
    chosen = np.arange(corpus.num_documents) % 3 > 0
    at_once = split_of(corpus, chosen)
    config = InstanceConfig(dupe_factor=1)
    plans = all_plans(corpus, at_once, config)
    pieces = pieces_of(corpus, chosen)
    assert pieces == np.diff(corpus.document_tokens)[chosen].sum()
    monkeypatch.setattr(sections, "_DOCUMENTS_AT_ONCE", 7)
    for folder in (None, str(tmp_path)):
        made = split_of(corpus, chosen, folder)
        assert (made.documents == at_once.documents).all()
        assert (made.before == at_once.before).all()
        assert made.num_sentences == at_once.num_sentences
        assert by_key(all_plans(corpus, made, config)) == by_key(plans)
    assert pieces_of(corpus, chosen) == pieces


def test_one_document_of_a_million_pieces_is_planned_in_parts():
    store = store_of([[[3] * 340_000]])
    config = InstanceConfig(dupe_factor=2)
    tasks = plan_tasks(store, whole(store), config, 100_000)
    assert len(tasks) >= 10
    plans = all_plans(store, whole(store), config, tokens=100_000)
    one_task = plan(store, whole(store), PlanTask(0, 1), config, 2)
    assert by_key(plans) == by_key(one_task)
    seen = np.zeros(store.num_tokens, bool)
    for row, end in zip(plans, segment_ends(plans)[0], strict=True):
        seen[row["first"] : end] = True
    for row, end in zip(plans, segment_ends(plans)[1], strict=True):
        seen[row["second"] : end] = True
    assert seen.all()


def test_a_document_alone_gets_both_labels():
    store = store_of([[[2] * 15 for _ in range(400)]])
    plans = all_plans(store, whole(store), InstanceConfig(dupe_factor=20))
    assert within_three_standard_errors(plans["label"].sum(), len(plans), 0.5)
    random_next = plans[plans["label"] == 1]
    first_end, second_end = segment_ends(random_next)
    assert ((random_next["second"] > first_end) | (second_end <= random_next["first"])).all()


def test_two_sentences_alone_follow_each_other():
    store = store_of([[[2, 2], [3]]])
    plans = all_plans(store, whole(store), InstanceConfig(dupe_factor=5, short_seq_prob=0))
    assert (plans["label"] == 0).all()
    assert (plans["first_length"] == 4).all()
    assert (plans["second_length"] == 3).all()


def test_the_split_is_not_crossed(corpus):
    chosen = np.arange(corpus.num_documents) % 3 == 0
    for documents in (chosen, ~chosen):
        split = split_of(corpus, documents)
        plans = all_plans(corpus, split, InstanceConfig(dupe_factor=1))
        for start in ("first", "second"):
            assert documents[document_of(corpus, plans[start])].all()


def test_sentence_order(corpus):
    config = InstanceConfig(dupe_factor=5, objective="sop")
    plans = all_plans(corpus, whole(corpus), config)
    assert within_three_standard_errors(plans["label"].sum(), len(plans), 0.5)
    assert plans["first_length"].min() >= 1
    assert plans["second_length"].min() >= 1
    first_end, second_end = segment_ends(plans)
    swapped = plans["label"] == 1
    assert (plans["second"][~swapped] == first_end[~swapped]).all()
    assert (plans["first"][swapped] == second_end[swapped]).all()


def test_one_segment_without_objective(corpus):
    plans = all_plans(corpus, whole(corpus), InstanceConfig(dupe_factor=2, objective="none"))
    assert (plans["second_length"] == 0).all()
    assert plans["first_length"].max() == 126
    # Each duplicate is the corpus once: no piece twice.
    assert plans["first_length"].sum() == 2 * corpus.num_tokens


@given(
    st.lists(
        st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=12), min_size=1, max_size=4),
        min_size=1,
        max_size=5,
    ),
    st.integers(5, 40),
    st.sampled_from(["nsp", "sop", "none"]),
    st.floats(0, 1),
    st.integers(0, 2**64),
)
@settings(max_examples=150, deadline=None)
def test_any_corpus_at_any_length(documents, length, objective, short, seed):
    """Documents of a few pieces, words longer than sequences: never too long, never empty, nothing lost."""
    store = store_of(documents)
    config = InstanceConfig(
        max_seq_length=length,
        max_predictions_per_seq=2,
        objective=objective,
        short_seq_prob=short,
        random_seed=seed,
        dupe_factor=2,
    )
    plans = all_plans(store, whole(store), config)
    first_end, second_end = segment_ends(plans)
    specials = 2 if objective == "none" else 3
    assert (plans["first_length"] >= 1).all()
    assert ((plans["second_length"] >= 1) | (objective == "none")).all()
    assert (plans["first_length"] + plans["second_length"] + specials <= length).all()
    seen = np.zeros(store.num_tokens, bool)
    for row, end_a, end_b in zip(plans, first_end, second_end, strict=True):
        assert document_of(store, row["first"]) == document_of(store, end_a - 1)
        seen[row["first"] : end_a] = True
        seen[row["second"] : end_b] = True
    sizes = np.diff(store.document_tokens)
    alone = len(documents) == 1 or objective == "sop"
    can_be_lost = np.repeat((sizes == 1) & alone & (objective != "none"), sizes)
    assert (seen | can_be_lost).all()
    data = list(batches.records(store, plans, config, PIECES))
    assert sum(statistics.records for _, statistics in data) == len(plans)


# ── Records ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("unit", ["piece", "morpheme", "eojeol"])
@pytest.mark.parametrize("objective", ["nsp", "sop", "none"])
def test_records_hold_the_planned_pieces(corpus, unit, objective):
    """Masked positions and labels put back: exactly the pieces of the store, specials and padding around."""
    config = InstanceConfig(
        dupe_factor=1, max_seq_length=64, max_predictions_per_seq=10, masking_unit=unit, objective=objective
    )
    split = whole(corpus)
    plans = plan(corpus, Split(split.documents[:50], split.before[:51]), PlanTask(0, 50), config, 1)
    data = b"".join(data for data, _ in batches.records(corpus, plans, config, PIECES))
    parsed = [parse_example(record) for record in read_records(io.BytesIO(data))]
    assert len(parsed) == len(plans)
    for row, record in zip(plans, parsed, strict=True):
        ids = list(record["input_ids"])
        real = int(sum(record["masked_lm_weights"]))
        assert record["masked_lm_weights"] == [1.0] * real + [0.0] * (10 - real)
        assert record["masked_lm_positions"][real:] == record["masked_lm_ids"][real:] == [0] * (10 - real)
        positions = record["masked_lm_positions"][:real]
        assert positions == sorted(set(positions))
        for position, label in zip(positions, record["masked_lm_ids"], strict=False):
            ids[position] = label
        first = corpus.tokens[row["first"] :][: row["first_length"]].tolist()
        second = corpus.tokens[row["second"] :][: row["second_length"]].tolist()
        tokens = [CLS, *first, SEP, *([*second, SEP] if second else [])]
        padding = [0] * (64 - len(tokens))
        assert ids == tokens + padding
        assert record["input_mask"] == [1] * len(tokens) + padding
        b_start = len(first) + 2
        assert record["segment_ids"] == [0] * b_start + [1] * (len(tokens) - b_start) + padding
        if objective == "none":
            assert "next_sentence_labels" not in record
        else:
            assert record["next_sentence_labels"] == [row["label"]]


# ── Encoding ─────────────────────────────────────────────────────────────────────────────────────────────


def test_encoder_gives_the_tokenizers_ids_and_says_what_starts_where():
    tokenizer = load_tokenizer(str(GOLDEN / "vocab_ko.txt"), do_lower_case=False)
    encoder = SentenceEncoder(tokenizer)
    for name in ("documents_ko.txt", "documents_ko_2.txt", "documents_en.txt"):
        for line in (GOLDEN / name).read_text(encoding="utf-8").split("\n"):
            ids, marks = encoder(line)
            encoding = tokenizer.encode(line)
            assert ids == array("I", encoding.ids)
            assert len(marks) == len(ids)
            words = encoding.word_ids
            spaced = [index == 0 or words[index] != words[index - 1] for index in range(len(ids))]
            assert [bool(mark & SPACED) for mark in marks] == spaced
            # Without an analyser, what ## marks is what stands between spaces, punctuation and ideographs.
            bare = [not token.startswith("##") for token in encoding.tokens]
            assert [bool(mark & WORD) for mark in marks] == bare
            assert [bool(mark & MORPHEME) for mark in marks] == bare


@pytest.mark.parametrize(
    ("field", "value"),
    [("objective", "mlm"), ("masking_unit", "word"), ("max_seq_length", 0), ("short_seq_prob", 2.0)],
)
def test_config_refuses(field, value):
    with pytest.raises(UsageError, match=f"--{field}={value}"):
        InstanceConfig(**{field: value})
