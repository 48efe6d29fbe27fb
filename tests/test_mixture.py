"""Records of several corpora by weight, and phases that go on with the records of an earlier one."""

import collections
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import arguments, assert_same, go_back_to, write_records
from samples import SHAPE

from morphbert.cli.run_pretraining import main
from morphbert.data.mixture import counts_after, one_round, split_weights, turns
from morphbert.data.records import RecordShape
from morphbert.errors import MorphbertError, UsageError
from morphbert.train.cluster.config import DeviceConfig
from morphbert.train.cluster.strategy import build_strategy
from morphbert.train.input.record_sets import Feed, RecordSet, mixed, one_after_the_other
from morphbert.train.input.records import RecordFormat
from morphbert.train.phases import in_phases, parse_phases
from morphbert.train.preflight import expand_sources


def divided(text, *existing):
    return split_weights(text.split(","), lambda part: part in existing, "--input_file")


def test_weights_become_shares():
    assert divided("a*:0.7,b*:0.3") == (["a*", "b*"], (7, 3))
    assert divided("a:2,b:1.5,c:.5") == (["a", "b", "c"], (4, 3, 1))
    assert divided("a,gs://b/c*,hdfs://host:90/x") == (["a", "gs://b/c*", "hdfs://host:90/x"], ())
    assert divided("gs://b/c*:2,d:1") == (["gs://b/c*", "d"], (2, 1))


def test_a_file_whose_name_ends_like_a_weight_stays_readable():
    assert divided("a:0.7,b", "a:0.7", "b") == (["a:0.7", "b"], ())
    assert divided("a:0.7:1,b:3", "a:0.7", "a", "b") == (["a:0.7", "b"], (1, 3))
    with pytest.raises(
        UsageError, match=r"'a:0\.7' is a file, and so is 'a', with the weight 0\.7.*a:0\.7:1"
    ):
        divided("a:0.7,b:0.3", "a:0.7", "a", "b")


@pytest.mark.parametrize(
    ("text", "word"),
    [("a:0.7,b", "'b' has no weight"), ("a:0,b:1", "above 0"), ("a:0.7000001,b:0.3", "too many digits")],
)
def test_what_is_no_mixture_is_said(text, word):
    with pytest.raises(UsageError, match=word):
        divided(text)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(0, 300))
def test_counts_are_those_of_the_turns(shares, number):
    found = collections.Counter(itertools.islice(turns(shares), number))
    counts = counts_after(shares, number)
    assert counts == [found[index] for index in range(len(shares))]
    assert all(abs(c - number * s / sum(shares)) <= 1 for c, s in zip(counts, shares, strict=True))
    assert list(itertools.islice(turns(shares), 2 * sum(shares))) == 2 * one_round(shares)


# ── batches ────────────────────────────────────────────────────────────────────────────────────────────────

FORM = RecordFormat(RecordShape(64, 10), 2000, 2)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Three files of records that say where they are from: 100 to 109, 200 to 206, 300 to 304."""
    folder = tmp_path_factory.mktemp("numbered")
    for number, count in ((100, 10), (200, 7), (300, 5)):
        rows = [{"input_ids": [2] + [number + index] * 62 + [3]} for index in range(count)]
        write_records(folder / f"{number}.tfrecord", *rows)
    return folder


@pytest.fixture(scope="module")
def devices():
    return build_strategy(DeviceConfig(strategy="cpu"))


def feed_of(sets, devices, skipped=None, **more):
    return Feed(sets, 4, devices, seed=7, shuffle_buffer_size=50, skipped=skipped, **more)


def marks(feed, batches):
    """What marks the records of the next batches."""
    found = []
    for _ in range(batches):
        portion = feed.take(1)
        found.append(next(portion.iterator)["input_ids"].numpy()[:, 1].tolist())
    return found


def mixture_of(folder):
    sources = [[str(folder / "100.tfrecord"), str(folder / "300.tfrecord")], [str(folder / "200.tfrecord")]]
    files = tuple(itertools.chain.from_iterable(sources))
    return mixed([RecordSet(files, FORM)], sources, (3, 1))


def test_each_batch_has_its_shares_and_each_source_is_gone_through(numbered, devices):
    feed = feed_of(mixture_of(numbered), devices)
    found = marks(feed, 14)
    for batch in found:
        assert [mark // 100 == 2 for mark in batch].count(True) == 1
    taken = list(itertools.chain.from_iterable(found))
    ones = [mark for mark in taken if mark // 100 == 2]
    others = [mark for mark in taken if mark // 100 != 2]
    for source, size in ((ones, 7), (others, 15)):  # each record once in each pass
        for first in range(0, len(source) - size + 1, size):
            assert len(set(source[first : first + size])) == size
    assert ones[:7] != ones[7:]  # in another order
    assert feed.counts_of_sources() == [42, 14]


def test_a_place_in_the_mixture_is_found_again(numbered, devices):
    sets = mixture_of(numbered)
    whole = marks(feed_of(sets, devices), 14)
    for skipped in (1, 6, 9):
        again = feed_of(sets, devices, [skipped])
        assert marks(again, 14 - skipped) == whole[skipped:]
        assert again.counts_of_sources() == [42, 14]
    portion = feed_of(sets, devices, [6]).take(1)
    where = portion.named(0)
    for mark in whole[6]:
        assert str(numbered / f"{mark // 100 * 100}.tfrecord") in where


def test_a_phase_with_larger_batches_goes_on_in_the_records(numbered, devices):
    """Ten batches of 4 and then 8 are forty records of the same order as all in batches of 4."""
    files = (str(numbered / "100.tfrecord"), str(numbered / "200.tfrecord"))
    phases = parse_phases("64:0.4,64:0.4:8,64:0.2:12")
    sets = in_phases([RecordSet(files, FORM)], phases, 10, 4)
    assert [(one.share, one.batch_size, one.first_record) for one in sets] == [
        (4, None, 0),
        (4, 8, 16),
        (2, 12, 48),
    ]
    plain = list(itertools.chain.from_iterable(marks(feed_of([RecordSet(files, FORM)], devices), 18)))
    feed = feed_of(sets, devices, order=one_after_the_other)
    found = marks(feed, 10)
    assert [len(batch) for batch in found] == [4] * 4 + [8] * 4 + [12] * 2
    assert list(itertools.chain.from_iterable(found)) == plain
    assert list(feed.position) == ["64", "64_1", "64_2"]
    again = feed_of(sets, devices, [4, 2, 0], order=one_after_the_other)
    again.begin(6)
    assert marks(again, 4) == found[6:]


def test_sources_are_files(numbered):
    pattern = f"{numbered}/1*:2,{numbered}/[23]*:1"
    sources, shares = expand_sources(pattern, "--input_file", weighted=True)
    assert shares == (2, 1)
    assert [len(files) for files in sources] == [1, 2]
    with pytest.raises(MorphbertError, match=r"100\.tfrecord is in two sources"):
        expand_sources(f"{numbered}/1*:2,{numbered}/*:1", "--input_file", weighted=True)
    with pytest.raises(MorphbertError, match="no record file matches"):
        expand_sources(f"{numbered}/1*:2,{numbered}/4*:1", "--input_file", weighted=True)


def test_a_mixture_of_lengths_needs_all_of_them_from_each(numbered):
    sets = [RecordSet((str(numbered / "100.tfrecord"),), FORM)]
    with pytest.raises(MorphbertError, match=r"max_seq_length=64 in .*200"):
        mixed(sets, [sets[0].files, [str(numbered / "200.tfrecord")]], (1, 1))


# ── a run ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.long
def test_a_run_on_a_mixture_goes_on_where_it_was(records, tiny_config, tmp_path, capsys):
    flags = (f"--input_file={records}/a*:0.25,{records}/b*:0.75", "--phases=64:0.5:8,64:0.5:16")
    flags += ("--num_train_steps=8", "--save_checkpoints_steps=2")
    run = [flag for flag in arguments(records, tiny_config, tmp_path / "whole", *flags) if flag not in SHAPE]
    assert main(run) == 0
    said = capsys.readouterr().out
    assert "mixture: 24 records from" in said
    assert "mixture: 72 records from" in said
    facts = json.loads((tmp_path / "whole" / "run.json").read_text())["data"]
    assert [(len(one["files"]), one["share"]) for one in facts["train"]["mixture"]] == [(1, 1), (1, 3)]
    assert "mixture" not in facts["eval"]
    for step in (2, 6):
        go_back_to(step, tmp_path / "whole", tmp_path / str(step))
        again = [flag.replace(str(tmp_path / "whole"), str(tmp_path / str(step))) for flag in map(str, run)]
        assert main(again) == 0
        said = capsys.readouterr().out
        assert "warning" not in said
        assert "mixture: 72 records from" in said
        assert_same(tmp_path / "whole" / "model.ckpt-8", tmp_path / str(step) / "model.ckpt-8")
    np.testing.assert_equal(counts_after((1, 3), 96), [24, 72])
