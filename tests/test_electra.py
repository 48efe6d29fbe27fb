"""ELECTRA's encoder and its two networks: configuration, weights, what they compute, and TensorFlow 1's names."""

import dataclasses
import importlib.util
import json
import math
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from samples import GOLDEN, write_config, write_random_model
from variants import (
    DISCRIMINATOR,
    GENERATOR,
    VARIANTS,
    assert_same_weights,
    padded_batch,
    random_weights,
    tensors,
)

import morphbert
from morphbert.cli.export_model import main as export
from morphbert.cli.extract_features import main as extract
from morphbert.cli.fill_mask import main as fill_mask
from morphbert.cli.import_model import main as bring_in
from morphbert.cli.run_classifier import main as run_classifier
from morphbert.errors import MorphbertError
from morphbert.interop import electra, google, native, sources
from morphbert.interop.electra import joined_checkpoint
from morphbert.interop.starting import initial_weights, initial_weights_of_both
from morphbert.model.config import BertConfig
from morphbert.model.cost import forward_flops
from morphbert.model.encoder import EncoderInputs, encode_layers
from morphbert.model.heads import discriminator_logits, masked_lm_logits
from morphbert.model.parameters import pretraining_parameters
from morphbert.train.checkpoint_files import vouch
from morphbert.train.objective import pretraining_objective
from morphbert.train.run_state import Description, RunState

SMALL = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 48, "max_position_embeddings": 64, "type_vocab_size": 2}
VOCABULARY = GOLDEN / "vocab_ko.txt"


def config_of(network=DISCRIMINATOR, **changes):
    return BertConfig(**{**SMALL, **network, **changes})


# ── configurations ─────────────────────────────────────────────────────────────────────────────────────


def test_the_published_configurations_of_hugging_face_are_read():
    """KoELECTRA's small and base models, whose files leave out what has ELECTRA's default."""
    small = {"model_type": "electra", "architectures": ["ElectraForPreTraining"], "vocab_size": 35000}
    config = BertConfig.from_dict({**small, "summary_type": "first", "summary_activation": "gelu"})
    assert (config.kind, config.electra, config.hidden_act) == ("ELECTRA", "discriminator", "gelu_erf")
    assert (config.embedding_width, config.hidden_size, config.num_attention_heads) == (128, 256, 4)
    assert not config.pooler
    base = {**small, "embedding_size": 768, "hidden_size": 768, "num_attention_heads": 12}
    assert BertConfig.from_dict(base).embedding_size is None
    generator = {**small, "architectures": ["ElectraForMaskedLM"], "embedding_size": 768}
    found = BertConfig.from_dict(generator)
    assert (found.electra, found.embedding_width, found.hidden_size) == ("generator", 768, 256)
    for value in (config, found):
        assert BertConfig.from_dict(json.loads(value.to_json())) == value


def test_a_file_with_electra_needs_no_word_of_the_pooler():
    config = BertConfig.from_dict({**SMALL, "embedding_size": 16, "electra": "discriminator"})
    assert (config.pooler, config.next_sentence_head, config.kind) == (False, False, "ELECTRA")
    modern = {name: value for name, value in VARIANTS["modern"].items() if name != "pooler"}
    assert BertConfig.from_dict({**SMALL, **modern, "electra": "discriminator"}).kind == "custom encoder"
    assert BertConfig.from_dict({**SMALL, **modern, "pooler": False}).kind == "ModernBERT"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"electra": "both"}, ["electra is 'both'", "discriminator, generator"]),
        ({"embedding_size": 16}, ["num_hidden_groups is missing", 'electra to "discriminator"']),
        ({"electra": "generator", "num_hidden_groups": 1}, ["num_hidden_groups 1 is ALBERT's"]),
        ({"electra": "generator", "inner_group_num": 2}, ["inner_group_num is ALBERT's"]),
        ({"electra": "generator", "position_offset": 1}, ["position_offset 1 is RoBERTa's"]),
        ({"electra": "discriminator", "next_sentence_head": True}, ["next_sentence_head is true", "false"]),
        ({"electra": "discriminator", "pooler": True}, ["pooler is true", "set pooler to false"]),
    ],
)
def test_keys_that_do_not_fit_an_electra_are_said(changes, words):
    with pytest.raises(MorphbertError) as error:
        BertConfig.from_dict({**SMALL, **changes})
    assert all(word in str(error.value) for word in words), error.value


def test_electra_small_has_the_published_size():
    """14 million parameters (Clark et al. 2020, table 1), with the vocabulary of BERT."""
    config = BertConfig.from_dict({"model_type": "electra"} | {"vocab_size": 30522})
    size = sum(math.prod(parameter.shape) for parameter in pretraining_parameters(config).values())
    assert 13e6 < size < 14e6


def test_what_a_discriminator_costs_is_counted():
    """Its head scores every piece: two products where the masked LM has one over the vocabulary."""
    discriminator, generator = (forward_flops(config_of(n), 2, 10, 3) for n in (DISCRIMINATOR, GENERATOR))
    heads = [2 * 20 * 32 * 33, 2 * 6 * 16 * (32 + 97)]
    assert discriminator - generator == heads[0] - heads[1]


# ── what is computed ───────────────────────────────────────────────────────────────────────────────────


def test_embeddings_are_normalised_and_then_mapped():
    config = config_of()
    weights = random_weights(config)
    wide = set(pretraining_parameters(config_of(embedding_size=None)))
    project = "bert/embeddings_project"
    assert set(weights) - wide == {f"{project}/kernel", f"{project}/bias"}
    ids, mask, segments = padded_batch(2, 0, 97, 20)
    tables = (weights[f"bert/embeddings/{n}_embeddings"] for n in ("word", "token_type", "position"))
    word, segment, position = tables
    total = word[ids] + segment[segments] + position[:20]
    normal = (total - total.mean(-1, keepdims=True)) / total.std(-1, keepdims=True)
    normal = normal * weights["bert/embeddings/LayerNorm/gamma"] + weights["bert/embeddings/LayerNorm/beta"]
    inputs = EncoderInputs(*(tf.constant(values, tf.int32) for values in (ids, mask, segments)))
    states = encode_layers(tensors(weights), config, inputs)
    expected = normal @ weights[f"{project}/kernel"] + weights[f"{project}/bias"]
    np.testing.assert_allclose(states[0], expected, rtol=1e-4, atol=1e-5)
    logits = discriminator_logits(tensors(weights), config, states[-1])
    assert (logits.shape, logits.dtype) == ((4, 20), tf.float32)


def test_the_mapping_is_frozen_with_the_embeddings():
    """Else a gradient would run through all frozen layers for it."""
    declared = pretraining_parameters(config_of())
    parts = {name: (parameter.part, parameter.layer) for name, parameter in declared.items()}
    assert (
        parts["bert/embeddings_project/kernel"]
        == parts["bert/embeddings/word_embeddings"]
        == ("embeddings", 0)
    )


def test_a_discriminator_is_no_masked_lm():
    with pytest.raises(MorphbertError, match="electra is 'discriminator'"):
        pretraining_objective(config_of())
    assert "cls/predictions/output_bias" in pretraining_objective(config_of(GENERATOR)).parameters


# ── the commands ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A discriminator and a generator in our own format."""
    root = tmp_path_factory.mktemp("electra")
    write_random_model(root / "discriminator", VOCABULARY, **DISCRIMINATOR)
    write_random_model(root / "generator", VOCABULARY, **GENERATOR, intermediate_size=32)
    return root


def test_features_masks_and_scores_of_pieces(folders, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("사과나무를 심었습니다.\n", encoding="utf-8")
    flags = [f"--init_checkpoint={folders}/discriminator", f"--input_file={text}"]
    assert extract([*flags, f"--output_file={tmp_path}/out.jsonl", "--layers=-1", "--max_seq_length=64"]) == 0
    features = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))["features"]
    model, tokenizer = morphbert.load(str(folders / "discriminator"))
    inputs = tokenizer("사과나무를 심었습니다.", return_tensors="np")
    output = model(**inputs)
    assert output.pooled_output is None
    np.testing.assert_allclose(
        features[0]["layers"][0]["values"], output.hidden_states[0, 0], rtol=1e-4, atol=1e-4
    )
    assert model.discriminator_logits(**inputs).shape == inputs["input_ids"].shape
    with pytest.raises(MorphbertError, match="load the generator"):
        model.masked_lm_logits(**inputs)
    with pytest.raises(MorphbertError, match="no next sentence head"):
        model.next_sentence_logits(**inputs)
    generator = morphbert.load(str(folders / "generator")).model
    with pytest.raises(MorphbertError, match="no discriminator head"):
        generator.discriminator_logits(**inputs)
    capsys.readouterr()
    flags[0] = f"--init_checkpoint={folders}/generator"
    assert extract([*flags, f"--output_file={tmp_path}/x.jsonl", "--max_seq_length=64"]) == 0
    assert "is the generator of an ELECTRA; its discriminator is" in capsys.readouterr().out
    sentence = "--text=나는 [MASK]에 간다."
    assert fill_mask([f"--checkpoint={folders}/generator", sentence]) == 0
    assert capsys.readouterr().out.count("%") == 5
    assert fill_mask([f"--checkpoint={folders}/discriminator", sentence]) == 1
    assert "discriminator of an ELECTRA, which has no masked LM head" in capsys.readouterr().err


def test_a_discriminator_is_not_adapted_with_a_masked_lm(folders, tmp_path, capsys):
    table = tmp_path / "train.tsv"
    table.write_text("document\tlabel\n좋다\t1\n싫다\t0\n", encoding="utf-8")
    flags = [f"--train_file={table}", f"--output_dir={tmp_path}/out", "--do_train", "--adapt_on=train"]
    flags += [f"--init_checkpoint={folders}/discriminator", "--max_seq_length=16"]
    assert run_classifier([*flags, "--adapt_steps=1"]) == 1
    assert "--adapt_on" in (message := capsys.readouterr().err)
    assert "discriminator of an ELECTRA" in message


@pytest.mark.long
def test_served_graphs_of_a_discriminator(folders, tmp_path):
    """SavedModel and ONNX, by the export command."""
    onnxruntime = pytest.importorskip("onnxruntime")
    for form in ("saved_model", "onnx"):
        flags = [f"--checkpoint={folders}/discriminator", f"--output_dir={tmp_path}/{form}"]
        assert export([*flags, f"--format={form}"]) == 0
    model = morphbert.load(str(folders / "discriminator")).model
    batch = padded_batch(2, 0, 90, 20)
    expected = model.discriminator_logits(*batch).numpy()
    names = ("input_ids", "input_mask", "segment_ids")
    loaded = tf.saved_model.load(str(tmp_path / "saved_model")).signatures
    assert "masked_lm" not in loaded
    inputs = {name: tf.constant(values, tf.int32) for name, values in zip(names, batch, strict=True)}
    served = loaded["discriminator"](**inputs)["discriminator_logits"]
    assert not (tmp_path / "onnx" / "masked_lm.onnx").exists()
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "discriminator.onnx")
    feed = dict(zip(("input_ids", "attention_mask", "token_type_ids"), batch, strict=True))
    real = batch[1] == 1
    for found in (served.numpy(), session.run(None, feed)[0]):
        np.testing.assert_allclose(found[real], expected[real], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "changes", "form", "words"),
    [
        (GENERATOR, {"hidden_act": "gelu"}, "huggingface", ["hidden_act is gelu", "ElectraForMaskedLM"]),
        (
            DISCRIMINATOR,
            {"position_embedding_type": "rotary"},
            "huggingface",
            ['electra="discriminator"', "transformers has no model"],
        ),
        (DISCRIMINATOR, {"mlp_gate": True}, "google", ["mlp_gate=true", "no TensorFlow 1 names"]),
    ],
)
def test_what_others_do_not_compute_is_not_exported(network, changes, form, words, tmp_path, capsys):
    folder = write_random_model(tmp_path / "ours", VOCABULARY, **{**network, **changes})
    flags = [f"--checkpoint={folder}", f"--output_dir={tmp_path}/out", f"--format={form}"]
    assert export(flags) == 1
    message = capsys.readouterr().err
    assert all(word in message for word in words), message


# ── TensorFlow 1 ───────────────────────────────────────────────────────────────────────────────────────


def google_names(scope, layers=2, project=True):
    """The encoder's names as google-research/electra's modeling.py makes them, without embeddings."""
    parts = [f"attention/self/{part}" for part in ("query", "key", "value")]
    parts += ["attention/output/dense", "intermediate/dense", "output/dense"]
    norms = ["attention/output/LayerNorm", "output/LayerNorm"]
    names = [
        f"{scope}/encoder/layer_{n}/{p}/{w}" for n in range(layers) for p in parts for w in ("kernel", "bias")
    ]
    names += [
        f"{scope}/encoder/layer_{n}/{p}/{w}" for n in range(layers) for p in norms for w in ("gamma", "beta")
    ]
    return names + ([f"{scope}/embeddings_project/{w}" for w in ("kernel", "bias")] if project else [])


EMBEDDINGS = [
    "word_embeddings",
    "position_embeddings",
    "token_type_embeddings",
    "LayerNorm/gamma",
    "LayerNorm/beta",
]
DISCRIMINATOR_HEAD = [
    f"discriminator_predictions/{n}/{w}" for n in ("dense", "dense_1") for w in ("kernel", "bias")
]
GENERATOR_HEAD = ["generator_predictions/output_bias"]
GENERATOR_HEAD += [f"generator_predictions/dense/{w}" for w in ("kernel", "bias")]
GENERATOR_HEAD += [f"generator_predictions/LayerNorm/{w}" for w in ("gamma", "beta")]


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A checkpoint as google-research/electra writes a base model's: the networks share the embeddings, 32 wide."""
    folder = tmp_path_factory.mktemp("google")
    tokens = len(VOCABULARY.read_text(encoding="utf-8").splitlines())
    sizes = {"vocab_size": tokens, "embedding_size": 32}
    configs = {
        "discriminator": config_of(DISCRIMINATOR, **{**sizes, "embedding_size": None}),
        "generator": config_of(GENERATOR, **{**sizes, "hidden_size": 16, "intermediate_size": 24}),
    }
    ours = {name: random_weights(config, seed) for seed, (name, config) in enumerate(configs.items())}
    for name in EMBEDDINGS:
        ours["generator"][f"bert/embeddings/{name}"] = ours["discriminator"][f"bert/embeddings/{name}"]
    names = [f"electra/embeddings/{name}" for name in EMBEDDINGS] + google_names("electra", project=False)
    values = {name: ours["discriminator"][name.replace("electra/", "bert/")] for name in names}
    values |= {name: ours["discriminator"][name] for name in DISCRIMINATOR_HEAD}
    for name in google_names("generator"):
        values[name] = ours["generator"][name.replace("generator/", "bert/")]
    for name in GENERATOR_HEAD:
        part = name.removeprefix("generator_predictions/")
        place = "cls/predictions/" if part == "output_bias" else "cls/predictions/transform/"
        values[name] = ours["generator"][place + part]
    slots = {f"{name}/adam_{slot}": np.zeros_like(value) for name, value in values.items() for slot in "mv"}
    written = {**values, **slots, "global_step": np.array(7, np.int64)}
    prefix = str(folder / "model.ckpt-7")
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(written),
        shape_and_slices=[""] * len(written),
        tensors=list(written.values()),
    )
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"\n')
    (folder / "vocab.txt").write_bytes(VOCABULARY.read_bytes())
    for name, config in configs.items():
        (folder / f"{name}.json").write_text(config.to_json())
    return folder, configs, ours, values


@pytest.mark.parametrize("network", ["discriminator", "generator"])
def test_both_networks_of_googles_checkpoint_come_in_and_go_out(network, released, tmp_path, capsys):
    folder, configs, ours, values = released
    flags = [f"--bert_config_file={folder}/{network}.json", "--do_lower_case=false"]
    assert bring_in([f"--checkpoint={folder}", f"--output_dir={tmp_path}/ours", *flags]) == 0
    out = capsys.readouterr().out
    assert "new, with initial values" not in out
    count = {
        "discriminator": len(google_names("generator")) + len(GENERATOR_HEAD),
        "generator": len(google_names("electra", project=False)) + len(DISCRIMINATOR_HEAD),
    }[network]
    other = "generator" if network == "discriminator" else "discriminator"
    assert f"{count} weights of the {other}, global_step, {2 * len(values)} slots of an optimizer" in out
    found = sources.read(str(tmp_path / "ours"))
    assert found.config == configs[network]
    assert_same_weights(found.weights, ours[network])
    # From the checkpoint of both, both go out again; from a network alone, that one.
    for name, source in (("both", folder), ("one", tmp_path / "ours")):
        given = flags if name == "both" else []
        assert (
            export([f"--checkpoint={source}", f"--output_dir={tmp_path}/{name}", "--format=google", *given])
            == 0
        )
    reader = tf.train.load_checkpoint(str(tmp_path / "both"))
    assert_same_weights(
        {n: reader.get_tensor(n) for n in sorted(values)}, {n: values[n] for n in sorted(values)}
    )
    assert len(reader.get_variable_to_shape_map()) == len(values)
    alone = sorted(tf.train.load_checkpoint(str(tmp_path / "one")).get_variable_to_shape_map())
    of_other = "electra/encoder" if network == "generator" else "generator"
    head = "discriminator_predictions" if network == "generator" else "generator_predictions"
    assert alone == sorted(n for n in values if not n.startswith((f"{of_other}/", f"{head}/")))


def test_numbers_are_those_of_googles_own_code():
    """Of google-research/electra's modeling.py and run_pretraining.py, for a checkpoint of both that we exported."""
    spec = importlib.util.spec_from_file_location("regenerate_electra", GOLDEN / "regenerate_electra.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    weights = {name: tensors(values) for name, values in made.weights_of_both().items()}
    configs = {name: BertConfig(**values) for name, values in made.CONFIGS.items()}
    batch = {name: tf.constant(values) for name, values in made.BATCH.items()}

    def states(network, ids):
        inputs = EncoderInputs(batch[ids], batch["input_mask"], batch["segment_ids"])
        return encode_layers(weights[network], configs[network], inputs)[-1]

    generated, read = states("generator", "masked_ids"), states("discriminator", "replaced_ids")
    positions = batch["masked_lm_positions"]
    logits = masked_lm_logits(weights["generator"], configs["generator"], generated, positions)
    scores = discriminator_logits(weights["discriminator"], configs["discriminator"], read)
    labels = tf.cast(batch["replaced_ids"] != batch["original_ids"], tf.float32)
    real, masked = tf.cast(batch["input_mask"], tf.float32), batch["masked_lm_weights"]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["masked_lm_ids"], logits)
    replaced = tf.nn.sigmoid_cross_entropy_with_logits(labels, scores)
    found = {
        "generator_states": generated,
        "generator_logits": logits,
        "generator_loss": tf.reduce_sum(losses * masked) / tf.reduce_sum(masked),
        "discriminator_states": read,
        "discriminator_probabilities": tf.sigmoid(scores),
        "discriminator_loss": tf.reduce_sum(replaced * real) / tf.reduce_sum(real),
    }
    expected = json.loads((GOLDEN / "electra.json").read_text())
    assert found.keys() == expected.keys()
    for name, value in found.items():
        ours, theirs = value.numpy(), np.reshape(expected[name], value.shape)
        if value.shape[:2] == real.shape:  # at padding nothing is read, and rounding is larger
            ours, theirs = ours[real == 1], theirs[real == 1]
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_generator_that_shares_all_weights_or_none(released, tmp_path):
    """google-research/electra's `untied_generator=False` and `untied_generator_embeddings=True`."""
    _, configs, _, values = released

    def read(changed, config):
        """The generator's weights; it leaves as it came, with the discriminator beside it."""
        (tmp_path / "config.json").write_text(config.to_json())
        prefix = str(tmp_path / "model.ckpt-1")
        tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=list(changed),
            shape_and_slices=[""] * len(changed),
            tensors=list(changed.values()),
        )
        model = sources.read(prefix, str(tmp_path / "config.json"))
        assert_same_weights(joined_checkpoint(model, {}), changed)
        return model.weights

    same = config_of(GENERATOR, vocab_size=configs["discriminator"].vocab_size, embedding_size=None)
    head = {
        n.replace("cls/predictions/transform", "generator_predictions"): v
        for n, v in random_weights(same).items()
    }
    head = {n: v for n, v in head.items() if n.startswith("generator_predictions/")}
    tied = {n: v for n, v in values.items() if not n.startswith("generator")} | head
    tied["generator_predictions/output_bias"] = values["generator_predictions/output_bias"]
    found = read(tied, same)
    name = "encoder/layer_1/output/dense/kernel"
    np.testing.assert_array_equal(found[f"bert/{name}"], values[f"electra/{name}"])
    narrow = config_of(
        GENERATOR,
        vocab_size=same.vocab_size,
        embedding_size=None,
        hidden_size=16,
        intermediate_size=24,
    )
    own = {
        f"generator/{n.removeprefix('bert/')}": v
        for n, v in random_weights(narrow).items()
        if n.startswith("bert/")
    }
    untied = {n: v for n, v in values.items() if not n.startswith("generator/embeddings_project")} | own
    untied["generator_predictions/dense/kernel"] = np.ones([16, 16], np.float32)
    for part in ("dense/bias", "LayerNorm/gamma", "LayerNorm/beta"):
        untied[f"generator_predictions/{part}"] = np.ones(16, np.float32)
    found = read(untied, narrow)
    word = "embeddings/word_embeddings"
    np.testing.assert_array_equal(found[f"bert/{word}"], own[f"generator/{word}"])


def test_the_wrong_network_is_named(released, folders, tmp_path, capsys):
    folder, configs, _, _ = released
    plain = write_config(tmp_path / "bert.json", vocab_size=configs["generator"].vocab_size, pooler=False)
    for checkpoint, config, words in (
        (folder, plain, ["next_sentence_head"]),
        (
            folders / "discriminator",
            folders / "generator" / "bert_config.json",
            ["discriminator of an ELECTRA alone"],
        ),
        (folders / "generator", folders / "discriminator" / "bert_config.json", ["give the discriminator"]),
        (folder, write_config(tmp_path / "b.json", vocab_size=9), ['add "electra": "discriminator"']),
    ):
        flags = [f"--checkpoint={checkpoint}", f"--bert_config_file={config}", f"--output_dir={tmp_path}/x"]
        assert bring_in(flags) == 1
        message = capsys.readouterr().err
        assert all(word in message for word in words), message


def test_pretraining_starts_from_a_network_of_either_kind(released, folders, capsys):
    folder, configs, ours, _ = released
    for network, config in configs.items():
        weights = initial_weights(str(folder), config, str(VOCABULARY), str(VOCABULARY))
        assert_same_weights({n: weights[n] for n in ours[network]}, ours[network])
    capsys.readouterr()
    with pytest.raises(MorphbertError, match="give the discriminator"):
        initial_weights(str(folders / "generator"), config_of(vocab_size=configs["generator"].vocab_size))


def test_a_discriminator_starts_from_a_bert(tmp_path):
    """Its encoder is taken; the heads of a BERT are left over."""
    bert = write_random_model(tmp_path / "bert", VOCABULARY, hidden_act="gelu_erf")
    weights = sources.read(str(bert)).weights
    config = sources.read(str(bert)).config
    changes = {"electra": "discriminator", "pooler": False, "next_sentence_head": False}
    found = initial_weights(str(bert), dataclasses.replace(config, **changes))
    name = "bert/encoder/layer_1/output/dense/kernel"
    np.testing.assert_array_equal(found[name], weights[name])


# ── a run's checkpoint, which holds both networks ──────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def run(released, tmp_path_factory):
    """A checkpoint as a run of this program writes it: both networks, and the generator's configuration."""
    _, configs, _, values = released
    folder = tmp_path_factory.mktemp("run")
    names = {name: name.replace("electra/", "bert/") for name in values}
    variables = {names[name]: tf.Variable(value) for name, value in values.items()}
    one, other = (configs[name].to_dict() for name in ("discriminator", "generator"))
    state = RunState(Description(one, {}, {}, generator_config=other), 0)
    prefix = str(folder / "model.ckpt-3")
    tf.train.Checkpoint(model=variables, run=state).write(prefix)
    vouch(prefix)
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-3"\n')
    (folder / "bert_config.json").write_text(configs["discriminator"].to_json())
    (folder / "vocab.txt").write_bytes(VOCABULARY.read_bytes())
    return folder


def test_each_network_of_a_run_goes_out(run, released, tmp_path, capsys):
    _, configs, ours, values = released
    given = (("generator", "huggingface"), ("discriminator", "huggingface"), (None, "google"))
    for network, form in given:
        flags = [f"--checkpoint={run}", f"--output_dir={tmp_path}/{network}", f"--format={form}"]
        flags += [] if network is None else [f"--electra_network={network}"]
        assert export([*flags, "--do_lower_case=false"]) == 0
    for network, config in configs.items():
        found = sources.read(str(tmp_path / network))
        assert found.config == config
        assert_same_weights(found.weights, ours[network])
    assert (
        tf.train.load_checkpoint(str(tmp_path / "None")).get_variable_to_shape_map().keys() == values.keys()
    )
    flags = [f"--checkpoint={run}", f"--output_dir={tmp_path}/imported", "--electra_network=generator"]
    assert bring_in(flags) == 0
    assert_same_weights(sources.read(str(tmp_path / "imported")).weights, ours["generator"])
    capsys.readouterr()
    assert fill_mask([f"--checkpoint={run}", "--text=나는 [MASK]에 간다.", "--do_lower_case=false"]) == 0
    assert "its generator fills the masks" in capsys.readouterr().out


@pytest.mark.parametrize("network", ["discriminator", "generator"])
def test_moments_go_out_under_the_names_of_their_weights(network, run, released, tmp_path):
    values = released[3]
    ours = {name.replace("electra/", "bert/"): value for name, value in values.items()}
    slots = {f"{name}/adam_m": value + 1.0 for name, value in ours.items()}
    (tmp_path / "out").mkdir()
    google.write(str(tmp_path / "out"), electra.chosen(sources.read(str(run)), network), slots)
    reader = tf.train.load_checkpoint(str(tmp_path / "out"))
    expected = {**values, **{f"{name}/adam_m": value + 1.0 for name, value in values.items()}}
    names = sorted(reader.get_variable_to_shape_map())
    assert names == sorted(expected)
    assert_same_weights({name: reader.get_tensor(name) for name in names}, {n: expected[n] for n in names})


def test_both_networks_are_pretrained_further(run, released, folders, tmp_path, capsys):
    """From a checkpoint of both, from a folder for each, and from a discriminator alone."""
    theirs, configs, _, values = released
    given = (configs["discriminator"], configs["generator"], str(VOCABULARY), str(VOCABULARY))
    expected = {name.replace("electra/", "bert/"): value for name, value in values.items()}
    for path in (theirs, run):
        found = initial_weights_of_both(str(path), None, *given)
        assert_same_weights({name: found[name] for name in expected}, expected)
    for network in configs:
        flags = [f"--checkpoint={theirs}", f"--bert_config_file={theirs}/{network}.json"]
        assert bring_in([*flags, f"--output_dir={tmp_path}/{network}"]) == 0
    capsys.readouterr()
    found = initial_weights_of_both(str(tmp_path / "discriminator"), str(tmp_path / "generator"), *given)
    assert_same_weights({name: found[name] for name in expected}, expected)
    out = capsys.readouterr().out
    assert f"the generator, from {tmp_path}/generator" in out
    assert "left out" not in out
    alone = initial_weights_of_both(str(tmp_path / "discriminator"), None, *given)
    assert not any(name.startswith("generator") for name in alone)
    assert "has no generator, which starts from initial values" in capsys.readouterr().out
    # A generator with other embeddings: the discriminator's are kept, and a line says so.
    other = sources.read(str(tmp_path / "generator"))
    weights = {name: value + 1.0 for name, value in other.weights.items()}
    (tmp_path / "other").mkdir()
    native.write(str(tmp_path / "other"), dataclasses.replace(other, weights=weights))
    found = initial_weights_of_both(str(tmp_path / "discriminator"), str(tmp_path / "other"), *given)
    word = "bert/embeddings/word_embeddings"
    np.testing.assert_array_equal(found[word], expected[word])
    assert (
        "other than the discriminator's, which both networks share, and are left out"
        in capsys.readouterr().out
    )
    with pytest.raises(MorphbertError, match="discriminator of an ELECTRA alone"):
        initial_weights_of_both(str(tmp_path / "discriminator"), str(tmp_path / "discriminator"), *given)


def test_the_generators_configuration_may_lie_beside_the_checkpoint(released, tmp_path):
    theirs, configs, ours, _ = released
    folder = shutil.copytree(theirs, tmp_path / "google")
    for network, name in (("discriminator", "bert_config.json"), ("generator", "generator_config.json")):
        (folder / f"{network}.json").rename(folder / name)
    found = electra.chosen(sources.read(str(folder)), "generator")
    assert found.config == configs["generator"]
    assert_same_weights(found.weights, ours["generator"])


def test_a_network_that_is_not_there_is_said(run, released, folders, tmp_path, capsys):
    theirs = released[0]
    for checkpoint, network, config, words in (
        (folders / "generator", "discriminator", None, "holds no discriminator"),
        (
            theirs,
            "generator",
            "discriminator",
            "does not say the sizes of its generator: give --bert_config_file",
        ),
        (theirs, "discriminator", "generator", "was read as its generator, as --bert_config_file says"),
    ):
        flags = [f"--checkpoint={checkpoint}", f"--output_dir={tmp_path}/x", f"--electra_network={network}"]
        flags += [f"--bert_config_file={theirs}/{config}.json"] if config else []
        assert bring_in(flags) == 1
        assert words in capsys.readouterr().err


def test_a_generator_without_sizes_cannot_fill_masks_and_why(released, tmp_path, capsys):
    folder = shutil.copytree(released[0], tmp_path / "google")
    (folder / "discriminator.json").rename(folder / "bert_config.json")
    flags = [f"--checkpoint={folder}", "--text=나는 [MASK]", "--do_lower_case=false"]
    assert fill_mask(flags) == 1
    message = capsys.readouterr().err
    for words in (
        "holds both networks",
        "nothing says the sizes",
        "--bert_config_file",
        "generator_config.json",
    ):
        assert words in message, message
    assert fill_mask([*flags, f"--bert_config_file={folder}/generator.json"]) == 0
    (folder / "generator.json").rename(folder / "generator_config.json")
    assert fill_mask(flags) == 0
    assert "is an ELECTRA: its generator fills the masks" in capsys.readouterr().out


@pytest.mark.parametrize("read_as", ["discriminator", "generator"])
@pytest.mark.parametrize("damaged", ["discriminator", "generator"])
def test_a_number_that_is_none_in_either_network_is_named(read_as, damaged, released, tmp_path, capsys):
    theirs, configs, _, values = released
    folder = shutil.copytree(theirs, tmp_path / "google")
    name = {
        "discriminator": "electra/encoder/layer_1/output/dense/bias",
        "generator": "generator/encoder/layer_0/output/dense/bias",
    }[damaged]
    bad = values[name].copy()
    bad[3] = np.inf
    changed = {**values, name: bad}
    tf.raw_ops.SaveV2(
        prefix=str(folder / "model.ckpt-7"),
        tensor_names=list(changed),
        shape_and_slices=[""] * len(changed),
        tensors=list(changed.values()),
    )
    flags = [f"--checkpoint={folder}", f"--output_dir={tmp_path}/x", "--do_lower_case=false"]
    assert bring_in([*flags, f"--bert_config_file={folder}/{read_as}.json"]) == 1
    message = capsys.readouterr().err
    assert re.search(r"/output/dense/bias holds inf at \[3\]", message), message
    with pytest.raises(MorphbertError, match=r"/output/dense/bias holds inf at \[3\]"):
        initial_weights(str(folder), configs[read_as])


def test_the_other_head_of_a_hugging_face_folder_is_looked_at_too(folders, tmp_path):
    from safetensors.numpy import load_file, save_file

    out = tmp_path / "hf"
    assert (
        export([f"--checkpoint={folders}/discriminator", f"--output_dir={out}", "--format=huggingface"]) == 0
    )
    found = load_file(out / "model.safetensors")
    for value in (1.0, np.nan):
        save_file(
            {**found, "generator_lm_head.bias": np.full(5, value, np.float32)}, out / "model.safetensors"
        )
        if value == 1.0:
            assert "generator_lm_head.bias" in sources.read(str(out)).left_over
            continue
        with pytest.raises(MorphbertError, match=r"generator_lm_head.bias holds nan at \[0\]"):
            sources.read(str(out))


# ── Hugging Face ───────────────────────────────────────────────────────────────────────────────────────

# KoELECTRA's small and base models, in small: the generator of base is narrower than its embeddings.
SIZES = {"small": (16, 32), "base": (32, 32), "base generator": (32, 16)}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """→ a function: class of transformers, name in SIZES → its model, and the folder as KoELECTRA publishes one."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokens = VOCABULARY.read_text(encoding="utf-8").splitlines()

    def make(architecture, size, **changes):
        torch.manual_seed(1)
        embedding, hidden = SIZES[size]
        sizes = {**SMALL, "hidden_size": hidden, "embedding_size": embedding, "vocab_size": len(tokens)}
        config = transformers.ElectraConfig(
            **sizes, initializer_range=0.2, attn_implementation="eager", **changes
        )
        model = getattr(transformers, architecture)(config)
        with torch.no_grad():  # so that biases and LayerNorms count
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
        folder = tmp_path_factory.mktemp("published")
        model.save_pretrained(folder)
        (folder / "vocab.txt").write_bytes(VOCABULARY.read_bytes())
        values = {"do_lower_case": False, "tokenizer_class": "ElectraTokenizer", "model_max_length": 64}
        (folder / "tokenizer_config.json").write_text(json.dumps(values))
        return model.eval(), folder

    return make


def theirs_of(model, batch):
    import torch

    names = ("input_ids", "attention_mask", "token_type_ids")
    with torch.no_grad():
        return model(**dict(zip(names, map(torch.tensor, batch), strict=True)))[0].numpy()


@pytest.mark.parity
@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ("ElectraForPreTraining", "small"),
        ("ElectraForPreTraining", "base"),
        ("ElectraForMaskedLM", "small"),
        ("ElectraForMaskedLM", "base generator"),
        ("ElectraModel", "small"),
    ],
)
def test_numbers_are_those_of_transformers_both_ways(architecture, size, published, tmp_path, capsys):
    import transformers
    from safetensors.numpy import load_file

    model, folder = published(architecture, size)
    assert bring_in([f"--checkpoint={folder}", f"--output_dir={tmp_path}/ours"]) == 0
    out = capsys.readouterr().out
    assert "left over" not in out
    assert ("new, with initial values" in out) == (architecture == "ElectraModel")
    ours, tokenizer = morphbert.load(str(tmp_path / "ours"))
    assert ours.config.electra == ("generator" if architecture == "ElectraForMaskedLM" else "discriminator")
    batch = padded_batch(2, 0, ours.config.vocab_size, 40)
    compute = {
        "ElectraForPreTraining": lambda: ours.discriminator_logits(*batch),
        "ElectraForMaskedLM": lambda: ours.masked_lm_logits(*batch),
        "ElectraModel": lambda: ours(*batch).hidden_states,
    }[architecture]
    expected, real = theirs_of(model, batch), batch[1] == 1
    np.testing.assert_allclose(compute().numpy()[real], expected[real], rtol=1e-5, atol=1e-5)
    flags = [f"--checkpoint={tmp_path}/ours", f"--output_dir={tmp_path}/again", "--format=huggingface"]
    assert export(flags) == 0
    exported = "ElectraForPreTraining" if architecture == "ElectraModel" else architecture
    again, report = getattr(transformers, exported).from_pretrained(
        tmp_path / "again", output_loading_info=True
    )
    assert not any(report.values()), report
    before, after = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "again"))
    after = {
        name.removeprefix("electra.") if architecture == "ElectraModel" else name: v
        for name, v in after.items()
    }
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name], err_msg=name)
    if architecture != "ElectraModel":
        assert before.keys() == after.keys()
        np.testing.assert_allclose(theirs_of(again.eval(), batch), expected, rtol=1e-5, atol=1e-5)
    # The pieces are those of their own tokenizer, before and after.
    text = "나는 BERT 학교에 간다."
    pieces = tokenizer(text)["input_ids"]
    for place in (folder, tmp_path / "again"):
        assert transformers.AutoTokenizer.from_pretrained(place)(text)["input_ids"] == pieces


@pytest.mark.parity
def test_folders_that_are_not_what_they_say(published, tmp_path, capsys):
    _, folder = published("ElectraForMaskedLM", "small", hidden_act="relu")
    assert bring_in([f"--checkpoint={folder}", f"--output_dir={tmp_path}/x"]) == 1
    assert "only generators with it are read" in capsys.readouterr().err
    _, folder = published("ElectraForPreTraining", "small")
    values = json.loads((folder / "config.json").read_text())
    # The head says more than `architectures`, which tools leave out or copy.
    (folder / "config.json").write_text(json.dumps({**values, "architectures": ["ElectraForMaskedLM"]}))
    assert sources.read(str(folder)).config.electra == "discriminator"
    with pytest.raises(
        MorphbertError, match=r"is the discriminator of an ELECTRA, .* give the folder of the gen"
    ):
        initial_weights(str(folder), config_of(GENERATOR, vocab_size=values["vocab_size"]))
    assert "bert/embeddings_project/kernel" in initial_weights(
        str(folder), config_of(vocab_size=values["vocab_size"])
    )
    (folder / "config.json").write_text(json.dumps({**values, "embedding_size": 32}))
    assert bring_in([f"--checkpoint={folder}", f"--output_dir={tmp_path}/x"]) == 1
    assert "embeddings_project" in capsys.readouterr().err
