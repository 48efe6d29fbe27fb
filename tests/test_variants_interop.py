"""ALBERT, RoBERTa and pre-LN: transformers' numbers and TensorFlow 1's, in and out."""

import json
import shutil

import numpy as np
import pytest
import regenerate_albert
import regenerate_model
import tensorflow as tf
from samples import GOLDEN, SENTENCES, write_random_model
from variants import (
    CUSTOM,
    VARIANTS,
    as_flags,
    assert_same_weights,
    config_of,
    inputs_of,
    ours_of,
    padded_batch,
    random_weights,
    tensors,
    theirs_of,
    transformers_model,
)

from morphbert.cli.export_model import main as export
from morphbert.cli.import_model import main as bring_in
from morphbert.errors import MorphbertError
from morphbert.interop import sources
from morphbert.interop.pretrained import Pretrained
from morphbert.model.config import BertConfig
from morphbert.model.encoder import EncoderInputs, encode_layers, pool
from morphbert.model.losses import counts, pretraining_sums, total_loss
from morphbert.model.parameters import pretraining_parameters
from morphbert.text.loading import load_tokenizer
from morphbert.text.special_tokens import encode_special


def import_to(folder, checkpoint, *flags):
    return bring_in([f"--checkpoint={checkpoint}", f"--output_dir={folder}", *flags])


# ── in, out, and in again ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module", params=["albert", "roberta", "pre_ln", "modern"])
def theirs(request, tmp_path_factory):
    """A model of transformers, and the folder that it was saved in."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    model, folder = transformers_model(request.param), tmp_path_factory.mktemp("theirs")
    model.save_pretrained(folder)
    return model, folder


@pytest.mark.parity
def test_numbers_are_those_of_transformers(theirs, tmp_path, capsys):
    model, folder = theirs
    assert import_to(tmp_path / "ours", folder) == 0
    out = capsys.readouterr().out
    assert "left over" not in out
    ours = sources.read(str(tmp_path / "ours"))
    assert ours.config.max_position_embeddings == 64
    batch = padded_batch(ours.config.type_vocab_size, padding=model.config.pad_token_id)
    (hidden, logits, pairs), (their_hidden, their_logits, their_pairs) = (
        ours_of(ours, *batch),
        theirs_of(model, *batch),
    )
    # transformers gives ALBERT's after each block of a group, and pre-LN's last before its LayerNorm.
    each = ours.config.inner_group_num
    kept = their_hidden[::each]
    assert len(hidden) == len(kept) == 5
    real = batch[1] == 1
    for a, b in list(zip(hidden, kept, strict=True))[: -1 if ours.config.pre_layer_norm else None]:
        np.testing.assert_allclose(a[real], b[real], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logits[real], their_logits[real], rtol=1e-5, atol=1e-5)
    assert (pairs is None) == (their_pairs is None)
    if pairs is not None:
        np.testing.assert_allclose(pairs, their_pairs, rtol=1e-5, atol=1e-5)


@pytest.mark.parity
def test_attention_along_the_band_is_that_of_transformers(tmp_path):
    """In a sequence that is longer than three blocks of queries, with padding at its end."""
    pytest.importorskip("torch")
    model = transformers_model("modern", max_position_embeddings=160)
    model.save_pretrained(tmp_path)
    batch = padded_batch(1, padding=0, length=150)
    (hidden, logits, _), (their_hidden, their_logits, _) = (
        ours_of(sources.read(str(tmp_path)), *batch),
        theirs_of(model, *batch),
    )
    real = batch[1] == 1
    for a, b in zip(hidden[:-1], their_hidden[:-1], strict=True):
        np.testing.assert_allclose(a[real], b[real], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logits[real], their_logits[real], rtol=1e-5, atol=1e-5)


@pytest.mark.parity
def test_gradients_are_those_of_torch(theirs, tmp_path):
    """Of the masked LM's loss, by every weight."""
    import torch

    from morphbert.interop.huggingface.folder import our_weights

    model, folder = theirs
    ours = sources.read(str(folder))
    ids, mask, segments = padded_batch(ours.config.type_vocab_size, padding=model.config.pad_token_id)
    positions, labels = np.tile([1, 2, 0], (4, 1)), np.full((4, 3), 7)
    batch = {
        "input_ids": ids,
        "input_mask": mask,
        "segment_ids": segments,
        "masked_lm_positions": positions,
        "masked_lm_ids": labels,
    }
    batch = {name: tf.constant(value, tf.int32) for name, value in batch.items()}
    batch["masked_lm_weights"] = tf.ones([4, 3])
    weights = tensors(ours.weights)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss = total_loss(pretraining_sums(weights, ours.config, batch), counts(batch))
    gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
    model.zero_grad()
    outputs = model(**inputs_of(model, ids, mask, segments))
    logits = outputs.prediction_logits if "prediction_logits" in outputs else outputs.logits
    chosen = logits[torch.arange(4)[:, None], torch.tensor(positions)]
    their_loss = torch.nn.functional.cross_entropy(chosen.reshape(12, -1), torch.tensor(labels).reshape(-1))
    their_loss.backward()
    np.testing.assert_allclose(float(loss), their_loss.item(), rtol=1e-5)
    # Theirs by our names: a gradient is divided and turned as its weight is.
    grads = {n: p.grad.numpy().copy() for n, p in model.named_parameters() if p.grad is not None}
    expected = our_weights(grads, pretraining_parameters(ours.config), "gradients")
    padding = model.config.pad_token_id
    for name, value in expected.items():
        found = np.asarray(tf.convert_to_tensor(gradients[name]))
        if name.endswith("word_embeddings") and model.get_input_embeddings().padding_idx == padding:
            value[padding] = found[padding]  # torch leaves the padding's row out
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5, err_msg=name)
    # Without the pooler and the head for pairs, which this loss does not reach.
    assert len(expected) >= len(gradients) - 4


@pytest.mark.parity
def test_in_out_and_in_again_is_bit_equal(theirs, tmp_path):
    """Their folder → ours → theirs: the same tensors in the file, except the ones that we complete."""
    from safetensors.numpy import load_file

    model, folder = theirs
    work = tmp_path / "with vocabulary"
    shutil.copytree(folder, work)
    specials = ["<s>", "[PAD]"] if model.config.pad_token_id == 1 else ["[PAD]"]
    tokens = [*specials, "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += [chr(0xAC00 + n) for n in range(300 - len(tokens))]
    (work / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    assert import_to(tmp_path / "ours", work) == 0
    flags = [f"--checkpoint={tmp_path}/ours", f"--output_dir={tmp_path}/again", "--format=huggingface"]
    assert export(flags) == 0
    assert import_to(tmp_path / "second", tmp_path / "again") == 0
    one, other = (sources.read(str(tmp_path / name)) for name in ("ours", "second"))
    assert one.config == other.config
    assert_same_weights(one.weights, other.weights)
    before, after = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "again"))
    for name, value in before.items():
        if "decoder" not in name:
            np.testing.assert_array_equal(value, after[name], err_msg=name)
    assert set(after) - set(before) <= {"roberta.pooler.dense.weight", "roberta.pooler.dense.bias"}


@pytest.mark.parity
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_we_train_is_computed_by_transformers(variant, tmp_path):
    """Our own model → their classes, on real Korean text cut by the exported tokenizer."""
    transformers = pytest.importorskip("transformers")
    folder = write_random_model(tmp_path / "ours", GOLDEN / "vocab_ko.txt", **as_flags(variant))
    flags = [f"--checkpoint={folder}", f"--output_dir={tmp_path}/out", "--format=huggingface"]
    assert export(flags) == 0
    values = json.loads((tmp_path / "out" / "config.json").read_text())
    model, loading = getattr(transformers, values["architectures"][0]).from_pretrained(
        tmp_path / "out", attn_implementation="eager", output_loading_info=True
    )
    left = {"missing_keys", "unexpected_keys", "mismatched_keys"}
    assert variant == "roberta" or not any(loading[name] for name in left)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    texts = [text.replace("[MASK]", "집") for text in SENTENCES]
    inputs = tokenizer(texts, padding=True, return_tensors="np")
    assert ("token_type_ids" in inputs) == (variant not in ("roberta", "modern"))
    ours, cutter = sources.read(str(folder)), load_tokenizer(str(folder))
    expected = cutter.convert_tokens_to_ids(["[CLS]", *encode_special(cutter, texts[0]).tokens, "[SEP]"])
    assert inputs["input_ids"][0, : len(expected)].tolist() == expected
    mask = inputs["attention_mask"]
    batch = inputs["input_ids"], mask, inputs.get("token_type_ids", np.zeros_like(mask))
    (_, logits, pairs), (_, their_logits, their_pairs) = (
        ours_of(ours, *batch),
        theirs_of(model.eval(), *batch),
    )
    # With these weights the gates' products make hidden states of 15: each of the two is 1.5e-5 from float64's.
    close = 3e-5 if variant == "modern" else 1e-5
    np.testing.assert_allclose(logits[mask == 1], their_logits[mask == 1], rtol=1e-5, atol=close)
    if pairs is not None:
        np.testing.assert_allclose(pairs, their_pairs, rtol=1e-5, atol=1e-5)
    assert_same_weights(sources.read(str(tmp_path / "out")).weights, ours.weights)
    assert sources.read(str(tmp_path / "out")).config == ours.config


@pytest.mark.slow
@pytest.mark.parametrize("variant", [*VARIANTS, *CUSTOM])
def test_served_graphs_give_the_same_numbers(variant, tmp_path):
    """SavedModel and ONNX of every kind."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from morphbert.interop import onnx_graph, saved_model

    config = config_of(variant, vocab_size=300)
    model = Pretrained(config, random_weights(config), "random")
    batch = padded_batch(config.type_vocab_size, padding=0)
    hidden, logits, _ = ours_of(model, *batch)
    real = batch[1] == 1
    (tmp_path / "served").mkdir()
    saved_model.write(str(tmp_path / "served"), model, None)
    named = dict(zip(("input_ids", "input_mask", "segment_ids"), batch, strict=True))
    loaded = tf.saved_model.load(str(tmp_path / "served")).signatures["encode"]
    served = loaded(**{name: tf.constant(values, tf.int32) for name, values in named.items()})
    np.testing.assert_allclose(served["hidden_states"].numpy()[real], hidden[-1][real], rtol=1e-5, atol=1e-5)
    feed = dict(zip(("input_ids", "attention_mask", "token_type_ids"), batch, strict=True))
    if not config.type_vocab_size:
        del feed["token_type_ids"]
    for graph, expected in ((onnx_graph.encoder(model), hidden[-1]), (onnx_graph.masked_lm(model), logits)):
        found = onnxruntime.InferenceSession(graph.SerializeToString()).run(None, feed)[0]
        # Products of a gate's halves are large with these weights, and their rounding with them.
        close = 5e-5 if config.mlp_gate else 1e-5
        np.testing.assert_allclose(found[real], expected[real], rtol=1e-4, atol=close)


def test_a_graph_that_leaves_weights_out_is_refused(monkeypatch):
    """The graph is written separately from the encoder, so a new weight may be missing there."""
    pytest.importorskip("onnx")
    from morphbert.interop import onnx_graph

    config = config_of("pre_ln", num_hidden_layers=1)
    model = Pretrained(config, random_weights(config), "test")
    monkeypatch.setattr(onnx_graph._Graph, "shift", lambda self, inputs, bias: inputs)
    with pytest.raises(MorphbertError, match="layer_0/attention/self/query/bias"):
        onnx_graph.encoder(model)
    with pytest.raises(MorphbertError, match="'mish' cannot be exported"):
        onnx_graph._Graph(config, {}).activation("mish", "x")


# ── TensorFlow 1 ───────────────────────────────────────────────────────────────────────────────────────

# As google-research/albert's modeling.py and run_pretraining.py make them.
ALBERT_NAMES = (
    """
bert/embeddings/LayerNorm/beta bert/embeddings/LayerNorm/gamma bert/embeddings/position_embeddings
bert/embeddings/token_type_embeddings bert/embeddings/word_embeddings
bert/encoder/embedding_hidden_mapping_in/bias bert/encoder/embedding_hidden_mapping_in/kernel
bert/pooler/dense/bias bert/pooler/dense/kernel cls/predictions/output_bias
cls/predictions/transform/LayerNorm/beta cls/predictions/transform/LayerNorm/gamma
cls/predictions/transform/dense/bias cls/predictions/transform/dense/kernel
cls/seq_relationship/output_bias cls/seq_relationship/output_weights
""".split()
    + [
        f"bert/encoder/transformer/group_0/inner_group_0/{part}"
        for part in (
            *("LayerNorm/beta", "LayerNorm/gamma", "LayerNorm_1/beta", "LayerNorm_1/gamma"),
            *(f"attention_1/self/{p}/{w}" for p in ("query", "key", "value") for w in ("bias", "kernel")),
            *(f"attention_1/output/dense/{w}" for w in ("bias", "kernel")),
            *(f"ffn_1/intermediate/dense/{w}" for w in ("bias", "kernel")),
            *(f"ffn_1/intermediate/output/dense/{w}" for w in ("bias", "kernel")),
        )
    ]
)


def test_our_numbers_are_those_of_googles_albert():
    """Of its own modeling.py, for a checkpoint that we exported: two groups of two blocks in four layers."""
    config = BertConfig(**regenerate_albert.CONFIG)
    shapes = {name: parameter.shape for name, parameter in pretraining_parameters(config).items()}
    weights = tensors(regenerate_model.weights_by_formula(shapes))
    inputs = [
        tf.constant(regenerate_model.BATCH[name]) for name in ("input_ids", "input_mask", "segment_ids")
    ]
    hidden = encode_layers(weights, config, EncoderInputs(*inputs))[-1]
    expected = json.loads((GOLDEN / "albert.json").read_text())
    for name, found in (("hidden_states", hidden), ("pooled_output", pool(weights, hidden))):
        np.testing.assert_allclose(found, np.reshape(expected[name], found.shape), rtol=1e-5, atol=1e-5)


def test_googles_albert_goes_out_and_comes_in(tmp_path):
    """Under the released files' names: model.ckpt-best and albert_config.json."""
    folder = write_random_model(tmp_path / "ours", GOLDEN / "vocab_ko.txt", **as_flags("albert"))
    flags = [f"--checkpoint={folder}", f"--output_dir={tmp_path}/out", "--format=google"]
    assert export(flags) == 0
    reader = tf.train.load_checkpoint(str(tmp_path / "out"))
    assert sorted(reader.get_variable_to_shape_map()) == sorted(ALBERT_NAMES)
    released = tmp_path / "albert_base"
    released.mkdir()
    for path in (tmp_path / "out").glob("bert_model.ckpt*"):
        shutil.copy(path, released / path.name.replace("bert_model.ckpt", "model.ckpt-best"))
    values = json.loads((tmp_path / "out" / "bert_config.json").read_text())
    extra = {"net_structure_type": 0, "gap_size": 0, "num_memory_blocks": 0, "down_scale_factor": 1}
    (released / "albert_config.json").write_text(json.dumps({**values, **extra, "ln_type": "postln"}))
    assert import_to(tmp_path / "back", released) == 0
    one, other = sources.read(str(folder)), sources.read(str(tmp_path / "back"))
    assert one.config == other.config
    assert_same_weights(one.weights, other.weights)


@pytest.mark.parametrize(
    ("variant", "changes", "form", "words"),
    [
        ("roberta", {}, "google", ["RoBERTa", "modeling.py", "--format=huggingface"]),
        ("pre_ln", {}, "google", ["pre-LN BERT", "modeling.py"]),
        ("modern", {}, "google", ["ModernBERT", "mlp_gate=true", "no TensorFlow 1 names"]),
        ("modern", {"norm_type": "rms_norm"}, "huggingface", ['norm_type="rms_norm"', "no ModernBERT"]),
        ("rotary", {}, "huggingface", ['position_embedding_type="rotary"', "mlp_gate=false"]),
        ("roberta", {"position_offset": 2}, "huggingface", ["position_offset is 2", "[PAD] is piece 0"]),
        ("roberta", {"hidden_act": "gelu"}, "huggingface", ["gelu_erf"]),
        ("roberta", {"next_sentence_head": True}, "huggingface", ["next_sentence_head"]),
        ("roberta", {"pre_layer_norm": True}, "huggingface", ["pre_layer_norm", "position_offset"]),
    ],
)
def test_what_others_do_not_compute_is_not_exported(variant, changes, form, words, tmp_path, capsys):
    values = {**as_flags(variant), **changes}
    folder = write_random_model(tmp_path / "ours", GOLDEN / "vocab_ko.txt", **values)
    flags = [f"--checkpoint={folder}", f"--output_dir={tmp_path}/out", f"--format={form}"]
    assert export(flags) == 1
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert not (tmp_path / "out").exists()
