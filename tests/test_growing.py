"""A larger model that begins as a smaller one: each matrix in the middle of the new one, repeated to all sides."""

import json
import pathlib

import numpy as np
import pytest
from runs import arguments
from variants import config_of, random_weights

from morphbert.cli.run_pretraining import main
from morphbert.errors import MorphbertError
from morphbert.interop import native
from morphbert.interop.growing import grown, grows
from morphbert.interop.pretrained import Pretrained
from morphbert.interop.starting import initial_weights
from morphbert.model.names import layer_blocks
from morphbert.model.parameters import pretraining_parameters


def tiled(value, *sizes):
    """The larger tensor as NumPy tiles the smaller one, which stays in the middle."""
    pads = [
        ((new - old) // 2, new - old - (new - old) // 2) for old, new in zip(value.shape, sizes, strict=True)
    ]
    return np.pad(value, pads, mode="wrap")


# Of 4 layers, 4 heads of 12, 80 inner.
LARGER = {"num_hidden_layers": 7, "hidden_size": 108, "num_attention_heads": 9, "intermediate_size": 201}


@pytest.mark.parametrize("variant", ["roberta", "pre_ln", "modern", "rms", "discriminator", "generator"])
def test_every_weight_stands_in_the_middle(variant):
    old, new = config_of(variant), config_of(variant, **LARGER)
    weights = random_weights(old)
    found, line = grown(weights, old, new, "x")
    assert line.startswith("4 layers of 48 grown to 7 layers of 108")
    layers = [0, 1, 1, 2, 2, 3, 3]  # round(i × 4 / 7)
    assert line.endswith("layers from 0 1 1 2 2 3 3")
    declared = pretraining_parameters(new)
    assert found.keys() == declared.keys()
    for name, value in found.items():
        assert value.shape == declared[name].shape, name
        assert value.dtype == np.float32
    before, after = layer_blocks(old), layer_blocks(new)
    for index, origin in enumerate(layers):
        ours, theirs = after[index][0], before[origin][0]
        for part in ("query", "key", "value"):
            value = weights[f"{theirs.projection(part)}/kernel"].reshape(48, 4, 12)
            expected = tiled(value, 108, 9, 12).reshape(108, 108)
            np.testing.assert_array_equal(found[f"{ours.projection(part)}/kernel"], expected)
        value = weights[f"{theirs.attention_output}/kernel"].reshape(4, 12, 48)
        expected = tiled(value, 9, 12, 108).reshape(108, 108)
        np.testing.assert_array_equal(found[f"{ours.attention_output}/kernel"], expected)
        first = weights[f"{theirs.intermediate}/kernel"]
        halves = np.split(first, 2, 1) if new.mlp_gate else [first]
        expected = np.concatenate([tiled(half, 108, 201) for half in halves], 1)
        np.testing.assert_array_equal(found[f"{ours.intermediate}/kernel"], expected)
        expected = tiled(weights[f"{theirs.output}/kernel"], 201, 108)
        np.testing.assert_array_equal(found[f"{ours.output}/kernel"], expected)
        if new.norm_bias:
            expected = tiled(weights[f"{theirs.output_norm}/beta"], 108)
            np.testing.assert_array_equal(found[f"{ours.output_norm}/beta"], expected)
    table = "bert/embeddings/word_embeddings"
    embedding = new.embedding_size or 108
    np.testing.assert_array_equal(found[table], tiled(weights[table], 97, embedding))
    if new.electra is not None:
        project = "bert/embeddings_project/kernel"
        np.testing.assert_array_equal(found[project], tiled(weights[project], 16, 108))
    if not new.has_masked_lm:
        for name, width in (("dense", 108), ("dense_1", 1)):
            kernel = f"discriminator_predictions/{name}/kernel"
            np.testing.assert_array_equal(found[kernel], tiled(weights[kernel], 108, width))
        return
    transform = "cls/predictions/transform/dense/kernel"
    np.testing.assert_array_equal(found[transform], tiled(weights[transform], 108, embedding))


def test_a_deep_modern_models_second_layer_has_no_norm_to_begin_with():
    """The first layer has none before its attention; one that begins as it gets an initial value."""
    old, new = config_of("modern", num_hidden_layers=2), config_of("modern", num_hidden_layers=5)
    found, line = grown(random_weights(old), old, new, "x")
    assert line.endswith(
        "layers from 0 0 1 1 1"
    )  # round(1.2) is 1, and round(1.6) is 2, of which there is none
    missing = [name for name in pretraining_parameters(new) if name not in found]
    assert missing == [f"{layer_blocks(new)[1][0].attention_norm}/gamma"]


def test_a_model_of_the_same_size_does_not_grow():
    old = config_of("roberta")
    assert not grows(old, config_of("roberta", hidden_dropout_prob=0.3))
    assert not grows(old, config_of("roberta", num_hidden_layers=2))
    assert not grows(config_of("albert"), config_of("albert", num_hidden_layers=8))
    for changes in (
        {"num_hidden_layers": 5},
        {"intermediate_size": 96},
        {"hidden_size": 60, "num_attention_heads": 5},
    ):
        assert grows(old, config_of("roberta", **changes))


@pytest.mark.parametrize(
    ("variant", "changes", "words"),
    [
        ("roberta", {"hidden_size": 96}, "heads are 12 wide and those of --bert_config_file 24"),
        (
            "roberta",
            {"num_hidden_layers": 6, "intermediate_size": 64},
            "intermediate_size falls from 80 to 64",
        ),
        ("roberta", {"num_hidden_layers": 6, "hidden_act": "relu"}, "hidden_act is gelu_erf there and relu"),
        ("modern", {"num_hidden_layers": 6, "mlp_gate": False}, "mlp_gate is True there and False"),
        ("modern", {"num_hidden_layers": 6, "global_rope_theta": 1e4}, "global_rope_theta"),
        ("albert", {"intermediate_size": 96}, "share their weights"),
        (
            "pre_ln",
            {"num_hidden_layers": 6, "num_hidden_groups": 1},
            "num_hidden_groups is None there and 1",
        ),
    ],
)
def test_what_cannot_grow_is_said(variant, changes, words):
    old, new = config_of(variant), config_of(variant, **changes)
    with pytest.raises(MorphbertError, match="cannot grow") as error:
        grown(random_weights(old), old, new, "x")
    assert words in str(error.value)


def test_a_checkpoint_is_grown_with_its_positions(tmp_path, capsys):
    old = config_of("pre_ln")
    weights = random_weights(old)
    native.write(str(tmp_path), Pretrained(old, weights, "there"))
    new = config_of("pre_ln", **LARGER, max_position_embeddings=128)
    found = initial_weights(str(tmp_path), new)
    said = capsys.readouterr().out
    assert "positions: 64 before, 128 now" in said
    assert "training: 4 layers of 48 grown to 7 layers of 108" in said
    table = weights["bert/embeddings/position_embeddings"]
    expected = tiled(np.concatenate([table, table]), 128, 108)
    np.testing.assert_array_equal(found["bert/embeddings/position_embeddings"], expected)
    assert found.keys() == pretraining_parameters(new).keys()


@pytest.mark.long
def test_a_larger_model_trains_on_from_a_smaller_one(trained, records, tiny_config, tmp_path, capsys):
    content = json.loads(pathlib.Path(tiny_config).read_text())
    width, heads = content["hidden_size"], content["num_attention_heads"]
    content |= {"hidden_size": width // heads * 3, "num_attention_heads": 3, "num_hidden_layers": 3}
    (tmp_path / "larger.json").write_text(json.dumps(content))
    flags = ("--num_train_steps=2", f"--init_checkpoint={trained}")
    assert main(arguments(records, tmp_path / "larger.json", tmp_path / "out", *flags)) == 0
    said = capsys.readouterr().out
    assert f"training: 2 layers of {width} grown to 3 layers of {width // heads * 3}" in said
    assert "; new:" not in said
