"""Makes record files from raw text on one machine: `--mode=fast`.

    text ─ store_build ─► token store ─ shards (instances, batches) ─► record files

Every step writes files atomically into a working folder in the token store, and skips existing ones. An interrupted run
therefore continues, and ends with the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from morphbert import __version__, atomic_files, files
from morphbert.data import listed_words, masking
from morphbert.data.arrays import Bool
from morphbert.data.batches import Pieces, Statistics
from morphbert.data.config import InstanceConfig
from morphbert.data.documents import held_out
from morphbert.data.leftovers import check_replaceable, remove_leftovers
from morphbert.data.locks import Lock, lock_file, only_writer, patiently
from morphbert.data.manifest import (
    Manifest,
    Origin,
    Written,
    corpus_digest,
    inputs_of,
    make_manifest,
    output_names,
    write_manifests,
)
from morphbert.data.outputs import (
    expected_records,
    file_of,
    final_names,
    number_of_parts,
    sequence_lengths,
    shards_of_size,
)
from morphbert.data.sections import copies_of, pieces_of, split_of
from morphbert.data.shards import Job, make_plans, write_shards
from morphbert.data.store import STORE_FILE, TokenStore
from morphbert.data.store_build import prepare_store
from morphbert.errors import MorphbertError, UsageError
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import CLS, MASK, SEP, UNK

# The file that identifies the unfinished work in a folder.
_JOB_FILE = "job.json"

NOTHING_TO_HOLD_OUT = (
    "the input is one document, so none can be held out. Leave --eval_fraction out, or put an empty line between "
    "documents."
)
NO_PAIR = (
    "the text gives no pair of segments, because each of its documents has a single piece. Are they separated by "
    "empty lines, with one sentence per line?"
)


@dataclass(frozen=True)
class BuildConfig:
    """The configuration of one run: input, records and output.

    Attributes:
      output_files: the final names, shards included; with `shard_bytes` one name, which is divided into shards of about
        that size.
      eval_output_file: the file for held-out documents.
      token_store: a folder on this machine.
      num_workers: the number of processes.
      encoding: the encoding of the input files.
      sources: for a mixture by weight: for each source, the number of its input files and its share.
    """

    input_files: tuple[str, ...]
    output_files: tuple[str, ...]
    instances: InstanceConfig
    token_store: str
    eval_output_file: str | None = None
    eval_fraction: float = 0.0
    num_workers: int = 1
    shard_bytes: int | None = None
    encoding: str = "utf-8"
    sources: tuple[tuple[int, int], ...] = ()

    @property
    def all_outputs(self) -> tuple[str, ...]:
        """Returns the output files of both sides, as far as they are known before the text is read."""
        held_out = (self.eval_output_file,) if self.eval_output_file else ()
        return (*self.output_files, *held_out)

    def __post_init__(self) -> None:
        """Raises UsageError for outputs that would overwrite each other or the input, or an invalid split."""
        outputs = self.all_outputs
        if len(set(outputs)) < len(outputs):
            raise UsageError(f"two output files have the same name: {', '.join(outputs)}.")
        both = set(map(os.path.abspath, outputs)) & set(map(os.path.abspath, self.input_files))
        if both:
            raise UsageError(f"{both.pop()} is both an input and an output file.")
        if not 0 <= self.eval_fraction < 1:
            raise UsageError(
                f"--eval_fraction={self.eval_fraction} is out of range: it must be at least 0 and below 1."
            )
        if (self.eval_fraction > 0) != (self.eval_output_file is not None):
            raise UsageError(
                "--eval_fraction and --eval_output_file belong together: received "
                f"{self.eval_fraction} and {self.eval_output_file}."
            )
        if self.instances.eval_masked_lm_prob is not None and self.eval_output_file is None:
            raise UsageError(
                f"--eval_masked_lm_prob={self.instances.eval_masked_lm_prob} applies to held-out records only. Give "
                "--eval_fraction and --eval_output_file, or leave it out."
            )
        if self.shard_bytes is not None and len(self.output_files) != 1:
            raise UsageError(
                "--shard_megabytes makes its names from one --output_file, and does not go together with "
                "--num_shards."
            )
        if self.num_workers < 1:
            raise UsageError(f"--num_workers={self.num_workers} is out of range: it must be at least 1.")


class SplitResult(NamedTuple):
    """The result for one side of the held-out split."""

    name: str  # "all", "train" or "eval"
    documents: int
    sentences: int
    statistics: Statistics

    def origin(self, config: BuildConfig, inputs: Sequence[dict[str, Any]], corpus: str) -> Origin:
        """Returns the text of this side, for its manifests; see `Origin` for `inputs` and `corpus`."""
        return Origin(
            inputs=inputs,
            corpus=corpus,
            split=self.name,
            documents=self.documents,
            sentences=self.sentences,
            eval_fraction=config.eval_fraction,
        )


class _Split(NamedTuple):
    """One side of the held-out split: its documents [D], number of duplicates, and files."""

    name: str
    documents: Bool
    outputs: tuple[str, ...]
    duplicates: int
    mixture: tuple[Source, ...] = ()


@dataclass(frozen=True)
class Source:
    """One source of a mixture on one side of the split.

    inputs: base names of its files. weight: its share of the pieces that are taken. documents, pieces: their numbers.
    end: the number in the store after its last document. times: how often each document is gone through on average;
    taken: pieces in all of these.
    """

    inputs: tuple[str, ...]
    weight: float
    documents: int
    pieces: int
    end: int
    times: float
    taken: int

    def fact(self) -> dict[str, Any]:
        """Returns its description in a manifest."""
        return {
            "inputs": list(self.inputs),
            "weight": self.weight,
            "documents": self.documents,
            "pieces": self.pieces,
            "times": self.times,
            "pieces_taken": self.taken,
        }

    def __str__(self) -> str:
        more = " …" if self.inputs[1:] else ""
        return (
            f"{self.inputs[0]}{more}: {self.taken:,} pieces taken, each of {self.documents:,} documents with "
            f"{self.pieces:,} pieces {self.times:.2f} times on average"
        )


def sources_of(config: BuildConfig, store: TokenStore, chosen: Bool) -> tuple[Source, ...]:
    """Returns how often the documents of each source are gone through, so that the shares come out.

    All together they give as many pieces as without weights.

    Raises:
      MorphbertError: a source has no text, or an older version made the token store.
    """
    if not config.sources:
        return ()
    of_files = json.loads(files.read_bytes(os.path.join(config.token_store, STORE_FILE))).get(
        "documents_of_files"
    )
    if of_files is None:
        raise MorphbertError(
            f"the token store {config.token_store} was made by an older version, which did not note which documents "
            "are of which file: remove it, or give another --token_store."
        )
    total, shares = pieces_of(store, chosen), sum(share for _, share in config.sources)
    found, first_file, begin = [], 0, 0
    for number, share in config.sources:
        inputs = config.input_files[first_file : first_file + number]
        end = begin + sum(of_files[first_file : first_file + number])
        own = np.zeros_like(chosen)
        own[begin:end] = chosen[begin:end]
        pieces = pieces_of(store, own)
        if not pieces:
            raise MorphbertError(
                f"--input_file: {', '.join(inputs)} has a weight, and no text to train on: leave it out."
            )
        times = config.instances.dupe_factor * share / shares * total / pieces
        numbers = np.flatnonzero(own)
        copies = copies_of([(end, times)], numbers, config.instances.random_seed)
        taken = int((copies * (store.document_tokens[numbers + 1] - store.document_tokens[numbers])).sum())
        names = tuple(map(os.path.basename, inputs))
        found.append(
            Source(
                inputs=names,
                weight=share / shares,
                documents=len(numbers),
                pieces=pieces,
                end=end,
                times=times,
                taken=taken,
            )
        )
        first_file, begin = first_file + number, end
    return tuple(found)


def known_pieces(tokenizer: Tokenizer, mask_words: Sequence[str] = ()) -> Pieces:
    """Returns the facts that instance making needs about a vocabulary that `check_for_pretraining` has accepted."""
    ids = tokenizer.vocab
    real = masking.real_pieces(tokenizer.vocabulary.tokens)
    if not len(real):
        raise MorphbertError("the vocabulary contains only special tokens: learn one from text.")
    listed = listed_words.pieces_of_words(mask_words, tokenizer)
    if mask_words and not listed:
        raise MorphbertError(
            f"none of the {len(mask_words)} words of --mask_words_file, {mask_words[0]!r} among them, can be "
            "written with the pieces of this vocabulary."
        )
    return Pieces(cls=ids[CLS], sep=ids[SEP], mask=ids[MASK], unk=ids[UNK], real=real, listed=listed)


def build(
    config: BuildConfig, tokenizer: Tokenizer, say: Callable[[str], None], bars: Callable[..., Any]
) -> list[SplitResult]:
    """Makes the records of a run.

    Args:
      say: receives one line for each stage.
      bars: makes a progress bar, with the signature of `tqdm.tqdm`.

    Raises:
      MorphbertError: the input is invalid, the disk is full, or another process uses the folder.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(only_writer(config.all_outputs))
        check_replaceable(config.all_outputs)
        started = time.monotonic()
        lock = stack.enter_context(lock_file(os.path.join(config.token_store, ".lock")))
        store = _prepare(config, tokenizer, lock, say, bars)
        say(
            f"token store: {store.num_documents:,} documents, {store.num_sentences:,} sentences, "
            f"{store.num_tokens:,} pieces in {time.monotonic() - started:.1f} s"
        )
        work = _work_folder(config)
        results = []
        for split in _splits(config, store):
            started = time.monotonic()
            for source in split.mixture:
                say(f"mixture: {source}")
            result = _make_split(config, tokenizer, store, split, work=work, bars=bars)
            results.append(result)
            remove_leftovers(final_names(split.outputs, config.instances), say)
            names = final_names(split.outputs, config.instances)
            where = names[0] if len(names) == 1 else f"{len(names)} files, {names[0]} …"
            say(
                f"{result.name}: {result.statistics.records:,} records in {where}, in "
                f"{time.monotonic() - started:.1f} s"
            )
        _throw_away(work)
    return results


def _prepare(
    config: BuildConfig,
    tokenizer: Tokenizer,
    lock: Lock,
    say: Callable[[str], None],
    bars: Callable[..., Any],
) -> TokenStore:
    """Opens or makes the token store, and locks it against changes while it is read."""
    alone = patiently(lock, exclusive=True) or not patiently(lock, exclusive=False)
    total = sum(int(files.identity(path)["bytes"]) for path in config.input_files)
    with bars(desc="tokenizing", total=total, unit="B", unit_scale=True) as bar:
        store = prepare_store(
            config.token_store,
            config.input_files,
            tokenizer,
            num_workers=config.num_workers,
            say=say,
            progress=lambda read: bar.update(read - bar.n),
            may_write=alone,
            encoding=config.encoding,
        )
    lock.try_shared()
    return store


def _work_folder(config: BuildConfig) -> str:
    """Returns the folder of unfinished work for these outputs; deletes work that was begun with other flags."""
    outputs = [*config.output_files, config.eval_output_file or ""]
    names = [name if files.is_remote(name) else os.path.abspath(name) for name in outputs]
    number = hashlib.blake2b("\n".join(names).encode(), digest_size=8).hexdigest()
    folder = os.path.join(config.token_store, f"work-{number}")
    job = {
        "version": __version__,
        "store": json.loads(files.read_bytes(os.path.join(config.token_store, STORE_FILE))),
        "instances": asdict(config.instances),
        "eval_fraction": config.eval_fraction,
        "shard_bytes": config.shard_bytes,
        "sources": config.sources,
    }
    content = json.dumps(job, sort_keys=True).encode()
    path = os.path.join(folder, _JOB_FILE)
    if not (os.path.exists(path) and files.read_bytes(path) == content):
        _throw_away(folder)
        with atomic_files.atomic_write(path) as stream:
            stream.write(content)
    return folder


def _throw_away(folder: str) -> None:
    """Deletes a working folder, its identifying file first, so that no process mistakes the rest for a whole folder."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, _JOB_FILE))
    shutil.rmtree(folder, ignore_errors=True)


def _splits(config: BuildConfig, store: TokenStore) -> Iterator[_Split]:
    evaluation = held_out(store.digests, config.eval_fraction)
    duplicates = duplicates_of("train", config.instances)
    outputs = config.output_files
    if config.shard_bytes is not None:
        expected = expected_records(pieces_of(store, ~evaluation), config.instances, duplicates)
        outputs = tuple(shards_of_size(outputs[0], config.shard_bytes, expected, config.instances))
    if config.eval_output_file is None:
        yield _Split("all", ~evaluation, outputs, duplicates, sources_of(config, store, ~evaluation))
        return
    if not evaluation.any():
        raise MorphbertError(NOTHING_TO_HOLD_OUT)
    yield _Split("train", ~evaluation, outputs, duplicates, sources_of(config, store, ~evaluation))
    yield _Split("eval", evaluation, (config.eval_output_file,), duplicates_of("eval", config.instances))


def _make_split(
    config: BuildConfig,
    tokenizer: Tokenizer,
    store: TokenStore,
    chosen: _Split,
    *,
    work: str,
    bars: Callable[..., Any],
) -> SplitResult:
    folder = os.path.join(work, chosen.name)
    split = replace(
        split_of(store, chosen.documents, folder),
        times=tuple((source.end, source.times) for source in chosen.mixture),
    )
    expected = expected_records(pieces_of(store, chosen.documents), config.instances, chosen.duplicates)
    outputs = chosen.outputs
    job = Job(
        store=config.token_store,
        folder=folder,
        split=split,
        config=config.instances.of_split(chosen.name),
        duplicates=chosen.duplicates,
        pieces=known_pieces(tokenizer, config.instances.mask_words),
        num_parts=number_of_parts(expected, len(outputs)),
        outputs=outputs,
    )
    records = make_plans(job, store, config.num_workers)
    if not records:
        raise MorphbertError(NO_PAIR)
    with bars(desc=f"{chosen.name} records", total=records, unit=" records", unit_scale=True) as bar:
        shards = write_shards(job, config.num_workers, bar.update)
    statistics = Statistics()
    for of_shard in shards:
        for of_length in of_shard:
            statistics.add(of_length.statistics)
    result = SplitResult(chosen.name, split.num_documents, split.num_sentences, statistics)
    origin = result.origin(config, inputs_of(config.input_files), corpus_digest(store.digests))
    written = [[of_length.written for of_length in of_shard] for of_shard in shards]
    for manifest, names in manifests_of(config, tokenizer, origin, outputs, written):
        mixture = [source.fact() for source in chosen.mixture]
        write_manifests(replace(manifest, mixture=mixture), names)
    return result


def manifests_of(
    config: BuildConfig,
    tokenizer: Tokenizer,
    origin: Origin,
    outputs: Sequence[str],
    shards: Sequence[Sequence[Written]],
) -> Iterator[tuple[Manifest, list[str]]]:
    """Returns manifests with their output files: one for all files, or with length bins one for each length.

    Args:
      shards: the written files of each of `outputs`, by length.
    """
    instances = config.instances.of_split(origin.split)
    duplicates = duplicates_of(origin.split, config.instances)
    for number, length in enumerate(sequence_lengths(instances)):
        of_length = instances.of_bin(length) if instances.length_bins else instances
        names = [file_of(output, instances, length) for output in outputs]
        written = dict(zip(output_names(names), [shard[number] for shard in shards], strict=True))
        manifest = make_manifest(tokenizer, of_length, "fast", origin, written)
        yield replace(manifest, dupe_factor=duplicates, length_bins=list(config.instances.length_bins)), names


def duplicates_of(split: str, config: InstanceConfig) -> int:
    """Returns the number of duplicates of a side: 1 for held-out text, whose duplicates would only cost time."""
    return 1 if split == "eval" else config.dupe_factor
