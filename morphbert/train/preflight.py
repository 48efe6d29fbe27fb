"""Checks before the compilation of a run, which find mistakes in the first seconds."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence

import tensorflow as tf

from morphbert.data.locks import alone
from morphbert.data.manifest import SUFFIX, Manifest
from morphbert.data.mixture import split_weights
from morphbert.data.records import RecordLayout, RecordShape
from morphbert.data.whole_set import held_out_problem, problems_of
from morphbert.errors import MorphbertError, UsageError
from morphbert.files import in_other_forms, is_remote
from morphbert.model.config import BertConfig
from morphbert.train.input.record_sets import WITH_TENSORFLOW, RecordSet, manifests
from morphbert.train.input.records import (
    RecordFormat,
    check_first_records,
    checked_records,
    explain_record,
)
from morphbert.train.optimizers.config import ScheduledConfig
from morphbert.train.storage import write_text, writing

# More problems of records are counted, not listed.
_LISTED = 10


def expand_records(patterns: str, flag: str) -> tuple[str, ...]:
    """Returns the record files of comma-separated paths and globs, on any filesystem that TensorFlow knows, by name.

    Manifests and unfinished files that a glob catches are left out.

    Raises:
      MorphbertError: a pattern matches no file.
    """
    return tuple(file for files in expand_sources(patterns, flag)[0] for file in files)


def expand_sources(
    patterns: str, flag: str, weighted: bool = False
) -> tuple[tuple[tuple[str, ...], ...], tuple[int, ...]]:
    """The same for each path and glob on its own, and, with `weighted`, their shares: `a*:0.7,b*:0.3` → 7 and 3.

    Raises:
      MorphbertError: a pattern matches no file, or two weighted ones the same.
    """
    parts, shares = list(filter(None, (part.strip() for part in patterns.split(",")))), tuple[int, ...]()
    if weighted:
        parts, shares = split_weights(parts, lambda part: bool(_matches(part)), flag)
    found = []
    for pattern in parts:
        matches = [name for name in _matches(pattern) if not tf.io.gfile.isdir(name)]
        if not matches:
            raise MorphbertError(
                f"{flag}: no record file matches {pattern!r} (working directory: {os.getcwd()}). "
                "Make records with create_pretraining_data.py, and put globs in quotes."
            )
        found.append(tuple(matches))
    if not found:
        raise MorphbertError(f"{flag}: no record file was given: received {patterns!r}.")
    if shares:
        for one, other in itertools.combinations(found, 2):
            if both := sorted(set(one) & set(other)):
                raise MorphbertError(
                    f"{flag}={patterns}: {both[0]} is in two sources: each file has one weight."
                )
    return tuple(found), shares


def _matches(pattern: str) -> list[str]:
    names = [pattern] if tf.io.gfile.exists(pattern) else sorted(tf.io.gfile.glob(pattern))
    if not names and not is_remote(pattern):
        names = in_other_forms(pattern)
    return [name for name in names if not name.endswith((SUFFIX, ".partial"))]


def check_records(sets: Sequence[RecordSet]) -> None:
    """Compares the records with the flags and the model's configuration.

    Raises:
      MorphbertError: a length or a vocabulary differs, the files have different vocabularies, or a file cannot be read.
    """
    vocabularies: dict[str, str] = {}
    for chosen in sets:
        _check_set(chosen, vocabularies)
    if len(vocabularies) > 1:
        raise MorphbertError(
            "the records were made with different vocabularies: "
            + " and ".join(vocabularies.values())
            + ". Make them again with one vocabulary, or train on one kind only."
        )
    check_whole(sets)
    _say_rows_without_a_piece(sets)
    for chosen in sets:
        if chosen.form.skip_corrupt:
            _name_damaged(chosen)
        else:
            check_first_records(chosen.files, chosen.form)


def _say_rows_without_a_piece(sets: Sequence[RecordSet]) -> None:
    """Reports rows of the embedding table without a piece, as in a table padded to a round size."""
    rows = sets[0].form.vocab_size if sets else 0
    known = manifests([file for chosen in sets for file in chosen.files]).values()
    sizes = {manifest.tokenizer.get("vocab", {}).get("size") for manifest in known} - {None, rows}
    for size in sorted(sizes):
        print(
            f"vocabulary: the records have {size} pieces, but the model {rows} rows of embeddings: the last "
            f"{rows - size} have no piece",
            flush=True,
        )


def check_whole(sets: Sequence[RecordSet]) -> None:
    """Checks by the manifests that the files are one complete, unchanged set.

    Raises:
      MorphbertError: files are missing, left from earlier records, cut off or changed; the message lists them.
    """
    paths = [file for chosen in sets for file in chosen.files]
    known = manifests(paths)
    whole_files = not any(chosen.form.skip_corrupt for chosen in sets)
    problems = list(problems_of(paths, known, WITH_TENSORFLOW, whole_files=whole_files))
    for path in {problem.path for problem in problems}.intersection(paths):
        for _ in checked_records(path):  # names the first damaged record, if damage is the fault
            pass
    if problems:
        shown = [problem.what for problem in problems[:_LISTED]]
        more = [f"and {len(problems) - _LISTED} more"] if problems[_LISTED:] else []
        raise MorphbertError(
            "the records have changed since they were written:\n  " + "\n  ".join(shown + more)
        )
    for manifest in {manifest.to_json(): manifest for manifest in known.values()}.values():
        read = sum(1 for path in known if known[path] == manifest)
        if read < len(manifest.outputs):
            print(
                f"records: {read} of the {len(manifest.outputs)} files of a set are read; the set has "
                f"{', '.join(list(manifest.outputs)[:3])}{' …' if len(manifest.outputs) > 3 else ''}",
                flush=True,
            )


def check_held_out(training: Sequence[RecordSet], evaluation: Sequence[RecordSet]) -> None:
    """Refuses held-out records whose documents may be among those that are trained on.

    Raises:
      MorphbertError: there are such records; the message names them and the remedy.
    """
    trained, held = (
        manifests([file for chosen in sets for file in chosen.files]) for sets in (training, evaluation)
    )
    if problem := held_out_problem(trained, held):
        raise MorphbertError(f"--eval_input_file: {problem}")


def _name_damaged(chosen: RecordSet) -> None:
    """Reads all files through and names those that are used up to a damaged record only.

    Raises:
      MorphbertError: nothing is left to read, or a record is wrong in another way.
    """
    left = 0
    for file in chosen.files:
        try:
            for number, record in enumerate(checked_records(file)):
                reason = explain_record(record, chosen.form) if number == 0 else None
                if reason:
                    raise UnusableRecord(f"{file}: record 0 {reason}.")
                left += 1
        except UnusableRecord:
            raise
        except MorphbertError as error:
            print(f"warning: {error}; this record and those after it in the file are left out", flush=True)
    if not left:
        raise MorphbertError(
            f"there is no undamaged record in {', '.join(chosen.files)}: make the records again."
        )


class UnusableRecord(MorphbertError):
    """A record that is whole, but of another model."""


def _check_set(chosen: RecordSet, vocabularies: dict[str, str]) -> None:
    form, known = chosen.form, manifests(chosen.files)
    for file, manifest in known.items():
        _check_manifest(file, manifest, form)
        if manifest.layout != form.layout:
            raise MorphbertError(
                f"{file} has {_in_words(manifest.layout)}, but other files of this run have "
                f"{_in_words(form.layout)}. Train and evaluate on one kind only."
            )
        vocabularies.setdefault(str(manifest.tokenizer.get("vocab", {}).get("sha256")), file)


def _in_words(layout: RecordLayout) -> str:
    masks = "masks to be drawn in training" if layout.dynamic else "static masks"
    packed = (
        f"up to {layout.examples} examples in a sequence" if layout.examples else "one example in a sequence"
    )
    return f"{masks}, {packed} and {'labels' if layout.next_sentence else 'no labels'} of the segments"


def _check_manifest(file: str, manifest: Manifest, form: RecordFormat) -> None:
    shape = form.shape
    made = RecordShape(manifest.max_seq_length, manifest.max_predictions_per_seq)
    if made != shape:
        raise MorphbertError(
            f"{file} was made with max_seq_length={made.max_seq_length} and max_predictions_per_seq="
            f"{made.max_predictions_per_seq}, but the flags say --max_seq_length={shape.max_seq_length} and "
            f"--max_predictions_per_seq={shape.max_predictions_per_seq}: give --max_seq_length="
            f"{made.max_seq_length} --max_predictions_per_seq={made.max_predictions_per_seq}, add --group_by_length to "
            "train on records of several lengths, or make the records again."
        )
    size = manifest.tokenizer.get("vocab", {}).get("size")
    if size is not None and size > form.vocab_size:
        raise MorphbertError(
            f"{file} was made with a vocabulary of {size} pieces, but vocab_size in --bert_config_file is "
            f"{form.vocab_size}: set it to {size} or more, or make the records again with the right vocabulary."
        )


def check_lengths(shape: RecordShape, model: BertConfig) -> None:
    """Compares the record lengths with each other and with the model's positions."""
    if shape.max_predictions_per_seq > shape.max_seq_length:
        raise UsageError(
            f"--max_predictions_per_seq={shape.max_predictions_per_seq} is more than --max_seq_length="
            f"{shape.max_seq_length}: a sequence cannot have more masks than pieces."
        )
    if shape.max_seq_length > model.max_position_embeddings:
        raise MorphbertError(
            f"--max_seq_length={shape.max_seq_length}, but max_position_embeddings in --bert_config_file is "
            f"{model.max_position_embeddings}: shorten the records or enlarge the model's positions."
        )


def check_labels(layout: RecordLayout, model: BertConfig) -> None:
    """Refuses labels of the segments for a model without the head that learns from them."""
    if layout.next_sentence and not model.next_sentence_head:
        head = ", or give the model the head" if model.electra is None else ""
        raise MorphbertError(
            "the records have labels of the segments, but next_sentence_head in --bert_config_file is false: make the "
            f"records with create_pretraining_data.py --objective=none{head}."
        )


def warn_of_warmup(optimizer: ScheduledConfig) -> None:
    """Warns if the run ends before its learning rate reaches the highest one."""
    if optimizer.num_warmup_steps >= optimizer.num_train_steps:
        print(
            f"warning: --num_warmup_steps={optimizer.num_warmup_steps} of {optimizer.num_train_steps} steps: the "
            "learning rate never reaches --learning_rate. A tenth of the steps is usual.",
            flush=True,
        )


def check_batch(name: str, batch_size: int, num_replicas: int, parts: int = 1) -> None:
    """Checks that all replicas and all parts of an accumulated batch get the same number of sequences."""
    if batch_size % (num_replicas * parts):
        shares = f"{num_replicas} replica(s)" + (f" × {parts} accumulation steps" if parts > 1 else "")
        raise UsageError(
            f"--{name}={batch_size} is not divisible by {shares}: give a multiple of {num_replicas * parts}."
        )


def check_output_dir(path: str) -> None:
    """Makes the output directory and checks that a file can be written in it."""
    probe = os.path.join(path, ".write-test")
    with writing(path):
        tf.io.gfile.makedirs(path)
        write_text(probe, "")
        tf.io.gfile.remove(probe)


@contextlib.contextmanager
def alone_in(directory: str) -> Iterator[None]:
    """Makes the output directory and locks it against a second run; the lock ends with the process for any reason."""
    check_output_dir(directory)
    if "://" in directory:
        yield
        return
    busy = f"--output_dir={directory} is in use by another run: wait for it, stop it, or give another folder."
    with alone(os.path.join(directory, ".lock"), busy, patience=0, keep=True):
        yield
