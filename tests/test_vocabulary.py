"""Reading vocab.txt and what the commands refuse."""

import hashlib

import pytest

from morphbert.errors import MorphbertError
from morphbert.text.vocabulary import is_bracketed, vocabulary_from_tokens
from morphbert.text.vocabulary_file import load_vocabulary
from morphbert.text.wordpiece import is_continuation, piece_text

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture
def read(tmp_path):
    def read(content):
        path = tmp_path / "vocab.txt"
        path.write_bytes(content)
        return load_vocabulary(str(path))

    return read


def test_line_numbers_are_ids_and_the_hash_is_of_the_file(read):
    content = "[PAD]\n가\n##나\n".encode()
    vocabulary = read(content)
    assert vocabulary.tokens == ("[PAD]", "가", "##나")
    assert dict(vocabulary.ids) == {"[PAD]": 0, "가": 1, "##나": 2}
    assert len(vocabulary) == 3
    assert vocabulary.sha256 == hashlib.sha256(content).hexdigest()
    assert vocabulary_from_tokens(vocabulary.tokens) == vocabulary


def test_only_a_line_feed_ends_a_line(read):
    assert read("가\u2028나\n다\x0c라".encode()).tokens == ("가\u2028나", "다\x0c라")


def test_hangul_syllables_are_seen(read):
    assert read("[PAD]\n##한\n".encode()).has_hangul_syllables()
    assert not read("[PAD]\n\u1112\u1161\u11ab\nㅋㅋ\nabc\n".encode()).has_hangul_syllables()


def test_fit_for_pretraining():
    vocabulary_from_tokens([*SPECIAL, "가", "##가"]).check_for_pretraining("vocab.txt")


@pytest.mark.parametrize("missing", SPECIAL)
def test_a_missing_special_token_is_named(missing):
    vocabulary = vocabulary_from_tokens([token for token in SPECIAL if token != missing])
    with pytest.raises(MorphbertError, match=rf"my\.txt .*has no \{missing}\."):
        vocabulary.check_for_pretraining("my.txt")


def test_a_duplicate_is_named_with_both_lines():
    with pytest.raises(MorphbertError, match="'가' is on line 6 and again on line 8"):
        vocabulary_from_tokens([*SPECIAL, "가", "나", "가"]).check_for_pretraining("my.txt")


def test_padding_may_be_any_line():
    vocabulary_from_tokens(reversed(SPECIAL)).check_for_pretraining("my.txt")


def test_a_byte_order_mark_is_left_out(read):
    assert read("\ufeff[PAD]\n가\n".encode()).tokens == read("[PAD]\n가\n".encode()).tokens == ("[PAD]", "가")


def test_bad_files(read, tmp_path):
    with pytest.raises(MorphbertError, match="line 2: not UTF-8"):
        read("가\n".encode() + "나".encode("cp949") + b"\n")
    with pytest.raises(MorphbertError, match="empty"):
        read(b"")
    with pytest.raises(MorphbertError, match=r"none\.txt"):
        load_vocabulary(str(tmp_path / "none.txt"))


@pytest.mark.parametrize(
    ("token", "text"),
    [("##를", "를"), ("###", "#"), ("####", "##"), ("##", "##"), ("#", "#"), ("를##", "를##"), ("", "")],
)
def test_a_piece_continues_a_word_if_text_follows_its_sign(token, text):
    assert piece_text(token) == text
    assert is_continuation(token) == (text != token)
    assert vocabulary_from_tokens(["[PAD]", token, "##는"]).continuations == (False, text != token, True)


@pytest.mark.parametrize(
    ("token", "special"),
    [("[UNK]", True), ("[unused0]", True), ("[가]", True), ("[", False), ("[a", False), ("a]", False)]
    + [("[]", False), ("]", False), ("가", False), ("", False)],
)
def test_a_token_is_special_if_brackets_surround_text(token, special):
    assert is_bracketed(token) == special
    # In SentencePiece's convention every piece of text without its sign continues a word.
    assert vocabulary_from_tokens(["▁나", token]).continuations == (False, not special)
