"""Folders with a SentencePiece model; the authority is SentencePiece itself."""

import io
import itertools
import json
import pickle
import re
import unicodedata

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import GOLDEN, SHAPE, write_config

from morphbert.cli.create_pretraining_data import main as create
from morphbert.errors import MorphbertError
from morphbert.text.loading import load_tokenizer
from morphbert.text.sentencepiece_tokenizer import SentencePieceTokenizer
from morphbert.text.sequences import encode_sequence
from morphbert.text.special_tokens import encode_special
from morphbert.text.vocabulary import MASK

SENTENCES = [
    "사과나무를 심었습니다.",
    "나는 어제 친구와 함께 학교에 갔다. 정말 재미있었다!",
    "대한민국의 주권은 국민에게 있고, 모든 권력은 국민으로부터 나온다.",
    "학교에서 배운 것을 집에서 다시 읽었고, 친구에게도 설명해 주었다.",
]


def trained_model(pad, unk, *others):
    """A model whose special tokens have these spellings; they change nothing else."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 5),
        model_writer=written,
        vocab_size=150,
        model_type="bpe",
        unk_piece=unk,
        pad_piece=pad,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=list(others),
        minloglevel=2,
    )
    return written.getvalue()


@pytest.fixture(scope="module")
def model():
    return trained_model("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


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


@pytest.mark.parametrize("do_lower_case", [False, True])
def test_any_text_keeps_its_places_and_comes_back(model, do_lower_case):
    tokenizer = SentencePieceTokenizer(model, do_lower_case=do_lower_case)
    normalizer = tokenizer.splitter.normalizer
    awkward = "사과나무를심었습니다학교에. ▁㈜①ﬁÉé\u0301\u1112\u1161\u11ab\0\u200b\ufeff\u2028\u3000\t\ud800👨\u200d"

    @settings(max_examples=400, deadline=None)
    @given(
        st.one_of(st.text(max_size=40), st.text(alphabet=awkward, max_size=40), st.sampled_from(SENTENCES))
    )
    def check(text):
        encoding = tokenizer.encode(text)
        assert encoding.tokens == tokenizer.tokenize(text)
        assert sorted(set(encoding.word_ids)) == list(range(len(normalizer(text).split())))
        position, whole = 0, {}
        for token, (start, end), word in zip(
            encoding.tokens, encoding.offsets, encoding.word_ids, strict=True
        ):
            assert 0 <= start <= end <= len(text)
            assert start < end or token == "▁"  # the beginning alone: no character stands for it
            if start > position:
                assert normalizer(text[position:start]) == ""
            position = max(position, end)
            whole.setdefault(word, []).append((token, start, end))
        assert normalizer(text[position:]) == ""
        for pieces in whole.values():
            if len({(start, end) for _, start, end in pieces}) > 1:
                # Not one span for all: then each piece is what stands there.
                for token, start, end in pieces:
                    shown = normalizer(text[start:end])
                    assert token == tokenizer.unknown or token.replace("▁", "") in shown
        if tokenizer.unknown not in encoding.tokens:
            decoded = tokenizer.decode(encoding.ids)
            assert tokenizer.decode(tokenizer.encode(decoded).ids) == decoded

    check()


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


@pytest.fixture(scope="module")
def kobert(tmp_path_factory):
    """A folder laid out as KoBERT's: [UNK] is 0 and [PAD] 1."""
    written = io.BytesIO()
    lines = [line for line in (GOLDEN / "documents_ko.txt").read_text(encoding="utf-8").splitlines() if line]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        vocab_size=400,
        model_type="unigram",
        unk_piece="[UNK]",
        pad_piece="[PAD]",
        unk_id=0,
        pad_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        hard_vocab_limit=False,
        minloglevel=2,
    )
    folder = tmp_path_factory.mktemp("kobert")
    (folder / "tokenizer_78b3253a26.model").write_bytes(written.getvalue())
    return folder


def test_the_model_file_stands_for_its_folder(kobert):
    text = "우리는 학교에서 책을 읽었다."
    (model,) = kobert.glob("*.model")
    assert load_tokenizer(str(model)).tokenize(text) == load_tokenizer(str(kobert)).tokenize(text)


def test_behind_a_mask_an_eojeol_goes_on(kobert):
    from morphbert.text.special_tokens import encode_special

    tokenizer, text = load_tokenizer(str(kobert)), "우리는 [MASK]에서 책을 읽었다."
    encoding = encode_special(tokenizer, text)
    pieces = encoding.tokens
    assert encoding.offsets[pieces.index(MASK)] == (4, 10)
    for piece, (start, end) in zip(pieces, encoding.offsets, strict=True):
        assert text[start:end] == piece.removeprefix("▁")
    behind = pieces[pieces.index(MASK) + 1 :]
    assert not behind[0].startswith("▁")
    assert "".join(behind).replace("▁", " ") == "에서 책을 읽었다."
    assert "".join(pieces[: pieces.index(MASK)]) == "▁우리는"


@pytest.mark.parametrize(
    "flags", [[], ["--mode=google"], ["--masking=dynamic"]], ids=["fast", "google", "dynamic"]
)
def test_records_mask_whole_eojeols(kobert, tmp_path, flags):
    from morphbert.cli.create_pretraining_data import main as create
    from morphbert.data.example_message import parse_example
    from morphbert.data.records import read_records

    output = tmp_path / "a.tfrecord"
    arguments = [
        f"--input_file={GOLDEN}/documents_ko.txt",
        f"--vocab_file={kobert}",
        f"--output_file={output}",
    ]
    assert create([*arguments, "--do_whole_word_mask", "--dupe_factor=2", *SHAPE, *flags]) == 0
    tokens = load_tokenizer(str(kobert)).vocabulary.tokens
    together = 0
    with open(output, "rb") as stream:
        for record in map(parse_example, read_records(stream)):
            ids = list(record["input_ids"])
            if "word_ids" in record:
                words = record["word_ids"]
            else:
                masked = dict(zip(record["masked_lm_positions"], record["masked_lm_ids"], strict=True))
                masked.pop(0, None)  # padding
                words = [position in masked for position in range(len(ids))]
                for position, label in masked.items():
                    ids[position] = label
                length = sum(record["input_mask"])
                assert tokens[ids[length - 1]] == "[SEP]"
                if not flags:
                    assert len(masked) <= max(1, round(length * 0.15))
            # What goes on with an eojeol is masked with it, or not at all.
            for position in range(2, len(ids)):
                if tokens[ids[position]][0] not in "▁[" and tokens[ids[position - 1]][0] != "[":
                    assert words[position] == words[position - 1]
                    together += words[position] >= 0
    assert together > 100


@pytest.mark.parametrize("flags", [[], ["--objective=none", "--pack_sequences"]], ids=["single", "packed"])
def test_padding_is_not_counted_as_unknown(kobert, tmp_path, capsys, flags):
    """Records are padded with 0, which is [UNK] in KoBERT's layout: both tables give the share among the pieces."""
    from morphbert.cli.create_pretraining_data import main as create
    from morphbert.cli.inspect_records import main as inspect

    output = tmp_path / "a.tfrecord"
    arguments = [
        f"--input_file={GOLDEN}/documents_ko.txt",
        f"--vocab_file={kobert}",
        f"--output_file={output}",
    ]
    assert create([*arguments, "--short_seq_prob=1", *SHAPE, *flags]) == 0
    made = capsys.readouterr().out
    assert inspect([f"--input_file={output}", f"--vocab_file={kobert}"]) == 0
    read = capsys.readouterr().out
    shares = [re.search(r"\[UNK\]\s+(\d+\.\d+%)", text)[1] for text in (made, read)]
    assert shares[0] == shares[1]
    assert flags or re.search(r"\d+ pieces, [1-9]\d* × \[PAD\]", read)


def test_masks_drawn_in_training_count_unknown_pieces(kobert):
    import tensorflow as tf

    from morphbert.train.input.dynamic_masks import MaskRules, record_keys, with_masks

    ids = tf.constant([[2, 0, 20, 0, 0, 0, 0, 3, 0, 0]], tf.int64)
    words = tf.constant([[-1, 0, 1, 2, 3, 4, 5, -1, -1, -1]], tf.int64)
    keys = record_keys(1, *(tf.constant([number], tf.int64) for number in range(3)))
    batch = with_masks({"input_ids": ids, "word_ids": words}, keys, rules(MaskRules))
    assert batch["input_mask"].numpy().tolist() == [[1] * 8 + [0] * 2]
    assert batch["masked_lm_weights"].numpy().sum() == 4  # half of eight


def rules(cls):
    import dataclasses

    values = {"predictions": 5, "seed": 1, "unit": "piece", "prob": 0.5, "mask_token_prob": 0.8}
    values |= {"random_token_prob": 0.1, "max_span_length": 1, "span_prob": 0.2, "max_word_pieces": 0}
    values |= {"random_ids": ((5, 100),), "mask_id": 4}
    return cls(
        **{field.name: values[field.name] for field in dataclasses.fields(cls) if field.name in values}
    )


@pytest.mark.slow
def test_training_and_masks_filled(kobert, tmp_path, command):
    create = command(
        "create_pretraining_data.py",
        *(f"--input_file={GOLDEN}/documents_ko.txt", f"--vocab_file={kobert}"),
        *(f"--output_file={tmp_path}/a.tfrecord", "--do_whole_word_mask", *SHAPE),
    )
    assert create.returncode == 0, create.stderr
    size = len(load_tokenizer(str(kobert)).vocabulary)
    config = write_config(tmp_path / "bert_config.json", vocab_size=size)
    inspected = command("inspect_records.py", f"--input_file={tmp_path}/a.tfrecord", f"--vocab_file={kobert}")
    assert inspected.returncode == 0, inspected.stderr + inspected.stdout
    trained = command(
        "run_pretraining.py",
        *("--do_train", f"--bert_config_file={config}", f"--input_file={tmp_path}/a.tfrecord"),
        *(f"--output_dir={tmp_path}/model", "--num_train_steps=3", "--train_batch_size=4", "--strategy=cpu"),
        *("--num_warmup_steps=0", *SHAPE),
    )
    assert trained.returncode == 0, trained.stderr
    filled = command(
        "fill_mask.py",
        *(f"--checkpoint={tmp_path}/model", f"--vocab_file={kobert}", "--text=나는 [MASK]에 간다."),
    )
    assert filled.returncode == 0, filled.stderr
    assert filled.stdout.count("%") == 5


ALBERT_TEXTS = [
    *SENTENCES,
    "École ÀÉ 사과나무 CAFÉ café",
    "``학교에'' ''갔다`` '' `` `",
    "  나는　학교에\n갔다 \u1112\u1161\u11ab국 ",
    "㈜나무 ① ﬁ 2,000 9, 10",
    "",
]


@pytest.fixture(scope="module")
def albert(tmp_path_factory):
    """A unigram model with ALBERT's special pieces and SentencePiece's usual normalisation."""
    folder = tmp_path_factory.mktemp("albert")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(
            [*SENTENCES, "ecole cafe CAFE Ecole école \"'`", "2,000 9, 10", "19, 29, 39, 9, 59,"] * 5
        ),
        model_prefix=str(folder / "spiece"),
        vocab_size=90,
        model_type="unigram",
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]"],
        user_defined_symbols=["[MASK]"],
        minloglevel=2,
    )
    return folder


def albert_folder(albert, tmp_path, **settings):
    (tmp_path / "spiece.model").write_bytes((albert / "spiece.model").read_bytes())
    config = {"tokenizer_class": "AlbertTokenizer", **settings}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(tmp_path)


def albert_ids(model, text, do_lower_case, keep_accents):
    """google-research/albert's `preprocess_text`, and SentencePiece."""
    text = " ".join(text.split()).replace("``", '"').replace("''", '"')
    if not keep_accents:
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return model.encode(text.lower() if do_lower_case else text)


@pytest.mark.parametrize("keep_accents", [None, True, False])
@pytest.mark.parametrize("do_lower_case", [None, True, False])
def test_keys_of_an_albert_tokenizer_are_reproduced(albert, tmp_path, do_lower_case, keep_accents):
    keys = {"do_lower_case": do_lower_case, "keep_accents": keep_accents, "remove_space": True}
    given = {key: value for key, value in keys.items() if value is not None}
    ours = load_tokenizer(albert_folder(albert, tmp_path, **given))
    model = sentencepiece.SentencePieceProcessor(model_file=str(albert / "spiece.model"))
    for text in ALBERT_TEXTS:
        encoding = ours.encode(text)
        assert encoding.ids == albert_ids(model, text, do_lower_case is not False, bool(keep_accents)), text
        assert all(0 <= start <= end <= len(text) for start, end in encoding.offsets)


def test_keys_of_an_albert_tokenizer_give_transformers_ids(albert, tmp_path):
    """Its normaliser leaves Hangul in Jamo unless accents are kept, so Hangul is compared with accents only."""
    transformers = pytest.importorskip("transformers")
    for lower, keep in itertools.product((True, False), repeat=2):
        folder = albert_folder(albert, tmp_path, do_lower_case=lower, keep_accents=keep)
        theirs, ours = transformers.AlbertTokenizer.from_pretrained(folder), load_tokenizer(folder)
        for text in (
            *(SENTENCES if keep else ()),
            "ﬁ 2,000 9, 10",
            "",
            "École ÀÉ CAFÉ café",
            "``ecole'' `` ''",
        ):
            assert ours.encode(text).ids == theirs(text, add_special_tokens=False)["input_ids"], text
        # google-research/albert cuts the comma off such a piece; transformers 5 does not.
        for tokenizer in (ours, theirs):
            assert "9," in tokenizer.tokenize("2,000 9, 10")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("remove_space", False),
        ("sp_model_kwargs", {"enable_sampling": True}),
        ("add_prefix_space", False),
        ("keep_accents", "no"),
        ("do_lower_case", None),
        ("unheard_of", 1),
    ],
)
def test_keys_of_an_albert_tokenizer_that_are_not_reproduced_are_named(albert, tmp_path, key, value):
    with pytest.raises(MorphbertError, match=f"tokenizer_config.json: {key} is .* not reproduced"):
        load_tokenizer(albert_folder(albert, tmp_path, **{key: value}))


def test_a_copied_albert_tokenizer_keeps_its_keys(albert, tmp_path):
    from morphbert.interop.vocabularies import write_vocabulary

    source = albert_folder(albert, tmp_path, do_lower_case=False)
    tokenizer = load_tokenizer(source)
    (tmp_path / "copy").mkdir()
    write_vocabulary(str(tmp_path / "copy"), tokenizer, source)
    assert load_tokenizer(str(tmp_path / "copy")).describe() == tokenizer.describe()


OWN = {
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "mask_token": "<mask>",
}


@pytest.fixture
def own_folder(tmp_path):
    """A folder whose model has spellings of its own, as special_tokens_map.json states."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "spiece.model").write_bytes(trained_model(*OWN.values()))
    (folder / "special_tokens_map.json").write_text(json.dumps(OWN), encoding="utf-8")
    return folder


def test_own_spellings_of_special_tokens_make_the_same_records(folder, own_folder, tmp_path):
    usual, own = load_tokenizer(str(folder)), load_tokenizer(str(own_folder))
    assert own.vocabulary.special.as_map() == OWN
    assert (own.vocabulary.lines[:5], own.vocabulary.tokens) == (tuple(OWN.values()), usual.vocabulary.tokens)
    text = "나는 어제 {}와 학교에 갔다. 뷁"
    wanted = encode_special(usual, text.format(MASK))
    assert wanted.tokens.count(MASK) == 1
    assert encode_special(own, text.format("<mask>")) == encode_special(own, text.format(MASK)) == wanted
    assert own.convert_tokens_to_ids(["<s>", "[SEP]"]) == usual.convert_tokens_to_ids(["[CLS]", "[SEP]"])
    assert own.decode([1]) == "<unk>"
    (tmp_path / "text.txt").write_text("\n".join(SENTENCES * 3), encoding="utf-8")
    for name, made in (("usual", folder), ("own", own_folder)):
        output = f"{tmp_path}/{name}.tfrecord"
        flags = [f"--input_file={tmp_path}/text.txt", f"--vocab_file={made}", f"--output_file={output}"]
        assert create([*flags, "--max_seq_length=32", "--max_predictions_per_seq=5"]) == 0
    assert (tmp_path / "own.tfrecord").read_bytes() == (tmp_path / "usual.tfrecord").read_bytes()
    from morphbert.interop.vocabularies import write_vocabulary

    copied = tmp_path / "copied"
    copied.mkdir()
    write_vocabulary(str(copied), own, str(own_folder))
    assert load_tokenizer(str(copied)).describe() == own.describe()


def test_a_map_of_another_model_changes_nothing(folder, own_folder, capsys):
    """A model with BERT's names keeps them; one without them is refused for records, with the remedy."""
    (folder / "special_tokens_map.json").write_text(json.dumps(OWN), encoding="utf-8")
    assert load_tokenizer(str(folder)).vocabulary.special.mask_token == MASK
    (own_folder / "special_tokens_map.json").unlink()
    plain = load_tokenizer(str(own_folder))
    assert plain.vocabulary.tokens[4] == "<mask>"
    with pytest.raises(MorphbertError, match=r"put a special_tokens_map\.json beside it"):
        plain.check_for_pretraining(str(own_folder))
