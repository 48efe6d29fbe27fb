"""A model as SavedModel and as ONNX: the same numbers from the plain loaders, without this program."""

import gzip
import itertools
import json
import sys

import numpy as np
import pytest
import tensorflow as tf
from processes import run_process
from real_data import REVIEWS
from samples import GOLDEN, SENTENCES, write_random_model

from morphbert.cli.export_model import main
from morphbert.interop import sources
from morphbert.model.encoder import EncoderInputs, encode, pool
from morphbert.model.heads import masked_lm_logits
from morphbert.text.loading import load_tokenizer

BLOCKED = """
import sys
sys.modules["morphbert"] = sys.modules["tensorflow_text"] = None
import numpy as np, tensorflow as tf
data = np.load(sys.argv[2])
loaded = tf.saved_model.load(sys.argv[1])
out = {}
for name in ("encode", "masked_lm"):
    out |= loaded.signatures[name](**{k: tf.constant(data[k]) for k in data.files})
np.savez(sys.argv[3], **{k: v.numpy() for k, v in out.items()})
"""


@pytest.fixture(scope="module")
def batch(random_model):
    """Real sentences with padding: input_ids, input_mask, segment_ids int32 [B, L]."""
    tokenizer = load_tokenizer(str(random_model))
    special = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]"])
    rows = [[special[0], *tokenizer.encode(text).ids, special[1]] for text in SENTENCES]
    length = max(map(len, rows)) + 3
    ids = np.array([row + [0] * (length - len(row)) for row in rows], np.int32)
    mask = np.array([[1] * len(row) + [0] * (length - len(row)) for row in rows], np.int32)
    segments = np.where(np.arange(length) > 7, mask, 0).astype(np.int32)
    return {"input_ids": ids, "input_mask": mask, "segment_ids": segments}


@pytest.fixture(scope="module")
def expected(random_model, batch):
    model = sources.read(str(random_model))
    hidden = encode(model.weights, model.config, EncoderInputs.of(batch))
    length = batch["input_ids"].shape[1]
    every = tf.tile(tf.range(length)[None], [len(SENTENCES), 1])
    return {
        "hidden_states": hidden.numpy(),
        "pooled_output": pool(model.weights, hidden).numpy(),
        "masked_lm_logits": masked_lm_logits(model.weights, model.config, hidden, every).numpy(),
    }


def run_export(checkpoint, folder, *flags):
    assert main([f"--checkpoint={checkpoint}", f"--output_dir={folder}", *flags]) == 0
    return folder


def test_the_plain_loader_serves_the_same_numbers_without_morphbert(
    random_model, batch, expected, tmp_path, capsys
):
    folder = run_export(random_model, tmp_path / "served", "--format=saved_model")
    assert "outside the graph" in capsys.readouterr().out
    assert not (folder / "text").exists()
    assert (folder / "tokenizer" / "tokenization_morphbert.py").is_file()
    np.savez(tmp_path / "in.npz", **batch)
    command = [sys.executable, "-c", BLOCKED, folder, tmp_path / "in.npz", tmp_path / "out.npz"]
    done = run_process(command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    served = np.load(tmp_path / "out.npz")
    assert set(served.files) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(served[name], value, atol=1e-5, err_msg=name)
    loaded = tf.saved_model.load(str(folder)).signatures["serving_default"]
    longer = tf.ones([1, 65], tf.int32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="64 pieces at most"):
        loaded(input_ids=longer, input_mask=longer, segment_ids=longer * 0)
    one = loaded(**{name: tf.constant(value[:1, :5]) for name, value in batch.items()})
    assert one["hidden_states"].shape == [1, 5, 32]


def lines_of_korean():
    lines = (GOLDEN / "documents_ko.txt").read_text(encoding="utf-8").splitlines()
    if REVIEWS.exists():
        with gzip.open(REVIEWS, "rt", encoding="utf-8") as stream:
            lines += [line.strip() for line in itertools.islice(stream, 800)]
    return [*lines, *SENTENCES, "", " ", "한글 글 é É", "뷁" * 300, "\u2028가\u0085나\x0b다\u200b마\ufeff바"]


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("form", ["bert", "nfc"])
def test_text_is_cut_in_the_graph_as_by_our_tokenizer(form, lower):
    pytest.importorskip("tensorflow_text")
    from morphbert.interop.text_graph import TextCutter
    from morphbert.text.description import make_tokenizer
    from morphbert.text.normalize import Normalizer
    from morphbert.text.words import WordSplitter

    vocabulary = load_tokenizer(str(GOLDEN / "vocab_ko.txt"), do_lower_case=False).vocabulary
    ours = load_tokenizer(str(GOLDEN / "vocab_ko.txt"), do_lower_case=lower)
    if form == "nfc":
        ours = make_tokenizer(vocabulary, WordSplitter(Normalizer("nfc", lower)))
    cutter = TextCutter(ours, 512)
    lines = lines_of_korean()
    ids, mask, _ = cutter(tf.constant(lines))
    first, last = ours.convert_tokens_to_ids(["[CLS]", "[SEP]"])
    for line, row, size in zip(lines, ids.numpy().tolist(), mask.numpy().sum(1), strict=True):
        assert row[:size] == [first, *ours.encode(line).ids[:510], last], line


def test_the_second_saved_model_takes_raw_text(trained, tmp_path):
    pytest.importorskip("tensorflow_text")
    flags = [f"--vocab_file={GOLDEN}/vocab_ko.txt", "--do_lower_case=false", "--format=saved_model"]
    folder = run_export(trained, tmp_path / "served", *flags)
    loaded = tf.saved_model.load(str(folder / "text"))
    by_text = loaded.signatures["serving_default"](text=tf.constant(SENTENCES))
    cut = loaded.signatures["tokenize"](text=tf.constant(SENTENCES))
    by_ids = tf.saved_model.load(str(folder)).signatures["encode"](**cut)
    for name, value in by_ids.items():
        np.testing.assert_allclose(by_text[name], value, atol=1e-6, err_msg=name)
    # Longer than the positions: cut, as by every tokenizer that is told a length.
    assert loaded.signatures["tokenize"](text=tf.constant(["가 " * 300]))["input_ids"].shape == [1, 64]


@pytest.mark.parametrize("act", ["gelu", "gelu_erf", "relu", "tanh", "linear"])
def test_onnxruntime_gives_the_same_numbers(act, random_model, batch, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    from morphbert.interop import onnx_graph

    source = write_random_model(tmp_path / "model", random_model, hidden_act=act, layer_norm_eps=1e-6)
    model = sources.read(str(source))
    hidden = encode(model.weights, model.config, EncoderInputs.of(batch))
    every = tf.tile(tf.range(hidden.shape[1])[None], [len(SENTENCES), 1])
    logits = masked_lm_logits(model.weights, model.config, hidden, every)
    names = ("input_ids", "attention_mask", "token_type_ids")
    feed = {name: value.astype(np.int64) for name, value in zip(names, batch.values(), strict=True)}

    def run(proto):
        return onnxruntime.InferenceSession(proto.SerializeToString()).run(None, feed)

    states, pooled = run(onnx_graph.encoder(model))
    np.testing.assert_allclose(states, hidden, atol=1e-5)
    np.testing.assert_allclose(pooled, pool(model.weights, hidden), atol=1e-5)
    (scores,) = run(onnx_graph.masked_lm(model))
    np.testing.assert_allclose(scores, logits, atol=1e-5)


def test_the_onnx_folder_and_its_smaller_variant(random_model, batch, expected, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = run_export(random_model, tmp_path / "onnx", "--format=onnx", "--int8", "--fp16")
    assert json.loads((folder / "bert_config.json").read_text())["hidden_size"] == 32
    assert (folder / "tokenizer" / "vocab.txt").is_file()
    names = ("input_ids", "attention_mask", "token_type_ids")
    feed = {name: value.astype(np.int64) for name, value in zip(names, batch.values(), strict=True)}
    results = {}
    for name in ("masked_lm.onnx", "masked_lm.int8.onnx", "masked_lm.fp16.onnx"):
        (results[name],) = onnxruntime.InferenceSession(str(folder / name)).run(["logits"], feed)
    np.testing.assert_allclose(results["masked_lm.onnx"], expected["masked_lm_logits"], atol=1e-5)
    # Eight bits, or sixteen: near, and not the same.
    exact, near, nearer = (value[batch["input_mask"] > 0] for value in results.values())
    assert exact.dtype == near.dtype == nearer.dtype == np.float32
    assert np.abs(exact - near).max() > np.abs(exact - nearer).max() > 0
    assert np.corrcoef(exact.ravel(), near.ravel())[0, 1] > 0.99
    np.testing.assert_allclose(nearer, exact, atol=0.05)
    assert (folder / "model.fp16.onnx").stat().st_size < 0.55 * (folder / "model.onnx").stat().st_size
    assert (folder / "model.int8.onnx").stat().st_size < 0.6 * (folder / "model.onnx").stat().st_size
