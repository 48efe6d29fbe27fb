"""Normalisation: its effect on each kind of character, and the way back."""

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphbert.text import normalize
from morphbert.text.normalize import Normalizer

ALL = [Normalizer(form, lower) for form in ("nfc", "bert") for lower in (False, True)]
NFC, NFC_LOWER, BERT, BERT_LOWER = ALL
# Characters that compose, decompose, reorder, change length or vanish, often enough to meet each other.
AWKWARD = (
    "가각각é\u0301\u0300\u0323ΣσİI\u0307ẞﬁ\u200b\u3000\n \u2028\x85\x0c\0\ud800"
    "\u302e\u09c7\u09be\u115f韓\uf900ㅋ\u0338<.9"
)
ANY_TEXT = st.one_of(st.text(), st.text(alphabet=AWKWARD), st.text(alphabet="가나 \tab"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  한국어  문장\t\r\n", "한국어 문장"),
        (unicodedata.normalize("NFD", "한국어"), "한국어"),
        ("가\u00a0나\u3000다\u2003라\u2028마\u0085바\x0c사\x1f아", "가 나 다 라 마 바 사 아"),
        ("\ufeff가\u200b나\u200d다\u00ad라\x00마\u202e", "가나다라마"),
        ("\ud83d 반쪽", "\ufffd 반쪽"),
        ("Café cafe\u0301 ㅋㅋ 韓", "Café café ㅋㅋ 韓"),
        ("", ""),
        (" \u3000\n", ""),
    ],
)
def test_nfc(text, expected):
    assert NFC(text) == expected


def test_lower_case_leaves_hangul_whole_unless_bert_is_asked_for():
    assert NFC_LOWER("한국어 CAFÉ ΣΑΣ") == "한국어 cafe σας"
    assert BERT_LOWER("한국어 CAFÉ") == unicodedata.normalize("NFD", "한국어") + " cafe"


def test_plain_characters_are_left_alone_by_every_step():
    """The shortcut for plain text is right for every character that it lets through."""
    plain = [char for char in map(chr, range(sys.maxunicode + 1)) if normalize._PLAIN.fullmatch(char)]
    assert len(plain) > 30_000
    for char in plain:
        assert NFC.with_map(f"a{char}a").text == " ".join(f"a{char}a".split())
        for table in normalize._TABLES.values():
            assert table[ord(char)] == char
        assert not normalize._joins_the_previous(char)
        assert len(char.lower()) == 1
        decomposed = unicodedata.normalize("NFD", char.lower())
        assert unicodedata.normalize("NFC", decomposed) == char.lower()
        assert not any(unicodedata.category(part) == "Mn" for part in decomposed)


@settings(max_examples=400, deadline=None)
@given(ANY_TEXT)
def test_the_map_belongs_to_the_same_text(text):
    for normalizer in ALL:
        mapped = normalizer.with_map(text)
        assert mapped.text == normalizer(text)
        assert mapped.text == " ".join(mapped.text.split())
        if mapped.starts is None:
            assert len(mapped.text) == len(text)
            continue
        assert len(mapped.starts) == len(mapped.ends) == len(mapped.text)
        assert mapped.starts == sorted(mapped.starts)
        assert mapped.ends == sorted(mapped.ends)
        assert all(
            0 <= start < end <= len(text) for start, end in zip(mapped.starts, mapped.ends, strict=True)
        )


EVERY_FORM = [
    Normalizer(form, lower, accents, added)
    for form in ("nfc", "bert", "transformers")
    for lower in (False, True)
    for accents in (None, False, True)
    for added in ((), ("[MASK]", "b"))
]


def slowly(normalizer, text):
    """Every character through every step."""
    chars, starts, ends = normalizer._steps(text)
    return normalize._collapse_spaces(chars, starts, ends)


@settings(max_examples=300, deadline=None)
@given(st.one_of(ANY_TEXT, st.text(alphabet=AWKWARD + "가나다 ABCx  ")), st.sampled_from(EVERY_FORM))
def test_runs_of_plain_characters_have_the_map_of_single_ones(text, normalizer):
    chars, starts, ends = slowly(normalizer, text)
    mapped = normalizer.with_map(text)
    assert mapped.text == chars
    every = list(range(len(chars)))
    assert (mapped.starts or every) == starts or not chars
    assert (mapped.ends or [end + 1 for end in every]) == ends or not chars
    ranges = [(start, end) for start in every for end in (start, start + 1, len(chars))]
    assert mapped.spans(ranges) == [mapped.span(*each) for each in ranges]


@settings(max_examples=200, deadline=None)
@given(ANY_TEXT)
def test_normalising_twice_changes_nothing(text):
    for normalizer in (NFC, NFC_LOWER):
        once = normalizer(text)
        assert normalizer(once) == once


@settings(max_examples=200, deadline=None)
@given(ANY_TEXT)
def test_every_kept_character_comes_from_its_span(text):
    """Normalising the original span of a character gives that character back among its result."""
    mapped = NFC.with_map(text)
    for index, char in enumerate(mapped.text):
        start, end = mapped.span(index, index + 1)
        if char != " ":
            assert char in NFC(text[start:end])
