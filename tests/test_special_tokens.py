"""Special tokens in another spelling: the same ids, records and weights as in BERT's, in every command."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from runs import tensors
from samples import GOLDEN, SENTENCES, SHAPE, write_config

from morphbert.cli.build_vocab import main as build
from morphbert.cli.create_pretraining_data import main as create
from morphbert.cli.export_model import main as export
from morphbert.cli.fill_mask import main as fill
from morphbert.cli.import_model import main as import_model
from morphbert.cli.run_classifier import main as classify
from morphbert.cli.run_pretraining import main as train
from morphbert.errors import MorphbertError
from morphbert.interop import sources
from morphbert.interop.huggingface.pretrained_tokenizer import PretrainedTokenizer
from morphbert.text import google
from morphbert.text.loading import load_tokenizer, load_vocabulary_of
from morphbert.text.metadata import METADATA_NAME
from morphbert.text.special_tokens import encode_special
from morphbert.text.vocabulary import (
    SPECIAL_TOKENS,
    SpecialTokens,
    vocabulary_from_tokens,
    with_special_tokens,
)

OWN = {
    "pad_token": "<PAD>",
    "unk_token": "<UNK>",
    "cls_token": "<CLS>",
    "sep_token": "<SEP>",
    "mask_token": "<MASK>",
}
TEXT = GOLDEN / "documents_ko.txt"


def built(folder, *flags, analyzer="mecab"):
    """A small vocabulary of real Korean text."""
    size = ["--vocab_size=900", f"--analyzer={analyzer}", "--num_workers=1"]
    return build([f"--input_file={TEXT}", f"--vocab_dir={folder}", *size, *flags])


def records_of(vocabulary, output, *flags):
    paths = [f"--input_file={TEXT}", f"--vocab_file={vocabulary}", f"--output_file={output}"]
    return create([*paths, *SHAPE, *flags])


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory):
    """The same vocabulary in both spellings."""
    folder = tmp_path_factory.mktemp("vocabularies")
    assert built(folder / "bert") == 0
    assert built(folder / "own", f"--special_tokens_map={json.dumps(OWN)}") == 0
    return folder


@pytest.fixture(scope="module")
def runs(vocabularies, tmp_path_factory):
    """Two steps of training on the records of each vocabulary."""
    folder = tmp_path_factory.mktemp("runs")
    config = write_config(folder / "config.json", vocab_size=900)
    for name in ("bert", "own"):
        assert records_of(vocabularies / name, folder / f"{name}.tfrecord") == 0
        status = train(
            [
                f"--input_file={folder}/{name}.tfrecord",
                f"--vocab_file={vocabularies / name}",
                f"--output_dir={folder}/{name}",
                f"--bert_config_file={config}",
                *("--do_train", "--strategy=cpu", "--num_train_steps=2", "--num_warmup_steps=1"),
                *("--train_batch_size=4", *SHAPE),
            ]
        )
        assert status == 0
    return folder


def test_the_two_vocabularies_differ_in_the_five_lines_alone(vocabularies):
    bert, own = (
        (vocabularies / name / "vocab.txt").read_text("utf-8").split("\n") for name in ("bert", "own")
    )
    assert bert[:5] == list(SPECIAL_TOKENS)
    assert own[:5] == list(OWN.values())
    assert bert[5:] == own[5:]
    described = json.loads((vocabularies / "own" / METADATA_NAME).read_text("utf-8"))
    assert described["special_tokens"] == OWN
    assert "special_tokens" not in json.loads((vocabularies / "bert" / METADATA_NAME).read_text("utf-8"))


def test_the_map_may_be_a_file(vocabularies, tmp_path):
    path = tmp_path / "special_tokens_map.json"
    path.write_text(json.dumps({**OWN, "mask_token": {"content": "<MASK>", "lstrip": True}}), "utf-8")
    assert built(tmp_path / "made", f"--special_tokens_map={path}") == 0
    for name in ("vocab.txt", METADATA_NAME):
        assert (tmp_path / "made" / name).read_bytes() == (vocabularies / "own" / name).read_bytes()


@pytest.mark.parametrize("flags", [(), ("--masking=dynamic",), ("--mode=google",)])
def test_records_have_the_same_bytes(vocabularies, tmp_path, flags):
    for name in ("bert", "own"):
        assert records_of(vocabularies / name, tmp_path / name, *flags) == 0
    assert (tmp_path / "bert").read_bytes() == (tmp_path / "own").read_bytes()
    assert (tmp_path / "own").stat().st_size > 10_000


def test_text_never_becomes_a_special_token(vocabularies):
    bert, own = (load_tokenizer(str(vocabularies / name)) for name in ("bert", "own"))
    text = "국민은 <MASK> 앞에 [MASK] <PAD><UNK> 평등하다. MASK"
    assert own.encode(text) == bert.encode(text)
    assert own.vocab["[MASK]"] not in own.encode(text).ids
    assert own.convert_tokens_to_ids(["<CLS>", "[CLS]"]) == [2, 2]


@pytest.mark.parametrize("kind", [google.FullTokenizer, google.MecabTokenizer])
def test_googles_names_take_either_spelling(vocabularies, kind):
    tokenizer = kind(str(vocabularies / "own"))
    assert tokenizer.convert_tokens_to_ids(["<CLS>", "[CLS]", "<MASK>", "."]) == [
        2,
        2,
        4,
        tokenizer.vocab["."],
    ]
    if kind is google.FullTokenizer:
        with pytest.raises(KeyError):
            tokenizer.convert_tokens_to_ids(["<X>"])
    else:
        assert tokenizer.convert_tokens_to_ids(["<X>"]) == [1]


def test_a_piece_of_text_is_never_spelled_as_a_special_token(tmp_path):
    """BPE learns 원래 from this text; as the name of a special token it is none of its pieces."""
    assert built(tmp_path / "plain") == 0
    assert "\n원래\n" in (tmp_path / "plain" / "vocab.txt").read_text("utf-8")
    own = {**OWN, "mask_token": "원래"}
    assert built(tmp_path / "own", f"--special_tokens_map={json.dumps(own, ensure_ascii=False)}") == 0
    lines = (tmp_path / "own" / "vocab.txt").read_text("utf-8").split("\n")
    assert lines.count("원래") == 1
    tokenizer = load_tokenizer(str(tmp_path / "own"))
    assert tokenizer.vocab["[MASK]"] not in tokenizer.encode("원래 무엇이었는지").ids


def test_masks_in_text_have_either_spelling(vocabularies):
    bert, own = (load_tokenizer(str(vocabularies / name)) for name in ("bert", "own"))
    expected = encode_special(bert, "나는 [MASK]에 [MASK] 간다.[SEP]국민")
    for text in ("나는 [MASK]에 [MASK] 간다.[SEP]국민", "나는 <MASK>에 [MASK] 간다.<SEP>국민"):
        found = encode_special(own, text)
        assert (found.ids, found.tokens, found.word_ids) == (expected.ids, expected.tokens, expected.word_ids)
        covered = [text[start:end] for start, end in found.offsets]
        assert "".join(covered) == text.replace(" ", "")
        assert covered[found.tokens.index("[MASK]")] in ("<MASK>", "[MASK]")


def test_training_gives_the_same_weights_and_masks_are_filled_alike(runs, capsys):
    bert, own = (sources.read(str(runs / name)) for name in ("bert", "own"))
    for name, value in bert.weights.items():
        np.testing.assert_array_equal(own.weights[name], value, err_msg=name)
    printed = {}
    for name, mask in (("bert", "[MASK]"), ("own", "[MASK]"), ("own", "<MASK>")):
        capsys.readouterr()
        assert fill([f"--checkpoint={runs / name}", f"--text=모든 {mask}은 법 앞에 평등하다."]) == 0
        printed[name, mask] = capsys.readouterr().out.splitlines()[1:]
    assert len(printed["own", "<MASK>"]) == 1
    # The pieces shown are spelled as in the file.
    as_own = [line.replace("[UNK]", "<UNK>").replace("[SEP]", "<SEP>") for line in printed["bert", "[MASK]"]]
    assert printed["own", "[MASK]"] == printed["own", "<MASK>"] == as_own


def test_fine_tuning_gives_the_same_weights_and_keeps_the_spelling(runs, tmp_path):
    rows = [f"{'좋은' if n % 2 else '나쁜'} 영화 <MASK> {n}\t{n % 2}" for n in range(16)]
    data = tmp_path / "data.tsv"
    data.write_text("\n".join(["document\tlabel", *rows]) + "\n", "utf-8")
    for name in ("bert", "own"):
        flags = [
            f"--init_checkpoint={runs / name}",
            f"--train_file={data}",
            f"--output_dir={tmp_path / name}",
        ]
        short = ["--max_seq_length=16", "--train_batch_size=8", "--num_train_steps=2", "--strategy=cpu"]
        assert classify([*flags, *short, "--do_train"]) == 0
    bert, own = (tensors(tf.train.latest_checkpoint(str(tmp_path / name))) for name in ("bert", "own"))
    weights = [name for name, value in bert.items() if value.dtype == np.float32]
    assert len(weights) > 30
    for name in weights:
        np.testing.assert_array_equal(own[name], bert[name], err_msg=name)
    assert load_tokenizer(str(tmp_path / "own")).vocabulary.special.as_map() == OWN


def test_a_plain_vocabulary_is_refused_with_the_remedy_and_taken_with_the_map(vocabularies, tmp_path, capsys):
    plain = tmp_path / "vocab.txt"
    shutil.copy(vocabularies / "own" / "vocab.txt", plain)
    flags = ["--mode=google", "--do_lower_case=false"]
    assert records_of(plain, tmp_path / "refused", *flags) == 1
    message = capsys.readouterr().err
    assert "has no [PAD]" in message
    assert "special_tokens_map.json" in message
    assert "--special_tokens_map" in message
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(OWN), "utf-8")
    assert records_of(plain, tmp_path / "own", *flags) == 0
    bert = tmp_path / "bert.txt"
    shutil.copy(vocabularies / "bert" / "vocab.txt", bert)
    assert records_of(bert, tmp_path / "bert", *flags) == 0
    assert (tmp_path / "own").read_bytes() == (tmp_path / "bert").read_bytes()


def test_a_folder_and_its_file_agree_on_the_mask(tmp_path):
    """With both [MASK] and the stated <mask>, neither may be taken in silence."""
    plain = tmp_path / "vocab.txt"
    plain.write_text("\n".join([*SPECIAL_TOKENS, "<mask>", "나"]) + "\n", "utf-8")
    (tmp_path / "tokenizer_config.json").write_text(
        '{"do_lower_case": false, "mask_token": "<mask>"}', "utf-8"
    )
    for read in (
        lambda: load_tokenizer(str(tmp_path)),
        lambda: load_tokenizer(str(plain), do_lower_case=False),
        lambda: load_vocabulary_of(str(plain)),
    ):
        with pytest.raises(
            MorphbertError, match=r"mask_token is <mask>, and the vocabulary has \[MASK\] too"
        ):
            read()


@pytest.mark.parametrize("names", [SPECIAL_TOKENS, SPECIAL_TOKENS[:4]])
def test_a_tokenizer_file_of_another_vocabulary_does_not_matter_to_a_plain_one(names, tmp_path, caplog):
    plain = tmp_path / "vocab.txt"
    plain.write_text("\n".join([*names, "나"]) + "\n", "utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"mask_token": "<mask>"}', "utf-8")
    tokenizer = load_tokenizer(str(plain), do_lower_case=False)
    assert tokenizer.vocabulary.tokens == (*names, "나")
    assert "has none of the special tokens <mask>" in caplog.text
    if names == SPECIAL_TOKENS:  # as with a file that states no usable spelling
        (tmp_path / "tokenizer_config.json").write_text('{"mask_token": "[PAD]"}', "utf-8")
        assert load_vocabulary_of(str(plain)).tokens == (*names, "나")


def test_a_vocabulary_gets_its_map_by_extension(vocabularies, tmp_path):
    plain = tmp_path / "vocab.txt"
    shutil.copy(vocabularies / "own" / "vocab.txt", plain)
    flags = [f"--init_vocab={plain}", f"--special_tokens_map={json.dumps(OWN)}"]
    assert built(tmp_path / "made", *flags) == 0
    assert (tmp_path / "made" / "vocab.txt").read_bytes() == plain.read_bytes()
    again = tmp_path / "again"
    assert built(again, f"--init_vocab={tmp_path / 'made'}", "--vocab_size=950") == 0
    assert load_tokenizer(str(again)).vocabulary.special.as_map() == OWN


def test_extension_puts_the_spelling_of_a_special_token_on_no_second_line(tmp_path, capsys):
    old, made = tmp_path / "old", tmp_path / "made"
    assert built(old, f"--special_tokens_map={json.dumps(OWN | {'mask_token': '[M]'})}") == 0
    flags = [f"--init_vocab={old}", "--vocab_size=905"]
    assert built(made, *flags, "--special_tokens=[M]") == 1
    assert re.search(r"--special_tokens: '\[M\]' must be .* none of .*\[M\]", capsys.readouterr().err)
    assert not made.exists()
    assert built(made, *flags, "--special_tokens=[N]") == 0
    # A vocabulary of others may spell a special token as a character of the text.
    plain = tmp_path / "vocab.txt"
    lines = (old / "vocab.txt").read_text("utf-8").split("\n")
    plain.write_text(
        "\n".join("국" if line == "[M]" else "국가" if line == "국" else line for line in lines), "utf-8"
    )
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(OWN | {"mask_token": "국"}), "utf-8")
    assert "국" in TEXT.read_text("utf-8")
    assert built(tmp_path / "further", f"--init_vocab={plain}", "--vocab_size=950") == 0
    assert (tmp_path / "further" / "vocab.txt").read_text("utf-8").split("\n").count("국") == 1
    tokenizer = load_tokenizer(str(tmp_path / "further"))
    assert tokenizer.vocab["[MASK]"] == lines.index("[M]")
    assert tokenizer.vocab["[MASK]"] not in tokenizer.encode("국 국민").ids


def test_a_spelling_on_two_lines_is_refused():
    vocabulary = vocabulary_from_tokens([*OWN.values(), "가", "<MASK>"])
    with pytest.raises(MorphbertError, match=r"mask_token is <MASK>, .* on line 5 and again on line 7"):
        with_special_tokens(vocabulary, SpecialTokens(*OWN.values()), "the map")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask_token": None}, "mask_token is None"),
        ({"cls_token": "<PAD>"}, "pad_token and cls_token are both <PAD>"),
        ({"cls_token": "<C LS>"}, "cls_token is '<C LS>'; it must be a string"),
        ({"cls_token": ""}, "cls_token is ''; it must be a string"),
        ({"cls_token": "##c"}, "cls_token is ##c, and ## marks"),
        ({"cls_token": "[SEP]"}, r"cls_token is \[SEP\], BERT's name of another"),
        ({"cls_token": "가"}, "cls_token is 가, which other lines"),
        ({"cls_token": "[unused3]"}, r"cls_token is \[unused3\], which other lines"),
        ({"additional_special_tokens": ["<X>"]}, "key 'additional_special_tokens' is unknown"),
        ({"mask": "<M>"}, "key 'mask' is unknown; the keys are pad_token, unk_token"),
    ],
)
def test_bad_maps_are_refused_by_name(change, message, tmp_path, capsys):
    assert built(tmp_path / "made", f"--special_tokens_map={json.dumps(OWN | change)}") == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "made").exists()


def test_maps_without_a_role_or_of_another_vocabulary_are_refused(vocabularies, tmp_path, capsys):
    without = {role: token for role, token in OWN.items() if role != "mask_token"}
    assert built(tmp_path / "made", f"--special_tokens_map={json.dumps(without)}") == 1
    assert "--special_tokens_map has no mask_token" in capsys.readouterr().err
    assert built(tmp_path / "made", "--special_tokens_map={pad") == 1
    assert "--special_tokens_map is not JSON" in capsys.readouterr().err
    twice = json.dumps(OWN).replace("{", '{"mask_token": "<M>", ')
    assert built(tmp_path / "made", f"--special_tokens_map={twice}") == 1
    assert "the key 'mask_token' occurs more than once" in capsys.readouterr().err
    folder = tmp_path / "copy"
    shutil.copytree(vocabularies / "own", folder)
    content = json.loads((folder / METADATA_NAME).read_text("utf-8"))
    content["special_tokens"]["mask_token"] = "<mask>"
    (folder / METADATA_NAME).write_text(json.dumps(content), "utf-8")
    with pytest.raises(MorphbertError, match=r"mask_token is <mask>, which the vocabulary .* lacks"):
        load_tokenizer(str(folder))


def test_the_python_tokenizer_shows_the_spelling_of_the_file(vocabularies):
    tokenizer = PretrainedTokenizer.from_pretrained(str(vocabularies / "own"))
    assert tokenizer.mask_token == "<MASK>"
    assert tokenizer.convert_tokens_to_ids(["<MASK>", "[MASK]"]) == [4, 4]
    row = tokenizer("가족과 <MASK>에 간다.", padding="max_length", max_length=16)
    assert row.tokens()[0] == "<CLS>"
    assert row.tokens()[-1] == "<PAD>"
    assert tokenizer.convert_ids_to_tokens(row.input_ids) == row.tokens()
    assert tokenizer.decode(row.input_ids).startswith("<CLS> 가족과 <MASK>에 간다. <SEP>")
    assert tokenizer.decode(row.input_ids, skip_special_tokens=True) == "가족과에 간다."


# ── with transformers ──────────────────────────────────────────────────────────────────────────────────


def lines():
    """Real text, in which a mask has the spelling that transformers knows of this vocabulary."""
    text = [*TEXT.read_text("utf-8").splitlines(), *SENTENCES, "나는 [MASK]에 간다 <UNK>. 뷁"]
    return [line.replace("[MASK]", " <MASK> ") for line in text]


@pytest.mark.parity
def test_transformers_reads_the_exported_folder_and_it_comes_back(tmp_path):
    transformers = pytest.importorskip("transformers")
    from samples import write_random_model

    flags = ("--normalization=bert", f"--special_tokens_map={json.dumps(OWN)}")
    assert built(tmp_path / "vocab", *flags, analyzer="none") == 0
    model = write_random_model(tmp_path / "model", tmp_path / "vocab")
    folder = tmp_path / "exported"
    assert export([f"--checkpoint={model}", f"--output_dir={folder}", "--format=huggingface"]) == 0
    assert json.loads((folder / "special_tokens_map.json").read_text("utf-8")) == OWN
    ours = PretrainedTokenizer.from_pretrained(str(model))
    bert = transformers.BertTokenizer.from_pretrained(folder)
    auto = transformers.AutoTokenizer.from_pretrained(folder)
    for theirs in (bert, auto):
        assert theirs.mask_token == "<MASK>"
        for line in lines():
            assert theirs(line)["input_ids"] == ours(line).input_ids, line
    # A folder of Hugging Face as BertTokenizer writes it, without a file of ours.
    foreign = tmp_path / "foreign"
    bert.save_pretrained(foreign)
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        shutil.copy(folder / name, foreign)
    assert import_model([f"--checkpoint={foreign}", f"--output_dir={tmp_path / 'imported'}"]) == 0
    back = load_tokenizer(str(tmp_path / "imported"))
    assert back.vocabulary.special.as_map() == OWN
    for line in lines():
        assert [2, *encode_special(back, line).ids, 3] == bert(line)["input_ids"], line


@pytest.mark.parity
def test_the_exported_mecab_tokenizer_gives_the_same_ids(runs, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path / "exported"
    assert export([f"--checkpoint={runs / 'own'}", f"--output_dir={folder}", "--format=huggingface"]) == 0
    theirs = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    stock = transformers.AutoTokenizer.from_pretrained(folder / "stock_tokenizer")
    ours = PretrainedTokenizer.from_pretrained(str(runs / "own"))
    assert (stock.mask_token, stock.cls_token_id) == ("<MASK>", 2)
    for line in lines():
        expected = ours(line).input_ids
        assert theirs(line)["input_ids"] == expected
        assert theirs.convert_ids_to_tokens(expected) == ours.convert_ids_to_tokens(expected)
        assert theirs.tokenize(line) == ours.tokenize(line)
    assert theirs.decode(ours("가족과 함께 <MASK>에").input_ids) == "가족과 함께 <MASK>에"
