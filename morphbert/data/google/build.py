"""Makes record files from raw text as google-research/bert does: `--mode=google`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

from morphbert import atomic_files
from morphbert.data import manifest
from morphbert.data.batches import Statistics
from morphbert.data.build import NOTHING_TO_HOLD_OUT, BuildConfig, SplitResult, known_pieces
from morphbert.data.config import InstanceConfig
from morphbert.data.documents import held_out
from morphbert.data.google import instances as google_mode
from morphbert.data.google.instances import Document, TrainingInstance
from morphbert.data.leftovers import check_replaceable, remove_leftovers
from morphbert.data.locks import only_writer
from morphbert.data.records import RecordWriter, serialize_example
from morphbert.data.store_build import no_text
from morphbert.errors import MorphbertError, UsageError
from morphbert.text.tokenizer import Tokenizer


def check_flags(objective: str, masking_unit: str | None, given: Sequence[str]) -> None:
    """Refuses flags without a counterpart in google-research/bert.

    Raises:
      UsageError: there is such a flag; the message names it.
    """
    if objective != "nsp":
        raise UsageError(
            f"--objective={objective} needs --mode=fast: google-research/bert supports nsp only."
        )
    if masking_unit is not None:
        raise UsageError(
            f"--masking_unit={masking_unit} needs --mode=fast. For google-research/bert's whole words use "
            "--do_whole_word_mask."
        )
    if given:
        raise UsageError(f"--{given[0]} needs --mode=fast: google-research/bert has no such flag.")


def build(config: BuildConfig, tokenizer: Tokenizer, say: Callable[[str], None]) -> list[SplitResult]:
    """Makes the records of a run. With several output files, each gets every n-th record in turn.

    Documents are held out before the first random number is drawn; without `eval_fraction` the output is the
    original's.
    """
    known = known_pieces(tokenizer)
    is_continuation = tokenizer.vocabulary.continuations
    pieces = google_mode.VocabularyFacts(known.cls, known.sep, known.mask, is_continuation)
    started = time.monotonic()

    def encode(line: str) -> list[int]:
        return tokenizer.convert_tokens_to_ids(tokenizer.tokenize(line))

    with ExitStack() as stack:
        stack.enter_context(only_writer(config.all_outputs))
        check_replaceable(config.all_outputs)
        documents, digests = google_mode.read_documents(config.input_files, encode, config.encoding)
        if not documents:
            raise no_text(config.input_files)
        say(f"read {len(documents):,} documents in {time.monotonic() - started:.1f} s")
        evaluation = held_out(digests, config.eval_fraction)
        if config.eval_output_file is not None and not evaluation.any():
            raise MorphbertError(NOTHING_TO_HOLD_OUT)
        train = [document for document, out in zip(documents, evaluation, strict=True) if not out]
        held = [document for document, out in zip(documents, evaluation, strict=True) if out]
        name = "all" if config.eval_output_file is None else "train"
        sides = [_Side(name, train, config.instances, config.output_files)]
        if config.eval_output_file is not None:
            once = replace(config.instances, dupe_factor=1)
            sides.append(_Side("eval", held, once, [config.eval_output_file]))
        corpus = manifest.corpus_digest(digests)
        results = [_build_split(config, tokenizer, pieces, side, corpus) for side in sides]
        remove_leftovers(config.all_outputs, say)
    for result in results:
        say(
            f"{result.name}: {result.statistics.records:,} records, {time.monotonic() - started:.1f} s so far"
        )
    return results


class _Side(NamedTuple):
    """One side of the held-out split."""

    name: str
    documents: list[Document]
    instances: InstanceConfig
    outputs: Sequence[str]


def _build_split(
    config: BuildConfig,
    tokenizer: Tokenizer,
    pieces: google_mode.VocabularyFacts,
    side: _Side,
    corpus: str,
) -> SplitResult:
    outputs = side.outputs
    made = google_mode.create_instances(side.documents, side.instances, pieces)
    room = len(made) * side.instances.max_seq_length
    statistics = Statistics(len(made), room, examples=len(made))
    unknown = tokenizer.vocab["[UNK]"]
    with ExitStack() as stack:
        streams, writers = [], []
        for output in outputs:
            stream = atomic_files.Digesting(stack.enter_context(atomic_files.atomic_write(output)))
            streams.append(stream)
            writers.append(RecordWriter(stack.enter_context(atomic_files.compressed(stream, output))))
        for index, instance in enumerate(made):
            features = google_mode.features(instance, side.instances)
            writers[index % len(writers)].write(serialize_example(features))
            _count(statistics, instance, unknown)
    written = [
        manifest.Written(len(range(index, len(made), len(outputs))), stream.bytes, stream.sha256)
        for index, stream in enumerate(streams)
    ]
    result = SplitResult(side.name, len(side.documents), sum(map(len, side.documents)), statistics)
    origin = result.origin(config, manifest.inputs_of(config.input_files), corpus)
    named = dict(zip(manifest.output_names(outputs), written, strict=True))
    manifest.write_manifests(
        manifest.make_manifest(tokenizer, side.instances, "google", origin, named), outputs
    )
    return result


def _count(statistics: Statistics, instance: TrainingInstance, unknown: int) -> None:
    statistics.pieces += len(instance.ids)
    statistics.masked += len(instance.positions)
    statistics.positives += instance.is_random_next
    # Counted with the original pieces in place of the masks.
    standing = list(instance.ids).count(unknown)
    same = sum(instance.ids[position] == unknown for position in instance.positions)
    statistics.unknown += standing - same + list(instance.labels).count(unknown)
