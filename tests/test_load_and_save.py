"""`morphbert.load`: model and tokenizer from every format, called as users of transformers call theirs, and back."""

import json
import os
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf
from processes import run_process
from samples import GOLDEN, MECAB_VOCABULARY, ROOT, SENTENCES

import morphbert
from morphbert.errors import MorphbertError
from morphbert.interop import sources
from morphbert.model.encoder import EncoderInputs, encode, pool
from morphbert.text.special_tokens import encode_special

QUESTION, CONTEXT = "대한민국의 주권은 누구에게 있나?", SENTENCES[1] + " " + SENTENCES[0]


@pytest.fixture(scope="module")
def loaded(random_model):
    return morphbert.load(str(random_model))


def assert_same(one, other):
    assert one.config == other.config
    assert one.parameters.keys() == other.parameters.keys()
    for name, variable in one.parameters.items():
        np.testing.assert_array_equal(variable.numpy(), other.parameters[name].numpy(), err_msg=name)


# ── formats ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", ["ours", "huggingface", "google"])
def test_what_is_saved_is_loaded_again_bit_by_bit(form, loaded, tmp_path):
    model, tokenizer = loaded
    model.save(str(tmp_path / "one"), format=form)
    again = morphbert.load(tmp_path / "one")
    again.save(str(tmp_path / "two"), format=form)
    morphbert.save(tmp_path / "three", *again, format=form)
    for folder in ("one", "two", "three"):
        found, cutter = morphbert.load(str(tmp_path / folder))
        assert_same(found, model)
        assert cutter(SENTENCES, SENTENCES[::-1]) == tokenizer(SENTENCES, SENTENCES[::-1])
        assert cutter.pieces.describe() == tokenizer.pieces.describe()


@pytest.mark.long
def test_a_run_and_one_of_its_checkpoints(trained):
    vocabulary = {"vocab_file": f"{GOLDEN}/vocab_ko.txt", "do_lower_case": False}
    newest, tokenizer = morphbert.load(str(trained), **vocabulary)
    one, _ = morphbert.load(f"{trained}/model.ckpt-3", **vocabulary)
    assert_same(newest, one)
    assert_same(newest, morphbert.BertModel.of(sources.read(str(trained))))
    assert tokenizer.model_max_length == 64
    assert tokenizer.tokenize("나는 학교에") == tokenizer.pieces.tokenize("나는 학교에")


def test_without_a_vocabulary_there_is_no_tokenizer_and_a_warning(trained, caplog):
    model, tokenizer = morphbert.load(str(trained))
    assert tokenizer is None
    assert "give vocab_file" in caplog.text
    assert model(input_ids=[[2, 5, 3]]).hidden_states.shape == [1, 3, 32]


def test_a_run_that_was_told_its_vocabulary_has_it_beside_its_checkpoints(trained, records, tmp_path):
    from morphbert.data.manifest import load_manifest
    from morphbert.interop.vocabularies import put_beside_run, vocabulary_of_run
    from morphbert.model.config import BertConfig

    shutil.copytree(trained, tmp_path / "run")
    manifests = [load_manifest(str(records / "a.tfrecord"))]
    config = BertConfig.from_json_file(str(trained / "bert_config.json"))
    path = f"{GOLDEN}/vocab_ko.txt"
    put_beside_run(str(tmp_path / "run"), vocabulary_of_run(path, config, manifests), path)
    _, tokenizer = morphbert.load(str(tmp_path / "run"))
    assert tokenizer.pieces.describe() == manifests[0].tokenizer
    assert not tokenizer.pieces.splitter.normalizer.do_lower_case
    (tmp_path / "other.txt").write_text(
        (GOLDEN / "vocab_ko.txt").read_text(encoding="utf-8").replace("나\n", "낙\n"), encoding="utf-8"
    )
    for name, words in ((f"{GOLDEN}/vocab_en.txt", "vocab_size="), (f"{tmp_path}/other.txt", "SHA-256")):
        with pytest.raises(MorphbertError, match=words):
            vocabulary_of_run(name, config, manifests)


def test_a_model_from_a_configuration_alone(tmp_path):
    config = morphbert.BertConfig(vocab_size=50, hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    model = morphbert.BertModel(config, seed=1)
    assert_same(model, morphbert.BertModel(config, seed=1))
    with pytest.raises(AssertionError):
        assert_same(model, morphbert.BertModel(config, seed=2))
    for form in ("ours", "huggingface", "google"):
        model.save(str(tmp_path / form), format=form)
        assert_same(morphbert.load(str(tmp_path / form)).model, model)


def test_what_a_source_lacks_is_said(loaded, tmp_path, caplog):
    from safetensors.numpy import load_file, save_file

    loaded.save(str(tmp_path / "a"), format="huggingface")
    tensors = load_file(tmp_path / "a" / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if not name.startswith("cls.")}
    save_file(kept, tmp_path / "a" / "model.safetensors")
    morphbert.load(str(tmp_path / "a"))
    assert "cls/predictions/output_bias" in caplog.text
    assert "initial values" in caplog.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": "full"}, ["not empty"]),
        ({"format": "pickle"}, ["'pickle'", "huggingface"]),
        ({"tokenizer": "other"}, ["pieces", "8000"]),
    ],
)
def test_a_save_that_cannot_be_leaves_nothing(change, words, loaded, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    values = {"path": str(tmp_path / change.pop("path", "new")), **change}
    if change.get("tokenizer"):
        config = morphbert.BertConfig(vocab_size=50, hidden_size=8, num_attention_heads=2)
        model, values["tokenizer"] = morphbert.BertModel(config), loaded.tokenizer
    else:
        model = loaded.model
    with pytest.raises(MorphbertError) as caught:
        model.save(**values)
    assert all(word in str(caught.value) for word in words), caught.value
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_the_folder_that_was_loaded_is_not_replaced(loaded, tmp_path):
    """A run's folder also holds the optimizer's state and other checkpoints."""
    loaded.save(str(tmp_path / "a"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    again = morphbert.load(tmp_path / "a")
    with pytest.raises(MorphbertError, match="which is read and would be lost"):
        again.save(str(tmp_path / "a"), overwrite=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
    again.save(str(tmp_path / "b"))
    again.save(str(tmp_path / "b"), overwrite=True)
    assert_same(morphbert.load(tmp_path / "b").model, loaded.model)


def test_importing_the_package_loads_no_tensorflow():
    program = "import sys, morphbert; print('load' in dir(morphbert), 'tensorflow' in sys.modules)"
    done = run_process([sys.executable, "-c", program], cwd=ROOT, check=True)
    assert done.stdout.split() == ["True", "False"]
    with pytest.raises(AttributeError, match="no_such_name"):
        morphbert.no_such_name  # noqa: B018


# ── the model ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_model_returns_hidden_states_and_pooled_output_under_both_names(loaded):
    model, tokenizer = loaded
    inputs = tokenizer(SENTENCES, SENTENCES[::-1], padding=True, return_tensors="np")
    ids, mask, segments = (inputs[name] for name in ("input_ids", "attention_mask", "token_type_ids"))
    hidden, pooled = model(**inputs)
    weights = {name: tf.constant(variable) for name, variable in model.parameters.items()}
    arrays = (tf.constant(array, tf.int32) for array in (ids, mask, segments))
    # Fixed shapes take fused loops, a graph for any shape plain operations: float32 in two orders.
    expected = encode(weights, model.config, EncoderInputs(*arrays))
    np.testing.assert_allclose(hidden, expected, atol=1e-5)
    np.testing.assert_allclose(pooled, pool(weights, expected), atol=1e-5)
    assert hidden.shape == (*ids.shape, model.config.hidden_size)
    assert pooled.shape == (len(SENTENCES), model.config.hidden_size)
    googles = model(input_ids=ids, input_mask=mask, segment_ids=segments)
    for name, value in {
        "hidden_states": hidden,
        "last_hidden_state": hidden,
        "pooled_output": pooled,
        "pooler_output": pooled,
    }.items():
        np.testing.assert_array_equal(googles[name], value)
        np.testing.assert_array_equal(getattr(googles, name), value)
    assert len(model.layers(**inputs)) == model.config.num_hidden_layers + 1
    np.testing.assert_array_equal(model.layers(**inputs)[-1], hidden)
    assert model.masked_lm_logits(**inputs).shape == (*ids.shape, 8000)
    assert model.next_sentence_logits(**inputs).shape == (len(SENTENCES), 2)


def test_weights_are_trained_through_the_call_and_dropout_is_asked_for(random_model):
    model, tokenizer = morphbert.load(str(random_model))
    inputs = tokenizer(SENTENCES, padding=True, return_tensors="tf")
    assert len(model.trainable_variables) == len(model.parameters)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(**inputs).pooled_output ** 2)
    gradient = tape.gradient(loss, model.parameters["bert/pooler/dense/kernel"])
    assert float(tf.norm(gradient)) > 0
    once, twice = (model(**inputs, training=True).hidden_states.numpy() for _ in range(2))
    assert np.abs(once - twice).max() > 0
    np.testing.assert_array_equal(model(**inputs).hidden_states, model(**inputs).hidden_states)
    traced = tf.function(lambda ids: model(input_ids=ids).pooled_output)
    np.testing.assert_allclose(
        traced(inputs["input_ids"]), model(inputs["input_ids"]).pooled_output, atol=1e-5
    )


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"input_ids": [2, 5, 3]}, ["[3]", "[batch, length]", "return_tensors"]),
        ({"input_ids": [[2, 5], [3]]}, ["different lengths", "padding=True"]),
        ({"input_ids": [[2, 8000]]}, ["2 to 8000", "0 to 7999"]),
        ({"input_ids": [[2, -1]]}, ["-1 to 2"]),
        ({"input_ids": [[0.5, 1.0]]}, ["whole numbers"]),
        ({"input_ids": [[2] * 65]}, ["65 positions", "64", "truncation=True"]),
        ({"input_ids": [[2, 3]], "attention_mask": [[1]]}, ["attention_mask", "[1, 1]", "[1, 2]"]),
        ({"input_ids": [[2]], "attention_mask": [[1]], "input_mask": [[1]]}, ["two names", "input_mask"]),
        ({"input_ids": [[2]], "token_type_ids": [[2]]}, ["token_type_ids", "0 to 1"]),
    ],
)
def test_what_the_model_cannot_take_is_said(inputs, words, loaded):
    with pytest.raises(MorphbertError) as caught:
        loaded.model(**inputs)
    assert all(word in str(caught.value) for word in words), caught.value


# ── the tokenizer ──────────────────────────────────────────────────────────────────────────────────────

CALLS = [
    {"text": SENTENCES[0]},
    {"text": SENTENCES[0], "text_pair": SENTENCES[1]},
    {"text": SENTENCES, "padding": True},
    {"text": SENTENCES, "padding": "longest", "pad_to_multiple_of": 8},
    {"text": SENTENCES, "padding": True, "padding_side": "left"},
    {"text": SENTENCES, "truncation": True, "max_length": 9, "padding": "max_length"},
    {"text": SENTENCES, "add_special_tokens": False},
    {"text": [(QUESTION, CONTEXT), (CONTEXT, QUESTION)], "truncation": True, "max_length": 20},
    {"text": [QUESTION] * 2, "text_pair": [CONTEXT] * 2, "truncation": "only_second", "max_length": 24},
    {"text": CONTEXT, "text_pair": QUESTION, "truncation": "only_first", "max_length": 24},
    {"text": [["사과나무를", "심었습니다"], ["나"]], "is_split_into_words": True, "padding": True},
    {"text": SENTENCES, "padding": True, "return_tensors": "np"},
    {"text": SENTENCES[1], "truncation": True, "max_length": 11, "return_tensors": "np"},
]


@pytest.mark.parity
@pytest.mark.parametrize("number", range(len(CALLS)))
def test_the_tokenizer_does_what_transformers_does(number, loaded, hub_folder):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(hub_folder, trust_remote_code=True)
    asked = {"return_offsets_mapping": True, "return_special_tokens_mask": True, "return_length": True}
    expected = theirs(**CALLS[number], **asked)
    found = loaded.tokenizer(**CALLS[number], **asked)
    assert set(found) == set(expected)
    for name, value in expected.items():
        ours = found[name]
        if hasattr(value, "shape"):
            assert ours.dtype == value.dtype
        assert np.asarray(ours, object).tolist() == np.asarray(value, object).tolist(), name


@pytest.mark.parity
@pytest.mark.parametrize(
    "call",
    [
        {"text": CONTEXT, "max_length": 14, "stride": 4, "truncation": True},
        {
            "text": [QUESTION],
            "text_pair": [CONTEXT],
            "max_length": 26,
            "stride": 5,
            "truncation": "only_second",
        },
        {"text": [CONTEXT, QUESTION], "max_length": 12, "truncation": True, "padding": "max_length"},
    ],
)
def test_windows_are_those_of_a_fast_tokenizer(call, tmp_path):
    """Python tokenizers of transformers make no rows of the rest: the authority is a stock, fast one."""
    transformers = pytest.importorskip("transformers")
    from morphbert.interop.huggingface.pretrained_tokenizer import PretrainedTokenizer
    from morphbert.interop.huggingface.tokenizer_files import write_tokenizer
    from morphbert.text.loading import bert_tokenizer
    from morphbert.text.vocabulary_file import load_vocabulary

    path = str(GOLDEN / "vocab_ko.txt")
    pieces = bert_tokenizer(load_vocabulary(path), do_lower_case=False)
    write_tokenizer(str(tmp_path), pieces, 64)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    asked = {"return_overflowing_tokens": True, "return_offsets_mapping": True}
    expected, found = theirs(**call, **asked), PretrainedTokenizer(pieces, path, 64)(**call, **asked)
    assert len(found["input_ids"]) > 1
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert [
            [tuple(v) if isinstance(v, tuple) else v for v in row] if isinstance(row, list) else row
            for row in found[name]
        ] == value, name
    for row in range(len(found["input_ids"])):
        assert found.tokens(row) == expected.tokens(row)
        assert found.sequence_ids(row) == expected.sequence_ids(row)


@pytest.fixture(scope="module")
def hub_folder(loaded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "model"
    loaded.save(str(folder), format="huggingface")
    return folder


def test_offsets_spell_the_pieces_and_windows_cover_the_text(loaded):
    tokenizer = loaded.tokenizer
    found = tokenizer(
        [QUESTION],
        [CONTEXT],
        truncation="only_second",
        max_length=26,
        stride=6,
        padding="max_length",
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    assert {len(row) for row in found.input_ids} == {26}
    assert found.overflow_to_sample_mapping == [0] * len(found.input_ids)
    covered = set()
    for row, offsets in enumerate(found.offset_mapping):
        for token, (start, end), text in zip(
            found.tokens(row), offsets, found.sequence_ids(row), strict=True
        ):
            if text is None:
                assert (start, end) == (0, 0)
            else:
                assert (QUESTION, CONTEXT)[text][start:end] == token.removeprefix("##")
                covered |= set(range(start, end)) if text else set()
    assert covered == {i for i, char in enumerate(CONTEXT) if char != " "}
    assert found.word_ids(0)[:2] == [None, 0]


def test_text_and_ids_back_and_forth(loaded):
    tokenizer = loaded.tokenizer
    ids = tokenizer.encode("나는 [MASK]에 간다.")
    assert ids == [2, *encode_special(tokenizer.pieces, "나는 [MASK]에 간다.").ids, 3]
    assert tokenizer.decode(ids) == "[CLS] 나는 [MASK]에 간다. [SEP]"
    assert (
        tokenizer.decode(np.array(tokenizer.encode(SENTENCES[0])), skip_special_tokens=True) == SENTENCES[0]
    )
    assert tokenizer.batch_decode([ids[:3]], skip_special_tokens=True) == ["나는"]
    assert tokenizer.convert_ids_to_tokens(ids)[0] == "[CLS]"
    assert tokenizer.convert_tokens_to_ids(["[MASK]", "없는조각"]) == [4, 1]
    assert len(tokenizer) == tokenizer.vocab_size == len(tokenizer.get_vocab()) == 8000
    names = ("pad", "unk", "cls", "sep", "mask")
    assert [getattr(tokenizer, f"{name}_token_id") for name in names] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"text": SENTENCES, "return_tensors": "np"}, ["padding=True"]),
        ({"text": "가", "padding": "long"}, ["'long'", "'longest'"]),
        ({"text": "가", "truncation": "first"}, ["'first'", "'only_first'"]),
        ({"text": "가", "return_tensors": "jax"}, ["'jax'", "'np'"]),
        ({"text": CONTEXT, "truncation": True, "max_length": 2}, ["max_length=2", "room"]),
        (
            {"text": CONTEXT, "text_pair": CONTEXT, "truncation": True, "max_length": 9}
            | {"return_overflowing_tokens": True},
            ["only_second"],
        ),
        ({"text": CONTEXT, "truncation": "only_second", "max_length": 9}, ["second text"]),
    ],
)
def test_what_the_tokenizer_cannot_do_is_said(call, words, loaded):
    with pytest.raises(MorphbertError) as caught:
        loaded.tokenizer(**call)
    assert all(word in str(caught.value) for word in words), caught.value


def test_what_is_no_text_is_refused(loaded):
    for wrong in ([1, 2, 3], [["가", "나", "다"]], [None]):
        with pytest.raises(ValueError, match="text"):
            loaded.tokenizer(wrong)


def test_the_tokenizer_saves_itself(loaded, tmp_path):
    from morphbert.text.loading import load_tokenizer

    loaded.tokenizer.save(str(tmp_path / "vocab"))
    assert (
        load_tokenizer(str(tmp_path / "vocab")).describe() == load_tokenizer(str(MECAB_VOCABULARY)).describe()
    )
    assert (
        json.loads((tmp_path / "vocab" / "morphbert_tokenizer.json").read_text())["analyzer"]["name"]
        == "mecab"
    )
    assert sorted(os.listdir(tmp_path / "vocab")) == ["morphbert_tokenizer.json", "vocab.txt"]


def test_texts_of_many_lengths_share_one_graph(loaded):
    """A graph for each new shape would cost more than the computation, and TensorFlow would warn about it."""
    from morphbert.interop import bert_model
    from morphbert.model.graphs import any_shape, specifications

    model, tokenizer = loaded
    inputs = tokenizer(SENTENCES, padding=True, return_tensors="np")
    whole = model.masked_lm_logits(**inputs).numpy()
    graphs = any_shape.cache_info().misses
    for row, sentence in enumerate(SENTENCES):
        alone = model.masked_lm_logits(**tokenizer([sentence], return_tensors="np")).numpy()
        np.testing.assert_allclose(alone[0], whole[row, : alone.shape[1]], rtol=1e-5, atol=1e-4)
    assert any_shape.cache_info().misses == graphs
    encode_any = any_shape(bert_model._encode_all, model.config, specifications(model.parameters), 3)
    assert encode_any.experimental_get_tracing_count() == 1
