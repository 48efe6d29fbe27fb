"""`task.json`: the description of the task in a fine-tuned model's folder, beside configuration and vocabulary."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import morphbert
from morphbert.errors import MorphbertError
from morphbert.interop.pretrained_start import Start
from morphbert.interop.vocabularies import put_beside_run
from morphbert.model.config import BERT_CONFIG_NAME
from morphbert.structured import load_json, refuse_newer
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import VocabularyDigest, check_same_vocabulary
from morphbert.train.storage import write_text

TASK_NAME = "task.json"
FORMAT_VERSION = 1


def check_folder(folder: str, task: Mapping[str, Any]) -> None:
    """Refuses a folder with the model of another task.

    Raises:
      MorphbertError: the tasks differ; the message names both values.
    """
    if not os.path.exists(os.path.join(folder, TASK_NAME)):
        return
    before = read_task(folder)
    for name, value in json.loads(json.dumps(task)).items():
        if before.get(name, value) != value and name == "labels":
            raise MorphbertError(
                f"--output_dir={folder} contains a model whose head has {len(before[name])} labels "
                f"({', '.join(before[name])}), but this run has {len(value)} ({', '.join(value)}). Give another "
                "folder, or the labels of that model."
            )
        if before.get(name, value) != value:
            raise MorphbertError(
                f"--output_dir={folder} contains a model whose {name} is {before[name]!r}, but this run has "
                f"{value!r}. Give another folder."
            )


def write_folder(folder: str, start: Start, task: Mapping[str, Any], plugins: Sequence[str] = ()) -> None:
    """Writes the files that later commands need beside the checkpoints: `task.json`, `bert_config.json`, the
    vocabulary. `plugins` are the names and digests of the files that the run was given.

    Raises:
      MorphbertError: the folder contains a model of another vocabulary, or cannot be written.
    """
    path = os.path.join(folder, TASK_NAME)
    vocabulary = start.tokenizer.vocabulary
    if os.path.exists(path):
        check_vocabulary(folder, read_task(folder), start.tokenizer)
    os.makedirs(folder, exist_ok=True)
    content = {
        "format_version": FORMAT_VERSION,
        "morphbert_version": morphbert.__version__,
        "vocabulary": {"sha256": vocabulary.sha256, "size": len(vocabulary)},
        **({"plugin": list(plugins)} if plugins else {}),
        **task,
    }
    write_text(os.path.join(folder, BERT_CONFIG_NAME), start.config.to_json())
    if os.path.abspath(start.vocabulary) != os.path.abspath(folder):
        put_beside_run(folder, start.tokenizer, start.vocabulary)
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True) + "\n")


def check_vocabulary(folder: str, saved: Mapping[str, Any], tokenizer: Tokenizer) -> None:
    """Refuses a vocabulary other than that of a fine-tuned model.

    Args:
      folder: the model's folder.
      saved: the content of its `task.json`; older versions do not name the vocabulary.
      tokenizer: the tokenizer for the model.

    Raises:
      MorphbertError: the vocabularies differ; the message names the expected one.
    """
    known = saved.get("vocabulary")
    if isinstance(known, Mapping) and "sha256" in known:
        check_same_vocabulary(
            "the vocabulary for the model",
            tokenizer.vocabulary,
            VocabularyDigest(str(known["sha256"]), os.path.join(folder, TASK_NAME)),
            f"Put the model's vocabulary into {folder}, or train into another --output_dir.",
        )


def is_task_folder(folder: str) -> bool:
    """Returns whether a fine-tuning command made the folder."""
    return os.path.isfile(os.path.join(folder, TASK_NAME))


def read_task(folder: str) -> dict[str, Any]:
    """Returns the content of `task.json`.

    Raises:
      MorphbertError: the file is missing, damaged, or of a newer version of this program.
    """
    path = os.path.join(folder, TASK_NAME)
    try:
        with open(path, encoding="utf-8") as stream:
            content = load_json(stream.read())
        version = content["format_version"]
    except OSError as error:
        raise MorphbertError(
            f"{folder} contains no fine-tuned model: there is no {TASK_NAME} ({error.strerror or error})."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise MorphbertError(f"{path} is damaged: {error}") from error
    if not isinstance(version, int):
        raise MorphbertError(f"{path} is damaged: format_version is {version!r}, where a number is expected.")
    refuse_newer(path, version, FORMAT_VERSION, content.get("morphbert_version"))
    for name in ("labels", "entity_types", "plugin"):
        values = content.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise MorphbertError(
                f"{path} is damaged: {name} is {values!r}, where a list of texts is expected."
            )
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise MorphbertError(f"{path} is damaged: {name} has {twice[0]!r} more than once.")
    return dict(content)
