"""Record files → readable examples, statistics, and whatever is wrong with them."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, cast

from morphbert import files
from morphbert.data.manifest import SUFFIX, Manifest, load_manifest
from morphbert.data.records import CorruptRecord, RecordShape, features, parse_example, read_records
from morphbert.text.vocabulary import CLS, MASK, PAD, SEP, UNK, Vocabulary

# More than these are counted, not listed.
_LISTED_PROBLEMS = 20

Parsed = dict[str, list[int] | list[float]]


@dataclass
class Report:
    """Sums over all records, and what was found wrong, each with file and number of the record.

    masked_words: [whole, in part]. replaced: [`[MASK]`, another piece, the piece itself].
    """

    records: int = 0
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


def record_files(paths: Sequence[str]) -> list[str]:
    """What a glob over records gives, without the manifests that it matches too."""
    return [path for path in paths if not path.endswith(SUFFIX)]


def inspect(paths: Sequence[str], vocabulary: Vocabulary | None, num_examples: int) -> Report:
    """Reads all records of the files once.

    Args:
      vocabulary: for pieces instead of numbers, and for checks against it; None does without.
      num_examples: examples to show, from the start of the first file on.
    """
    report = Report()
    for path in paths:
        manifest = load_manifest(path)
        if manifest is not None and vocabulary is not None:
            _check_vocabulary(report, path, manifest, vocabulary)
        before = report.records
        try:
            for number, parsed in _parsed(path):
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
                report.problem(f"{path}: {report.records - before} records, and its manifest says {expected}")
    return report


def _parsed(path: str) -> Iterator[tuple[int, Parsed]]:
    with files.open_for_reading(path) as raw:
        stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if path.endswith(".gz") else raw
        for number, record in enumerate(read_records(stream)):
            try:
                yield number, parse_example(record)
            except ValueError as error:
                raise CorruptRecord(str(error), number, 0) from error


def _check_vocabulary(report: Report, path: str, manifest: Manifest, vocabulary: Vocabulary) -> None:
    described: dict[str, Any] = manifest.tokenizer.get("vocab", {})
    if described.get("sha256") != vocabulary.sha256:
        report.problem(
            f"{path}: made with another vocabulary ({described.get('size')} tokens, sha256 "
            f"{str(described.get('sha256'))[:12]}…) than the one given ({len(vocabulary)} tokens, sha256 "
            f"{vocabulary.sha256[:12]}…)"
        )


def _check(parsed: Parsed, manifest: Manifest | None, vocabulary: Vocabulary | None) -> list[str]:
    """What contradicts the schema, the manifest or the vocabulary in one record."""
    length = len(parsed.get("input_ids", []))
    predictions = len(parsed.get("masked_lm_positions", []))
    shape = RecordShape(length, predictions)
    if manifest is not None:
        shape = RecordShape(manifest.max_seq_length, manifest.max_predictions_per_seq)
    schema = features(shape)
    if "next_sentence_labels" not in parsed and (manifest is None or manifest.objective == "none"):
        del schema["next_sentence_labels"]
    wrong = []
    for name in sorted(schema.keys() | parsed.keys()):
        expected = schema[name].length if name in schema else 0
        found = len(parsed.get(name, []))
        if found != expected:
            wrong.append(f"{name} has {found} values where {expected} are expected")
    return wrong or _check_values(parsed, len(vocabulary) if vocabulary is not None else None)


def _check_values(parsed: Parsed, vocab_size: int | None) -> list[str]:
    wrong = []
    inputs = parsed["input_mask"]
    real = int(sum(inputs))
    if inputs != [1] * real + [0] * (len(inputs) - real):
        wrong.append("input_mask is not a row of 1 and then of 0")
    if any(parsed["input_ids"][real:]) or any(parsed["segment_ids"][real:]):
        wrong.append(f"something other than 0 stands in the padding, after {real} pieces")
    largest = max([*parsed["input_ids"], *parsed["masked_lm_ids"]])
    if vocab_size is not None and largest >= vocab_size:
        wrong.append(f"the id {largest} is beyond the vocabulary of {vocab_size} tokens")
    masked = int(sum(parsed["masked_lm_weights"]))
    if parsed["masked_lm_weights"] != [1.0] * masked + [0.0] * (len(parsed["masked_lm_weights"]) - masked):
        wrong.append("masked_lm_weights is not a row of 1 and then of 0")
    positions = parsed["masked_lm_positions"][:masked]
    if positions != sorted(set(positions)) or not all(0 < position < real - 1 for position in positions):
        wrong.append(f"masked_lm_positions {positions} are not ascending positions within {real} pieces")
    labels = parsed.get("next_sentence_labels")
    if labels is not None and labels[0] not in (0, 1):
        wrong.append(f"next_sentence_labels is {labels[0]}")
    return wrong


def _count(report: Report, parsed: Parsed, vocabulary: Vocabulary | None) -> None:
    length = len(parsed["input_ids"])
    real = int(sum(parsed["input_mask"]))
    ids, original, positions = _restored(parsed)
    report.padded += length - real
    report.pieces += real
    report.shortest, report.longest = min(report.shortest, real), max(report.longest, real)
    report.tenths[min(10 * (real - 1) // length, 9)] += 1
    report.predictions += len(positions)
    if "next_sentence_labels" in parsed:
        report.labels[int(parsed["next_sentence_labels"][0])] += 1
    if vocabulary is None:
        return
    mask, unk = vocabulary.ids.get(MASK), vocabulary.ids.get(UNK)
    report.unknown += original[:real].count(cast(int, unk))
    for position in positions:
        same = ids[position] == original[position]
        report.replaced[2 if same else 0 if ids[position] == mask else 1] += 1
    _count_words(report, original[:real], set(positions), vocabulary)


def _count_words(report: Report, ids: Sequence[int], masked: set[int], vocabulary: Vocabulary) -> None:
    """Words as `##` marks them: how many are masked whole, how many in part."""
    special = {vocabulary.ids.get(CLS), vocabulary.ids.get(SEP)}
    words: list[list[int]] = []
    for position, number in enumerate(ids):
        if number in special:
            continue
        if words and words[-1][-1] == position - 1 and vocabulary.tokens[number].startswith("##"):
            words[-1].append(position)
        else:
            words.append([position])
    report.words += len(words)
    for word in words:
        hit = len(masked.intersection(word))
        if hit:
            report.masked_words[hit < len(word)] += 1


def _restored(parsed: Parsed) -> tuple[list[int], list[int], list[int]]:
    """(ids as they stand, ids with the labels put back, masked positions)."""
    ids = cast("list[int]", list(parsed["input_ids"]))
    masked = int(sum(parsed["masked_lm_weights"]))
    positions = cast("list[int]", list(parsed["masked_lm_positions"][:masked]))
    original = list(ids)
    for position, label in zip(positions, cast("list[int]", parsed["masked_lm_ids"]), strict=False):
        original[position] = label
    return ids, original, positions


def readable(parsed: Parsed, vocabulary: Vocabulary | None) -> str:
    """One record as text, each masked piece as `{what stands there←what stood there}`.

    `[CLS] 비가 {[MASK]←온다} . [SEP] 해가 {뜬다} . [SEP]`: 뜬다 is to be predicted though it was left as it is.
    """
    ids, original, positions = _restored(parsed)

    def name(number: int) -> str:
        return vocabulary.tokens[number] if vocabulary is not None else str(number)

    masked = set(positions)
    segments: list[list[str]] = [[], []]
    for position, number in enumerate(ids[: int(sum(parsed["input_mask"]))]):
        shown = name(number)
        if position in masked:
            was = name(original[position])
            shown = f"{{{shown}}}" if number == original[position] else f"{{{shown}←{was}}}"
        segments[int(parsed["segment_ids"][position])].append(shown)
    lines = [
        f"  {letter}: {' '.join(segment)}" for letter, segment in zip("AB", segments, strict=True) if segment
    ]
    if "next_sentence_labels" in parsed:
        lines.append(f"  next_sentence_labels: {parsed['next_sentence_labels'][0]}")
    padding = len(ids) - int(sum(parsed["input_mask"]))
    lines.append(f"  {len(ids) - padding} pieces, {padding} × {name(0) if vocabulary else PAD}")
    return "\n".join(lines)


def summary(report: Report, with_vocabulary: bool) -> str:
    """The statistics as lines of text; empty where no record was sound."""
    sound = sum(report.tenths)
    if not sound:
        return ""
    rows = [
        ("records", f"{report.records:,}"),
        ("pieces in a record", f"{report.shortest} to {report.longest}, mean {report.pieces / sound:.1f}"),
        ("padding", f"{report.padded / (report.padded + report.pieces):.1%}"),
        ("lengths, by tenths", " ".join(f"{count / sound:.0%}" for count in report.tenths)),
        ("masked pieces", f"{report.predictions / report.pieces:.1%}"),
    ]
    if with_vocabulary and report.predictions:
        shares = ", ".join(f"{count / report.predictions:.1%}" for count in report.replaced)
        whole, part = (count / max(report.words, 1) for count in report.masked_words)
        rows += [
            ("[MASK], random, same", shares),
            ("masked words", f"{whole:.1%} whole, {part:.1%} in part (a word is what ## marks)"),
            ("[UNK]", f"{report.unknown / report.pieces:.2%}"),
        ]
    if sum(report.labels):
        rows.append(("next_sentence_labels = 1", f"{report.labels[1] / sum(report.labels):.1%}"))
    return "\n".join(f"{title:<26}{value}" for title, value in rows)
