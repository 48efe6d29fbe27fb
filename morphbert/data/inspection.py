"""Inspects record files: readable examples, statistics, and problems."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, cast

from tqdm import tqdm

from morphbert import files
from morphbert.data.example_message import parse_example
from morphbert.data.manifest import SUFFIX, Manifest, load_manifest
from morphbert.data.records import (
    CLS_POSITIONS,
    NEXT_SENTENCE_LABELS,
    SEQUENCE_IDS,
    WORD_IDS,
    CorruptRecord,
    RecordShape,
    features,
    layout_of,
    read_records,
)
from morphbert.data.whole_set import name_in, problems_of
from morphbert.errors import MorphbertError
from morphbert.options import NonNegativeInt, PathStr, configuration, option, optional
from morphbert.text.loading import load_vocabulary_of
from morphbert.text.vocabulary import CLS, MASK, PAD, SEP, UNK, Vocabulary

# The number of listed problems; further ones are only counted.
_LISTED_PROBLEMS = 20

Parsed = dict[str, list[int] | list[float]]


@dataclass
class RecordsReport:
    """Sums over all records, and the problems, each with file and number of the record.

    Attributes:
      files: the number of files.
      in_records: the number of examples, more than records if some share one.
      units: the number of units that training can mask, in dynamic records.
      masked_words: [whole, in part].
      replaced: [`[MASK]`, another piece, the piece itself].
    """

    files: int = 0
    records: int = 0
    in_records: int = 0
    units: int = 0
    padded: int = 0
    pieces: int = 0
    shortest: int = 1 << 62
    longest: int = 0
    unknown: int = 0
    predictions: int = 0
    replaced: list[int] = field(default_factory=lambda: [0, 0, 0])
    words: int = 0
    masked_words: list[int] = field(default_factory=lambda: [0, 0])
    labels: list[int] = field(default_factory=lambda: [0, 0])
    # Lengths in tenths of L, the last one L itself included.
    tenths: list[int] = field(default_factory=lambda: [0] * 10)
    num_problems: int = 0
    problems: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    def problem(self, what: str) -> None:
        self.num_problems += 1
        if len(self.problems) < _LISTED_PROBLEMS:
            self.problems.append(what)


@configuration
class InspectConfig:
    """The configuration of `inspect_records`."""

    input_file: str = option(
        group="Input",
        help="Record files: a path, a glob in quotes, or several of both with commas. Manifests are skipped.",
    )
    vocab_file: PathStr | None = optional(
        help="The vocabulary folder or vocab.txt that made the records. Without it, pieces are shown as numbers."
    )
    num_examples: NonNegativeInt = option(default=3, group="Output", help="The number of examples to show.")


def inspect_records(config: InspectConfig) -> RecordsReport:
    """Reads record files once and returns examples, statistics and problems; a problem is not an exception.

    Raises:
      MorphbertError: a file or the vocabulary cannot be read, or there is no record file.
    """
    paths = record_files(files.expand(config.input_file))
    if not paths:
        raise MorphbertError(f"--input_file={config.input_file} matches manifests only, no records.")
    vocabulary = load_vocabulary_of(config.vocab_file) if config.vocab_file else None
    size = sum(int(files.identity(path)["bytes"]) for path in paths)
    with tqdm(desc="inspecting", total=size, unit="B", unit_scale=True, disable=None) as bar:
        return inspect(paths, vocabulary, config.num_examples, bar.update)


def record_files(paths: Sequence[str]) -> list[str]:
    """Returns the files of a glob without the manifests that it also matches."""
    return [path for path in paths if not path.endswith(SUFFIX)]


def inspect(
    paths: Sequence[str],
    vocabulary: Vocabulary | None,
    num_examples: int,
    progress: Callable[[int], object] = lambda read: None,
) -> RecordsReport:
    """Reads all records of the files once.

    Args:
      vocabulary: the vocabulary that shows pieces instead of numbers and is compared with the records, or None.
      num_examples: the number of examples to show, from the start of the first file.
      progress: receives the numbers of bytes read.
    """
    report = RecordsReport(files=len(paths))
    manifests = {path: found for path in paths if (found := load_manifest(path)) is not None}
    # Digests are compared below, while the records are read.
    for problem in problems_of(paths, manifests, read_through=0):
        report.problem(problem.what)
    for path in paths:
        manifest = manifests.get(path)
        if manifest is not None and vocabulary is not None:
            _check_vocabulary(report, path, manifest, vocabulary)
        before, digest = report.records, _Digest()
        try:
            for number, parsed in _parsed(path, progress, digest):
                where = f"{path}, record {number}"
                wrong = _check(parsed, manifest, vocabulary)
                for what in wrong:
                    report.problem(f"{where}: {what}")
                report.records += 1
                if wrong:
                    continue
                _count(report, parsed, vocabulary)
                if len(report.examples) < num_examples:
                    report.examples.append(f"{where}\n{readable(parsed, vocabulary)}")
        except CorruptRecord as error:
            report.problem(f"{path}: {error}")
        if manifest is not None:
            expected = manifest.outputs.get(os.path.basename(path), manifest.outputs.get(path))
            if expected is not None and expected != report.records - before:
                report.problem(f"{path}: {report.records - before} records, but its manifest says {expected}")
            name = name_in(manifest, path)
            written = manifest.files.get(name, {}) if name is not None else {}
            if digest.complete and written and written["sha256"] != digest.sha256:
                report.problem(
                    f"{path}: the file has changed since it was written: its SHA-256 is {digest.sha256[:12]}…, and "
                    f"its manifest says {str(written['sha256'])[:12]}…"
                )
    return report


class _Digest:
    """A stream that digests the bytes read from it; `complete` after its end has been read."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.complete = False

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def of(self, stream: IO[bytes]) -> IO[bytes]:
        """Returns the wrapped stream, which digests its bytes."""
        self._stream = stream
        return cast("IO[bytes]", self)

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        self.complete = not data and size != 0
        return data


def _parsed(path: str, progress: Callable[[int], object], digest: _Digest) -> Iterator[tuple[int, Parsed]]:
    with files.open_for_reading(path) as raw:
        stream = digest.of(raw)
        if path.endswith(".gz"):
            stream = cast("IO[bytes]", gzip.GzipFile(fileobj=stream))
        read = 0
        for number, record in enumerate(read_records(stream)):
            try:
                yield number, parse_example(record)
            except ValueError as error:
                raise CorruptRecord(str(error), number, 0) from error
            progress(raw.tell() - read)
            read = raw.tell()


def _check_vocabulary(report: RecordsReport, path: str, manifest: Manifest, vocabulary: Vocabulary) -> None:
    described: dict[str, Any] = manifest.tokenizer.get("vocab", {})
    if described.get("sha256") != vocabulary.sha256:
        report.problem(
            f"{path}: made with another vocabulary ({described.get('size')} tokens, sha256 "
            f"{str(described.get('sha256'))[:12]}…) than the one given ({len(vocabulary)} tokens, sha256 "
            f"{vocabulary.sha256[:12]}…)"
        )


def _check(parsed: Parsed, manifest: Manifest | None, vocabulary: Vocabulary | None) -> list[str]:
    """Returns the contradictions of one record to the schema, the manifest or the vocabulary."""
    length = len(parsed.get("input_ids", []))
    predictions = len(parsed.get("masked_lm_positions", []))
    shape, layout = RecordShape(length, predictions), layout_of(parsed)
    if manifest is not None:
        shape = RecordShape(manifest.max_seq_length, manifest.max_predictions_per_seq)
        layout = manifest.layout
    schema = features(shape, layout)
    wrong = []
    for name in sorted(schema.keys() | parsed.keys()):
        expected = schema[name].length if name in schema else 0
        found = len(parsed.get(name, []))
        if found != expected:
            wrong.append(f"{name} has {found} values instead of {expected}")
    return wrong or _check_values(parsed, len(vocabulary) if vocabulary is not None else None)


def _real(parsed: Parsed) -> int:
    """Returns the number of pieces before the padding, even for dynamic records, which have no `input_mask`."""
    if "input_mask" in parsed:
        return int(sum(parsed["input_mask"]))
    # One [SEP] follows the last piece of a word, which has a number. Id 0 may be any piece.
    return 2 + max((place for place, word in enumerate(parsed[WORD_IDS]) if word >= 0), default=0)


def _check_values(parsed: Parsed, vocab_size: int | None) -> list[str]:
    wrong = []
    real = _real(parsed)
    if "input_mask" in parsed and parsed["input_mask"] != [1] * real + [0] * (
        len(parsed["input_mask"]) - real
    ):
        wrong.append("input_mask is not a run of 1 followed by a run of 0")
    if any(parsed["input_ids"][real:]) or any(parsed["segment_ids"][real:]):
        wrong.append(f"the padding after {real} pieces contains other values than 0")
    largest = max([*parsed["input_ids"], *parsed.get("masked_lm_ids", [])])
    if vocab_size is not None and largest >= vocab_size:
        wrong.append(f"the id {largest} is beyond the vocabulary of {vocab_size} tokens")
    wrong += _check_words(parsed, real) if WORD_IDS in parsed else _check_masks(parsed, real)
    if SEQUENCE_IDS in parsed:
        wrong += _check_packing(parsed, real)
    labels = parsed.get(NEXT_SENTENCE_LABELS, [])
    wrong += [f"{NEXT_SENTENCE_LABELS} is {label}" for label in labels if label not in (0, 1)]
    return wrong


def _check_masks(parsed: Parsed, real: int) -> list[str]:
    wrong = []
    masked = int(sum(parsed["masked_lm_weights"]))
    if parsed["masked_lm_weights"] != [1.0] * masked + [0.0] * (len(parsed["masked_lm_weights"]) - masked):
        wrong.append("masked_lm_weights is not a run of 1 followed by a run of 0")
    positions = parsed["masked_lm_positions"][:masked]
    if positions != sorted(set(positions)) or not all(0 < position < real - 1 for position in positions):
        wrong.append(f"masked_lm_positions {positions} are not ascending positions within {real} pieces")
    return wrong


def _check_words(parsed: Parsed, real: int) -> list[str]:
    """Checks that units are numbered from 0, and that special tokens (the first and last piece too) have none."""
    words = parsed[WORD_IDS]
    units = [number for number in words if number != -1]
    steps = {after - before for before, after in itertools.pairwise([-1, *units])}
    if not steps <= {0, 1} or words[0] != -1 or set(words[real - 1 :]) != {-1}:
        return [f"{WORD_IDS} are not the numbers of units, from 0 up, and -1 for special tokens and padding"]
    return []


def _check_packing(parsed: Parsed, real: int) -> list[str]:
    wrong = []
    starts = _starts(parsed)
    ends = [*starts[1:], real]
    sequences = [
        number for n, (a, b) in enumerate(zip(starts, ends, strict=True), 1) for number in [n] * (b - a)
    ]
    padding = [0] * (len(parsed[SEQUENCE_IDS]) - real)
    if parsed[SEQUENCE_IDS] != sequences + padding:
        wrong.append(f"{SEQUENCE_IDS} are not the numbers of examples, from 1 up, and 0 for padding")
    positions = [position for a, b in zip(starts, ends, strict=True) for position in range(b - a)]
    if parsed["position_ids"] != positions + padding:
        wrong.append("position_ids do not count from 0 in each example")
    if CLS_POSITIONS in parsed:
        given = parsed[CLS_POSITIONS]
        if given != [*starts, *[0] * (len(given) - len(starts))]:
            wrong.append(f"{CLS_POSITIONS} {given} are not the beginnings of the examples, {starts}")
    return wrong


def _starts(parsed: Parsed) -> list[int]:
    """Returns the beginnings of a record's examples; without packing, its own beginning."""
    sequences = parsed.get(SEQUENCE_IDS, [1])
    return [
        position
        for position, number in enumerate(sequences)
        if number and (position == 0 or sequences[position - 1] != number)
    ]


def _count(report: RecordsReport, parsed: Parsed, vocabulary: Vocabulary | None) -> None:
    length = len(parsed["input_ids"])
    real = _real(parsed)
    ids, original, positions = _restored(parsed)
    examples = len(_starts(parsed))
    report.in_records += examples
    report.units += max(cast("list[int]", parsed.get(WORD_IDS, [-1]))) + 1
    report.padded += length - real
    report.pieces += real
    report.shortest, report.longest = min(report.shortest, real), max(report.longest, real)
    report.tenths[min(10 * (real - 1) // length, 9)] += 1
    report.predictions += len(positions)
    for label in parsed.get(NEXT_SENTENCE_LABELS, [])[:examples]:
        report.labels[int(label)] += 1
    if vocabulary is None:
        return
    mask, unk = vocabulary.ids.get(MASK), vocabulary.ids.get(UNK)
    report.unknown += original[:real].count(cast(int, unk))
    for position in positions:
        same = ids[position] == original[position]
        report.replaced[2 if same else 0 if ids[position] == mask else 1] += 1
    _count_words(report, original[:real], set(positions), vocabulary)


def _count_words(report: RecordsReport, ids: Sequence[int], masked: set[int], vocabulary: Vocabulary) -> None:
    """Adds the numbers of words, as `##` or `▁` marks them, that are masked whole and in part."""
    special = {vocabulary.ids.get(CLS), vocabulary.ids.get(SEP)}
    continues = vocabulary.continuations
    words: list[list[int]] = []
    for position, number in enumerate(ids):
        if number in special:
            continue
        if words and words[-1][-1] == position - 1 and continues[number]:
            words[-1].append(position)
        else:
            words.append([position])
    report.words += len(words)
    for word in words:
        hit = len(masked.intersection(word))
        if hit:
            report.masked_words[hit < len(word)] += 1


def _restored(parsed: Parsed) -> tuple[list[int], list[int], list[int]]:
    """Returns the ids, the ids with the labels restored, and the masked positions."""
    ids = cast("list[int]", list(parsed["input_ids"]))
    masked = int(sum(parsed.get("masked_lm_weights", [])))
    positions = cast("list[int]", list(parsed.get("masked_lm_positions", [])[:masked]))
    original = list(ids)
    for position, label in zip(positions, cast("list[int]", parsed.get("masked_lm_ids", [])), strict=False):
        original[position] = label
    return ids, original, positions


def readable(parsed: Parsed, vocabulary: Vocabulary | None) -> str:
    """Returns one record as text, with each masked piece as `{replacement←original}`.

    `[CLS] 비가 {[MASK]←온다} . [SEP] 해가 {뜬다} . [SEP]`: 뜬다 is to be predicted although it was not replaced.
    """
    ids, original, positions = _restored(parsed)

    def name(number: int) -> str:
        return vocabulary.lines[number] if vocabulary is not None else str(number)

    masked = set(positions)
    real = _real(parsed)
    starts = _starts(parsed)
    lines = []
    for number, (start, end) in enumerate(itertools.pairwise([*starts, real])):
        segments: list[list[str]] = [[], []]
        for position in range(start, end):
            shown = name(ids[position])
            if position in masked:
                same = ids[position] == original[position]
                shown = f"{{{shown}}}" if same else f"{{{shown}←{name(original[position])}}}"
            segments[int(parsed["segment_ids"][position])].append(shown)
        lines += [
            f"  {letter}: {' '.join(segment)}"
            for letter, segment in zip("AB", segments, strict=True)
            if segment
        ]
        if NEXT_SENTENCE_LABELS in parsed:
            lines.append(f"  {NEXT_SENTENCE_LABELS}: {parsed[NEXT_SENTENCE_LABELS][number]}")
    if WORD_IDS in parsed:
        lines.append(f"  {max(parsed[WORD_IDS]) + 1} units to mask from")
    padding = PAD if vocabulary is None else vocabulary.special.pad_token
    lines.append(f"  {real} pieces, {len(ids) - real} × {padding}")
    return "\n".join(lines)


def summary(report: RecordsReport, with_vocabulary: bool) -> str:
    """Returns the statistics as lines of text; empty if all records have problems."""
    sound = sum(report.tenths)
    if not sound:
        return ""
    rows = [
        ("records", f"{report.records:,}"),
        *([("examples", f"{report.in_records:,}")] if report.in_records > sound else []),
        ("pieces in a record", f"{report.shortest} to {report.longest}, mean {report.pieces / sound:.1f}"),
        ("padding", f"{report.padded / (report.padded + report.pieces):.1%}"),
        ("lengths, by tenths", " ".join(f"{count / sound:.0%}" for count in report.tenths)),
    ]
    if report.units:
        rows.append(("masks", f"drawn in training, from {report.units / sound:.1f} units in a record"))
    else:
        rows.append(("masked pieces", f"{report.predictions / report.pieces:.1%}"))
    if with_vocabulary and report.predictions:
        shares = ", ".join(f"{count / report.predictions:.1%}" for count in report.replaced)
        whole, part = (count / max(report.words, 1) for count in report.masked_words)
        rows += [
            ("[MASK], random, same", shares),
            ("masked words", f"{whole:.1%} whole, {part:.1%} in part (a word is what ## or ▁ marks)"),
        ]
    if with_vocabulary:
        rows.append(("[UNK]", f"{report.unknown / report.pieces:.2%}"))
    if sum(report.labels):
        rows.append(("next_sentence_labels = 1", f"{report.labels[1] / sum(report.labels):.1%}"))
    return "\n".join(f"{title:<26}{value}" for title, value in rows)
