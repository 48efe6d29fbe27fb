"""predict.py, and fine-tuned models in transformers: the same scores, labels and characters on both sides."""

import collections
import dataclasses
import datetime
import json
import os
import re
import shutil

import numpy as np
import pyarrow.parquet
import pytest
import tensorflow as tf
from samples import GOLDEN, save_tensorflow_1
from tasks import ner_texts, relations, tiny_flags, write_json, write_json_lines, write_ner, write_tiny_config
from variants import DISCRIMINATOR, VARIANTS

from morphbert.cli import export_model, predict, run_classifier, run_ner, run_re, run_squad
from morphbert.errors import MorphbertError
from morphbert.finetune.loading import load_task
from morphbert.model.hugging_face_names import HUGGING_FACE_NAMES
from morphbert.train import checkpoint

TEXTS = [
    "정말 재미있는 영화였다.",
    "시간이 아까운 영화ㅠㅠ",
    "배우들의 연기가 훌륭합니다!",
    "지루해서 중간에 나왔다...",
]
LONG = "이 영화는 처음부터 끝까지 지루하지 않았다. " * 30
CONTEXT = (
    "사과나무는 장미과에 속하는 나무이다. 대구는 예로부터 사과로 이름난 고장이며, 가을이면 축제가 열린다."
)
FEW = ["--num_train_steps=4", "--do_train"]


def _model_flags(folder, **changes):
    folder.mkdir(exist_ok=True)
    write_tiny_config(folder, **changes)
    return [*tiny_flags(folder), f"--output_dir={folder}/model"]


def _predict(model, path, *flags):
    output = path.parent / "predicted.jsonl"
    status = predict.main([f"--model={model}", f"--input_file={path}", f"--output_file={output}", *flags])
    assert status == 0
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def _classifier(folder, rows, *flags, **changes):
    train = write_json_lines(folder / "train.jsonl", rows)
    common = [*_model_flags(folder, **changes), f"--train_file={train}", *FEW, *flags]
    assert run_classifier.main(common) == 0
    return folder / "model"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    rows = [
        {"document": text, "label": ["부정", "긍정"][number % 2]} for number, text in enumerate(TEXTS * 8)
    ]
    return _classifier(tmp_path_factory.mktemp("classifier"), rows)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    rows = [
        {"sentence1": text, "sentence2": other, "score": number}
        for number, (text, other) in enumerate(zip(TEXTS * 2, reversed(TEXTS * 2), strict=True))
    ]
    flags = ["--task=score", "--text_column=sentence1,sentence2", "--label_column=score"]
    return _classifier(tmp_path_factory.mktemp("pairs"), rows, *flags)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    return _tagger(tmp_path_factory.mktemp("tagger"))


def _tagger(folder, **changes):
    write_ner(folder / "train.tsv", ner_texts()[:40])
    assert run_ner.main([*_model_flags(folder, **changes), f"--train_file={folder}/train.tsv", *FEW]) == 0
    return folder / "model"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return _reader(tmp_path_factory.mktemp("reader"))


def _reader(folder, **changes):
    answers = [{"text": "장미과", "answer_start": CONTEXT.index("장미과")}]
    entries = [{"id": "1", "question": "사과나무는 무슨 과인가?", "answers": answers}]
    path = write_json(
        folder / "train.json", {"data": [{"paragraphs": [{"context": CONTEXT, "qas": entries}]}]}
    )
    flags = [f"--train_file={path}", "--max_seq_length=32", "--max_query_length=12", "--doc_stride=8"]
    assert run_squad.main([*_model_flags(folder, **changes), *flags, *FEW]) == 0
    return folder / "model"


@pytest.fixture(scope="module")
def relation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("relation")
    path = write_json(folder / "train.json", relations()[:40])
    assert run_re.main([*_model_flags(folder), f"--train_file={path}", *FEW]) == 0
    return folder / "model"


def test_classes_with_unknown_labels_empty_and_long_texts(classifier, tmp_path, capsys):
    rows = [
        {"id": 7, "text": TEXTS[0], "label": "없는 이름"},
        {"id": 8, "text": ""},
        {"id": 9, "text": None},
        {"id": 10, "text": LONG},
    ]
    found = _predict(classifier, write_json_lines(tmp_path / "new.jsonl", rows), "--batch_size=3")
    assert [{name: value for name, value in row.items() if name != "prediction"} for row in found] == rows
    for row in found:
        shares = row["prediction"]["probabilities"]
        assert set(shares) == {"긍정", "부정"}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert row["prediction"]["label"] == max(shares, key=shares.get)
    # An empty text is the same however it is written.
    assert found[1]["prediction"] == found[2]["prediction"]
    assert "4 rows" in capsys.readouterr().out


def test_predictions_are_those_of_the_training_command(classifier, tmp_path):
    table = write_json_lines(tmp_path / "new.jsonl", [{"document": text} for text in [*TEXTS, LONG]])
    flags = [f"--output_dir={classifier}", f"--predict_file={table}", "--do_predict", "--max_seq_length=32"]
    assert run_classifier.main([*flags, "--strategy=cpu"]) == 0
    lines = (classifier / "test_results.tsv").read_text().splitlines()
    found = _predict(classifier, table, "--text_column=document")
    assert _predict(classifier, table) == found  # the column of the training data
    for row, line in zip(found, lines, strict=True):
        expected = [float(value) for value in line.split("\t")]
        np.testing.assert_allclose(list(row["prediction"]["probabilities"].values()), expected, atol=2e-6)


def test_scores_of_pairs(pairs, tmp_path):
    rows = [{"text": TEXTS[0], "text_pair": TEXTS[1]}, {"text": TEXTS[0], "text_pair": LONG}]
    found = _predict(pairs, write_json_lines(tmp_path / "new.jsonl", rows))
    assert all(isinstance(row["prediction"]["score"], float) for row in found)


def test_entities_are_slices_of_the_text(tagger, tmp_path):
    texts = ["김철수는  서울에 갔다.", "", "이영희가 부산에서 왔다. " * 20]
    found = _predict(tagger, write_json_lines(tmp_path / "new.jsonl", [{"text": text} for text in texts]))
    for text, row in zip(texts, found, strict=True):
        assert len(row["prediction"]["tags"]) == len(text)
        for entity in row["prediction"]["entities"]:
            assert text[entity["start"] : entity["end"]] == entity["text"]


def test_answers_are_slices_of_the_context(reader, tmp_path):
    rows = [
        {"id": "a", "question": "무엇으로 이름난 고장인가?", "context": CONTEXT},
        {"id": "b", "question": "", "context": CONTEXT * 5},
        {"id": "c", "question": "무엇인가?", "context": ""},
    ]
    found = _predict(reader, write_json_lines(tmp_path / "new.jsonl", rows), "--n_best_size=3")
    for row in found[:2]:
        made = row["prediction"]
        assert made["text"]
        assert row["context"][made["start"] : made["end"]] == made["text"]
        assert made["n_best"][0] == {name: value for name, value in made.items() if name != "n_best"}
        assert len(made["n_best"]) == 3
    assert found[2]["prediction"]["text"] == ""


def test_relations_and_rows_that_have_none(relation, tmp_path, capsys):
    rows = [dict(row) for row in relations()[40:44]]
    rows[1] = {**rows[1], "subject_entity": {**rows[1]["subject_entity"], "word": "없는사람"}}
    found = _predict(relation, write_json_lines(tmp_path / "new.jsonl", rows))
    assert "없는사람" in found[1]["error"]
    assert "prediction" not in found[1]
    assert {row["prediction"]["label"] for row in (found[0], *found[2:])} <= {
        row["label"] for row in relations()
    }
    assert "1 of them without a prediction" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ('{"review": "글"}\n', [], "line 1: there is no 'document', only 'review'"),
        ('{"text": "글"}\n{"text"\n', [], "line 2: not JSON"),
        ("[1]\n", [], "example 1: a number, where an object"),
        ('{"text": ["글"]}\n', [], "line 1: 'text' contains ['글'], not text"),
        ('{"text": "글"}\n', ["--text_column=a,b"], "the model was trained on one text"),
    ],
)
def test_bad_rows_are_named_and_leave_nothing(content, flags, message, classifier, tmp_path, capsys):
    (tmp_path / "new.jsonl").write_text(content, encoding="utf-8")
    common = [
        f"--model={classifier}",
        f"--input_file={tmp_path}/new.jsonl",
        f"--output_file={tmp_path}/out.jsonl",
    ]
    assert predict.main([*common, *flags]) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["new.jsonl"]


def test_a_folder_without_a_model(tmp_path, capsys):
    (tmp_path / "new.jsonl").write_text('{"text": "글"}\n', encoding="utf-8")
    for folder, message in ((tmp_path, "no task.json"), (tmp_path / "none", "there is no folder")):
        flags = [f"--model={folder}", f"--input_file={tmp_path}/new.jsonl", f"--output_file={tmp_path}/out"]
        assert predict.main(flags) == 1
        assert message in capsys.readouterr().err


def _change_json(path, change):
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")


DAMAGE = {
    "a layer less": (
        lambda f: _change_json(f / "bert_config.json", lambda values: values.update(num_hidden_layers=1)),
        "has bert/encoder/layer_1/attention/output/LayerNorm/beta, bert/encoder/",
    ),
    "a layer more": (
        lambda f: _change_json(f / "bert_config.json", lambda values: values.update(num_hidden_layers=3)),
        "bert/encoder/layer_2/attention/self/query/kernel is missing",
    ),
    "another width": (
        lambda f: _change_json(f / "bert_config.json", lambda values: values.update(intermediate_size=96)),
        "intermediate/dense/kernel is [32, 64], the configuration's is [32, 96]",
    ),
    "another label": (
        lambda f: _change_json(f / "task.json", lambda values: values["labels"].append("모름")),
        "output_weights is [2, 32], the configuration's is [3, 32]",
    ),
    "a label twice": (
        lambda f: _change_json(f / "task.json", lambda values: values.update(labels=["긍정", "긍정"])),
        "labels has '긍정' more than once",
    ),
    "labels as a text": (
        lambda f: _change_json(f / "task.json", lambda values: values.update(labels="긍정")),
        "labels is '긍정', where a list of texts is expected",
    ),
    "a version that is none": (
        lambda f: _change_json(f / "task.json", lambda values: values.update(format_version="1")),
        "format_version is '1', where a number is expected",
    ),
    "another head": (
        lambda f: _change_json(f / "task.json", lambda values: values.update(lstm_units=4)),
        "contains the checkpoint of another task: it lacks head/lstm/",
    ),
    "no vocabulary": (lambda f: (f / "morphbert_tokenizer.json").unlink(), "has no vocabulary"),
    "another vocabulary": (
        lambda f: shutil.copy(GOLDEN / "vocab_ko.txt", f / "vocab.txt"),
        "is another vocabulary",
    ),
}


def test_earlier_predictions_go_and_odd_characters_come_back(classifier, tmp_path):
    """Half a surrogate pair is valid JSON, and a row that failed before may have been mended."""
    rows = [
        {"text": "좋은 영화\ud83d", "error": "there was no text", "prediction": {"label": "모름"}},
        {"text": "나쁜 영화", "prediction": None},
    ]
    path = tmp_path / "new.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for row, made in zip(rows, _predict(classifier, path), strict=True):
        assert made.keys() == {"text", "prediction"}
        assert made["text"] == row["text"]
        assert made["prediction"]["label"]


def test_values_of_parquet_that_json_lacks_come_back_as_text(classifier, tmp_path):
    rows = {"text": ["좋은 영화"], "day": [datetime.date(2026, 11, 28)], "raw": [b"\xff\xfe"]}
    pyarrow.parquet.write_table(pyarrow.table(rows), tmp_path / "new.parquet")
    (made,) = _predict(classifier, tmp_path / "new.parquet")
    assert (made["day"], made["raw"]) == ("2026-11-28", {"bytes": 2})
    assert made["prediction"]["label"]


def test_a_prediction_does_not_replace_its_input(classifier, tmp_path, capsys):
    path = write_json_lines(tmp_path / "new.jsonl", [{"text": "좋은 영화"}])
    flags = [f"--model={classifier}", f"--input_file={path}", f"--output_file={tmp_path}/./new.jsonl"]
    assert predict.main(flags) == 2
    assert "which is read: give the output another name" in capsys.readouterr().err
    assert json.loads(path.read_text(encoding="utf-8")) == {"text": "좋은 영화"}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_folder_whose_parts_do_not_belong_together(kind, classifier, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(classifier, folder)
    damage, message = DAMAGE[kind]
    damage(folder)
    if kind == "no vocabulary":
        (folder / "vocab.txt").unlink()
    if kind == "another vocabulary":
        (folder / "morphbert_tokenizer.json").unlink()
    with pytest.raises(MorphbertError, match=re.escape(message)):
        load_task(str(folder))


def test_weights_are_read_once(classifier, monkeypatch):
    """Everything that is checked is checked by the index."""
    read = collections.Counter()

    def counted(prefix, reader, key, before=checkpoint.tensor):
        read[key] += key.startswith("model/")
        return before(prefix, reader, key)

    monkeypatch.setattr(checkpoint, "tensor", counted)
    model = load_task(str(classifier))
    assert sum(read.values()) == len(model.weights) > 30
    assert set(read.values()) <= {0, 1}


# ── In transformers ──────────────────────────────────────────────────────────────────────────────────────


def _exported(model, folder):
    flags = [f"--checkpoint={model}", f"--output_dir={folder}", "--format=huggingface"]
    assert export_model.main(flags) == 0
    return folder


def _theirs(architecture, folder):
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    auto = getattr(transformers, f"AutoModel{architecture[architecture.index('For') :]}")
    found, report = auto.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    assert type(found).__name__ == architecture
    return tokenizer, found.eval()


def _ours(model, *rows, **lengths):
    """Scores of rows by our own network."""
    from morphbert.finetune.scoring import Scorer
    from morphbert.finetune.task import Examples
    from morphbert.finetune.task_configs import PredictConfig

    loaded = load_task(str(model))
    task = dataclasses.replace(loaded.task, **lengths)
    config = PredictConfig(model=str(model), input_file="", output_file="")
    examples = Examples([task.from_row(row, number, config) for number, row in enumerate(rows)])
    data = task.data(examples, loaded, "predict")
    return np.stack(Scorer(task, loaded.config, loaded.weights, 8)(data.features))


def _logits(model, encoded):
    import torch

    with torch.no_grad():
        return model(**encoded)


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["BERT", "ALBERT", "RoBERTa", "ModernBERT", "ELECTRA"])
def test_sentence_classes_in_transformers(kind, tmp_path):
    changes = {
        "BERT": {},
        "ALBERT": {"embedding_size": 16, "num_hidden_groups": 1},
        "RoBERTa": {
            "position_offset": 1,
            "next_sentence_head": False,
            "hidden_act": "gelu_erf",
            "type_vocab_size": 1,
        },
        "ModernBERT": VARIANTS["modern"],
        "ELECTRA": DISCRIMINATOR,
    }[kind]
    rows = [{"document": text, "label": "가나다"[number % 3]} for number, text in enumerate(TEXTS * 3)]
    model = _classifier(tmp_path, rows, **changes)
    architecture = f"{HUGGING_FACE_NAMES[kind].class_prefix}ForSequenceClassification"
    tokenizer, theirs = _theirs(architecture, _exported(model, tmp_path / "exported"))
    assert theirs.config.id2label == {0: "가", 1: "나", 2: "다"}
    texts = [*TEXTS, LONG]
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=32, return_tensors="pt")
    logits = _logits(theirs, encoded).logits.numpy()
    expected = _ours(model, *({"text": text} for text in texts))
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert np.abs(expected).max() > 1e-3


@pytest.mark.parity
def test_scores_of_pairs_in_transformers(pairs, tmp_path):
    tokenizer, theirs = _theirs("BertForSequenceClassification", _exported(pairs, tmp_path / "exported"))
    assert theirs.config.problem_type == "regression"
    encoded = tokenizer(TEXTS, TEXTS[::-1], padding=True, return_tensors="pt")
    given = [{"text": one, "text_pair": other} for one, other in zip(TEXTS, TEXTS[::-1], strict=True)]
    expected = _ours(pairs, *given)
    np.testing.assert_allclose(_logits(theirs, encoded).logits.numpy(), expected, atol=1e-5)


@pytest.mark.parity
def test_tags_in_transformers(tagger, tmp_path):
    _check_tags(tagger, "Bert", tmp_path)


@pytest.mark.parity
@pytest.mark.parametrize(
    ("prefix", "changes"), [("ModernBert", VARIANTS["modern"]), ("Electra", DISCRIMINATOR)]
)
def test_tags_and_answers_of_other_encoders_in_transformers(prefix, changes, tmp_path):
    """ModernBERT's classes read the last layer through the masked LM's head."""
    (tmp_path / "tags").mkdir()
    (tmp_path / "answers").mkdir()
    _check_tags(_tagger(tmp_path / "tags", **changes), prefix, tmp_path / "tags")
    _check_answers(_reader(tmp_path / "answers", **changes), prefix, tmp_path / "answers")


def _check_tags(tagger, prefix, tmp_path):
    texts = ["김철수는 서울에 갔다.", "박지성이 어제 제주도에서 왔다."]
    tokenizer, theirs = _theirs(f"{prefix}ForTokenClassification", _exported(tagger, tmp_path / "exported"))
    encoded = tokenizer(texts, padding="max_length", max_length=16, return_tensors="pt")
    expected = _ours(tagger, *({"text": text} for text in texts))[:, :16]
    real = encoded["attention_mask"].numpy().astype(bool)
    assert real.sum() > 12
    np.testing.assert_allclose(_logits(theirs, encoded).logits.numpy()[real], expected[real], atol=1e-5)
    assert "B-PS" in theirs.config.label2id


@pytest.mark.parity
def test_answers_in_transformers(reader, tmp_path):
    _check_answers(reader, "Bert", tmp_path)


def _check_answers(reader, prefix, tmp_path):
    tokenizer, theirs = _theirs(f"{prefix}ForQuestionAnswering", _exported(reader, tmp_path / "exported"))
    question, context = "무슨 과인가?", CONTEXT[:20]
    encoded = tokenizer(question, context, return_tensors="pt")
    found = _logits(theirs, encoded)
    scores = _ours(reader, {"question": question, "context": context}, doc_stride=8, max_query_length=12)
    assert len(scores) == 1
    expected = scores[0, : encoded["input_ids"].shape[1]]
    np.testing.assert_allclose(found.start_logits.numpy()[0], expected[:, 0], atol=1e-5)
    np.testing.assert_allclose(found.end_logits.numpy()[0], expected[:, 1], atol=1e-5)


def test_what_transformers_has_no_class_for_is_refused(relation, classifier, tmp_path, capsys):
    rows = [{"document": text, "label": number % 2} for number, text in enumerate(TEXTS)]
    mean = _classifier(tmp_path, rows, "--pooling=mean")
    for model, form, message in (
        (relation, "huggingface", "relations cannot be exported"),
        (mean, "huggingface", "--pooling=mean"),
        (classifier, "onnx", "only as --format=huggingface"),
    ):
        output = tmp_path / "exported"
        flags = [f"--checkpoint={model}", f"--output_dir={output}", f"--format={form}"]
        assert export_model.main(flags) == 1
        assert message in capsys.readouterr().err
        assert not output.exists()


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_weight_that_is_no_number_is_named(classifier, tmp_path, value, capsys):
    folder = shutil.copytree(classifier, tmp_path / "model")
    shutil.rmtree(folder / "best", ignore_errors=True)
    prefix = checkpoint.resolve(str(folder))
    reader = tf.train.load_checkpoint(prefix)
    tensors = {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
    # Optimizer slots have the kernel's name too.
    for key in (key for key in tensors if "pooler/dense/kernel" in key.replace(".S", "/")):
        tensors[key] = tensors[key].copy()
        tensors[key][1, 2] = value
    os.remove(f"{prefix}.sha256")
    save_tensorflow_1(prefix, tensors)
    rows = write_json_lines(tmp_path / "rows.jsonl", [{"document": TEXTS[0]}])
    assert (
        predict.main([f"--model={folder}", f"--input_file={rows}", f"--output_file={tmp_path}/out.jsonl"])
        == 1
    )
    assert f"holds {value} at [1, 2] (1 such numbers of" in capsys.readouterr().err
