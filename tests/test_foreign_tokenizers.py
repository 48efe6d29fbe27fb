"""Tokenizers of Hugging Face folders: transformers' tokens, or a refusal that names the key."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import GOLDEN

from morphbert.errors import MorphbertError
from morphbert.text.loading import load_tokenizer
from morphbert.text.metadata import METADATA_NAME, metadata_bytes
from morphbert.text.vocabulary import vocabulary_bytes
from morphbert.text.vocabulary_file import load_vocabulary

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [
    *SPECIAL,
    *"나 ##는 학교 ##에 간다 영화 ##가 재미 ##있 ##었 ##다 . , ! ( )".split(),
    *"cnn CNN 뉴스 café cafe Café ##é ##e が か で て".split(),
    *"a ##a ##b ##c 한 ##국 ##韓 韓 ##國 國 ##語 語".split(),
    *"İ i ##i Σ σ ς ᄂ ##ᅡ ##ᄂ ##ᅳ ##ᆫ <e1> 1 ##1 ##2 ##ο ##σ ##ς ο".split(),
]
IDS = {piece: number for number, piece in enumerate(PIECES)}
# The parts of a tokenizer.json that cut text as BERT does.
BERTS = {"normalizer": {"type": "BertNormalizer"}, "pre_tokenizer": {"type": "BertPreTokenizer"}}
PUT = r"the post_processor .* does not put \[CLS\] before a text and \[SEP\] behind it"
TEXTS = [
    "나는 학교에 간다.",
    "CNN 뉴스, Café(cafe) が で 한국韓國語",
    "영화가 재미있었다!  나는\u00a0\ue000CNN\ufffd를 ΟΣ İ 11" + "a" * 101 + " " + "a" * 100,
]
KOREAN = (GOLDEN / "documents_ko.txt").read_text(encoding="utf-8").replace("[MASK]", "")
TEXT = st.lists(
    st.one_of(
        st.sampled_from([*PIECES[5:], " ", "각", "é", "e\u0301"]),
        st.characters(exclude_categories=["Cn", "Cs"]),
    ),
    max_size=12,
).map("".join)


def folder_of(path, config, pieces=PIECES, **files):
    """A Hugging Face folder without weights."""
    path.mkdir(exist_ok=True)
    (path / "vocab.txt").write_bytes(vocabulary_bytes(pieces))
    (path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    for name, values in {"tokenizer_config": config, **files}.items():
        if values is not None:
            (path / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    return path


def theirs_of(path):
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(path)


def newer_than_their_unicode(text):
    """Characters for which the library `tokenizers` has an older Unicode, and special tokens, which are text here."""
    import tokenizers

    clean = tokenizers.normalizers.BertNormalizer(False, False, True, False)
    cut = tokenizers.pre_tokenizers.BertPreTokenizer()
    from morphbert.text.characters import is_punctuation
    from morphbert.text.normalize import Normalizer

    ours = Normalizer("bert", False, True)
    return any(token in text for token in SPECIAL) or any(
        (len(cut.pre_tokenize_str(f"a{char}b")) == 3) != is_punctuation(char)
        or clean.normalize_str(f"a{char}b") != ours(f"a{char}b")
        or "\U0002b820" <= char <= "\U0002b91f"
        or (char.lower() == char and char.isupper())
        for char in text
        if not char.isspace() and char.isprintable()
    )


@pytest.mark.parity
@pytest.mark.parametrize(
    ("lower", "accents", "chinese"),
    list(itertools.product((True, False), (True, False, None, "missing"), (True, False))),
)
def test_every_combination_gives_transformers_tokens(lower, accents, chinese, tmp_path):
    config = {"do_lower_case": lower, "tokenize_chinese_chars": chinese, "tokenizer_class": "BertTokenizer"}
    if accents != "missing":
        config["strip_accents"] = accents
    folder = folder_of(tmp_path / "hf", config)
    ours, theirs = load_tokenizer(str(folder)), theirs_of(folder)

    def same(text):
        assert ours.tokenize(text) == theirs.tokenize(text)
        encoding = ours.encode(text)
        assert encoding.tokens == ours.tokenize(text)
        assert encoding.ids == theirs(text, add_special_tokens=False)["input_ids"]

    for text in [*TEXTS, KOREAN]:
        same(text)

    @settings(max_examples=60, deadline=None)
    @given(TEXT)
    def compare(text):
        if not newer_than_their_unicode(text):
            same(text)

    compare()


@pytest.mark.parity
@pytest.mark.parametrize("lower", [True, False])
def test_tokenizer_json_alone_and_what_import_writes(lower, tmp_path):
    folder = folder_of(tmp_path / "hf", {"do_lower_case": lower, "strip_accents": False})
    theirs_of(folder).save_pretrained(tmp_path / "fast")
    assert not (tmp_path / "fast" / "vocab.txt").exists()
    config = json.loads((tmp_path / "fast" / "tokenizer_config.json").read_text(encoding="utf-8"))
    for name in (config["tokenizer_class"], "PreTrainedTokenizerFast"):
        (tmp_path / "fast" / "tokenizer_config.json").write_text(
            json.dumps({**config, "tokenizer_class": name}), encoding="utf-8"
        )
        ours, theirs = load_tokenizer(str(tmp_path / "fast")), theirs_of(tmp_path / "fast")
        for text in TEXTS:
            assert ours.tokenize(text) == theirs.tokenize(text)
    written = tmp_path / "ours"
    written.mkdir()
    (written / "vocab.txt").write_bytes(vocabulary_bytes(ours.vocabulary.tokens))
    (written / METADATA_NAME).write_bytes(metadata_bytes(ours.describe()))
    again = load_tokenizer(str(written))
    assert again.describe() == ours.describe()
    assert [again.encode(text) for text in TEXTS] == [ours.encode(text) for text in TEXTS]


@pytest.mark.parity
@pytest.mark.parametrize("cased", [True, False])
def test_added_tokens_are_found_in_the_text(cased, tmp_path):
    from morphbert.data.encoding import SentenceEncoder

    added = {"<e1>": len(PIECES) - 3, "</e1>": len(PIECES) + 1, "코로나": len(PIECES)}
    pieces = [piece for piece in PIECES if piece != "<e1>"]
    added = {token: len(pieces) + number for number, token in enumerate(("<e1>", "</e1>", "코로나"))}
    folder = folder_of(
        tmp_path / "hf", {"do_lower_case": not cased, "strip_accents": False}, pieces, added_tokens=added
    )
    ours, theirs = load_tokenizer(str(folder)), theirs_of(folder)
    assert len(ours.vocabulary) == len(theirs)
    for text in [
        *TEXTS,
        "나는<e1>학교</e1>에 간다.",
        "코로나는 <e1> 코로나코로나</e1>.",
        "\U00040000 나는 \U00040001",
    ]:
        encoding = ours.encode(text)
        assert encoding.tokens == theirs.tokenize(text) == ours.tokenize(text)
        assert encoding.ids == theirs(text, add_special_tokens=False)["input_ids"]
        assert list(SentenceEncoder(ours)(text)[0]) == encoding.ids
        for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
            if token in added:
                assert text[start:end] == token


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"tokenizer_class": "BertJapaneseTokenizer"}, "tokenizer_class is BertJapaneseTokenizer"),
        ({"tokenizer_class": "KoBertTokenizer"}, "tokenizer_class is KoBertTokenizer.*--vocab_file"),
        ({"word_tokenizer_type": "mecab"}, 'word_tokenizer_type is "mecab"'),
        ({"subword_tokenizer_type": "character"}, 'subword_tokenizer_type is "character"'),
        ({"do_basic_tokenize": False}, "do_basic_tokenize is false"),
        ({"never_split": ["나는"]}, "never_split is"),
        ({"wordpieces_prefix": "@@"}, 'wordpieces_prefix is "@@"'),
        ({"auto_map": {"AutoTokenizer": ["x.Y", None]}}, "auto_map is"),
        ({"cut_by": "moon"}, "key cut_by is unknown"),
        ({"do_lower_case": "yes"}, 'do_lower_case is "yes"; it must be one of true, false'),
        ({"strip_accents": 1}, "strip_accents is 1"),
        ({"unk_token": "<unk>"}, "unk_token is <unk>, which the vocabulary .* lacks"),
        ({"additional_special_tokens": ["[BOS]"]}, r"special token \[BOS\] is not in the vocabulary"),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, "has no tokenizer.json"),
        ({"added_tokens_decoder": {"7": {"content": "간다"}}}, "added token 간다 has the id 7"),
        (
            {"added_tokens_decoder": {"90": {"content": "x", "single_word": True}}},
            "single_word of the added token x",
        ),
        (
            {"do_lower_case": True, "added_tokens_decoder": {"99": {"content": "COVID"}}},
            "COVID is found in normalised text",
        ),
        ([], "contains list, not an object"),
    ],
)
def test_what_is_not_reproduced_is_refused_by_name(config, message, tmp_path):
    with pytest.raises(MorphbertError, match=message):
        load_tokenizer(str(folder_of(tmp_path / "hf", config)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"type": "BPE"}}, "model is of type BPE"),
        (
            {"model": {"vocab": {"[PAD]": 0}, "max_input_chars_per_word": 50}},
            "max_input_chars_per_word is 50",
        ),
        ({"model": {"vocab": {"[PAD]": 1}}}, "not 0, 1, 2"),
        ({"model": {"vocab": {"나": 0}}}, "different vocabularies"),
        ({"normalizer": {"type": "Sequence"}}, "normalizer is 'Sequence'"),
        (
            {"normalizer": {"type": "BertNormalizer"}, "pre_tokenizer": {"type": "Whitespace"}},
            "pre_tokenizer is 'Wh",
        ),
        (
            {"normalizer": {"type": "BertNormalizer", "clean_text": False}},
            "clean_text is False|pre_tokenizer",
        ),
        ({**BERTS, "model": {"vocab": IDS, "unk_token": "[MASK]"}}, r"unk_token of the model is '\[MASK\]'"),
        (
            {**BERTS, "post_processor": {"type": "BertProcessing", "cls": ["[PAD]", 0], "sep": ["[SEP]", 3]}},
            PUT,
        ),
        ({**BERTS, "post_processor": {"type": "RobertaProcessing"}}, PUT),
        ({**BERTS, "post_processor": [1]}, PUT),
        (
            {
                **BERTS,
                "post_processor": {
                    "type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": "[CLS]"}}],
                },
            },
            PUT,
        ),
    ],
)
def test_a_tokenizer_json_that_does_something_else_is_refused(change, message, tmp_path):
    whole = {"model": {"vocab": IDS}, **change}
    folder = folder_of(tmp_path / "hf", {"tokenizer_class": "PreTrainedTokenizerFast"}, tokenizer=whole)
    with pytest.raises(MorphbertError, match=message):
        load_tokenizer(str(folder))


def test_a_tokenizer_json_that_puts_nothing_around_a_text_is_read_with_a_line(tmp_path, caplog):
    whole = {**BERTS, "model": {"vocab": IDS}}
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    load_tokenizer(str(folder_of(tmp_path / "hf", config, tokenizer=whole)))
    assert "has no post_processor; [CLS] and [SEP] are put around a text" in caplog.text
    caplog.clear()
    whole["post_processor"] = {"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3]}
    load_tokenizer(str(folder_of(tmp_path / "hf", config, tokenizer=whole)))
    assert not caplog.text


def test_lower_casing_that_destroys_hangul_is_never_guessed(tmp_path, caplog):
    lowered = [piece for piece in PIECES if piece == piece.lower() or piece in SPECIAL]
    plain = tmp_path / "lowered.txt"
    plain.write_bytes(vocabulary_bytes(lowered))
    text = "나는 CNN 학교에 간다."
    assert load_tokenizer(str(plain)).tokenize(text) == "나 ##는 cnn 학교 ##에 간다 .".split()
    assert "no capital letters" in caplog.text
    assert load_tokenizer(str(plain), True).tokenize("학교") == ["[UNK]"]  # asked for
    plain.write_bytes(vocabulary_bytes(PIECES))
    assert load_tokenizer(str(plain)).tokenize(text) == "나 ##는 CNN 학교 ##에 간다 .".split()
    english = [piece for piece in lowered if piece.isascii()]
    plain.write_bytes(vocabulary_bytes(english))
    assert load_tokenizer(str(plain)).tokenize("CNN café") == ["cnn", "cafe"]  # BERT's default


def test_a_vocab_txt_beside_a_tokenizer_config_is_read_with_it(tmp_path):
    folder = folder_of(tmp_path / "hf", {"do_lower_case": True, "strip_accents": False})
    beside = load_tokenizer(str(folder / "vocab.txt"))
    assert beside.describe() == load_tokenizer(str(folder)).describe()
    assert beside.tokenize("CNN 학교에") == ["cnn", "학교", "##에"]
    assert load_tokenizer(str(folder / "vocab.txt"), False).tokenize("CNN") == ["CNN"]


def test_a_byte_order_mark_is_no_part_of_the_first_piece(tmp_path):
    for name, mark in (("plain.txt", b""), ("bom.txt", b"\xef\xbb\xbf")):
        (tmp_path / name).write_bytes(mark + vocabulary_bytes(PIECES))
    plain, marked = (load_vocabulary(str(tmp_path / name)) for name in ("plain.txt", "bom.txt"))
    assert plain.tokens == marked.tokens
