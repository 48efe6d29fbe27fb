"""ELECTRA's encoder and its two networks: configuration, weights, values, commands, and Hugging Face."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from electra_models import SMALL, VOCABULARY, config_of, write_networks
from samples import write_random_model
from variants import (
    DISCRIMINATOR,
    GENERATOR,
    VARIANTS,
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
from morphbert.interop import sources
from morphbert.interop.starting import initial_weights
from morphbert.model.config import BertConfig
from morphbert.model.cost import forward_flops
from morphbert.model.encoder import EncoderInputs, encode_layers
from morphbert.model.heads import discriminator_logits
from morphbert.model.parameters import pretraining_parameters
from morphbert.train.objective import pretraining_objective

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
    return write_networks(tmp_path_factory.mktemp("electra"))


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
