"""Record files → batches of tensors, on the host, in an order that a checkpoint can hold.

A plain `tf.data` iterator is used on every strategy: its state, the shuffle buffer included, goes into the
checkpoint, so that a resumed run sees exactly the records that an uninterrupted one would have seen.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, NamedTuple, TypeVar, cast

import tensorflow as tf

from morphbert.data.example_message import parse_example
from morphbert.data.mixture import one_round
from morphbert.data.records import (
    CLS_POSITIONS,
    NEXT_SENTENCE_LABELS,
    WORD_IDS,
    CorruptRecord,
    RecordLayout,
    RecordShape,
    features,
    layout_of,
    read_records,
)
from morphbert.errors import MorphbertError
from morphbert.train.input.dynamic_masks import MaskRules, record_keys, share_of_batch, with_masks

_F = TypeVar("_F", bound=Callable[..., Any])


def unconverted(build: _F) -> _F:
    """Decorates a function that builds datasets: AutoGraph does not convert the functions that it maps.

    No Python statement in them depends on a tensor, so a conversion would only make each start slower.
    """
    return cast(_F, tf.autograph.experimental.do_not_convert(build))


@dataclasses.dataclass(frozen=True)
class RecordFormat:
    """The form that records need for a model to train on them.

    Attributes:
      shape: L and P.
      vocab_size: every piece's id is under it.
      type_vocab_size: every segment's id is under it.
      layout: whether they have labels of the segments and masks, and how many examples are in one.
      masks: how masks are drawn for records that have none.
      skip_corrupt: whether a file's rest is left out from a damaged record on, instead of ending the run.
    """

    shape: RecordShape
    vocab_size: int
    type_vocab_size: int
    layout: RecordLayout = dataclasses.field(default_factory=RecordLayout)
    masks: MaskRules | None = None
    skip_corrupt: bool = False

    @property
    def predictions(self) -> int:
        """P of the batches, which is more than the records' where masks are drawn at a higher share."""
        return self.shape.max_predictions_per_seq if self.masks is None else self.masks.predictions

    def after(self, batches: int) -> RecordFormat:
        """Returns the same from a batch on, where the share of masks depends on the batch's number."""
        if self.masks is None or self.masks.shares is None:
            return self
        shares = dataclasses.replace(self.masks.shares, done=batches)
        return dataclasses.replace(self, masks=dataclasses.replace(self.masks, shares=shares))

    def limits(self) -> dict[str, tuple[int, str]]:
        """By feature: one more than the largest value, and the source of that limit."""
        pieces = (self.vocab_size, "vocab_size in the model configuration")
        length = (self.shape.max_seq_length, "--max_seq_length")
        limits = {
            "input_ids": pieces,
            "masked_lm_ids": pieces,
            # A model without segments takes records of one.
            "segment_ids": (max(1, self.type_vocab_size), "type_vocab_size in the model configuration"),
            "masked_lm_positions": length,
            "position_ids": length,
            CLS_POSITIONS: length,
            WORD_IDS: length,
            NEXT_SENTENCE_LABELS: (2, "the number of its classes"),
        }
        return {name: limits[name] for name in features(self.shape, self.layout) if name in limits}


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a run reads the records of some files: their order, and where in it the reading begins.

    Attributes:
      batch_size: of all workers together.
      seed: decides the order.
      shuffle_buffer_size: records in the window that is shuffled in.
      first_file: the number of the first of the files, which masks are drawn by.
      start: a pass and a number of its records: those before are left out, which means to read that part of the pass,
        but not to parse it.
      mixture: sources with starts of their own; None where all files are alike.
    """

    batch_size: int
    seed: int
    shuffle_buffer_size: int
    first_file: int = 0
    start: tuple[int, int] = (0, 0)
    mixture: Mixture | None = None


@unconverted
def training_dataset(
    files: Sequence[str], form: RecordFormat, reading: Reading, worker: int = 0, num_workers: int = 1
) -> tf.data.Dataset:
    """Returns endless batches of exactly `reading.batch_size` records, in an order that its seed decides.

    Of several workers each gets its rows of the same batches. All of them read all records, which costs little; the
    rows of the others are thrown away before they are parsed.

    Each pass visits all files in a new order, reads four of them in turn, shuffles records within a window of
    `shuffle_buffer_size`, and holds every record exactly once. A batch may hold the end of one pass and the
    start of the next, so that no record is dropped. Masks that are not in the records are other ones in each pass,
    and other ones for files that are counted from another `first_file`. With a `mixture`, which then has its own
    starts, a pass of each source begins whenever its last one is over.

    Returns:
      A dataset of dicts by feature name: int32 [B, L], int32 [B, P], float32 [B, P] and int32 [B, 1], where B is
      `reading.batch_size` / `num_workers`.
    """
    dataset = _records(files, form, reading, numbered=bool(form.masks))
    dataset = dataset.batch(reading.batch_size, drop_remainder=True)
    share = reading.batch_size // num_workers
    rows = slice(worker * share, (worker + 1) * share)

    def decoded(record: tf.Tensor, *place: tf.Tensor) -> dict[str, tf.Tensor]:
        return decode(record[rows], form, tuple(numbers[rows] for numbers in place))

    shares = form.masks.shares if form.masks else None
    if shares is None:
        return dataset.map(decoded, num_parallel_calls=2, deterministic=True).prefetch(4)

    def masked(number: tf.Tensor, records: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        record, *place = (values[rows] for values in records)
        return decode(record, form, tuple(place), share_of_batch(shares, number))

    return dataset.enumerate().map(masked, num_parallel_calls=2, deterministic=True).prefetch(4)


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Sources whose records take turns.

    Attributes:
      sources: the files of each.
      shares: of the records, in whole numbers.
      starts: for each a pass and a number of its records: those before are left out.
      first: the number of the first record among all that the mixture has.
    """

    sources: tuple[tuple[str, ...], ...]
    shares: tuple[int, ...]
    starts: tuple[tuple[int, int], ...]
    first: int = 0


class _Order(NamedTuple):
    """The order in which records are read.

    Attributes:
      first_file: the number of the first of the files.
      numbered: whether (record, pass, its file, its number there) is read instead of the record alone.
    """

    form: RecordFormat
    seed: int
    shuffle_buffer_size: int
    first_file: int
    numbered: bool


def _records(files: Sequence[str], form: RecordFormat, reading: Reading, numbered: bool) -> tf.data.Dataset:
    """Returns the records of all passes, one by one."""
    order = _Order(form, reading.seed, reading.shuffle_buffer_size, reading.first_file, numbered)
    if reading.mixture is None:
        return _in_order(files, order, reading.start)
    return _mixed(reading.mixture, order)


def _mixed(mixture: Mixture, order: _Order) -> tf.data.Dataset:
    """Returns the records of all sources, each in the order of `_in_order`, by turns that depend on their number."""
    sources = []
    for files, start in zip(mixture.sources, mixture.starts, strict=True):
        sources.append(_in_order(files, order, start))
        order = order._replace(first_file=order.first_file + len(files))
    turns = tf.constant(one_round(mixture.shares), tf.int64)
    choices = tf.data.Dataset.counter(mixture.first).map(
        lambda number: turns[number % tf.size(turns, tf.int64)]
    )
    return tf.data.Dataset.choose_from_datasets(sources, choices, stop_on_empty_dataset=False)


def _in_order(files: Sequence[str], order: _Order, start: tuple[int, int]) -> tf.data.Dataset:
    """Returns all passes over all records, from a pass and a number of its records on."""
    form, seed, shuffle_buffer_size, first_file, numbered = order
    first_pass, left_out = start
    names = tf.constant(list(files))
    read_file = _reader(form, numbered)

    def one_pass(number: tf.Tensor) -> tf.data.Dataset:
        # Two seeds a pass, none of them another pass's: the order is a function of (seed, number).
        first = tf.constant(seed, tf.int64) * 1_000_003 + 2 * number
        shuffled = tf.data.Dataset.from_tensor_slices(_with_numbers(names, numbered, first_file)).shuffle(
            len(files), seed=first
        )
        read = shuffled.interleave(
            read_file,
            cycle_length=min(4, len(files)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        read = read.shuffle(shuffle_buffer_size, seed=first + 1)
        return read.map(lambda record, *place: (record, number, *place)) if numbered else read

    options = tf.data.Options()
    # A shuffle within flat_map counts as outside state, which would keep the iterator out of checkpoints;
    # with its seed given it has none.
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    dataset = tf.data.Dataset.counter(first_pass).flat_map(one_pass).with_options(options)
    return dataset.skip(left_out) if left_out else dataset


@unconverted
def count_usable(files: Sequence[str], form: RecordFormat) -> int:
    """Returns how many records a pass of `training_dataset` holds; reads all files."""
    read = tf.data.Dataset.from_tensor_slices(list(files)).flat_map(_reader(form, numbered=False))
    return int(read.reduce(tf.constant(0, tf.int64), lambda count, _: count + 1))


@unconverted
def per_replica(dataset: tf.data.Dataset, replicas: int) -> tf.data.Dataset:
    """Batches [B, …] → for each one after the other its `replicas` parts, [B / replicas, …] each."""

    def parts(batch: dict[str, tf.Tensor]) -> tf.data.Dataset:
        split = {
            name: tf.reshape(values, [replicas, values.shape[0] // replicas, *values.shape[1:]])
            for name, values in batch.items()
        }
        return tf.data.Dataset.from_tensor_slices(split)

    return dataset.flat_map(parts)


@unconverted
def find_batch(files: Sequence[str], form: RecordFormat, reading: Reading) -> list[tuple[str, int]]:
    """Returns which records are in the first batch of `training_dataset`: (file, record's number in it) each.

    Reads the pass again up to it, which takes a while: it is for a message about a run that is in trouble.
    """
    dataset = _records(files, form, dataclasses.replace(reading, first_file=0), numbered=True)
    places = dataset.map(lambda record, number, file, place: (file, place))
    return [(files[int(file)], int(place)) for file, place in places.take(reading.batch_size)]


@unconverted
def evaluation_dataset(
    files: Sequence[str], form: RecordFormat, batch_size: int, first_file: int = 0
) -> tf.data.Dataset:
    """Returns every record once, in file order; the last batch is filled up with copies whose weight is 0.

    The batches are those of `training_dataset` with `example_weights`, float32 [B], besides.
    """
    numbered = bool(form.masks)
    names = _with_numbers(tf.constant(list(files)), numbered, first_file)
    dataset = tf.data.Dataset.from_tensor_slices(names).flat_map(_reader(form, numbered))

    def filled(serialized: tf.Tensor, *place: tf.Tensor) -> dict[str, tf.Tensor]:
        real = tf.shape(serialized)[0]

        def whole(values: tf.Tensor) -> tf.Tensor:
            rows = tf.concat([values, tf.repeat(values[:1], batch_size - real)], 0)
            return tf.ensure_shape(rows, [batch_size])

        # All as in the first pass: an evaluation masks the same pieces each time.
        place = (tf.zeros([batch_size], tf.int64), *map(whole, place)) if place else ()
        weights = tf.sequence_mask(real, batch_size, tf.float32)
        return {**decode(whole(serialized), form, place), "example_weights": weights}

    return dataset.batch(batch_size).map(filled).prefetch(2)


def _reader(form: RecordFormat, numbered: bool) -> Callable[..., tf.data.Dataset]:
    """Opens a file: name → records, or (name, its number) → (record, number of the file, number in the file)."""

    def records(file: tf.Tensor) -> tf.data.Dataset:
        packed = tf.strings.regex_full_match(file, r".*\.gz")
        dataset = tf.data.TFRecordDataset(file, compression_type=tf.where(packed, "GZIP", ""))
        return dataset.ignore_errors() if form.skip_corrupt else dataset

    def with_numbers(file: tf.Tensor, of_file: tf.Tensor) -> tf.data.Dataset:
        return records(file).enumerate().map(lambda number, record: (record, of_file, number))

    return with_numbers if numbered else records


def _with_numbers(
    names: tf.Tensor, numbered: bool, first_file: int
) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
    """Names of files, and their numbers where they are asked for."""
    numbers = first_file + tf.range(tf.size(names, tf.int64))
    return (names, numbers) if numbered else names


def decode(
    serialized: tf.Tensor,
    form: RecordFormat,
    place: tuple[tf.Tensor, ...] = (),
    share: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    """Serialized Examples [B] → dense features, int32 and float32; ids beyond the model's tables are refused.

    The check is here, on the host: on an accelerator a gather out of range gives zeros without a word.

    Args:
      place: for records without masks, int64 [B] each: pass, number of the file, number of the record in it.
      share: of the pieces to predict, where it is not the one of the records.
    """
    specification = {
        name: tf.io.FixedLenFeature([feature.length], tf.float32 if feature.dtype == "float" else tf.int64)
        for name, feature in features(form.shape, form.layout).items()
    }
    batch = tf.io.parse_example(serialized, specification)
    checks = []
    for name, (limit, _) in form.limits().items():
        checks += [
            tf.debugging.assert_less(batch[name], tf.constant(limit, tf.int64), message=f"{name} too large"),
            tf.debugging.assert_non_negative(
                batch[name] + (1 if name == WORD_IDS else 0), message=f"{name} below 0"
            ),
        ]
    with tf.control_dependencies(checks):
        if form.masks is not None:
            batch = {name: tf.identity(values) for name, values in batch.items()}
            batch = with_masks(batch, record_keys(form.masks.seed, *place), form.masks, share)
        return {
            name: tf.cast(values, tf.int32) if values.dtype == tf.int64 else tf.identity(values)
            for name, values in batch.items()
        }


# ── Naming the damage in a file: slow and exact, without TensorFlow's messages ───────────────────────────


def open_records(file: str) -> IO[bytes]:
    """Returns the (unpacked) bytes of a record file on any path that TensorFlow can open."""
    stream = cast("IO[bytes]", tf.io.gfile.GFile(file, "rb"))
    return cast("IO[bytes]", gzip.GzipFile(fileobj=stream)) if file.endswith(".gz") else stream


def checked_records(file: str) -> Iterator[bytes]:
    """Yields the records of a file; a damaged or unreadable one raises `MorphbertError` with the file's name."""
    try:
        with open_records(file) as stream:
            yield from read_records(stream)
    except CorruptRecord as error:
        raise MorphbertError(f"{file}: {error}") from error
    except (tf.errors.OpError, OSError, EOFError) as error:
        reason = getattr(error, "message", None) or str(error)
        raise MorphbertError(f"{file} cannot be read: {reason}") from error


def explain_record(record: bytes, form: RecordFormat) -> str | None:
    """Returns the reason why a record cannot be trained on, in words; None if it can."""
    try:
        values: dict[str, list[Any]] = cast("dict[str, list[Any]]", parse_example(record))
    except ValueError as error:
        return str(error)
    for name, feature in features(form.shape, form.layout).items():
        if name not in values:
            return f"has no feature {name!r}; it has {', '.join(sorted(values)) or 'none'}"
        if len(values[name]) != feature.length:
            return _length_message(values, form.shape)
    for name, (limit, flag) in form.limits().items():
        low, high = min(values[name], default=0), max(values[name], default=0)
        least = -1 if name == WORD_IDS else 0
        if low < least or high >= limit:
            wrong = low if low < least else high
            return (
                f"has {wrong} in {name}, but {flag} is {limit}: it was made with another vocabulary or model"
            )
    return None


def _length_message(values: dict[str, list[Any]], shape: RecordShape) -> str:
    length, predictions = len(values.get("input_ids", ())), len(values.get("masked_lm_positions", ()))
    return (
        f"was made with max_seq_length={length} and max_predictions_per_seq={predictions}, but the flags say "
        f"--max_seq_length={shape.max_seq_length} and --max_predictions_per_seq={shape.max_predictions_per_seq}: "
        f"give --max_seq_length={length} --max_predictions_per_seq={predictions}, or make the records again"
    )


def check_first_records(files: Sequence[str], form: RecordFormat) -> None:
    """Reads the first record of each file: wrong lengths and foreign files are found before compilation.

    Raises:
      MorphbertError: a file is unreadable, a first record is unusable, or all files are empty.
    """
    found = 0
    for file in files:
        for record in checked_records(file):
            reason = explain_record(record, form)
            if reason:
                raise MorphbertError(f"{file}: record 0 {reason}.")
            found += 1
            break
    if not found:
        raise MorphbertError(
            f"there is no record in {', '.join(files)}: make them with create_pretraining_data.py."
        )


def find_bad_record(files: Sequence[str], form: RecordFormat) -> None:
    """Reads files to the first record that cannot be used and raises `MorphbertError` naming it."""
    for file in files:
        for number, record in enumerate(checked_records(file)):
            reason = explain_record(record, form)
            if reason:
                raise MorphbertError(f"{file}: record {number} {reason}.")


@contextlib.contextmanager
def naming_bad_records(files: Sequence[str], form: RecordFormat) -> Iterator[None]:
    """Turns TensorFlow's errors over unusable input, which tell neither file nor record, into ones that do."""
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        find_bad_record(files, form)
        raise MorphbertError(f"a step failed, though all records can be read: {error.message}") from error


def find_layout(files: Sequence[str]) -> RecordLayout:
    """Returns the layout of the first record that can be read; its other faults are found later."""
    for file in files:
        with contextlib.suppress(MorphbertError, ValueError):
            for record in checked_records(file):
                return layout_of(parse_example(record))
    return RecordLayout()


def count_records(files: Sequence[str]) -> int:
    """Reads all files through to count their records; used where no manifest tells."""
    return sum(1 for file in files for _ in checked_records(file))
