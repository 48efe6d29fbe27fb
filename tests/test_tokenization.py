"""google-research/bert's module: equality with its recorded answers, and its functions one by one."""

import importlib.util
import json
import unicodedata

import pytest
import regenerate_tokenization
from samples import GOLDEN, MECAB_VOCABULARY, ROOT

from morphbert.errors import MorphbertError
from morphbert.text import google

ANSWERS = json.loads((GOLDEN / "tokenization.json").read_text(encoding="utf-8"))
VOCABULARY = str(GOLDEN / "tokenization_vocab.txt")


@pytest.mark.parametrize("case", ANSWERS["full"], ids=lambda case: ascii(case["text"][:20]))
def test_full_tokenizer_answers_as_the_original(case):
    assert google.FullTokenizer(VOCABULARY).tokenize(case["text"]) == case["uncased"]
    assert google.FullTokenizer(VOCABULARY, do_lower_case=False).tokenize(case["text"]) == case["cased"]


def test_wordpiece_tokenizer_answers_as_the_original():
    tokenizer = google.WordpieceTokenizer(google.load_vocab(VOCABULARY))
    for case in ANSWERS["wordpiece"]:
        assert tokenizer.tokenize(case["text"]) == case["pieces"]


def test_basic_tokenizer_answers_as_the_original_on_every_character():
    if unicodedata.unidata_version != ANSWERS["unicode"]:
        pytest.skip(
            f"the answers are of Unicode {ANSWERS['unicode']}; this Python has {unicodedata.unidata_version}"
        )
    digests = regenerate_tokenization.every_character_digest(google.BasicTokenizer)
    assert digests == ANSWERS["every_character"]


def test_full_tokenizer_answers_as_the_original_on_random_texts():
    if unicodedata.unidata_version != ANSWERS["unicode"]:
        pytest.skip(
            f"the answers are of Unicode {ANSWERS['unicode']}; this Python has {unicodedata.unidata_version}"
        )
    digests = regenerate_tokenization.random_texts_digest(google.FullTokenizer, VOCABULARY)
    assert digests == ANSWERS["random_texts"]


def test_top_level_module_has_every_name():
    spec = importlib.util.spec_from_file_location("tokenization", ROOT / "tokenization.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in (
        "FullTokenizer BasicTokenizer WordpieceTokenizer MecabTokenizer load_vocab convert_by_vocab "
        "convert_tokens_to_ids convert_ids_to_tokens convert_to_unicode printable_text whitespace_tokenize "
        "validate_case_matches_checkpoint _is_whitespace _is_control _is_punctuation"
    ).split():
        assert callable(getattr(module, name)), name


def test_ids_and_back():
    tokenizer = google.FullTokenizer(VOCABULARY, do_lower_case=False)
    tokens = tokenizer.tokenize("나는 영화를 봤다.")
    ids = tokenizer.convert_tokens_to_ids(tokens)
    assert ids == google.convert_tokens_to_ids(tokenizer.vocab, tokens)
    assert tokenizer.convert_ids_to_tokens(ids) == tokens
    with pytest.raises(KeyError):
        tokenizer.convert_tokens_to_ids(["없는조각"])


def test_wordpiece_takes_any_vocabulary_and_unknown_token():
    tokenizer = google.WordpieceTokenizer({"가": 0, "##나": 1}, unk_token="<unk>", max_input_chars_per_word=3)
    assert tokenizer.tokenize("가나 나 가나나나") == ["가", "##나", "<unk>", "<unk>"]


def test_load_vocab_keeps_the_order_and_the_later_of_two(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("가\r\n 나 \n가\n\n다".encode())
    assert list(google.load_vocab(str(path)).items()) == [("가", 2), ("나", 1), ("", 3), ("다", 4)]


def test_unicode_from_bytes():
    assert google.convert_to_unicode("한국어".encode() + b"\xff") == "한국어"
    assert google.printable_text("한국어") == "한국어"
    with pytest.raises(ValueError, match="int"):
        google.convert_to_unicode(3)
    assert google.whitespace_tokenize(" 가  나\n") == ["가", "나"]


def test_character_classes():
    assert all(map(google._is_whitespace, " \t\n\r\u00a0\u3000"))
    assert not any(map(google._is_whitespace, "가\x0b\u200b"))
    assert all(map(google._is_control, "\x00\x05\u200b\u2066"))
    assert not any(map(google._is_control, "가\t\n\r \U0001f600"))
    assert all(map(google._is_punctuation, "-$`.@。「"))
    assert not any(map(google._is_punctuation, "가A 9₩"))


@pytest.mark.parametrize(
    ("checkpoint", "right"),
    [
        ("/m/uncased_L-12_H-768_A-12/bert_model.ckpt", True),
        ("gs://m/multi_cased_L-12_H-768_A-12/bert_model.ckpt", False),
    ],
)
def test_casing_has_to_match_a_released_checkpoint(checkpoint, right):
    google.validate_case_matches_checkpoint(right, checkpoint)
    with pytest.raises(ValueError, match="do_lower_case"):
        google.validate_case_matches_checkpoint(not right, checkpoint)


@pytest.mark.parametrize(
    "checkpoint", [None, "", "/m/mine/bert_model.ckpt", "/m/uncased_L-12_H-768_A-12/other"]
)
def test_casing_of_unknown_checkpoints_is_not_judged(checkpoint):
    google.validate_case_matches_checkpoint(True, checkpoint)
    google.validate_case_matches_checkpoint(False, checkpoint)


def test_mecab_tokenizer_beside_them():
    tokenizer = google.MecabTokenizer(VOCABULARY)
    assert tokenizer.tokenize("영화를 봤다.") == google.FullTokenizer(VOCABULARY, False).tokenize(
        "영화를 봤다."
    )
    # 나무를 is 나무 + 를 to Mecab; the vocabulary has no ##나무를 for plain WordPiece either way.
    assert tokenizer.tokenize("사과나무를".encode()) == ["사과", "##나무", "##를"]
    ids = tokenizer.convert_tokens_to_ids(["사과", "##를"])
    assert tokenizer.convert_ids_to_tokens(ids) == ["사과", "##를"]
    assert tokenizer.vocab["[PAD]"] == 0


def test_a_missing_vocabulary_is_a_clear_error(tmp_path):
    with pytest.raises(MorphbertError, match=r"vocab\.txt"):
        google.FullTokenizer(str(tmp_path / "vocab.txt"))


def test_mecab_tokenizer_has_the_unknown_id_for_a_piece_that_there_is_none_of():
    tokenizer = google.MecabTokenizer(str(MECAB_VOCABULARY))
    assert tokenizer.convert_tokens_to_ids(["[CLS]", "없는조각"]) == [2, 1]
