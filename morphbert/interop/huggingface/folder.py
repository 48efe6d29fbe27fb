"""Hugging Face's folders: `config.json` and `model.safetensors`, read and written without torch.

Names are those of `BertForPreTraining` and its like (see `names`): AutoModel, BertForPreTraining and
BertForMaskedLM of transformers load the folder. It reads BERT, ALBERT, RoBERTa (also XLM-RoBERTa's kind of encoder),
Megatron's BERT, which is pre-LN, ModernBERT, and both networks of ELECTRA, with or without heads.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from morphbert.errors import MorphbertError
from morphbert.git_lfs import refuse_pointer
from morphbert.interop.huggingface.names import (
    ENCODER,
    beside_bert,
    config_values,
    electra_network,
    full_name,
    mapping_tensors,
)
from morphbert.interop.pretrained import (
    Pretrained,
    as_float32,
    check_other_network,
    check_weights,
    find_vocabulary,
)
from morphbert.model.config import HUGGING_FACE_CONFIG_NAME, BertConfig, only_known
from morphbert.model.hugging_face_config import READABLE_TYPES, from_hugging_face
from morphbert.model.hugging_face_names import HuggingFaceNames, hugging_face_names
from morphbert.model.names import WORD_EMBEDDINGS
from morphbert.model.parameters import Parameter, pretraining_parameters
from morphbert.structured import load_json
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import SPECIAL_TOKENS
from morphbert.train.checkpoint import shapes_of

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
PICKLE_NAME = "pytorch_model.bin"
PICKLE_INDEX_NAME = "pytorch_model.bin.index.json"
# Counters that old versions of transformers saved with the weights.
_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")


def write_weights(folder: str, weights: Mapping[str, np.ndarray], config: BertConfig) -> None:
    """Writes `model.safetensors`: float32, under transformers' names."""
    tensors = mapping_tensors(config)
    write_tensors(folder, {**tensors, **their_tensors(weights, pretraining_parameters(config))})


def their_tensors(
    weights: Mapping[str, np.ndarray], declared: Mapping[str, Parameter]
) -> dict[str, np.ndarray]:
    """Weights by our names → as Hugging Face stores them; those that it has no name for are left out."""
    found: dict[str, list[np.ndarray]] = {}
    for name, parameter in declared.items():
        if name in weights and parameter.hugging_face is not None:
            value = weights[name]
            found.setdefault(parameter.hugging_face, []).append(
                value.T if parameter.is_transposed_there else value
            )
    return {name: np.concatenate(parts) for name, parts in found.items()}


def our_weights(
    tensors: dict[str, np.ndarray], declared: Mapping[str, Parameter], source: str
) -> dict[str, np.ndarray]:
    """Returns Hugging Face's tensors by our names; tensors that are used are removed from `tensors`.

    Raises:
      MorphbertError: a tensor that holds several weights cannot be divided into them, or holds NaN, infinity, whole
        numbers or numbers beyond float32.
    """
    there: dict[str, list[str]] = {}
    for name, parameter in declared.items():
        if parameter.hugging_face in tensors:
            there.setdefault(str(parameter.hugging_face), []).append(name)
    weights = {}
    for tensor, names in there.items():
        value = as_float32(source, tensor, tensors.pop(tensor))
        if value.ndim == 0 or len(value) % len(names):
            raise MorphbertError(
                f"{source}: {tensor} is {list(value.shape)}, and its rows are {len(names)} weights of one size: is "
                "the file complete?"
            )
        for name, part in zip(names, np.split(value, len(names)), strict=True):
            weights[name] = np.ascontiguousarray(part.T if declared[name].is_transposed_there else part)
    return {name: weights[name] for name in declared if name in weights}


def write_tensors(folder: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes `model.safetensors`: float32, under the names as given.

    Raises:
      OSError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    whole = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in tensors.items()}
    try:
        # Without this entry transformers 4 refuses the file.
        save_file(whole, os.path.join(folder, WEIGHTS_NAME), metadata={"format": "pt"})
    except SafetensorError as error:  # a full disk is no OSError there
        number = re.search(r"\(os error (\d+)\)", str(error))
        raise OSError(
            *((int(number[1]), os.strerror(int(number[1]))) if number else (str(error),))
        ) from error


def write_config(
    folder: str, config: BertConfig, tokenizer: Tokenizer | None, head: Mapping[str, Any] | None = None
) -> None:
    """Writes `config.json`.

    Args:
      folder: the folder that is written.
      config: the encoder's.
      tokenizer: has the ids of [PAD], [CLS] and [SEP]; None where the vocabulary is unknown.
      head: the values of a task's head, which replace those of pretraining, such as `architectures`.
    """
    special_ids = None if tokenizer is None else {token: tokenizer.vocab[token] for token in SPECIAL_TOKENS}
    values = {**config_values(config, special_ids), **(head or {})}
    with open(os.path.join(folder, HUGGING_FACE_CONFIG_NAME), "w", encoding="utf-8") as stream:
        json.dump(values, stream, ensure_ascii=False, indent=2, sort_keys=True)
        stream.write("\n")


def is_folder(path: str) -> bool:
    """Returns whether a folder is one of Hugging Face's: `config.json` with a `model_type`."""
    if not os.path.isfile(os.path.join(path, HUGGING_FACE_CONFIG_NAME)):
        return False
    return "model_type" in _read_json(os.path.join(path, HUGGING_FACE_CONFIG_NAME))


def read_folder(folder: str, allow_pickle: bool = False) -> Pretrained:
    """Reads a folder.

    Args:
      folder: with `config.json` and weights: `model.safetensors`, or its parts and their index.
      allow_pickle: whether `pytorch_model.bin` may be read (through torch, tensors only).

    Raises:
      MorphbertError: another kind of model, a file that is missing or damaged, a tensor that is missing, has another
        shape or belongs to an encoder that the configuration does not describe.
    """
    path = os.path.join(folder, HUGGING_FACE_CONFIG_NAME)
    values = _read_json(path)
    config = read_config(values, path)
    found = _read_tensors(folder, allow_pickle)
    names = hugging_face_names(config)
    if names is None:
        raise MorphbertError(
            f"{path}: no {values.get('model_type')} of transformers has this network: {beside_bert(config)}."
        )
    tensors = {full_name(name, names): value for name, value in found.items()}
    if config.electra is not None:
        config = dataclasses.replace(config, electra=electra_network(tensors, names, config.electra))
    if config.electra == "generator" and config.hidden_act != "gelu_erf":
        raise MorphbertError(
            f"{path}: the activation of the encoder is {config.hidden_act}; the head of an ElectraForMaskedLM takes "
            "gelu_erf whatever hidden_act says, so that only generators with it are read."
        )
    weights, left_over = _ours(tensors, config, names, folder)
    check_weights(folder, config, shapes_of(weights))
    vocabulary = find_vocabulary(folder)
    return Pretrained(config, weights, folder, left_over, vocabulary)


def read_config(values: Mapping[str, Any], path: str) -> BertConfig:
    """Returns our configuration of a Hugging Face `config.json`.

    Raises:
      MorphbertError: the model is of a type that is not read, or does something that BERT does not.
    """
    kind = values.get("model_type")
    if kind not in READABLE_TYPES:
        raise MorphbertError(
            f"{path}: the model is of type {kind!r}; the known types are {', '.join(READABLE_TYPES)}. "
            "Other encoders compute something else, so their weights cannot be taken."
        )
    if kind == "modernbert":
        return BertConfig.from_dict(values, path)
    for name, plain in (
        ("position_embedding_type", "absolute"),
        ("is_decoder", False),
        ("add_cross_attention", False),
    ):
        if values.get(name, plain) != plain:
            raise MorphbertError(f"{path}: {name} is {values[name]!r}; only {plain!r} is read.")
    config = BertConfig(**only_known(from_hugging_face(values, path)))
    if config.position_offset and config.hidden_act != "gelu_erf":
        raise MorphbertError(
            f"{path}: hidden_act is {values['hidden_act']!r}; the masked LM's head of a RoBERTa takes 'gelu' whatever "
            "it says, so that only models with 'gelu' are read."
        )
    return config


def _read_json(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            values = load_json(stream.read())
    except OSError as error:
        raise MorphbertError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise MorphbertError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise MorphbertError(f"{path} holds {type(values).__name__}, not an object.")
    return values


def _ours(
    tensors: dict[str, np.ndarray], config: BertConfig, names: HuggingFaceNames, folder: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Tensors by their names → weights by ours, and the names that are left over."""
    scores, head = names.scores, names.masked_lm[0]
    decoder = tensors.pop(f"{scores}.weight", None)
    if scores != head and (bias := tensors.pop(f"{scores}.bias", None)) is not None:
        tensors.setdefault(f"{head}.bias", bias)
    for name, plain in mapping_tensors(config).items():
        if not np.array_equal(tensors.pop(name, plain), plain):
            raise MorphbertError(
                f"{folder}: {name} maps embeddings that are as wide as the layers, which google-research/albert's "
                "models do not: this one cannot be read."
            )
    weights = our_weights(tensors, pretraining_parameters(config), folder)
    for name in _BUFFERS:
        tensors.pop(f"{names.prefix}.{name}", None)
    extra = sorted(name for name in tensors if re.match(rf"{names.prefix}\.({ENCODER})\.", name))
    if extra:
        raise MorphbertError(
            f"{folder}: the weights have {', '.join(extra[:4])}{' …' if extra[4:] else ''}, which the encoder that "
            "config.json describes does not: is it the configuration of these weights?"
        )
    table = weights.get(WORD_EMBEDDINGS)
    left_over = sorted(tensors)
    if config.electra is not None:
        check_other_network(folder, tensors)
    if decoder is not None and table is not None and not np.array_equal(decoder, table):
        left_over.append(f"{scores}.weight (differs from the embeddings, which are used for it)")
    return weights, tuple(left_over)


def _read_tensors(folder: str, allow_pickle: bool) -> dict[str, np.ndarray]:
    if os.path.isfile(os.path.join(folder, WEIGHTS_NAME)):
        return _read_safetensors(os.path.join(folder, WEIGHTS_NAME))
    if os.path.isfile(os.path.join(folder, INDEX_NAME)):
        return {
            name: value
            for part in _parts(folder, INDEX_NAME)
            for name, value in _read_safetensors(os.path.join(folder, part)).items()
        }
    pickles = [PICKLE_NAME] if os.path.isfile(os.path.join(folder, PICKLE_NAME)) else []
    if os.path.isfile(os.path.join(folder, PICKLE_INDEX_NAME)):
        pickles = _parts(folder, PICKLE_INDEX_NAME)
    if not pickles:
        parts = [name for name in sorted(os.listdir(folder)) if name.endswith(".safetensors")]
        if parts:
            raise MorphbertError(
                f"{folder} has {', '.join(parts[:2])}{' …' if parts[2:] else ''} and no {INDEX_NAME}, which lists "
                "the content of each: copy the whole folder again."
            )
        raise MorphbertError(
            f"{folder} has no {WEIGHTS_NAME}: give a folder with {HUGGING_FACE_CONFIG_NAME} and the weights."
        )
    if not allow_pickle:
        raise MorphbertError(
            f"{folder} has its weights in {pickles[0]} only, a pickle, which can run code when it is read. If you "
            "trust where it comes from, give import_model.py --allow_pickle; it is then read with torch's weights_only."
        )
    return {
        name: value for part in pickles for name, value in _read_pickle(os.path.join(folder, part)).items()
    }


def _parts(folder: str, index: str) -> list[str]:
    """Returns the files that an index names; each has to lie in the folder."""
    path = os.path.join(folder, index)
    names = _read_json(path).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(part, str) for part in names.values()):
        raise MorphbertError(f"{path} has no weight_map from tensors to files.")
    for part in names.values():
        if part != os.path.basename(part) or part in ("", ".", "..") or "\\" in part:
            raise MorphbertError(f"{path} names {part!r}, which is not a file of the folder: refused.")
    return sorted(set(names.values()))


_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def _read_safetensors(path: str) -> dict[str, np.ndarray]:
    """Returns the tensors as they are, bfloat16 as float32."""
    from safetensors import SafetensorError, deserialize

    try:
        with open(path, "rb") as stream:
            content = stream.read()
        refuse_pointer(content, path)
        tensors = deserialize(content)
    except OSError as error:
        raise MorphbertError(f"{path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise MorphbertError(
            f"{path} is damaged or cut off ({error}); it has {len(content):,} bytes. Copy or load it again."
        ) from error
    return {name: _array(path, name, tensor) for name, tensor in tensors}


def _array(path: str, name: str, tensor: Mapping[str, Any]) -> np.ndarray:
    kind, data = tensor["dtype"], tensor["data"]
    if kind == "BF16":  # the upper half of a float32
        values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    elif kind in _DTYPES:
        values = np.frombuffer(data, np.dtype(_DTYPES[kind]).newbyteorder("<"))
    else:
        raise MorphbertError(
            f"{path}: {name} is of type {kind}; the known types are {', '.join(_DTYPES)} and BF16."
        )
    return values.reshape(tensor["shape"])


def _read_pickle(path: str) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise MorphbertError(
            f"{path} is read with torch, which is not installed: pip install torch"
        ) from error
    try:
        with open(path, "rb") as stream:
            refuse_pointer(stream.read(64), path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        plain = {n: v.float() if v.dtype == torch.bfloat16 else v for n, v in tensors.items()}
        return {name: value.numpy() for name, value in plain.items()}
    except MorphbertError:
        raise
    except Exception as error:  # torch raises many types
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MorphbertError(f"{path} cannot be read as tensors: {first}") from error
