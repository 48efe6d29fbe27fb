"""ALBERT, RoBERTa and pre-LN: transformers' numbers in and out, and training with everything that BERT trains with."""

import importlib.util
import json
import math
import shutil

import numpy as np
import pytest
import tensorflow as tf
from samples import GOLDEN, ROOT, SENTENCES, SHAPE, write_config, write_random_model
from variants import VARIANTS, config_of, random_weights, tensors, transformers_model

from morphbert.cli.create_pretraining_data import main as create
from morphbert.cli.export_model import main as export
from morphbert.cli.import_model import main as bring_in
from morphbert.cli.run_pretraining import main as train
from morphbert.errors import MorphbertError
from morphbert.interop import sources
from morphbert.interop.pretrained import Pretrained
from morphbert.model.config import BertConfig
from morphbert.model.encoder import encode_layers, pool
from morphbert.model.heads import masked_lm_logits, next_sentence_logits
from morphbert.model.losses import counts, pretraining_sums, total_loss
from morphbert.model.parameters import pretraining_parameters
from morphbert.text.special_tokens import encode_special
from morphbert.text.tokenizer import load_tokenizer
from morphbert.train.optimization import layer_scales


def import_to(folder, checkpoint, *flags):
    return bring_in([f"--checkpoint={checkpoint}", f"--output_dir={folder}", *flags])


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def ours_of(model, ids, mask, segments):
    """Hidden states of every layer, logits of every position, and of the pairs where there is a head for them."""
    weights = tensors(model.weights)
    ids, mask, segments = (tf.constant(values, tf.int32) for values in (ids, mask, segments))
    hidden = encode_layers(weights, model.config, ids, mask, segments)
    every = tf.broadcast_to(tf.range(ids.shape[1])[None], ids.shape)
    logits = masked_lm_logits(weights, model.config, hidden[-1], every).numpy()
    pairs = None
    if model.config.next_sentence_head:
        pairs = next_sentence_logits(weights, pool(weights, hidden[-1])).numpy()
    return [h.numpy() for h in hidden], logits, pairs


def theirs_of(model, ids, mask, segments):
    import torch

    with torch.no_grad():
        outputs = model(
            input_ids=torch.tensor(ids),
            attention_mask=torch.tensor(mask),
            token_type_ids=torch.tensor(segments),
            output_hidden_states=True,
        )
    logits = outputs.prediction_logits if "prediction_logits" in outputs else outputs.logits
    pairs = next(
        (outputs[n].numpy() for n in ("sop_logits", "seq_relationship_logits") if n in outputs), None
    )
    return [h.numpy() for h in outputs.hidden_states], logits.numpy(), pairs


def padded_batch(types, padding, size=300, length=60):
    """Ids, mask and segments [4, L] of sequences of different lengths."""
    random = np.random.default_rng(5)
    ids, lengths = random.integers(5, size, (4, length)), [length, 41, 17, 3]
    mask = (np.arange(length)[None] < np.array(lengths)[:, None]).astype(np.int64)
    ids = np.where(mask == 1, ids, padding)
    segments = ((np.arange(length)[None] > 10) & (mask == 1) & (types > 1)).astype(np.int64)
    return ids, mask, segments


# ── in, out, and in again ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module", params=["albert", "roberta", "pre_ln"])
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
def test_gradients_are_those_of_torch(theirs, tmp_path):
    """Of the masked LM's loss, by every weight."""
    import torch

    from morphbert.interop.huggingface_names import hugging_face_name

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
    outputs = model(
        torch.tensor(ids), attention_mask=torch.tensor(mask), token_type_ids=torch.tensor(segments)
    )
    logits = outputs.prediction_logits if "prediction_logits" in outputs else outputs.logits
    chosen = logits[torch.arange(4)[:, None], torch.tensor(positions)]
    their_loss = torch.nn.functional.cross_entropy(chosen.reshape(12, -1), torch.tensor(labels).reshape(-1))
    their_loss.backward()
    np.testing.assert_allclose(float(loss), their_loss.item(), rtol=1e-5)
    parameters, compared = dict(model.named_parameters()), 0
    for name, gradient in gradients.items():
        there, transposed = hugging_face_name(name, ours.config.kind)
        if there not in parameters or parameters[there].grad is None:
            continue
        expected = parameters[there].grad.numpy()
        if ours.config.kind == "RoBERTa" and name.endswith("word_embeddings"):
            expected[1] = np.asarray(tf.convert_to_tensor(gradient))[1]  # torch leaves the padding's row out
        np.testing.assert_allclose(
            tf.convert_to_tensor(gradient), expected.T if transposed else expected, rtol=1e-4, atol=1e-5
        )
        compared += 1
    assert compared >= len(gradients) - 4  # pooler and the head for pairs, which this loss does not reach


@pytest.mark.parity
def test_in_out_and_in_again_is_bit_equal(theirs, tmp_path):
    """Their folder → ours → theirs: the same tensors in the file, but for the mapping of what we complete."""
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
    model = getattr(transformers, values["architectures"][0]).from_pretrained(
        tmp_path / "out", attn_implementation="eager"
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    texts = [text.replace("[MASK]", "집") for text in SENTENCES]
    inputs = tokenizer(texts, padding=True, return_tensors="np")
    assert ("token_type_ids" in inputs) == (variant != "roberta")
    ours, cutter = sources.read(str(folder)), load_tokenizer(str(folder))
    expected = cutter.convert_tokens_to_ids(["[CLS]", *encode_special(cutter, texts[0]).tokens, "[SEP]"])
    assert inputs["input_ids"][0, : len(expected)].tolist() == expected
    mask = inputs["attention_mask"]
    batch = inputs["input_ids"], mask, inputs.get("token_type_ids", np.zeros_like(mask))
    (_, logits, pairs), (_, their_logits, their_pairs) = (
        ours_of(ours, *batch),
        theirs_of(model.eval(), *batch),
    )
    np.testing.assert_allclose(logits[mask == 1], their_logits[mask == 1], rtol=1e-5, atol=1e-5)
    if pairs is not None:
        np.testing.assert_allclose(pairs, their_pairs, rtol=1e-5, atol=1e-5)
    assert_same_weights(sources.read(str(tmp_path / "out")).weights, ours.weights)
    assert sources.read(str(tmp_path / "out")).config == ours.config


def as_flags(variant):
    """The variant's configuration without the vocabulary's size."""
    values = config_of(variant).to_dict()
    values.pop("vocab_size")
    return values


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
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
    for graph, expected in ((onnx_graph.encoder(model), hidden[-1]), (onnx_graph.masked_lm(model), logits)):
        found = onnxruntime.InferenceSession(graph.SerializeToString()).run(None, feed)[0]
        np.testing.assert_allclose(found[real], expected[real], rtol=1e-4, atol=1e-5)


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


def module_of(name):
    """A script of tests/golden as a module."""
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_our_numbers_are_those_of_googles_albert():
    """Of its own modeling.py, for a checkpoint that we exported: two groups of two blocks in four layers."""
    batch, albert = module_of("regenerate_model"), module_of("regenerate_albert")
    config = BertConfig(**albert.CONFIG)
    shapes = {name: parameter.shape for name, parameter in pretraining_parameters(config).items()}
    weights = tensors(batch.weights_by_formula(shapes))
    inputs = [tf.constant(batch.BATCH[name]) for name in ("input_ids", "input_mask", "segment_ids")]
    hidden = encode_layers(weights, config, *inputs)[-1]
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


# ── the configuration ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embedding_size": 16}, ["embedding_size", "num_hidden_groups is missing"]),
        ({"inner_group_num": 2}, ["inner_group_num", "num_hidden_groups is missing"]),
        ({"num_hidden_groups": 5}, ["not divisible by num_hidden_groups 5"]),
        ({"num_hidden_groups": 1, "pre_layer_norm": True}, ["pre_layer_norm", "no ALBERT"]),
        ({"num_hidden_groups": 1, "position_offset": 1}, ["position_offset", "no ALBERT"]),
        ({"next_sentence_head": 1}, ["next_sentence_head is 1", "true or false"]),
        ({"embeding_size": 16}, ["embeding_size", "'embedding_size'"]),
        ({"pre_layernorm": True}, ["'pre_layer_norm'"]),
        ({"ln_type": "preln"}, ["ln_type", "postln"]),
        ({"position_offset": -1}, ["from 0 up"]),
    ],
)
def test_what_is_no_model_is_said(changes, words):
    with pytest.raises(MorphbertError) as error:
        BertConfig.from_dict({"vocab_size": 97, **changes})
    assert all(word in str(error.value) for word in words), error.value


def test_released_configurations_of_transformers_are_read():
    roberta = {
        "model_type": "roberta",
        "vocab_size": 50265,
        "max_position_embeddings": 514,
        "pad_token_id": 1,
    }
    config = BertConfig.from_dict({**roberta, "hidden_act": "gelu", "type_vocab_size": 1})
    assert (config.position_offset, config.max_position_embeddings, config.hidden_act) == (2, 512, "gelu_erf")
    assert config.kind == "RoBERTa"
    assert not config.next_sentence_head
    albert = BertConfig.from_dict({"model_type": "albert", "vocab_size": 30000})
    assert (albert.embedding_width, albert.hidden_size, albert.num_hidden_groups) == (128, 4096, 1)


def test_plain_configurations_are_written_as_before():
    assert "embedding_size" not in BertConfig(97).to_json()
    for variant in VARIANTS:
        config = config_of(variant)
        assert BertConfig.from_dict(json.loads(config.to_json())) == config


@pytest.mark.parametrize(("variant", "millions"), [("albert_base", 11.7), ("albert_large", 17.7)])
def test_alberts_have_the_published_sizes(variant, millions):
    """12 and 18 million (Lan et al. 2020, table 1), to the digit as transformers counts AlbertModel's."""
    values = json.loads((ROOT / "morphbert" / "model" / "configs" / f"{variant}.json").read_text())
    shapes = pretraining_parameters(BertConfig.from_dict({**values, "vocab_size": 30000}))
    weights = sum(math.prod(p.shape) for name, p in shapes.items() if not name.startswith("cls/"))
    assert round(weights / 1e6, 1) == millions


# ── training ───────────────────────────────────────────────────────────────────────────────────────────


def test_layers_that_share_weights_learn_at_one_rate():
    scales = layer_scales(list(pretraining_parameters(config_of("albert groups"))), 0.5)
    group = "bert/encoder/transformer/group_{}/inner_group_1/ffn_1/intermediate/dense/kernel"
    assert [scales[group.format(n)] for n in (0, 1)] == [0.25, 0.5]
    assert scales["bert/encoder/embedding_hidden_mapping_in/kernel"] == 0.125
    assert scales["bert/embeddings/word_embeddings"] == 0.125
    assert scales["cls/predictions/output_bias"] == 1.0
    assert (
        layer_scales(list(pretraining_parameters(config_of("pre_ln"))), 0.5)["bert/encoder/LayerNorm/beta"]
        == 1
    )


@pytest.mark.parametrize(
    "variant", [v if v == "albert groups" else pytest.param(v, marks=pytest.mark.slow) for v in VARIANTS]
)
def test_recomputed_and_compiled_gradients_are_the_same(variant):
    """Also with dropout on, which recomputation has to repeat."""
    config = config_of(variant, vocab_size=300)
    ids, mask, segments = padded_batch(config.type_vocab_size, padding=0, length=20)
    batch = {"input_ids": ids, "input_mask": mask, "segment_ids": segments}
    batch |= {"masked_lm_positions": np.tile([1, 2, 0], (4, 1)), "masked_lm_ids": np.full((4, 3), 7)}
    batch = {name: tf.constant(value, tf.int32) for name, value in batch.items()}
    batch["masked_lm_weights"] = tf.ones([4, 3])
    if config.next_sentence_head:
        batch["next_sentence_labels"] = tf.constant([[0], [1], [1], [0]])
    weights = tensors(random_weights(config))

    def gradients(recompute, key):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = total_loss(pretraining_sums(weights, config, batch, key, recompute), counts(batch))
        found = tape.gradient(loss, list(weights.values()), unconnected_gradients="zero")
        return [tf.convert_to_tensor(gradient) for gradient in found]

    key = tf.constant([3, 4])
    plain = tf.function(gradients)(False, key)
    assert all(np.abs(g).sum() > 0 for g, n in zip(plain, weights, strict=True) if "pooler" not in n)
    for a, b in zip(plain, tf.function(gradients)(True, key), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for a, b in zip(
        tf.function(gradients)(False, None),
        tf.function(gradients, jit_compile=True)(False, None),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_packed_examples_are_computed_as_if_alone(variant):
    config = config_of(variant)
    weights = tensors(random_weights(config))
    random = np.random.default_rng(4)
    one, other = random.integers(1, 97, 9), random.integers(1, 97, 7)

    def last(ids, **packed):
        ids = tf.constant([ids], tf.int32)
        mask = tf.cast(tf.range(ids.shape[1]) < 16, tf.int32)[None]
        return encode_layers(weights, config, ids, mask, tf.zeros_like(ids), **packed)[-1][0]

    packed = last(
        [*one, *other, 0, 0],
        sequence_ids=tf.constant([[1] * 9 + [2] * 7 + [0, 0]]),
        position_ids=tf.constant([[*range(9), *range(7), 0, 0]]),
    )
    np.testing.assert_allclose(packed[:9], last(one), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(packed[9:16], last(other), rtol=1e-5, atol=1e-5)


def objective_none(folder):
    """Records as RoBERTa's: full sentences, no pairs, masks drawn in training."""
    flags = [f"--input_file={GOLDEN}/documents_ko.txt", f"--vocab_file={GOLDEN}/vocab_ko.txt"]
    flags += ["--do_lower_case=false", "--objective=none", "--masking=dynamic", *SHAPE]
    assert create([*flags, f"--output_file={folder}/none.tfrecord"]) == 0
    return f"{folder}/none.tfrecord"


@pytest.fixture(scope="module")
def runs(records, tmp_path_factory):
    """(variant, name, flags) → the output folder of a short run on real Korean records."""
    base = tmp_path_factory.mktemp("runs")
    unpaired = objective_none(base)

    def run(variant, name, *flags, steps=6, **changes):
        files = unpaired if variant == "roberta" else f"{records}/*.tfrecord"
        size = len((GOLDEN / "vocab_ko.txt").read_text(encoding="utf-8").splitlines())
        output = base / name
        output.mkdir(exist_ok=True)
        values = {**as_flags(variant), "vocab_size": size, **changes}
        config = write_config(base / f"{name}.json", **values)
        paths = [f"--bert_config_file={config}", f"--input_file={files}", f"--output_dir={output}"]
        rates = ["--train_batch_size=8", "--num_warmup_steps=2", "--learning_rate=1e-3", "--log_steps=1"]
        run.last = [*paths, f"--num_train_steps={steps}", "--do_train", *SHAPE, *rates, *flags]
        return train([*run.last, "--strategy=cpu"]), output

    return run


def checkpoint(output, step):
    """Weights and moments."""
    reader = tf.train.load_checkpoint(str(output / f"model.ckpt-{step}"))
    names = [n for n in reader.get_variable_to_shape_map() if n.startswith(("model/", "optimizer/"))]
    return {name: np.asarray(reader.get_tensor(name)) for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["albert groups", "roberta", "pre_ln"])
def test_a_stopped_run_goes_on_as_if_it_had_not(variant, runs, capsys):
    """With dropout, in parts, recomputed."""
    rates = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    flags = ("--save_checkpoints_steps=3", "--gradient_accumulation_steps=2", "--recompute")
    status, whole = runs(variant, f"{variant}-whole", *flags, **rates)
    assert status == 0
    part = whole.parent / f"{variant}-part"
    part.mkdir()
    for path in whole.glob("model.ckpt-3*"):
        shutil.copy(path, part)
    (part / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-3"\n')
    assert runs(variant, part.name, *flags, **rates) == (0, part)
    assert "warning" not in capsys.readouterr().out
    assert_same_weights(checkpoint(whole, 6), checkpoint(part, 6))
    losses = [json.loads(line)["loss"] for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_parts_recomputation_and_xla_reach_the_same_weights(variant, runs):
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    outputs = [
        runs(variant, f"{variant}-{number}", *flags, "--optimizer=lamb", **rates)
        for number, flags in enumerate(((), ("--gradient_accumulation_steps=4", "--recompute"), ("--xla",)))
    ]
    assert [status for status, _ in outputs] == [0, 0, 0]
    plain, *others = (checkpoint(output, 6) for _, output in outputs)
    for other in others:
        for name, value in plain.items():
            np.testing.assert_allclose(value, other[name], rtol=0, atol=2e-5, err_msg=name)


def test_labels_without_a_head_for_them_are_refused(runs, capsys):
    status, output = runs("pre_ln", "no-head", next_sentence_head=False)
    assert status == 1
    assert "next_sentence_head" in capsys.readouterr().err
    assert not list(output.glob("model.ckpt*"))


@pytest.mark.slow
def test_dropout_can_be_set_for_a_run(runs):
    status, output = runs("albert", "dropout", "--hidden_dropout_prob=0.3", steps=1)
    assert status == 0
    assert json.loads((output / "bert_config.json").read_text())["hidden_dropout_prob"] == 0.3


def test_a_model_of_one_segment_takes_pairs():
    config = config_of("roberta")
    weights, ids = tensors(random_weights(config)), tf.constant([[5, 6, 7, 8]])
    one, other = (
        encode_layers(weights, config, ids, tf.ones_like(ids), tf.constant(segments))[-1]
        for segments in ([[0, 0, 0, 0]], [[0, 0, 1, 1]])
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["albert groups", "roberta", "pre_ln"])
def test_a_model_of_any_kind_is_used_as_berts_are(variant, tmp_path, capsys):
    """Loaded in Python, asked for masks, trained on a task of pairs."""
    import morphbert
    from morphbert.cli.fill_mask import main as fill_mask
    from morphbert.cli.run_classifier import main as classify

    folder = write_random_model(tmp_path / "model", GOLDEN / "vocab_ko.txt", **as_flags(variant))
    model, tokenizer = morphbert.load(str(folder))
    inputs = tokenizer(["나는 집에 간다."], ["모든 국민은 평등하다."], padding=True, return_tensors="np")
    hidden, pooled = model(**inputs)
    assert hidden.shape[-1] == pooled.shape[-1] == 48
    model.save(str(tmp_path / "again"), format="huggingface")
    again, _ = morphbert.load(str(tmp_path / "again"))
    np.testing.assert_array_equal(again(**inputs).hidden_states, hidden)
    assert fill_mask([f"--checkpoint={folder}", "--text=나는 [MASK]에 간다.", "--top_k=2"]) == 0
    assert "[MASK]" in capsys.readouterr().out
    rows = [f"{'좋은' if n % 2 else '나쁜'} 영화\t{n} 번 보았다\t{n % 2}" for n in range(16)]
    table = tmp_path / "pairs.tsv"
    table.write_text("\n".join(["one\ttwo\tlabel", *rows]) + "\n", encoding="utf-8")
    paths = [f"--init_checkpoint={folder}", f"--train_file={table}", f"--output_dir={tmp_path}/task"]
    flags = ["--text_column=one,two", "--do_train", "--num_train_steps=2", "--train_batch_size=4"]
    assert classify([*paths, *flags, "--max_seq_length=32", "--strategy=cpu"]) == 0


@pytest.mark.distributed
@pytest.mark.parametrize("variant", ["albert groups", "roberta"])
def test_two_replicas_reach_the_weights_of_one(variant, runs, command):
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    status, one = runs(variant, f"{variant}-one", **rates)
    assert status == 0
    two = one.parent / f"{variant}-two"
    replicas = (f"--output_dir={two}", "--strategy=mirrored", "--num_replicas=2")
    done = command("run_pretraining.py", *runs.last, *replicas)
    assert done.returncode == 0, done.stdout + done.stderr
    for name, value in checkpoint(one, 6).items():
        np.testing.assert_allclose(value, checkpoint(two, 6)[name], rtol=0, atol=2e-6, err_msg=name)
