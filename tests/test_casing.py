"""The casing of a plain `vocab.txt`: one rule, whoever loads it, and google-research/bert's default for records."""

import json

import pytest

import morphbert
from morphbert.interop.pretrained import Pretrained
from morphbert.interop.vocabularies import tokenizer_of
from morphbert.model.config import BertConfig

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXT = "Café 서울 SEOUL"
VOCABULARIES = {
    "cased": (["Café", "SEOUL", "cafe", "seoul"], False, ["Café", "[UNK]", "SEOUL"]),
    "uncased": (["cafe", "seoul"], True, ["cafe", "[UNK]", "seoul"]),
    "cased Hangul": (["Café", "서울", "SEOUL", "cafe", "seoul"], False, ["Café", "서울", "SEOUL"]),
    "uncased Hangul": (["café", "서울", "seoul"], True, ["café", "서울", "seoul"]),
}


@pytest.fixture(params=VOCABULARIES)
def plain(request, tmp_path):
    """A plain vocabulary, whether it lower-cases, and the pieces of the text."""
    tokens, lower, pieces = VOCABULARIES[request.param]
    path = tmp_path / "vocab.txt"
    path.write_text("".join(f"{token}\n" for token in SPECIAL + tokens), encoding="utf-8")
    return path, lower, pieces


def of_model(path):
    """The tokenizer of a model that has the vocabulary, as `morphbert.load` and the commands make it."""
    size = len(path.read_text(encoding="utf-8").splitlines())
    return tokenizer_of(Pretrained(BertConfig(vocab_size=size), {}, str(path), vocabulary=str(path)))


def test_whoever_loads_a_plain_vocabulary_gets_the_same_pieces(plain):
    path, lower, pieces = plain
    for tokenizer in (morphbert.load_tokenizer(path), of_model(path)):
        assert tokenizer.tokenize(TEXT) == pieces
        assert tokenizer.splitter.normalizer.do_lower_case is lower


@pytest.mark.parametrize("stated", [True, False])
def test_a_configuration_beside_it_decides(plain, stated):
    path, _, _ = plain
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": stated}
    (path.parent / "tokenizer_config.json").write_text(json.dumps(settings))
    for tokenizer in (morphbert.load_tokenizer(path), of_model(path)):
        assert tokenizer.splitter.normalizer.do_lower_case is stated


@pytest.mark.parametrize("mode", ["fast", "google"])
def test_records_have_the_default_of_google_research(plain, mode, tmp_path):
    """google-research/bert lower-cases by default, whatever the vocabulary is; the fast mode protects Hangul."""
    path, lower, _ = plain
    text = tmp_path / "corpus.txt"
    text.write_text(f"{TEXT}\nCafé SEOUL\n\nSEOUL\nCafé\n" * 3, encoding="utf-8")
    made = str(tmp_path / "out.tfrecord")
    files = {"input_file": text, "vocab_file": path, "output_file": made, "num_workers": None}
    morphbert.create_pretraining_data(morphbert.PretrainingDataConfig(**files, mode=mode))
    described = json.loads((tmp_path / "out.tfrecord.manifest.json").read_text())["tokenizer"]
    hangul = "서울" in path.read_text(encoding="utf-8")
    assert described["do_lower_case"] is (lower if hangul and mode == "fast" else True)
