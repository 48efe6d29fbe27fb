"""The description of a set of records, in a JSON file beside each of its files: `NAME.manifest.json`.

Training reads it before the compilation, so it detects records of another length, vocabulary or casing in the first
second. A manifest contains no time and no path: the same flags give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from morphbert import __version__, atomic_files, files
from morphbert.data.config import InstanceConfig
from morphbert.data.masking import real_pieces
from morphbert.data.records import RecordLayout
from morphbert.errors import MorphbertError
from morphbert.structured import load_json, refuse_newer
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import MASK

# 3: `files`, `corpus` and `length_bins`; 2: packed and dynamic records. Older versions are read without these entries.
FORMAT_VERSION = 3
SUFFIX = ".manifest.json"


@dataclass(frozen=True)
class Manifest:
    """The description of the records of one run.

    Attributes:
      tokenizer: `describe()` of the tokenizer, with the vocabulary's `sha256` and size.
      mode: "fast" or "google".
      objective: "nsp", "sop" or "none".
      masking: the unit, the probability and whether masks are static. For dynamic masks also `mask_id`, and in
        `random_ids` the ranges [first, last + 1] of the pieces for random replacements.
      packing: `examples`, the largest number of examples in a sequence, and `cross_documents`, whether they form one
        text. Empty if each example has its own sequence.
      inputs: {"name": base name, "bytes": size} for each input file, in the order of reading.
      outputs: the number of records in each output file, by base name, in the order of the flag.
      files: the size in bytes and the SHA-256 of each output file, by the same names. Empty before format version 3.
      split: the side of the held-out split: "train", "eval" or "all".
      corpus: a digest of all documents of the run, on both sides of the split. Empty before format version 3.
      length_bins: the lengths with separate files, each with its own manifest; empty for a single length.
      mixture: for each source of a mixture by weight: `inputs`, `weight`, `documents`, `pieces`, `times` (how often
        each document was used, on average) and `pieces_taken`. Not in the file if there is no mixture.
    """

    tokenizer: dict[str, Any]
    max_seq_length: int
    max_predictions_per_seq: int
    objective: str
    masking: dict[str, Any]
    mode: str
    dupe_factor: int
    short_seq_prob: float
    random_seed: int
    num_records: int
    num_documents: int
    num_sentences: int
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: dict[str, int] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    packing: dict[str, Any] = field(default_factory=dict)
    split: str = "all"
    eval_fraction: float = 0.0
    corpus: str = ""
    length_bins: list[int] = field(default_factory=list)
    mixture: list[dict[str, Any]] = field(default_factory=list)
    morphbert_version: str = ""
    format_version: int = FORMAT_VERSION

    @property
    def layout(self) -> RecordLayout:
        """The features of the records."""
        labelled = self.objective != "none"
        examples = 0
        if self.packing and not self.packing["cross_documents"]:
            examples = self.packing["examples"] if labelled else 1
        return RecordLayout(labelled, not self.masking.get("static", True), examples)

    def to_json(self) -> str:
        content = asdict(self)
        if not self.mixture:
            del content["mixture"]
        return json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, origin: str = "the manifest") -> Manifest:
        """Reads the JSON of `to_json`; ignores unknown fields of the same format version.

        Raises:
          MorphbertError: the content is not a JSON object, lacks a field, has a field of another type, or has a newer
            format version.
        """
        try:
            content = load_json(text)
        except ValueError as error:
            raise MorphbertError(f"{origin} is not JSON ({error}): make the records again.") from error
        if not isinstance(content, dict) or not isinstance(content.get("format_version"), int):
            raise MorphbertError(
                f"{origin} is not a manifest of records (it has no format_version): make the records again."
            )
        made_by = content.get("morphbert_version")
        refuse_newer(origin, content["format_version"], FORMAT_VERSION, made_by)
        known = {f.name for f in fields(cls)}
        for name, value in content.items():
            if name in known and not _is_of(_TYPES[name], value):
                raise MorphbertError(
                    f"{origin} is damaged: {name} is {json.dumps(value):.60}, where {_expected(_TYPES[name])} is "
                    "expected. Make the records again."
                )
        try:
            return cls(**{name: value for name, value in content.items() if name in known})
        except TypeError as error:
            raise MorphbertError(f"{origin} is incomplete ({error}): make the records again.") from error


_TYPES = typing.get_type_hints(Manifest)
_EXPECTED = {str: "a text", int: "a whole number", float: "a number", list: "a list", dict: "an object"}


def _expected(kind: Any) -> str:
    return _EXPECTED[typing.get_origin(kind) or kind]


def _is_of(kind: Any, value: Any) -> bool:
    """Returns whether a value of JSON is of a type: `(dict[str, int], {"a": 1})` → True, `(int, True)` → False."""
    outer, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    if outer is Any:
        return True
    if outer is dict:
        return isinstance(value, dict) and all(_is_of(inner[1], each) for each in value.values())
    if outer is list:
        return isinstance(value, list) and all(_is_of(inner[0], each) for each in value)
    return not isinstance(value, bool) and isinstance(value, (int, float) if outer is float else outer)


def manifest_path(output_file: str) -> str:
    """Returns the manifest's path of a file: `out/train.tfrecord` → `out/train.tfrecord.manifest.json`."""
    return output_file + SUFFIX


def load_manifest(
    record_file: str, opener: Callable[[str], IO[bytes]] = files.open_for_reading
) -> Manifest | None:
    """Returns the manifest beside a record file, or None if there is none (records of another program).

    Args:
      opener: opens a path as a binary stream; raises `FileNotFoundError` for a missing file.
    """
    path = manifest_path(record_file)
    if opener is files.open_for_reading and not files.exists(path):
        return None
    try:
        with opener(path) as stream:
            text = stream.read().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise MorphbertError(f"{path} is not UTF-8: make the records again.") from error
    return Manifest.from_json(text, path)


@dataclass(frozen=True)
class Written:
    """A written file: the number of records, the size in bytes, and the SHA-256."""

    records: int
    bytes: int
    sha256: str


def output_names(output_files: Sequence[str]) -> list[str]:
    """Returns the names of output files in a manifest: base names, or paths if the folders differ."""
    if len(set(map(os.path.dirname, output_files))) > 1:
        return list(output_files)
    return list(map(os.path.basename, output_files))


def corpus_digest(digests: Iterable[int] | npt.NDArray[np.uint64]) -> str:
    """Returns a digest of the documents of a corpus, in any order, from the 64-bit digest of each.

    It is their sum, with their number, so a pipeline can add the sums of parts of the corpus.
    """
    values = np.asarray(digests if isinstance(digests, np.ndarray) else list(digests), np.uint64)
    return corpus_name(int(values.sum(dtype=np.uint64)), len(values))


def corpus_name(total: int, documents: int) -> str:
    """Returns `corpus_digest` from the sum of the documents' digests and their number."""
    return f"{total & 0xFFFFFFFFFFFFFFFF:016x}-{documents}"


def inputs_of(input_files: Sequence[str]) -> list[dict[str, Any]]:
    """Returns a manifest's entries for input files: the base name and size of each."""
    identities = map(files.identity, input_files)
    return [{"name": one["name"], "bytes": one["bytes"]} for one in identities]


@dataclass(frozen=True)
class Origin:
    """The text of one side of a run.

    Attributes:
      inputs: see `inputs_of`.
      corpus: see `corpus_digest`; of both sides.
      split: `all`, `train` or `eval`.
      documents, sentences: their numbers on this side.
      eval_fraction: the share of documents that is held out.
    """

    inputs: Sequence[dict[str, Any]]
    corpus: str
    split: str
    documents: int
    sentences: int
    eval_fraction: float


def make_manifest(
    tokenizer: Tokenizer,
    config: InstanceConfig,
    mode: str,
    origin: Origin,
    outputs: Mapping[str, Written],
) -> Manifest:
    """Returns the manifest of one side of a run; `outputs` are its files, by the names of `output_names`."""
    return Manifest(
        tokenizer=tokenizer.describe(),
        max_seq_length=config.max_seq_length,
        max_predictions_per_seq=config.max_predictions_per_seq,
        objective=config.objective,
        masking=_masking(tokenizer, config),
        mode=mode,
        dupe_factor=config.dupe_factor,
        short_seq_prob=config.short_seq_prob,
        random_seed=config.random_seed,
        num_records=sum(written.records for written in outputs.values()),
        num_documents=origin.documents,
        num_sentences=origin.sentences,
        inputs=list(origin.inputs),
        outputs={name: written.records for name, written in outputs.items()},
        files={name: {"bytes": written.bytes, "sha256": written.sha256} for name, written in outputs.items()},
        split=origin.split,
        eval_fraction=origin.eval_fraction,
        corpus=origin.corpus,
        packing=(
            {"examples": config.examples, "cross_documents": config.cross_documents}
            if config.examples > 1
            else {}
        ),
        morphbert_version=__version__,
    )


def _masking(tokenizer: Tokenizer, config: InstanceConfig) -> dict[str, Any]:
    """Returns all settings of masks, so that training can draw the masks of dynamic records."""
    masking: dict[str, Any] = {
        "unit": config.unit,
        "prob": config.masked_lm_prob,
        "static": config.masking == "static",
        "mask_token_prob": config.mask_token_prob,
        "random_token_prob": config.random_token_prob,
        "max_span_length": config.max_span_length,
        "span_prob": config.span_prob,
        "max_word_pieces": config.max_word_pieces,
    }
    if config.mask_words:
        words = "\n".join(config.mask_words).encode()
        masking["mask_words"] = {
            "number": len(config.mask_words),
            "sha256": hashlib.sha256(words).hexdigest(),
            "factor": config.mask_words_factor,
        }
    if config.masking == "dynamic":
        masking["mask_id"] = tokenizer.vocab[MASK]
        masking["random_ids"] = _ranges(real_pieces(tokenizer.vocabulary.tokens).tolist())
    return masking


def _ranges(numbers: Sequence[int]) -> list[list[int]]:
    """`[5, 6, 7, 9]` → `[[5, 8], [9, 10]]`."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number:
            ranges[-1][1] += 1
        else:
            ranges.append([number, number + 1])
    return ranges


def write_manifests(manifest: Manifest, output_files: Sequence[str]) -> None:
    """Writes the manifest beside each output file."""
    for output in output_files:
        with atomic_files.atomic_write(manifest_path(output)) as stream:
            stream.write(manifest.to_json().encode())
