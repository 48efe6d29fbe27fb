"""google-research/bert's own modeling.py and our checkpoints: the same numbers, and its files read as they are."""

import importlib.util
import json
import os

import numpy as np
import pytest
import regenerate_model as regenerate
import tensorflow as tf
from samples import GOLDEN, MECAB_VOCABULARY, SENTENCES, save_tensorflow_1

from morphbert.cli.export_model import main as export
from morphbert.cli.import_model import main as bring_in
from morphbert.interop import sources
from morphbert.interop.bert_model import BertModel
from morphbert.interop.pretrained import Pretrained
from morphbert.model.config import BertConfig
from morphbert.model.parameters import pretraining_parameters
from morphbert.text.loading import load_tokenizer
from morphbert.text.sequences import encode_batch

CHECKOUT = os.environ.get("GOOGLE_RESEARCH_BERT", "")


def ours(model, batch):
    """The same figures as `regenerate.run_original`."""
    inputs = {name: batch[name] for name in ("input_ids", "input_mask", "segment_ids")}
    layers = model.layers(**inputs)
    hidden, pooled = model(**inputs)
    picked = tf.gather(model.masked_lm_logits(**inputs), batch["masked_lm_positions"], batch_dims=1)
    return {
        "embeddings": layers[0],
        "first_layer": layers[1],
        "hidden_states": hidden,
        "pooled_output": pooled,
        "masked_lm_log_probs": tf.reshape(tf.nn.log_softmax(picked), [-1, picked.shape[-1]]),
        "next_sentence_log_probs": tf.nn.log_softmax(model.next_sentence_logits(**inputs)),
    }


def assert_equal_to(expected, found):
    assert expected.keys() == found.keys()
    for name, value in found.items():
        np.testing.assert_allclose(
            value, np.reshape(expected[name], value.shape), rtol=1e-5, atol=1e-5, err_msg=name
        )


def test_our_numbers_are_those_that_the_original_gave_for_the_exported_checkpoint():
    config = BertConfig(**regenerate.CONFIG)
    shapes = {name: parameter.shape for name, parameter in pretraining_parameters(config).items()}
    model = BertModel.of(Pretrained(config, regenerate.weights_by_formula(shapes), "formula"))
    batch = {name: np.array(rows) for name, rows in regenerate.BATCH.items()}
    assert_equal_to(json.loads((GOLDEN / "model.json").read_text()), ours(model, batch))


@pytest.mark.parity
@pytest.mark.skipif(
    not (CHECKOUT and importlib.util.find_spec("tf_keras")),
    reason="GOOGLE_RESEARCH_BERT names no checkout of google-research/bert, or tf_keras is not installed",
)
def test_the_original_computes_the_same_from_our_exported_checkpoint_on_korean_text(random_model, tmp_path):
    flags = [f"--checkpoint={random_model}", f"--output_dir={tmp_path}/out", "--format=google"]
    assert export(flags) == 0
    rows = encode_batch(load_tokenizer(str(MECAB_VOCABULARY)), SENTENCES, 32)
    batch = {
        "input_ids": np.array([row.ids + [0] * (32 - len(row.ids)) for row in rows], np.int32),
        "input_mask": np.array([[1] * len(row.ids) + [0] * (32 - len(row.ids)) for row in rows], np.int32),
        "segment_ids": np.tile(np.arange(32) > 9, (len(rows), 1)).astype(np.int32),
        "masked_lm_positions": np.tile(np.arange(1, 6, dtype=np.int32), (len(rows), 1)),
    }
    theirs = regenerate.run_original(CHECKOUT, str(tmp_path / "out"), batch)
    assert_equal_to(theirs, ours(BertModel.of(sources.read(str(tmp_path / "out"))), batch))


def released(folder, weights, vocabulary, **more):
    """Writes what Google's releases and its programs leave behind: no file `checkpoint`, a long configuration."""
    folder.mkdir()
    save_tensorflow_1(str(folder / "bert_model.ckpt"), {**weights, **more})
    config = {**regenerate.CONFIG, "vocab_size": len(vocabulary.splitlines()), "hidden_act": "gelu"}
    multilingual = {
        "directionality": "bidi",
        "pooler_fc_size": 12,
        "pooler_num_attention_heads": 3,
        "pooler_num_fc_layers": 3,
        "pooler_size_per_head": 128,
        "pooler_type": "first_token_transform",
    }
    (folder / "bert_config.json").write_text(json.dumps({**config, **multilingual}))
    (folder / "vocab.txt").write_text(vocabulary, encoding="utf-8")


def test_a_released_checkpoint_with_slots_and_heads_of_tasks_is_taken_over(tmp_path, capsys):
    vocabulary = (GOLDEN / "vocab_ko.txt").read_text(encoding="utf-8")
    config = BertConfig(**{**regenerate.CONFIG, "vocab_size": len(vocabulary.splitlines())})
    shapes = {name: parameter.shape for name, parameter in pretraining_parameters(config).items()}
    weights = regenerate.weights_by_formula(shapes)
    more = {f"{name}/{slot}": value for name, value in weights.items() for slot in ("adam_m", "adam_v")}
    more |= {"global_step": np.int64(1000), "cls/squad/output_weights": np.ones((2, 12), np.float32)}
    more |= {"output_weights": np.ones((3, 12), np.float32)}
    released(tmp_path / "multilingual", weights, vocabulary, **more)
    assert bring_in([f"--checkpoint={tmp_path}/multilingual", f"--output_dir={tmp_path}/ours"]) == 0
    out = capsys.readouterr().out
    assert "left over, not taken: cls/squad/output_weights, global_step, output_weights" in out
    assert f"{len(more) - 3} slots of an optimizer" in out
    found = sources.read(str(tmp_path / "ours"))
    assert found.config == config
    assert found.weights.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(found.weights[name], value, err_msg=name)
    assert not load_tokenizer(str(tmp_path / "ours")).splitter.normalizer.do_lower_case
    # Named by its prefix, as its programs name it, and one weight short.
    weights.pop("bert/encoder/layer_1/output/dense/kernel")
    released(tmp_path / "short", weights, vocabulary)
    flags = [f"--checkpoint={tmp_path}/short/bert_model.ckpt", f"--output_dir={tmp_path}/none"]
    assert bring_in(flags) == 1
    assert "layer_1/output/dense/kernel is missing" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
