"""The stages of `morphbert.data.build` as an Apache Beam pipeline, with the same records byte for byte.

    ranges ─► blocks ─► corpus (the order of the places)
                │  └──► plans ─► rows ────────────────────┐
                │           └──► requests ─┐              ├─► parts ─► shards ─► manifests
                └──────────────────────────┴─► answers ───┘

Unlike on one machine, no worker has the whole token store. A plan that needs a random next segment therefore requests
it by number, the block that contains it answers, and both meet in the part of their key.
"""

from __future__ import annotations

import json
import pickle
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from morphbert.atomic_files import Digesting, compressed
from morphbert.data import batches
from morphbert.data.batches import Statistics
from morphbert.data.beam import corpus as stages
from morphbert.data.beam.corpus import HELD_OUT, TRAIN, Corpus, Found, PlannedRows, Requests
from morphbert.data.beam.text import Range, documents
from morphbert.data.beam.vocabulary import PackedVocabulary, encoder_of, pieces_of, unpack
from morphbert.data.build import (
    NO_PAIR,
    NOTHING_TO_HOLD_OUT,
    BuildConfig,
    SplitResult,
    duplicates_of,
    manifests_of,
)
from morphbert.data.instances import PLAN, Wanted
from morphbert.data.manifest import Written, corpus_name, manifest_path
from morphbert.data.outputs import (
    by_length,
    expected_records,
    file_of,
    number_of_parts,
    part_edges,
    sequence_lengths,
    shards_of_size,
)
from morphbert.data.sections import plan_tasks
from morphbert.data.store import TokenStore
from morphbert.data.store_build import no_text
from morphbert.errors import MorphbertError

_KEYED = tuple[int, Any]
# The number of pieces in a planning task bounds the memory of a worker.
_PLAN_TOKENS = 1 << 18
_COPY = 1 << 20
# A key is a side and a number; an instance's place in the order is a block and a number.
_SIDE, _BLOCK = 32, 32


@dataclass(frozen=True)
class BeamJob:
    """The settings that every worker receives.

    Attributes:
      inputs: the base name and size in bytes of each input file.
      temporary: the folder for unfinished files.
      block_tokens: the number of pieces in a block.
    """

    config: BuildConfig
    vocabulary: PackedVocabulary
    inputs: tuple[dict[str, Any], ...]
    temporary: str
    block_tokens: int


class SplitOutput(NamedTuple):
    """One side of the held-out split: its files, its number of duplicates, and its number of parts."""

    name: str
    number: int
    outputs: tuple[str, ...]
    duplicates: int
    num_parts: int


def sides_of(config: BuildConfig, corpus: Corpus) -> list[SplitOutput]:
    """Returns the sides of the split.

    Raises:
      MorphbertError: there is no document, or a single one for two sides.
    """
    if not sum(corpus.total_documents):
        raise no_text(config.input_files)
    if config.eval_output_file is not None and sum(corpus.total_documents) == 1:
        raise MorphbertError(NOTHING_TO_HOLD_OUT)

    def side(name: str, number: int, outputs: tuple[str, ...]) -> SplitOutput:
        duplicates = duplicates_of(name, config.instances)
        expected = expected_records(corpus.total_tokens[number], config.instances, duplicates)
        if number == TRAIN and config.shard_bytes is not None:
            outputs = tuple(shards_of_size(outputs[0], config.shard_bytes, expected, config.instances))
        return SplitOutput(name, number, outputs, duplicates, number_of_parts(expected, len(outputs)))

    if config.eval_output_file is None:
        return [side("all", TRAIN, config.output_files)]
    return [side("train", TRAIN, config.output_files), side("eval", HELD_OUT, (config.eval_output_file,))]


def side_of(config: BuildConfig, corpus: Corpus, number: int) -> SplitOutput:
    """Returns the side with that number."""
    return next(side for side in sides_of(config, corpus) if side.number == number)


class _Tokenize(beam.DoFn):
    """Turns a range into its blocks, each with its place."""

    def __init__(self, job: BeamJob):
        self._job = job

    def process(self, element: Range) -> Iterator[tuple[stages.Place, TokenStore]]:
        texts = documents(
            element,
            lambda path: FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED),
            self._job.config.encoding,
        )
        made = stages.blocks(texts, encoder_of(self._job.vocabulary), self._job.block_tokens)
        for number, block in enumerate(made):
            yield (element.file, element.begin, number), block


class Kept(NamedTuple):
    """A block that the first of two pipelines has written to a file."""

    summary: stages.Summary
    path: str


class _Keep(beam.DoFn):
    """Writes a block to a temporary file."""

    def __init__(self, job: BeamJob):
        self._job = job

    def process(self, element: tuple[stages.Place, TokenStore]) -> Iterator[tuple[int, Kept]]:
        place, block = element
        path = _temporary(self._job, "block")
        with _create(path) as stream:
            pickle.dump(block, stream, pickle.HIGHEST_PROTOCOL)
        yield 0, Kept(stages.summary(place, block, self._job.config.eval_fraction), path)


class _Survey(beam.DoFn):
    """Writes the list of all blocks."""

    def __init__(self, job: BeamJob):
        self._job = job

    def process(self, element: tuple[int, Iterable[Kept]]) -> Iterator[str]:
        path = _temporary(self._job, "survey")
        with _create(path) as stream:
            pickle.dump(list(element[1]), stream, pickle.HIGHEST_PROTOCOL)
        _move(path, survey_path(self._job))
        yield survey_path(self._job)


def read_survey(job: BeamJob) -> list[Kept]:
    """Returns the blocks of a finished survey; none if the text has none."""
    path = survey_path(job)
    return _loaded(path) if FileSystems.exists(path) else []


def _read(number: int, path: str) -> tuple[int, TokenStore]:
    return number, _loaded(path)


def _loaded(path: str) -> Any:
    """Reads a file that a worker of this run wrote to the run's own folder."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        return pickle.loads(stream.read())


class _Plan(beam.DoFn):
    """Turns a block into the rows of its instances, by part, and their requests, by the number of the other block.

    Both are one output, which `_holds` divides: Dask's runner does not keep outputs with tags apart.
    """

    def __init__(self, job: BeamJob):
        self._job = job

    def process(
        self, element: tuple[int, TokenStore], corpus: Corpus
    ) -> Iterator[tuple[int, PlannedRows | Requests]]:
        number, block = element
        made = 0
        for side in sides_of(self._job.config, corpus):
            split = corpus.split(number, block, side.number)
            if not len(split.documents):
                continue
            instances = self._job.config.instances
            for task in plan_tasks(block, split, instances, _PLAN_TOKENS):
                plan, asking, wanted = stages.planned(block, split, task, instances, side.duplicates)
                order = (np.int64(number) << _BLOCK) + made + np.arange(len(plan))
                made += len(plan)
                part = np.searchsorted(part_edges(side.num_parts), plan["key"], "right")
                for chosen, key in _groups(part):
                    rows = stages.rows_of(block, plan[chosen], order[chosen])
                    yield (side.number << _SIDE) + key, rows
                if wanted is not None:
                    yield from self._requests(corpus, side, order[asking], part[asking], wanted)

    def _requests(
        self, corpus: Corpus, side: SplitOutput, order: Any, part: Any, wanted: Wanted
    ) -> Iterator[tuple[int, Requests]]:
        target = corpus.block_of_sentence(wanted.sentence, side.number)
        for chosen, key in _groups(target * side.num_parts + part):
            request = Requests(
                order[chosen],
                wanted.at(chosen),
                (side.number << _SIDE) + key % side.num_parts,
            )
            yield key // side.num_parts, request


def _holds(element: tuple[int, Any], kind: type) -> bool:
    return isinstance(element[1], kind)


def _groups(keys: Any) -> Iterator[tuple[Any, int]]:
    """Yields each distinct key of [N] with its positions, ascending."""
    by_key = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[by_key])) + 1
    for places in np.split(by_key, edges):
        if len(places):
            yield places, int(keys[places[0]])


class _Answer(beam.DoFn):
    """Answers the requests to a block, by part."""

    def process(
        self, element: tuple[int, dict[str, Iterable[Any]]], corpus: Corpus
    ) -> Iterator[tuple[int, Found]]:
        number, both = element
        block = next(iter(both["blocks"]))
        splits = {}
        for request in both["requests"]:
            side = request.part >> _SIDE
            if side not in splits:
                splits[side] = corpus.split(number, block, side)
            yield request.part, stages.found(block, splits[side], request)


class _Record(beam.DoFn):
    """Writes the records of a part to a temporary file for each length; emits their sums, by shard."""

    def __init__(self, job: BeamJob):
        self._job = job

    def process(
        self, element: tuple[int, Iterable[PlannedRows | Found]], corpus: Corpus
    ) -> Iterator[tuple[int, tuple[int, list[str], list[dict[str, int]]]]]:
        key, values = element
        number, part = key >> _SIDE, key & ((1 << _SIDE) - 1)
        side = side_of(self._job.config, corpus, number)
        shard = part * len(side.outputs) // side.num_parts
        given = list(values)
        store, plan = stages.joined(
            [one for one in given if isinstance(one, PlannedRows)],
            [one for one in given if isinstance(one, Found)],
        )
        instances = self._job.config.instances.of_split(side.name)
        pieces = pieces_of(self._job.vocabulary, instances.mask_words)
        names, sums = [], []
        for length, (config, chosen) in zip(
            sequence_lengths(instances), by_length(plan, instances), strict=True
        ):
            statistics = Statistics()
            names.append(_temporary(self._job, f"part-{number}-{part}-{length}"))
            with _create(names[-1]) as stream, compressed(stream, side.outputs[shard]) as out:
                for data, of_batch in batches.records(store, chosen, config, pieces):
                    out.write(data)
                    statistics.add(of_batch)
            sums.append(statistics.as_dict())
        yield (number << _SIDE) + shard, (part, names, sums)


class _Shard(beam.DoFn):
    """Joins the parts of a shard into its files under their final names; emits their sums, by side."""

    def __init__(self, job: BeamJob):
        self._job = job

    def process(
        self, element: tuple[int, Iterable[tuple[int, list[str], list[dict[str, int]]]]], corpus: Corpus
    ) -> Iterator[tuple[int, tuple[int, list[tuple[dict[str, int], dict[str, Any]]]]]]:
        key, values = element
        number, shard = key >> _SIDE, key & ((1 << _SIDE) - 1)
        side = side_of(self._job.config, corpus, number)
        parts = sorted(values)
        instances = self._job.config.instances
        sums = []
        for at, length in enumerate(sequence_lengths(instances)):
            name = _temporary(self._job, f"shard-{number}-{shard}-{length}")
            statistics = Statistics()
            with _create(name) as stream_out:
                out = Digesting(stream_out)
                for _, names, of_part in parts:
                    statistics.add(Statistics(**of_part[at]))
                    with FileSystems.open(
                        names[at], compression_type=CompressionTypes.UNCOMPRESSED
                    ) as stream:
                        while data := stream.read(_COPY):
                            out.write(data)
            _move(name, file_of(side.outputs[shard], instances, length))
            written = Written(statistics.records, out.bytes, out.sha256)
            sums.append((statistics.as_dict(), asdict(written)))
        yield number, (shard, sums)


class _Finish(beam.DoFn):
    """Writes the manifests of a side, and its result as JSON in a temporary file, from the sums of its shards."""

    def __init__(self, job: BeamJob):
        self._job = job

    def process(
        self,
        element: tuple[int, Iterable[tuple[int, list[tuple[dict[str, int], dict[str, Any]]]]]],
        corpus: Corpus,
    ) -> Iterator[str]:
        number, values = element
        config = self._job.config
        side = side_of(config, corpus, number)
        shards = [of_shard for _, of_shard in sorted(values, key=lambda one: one[0])]
        statistics = Statistics()
        for of_shard in shards:
            for sums, _ in of_shard:
                statistics.add(Statistics(**sums))
        written = [[Written(**facts) for _, facts in of_shard] for of_shard in shards]
        digest = corpus_name(corpus.digests, sum(corpus.total_documents))
        if not statistics.records:
            files = [
                file_of(output, config.instances, n)
                for output in side.outputs
                for n in sequence_lengths(config.instances)
            ]
            FileSystems.delete([name for name in files if FileSystems.exists(name)])
            raise MorphbertError(NO_PAIR)
        documents, sentences = corpus.total_documents[number], int(corpus.sentences[number, -1])
        result = SplitResult(side.name, documents, sentences, statistics)
        tokenizer = unpack(self._job.vocabulary)
        origin = result.origin(config, self._job.inputs, digest)
        for manifest, names in manifests_of(config, tokenizer, origin, side.outputs, written):
            for name in names:
                _write(self._job, manifest_path(name), manifest.to_json())
        content = json.dumps([result.name, documents, sentences, statistics.as_dict()])
        _write(self._job, result_path(self._job, number), content)
        yield side.name


def _temporary(job: BeamJob, name: str) -> str:
    # A part may be made twice if a worker is lost or slow, so each attempt has its own name.
    return FileSystems.join(job.temporary, f"{name}-{uuid.uuid4().hex}")


def _create(path: str) -> Any:
    return FileSystems.create(path, "application/octet-stream", CompressionTypes.UNCOMPRESSED)


def _move(path: str, final: str) -> None:
    if FileSystems.exists(final):
        FileSystems.delete([final])
    FileSystems.rename([path], [final])


def _write(job: BeamJob, path: str, text: str) -> None:
    name = _temporary(job, "text")
    with _create(name) as stream:
        stream.write(text.encode())
    _move(name, path)


def result_path(job: BeamJob, number: int) -> str:
    """Returns the path of a side's result, for the program that started the pipeline."""
    return FileSystems.join(job.temporary, f"result-{number}.json")


def survey_path(job: BeamJob) -> str:
    """Returns the path of the list that `construct_survey` makes; there is none for a text without a piece."""
    return FileSystems.join(job.temporary, "survey")


def _parts(job: BeamJob, corpus: Corpus) -> Iterator[tuple[int, PlannedRows]]:
    """Emits every part once, so that a part without instances also gets its place in its shard."""
    tokens = np.zeros(0, np.uint16)
    nothing = PlannedRows(np.zeros(0, np.int64), np.zeros(0, PLAN), tokens, np.zeros(0, np.uint8))
    for side in sides_of(job.config, corpus):
        for part in range(side.num_parts):
            yield (side.number << _SIDE) + part, nothing


def construct(pipeline: beam.Pipeline, job: BeamJob, ranges: list[Range]) -> None:
    """Builds the pipeline from all stages."""
    fraction = job.config.eval_fraction
    placed = _tokenized(pipeline, job, ranges)
    corpus = beam.pvalue.AsSingleton(
        placed
        | "Summarize" >> beam.MapTuple(lambda place, block: stages.summary(place, block, fraction))
        | "List" >> beam.combiners.ToList()
        | "Corpus" >> beam.Map(Corpus.of, fraction)
    )
    blocks = placed | "Number" >> beam.Map(
        lambda element, known: (known.numbers[element[0]], element[1]), corpus
    ).with_output_types(_KEYED)
    _make_records(pipeline, job, blocks, corpus)


def construct_survey(pipeline: beam.Pipeline, job: BeamJob, ranges: list[Range]) -> None:
    """Builds the first of two pipelines: it writes each block to a file, and a list of them to `survey_path`.

    For a runner without side inputs that are computed once: the second pipeline knows the corpus from the beginning.
    """
    (
        _tokenized(pipeline, job, ranges)
        | "Keep" >> beam.ParDo(_Keep(job)).with_output_types(_KEYED)
        | "All" >> beam.GroupByKey()
        | "Survey" >> beam.ParDo(_Survey(job))
    )


def construct_from_survey(pipeline: beam.Pipeline, job: BeamJob, survey: list[Kept]) -> None:
    """Builds the second of two pipelines, which makes the records from the blocks of a survey."""
    corpus = Corpus.of([one.summary for one in survey], job.config.eval_fraction)
    sides_of(job.config, corpus)  # errors in the text are reported before the workers begin
    numbered = sorted((corpus.numbers[one.summary.place], one.path) for one in survey)
    blocks = (
        pipeline
        | "Blocks" >> beam.Create(numbered)
        | "Read" >> beam.MapTuple(_read).with_output_types(_KEYED)
    )
    _make_records(pipeline, job, blocks, corpus)


def _tokenized(pipeline: beam.Pipeline, job: BeamJob, ranges: list[Range]) -> beam.PCollection:
    ranges_read = pipeline | "Ranges" >> beam.Create(ranges, reshuffle=True)
    return ranges_read | "Tokenize" >> beam.ParDo(_Tokenize(job))


def _make_records(
    pipeline: beam.Pipeline, job: BeamJob, blocks: beam.PCollection, corpus: Corpus | beam.pvalue.AsSingleton
) -> None:
    """Adds the stages from numbered blocks to manifests."""
    planned = blocks | "Plan" >> beam.ParDo(_Plan(job), corpus).with_output_types(_KEYED)
    rows = planned | "Rows" >> beam.Filter(_holds, PlannedRows)
    requests = planned | "Requests" >> beam.Filter(_holds, Requests)
    answers = (
        {"blocks": blocks, "requests": requests}
        | "Meet" >> beam.CoGroupByKey()
        | "Answer" >> beam.ParDo(_Answer(), corpus).with_output_types(_KEYED)
    )
    everywhere = (
        pipeline
        | "Start" >> beam.Create([job])
        | "Parts" >> beam.FlatMap(_parts, corpus).with_output_types(_KEYED)
    )
    (
        (rows, answers, everywhere)
        | "Gather" >> beam.Flatten()
        | "Part" >> beam.GroupByKey()
        | "Record" >> beam.ParDo(_Record(job), corpus).with_output_types(_KEYED)
        | "Shard" >> beam.GroupByKey()
        | "Write" >> beam.ParDo(_Shard(job), corpus).with_output_types(_KEYED)
        | "Side" >> beam.GroupByKey()
        | "Finish" >> beam.ParDo(_Finish(job), corpus)
    )
