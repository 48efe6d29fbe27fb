"""Any text: google-research/bert's own tokens, Hugging Face's, and the engine's boundaries.

The first needs a checkout of https://github.com/google-research/bert, named by the environment variable GOOGLE_BERT;
without one its recorded answers are compared instead (tests/test_tokenization.py).
"""

import functools
import os
import sys
import unicodedata

import mecab_ko
import pytest
import regenerate_tokenization as generator
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import GOLDEN, MECAB_VOCABULARY

from morphbert.text.analyzers import MARK, MecabAnalyzer
from morphbert.text.characters import MAY_STAND_ALONE, stands_alone
from morphbert.text.loading import bert_tokenizer
from morphbert.text.normalize import Normalizer
from morphbert.text.vocabulary import SPECIAL_TOKENS, vocabulary_from_tokens
from morphbert.text.vocabulary_file import load_vocabulary
from morphbert.text.wordpiece import LongestMatch, longest_match
from morphbert.text.words import BEGINS_WORD, WordSplitter

VOCABULARIES = [str(GOLDEN / "tokenization_vocab.txt"), str(MECAB_VOCABULARY / "vocab.txt")]

ANY_TEXT = st.one_of(
    st.text(max_size=80),
    st.text(alphabet=generator.AWKWARD, max_size=80),
    st.lists(st.sampled_from([*generator.PIECES, *generator.TEXTS, " ", "를", "##"]), max_size=12).map(
        "".join
    ),
)
CHECKOUT = os.environ.get("GOOGLE_BERT", "")


@pytest.fixture(scope="module", params=VOCABULARIES, ids=["small", "8k"])
def vocabulary(request):
    return request.param


@pytest.mark.skipif(not CHECKOUT, reason="GOOGLE_BERT names no checkout of google-research/bert")
@pytest.mark.parametrize("do_lower_case", [False, True])
def test_google_research_berts_own_tokens(vocabulary, do_lower_case):
    original = generator.load_original(CHECKOUT).FullTokenizer(vocabulary, do_lower_case)
    ours = bert_tokenizer(load_vocabulary(vocabulary), do_lower_case)

    @settings(max_examples=1500, deadline=None)
    @given(ANY_TEXT)
    def compare(text):
        assert ours.tokenize(text) == original.tokenize(text) == ours.encode(text).tokens

    try:
        compare()
    finally:
        for name in ("tensorflow", "six"):  # stand-ins
            if getattr(sys.modules.get(name), "__file__", None) is None:
                sys.modules.pop(name, None)


# What Korean text is written with: Latin, Greek, Cyrillic, marks and symbols, CJK marks, Kana, ideographs, Hangul in
# every form, full width, emoji.
COMMON = [
    *map(chr, [*range(0x600), *range(0x1100, 0x1200), *range(0x2000, 0x2BFF), *range(0x2E80, 0x3400)]),
    *map(chr, [*range(0x3400, 0xA000, 7), *range(0xA960, 0xA97D), *range(0xAC00, 0xD7A4, 11)]),
    *map(
        chr,
        [*range(0xD7B0, 0xD7FC), *range(0xF900, 0xFB07), *range(0xFE00, 0xFFFE), *range(0x1F300, 0x1FA00)],
    ),
]


@pytest.mark.parity
@pytest.mark.parametrize(
    ("do_lower_case", "strip_accents"), [(False, None), (False, False), (True, None), (True, True)]
)
def test_hugging_faces_tokens(vocabulary, do_lower_case, strip_accents):
    """Equal on any text but for what docs/tokenization.md lists."""
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizer(vocabulary, do_lower_case=do_lower_case, strip_accents=strip_accents)
    ours = bert_tokenizer(load_vocabulary(vocabulary), do_lower_case)
    # Hugging Face finds special tokens in the text before it cuts; here text is text.
    special = tuple(theirs.all_special_tokens)

    @functools.cache
    def alike(char):
        text = f"{char} 나는{char}는 나{char}"
        return ours.tokenize(text) == theirs.tokenize(text)

    def known_to_differ(text):
        # Its tables are of an older Unicode (newer marks and punctuation), drop private-use and unassigned
        # characters and miss some ideographs; its limit for words is 100; it knows no final sigma.
        return (
            any(token in text for token in special)
            or "Σ" in text
            or max(map(len, text.split()), default=0) > 100
            or not all(map(alike, text))
        )

    assert [
        char for char in COMMON if not alike(char) and unicodedata.category(char) not in ("Cn", "Co", "Cs")
    ] == []

    @settings(max_examples=600, deadline=None)
    @given(ANY_TEXT)
    def compare(text):
        if not known_to_differ(text):
            assert ours.tokenize(text) == theirs.tokenize(text)

    compare()


@settings(max_examples=500, deadline=None)
@given(ANY_TEXT)
def test_with_mecab_morphemes_end_where_the_engine_says(text):
    text = Normalizer("nfc")(text)
    ends, position = [], 0
    for part in ANALYZER.mark(text).split(MARK)[:-1]:
        position += len(part.encode())
        ends.append(position)
    assert ends == [int(end) for end in ENGINE.parse(text).split()]


ANALYZER = MecabAnalyzer()
ENGINE = mecab_ko.Tagger('-F "%pe " -U "%pe " -E ""')


@settings(max_examples=500, deadline=None)
@given(
    st.sets(st.text(alphabet="가나#ab", min_size=1, max_size=5)),
    st.text(alphabet="가나#abc", max_size=12),
    st.booleans(),
)
def test_the_quick_longest_match_is_the_plain_one(pieces, word, continues):
    pieces |= {"##" + piece for piece in list(pieces)[::2]}
    assert LongestMatch(pieces).cut(word, continues) == longest_match(word, pieces, continues)


@settings(max_examples=500, deadline=None)
@given(
    st.sets(st.text(alphabet="가나#a.韓", min_size=1, max_size=4)),
    st.lists(st.text(alphabet="가나#ac.韓©", min_size=1, max_size=10), min_size=1),
)
def test_eojeols_are_cut_as_their_words(pieces, eojeols):
    """Known beginnings with known rests, marks among them, are what the plain rule gives for each word."""
    pieces |= {"##" + piece for piece in list(pieces)[::2]}
    tokenizer = bert_tokenizer(vocabulary_from_tokens([*SPECIAL_TOKENS, *sorted(pieces)]), False)
    expected = [
        piece
        for eojeol in eojeols
        for word in tokenizer.splitter.words(eojeol)
        for piece in longest_match(word.text, pieces) or ["[UNK]"]
    ]
    text = " ".join(eojeols)
    assert tokenizer.tokenize(text) == tokenizer.encode(text).tokens == expected


def test_signs_stand_before_morphemes_that_begin_words():
    splitter = WordSplitter(Normalizer(), ANALYZER)
    text = "나무(소나무)를 심었다. 12©는 韓國의 山이다!"
    found = splitter.morphemes(text)
    expected = []
    for eojeol in splitter.marked_eojeols(text):
        known = {(word.morpheme, word.start) for word in splitter.words(eojeol) if not word.continues}
        position = 0
        for number, morpheme in enumerate(eojeol.removesuffix(MARK).split(MARK)):
            sign = "" if number else " "
            if number and (number, position) in known and not stands_alone(morpheme[0]):
                sign = BEGINS_WORD
            expected.append((sign, morpheme))
            position += len(morpheme)
    # Before what stands alone itself the sign says nothing.
    shown = [
        ("", part[1:])
        if part[0] == BEGINS_WORD and stands_alone(part[1])
        else (part[0], part[1:])
        if part[0] in (" ", BEGINS_WORD)
        else ("", part)
        for part in found
    ]
    assert shown == expected
    assert any(sign == BEGINS_WORD for sign, _ in shown)


def test_what_stands_alone_is_found():
    for code in range(sys.maxunicode + 1):
        if stands_alone(chr(code)):
            assert MAY_STAND_ALONE.fullmatch(chr(code)), hex(code)
