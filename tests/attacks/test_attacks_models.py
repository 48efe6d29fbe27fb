"""Hostile weights, made by generators: each is refused with the name of what is wrong in it."""

import dataclasses
import json
import struct

import numpy as np
import pytest
from samples import write_random_model

pytest.importorskip("tensorflow", reason="models are read with TensorFlow")

from morphbert.errors import MorphbertError
from morphbert.interop import sources
from morphbert.interop.configs import SAVE_FORMATS, SaveConfig
from morphbert.interop.export import write
from morphbert.interop.pretrained import as_float32
from morphbert.text.vocabulary import vocabulary_bytes

TABLE = "bert.embeddings.word_embeddings.weight"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "나", "##는", "."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Hugging Face folder of a tiny model."""
    from morphbert.cli.export_model import main as export

    base = tmp_path_factory.mktemp("attacks")
    (base / "vocab").mkdir()
    (base / "vocab" / "vocab.txt").write_bytes(vocabulary_bytes(PIECES))
    (base / "vocab" / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    model = write_random_model(base / "model", base / "vocab")
    assert export([f"--checkpoint={model}", f"--output_dir={base}/hf", "--format=huggingface"]) == 0
    return base / "hf"


def written(folder, path, tensors):
    path.mkdir()
    (path / "config.json").write_bytes((folder / "config.json").read_bytes())
    from safetensors.numpy import save_file

    save_file(tensors, path / "model.safetensors")
    return path


def tensors_of(folder):
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def with_value(table, value, dtype=None):
    changed = table.astype(dtype or table.dtype)
    changed[1, 2] = value
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: with_value(t, np.nan), r"word_embeddings.weight holds nan at \[1, 2\]"),
        (lambda t: with_value(t, -np.inf), r"word_embeddings.weight holds -inf at \[1, 2\]"),
        (lambda t: with_value(t, 1e300, np.float64), r"holds 1e\+300 at \[1, 2\], which is beyond float32"),
        (lambda t: (t * 100).astype(np.int32), "contains int32, not floating-point"),
        (lambda t: (t * 100).astype(np.int8), "contains int8, not floating-point"),
        (lambda t: t > 0, "contains bool, not floating-point"),
        (lambda t: t.reshape(-1), r"word_embeddings is \[256\]"),
        (lambda t: t[:, :0].copy(), r"word_embeddings is \[8, 0\]"),
        (lambda t: t[:3].copy(), r"word_embeddings is \[3, 32\]"),
    ],
)
def test_numbers_that_are_no_weights_are_named(change, message, folder, tmp_path):
    tensors = tensors_of(folder)
    bad = written(folder, tmp_path / "bad", {**tensors, TABLE: change(tensors[TABLE])})
    with pytest.raises(MorphbertError, match=message):
        sources.read(str(bad))


@pytest.mark.parametrize("format", SAVE_FORMATS)
def test_a_model_that_diverged_in_memory_is_not_written(format, folder, tmp_path):
    model = sources.read(str(folder))
    name = "bert/encoder/layer_0/attention/self/query/kernel"
    weights = {**model.weights, name: with_value(model.weights[name], np.nan)}
    config = SaveConfig(checkpoint=str(folder), output_dir=str(tmp_path / "out"), format=format)
    with pytest.raises(MorphbertError, match=rf"{name} holds nan at \[1, 2\]"):
        write(dataclasses.replace(model, weights=weights), None, config)
    assert not (tmp_path / "out").exists()


def test_float64_and_float16_within_range_are_taken(folder, tmp_path):
    tensors = tensors_of(folder)
    for dtype in (np.float64, np.float16):
        made = written(folder, tmp_path / dtype.__name__, {n: t.astype(dtype) for n, t in tensors.items()})
        table = sources.read(str(made)).weights["bert/embeddings/word_embeddings"]
        assert table.dtype == np.float32
        np.testing.assert_array_equal(table, tensors[TABLE].astype(dtype).astype(np.float32))


def header(content, length=None):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        header({}, length=2**63),
        header(b"{" * 1000),
        header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}),
        header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}),
        header({"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}) + bytes(4),
    ],
)
def test_a_hostile_safetensors_file_is_named(content, folder, tmp_path):
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(MorphbertError, match=r"model\.safetensors"):
        sources.read(str(tmp_path))


def test_a_part_of_another_model_is_not_taken_silently(folder, tmp_path):
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    for name in ("../hf/model.safetensors", "/etc/passwd", "..", "a\\b"):
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {TABLE: name}}))
        with pytest.raises(MorphbertError, match="not a file of the folder"):
            sources.read(str(tmp_path))


def test_as_float32_names_the_first_of_them():
    values = np.ones((2, 3), np.float32)
    assert as_float32("m", "w", values) is values
    values[1, 0] = values[1, 2] = np.nan
    with pytest.raises(MorphbertError, match=r"m: w holds nan at \[1, 0\] \(2 such numbers of 6\)"):
        as_float32("m", "w", values)
