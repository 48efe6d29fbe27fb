"""Records made of several corpora by weight: the shares, the counts, and the same bytes with any number of workers."""

import collections
import json

import pytest
from creating import KOREAN, create, files_of, flags, read
from hypothesis import given
from hypothesis import strategies as st

from morphbert.cli.create_pretraining_data import main
from morphbert.data.manifest import load_manifest
from morphbert.data.sections import copies_of


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """A small corpus of 40 documents in two files, and one of 200; each document begins with its number."""
    folder = tmp_path_factory.mktemp("corpora")
    for name, sentence, first, last in (
        ("a1", "나는 집에 간다.", 0, 15),
        ("a2", "나는 집에 간다.", 15, 40),
        ("b1", "모든 국민은 법 앞에 평등하다.", 0, 200),
    ):
        documents = (f"{number}.\n" + f"{sentence}\n" * (1 + number % 5) for number in range(first, last))
        (folder / f"{name}.txt").write_text("\n".join(documents), encoding="utf-8")
    return folder


FLAGS = {
    "objective": "none",
    "masking": "dynamic",
    "short_seq_prob": 0,
    "max_seq_length": 128,
    "dupe_factor": 2,
}


@pytest.fixture(scope="module")
def mixed(corpora, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    create(folder / "r", input_file=f"{corpora}/a*.txt:0.7,{corpora}/b*.txt:0.3", num_workers=1, **FLAGS)
    return folder


def taken(path):
    """By source: its pieces in all records, and how often each of its documents occurs."""
    pieces, documents = collections.Counter(), collections.defaultdict(collections.Counter)
    for record in read(path):
        ids = [
            piece for piece, word in zip(record["input_ids"], record["word_ids"], strict=True) if word >= 0
        ]
        end = next(n for n, piece in enumerate(ids) if piece == dot(record)) + 1
        source = tuple(ids[end : end + 2])
        pieces[source] += len(ids)
        documents[source][tuple(ids)] += 1
    return pieces, documents


def dot(record):
    from creating import VOCABULARY

    return VOCABULARY.read_text(encoding="utf-8").splitlines().index(".")


def test_pieces_have_the_shares_of_the_weights_and_the_manifest_counts_them(mixed):
    facts = load_manifest(str(mixed / "r")).mixture
    assert [(fact["inputs"], fact["weight"], fact["documents"]) for fact in facts] == [
        (["a1.txt", "a2.txt"], 0.7, 40),
        (["b1.txt"], 0.3, 200),
    ]
    total = sum(fact["pieces_taken"] for fact in facts)
    assert total == pytest.approx(2 * sum(fact["pieces"] for fact in facts), rel=0.1)
    for fact in facts:
        assert fact["pieces_taken"] / total == pytest.approx(fact["weight"], abs=0.05)
        assert fact["times"] == pytest.approx(
            2 * fact["weight"] * sum(f["pieces"] for f in facts) / fact["pieces"]
        )
    pieces, _ = taken(mixed / "r")
    assert sorted(pieces.values()) == sorted(fact["pieces_taken"] for fact in facts)


def test_each_document_is_used_about_as_often(mixed):
    facts = load_manifest(str(mixed / "r")).mixture
    _, documents = taken(mixed / "r")
    used = sorted(sum(counts.values()) for counts in documents.values())
    wanted = sorted(fact["times"] * fact["documents"] for fact in facts)
    for number, about in zip(used, wanted, strict=True):
        assert number == pytest.approx(about, rel=0.15)
    assert facts[0]["times"] > 5 > 1 > facts[1]["times"]


def test_workers_and_repetition_change_nothing_and_the_counts_are_said(mixed, corpora, tmp_path, capsys):
    pattern = f"{corpora}/a*.txt:7,{corpora}/b*.txt:3"  # the same shares
    create(tmp_path / "r", input_file=pattern, num_workers=2, **FLAGS)
    said = capsys.readouterr().err
    assert "mixture: a1.txt …:" in said
    assert "pieces taken" in said
    assert files_of(tmp_path) == files_of(mixed)


def test_held_out_documents_are_used_once_whatever_the_weights(corpora, tmp_path):
    held = {"eval_fraction": 0.3, "eval_output_file": tmp_path / "e"}
    create(tmp_path / "r", input_file=f"{corpora}/a*.txt:0.7,{corpora}/b*.txt:0.3", **FLAGS, **held)
    held["eval_output_file"] = tmp_path / "plain" / "e"
    create(tmp_path / "plain" / "r", input_file=f"{corpora}/a*.txt,{corpora}/b*.txt", **FLAGS, **held)
    assert (tmp_path / "e").read_bytes() == (tmp_path / "plain" / "e").read_bytes()
    assert not load_manifest(str(tmp_path / "e")).mixture
    assert "mixture" not in json.loads((tmp_path / "plain" / "r.manifest.json").read_text())
    facts = load_manifest(str(tmp_path / "r")).mixture
    assert sum(fact["documents"] for fact in facts) == load_manifest(str(tmp_path / "r")).num_documents


def test_what_does_not_go_with_weights_is_said(corpora, tmp_path, capsys):
    both = f"{corpora}/a*.txt:1,{corpora}/b*.txt:1"
    for more, words in (
        ({"mode": "google"}, "--mode=google"),
        ({"engine": "beam"}, "--engine=beam"),
        ({"input_file": f"{both},{corpora}/b1.txt:1"}, "b1.txt is in two sources"),
        ({"input_file": f"{corpora}/a*.txt:1,{corpora}/b*.txt"}, "has no weight"),
    ):
        assert main(flags(tmp_path / "r", **{"input_file": both, **more})) == 2
        assert words in capsys.readouterr().err


def test_a_name_with_a_colon_is_read_as_before(corpora, tmp_path, capsys):
    (tmp_path / "c:2").write_text("나는 집에 간다.\n나는 집에 간다.\n", encoding="utf-8")
    create(tmp_path / "r", input_file=tmp_path / "c:2", objective="none")
    assert not load_manifest(str(tmp_path / "r")).mixture
    (tmp_path / "c").write_text("나는 집에 간다.\n", encoding="utf-8")
    assert main(flags(tmp_path / "s", input_file=tmp_path / "c:2")) == 2
    assert "c:2:1 and a weight" in capsys.readouterr().err
    create(tmp_path / "s", input_file=f"{tmp_path}/c:2:1", objective="none")
    assert [fact["inputs"] for fact in load_manifest(str(tmp_path / "s")).mixture] == [["c:2"]]


def test_the_token_store_counts_the_documents_of_each_file(tmp_path):
    create(tmp_path / "r", input_file=KOREAN)
    store = json.loads((tmp_path / "token_store" / "store.json").read_text())
    assert sum(store["documents_of_files"]) == store["documents"]
    assert len(store["documents_of_files"]) == 2


@given(st.floats(0, 5), st.integers(0, 2**32))
def test_copies_are_the_numbers_around_the_average(times, seed):
    import numpy as np

    copies = copies_of([(1000, times)], np.arange(1000), seed)
    assert set(copies.tolist()) <= {int(times), int(times) + 1}
    assert copies.mean() == pytest.approx(times, abs=0.08)
