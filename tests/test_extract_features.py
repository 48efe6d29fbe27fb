"""Hidden states of texts: the numbers of transformers, google-research/bert's lines, tables, order, bad input."""

import json

import numpy as np
import pytest
from samples import GOLDEN, SENTENCES

from morphbert.cli.extract_features import main
from morphbert.text.loading import load_tokenizer
from morphbert.text.sequences import encode_sequence

TEXTS = [*SENTENCES, "가", "", "나는 학교에 간다. " * 30]
PAIR = ("대한민국의 주권은 누구에게 있나?", SENTENCES[1])

# Figures are written with six decimals, which both sides round: 1e-6; and sums have another order, also by processor.
ROUNDED = 3e-6


def run(model, tmp_path, texts, *flags, name="texts.txt", output="out.jsonl"):
    content = texts if isinstance(texts, bytes) else "".join(f"{text}\n" for text in texts).encode()
    (tmp_path / name).write_bytes(content)
    files = [f"--input_file={tmp_path}/{name}", f"--output_file={tmp_path}/{output}"]
    return main([f"--init_checkpoint={model}", *files, "--max_seq_length=64", *flags])


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def array(line):
    """A line of google-research/bert's form → float [pieces, layers, H]."""
    return np.array([[layer["values"] for layer in feature["layers"]] for feature in line["features"]])


@pytest.fixture(scope="module")
def extracted(random_model, tmp_path_factory):
    """The lines for TEXTS and one pair, in batches of two."""
    folder = tmp_path_factory.mktemp("extracted")
    assert run(random_model, folder, [*TEXTS, " ||| ".join(PAIR)], "--batch_size=2") == 0
    return lines(folder / "out.jsonl")


def test_the_lines_are_google_research_berts(extracted, random_model):
    tokenizer = load_tokenizer(str(random_model))
    assert [line["linex_index"] for line in extracted] == list(range(len(TEXTS) + 1))
    for line, texts in zip(extracted, [*((text, None) for text in TEXTS), PAIR], strict=True):
        assert list(line) == ["linex_index", "features"]
        (expected,) = encode_sequence(tokenizer, *texts, 64)
        assert [feature["token"] for feature in line["features"]] == expected.tokens
        for feature in line["features"]:
            assert [layer["index"] for layer in feature["layers"]] == [-1, -2, -3, -4][
                : len(feature["layers"])
            ]
            assert all(len(layer["values"]) == 32 for layer in feature["layers"])
    assert len(extracted[-2]["features"]) == 64
    assert (
        max(len(str(abs(x)).split(".")[1]) for x in extracted[0]["features"][0]["layers"][0]["values"]) <= 6
    )


@pytest.mark.parity
def test_the_numbers_are_those_of_transformers(extracted, random_model, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from morphbert.cli.export_model import main as export

    flags = [f"--checkpoint={random_model}", f"--output_dir={tmp_path}/hub", "--format=huggingface"]
    assert export(flags) == 0
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hub", trust_remote_code=True)
    model = transformers.AutoModel.from_pretrained(tmp_path / "hub")
    for line, texts in zip(extracted, [*((text, None) for text in TEXTS), PAIR], strict=True):
        if "[MASK]" in texts[0]:  # text here, a special token there
            continue
        inputs = tokenizer(*texts, truncation=True, max_length=64, return_tensors="pt")
        with torch.no_grad():
            states = model(**inputs, output_hidden_states=True).hidden_states
        theirs = np.stack([states[layer][0].numpy() for layer in (-1, -2)], 1)
        np.testing.assert_allclose(array(line), theirs, atol=1e-5)


def test_tables_and_parquet_give_the_same(extracted, random_model, tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = [{"id": i, "본문": text, "둘째": PAIR[1]} for i, text in enumerate([*TEXTS, PAIR[0]])]
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[:-1]).encode()
    flags = ("--text_field=본문", "--batch_size=3")
    assert run(random_model, tmp_path, content, *flags, name="a.jsonl") == 0
    for found, expected in zip(lines(tmp_path / "out.jsonl"), extracted, strict=False):
        assert found["linex_index"] == expected["linex_index"]
        np.testing.assert_allclose(array(found), array(expected), atol=ROUNDED)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet")
    pair = [*flags, "--text_pair_field=둘째", "--layers=1,-2"]
    content = (tmp_path / "b.parquet").read_bytes()
    assert run(random_model, tmp_path, content, *pair, name="b.parquet", output="out.parquet") == 0
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["linex_index", "tokens", "layer_1", "layer_-2"]
    last = table.slice(len(TEXTS)).to_pylist()[0]
    assert last["tokens"] == [feature["token"] for feature in extracted[-1]["features"]]
    np.testing.assert_allclose(np.array(last["layer_1"]), array(extracted[-1])[:, 0], atol=ROUNDED)
    np.testing.assert_allclose(np.array(last["layer_-2"]), array(extracted[-1])[:, 1], atol=ROUNDED)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_pooled_figures_are_those_of_the_pieces(pooling, extracted, random_model, tmp_path):
    assert run(random_model, tmp_path, TEXTS, f"--pooling={pooling}", "--layers=-1,-2") == 0
    found = lines(tmp_path / "out.jsonl")
    assert len(found) == len(TEXTS)
    for line, expected in zip(found, extracted, strict=False):
        pieces = array(expected)
        vectors = np.array([layer["values"] for layer in line["layers"]])
        np.testing.assert_allclose(vectors, pieces[0] if pooling == "cls" else pieces.mean(0), atol=ROUNDED)


def test_order_and_figures_do_not_depend_on_the_batches(random_model, tmp_path, monkeypatch):
    from morphbert.interop import extraction

    monkeypatch.setattr(extraction, "_MOST_BATCHES", 2)
    texts = [f"나는 학교에 {'매일 ' * (n % 7)}간다 {n}" for n in range(40)]
    results = []
    for size in (1, 16):
        assert run(random_model, tmp_path, texts, f"--batch_size={size}", "--layers=-1") == 0
        results.append(lines(tmp_path / "out.jsonl"))
    for one, other in zip(*results, strict=True):
        assert one["linex_index"] == other["linex_index"]
        np.testing.assert_allclose(array(one), array(other), atol=ROUNDED)


def test_a_plain_vocabulary_and_a_run(trained, tmp_path):
    flags = [f"--vocab_file={GOLDEN}/vocab_ko.txt", f"--bert_config_file={trained}/bert_config.json"]
    assert run(f"{trained}/model.ckpt-3", tmp_path, SENTENCES, *flags, "--do_lower_case=false") == 0
    assert len(lines(tmp_path / "out.jsonl")) == len(SENTENCES)


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (["--layers=-1,-3"], 2, ["2 layers", "no -3"]),
        (["--layers=last"], 2, ["--layers=last"]),
        (["--max_seq_length=65"], 2, ["65", "64 positions"]),
        (["--init_checkpoint=nowhere"], 1, ["nowhere", "no checkpoint"]),
        (["--input_file=nowhere"], 1, ["nowhere"]),
        (["--use_tpu"], 2, ["--use_tpu"]),
        (["--output_file=/proc/no/out.jsonl"], 1, ["/proc/no"]),
        (["--input_file=BAD.jsonl"], 1, ["line 2", "'text'", "--text_field"]),
        (["--input_file=EMPTY.txt"], 1, ["no text"]),
        (["--input_file=BROKEN.parquet"], 1, ["BROKEN.parquet", "Parquet"]),
    ],
)
def test_bad_input_is_named_and_no_file_is_left(flags, status, words, random_model, tmp_path, capsys):
    (tmp_path / "BAD.jsonl").write_text('{"text": "가"}\n{"text": 3}\n')
    (tmp_path / "EMPTY.txt").write_text("")
    (tmp_path / "BROKEN.parquet").write_text("PAR1")
    flags = [flag.replace("=B", f"={tmp_path}/B").replace("=E", f"={tmp_path}/E") for flag in flags]
    assert run(random_model, tmp_path, ["가"], *flags) == status
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert "Traceback" not in message
    assert not list(tmp_path.glob("*out*"))
    assert not list(tmp_path.glob(".*"))
