"""Near duplicates: found where the true share in common says so, in memory that does not grow with the corpus."""

import gzip
import json
import random
import subprocess
import sys

import pytest
from real_data import PETITIONS, needs
from samples import GOLDEN

from morphbert.corpus.duplicates import DuplicateStore, signature

WORDS = (GOLDEN / "documents_ko.txt").read_text(encoding="utf-8").split()


def _shingles(text):
    text = "".join(text.split())
    return {text[start : start + 5] for start in range(len(text) - 4)}


def _jaccard(one, other):
    ours, theirs = _shingles(one), _shingles(other)
    return len(ours & theirs) / len(ours | theirs)


def _document(chance, length=200):
    return " ".join(chance.choice(WORDS) for _ in range(length))


def _changed(text, chance, share):
    return " ".join(chance.choice(WORDS) if chance.random() < share else word for word in text.split())


def _estimate(one, other):
    ours, theirs = (memoryview(signature(text)).cast("I") for text in (one, other))
    return sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(ours)


def test_the_estimate_is_the_true_share():
    chance = random.Random(1)
    errors = []
    for share in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0) * 6:
        text = _document(chance)
        other = _changed(text, chance, share)
        errors.append(_estimate(text, other) - _jaccard(text, other))
    # The standard error of 128 minima is 0.044 at most.
    assert max(map(abs, errors)) < 0.16
    assert abs(sum(errors) / len(errors)) < 0.03


def test_signatures_stay_what_they_are():
    """They decide which documents go: another version of a library must not change them."""
    assert signature("사과나무를 심었습니다.")[:16].hex() == "ab4cae10dce16923e399171c5fca4a23"
    assert signature(" 사과 나무를\n심었습니다.") == signature("사과나무를심었습니다.")
    assert len(signature("")) == len(signature("가")) == 512
    assert signature("가") != signature("나")


def test_near_duplicates_are_found_and_others_are_not():
    chance = random.Random(2)
    originals = [_document(chance) for _ in range(60)]
    with DuplicateStore(near=0.8) as store:
        for number, text in enumerate(originals):
            assert store.find_or_add(text.encode(), signature(text), f"a:{number}") is None
        found = missed = 0
        for number, text in enumerate(originals):
            close, far = _changed(text, chance, 0.01), _changed(text, chance, 0.3)
            assert _jaccard(text, far) < 0.6
            assert store.find_or_add(far.encode(), signature(far), f"far:{number}") is None
            if _jaccard(text, close) >= 0.88:
                duplicate = store.find_or_add(close.encode(), signature(close), f"b:{number}")
                found += duplicate is not None
                missed += duplicate is None
                if duplicate is not None:
                    assert (duplicate.of, duplicate.equal or duplicate.similarity >= 0.8) == (
                        f"a:{number}",
                        True,
                    )
        assert found >= 40
        assert missed <= 0.05 * found
        again = store.find_or_add(originals[3].encode(), signature(originals[3]), "c")
        assert (again.of, again.equal) == ("a:3", True)


@pytest.mark.parametrize("near", [0.05, 0.5, 0.99, 1.0])
def test_any_threshold(near):
    chance = random.Random(4)
    text = _document(chance)
    close = text.replace(" ", "  ") + "\n"
    with DuplicateStore(near) as store:
        assert store.find_or_add(b"1", signature(text), "1") is None
        assert store.find_or_add(b"2", signature(close), "2") == ("1", False, 1.0)


def test_a_chain_of_changes_is_measured_from_what_was_kept():
    chance = random.Random(3)
    text = _document(chance)
    kept = []
    with DuplicateStore(near=0.7) as store:
        for number in range(12):
            if store.find_or_add(text.encode(), signature(text), str(number)) is None:
                kept.append(text)
            text = _changed(text, chance, 0.04)
    assert 2 <= len(kept) <= 6
    assert _jaccard(kept[0], kept[1]) < 0.8


@needs(PETITIONS)
def test_petitions_that_repeat_are_found_as_by_comparing_all():
    with gzip.open(PETITIONS, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line, _ in zip(lines, range(300), strict=False)]
    kept = {}
    found = 0
    with DuplicateStore(near=0.8) as store:
        for number, text in enumerate(texts):
            ours = _shingles(text)
            common = {name: len(ours & theirs) / len(ours | theirs) for name, theirs in kept.items()}
            nearest = max(common, key=common.get, default=None)
            duplicate = store.find_or_add(text.encode(), signature(text), str(number))
            if duplicate is None:
                assert not common or common[nearest] < 0.9
                kept[str(number)] = ours
            else:
                found += 1
                assert duplicate.equal == (texts[int(duplicate.of)] == text)
                assert duplicate.equal or common[duplicate.of] > 0.7
    assert found >= 15


@pytest.mark.slow
def test_memory_does_not_grow_with_the_documents():
    """Signatures of many documents go to the disk: 10 times as many need hardly more memory."""
    program = """
import os, resource, sys
from morphbert.corpus.duplicates import DuplicateStore, signature
signature("가")
with DuplicateStore(near=0.8, cache_kib=8_000) as store:
    for number in range(int(sys.argv[1])):
        assert store.find_or_add(number.to_bytes(16, "big"), os.urandom(512), f"{number}") is None
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    few, many = (
        int(
            subprocess.run(
                [sys.executable, "-c", program, str(number)], capture_output=True, check=True
            ).stdout
        )
        for number in (5_000, 50_000)
    )
    assert many < few + 20_000
