"""Which records a run reads: one set of files for each length, and the order in which steps take from them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, cast

import tensorflow as tf

from morphbert.data.manifest import Manifest, load_manifest
from morphbert.data.mixture import counts_after, turns
from morphbert.data.records import RecordLayout, RecordShape
from morphbert.data.whole_set import Access, name_in
from morphbert.errors import MorphbertError
from morphbert.model.config import BertConfig
from morphbert.text.vocabulary import VocabularyDigest
from morphbert.train.cluster.strategy import Devices
from morphbert.train.input.dynamic_masks import MaskRules
from morphbert.train.input.records import (
    Mixture,
    Reading,
    RecordFormat,
    count_records,
    count_usable,
    find_batch,
    find_layout,
    per_replica,
    training_dataset,
)
from morphbert.train.mask_schedule import MaskSchedule


@dataclasses.dataclass(frozen=True)
class RecordSet:
    """Record files of one length.

    Attributes:
      files: their paths.
      form: the form that their records need.
      share: of a run's steps that take from this set, in whole numbers: its records where there are several sets.
      first_file: the number of the first file among all of the run, which masks are drawn by.
      batch_size: of the steps that take from this set; None for the run's.
      first_record: how many records of the same files an earlier set takes, counted over all passes.
      mixture: how many of the files, one after the other, are of one source, and its share of the records; empty where
        all files are alike.
    """

    files: tuple[str, ...]
    form: RecordFormat
    share: int = 1
    first_file: int = 0
    batch_size: int | None = None
    first_record: int = 0
    mixture: tuple[tuple[int, int], ...] = ()

    @property
    def sources(self) -> tuple[tuple[str, ...], ...]:
        """The files of each source of a mixture."""
        ends = list(itertools.accumulate(number for number, _ in self.mixture))
        return tuple(self.files[first:end] for first, end in zip([0, *ends], ends, strict=False))

    @property
    def shares(self) -> tuple[int, ...]:
        """The shares of a mixture's sources."""
        return tuple(share for _, share in self.mixture)


def mixed(
    sets: Sequence[RecordSet], sources: Sequence[Sequence[str]], shares: Sequence[int]
) -> tuple[RecordSet, ...]:
    """Returns the sets with the shares of the sources that their files are of.

    Raises:
      MorphbertError: a source has no files of the length of one of the sets.
    """
    found = []
    for chosen in sets:
        files = set(chosen.files)
        numbers = [sum(file in files for file in source) for source in sources]
        for source, number in zip(sources, numbers, strict=True):
            if not number:
                raise MorphbertError(
                    f"--input_file: a mixture needs records of all lengths from each source, and there are none of "
                    f"max_seq_length={chosen.form.shape.max_seq_length} in {', '.join(source)}."
                )
        pairs = zip(numbers, shares, strict=True)
        found.append(dataclasses.replace(chosen, mixture=tuple(pairs)))
    return tuple(found)


def _open_with_tensorflow(path: str) -> IO[bytes]:
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(path)
    return cast("IO[bytes]", tf.io.gfile.GFile(path, "rb"))


# How whole sets are looked at here, on any path that TensorFlow knows.
WITH_TENSORFLOW = Access(
    tf.io.gfile.exists, lambda path: int(tf.io.gfile.stat(path).length), _open_with_tensorflow
)


def manifests(files: Sequence[str]) -> dict[str, Manifest]:
    """Returns the manifests beside record files, by record file; files without one are left out."""
    found = {file: load_manifest(file, _open_with_tensorflow) for file in files}
    return {file: manifest for file, manifest in found.items() if manifest is not None}


def vocabulary_of(files: Sequence[str]) -> VocabularyDigest | None:
    """Returns the vocabulary that record files were made with, from the first manifest; None without any."""
    for file in files:
        manifest = load_manifest(file, _open_with_tensorflow)
        sha256 = manifest and manifest.tokenizer.get("vocab", {}).get("sha256")
        if sha256:
            return VocabularyDigest(str(sha256), f"the records, {file}")
    return None


def known_number(files: Sequence[str]) -> int | None:
    """Returns how many records the files hold, from their manifests; None where one has none."""
    known = manifests(files)
    names = {f: name_in(manifest, f) for f, manifest in known.items()}
    counts = [known[f].outputs[name] if (name := names.get(f)) is not None else None for f in files]
    return sum(cast("list[int]", counts)) if all(count is not None for count in counts) else None


def num_records(files: Sequence[str]) -> int:
    """Returns how many records the files hold: from their manifests where all have one, else by reading them."""
    number = known_number(files)
    return count_records(files) if number is None else number


def mask_rules(files: Sequence[str], predictions: int, seed: int | None) -> MaskRules:
    """Returns the masking of records without masks, from their manifests; also the seed, where none is given.

    Raises:
      MorphbertError: a file has no manifest, or they say different things.
    """
    known = manifests(files)
    for file in files:
        if file not in known:
            raise MorphbertError(
                f"{file} has records without masks, and the manifest beside it, which says how to mask them, is "
                "missing: copy it there too, or make the records again."
            )
    first = files[0]
    seed = known[first].random_seed if seed is None else seed
    rules = MaskRules.from_manifest(known[first].masking, predictions, seed, first)
    for file in files[1:]:
        if known[file].masking != known[first].masking:
            raise MorphbertError(
                f"{first} and {file} were made for different masks: train on one kind only, or make them again."
            )
    return rules


@dataclasses.dataclass(frozen=True)
class SetFinder:
    """Turns the files that a user named into sets.

    Attributes:
      model: that is trained on them.
      shape: the flags' shape of the records; of the longest, with `by_length`, or None where only the manifests
        tell.
      by_length: the flag that asks for several lengths, which the manifests then tell apart; None for one length.
      layout: of the records, which all of them have to share.
      masks: for records without masks.
      skip_corrupt: leave damaged records out.
      schedule: the share of pieces that they predict in training; None for that of their manifests.
    """

    model: BertConfig
    shape: RecordShape | None
    by_length: str | None
    layout: RecordLayout
    masks: MaskRules | None
    skip_corrupt: bool = False
    schedule: MaskSchedule | None = None

    @classmethod
    def of(
        cls,
        model: BertConfig,
        shape: RecordShape | None,
        by_length: str | None,
        files: Sequence[str],
        seed: int,
        skip_corrupt: bool = False,
        schedule: MaskSchedule | None = None,
    ) -> SetFinder:
        """Looks at the first record of `files`, and at the manifests of all where masks have to be drawn.

        Raises:
          MorphbertError: there is a schedule, and the records have masks.
        """
        layout = find_layout(files)
        if schedule is not None and not layout.dynamic:
            raise MorphbertError(
                f"--masked_lm_schedule={schedule}: the masks of {files[0]} stand in the records: make them again with "
                "create_pretraining_data.py --masking=dynamic, or leave the flag out."
            )
        masks = mask_rules(files, 1, seed) if layout.dynamic else None  # a set's own P is put in with it
        return cls(
            model=model,
            shape=shape,
            by_length=by_length,
            layout=layout,
            masks=masks,
            skip_corrupt=skip_corrupt,
            schedule=schedule,
        )

    def for_evaluation(self, files: Sequence[str]) -> SetFinder:
        """Returns the same for held-out records, whose masks are in the records or drawn by their manifests."""
        layout = dataclasses.replace(self.layout, dynamic=find_layout(files).dynamic)
        masks = mask_rules(files, 1, None) if layout.dynamic else None
        return dataclasses.replace(self, layout=layout, masks=masks, schedule=None)

    def sets(self, files: Sequence[str]) -> tuple[RecordSet, ...]:
        """Returns the sets of some files, the shortest records first.

        Raises:
          MorphbertError: with `by_length`, a file has no manifest, or the longest records are not as long as the
            flags say.
        """
        if not files:
            return ()
        if self.by_length is None:
            assert self.shape is not None
            return (RecordSet(tuple(files), self._form(self.shape)),)
        known = manifests(files)
        by_shape: dict[tuple[int, int], list[str]] = {}
        for file in files:
            if file not in known:
                raise MorphbertError(
                    f"{self.by_length}: the manifest beside {file}, which tells its length, is missing: copy it "
                    "there too, or make the records again."
                )
            by_shape.setdefault((known[file].max_seq_length, known[file].max_predictions_per_seq), []).append(
                file
            )
        ordered = sorted(by_shape)
        longest = RecordShape(*ordered[-1])
        if self.shape is not None and longest != self.shape:
            raise MorphbertError(
                f"{self.by_length}: the longest records have max_seq_length={longest.max_seq_length} and "
                f"max_predictions_per_seq={longest.max_predictions_per_seq}: give --max_seq_length="
                f"{longest.max_seq_length} --max_predictions_per_seq={longest.max_predictions_per_seq}."
            )
        found, first = [], 0
        for shape in ordered:
            names = tuple(by_shape[shape])
            count = num_records(names)
            if count:  # a text may have no example of some length
                found.append(RecordSet(names, self._form(RecordShape(*shape)), count, first))
            first += len(names)
        if not found:
            raise MorphbertError(f"{self.by_length}: there is no record in {', '.join(files)}.")
        return tuple(found)

    def _form(self, shape: RecordShape) -> RecordFormat:
        places = shape.max_predictions_per_seq
        if self.schedule is not None:
            places = max(places, self.schedule.places(shape.max_seq_length))
        masks = self.masks and dataclasses.replace(self.masks, predictions=places)
        return RecordFormat(
            shape=shape,
            vocab_size=self.model.vocab_size,
            type_vocab_size=self.model.type_vocab_size,
            layout=self.layout,
            masks=masks,
            skip_corrupt=self.skip_corrupt,
        )


def one_after_the_other(shares: Sequence[int]) -> Iterator[int]:
    """Endless: the number of the set whose turn it is, each as often as its share says before the next comes."""
    for number, share in enumerate(shares):
        yield from itertools.repeat(number, share)
    while True:
        yield len(shares) - 1


@dataclasses.dataclass(frozen=True)
class Portion:
    """Input of one call of the compiled loop: `count` batches of one shape; `first` if it is that shape's first call.

    `records` is where they come from, None where they come from memory; `named` says which examples are in a batch, by
    its number among them.
    """

    records: RecordSet | None
    iterator: tf.data.Iterator
    count: int
    first: bool
    named: Callable[[int], str] = lambda number: ""


def _place(files: Sequence[str], form: RecordFormat, records: int) -> tuple[int, int]:
    """Returns where files stand after so many records: (pass, records of that pass)."""
    if not records:
        return 0, 0
    # A manifest counts damaged records too.
    return divmod(records, count_usable(files, form) if form.skip_corrupt else num_records(files))


def _in_ranges(places: Sequence[tuple[str, int]]) -> str:
    """(a, 3), (b, 1), (a, 5), (a, 4) → `3-5 of a; 1 of b`."""
    by_file: dict[str, list[int]] = {}
    for file, number in sorted(places):
        by_file.setdefault(file, []).append(number)
    shown = []
    for file, numbers in by_file.items():
        spans: list[list[int]] = []
        for number in numbers:
            if spans and number == spans[-1][1] + 1:
                spans[-1][1] = number
            else:
                spans.append([number, number])
        words = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)
        shown.append(f"{words} of {file}")
    return "; ".join(shown)


class Feed:
    """The batches of a run, or this worker's rows of them.

    A step's set is a function of its number, so it is the same after a resume.

    Attributes:
      taken: batches of each set since the beginning of the data, part of a checkpoint.
    """

    def __init__(
        self,
        sets: Sequence[RecordSet],
        batch_size: int,
        devices: Devices,
        *,
        seed: int,
        shuffle_buffer_size: int,
        skipped: Sequence[int] | None = None,
        order: Callable[[Sequence[int]], Iterator[int]] = turns,
    ):
        """Opens the records.

        Args:
          sets: one for each length.
          batch_size: of all workers and replicas together.
          devices: whose input it is.
          seed: of the order.
          shuffle_buffer_size: records in the window that is shuffled in.
          skipped: batches of each set that are over, where no iterator of a checkpoint says so.
          order: shares → the set of each step.
        """
        self.sets = tuple(sets)
        self._order = order
        self._devices = devices
        self._batch_size, self._seed, self._window = batch_size, seed, shuffle_buffer_size
        self.taken = list(skipped) if skipped else [0] * len(self.sets)
        self._iterators = [
            self._open(chosen, number) for chosen, number in zip(self.sets, self.taken, strict=True)
        ]
        self._called: set[int] = set()
        self.begin(0)

    def _batch_of(self, chosen: RecordSet) -> int:
        return chosen.batch_size or self._batch_size

    def _reading(self, chosen: RecordSet, batches: int) -> Reading:
        """Returns how a set is read on after some batches."""
        batch = self._batch_of(chosen)
        done = chosen.first_record + batches * batch
        reading = Reading(batch, self._seed, self._window, chosen.first_file)
        if not chosen.mixture:
            return dataclasses.replace(reading, start=_place(chosen.files, chosen.form, done))
        counts = counts_after(chosen.shares, done)
        places = (
            _place(files, chosen.form, count) for files, count in zip(chosen.sources, counts, strict=True)
        )
        mixture = Mixture(chosen.sources, chosen.shares, tuple(places), done)
        return dataclasses.replace(reading, mixture=mixture)

    def counts_of_sources(self) -> list[int]:
        """Returns how many records of each source of a mixture were taken, over all sets."""
        counts = [0] * max((len(chosen.mixture) for chosen in self.sets), default=0)
        for chosen, batches in zip(self.sets, self.taken, strict=True):
            if chosen.mixture:
                first, last = chosen.first_record, chosen.first_record + batches * self._batch_of(chosen)
                before, after = (counts_after(chosen.shares, number) for number in (first, last))
                counts = [count + b - a for count, a, b in zip(counts, before, after, strict=True)]
        return counts

    def described_sources(self) -> Iterator[str]:
        """For each source of a mixture, how many of its records were taken, and how many passes over it that is."""
        for number, taken in enumerate(self.counts_of_sources()):
            files = [
                file for chosen in self.sets if not chosen.first_record for file in chosen.sources[number]
            ]
            held, more = num_records(files), " …" if files[1:] else ""
            yield f"{taken:,} records from {files[0]}{more}, {taken / held:.2f} passes over its {held:,}"

    def _open(self, chosen: RecordSet, skipped: int) -> Any:
        reading = self._reading(chosen, skipped)

        def dataset(part: int, parts: int) -> tf.data.Dataset:
            return training_dataset(chosen.files, chosen.form.after(skipped), reading, part, parts)

        if not self._devices.input_per_host:
            return iter(dataset(self._devices.cluster.index, self._devices.cluster.size))

        def of_host(context: tf.distribute.InputContext) -> tf.data.Dataset:
            hosts = context.num_input_pipelines
            replicas = context.num_replicas_in_sync // hosts
            return per_replica(dataset(context.input_pipeline_id, hosts), replicas).prefetch(2 * replicas)

        return iter(self._devices.strategy.distribute_datasets_from_function(of_host))

    @property
    def position(self) -> Any:
        """The part that a checkpoint keeps: an iterator, or one for each length; None where `taken` is enough."""
        if self._devices.input_per_host:
            return None
        if len(self.sets) == 1:
            return self._iterators[0]
        found: dict[str, Any] = {}
        for chosen, iterator in zip(self.sets, self._iterators, strict=True):
            name = str(chosen.form.shape.max_seq_length)
            number = sum(other.partition("_")[0] == name for other in found)
            found[f"{name}_{number}" if number else name] = iterator
        return found

    def begin(self, step: int) -> None:
        """Says which step is taken next."""
        self._turns = itertools.islice(self._order([chosen.share for chosen in self.sets]), step, None)
        self._next = next(self._turns)

    def take(self, most: int) -> Portion:
        """Returns the next steps from one set, `most` at most; a set's first call is one step, to compile it."""
        chosen, count = self._next, 0
        first = chosen not in self._called
        self._called.add(chosen)
        while count < (1 if first else most) and self._next == chosen:
            self._next = next(self._turns)
            count += 1
        start = self.taken[chosen]
        self.taken[chosen] += count

        def named(number: int) -> str:
            records = self.sets[chosen]
            reading = self._reading(records, start + number)
            return "records " + _in_ranges(find_batch(records.files, records.form, reading))

        return Portion(self.sets[chosen], self._iterators[chosen], count, first, named)

    def each(self) -> Iterator[tuple[Portion, float]]:
        """Yields a step of each set, and its share of all steps; for trying out."""
        total = sum(chosen.share for chosen in self.sets)
        for chosen, iterator in zip(self.sets, self._iterators, strict=True):
            yield Portion(chosen, iterator, 1, True), chosen.share / total
