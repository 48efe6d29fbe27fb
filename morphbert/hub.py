"""Models of the Hugging Face Hub by their names: `klue/bert-base`, `klue/bert-base@REVISION`.

The package huggingface_hub (extra `hub`) downloads, and its users' settings apply: HF_HOME, HF_TOKEN, HF_ENDPOINT,
HF_HUB_OFFLINE. Only files that this program reads are downloaded.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

from morphbert.errors import MorphbertError

_NAME = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")
_FILES = (
    *("config.json", "bert_config.json"),
    *("model.safetensors", "model.safetensors.index.json", "model-*.safetensors"),
    *("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("spiece.model", "sentencepiece.model", "tokenizer.model", "spm.model", "tokenizer_*.model"),
    *("morphbert_tokenizer.json", "user_dictionary.dic"),
)
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin")


def is_hub_name(path: str) -> bool:
    """Returns whether a path names a model of the Hub: `OWNER/NAME` or `OWNER/NAME@REVISION`.

    A local file, folder or checkpoint prefix of that name is meant before the Hub, and so is everything below a local
    folder of the owner's name: a mistyped `out/model` asks no network. A name with `.ckpt` is a checkpoint's prefix.
    """
    match = _NAME.fullmatch(path)
    if match is None or ".ckpt" in path:
        return False
    return not os.path.exists(path.partition("/")[0]) and not os.path.exists(path)


def local_path(path: str, pickles: bool = False) -> str:
    """Returns the folder of a downloaded snapshot for the name of a model of the Hub, and any other path as it is.

    Args:
      path: a local path, or `OWNER/NAME[@REVISION]`.
      pickles: whether `pytorch_model.bin` is downloaded where the model has no safetensors.

    Raises:
      MorphbertError: huggingface_hub is not installed, or the Hub or the cache does not have the model.
    """
    if not is_hub_name(path):
        return path
    folder = _snapshot(path, _FILES)
    if pickles and not any(name.endswith(".safetensors") for name in os.listdir(folder)):
        _snapshot(_at(path, folder), _PICKLES)
    return folder


def pinned(path: str) -> str:
    """Returns the name of a model of the Hub with the commit that it stands for now, and any other path as it is.

    `klue/bert-base` → `klue/bert-base@77c8b3d707df785034b4e50f2da5d37be5f0f546`

    Raises:
      MorphbertError: as `local_path`.
    """
    if not is_hub_name(path):
        return path
    return _at(path, _snapshot(path, _FILES))


def push(folder: str, name: str, private: bool | None = None) -> str:
    """Uploads a folder as a model of the Hub, which is made if it is not there; returns its address.

    Args:
      folder: a Hugging Face folder.
      name: `OWNER/NAME`, or `NAME` for the user who is logged in.
      private: whether a new model is private; None takes the account's default.

    Raises:
      MorphbertError: huggingface_hub is not installed, nobody is logged in, or the Hub refuses.
    """
    hub = _package(name)
    with _explained(f"--push_to_hub={name}", "log in with `hf auth login`, or set HF_TOKEN"):
        api = hub.HfApi()
        made = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message="Model by morphbert")
        return str(made)


def _at(name: str, snapshot: str) -> str:
    """Returns the name with the commit of a snapshot's folder."""
    return f"{name.partition('@')[0]}@{os.path.basename(snapshot)}"


def _snapshot(name: str, patterns: tuple[str, ...]) -> str:
    """Downloads the missing files; returns the snapshot's folder, whose name is the commit."""
    match = _NAME.fullmatch(name)
    assert match is not None
    remedy = (
        "there is no file, folder or checkpoint of this name, so it was looked for on the Hugging Face Hub. Check the "
        "name and the network; a gated or private model needs `hf auth login`, and offline the model has to be in the "
        "cache"
    )
    hub = _package(name)
    with _explained(name, remedy):
        return str(
            hub.snapshot_download(
                match["repository"], revision=match["revision"], allow_patterns=list(patterns)
            )
        )


def _package(name: str) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MorphbertError(
            f"{name}: the Hugging Face Hub needs the package huggingface_hub: pip install 'morphbert[hub]' ({error}). "
            "If it is a local path, it is not there."
        ) from error
    return huggingface_hub


@contextlib.contextmanager
def _explained(name: str, remedy: str) -> Iterator[None]:
    """Turns errors of huggingface_hub into one line with the remedy."""
    try:
        yield
    except (OSError, ValueError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise MorphbertError(f"{name}: {reason} ({type(error).__name__}): {remedy}.") from error
