"""Both networks of an ELECTRA in one checkpoint: google-research/electra's, and those of runs."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import regenerate_electra
import tensorflow as tf
from electra_models import VOCABULARY, config_of, write_networks
from samples import GOLDEN, save_tensorflow_1, write_config, write_random_model
from variants import (
    DISCRIMINATOR,
    GENERATOR,
    assert_same_weights,
    random_weights,
    tensors,
)

from morphbert.cli.export_model import main as export
from morphbert.cli.fill_mask import main as fill_mask
from morphbert.cli.import_model import main as bring_in
from morphbert.errors import MorphbertError
from morphbert.interop import electra, google, native, sources
from morphbert.interop.electra import joined_checkpoint
from morphbert.interop.starting import Vocabularies, initial_weights, initial_weights_of_both
from morphbert.model.config import BertConfig
from morphbert.model.encoder import EncoderInputs, encode_layers
from morphbert.model.heads import discriminator_logits, masked_lm_logits
from morphbert.train.checkpoint_files import vouch
from morphbert.train.run_state import Description, RunState


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A discriminator and a generator in our own format."""
    return write_networks(tmp_path_factory.mktemp("electra"))


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
    save_tensorflow_1(prefix, written)
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
    weights = {name: tensors(values) for name, values in regenerate_electra.weights_of_both().items()}
    configs = {name: BertConfig(**values) for name, values in regenerate_electra.CONFIGS.items()}
    batch = {name: tf.constant(values) for name, values in regenerate_electra.BATCH.items()}

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
        save_tensorflow_1(prefix, changed)
        model = sources.read(prefix, bert_config_file=str(tmp_path / "config.json"))
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
        weights = initial_weights(str(folder), config, Vocabularies(str(VOCABULARY), str(VOCABULARY)))
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
    given = (configs["discriminator"], configs["generator"], Vocabularies(str(VOCABULARY), str(VOCABULARY)))
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
    save_tensorflow_1(str(folder / "model.ckpt-7"), changed)
    flags = [f"--checkpoint={folder}", f"--output_dir={tmp_path}/x", "--do_lower_case=false"]
    assert bring_in([*flags, f"--bert_config_file={folder}/{read_as}.json"]) == 1
    message = capsys.readouterr().err
    assert re.search(r"/output/dense/bias holds inf at \[3\]", message), message
    with pytest.raises(MorphbertError, match=r"/output/dense/bias holds inf at \[3\]"):
        initial_weights(str(folder), configs[read_as])
