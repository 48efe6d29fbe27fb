"""Special tokens, pairs, truncation and windows; the authority is Hugging Face's tokenizers."""

from pathlib import Path

import pytest

from morphbert.errors import MorphbertError
from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.description import make_tokenizer
from morphbert.text.loading import bert_tokenizer
from morphbert.text.normalize import Normalizer
from morphbert.text.sequences import encode_batch, encode_sequence
from morphbert.text.vocabulary_file import load_vocabulary
from morphbert.text.words import WordSplitter

VOCABULARY = str(Path(__file__).parent / "golden" / "tokenization_vocab.txt")
TEXT = "BERT(버트)는 2018년에 구글이 공개한 언어 모델이다."
PAIR = "나는 어제 친구와 함께 영화를 봤다. 정말 재미있었다! 대한민국(大韓民國)의 수도는 서울이다."


@pytest.fixture(scope="module")
def tokenizer():
    return bert_tokenizer(load_vocabulary(VOCABULARY), do_lower_case=False)


def test_a_pair(tokenizer):
    (sequence,) = encode_sequence(tokenizer, "영화를 봤다.", "나는 구글")
    assert sequence.tokens == "[CLS] 영화 ##를 봤 ##다 . [SEP] 나 ##는 구글 [SEP]".split()
    assert sequence.segment_ids == [0] * 7 + [1] * 4
    assert sequence.special_tokens_mask == [1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    assert sequence.word_ids == [-1, 0, 0, 1, 1, 1, -1, 0, 0, 1, -1]
    assert sequence.offsets[8:10] == [(1, 2), (3, 5)]
    assert sequence.ids == tokenizer.convert_tokens_to_ids(sequence.tokens)
    assert len({len(values) for values in vars(sequence).values()}) == 1


def test_morphemes_are_counted_through_the_text():
    splitter = WordSplitter(Normalizer("nfc"), MecabAnalyzer())
    sequence = encode_sequence(make_tokenizer(load_vocabulary(VOCABULARY), splitter), "영화를 봤다.")[0]
    assert sequence.tokens == "[CLS] 영화 ##를 봤 ##다 . [SEP]".split()
    assert sequence.morpheme_ids == [-1, 0, 1, 2, 3, 4, -1]
    assert sequence.word_ids == [-1, 0, 0, 1, 1, 1, -1]


def test_windows_cover_the_text_and_share_the_stride(tokenizer):
    whole = tokenizer.encode(PAIR).tokens
    windows = encode_sequence(tokenizer, PAIR, max_length=12, truncation="windows", stride=3)
    inner = [window.tokens[1:-1] for window in windows]
    assert all(len(window.tokens) == 12 for window in windows[:-1])
    assert inner[0] + [token for window in inner[1:] for token in window[3:]] == whole


def test_an_empty_text_is_one_sequence(tokenizer):
    assert encode_sequence(tokenizer, "")[0].tokens == ["[CLS]", "[SEP]"]
    (window,) = encode_sequence(tokenizer, "나", "", max_length=8, truncation="windows")
    assert window.tokens == ["[CLS]", "나", "[SEP]", "[SEP]"]


def test_no_room_is_said(tokenizer):
    with pytest.raises(MorphbertError, match="max_length=2"):
        encode_sequence(tokenizer, TEXT, max_length=2)
    with pytest.raises(MorphbertError, match="smaller stride"):
        encode_sequence(tokenizer, TEXT, max_length=10, truncation="windows", stride=8)
    with pytest.raises(MorphbertError, match="first"):
        encode_sequence(tokenizer, TEXT, PAIR, max_length=12, truncation="windows")


@pytest.mark.parametrize("max_length", range(4, 80))
def test_truncation_drops_one_at_a_time_from_the_longer_as_in_bert(tokenizer, max_length):
    for texts in ((TEXT, PAIR), (PAIR, TEXT), (TEXT, TEXT)):
        first, second = (tokenizer.encode(text).tokens for text in texts)
        while len(first) + len(second) > max_length - 3:
            (first if len(first) > len(second) else second).pop()
        (sequence,) = encode_sequence(tokenizer, *texts, max_length)
        assert sequence.tokens == ["[CLS]", *first, "[SEP]", *second, "[SEP]"]


def test_batch(tokenizer):
    assert encode_batch(tokenizer, [TEXT, PAIR], 9) == [
        encode_sequence(tokenizer, text, max_length=9)[0] for text in (TEXT, PAIR)
    ]


@pytest.mark.parity
@pytest.mark.parametrize("max_length", [5, 8, 13, 20, 31, 44, 45, 46, 80])
def test_truncation_is_hugging_faces(tokenizer, max_length):
    tokenizers = pytest.importorskip("tokenizers")
    reference = tokenizers.BertWordPieceTokenizer(VOCABULARY, lowercase=False, strip_accents=False)
    pairs = [(TEXT, PAIR), (PAIR, TEXT), (TEXT, TEXT)] if max_length % 2 else []
    # Odd room goes to the first text in BERT, not in Hugging Face: there we follow BERT (tested above).
    for first, second in [*pairs, (TEXT, None)]:
        reference.enable_truncation(max_length, strategy="longest_first")
        expected = reference.encode(first, second)
        (sequence,) = encode_sequence(tokenizer, first, second, max_length)
        assert sequence.ids == expected.ids
        assert sequence.segment_ids == expected.type_ids
        assert sequence.special_tokens_mask == expected.special_tokens_mask
        assert sequence.offsets == expected.offsets


@pytest.mark.parity
@pytest.mark.parametrize(
    ("max_length", "stride"), [(12, 0), (12, 3), (20, 10), (44, 5), (45, 5), (46, 5), (200, 7)]
)
def test_windows_are_hugging_faces(tokenizer, max_length, stride):
    tokenizers = pytest.importorskip("tokenizers")
    reference = tokenizers.BertWordPieceTokenizer(VOCABULARY, lowercase=False, strip_accents=False)
    reference.enable_truncation(max_length, stride=stride, strategy="only_first")
    expected = reference.encode(PAIR)
    windows = encode_sequence(tokenizer, PAIR, None, max_length, "windows", stride)
    assert [window.ids for window in windows] == [
        expected.ids,
        *(other.ids for other in expected.overflowing),
    ]
    if max_length > 30:
        reference.enable_truncation(max_length, stride=stride, strategy="only_second")
        expected = reference.encode("나는 구글", PAIR)
        windows = encode_sequence(tokenizer, "나는 구글", PAIR, max_length, "windows", stride)
        assert [window.ids for window in windows] == [
            expected.ids,
            *(other.ids for other in expected.overflowing),
        ]
        assert windows[-1].offsets == (expected.overflowing or [expected])[-1].offsets
