"""Any Unicode string: never a crash, no character lost, offsets that point at the piece's text."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.characters import stands_alone
from morphbert.text.description import make_tokenizer
from morphbert.text.jamo import decompose
from morphbert.text.loading import bert_tokenizer
from morphbert.text.normalize import Normalizer
from morphbert.text.vocabulary import vocabulary_from_tokens
from morphbert.text.vocabulary_file import load_vocabulary
from morphbert.text.words import WordSplitter

KOREAN = (
    (Path(__file__).parent / "golden" / "tokenization_vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
)
AWKWARD = (
    "가나다각를은습니다사과심었ㅋㅠab Z09.!?,()[]#'\"韓國。～é\u0301\u1112\u1161\u11ab\0"
    "\u200b\u200d\u202e\ufeff\u2028\u0085\u3000\u00a0\t\n\r\x0c\x1f\ud800\udfff\ufffd😀👨❤\ufe0fßİΣﬁ"
)
ANY_TEXT = st.one_of(
    st.text(max_size=60),
    st.text(alphabet=AWKWARD, max_size=60),
    st.text(alphabet="가나 사과를심었.", max_size=40),
)


def tokenizers():
    characters = {char for char in AWKWARD + decompose(AWKWARD) if not char.isspace()}
    pieces = dict.fromkeys([*KOREAN, *sorted(characters), *sorted("##" + char for char in characters)])
    vocabularies = [load_vocabulary(str(Path(__file__).parent / "golden" / "tokenization_vocab.txt"))]
    vocabularies.append(
        vocabulary_from_tokens(piece for piece in pieces if piece.isprintable() and not piece.isspace())
    )
    analyzer = MecabAnalyzer()
    for vocabulary in vocabularies:
        for lower in (False, True):
            yield bert_tokenizer(vocabulary, lower)
            for continuation in ("eojeol", "morpheme"):
                for form in ("nfc", "jamo"):
                    yield make_tokenizer(
                        vocabulary, WordSplitter(Normalizer(form, lower), analyzer, continuation)
                    )


TOKENIZERS = list(tokenizers())


@settings(max_examples=250, deadline=None)
@given(ANY_TEXT)
def test_offsets_point_at_the_characters_of_each_piece(text):
    for tokenizer in TOKENIZERS:
        normalizer = tokenizer.splitter.normalizer
        encoding = tokenizer.encode(text)
        assert encoding.tokens == tokenizer.tokenize(text)
        assert encoding.ids == tokenizer.convert_tokens_to_ids(encoding.tokens)
        assert encoding.offsets == sorted(encoding.offsets)
        for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
            assert 0 <= start < end <= len(text)
            if token != "[UNK]":
                # The span may hold more where several pieces come from one cluster of characters.
                written = token.removeprefix("##" if len(token) > 2 else "")
                shown = normalizer(text[start:end])
                assert written in (decompose(shown) if normalizer.form == "jamo" else shown)


WITHOUT_ANALYZER = [
    make_tokenizer(tokenizer.vocabulary, WordSplitter(Normalizer(form, lower, accents)))
    for tokenizer in (TOKENIZERS[0], TOKENIZERS[-1])
    for form in ("nfc", "bert", "transformers")
    for lower, accents in ((False, None), (True, None), (True, False))
]


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        ANY_TEXT,
        st.text(alphabet="가나 Aé,.韓\U0010ffff", max_size=80),
        # Plain characters alone, of which syllables become Jamo, each a piece of its own or [UNK].
        st.text(alphabet="가각나사힣 Ab,.韓ㅋ", max_size=80),
    )
)
def test_eojeols_and_morphemes_are_cut_alike(text):
    """Without an analyser, whole eojeols are remembered; the way over morphemes gives the same encoding."""
    for tokenizer in WITHOUT_ANALYZER:
        normalized = tokenizer.splitter.normalizer.with_map(text)
        if not normalized.text:
            assert tokenizer.encode(text).ids == []
            continue
        expected = tokenizer._encode(normalized.text)
        expected.offsets[:] = normalized.spans(expected.offsets)
        assert tokenizer.encode(text) == expected


@settings(max_examples=250, deadline=None)
@given(ANY_TEXT)
def test_nothing_but_spaces_and_dropped_characters_lies_between_the_pieces(text):
    for tokenizer in TOKENIZERS:
        position = 0
        between = []
        for start, end in tokenizer.encode(text).offsets:
            between.append(text[position:start] if start > position else "")
            position = max(position, end)
        between.append(text[position:])
        for gap in between:
            # Alone, a mark that was dropped as an accent of its base, or a Jamo that was joined, may survive.
            assert tokenizer.splitter.normalizer(gap) == ""


@settings(max_examples=250, deadline=None)
@given(ANY_TEXT)
def test_eojeols_are_what_stands_between_spaces(text):
    for tokenizer in TOKENIZERS:
        encoding = tokenizer.encode(text)
        eojeols = tokenizer.splitter.normalizer(text).split()
        assert sorted(set(encoding.word_ids)) == list(range(len(eojeols)))
        assert encoding.word_ids == sorted(encoding.word_ids)
        steps = [b - a for a, b in zip([-1, *encoding.morpheme_ids], encoding.morpheme_ids, strict=False)]
        assert all(step in (0, 1) for step in steps)


@settings(max_examples=250, deadline=None)
@given(ANY_TEXT)
def test_decoding_gives_the_text_up_to_spaces_around_marks(text):
    for tokenizer in TOKENIZERS:
        encoding = tokenizer.encode(text)
        if "[UNK]" in encoding.tokens:
            continue
        decoded = tokenizer.decode(encoding.ids)
        normalized = tokenizer.splitter.normalizer(text)
        assert decoded.replace(" ", "") == normalized.replace(" ", "")
        if tokenizer.splitter.continuation == "eojeol":
            assert spaced_out(decoded) == spaced_out(normalized)
            assert tokenizer.decode(tokenizer.encode(decoded).ids) == decoded


def spaced_out(text):
    return "".join(f" {char} " if stands_alone(char) else char for char in text).split()


@pytest.mark.parametrize(
    "piece", ["a", "!", " ", "　", "ㅋ", "가", "0", "\u0301", "나는 간다. ", "\0", "👍", "ab\u200b"]
)
def test_work_is_linear_and_nothing_is_lost(piece):
    """The measure is calls, of Python and of C, because a time depends on other work of the machine."""
    tokenizer = next(t for t in TOKENIZERS if t.splitter.analyzer is not None)
    work = []
    for length in (10_000, 40_000):
        text = piece * (length // len(piece))
        encoding, calls = calls_of(lambda text=text: tokenizer.encode(text))
        work.append(calls)
        assert sum(end - start for start, end in encoding.offsets) <= len(text)
        assert bool(encoding.tokens) == bool(tokenizer.splitter.normalizer(text))
    assert work[1] < 5 * work[0]


def calls_of(function):
    """→ its value, and the number of function calls made on the way."""
    counts = Counter()
    sys.setprofile(lambda frame, event, argument: counts.update([event]))
    try:
        result = function()
    finally:
        sys.setprofile(None)
    return result, counts["call"] + counts["c_call"]
