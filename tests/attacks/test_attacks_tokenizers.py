"""Hostile vocabularies and tokenizer files, made by generators: each is read rightly or refused by name."""

import json

import pytest

from morphbert.errors import MorphbertError
from morphbert.interop.huggingface.tokenizer_files import write_tokenizer
from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.description import make_tokenizer
from morphbert.text.loading import load_tokenizer
from morphbert.text.normalize import Normalizer
from morphbert.text.vocabulary import vocabulary_bytes, vocabulary_from_tokens
from morphbert.text.vocabulary_file import load_vocabulary
from morphbert.text.words import WordSplitter

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "나", "##는", "학교", "##에", "."]
PLAIN = vocabulary_bytes(PIECES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        ("나\n는\n".encode("cp949"), "line 1: not UTF-8"),
        (PLAIN + b"\xff\xfe\n", "line 11: not UTF-8"),
        ("\n".join(PIECES).encode("utf-16"), "not UTF-8"),
        (PLAIN.replace(b"[MASK]\n", b""), r"has no \[MASK\]"),
        (PLAIN + "나\n".encode(), "is on line 6 and again on line 11"),
        (PLAIN + b"\n\n", "token '' is on line 11 and again on line 12"),
    ],
)
def test_a_bad_vocab_txt_is_named(content, message, tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(MorphbertError, match=message):
        load_vocabulary(str(path)).check_for_pretraining(str(path))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_marks_and_ends_of_lines_change_nothing(mark, end, tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes(mark + PLAIN.replace(b"\n", end))
    assert load_vocabulary(str(path)).tokens == tuple(PIECES)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer_config.json", b"", "is not JSON"),
        ("tokenizer_config.json", b"\xff\xfe{", "is not JSON"),
        ("tokenizer_config.json", b"[" * 100_000, "is not JSON"),
        ("tokenizer_config.json", b"null", "contains NoneType"),
        (
            "tokenizer_config.json",
            b'{"do_lower_case": true, "do_lower_case": false}',
            "'do_lower_case' occurs more",
        ),
        ("added_tokens.json", b'{"<e1>": 10, "<e1>": 11}', "'<e1>' occurs more than once"),
        ("added_tokens.json", b'{"<e1>": -1}', "has the id -1"),
        ("added_tokens.json", b'{"<e1>": 999999999999}', "has the id 999999999999"),
        ("added_tokens.json", b'{"<e1>": true}', "is not a token with its id"),
        ("added_tokens.json", b'{"<e1>": 10, "<e2>": 10}', "<e1> and <e2> have the same id 10"),
        ("added_tokens.json", '{"나": 3}'.encode(), "나 has the id 3, but 5 in the vocabulary"),
        ("tokenizer_config.json", b'{"added_tokens_decoder": 5}', "is not a token with its id"),
        ("tokenizer_config.json", b'{"unk_token": ["[UNK]"]}', "unk_token is"),
        ("tokenizer.json", b'{"model": []}', "model is of type None"),
        ("tokenizer.json", b'{"model": {"vocab": {"a": 1e99}}}', "not 0, 1, 2"),
        ("tokenizer.json", b'{"model": {"vocab": {"a": "b", "c": 1}}}', "not 0, 1, 2"),
        (
            "tokenizer.json",
            b'{"added_tokens": 7, "model": {"vocab": {"[PAD]": 0}}}',
            "is not a token with its id",
        ),
        (
            "tokenizer_config.json",
            b'{"do_lower_case": false, "added_tokens_decoder": {"' + b"9" * 5000 + b'": {"content": "x"}}}',
            "is not a token with its id",
        ),
    ],
)
def test_a_hostile_tokenizer_file_is_named(name, content, message, tmp_path):
    (tmp_path / "vocab.txt").write_bytes(PLAIN)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MorphbertError, match=message):
        load_tokenizer(str(tmp_path))


def test_a_folder_cannot_name_files_elsewhere(tmp_path):
    """Paths in the files are never opened."""
    (tmp_path / "vocab.txt").write_bytes(PLAIN)
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": False, "vocab_file": "/etc/passwd", "tokenizer_file": "../../secret"})
    )
    assert load_tokenizer(str(tmp_path)).tokenize("나는 학교에.") == "나 ##는 학교 ##에 .".split()


@pytest.mark.parametrize("analyzer", [None, MecabAnalyzer()])
def test_a_vocabulary_that_no_export_could_load_is_not_exported(analyzer, tmp_path):
    splitter = WordSplitter(Normalizer("nfc"), analyzer)
    for pieces, message in (
        ([*PIECES, "나"], "'나' is on line 6 and again on line 11"),
        (PIECES[:4] + PIECES[5:], r"has no \[MASK\]"),
    ):
        tokenizer = make_tokenizer(vocabulary_from_tokens(pieces), splitter)
        with pytest.raises(MorphbertError, match=message):
            write_tokenizer(str(tmp_path), tokenizer, 64)
        assert not list(tmp_path.iterdir())
