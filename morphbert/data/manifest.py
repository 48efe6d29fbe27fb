"""What made a set of records, in a JSON file beside each of its files: `NAME.manifest.json`.

Training reads it before it compiles anything, so that records of another length, vocabulary or casing
are found in the first second. It holds no time and no path: the same flags give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import IO, Any

from morphbert import __version__, files
from morphbert.data.config import InstanceConfig
from morphbert.data.masking import real_pieces
from morphbert.data.records import RecordLayout
from morphbert.errors import MorphbertError
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import MASK

FORMAT_VERSION = 2
# What google-research/bert's records have is said in the first version, which older programs know.
_OLDEST_FORMAT = 1
SUFFIX = ".manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What made the records of one run.

    tokenizer: `describe()` of the tokenizer, with the vocabulary's `sha256` and size.
    mode: "fast" or "google". objective: "nsp", "sop" or "none". masking: unit, probability, whether static; where
      not, also what training needs to draw masks: `mask_id`, and in `random_ids` the ranges [first, last + 1] of
      the pieces that random ones are taken from.
    packing: `examples`, how many share a sequence at most, and whether one text goes on in them (`cross_documents`).
      Empty where each has its own.
    inputs: {"name": base name, "bytes": size} for each input file, in the order of reading.
    outputs: records in each output file, by base name, in the order in which they were given.
    split: which part of a run with held-out documents this is: "train", "eval" or "all".
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
    packing: dict[str, Any] = field(default_factory=dict)
    split: str = "all"
    eval_fraction: float = 0.0
    morphbert_version: str = ""
    format_version: int = FORMAT_VERSION

    @property
    def layout(self) -> RecordLayout:
        """Which features the records have."""
        labelled = self.objective != "none"
        examples = 0
        if self.packing and not self.packing["cross_documents"]:
            examples = self.packing["examples"] if labelled else 1
        return RecordLayout(labelled, not self.masking.get("static", True), examples)

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, origin: str = "the manifest") -> Manifest:
        """Reads what `to_json` wrote; unknown fields of the same format version are passed over.

        Raises:
          MorphbertError: no JSON object, a field is missing, or a newer format version.
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise MorphbertError(f"{origin} is not JSON ({error}): make the records again.") from error
        if not isinstance(content, dict) or not isinstance(content.get("format_version"), int):
            raise MorphbertError(
                f"{origin} is no manifest of records (it has no format_version): make them again."
            )
        if content["format_version"] > FORMAT_VERSION:
            raise MorphbertError(
                f"{origin} has format version {content['format_version']}, this program knows up to "
                f"{FORMAT_VERSION}: use the version of morphbert that made the records "
                f"({content.get('morphbert_version', 'unknown')}) or a newer one."
            )
        known = {f.name for f in fields(cls)}
        try:
            return cls(**{name: value for name, value in content.items() if name in known})
        except TypeError as error:
            raise MorphbertError(f"{origin} is incomplete ({error}): make the records again.") from error


def manifest_path(output_file: str) -> str:
    """`out/train.tfrecord` → `out/train.tfrecord.manifest.json`."""
    return output_file + SUFFIX


def load_manifest(
    record_file: str, opener: Callable[[str], IO[bytes]] = files.open_for_reading
) -> Manifest | None:
    """The manifest beside a record file, or None where there is none (records of another program).

    opener: path → binary stream; it raises `FileNotFoundError` where there is no file.
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


def output_counts(output_files: Sequence[str], records: Sequence[int]) -> dict[str, int]:
    """Records by base name, or by the path as it was given where two files in different folders share one."""
    names = list(map(os.path.basename, output_files))
    if len(set(names)) < len(names):
        names = list(output_files)
    return dict(zip(names, records, strict=True))


def inputs_of(input_files: Sequence[str]) -> list[dict[str, Any]]:
    """What a manifest says of the input: base name and size of each file."""
    identities = map(files.identity, input_files)
    return [{"name": one["name"], "bytes": one["bytes"]} for one in identities]


def make_manifest(
    tokenizer: Tokenizer,
    config: InstanceConfig,
    mode: str,
    inputs: Sequence[dict[str, Any]],
    outputs: Mapping[str, int],
    counts: tuple[int, int],
    split: str,
    eval_fraction: float,
) -> Manifest:
    """The manifest of one side of a run.

    inputs: see `inputs_of`. outputs: records by base name. counts: documents, sentences.
    """
    is_plain = config.layout.examples == 0 and not config.layout.dynamic
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
        num_records=sum(outputs.values()),
        num_documents=counts[0],
        num_sentences=counts[1],
        inputs=list(inputs),
        outputs=dict(outputs),
        split=split,
        eval_fraction=eval_fraction,
        packing=(
            {"examples": config.examples, "cross_documents": config.cross_documents}
            if config.examples > 1
            else {}
        ),
        morphbert_version=__version__,
        format_version=_OLDEST_FORMAT if is_plain else FORMAT_VERSION,
    )


def _masking(tokenizer: Tokenizer, config: InstanceConfig) -> dict[str, Any]:
    """All that decides about masks, so that training can draw them where the records do not have them."""
    masking: dict[str, Any] = {
        "unit": config.masking_unit,
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
        with files.atomic_write(manifest_path(output)) as stream:
            stream.write(manifest.to_json().encode())
