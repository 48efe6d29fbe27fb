"""`from_pretrained` and `save_pretrained`: as users of transformers expect them."""

import numpy as np
import pytest
from samples import GOLDEN, MECAB_VOCABULARY

import morphbert
from morphbert.errors import MorphbertError

TEXT = "사과나무를 심었습니다."


@pytest.fixture(scope="module")
def saved(random_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    (folder / "notes.txt").write_text("mine")
    (folder / "config.json").write_text("{}")
    model = morphbert.BertModel.from_pretrained(str(random_model))
    model.save_pretrained(str(folder))
    return model, folder


def test_a_model_is_saved_into_a_folder_and_loaded_again(saved):
    model, folder = saved
    assert (folder / "notes.txt").read_text() == "mine"
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    again = morphbert.BertModel.from_pretrained(str(folder))
    assert again.config.hidden_size == model.config.hidden_size
    assert again.parameters.keys() == model.parameters.keys()
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(again.parameters[name].numpy(), value.numpy(), name)
    inputs = again.tokenizer([TEXT], return_tensors="np")
    np.testing.assert_array_equal(
        again(**inputs).last_hidden_state.numpy(), model(**inputs).last_hidden_state.numpy()
    )


def test_a_tokenizer_alone(saved, tmp_path):
    model, folder = saved
    tokenizer = morphbert.PretrainedTokenizer.from_pretrained(str(folder))
    expected = model.tokenizer(TEXT, max_length=5, truncation=True)
    assert tokenizer(TEXT, max_length=5, truncation=True)["input_ids"] == expected["input_ids"]
    assert tokenizer.model_max_length == model.config.max_position_embeddings
    tokenizer.save_pretrained(str(tmp_path / "tokenizer"))
    again = morphbert.PretrainedTokenizer.from_pretrained(str(tmp_path / "tokenizer"))
    assert again.tokenize(TEXT) == tokenizer.tokenize(TEXT)
    plain = morphbert.PretrainedTokenizer.from_pretrained(f"{GOLDEN}/vocab_ko.txt")
    assert plain.tokenize(TEXT) == morphbert.load_tokenizer(f"{GOLDEN}/vocab_ko.txt").tokenize(TEXT)
    assert morphbert.PretrainedTokenizer.from_pretrained(str(MECAB_VOCABULARY)).model_max_length is None
    with pytest.raises(MorphbertError, match="no vocabulary"):
        morphbert.PretrainedTokenizer.from_pretrained(str(tmp_path))


def test_a_configuration_alone(saved, tmp_path):
    model, folder = saved
    assert morphbert.BertConfig.from_pretrained(str(folder)) == model.config
    model.config.save_pretrained(str(tmp_path / "config"))
    assert morphbert.BertConfig.from_pretrained(str(tmp_path / "config")) == model.config
    with pytest.raises(MorphbertError, match=r"neither bert_config\.json nor config\.json"):
        morphbert.BertConfig.from_pretrained(str(tmp_path))


@pytest.mark.parity
def test_transformers_loads_what_is_saved(saved):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch = pytest.importorskip("torch", reason="torch is not installed")
    model, folder = saved
    theirs = transformers.AutoModel.from_pretrained(str(folder)).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), trust_remote_code=True)
    inputs = tokenizer([TEXT], return_tensors="pt")
    assert inputs["input_ids"].tolist() == model.tokenizer([TEXT])["input_ids"]
    with torch.no_grad():
        expected = theirs(**inputs).last_hidden_state.numpy()
    found = model(**model.tokenizer([TEXT], return_tensors="np")).last_hidden_state.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
