"""The Mecab analyser against the engine itself, and on text that the engine alone does not survive."""

import os
import pickle
import time

import mecab_ko
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphbert.text import analyzers
from morphbert.text.analyzers import MARK, MecabAnalyzer
from morphbert.text.normalize import Normalizer

ANALYZER = MecabAnalyzer()
NORMALIZE = Normalizer("nfc")
SENTENCES = [
    "사과나무를 심었습니다.",
    "나는 어제 친구와 함께 영화를 봤다. 정말 재미있었다!",
    "BERT(버트)는 2018년에 구글이 공개한 언어 모델이다. https://example.com/a_b 참고 ㅋㅋㅋ",
    "대한민국(大韓民國)의 수도는 서울特別市이다 👨👩👧",
    '100% "따옴표" \\ 역사선 %M %s |',
]


def boundaries(text):
    """Ends of the morphemes in bytes, by the engine itself and its own output format."""
    return [int(end) for end in mecab_ko.Tagger('-F "%pe " -U "%pe " -E ""').parse(text).split()]


def marked_boundaries(text):
    ends, position = [], 0
    for part in ANALYZER.mark(text).split(MARK)[:-1]:
        position += len(part.encode())
        ends.append(position)
    return ends


@pytest.mark.parametrize("sentence", SENTENCES)
def test_boundaries_are_the_engines(sentence):
    assert marked_boundaries(sentence) == boundaries(sentence)


def test_marks():
    assert ANALYZER.mark(SENTENCES[0]) == "사과나무|를| 심|었|습니다|.|".replace("|", MARK)
    assert ANALYZER.mark("") == ""


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.text(alphabet="가나다를은ㅋ!a0.\0\u200b \u3000\ud800한👨\u200d")))
def test_nothing_is_lost(text):
    normalized = NORMALIZE(text)
    assert ANALYZER.mark(normalized).replace(MARK, "") == normalized


def test_long_texts_are_cut_after_sentences_and_lose_nothing():
    sentences = [f"{number}번째 사과나무를 심었습니다." for number in range(6000)]
    text = " ".join(sentences)
    marked = ANALYZER.mark(text)
    assert len(text) > 3 * analyzers._LONGEST_TEXT
    assert marked.replace(MARK, "") == text
    assert marked == " ".join(map(ANALYZER.mark, sentences))


def test_a_word_of_any_length_between_ordinary_ones():
    text = " ".join(["사과나무를", "가" * 2500, "심었습니다.", "b" * 1001, "끝"])
    marked = ANALYZER.mark(text)
    assert marked.replace(MARK, "") == text
    assert marked.startswith(f"사과나무{MARK}를{MARK} ")
    assert marked.endswith(f"b{MARK} 끝{MARK}")


@pytest.mark.parametrize("char", ["a", "ㅋ", "!", "가", "0", "👍"])
def test_a_million_times_one_character(char):
    """Takes about a second; the engine alone takes two minutes for a million `a`s."""
    start = time.process_time()
    assert len(ANALYZER.mark(char * 1_000_000).replace(MARK, "")) == 1_000_000
    assert time.process_time() - start < 60


def test_forked_and_pickled_instances_answer_the_same():
    expected = ANALYZER.mark(SENTENCES[1])
    assert pickle.loads(pickle.dumps(ANALYZER)).mark(SENTENCES[1]) == expected
    child = os.fork()
    if child == 0:
        os._exit(0 if ANALYZER.mark(SENTENCES[1]) == expected else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_identity_names_packages_and_files():
    identity = ANALYZER.describe()
    assert identity["name"] == "mecab"
    assert identity["engine"]["package"] == "mecab-ko"
    assert identity["dictionary"]["files"]["sys.dic"]["size"] > 50_000_000
    assert all(len(entry["sha256"]) == 64 for entry in identity["dictionary"]["files"].values())
