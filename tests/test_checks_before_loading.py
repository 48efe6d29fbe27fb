"""Mistakes that are found before TensorFlow is imported, which takes seconds."""

import json
import os
import sys

import pytest
from samples import MECAB_VOCABULARY

import morphbert
from morphbert import quiet_tensorflow
from morphbert.cli import (
    predict,
    run_classifier,
    run_multiple_choice,
    run_ner,
    run_pretraining,
)
from morphbert.errors import MorphbertError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    def load():
        raise AssertionError("TensorFlow is loaded before the mistake is found")

    monkeypatch.setattr(quiet_tensorflow, "load", load)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.tsv").write_text("id\tdocument\tlabel\n1\t가\t0\n", encoding="utf-8")
    rows = [{"question": "가?", "choices": ["나", "다"], "answer": 0}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "file").write_text("")
    (tmp_path / "bert_config.json").write_text("{}")
    return tmp_path


CLASSIFIER = ["--train_file=train.tsv", "--output_dir=out", "--do_train"]
MODEL = ["--bert_config_file=bert_config.json", f"--vocab_file={MECAB_VOCABULARY}"]


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        (run_classifier, [*CLASSIFIER, "--train_file=none.tsv"], "none.tsv"),
        (
            run_classifier,
            [*CLASSIFIER, "--label_column=rating"],
            "there is no column 'rating' (found: 'id', 'docu",
        ),
        (run_classifier, [*CLASSIFIER, "--text_column=text"], "there is no column 'text'"),
        (run_classifier, [*CLASSIFIER, "--do_eval", "--eval_file=none.tsv"], "none.tsv"),
        (
            run_classifier,
            [*CLASSIFIER, "--do_predict", "--predict_file=train.jsonl"],
            "there is no column 'document'",
        ),
        (
            run_classifier,
            [*CLASSIFIER, *MODEL, "--vocab_file=none.txt"],
            "--vocab_file: none.txt cannot be read",
        ),
        (
            run_classifier,
            [*CLASSIFIER, *MODEL, "--init_checkpoint=none", "--adapt_on=none.txt"],
            "'none.txt'",
        ),
        (run_classifier, [*CLASSIFIER, *MODEL, "--output_dir=file/out"], "file is not a folder"),
        (run_multiple_choice, [*CLASSIFIER, "--train_file=train.jsonl"], "there is no column 'label'"),
        (
            run_multiple_choice,
            [*CLASSIFIER, "--train_file=train.jsonl", "--question_column=문제"],
            "Name the column with --question_column.",
        ),
        (run_ner, [*CLASSIFIER, "--train_file=none.tsv"], "none.tsv"),
        (
            predict,
            ["--model=none", "--input_file=train.jsonl", "--output_file=o.jsonl"],
            "there is no folder none",
        ),
        (
            predict,
            ["--model=.", "--input_file=train.jsonl", "--output_file=file/o.jsonl"],
            "--output_file=file cannot",
        ),
        (
            run_pretraining,
            ["--input_file=train.tsv", *MODEL[:1], "--output_dir=file", "--do_train", "--num_train_steps=1"],
            "--output_dir=file cannot be written",
        ),
    ],
)
def test_a_mistake_is_found_before_tensorflow_is_loaded(folder, capsys, command, flags, message):
    assert command.main(flags) == 1
    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("flags", "module", "message"),
    [
        (["--wandb_project=reviews"], "wandb", "pip install 'morphbert[wandb]'"),
        (
            ["--do_eval", "--eval_file=train.tsv"],
            "sklearn",
            "figures need scikit-learn: pip install 'morphbert[finetune]'",
        ),
    ],
)
def test_a_missing_package_is_found_before(flags, module, message, folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    monkeypatch.delitem(sys.modules, module, raising=False)
    assert run_classifier.main([*CLASSIFIER, *MODEL, *flags]) == 1
    assert message in capsys.readouterr().err


def test_python_refuses_a_missing_package_too(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    files = {"train_file": "train.tsv", "eval_file": "train.tsv", "output_dir": "out"}
    config = morphbert.ClassificationConfig(do_train=True, do_eval=True, **files)
    with pytest.raises(MorphbertError, match="figures need scikit-learn: pip install"):
        morphbert.fine_tune(config)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_found_before(folder, capsys):
    (folder / "locked").mkdir(mode=0o555)
    assert run_classifier.main([*CLASSIFIER, *MODEL, "--output_dir=locked/out"]) == 1
    assert "permission denied" in capsys.readouterr().err


def test_a_run_without_mistakes_gets_as_far_as_tensorflow(folder):
    with pytest.raises(AssertionError, match="TensorFlow is loaded"):
        run_classifier.main([*CLASSIFIER, *MODEL])
