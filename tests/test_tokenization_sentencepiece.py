"""Folders with a SentencePiece model; the authority is SentencePiece itself."""

import io
import json
import pickle

import pytest
import sentencepiece

from morphbert.errors import MorphbertError
from morphbert.text.sequences import encode_sequence
from morphbert.text.tokenizer import load_tokenizer

SENTENCES = [
    "사과나무를 심었습니다.",
    "나는 어제 친구와 함께 학교에 갔다. 정말 재미있었다!",
    "대한민국의 주권은 국민에게 있고, 모든 권력은 국민으로부터 나온다.",
    "학교에서 배운 것을 집에서 다시 읽었고, 친구에게도 설명해 주었다.",
]


@pytest.fixture(scope="module")
def model():
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 5),
        model_writer=written,
        vocab_size=150,
        model_type="bpe",
        unk_piece="[UNK]",
        pad_piece="[PAD]",
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        minloglevel=2,
    )
    return written.getvalue()


@pytest.fixture
def folder(tmp_path, model):
    (tmp_path / "tokenizer_78b3253a26.model").write_bytes(model)
    return tmp_path


@pytest.mark.parametrize("text", [*SENTENCES, "  나는　학교에\n갔다", "", "뷁 사과👍 (주)"])
def test_pieces_are_sentencepieces(folder, model, text):
    reference = sentencepiece.SentencePieceProcessor(model_proto=model)
    tokenizer = load_tokenizer(str(folder))
    expected = [reference.id_to_piece(number) for number in reference.encode(text)]
    assert tokenizer.tokenize(text) == expected
    assert tokenizer.encode(text).ids == reference.encode(text)


def test_offsets_words_and_decoding(folder):
    tokenizer = load_tokenizer(str(folder))
    text = "  나는　학교에 갔다."
    encoding = tokenizer.encode(text)
    for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
        assert text[start:end] == token.replace("▁", "")
    begins = [token.startswith("▁") for token in encoding.tokens]
    assert encoding.word_ids == [sum(begins[: index + 1]) - 1 for index in range(len(begins))]
    assert tokenizer.decode(encoding.ids) == "나는 학교에 갔다."
    assert tokenizer.decode(encode_sequence(tokenizer, text)[0].ids) == "나는 학교에 갔다."
    assert pickle.loads(pickle.dumps(tokenizer)).encode(text) == encoding


def test_text_that_the_model_normalises_keeps_its_eojeols_offsets(folder):
    encoding = load_tokenizer(str(folder)).encode("㈜나무 ①")
    assert set(encoding.offsets) == {(0, 3), (4, 5)}


@pytest.mark.parametrize("kind", ["txt", "json"])
def test_a_mapping_to_other_ids(folder, kind):
    plain = load_tokenizer(str(folder))
    tokens = [*reversed(plain.vocabulary.tokens)]
    if kind == "txt":
        (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    else:
        ids = {token: number for number, token in enumerate(tokens)}
        (folder / "kobertvocab.json").write_text(json.dumps({"token_to_idx": ids}), encoding="utf-8")
    mapped = load_tokenizer(str(folder))
    assert mapped.tokenize(SENTENCES[0]) == plain.tokenize(SENTENCES[0])
    assert mapped.encode(SENTENCES[0]).ids == [
        len(tokens) - 1 - number for number in plain.encode(SENTENCES[0]).ids
    ]


def test_describe_names_the_model(folder):
    description = load_tokenizer(str(folder)).describe()
    assert description["analyzer"]["name"] == "sentencepiece"
    assert json.loads(json.dumps(description)) == description


def test_bad_folders(folder):
    (folder / "second.model").write_bytes(b"x")
    with pytest.raises(MorphbertError, match="several"):
        load_tokenizer(str(folder))
    (folder / "tokenizer_78b3253a26.model").unlink()
    with pytest.raises(MorphbertError, match="cannot be read"):
        load_tokenizer(str(folder))
