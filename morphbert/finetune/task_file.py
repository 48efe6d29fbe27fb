"""`task.json`: what a fine-tuned model's folder says about its task, beside configuration and vocabulary."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import morphbert
from morphbert.errors import MorphbertError
from morphbert.finetune.pretrained_start import Start
from morphbert.interop.vocabularies import write_vocabulary
from morphbert.train.storage import write_text

TASK_NAME = "task.json"
FORMAT_VERSION = 1


def check_folder(folder: str, task: Mapping[str, Any]) -> None:
    """Refuses a folder that holds the model of another task.

    Raises:
      MorphbertError: says what was and what is.
    """
    if not os.path.exists(os.path.join(folder, TASK_NAME)):
        return
    before = read_task(folder)
    for name, value in json.loads(json.dumps(task)).items():
        if before.get(name, value) != value and name == "labels":
            raise MorphbertError(
                f"--output_dir={folder} holds a model whose head has {len(before[name])} labels "
                f"({', '.join(before[name])}), and now there are {len(value)} ({', '.join(value)}): give another "
                "folder, or the labels that it was trained with."
            )
        if before.get(name, value) != value:
            raise MorphbertError(
                f"--output_dir={folder} holds a model whose {name} is {before[name]!r}, and now it is {value!r}: give "
                "another folder."
            )


def write_folder(folder: str, start: Start, task: Mapping[str, Any]) -> None:
    """Writes what a later command needs beside the checkpoints: `task.json`, `bert_config.json`, the vocabulary."""
    path = os.path.join(folder, TASK_NAME)
    os.makedirs(folder, exist_ok=True)
    content = {
        "format_version": FORMAT_VERSION,
        "morphbert_version": morphbert.__version__,
        **task,
    }
    write_text(os.path.join(folder, "bert_config.json"), start.config.to_json())
    if os.path.abspath(start.vocabulary) != os.path.abspath(folder):
        write_vocabulary(folder, start.tokenizer, start.vocabulary)
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True) + "\n")


def is_task_folder(folder: str) -> bool:
    """Whether a fine-tuning command made the folder."""
    return os.path.isfile(os.path.join(folder, TASK_NAME))


def read_task(folder: str) -> dict[str, Any]:
    """The content of `task.json`.

    Raises:
      MorphbertError: there is none, it is damaged, or of a newer version of this program.
    """
    path = os.path.join(folder, TASK_NAME)
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
        version = content["format_version"]
    except OSError as error:
        raise MorphbertError(
            f"{folder} holds no fine-tuned model: there is no {TASK_NAME} ({error.strerror or error})."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise MorphbertError(f"{path} is damaged: {error}") from error
    if version > FORMAT_VERSION:
        raise MorphbertError(
            f"{path} has format version {version}, this program knows up to {FORMAT_VERSION}: use morphbert "
            f"{content.get('morphbert_version')} or newer."
        )
    return dict(content)
