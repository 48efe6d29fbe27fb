"""Pieces below the syllable: taking apart and composing, offsets, a vocabulary from text to records and back."""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import GOLDEN, SHAPE, learn_vocabulary

from morphbert.cli.create_pretraining_data import main as create
from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.description import make_tokenizer
from morphbert.text.jamo import compose, decompose, syllable_numbers
from morphbert.text.loading import load_tokenizer
from morphbert.text.normalize import Normalizer
from morphbert.text.vocabulary import vocabulary_from_tokens
from morphbert.text.words import WordSplitter

# Conjoining Jamo that stand alone, or follow a character that they cannot join, are characters of their own.
AWKWARD = "가각한힣ㅎ\u1112\u1161\u11aba\u0301éé韓.\ufb01"


def tokenizer_of(pieces, continuation="eojeol"):
    splitter = WordSplitter(Normalizer("jamo"), MecabAnalyzer(), continuation)
    return make_tokenizer(vocabulary_from_tokens(["[PAD]", "[UNK]", *pieces]), splitter)


def jamo(*pieces):
    return [unicodedata.normalize("NFD", piece) for piece in pieces]


@pytest.mark.parametrize("first", ["가", "한", "힣", "각"])
def test_syllables_are_taken_apart_as_unicode_does(first):
    assert decompose(first) == unicodedata.normalize("NFD", first)
    assert decompose(f"{first}é韓ㅎ") == unicodedata.normalize("NFD", first) + "é韓ㅎ"
    assert syllable_numbers(decompose(f"{first}a")) == [0] * len(decompose(first)) + [1]


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.text(alphabet=AWKWARD)))
def test_composing_takes_it_back(text):
    text = Normalizer("nfc")(text)
    assert compose(decompose(text)) == text
    numbers = syllable_numbers(decompose(text))
    assert len(numbers) == len(decompose(text))
    for number, char in enumerate(text):
        part = [c for n, c in zip(numbers, decompose(text), strict=True) if n == number]
        assert compose("".join(part)) == char


def test_pieces_may_end_within_a_syllable_and_offsets_hold_it_whole():
    # 갔다: the stem 가 and the past's ㅆ, which a syllable hides.
    tokenizer = tokenizer_of([*jamo("학교", "##에", "가"), "##\u11bb", *jamo("##다")])
    text = " 학교에\u3000갔다"
    encoding = tokenizer.encode(text)
    assert encoding.tokens == [*jamo("학교", "##에", "가"), "##\u11bb", *jamo("##다")]
    assert [text[start:end] for start, end in encoding.offsets] == ["학교", "에", "갔", "갔", "다"]
    assert encoding.word_ids == [0, 0, 1, 1, 1]
    assert tokenizer.decode(encoding.ids) == "학교에 갔다"


def test_an_unknown_morpheme_has_its_syllables():
    encoding = tokenizer_of(jamo("학교")).encode("학교에서 학교")
    assert encoding.tokens == [*jamo("학교"), "[UNK]", *jamo("학교")]
    assert encoding.offsets == [(0, 2), (2, 4), (5, 7)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("jamo") / "v"
    return learn_vocabulary(path, GOLDEN / "documents_ko.txt", 700, "--normalization=jamo")


def test_a_vocabulary_learned_on_jamo(folder):
    metadata = json.loads((folder / "morphbert_tokenizer.json").read_text(encoding="utf-8"))
    assert (metadata["format_version"], metadata["normalization"]) == (2, "jamo")
    tokenizer = load_tokenizer(str(folder))
    assert not tokenizer.vocabulary.has_hangul_syllables()
    for line in (GOLDEN / "documents_ko.txt").read_text(encoding="utf-8").splitlines():
        encoding = tokenizer.encode(line)
        assert "[UNK]" not in encoding.tokens
        assert tokenizer.decode(encoding.ids).replace(" ", "") == line.replace(" ", "")
    # Syllables that the text does not have are written too.
    assert "[UNK]" not in tokenizer.tokenize("뷁쀍")


def test_records_and_a_mask(folder, tmp_path, capsys):
    from morphbert.text.special_tokens import encode_special

    flags = [f"--input_file={GOLDEN}/documents_ko.txt", f"--vocab_file={folder}"]
    output = tmp_path / "a.tfrecord"
    assert create([*flags, f"--output_file={output}", "--do_whole_word_mask", "--num_workers=1", *SHAPE]) == 0
    assert output.stat().st_size > 10_000
    tokenizer = load_tokenizer(str(folder))
    pieces = encode_special(tokenizer, "우리는 [MASK]에서 책을 읽었다.").tokens
    mask = pieces.index("[MASK]")
    whole = tokenizer.tokenize("우리는 학교에서 책을 읽었다.")
    assert pieces[:mask] + tokenizer.tokenize("학교") + pieces[mask + 1 :] == whole
