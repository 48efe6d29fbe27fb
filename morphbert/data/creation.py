"""Makes records from text in one call: on this machine, on a Beam engine, or as google-research/bert does."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from tqdm import tqdm

from morphbert import atomic_files, files, options
from morphbert.data import build
from morphbert.data.build import BuildConfig, SplitResult
from morphbert.data.config import BEYOND_MACHINE, FAST_ONLY, MACHINE, MASKS, InstanceConfig, MaskingUnit
from morphbert.data.google import build as google_build
from morphbert.data.listed_words import read_words
from morphbert.data.mixture import split_weight, split_weights
from morphbert.errors import UsageError
from morphbert.formats.lines import read_lines, text_encoding
from morphbert.hints import held_back
from morphbert.options import PathStr, PositiveInt, configuration, option, optional
from morphbert.parallel import default_workers
from morphbert.text.loading import is_vocabulary_folder, load_tokenizer
from morphbert.text.metadata import METADATA_NAME
from morphbert.text.text_options import text_encoding_option, tokenizer_mismatch_option
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.unknown_share import say_unknown_share
from morphbert.text.vocabulary import VOCABULARY_NAME

_INSTANCES = "Instances"


@configuration
class PretrainingDataConfig:
    """The configuration of `create_pretraining_data`. `create_pretraining_data.py --help` explains each field.

    Attributes:
      instances: the configuration of examples.
      beam_options: with `engine="beam"`, flags of the pipeline, such as `--runner=DataflowRunner`.
    """

    input_file: str = option(
        group="Input and output",
        help="Text, one sentence per line with an empty line between documents: a path, a folder, a glob in quotes, "
        "several of these with commas, or @LIST, a text file with one of them per line; .gz, .bz2, .xz and .zst are "
        "decompressed. With a weight behind each, PATTERN:WEIGHT, each document is used as often as gives the pieces "
        "these shares. Examples: --input_file='corpus/*.txt.gz', --input_file='news/*:0.7,wiki/*:0.3'",
    )
    encoding: str = text_encoding_option()
    output_file: str = option(
        help="The record files: a path, or several with commas, each written under exactly its name. A name that "
        "ends with .gz is compressed. NAME.manifest.json beside each file describes it."
    )
    vocab_file: PathStr = option(
        help="A vocabulary folder made by build_vocab.py, which describes its tokenizer; a Hugging Face folder, "
        "whose tokenizer is reproduced; or a plain vocab.txt, which is used as by google-research/bert."
    )
    do_lower_case: bool | None = optional(
        help="Lower-case text and strip accents. The default of a vocabulary folder is its own casing; for a plain "
        "vocab.txt it is true, as in google-research/bert. That turns Hangul into Jamo, so for a vocabulary with "
        "Hangul syllables the capital letters of the vocabulary decide, and Hangul stays whole (except with "
        "--mode=google)."
    )
    allow_tokenizer_mismatch: bool = tokenizer_mismatch_option()
    num_shards: PositiveInt | None = optional(
        help="Write --output_file as this many files, NAME-00000-of-00004 and so on. A few hundred megabytes each are "
        "good for training on several machines."
    )
    shard_megabytes: float | None = optional(
        at_least=0.001,
        help="Instead of --num_shards: as many files as make each of about this size (before compression). "
        "--mode=fast only. Example: 200",
    )
    eval_fraction: float = option(
        default=0.0,
        at_least=0,
        below=1,
        help="The share of the documents to hold out for evaluation (at least one). The choice depends only on their "
        "text, so a document stays on its side when the corpus grows. Example: 0.05",
    )
    eval_output_file: str | None = optional(help="The file for the records of held-out documents.")
    mode: Literal["fast", "google"] = option(
        default="fast",
        group=_INSTANCES,
        help="google reproduces google-research/bert's records exactly for the same flags and input: one process, "
        "everything in memory. fast is made for large corpora and corrects that program's faults: no sentence is "
        "dropped, and half of the next sentences are random.",
    )
    instances: InstanceConfig = options.options(default=InstanceConfig())
    do_whole_word_mask: bool = option(
        default=False,
        help="Mask all pieces of a word together; the vocabulary's ## defines words, as eojeols or morphemes.",
    )
    mask_words_file: PathStr | None = optional(
        group=MASKS,
        help="A file of important words, such as names or terms, one per line. They are masked --mask_words_factor "
        "times as often as others; the share of masked pieces stays the same.",
    )
    token_store: PathStr | None = optional(
        group=MACHINE,
        help="The folder on this machine for the tokenized text, which later runs with the same input and vocabulary "
        "use again. Default: token_store beside the first output file.",
    )
    num_workers: PositiveInt | None = optional(
        help="The number of processes; the default is one per core. The output does not depend on it."
    )
    engine: Literal["local", "beam"] = option(
        default="local",
        group=BEYOND_MACHINE,
        help="local: this machine. beam: an Apache Beam pipeline with the same records, for Dataflow, Flink, Spark or "
        "Dask (pip install 'morphbert[beam]'). Beam's own flags are passed on to it, --num_workers too. Example: "
        "--engine=beam --runner=DataflowRunner --region=asia-northeast3 --temp_location=gs://BUCKET/tmp",
    )
    beam_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises UsageError for settings that contradict each other; reads only the file of words."""
        if self.num_shards is not None:
            if len(self._outputs) != 1:
                raise UsageError(
                    f"--num_shards={self.num_shards} makes its names from one --output_file; {len(self._outputs)} "
                    "were given."
                )
            if self.shard_megabytes is not None:
                raise UsageError("--num_shards and --shard_megabytes exclude each other: give one of them.")
        if self.instances.mask_words and self.mask_words_file:
            raise UsageError("give mask_words of the instances or mask_words_file, not both.")
        if self.mode == "google":
            self._check_google()
        if self.engine == "beam" and self.token_store:
            raise UsageError("--token_store is for --engine=local: a pipeline has no token store.")
        text_encoding(self.encoding)

    def _check_google(self) -> None:
        changed = options.changed(self)
        fast = [flag.name for flag in options.flags_of(type(self)) if flag.group in FAST_ONLY]
        given = [name for name in (*fast, "shard_megabytes") if name in changed and name != "engine"]
        if self.instances.mask_words:
            given.append("mask_words_file")
        google_build.check_flags(self.instances.objective, self.instances.masking_unit, given)
        if self.engine == "beam":
            raise UsageError("--mode=google always runs in one process: --engine=beam is for --mode=fast.")

    @property
    def _outputs(self) -> list[str]:
        return [name for name in self.output_file.split(",") if name]


@dataclass(frozen=True)
class PretrainingData:
    """The result of data creation.

    Attributes:
      instances: the configuration, with the settings that the vocabulary determines.
      splits: the result for all documents, or for the training side and the held-out side.
    """

    instances: InstanceConfig
    splits: tuple[SplitResult, ...]


def create_pretraining_data(config: PretrainingDataConfig) -> PretrainingData:
    """Makes records with a manifest beside each file; the content depends only on text, settings and seed.

    Raises:
      MorphbertError: the input is invalid, the vocabulary is unsuitable, the disk is full, or another process uses the
        folder.
    """
    # A progress bar's monitor thread is incompatible with forked workers.
    tqdm.monitor_interval = 0
    # An empty list of words is reported before the vocabulary is read.
    instances = _with_words(config)
    if config.engine == "beam":
        _refuse_weights(config)
        return _on_beam(config, instances)
    # Files are checked before the vocabulary is read, so that its hints do not precede the error about a file.
    paths, sources = _inputs(config)
    job = replace(_build_config(config, instances, paths), sources=sources)
    atomic_files.check_apart(job.all_outputs, _read_files(config, paths))
    for path in job.all_outputs:
        if not files.is_remote(path):
            atomic_files.check_regular(path)
    tokenizer = _tokenizer(config)
    instances = replace(instances, masking_unit=_masking_unit(config, tokenizer))
    job = replace(job, instances=instances)
    _say_unknown(tokenizer, job)
    if config.mode == "google":
        return PretrainingData(instances, tuple(google_build.build(job, tokenizer, _say)))
    return PretrainingData(instances, tuple(build.build(job, tokenizer, _say, partial(tqdm, disable=None))))


def _inputs(config: PretrainingDataConfig) -> tuple[list[str], tuple[tuple[int, int], ...]]:
    """Returns the input files, and for each source of a mixture how many of them it has, and its share."""
    if config.mode == "google":
        _refuse_weights(config)
    # google-research/bert reads a file as often as it is named.
    patterns, shares = split_weights(files.patterns_of(config.input_file), files.names_a_file, "--input_file")
    if not shares:
        return files.expand(config.input_file, repeats=config.mode == "google"), ()
    of_sources = [files.expand(pattern) for pattern in patterns]
    paths = [path for of_source in of_sources for path in of_source]
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise UsageError(
            f"--input_file={config.input_file}: {twice} is in two sources: each file has one weight."
        )
    return paths, tuple((len(of_source), share) for of_source, share in zip(of_sources, shares, strict=True))


def _read_files(config: PretrainingDataConfig, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields the flags and paths of all files that are read."""
    yield from (("--input_file", path) for path in paths)
    yield "--vocab_file", config.vocab_file
    for name in (VOCABULARY_NAME, METADATA_NAME):
        yield "--vocab_file", os.path.join(config.vocab_file, name)
    if config.mask_words_file:
        yield "--mask_words_file", config.mask_words_file


def _refuse_weights(config: PretrainingDataConfig) -> None:
    for part in config.input_file.split(","):
        if split_weight(part.strip(), files.names_a_file, "--input_file")[1] is not None:
            other = "--mode=google" if config.mode == "google" else "--engine=beam"
            raise UsageError(
                f"--input_file={config.input_file}: weights are for --mode=fast on one machine, and not for {other}: "
                "leave them out."
            )


def _on_beam(config: PretrainingDataConfig, instances: InstanceConfig) -> PretrainingData:
    from morphbert.data.beam import run, vocabulary

    workers = [f"--num_workers={config.num_workers}"] if config.num_workers else []
    pipeline_options = run.options_of([*config.beam_options, *workers])
    inputs = run.match_inputs(config.input_file, pipeline_options)
    tokenizer = _tokenizer(config)
    instances = replace(instances, masking_unit=_masking_unit(config, tokenizer))
    job = _build_config(config, instances, [path for path, _ in inputs])
    _say_unknown(tokenizer, job)
    packed = vocabulary.pack(config.vocab_file, config.do_lower_case, config.allow_tokenizer_mismatch)
    return PretrainingData(instances, tuple(run.build(job, packed, inputs, pipeline_options, _say)))


def _with_words(config: PretrainingDataConfig) -> InstanceConfig:
    if not config.mask_words_file:
        return config.instances
    return replace(config.instances, mask_words=read_words(config.mask_words_file))


def _masking_unit(config: PretrainingDataConfig, tokenizer: Tokenizer) -> MaskingUnit:
    whole_word: MaskingUnit = "morpheme" if tokenizer.splitter.continuation == "morpheme" else "eojeol"
    unit = config.instances.masking_unit
    if config.do_whole_word_mask and unit not in (None, whole_word):
        raise UsageError(
            f"--do_whole_word_mask contradicts --masking_unit={unit}: words of this vocabulary are "
            f"{whole_word}s. Give one of the two."
        )
    return unit or (whole_word if config.do_whole_word_mask else "piece")


def _build_config(
    config: PretrainingDataConfig, instances: InstanceConfig, input_files: Sequence[str]
) -> BuildConfig:
    outputs = config._outputs
    if config.num_shards is not None:
        outputs = files.shard_names(outputs[0], config.num_shards)
    folder = "." if files.is_remote(outputs[0]) else os.path.dirname(outputs[0])
    return BuildConfig(
        input_files=tuple(input_files),
        output_files=tuple(outputs),
        instances=instances,
        token_store=config.token_store or os.path.join(folder, "token_store"),
        eval_output_file=config.eval_output_file,
        eval_fraction=config.eval_fraction,
        encoding=text_encoding(config.encoding),
        num_workers=config.num_workers or default_workers(),
        shard_bytes=int(config.shard_megabytes * 1e6) if config.shard_megabytes is not None else None,
    )


@held_back()
def _tokenizer(config: PretrainingDataConfig) -> Tokenizer:
    lower = config.do_lower_case
    if lower is None and config.mode == "google" and not is_vocabulary_folder(config.vocab_file):
        lower = True  # as google-research/bert
    tokenizer = load_tokenizer(config.vocab_file, lower, config.allow_tokenizer_mismatch)
    tokenizer.check_for_pretraining(config.vocab_file)
    normalizer = tokenizer.splitter.normalizer
    if normalizer.destroys_hangul and tokenizer.vocabulary.has_hangul_syllables():
        _say(
            f"warning: {config.vocab_file} has Hangul syllables, and --do_lower_case (true by default for a plain "
            "vocab.txt with --mode=google) turns Hangul into Jamo, which it will not know: use --do_lower_case=false."
        )
    return tokenizer


def _say_unknown(tokenizer: Tokenizer, job: BuildConfig) -> None:
    # A pipe can be read only once and a remote file costs a transfer, so neither is read ahead.
    local = (path for path in job.input_files if os.path.isfile(path))
    lines = (line for path in local for line in read_lines(path, encoding=job.encoding))
    say_unknown_share(tokenizer, lines, "--input_file", _say)


def _say(line: str) -> None:
    print(f"create_pretraining_data.py: {line}", file=sys.stderr)
