"""`create_pretraining_data.py`: raw text → records to train on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial

from absl import flags
from tqdm import tqdm

from morphbert import files
from morphbert.cli.command import Command
from morphbert.data import build
from morphbert.data.build import BuildConfig, SplitResult
from morphbert.data.config import InstanceConfig, MaskingUnit
from morphbert.data.google import build as google_build
from morphbert.data.listed_words import read_words
from morphbert.errors import UsageError
from morphbert.parallel import default_workers
from morphbert.text.loading import load_tokenizer
from morphbert.text.tokenizer import Tokenizer

_MASK_FLAGS = (
    *("mask_token_prob", "random_token_prob", "max_span_length", "span_prob", "max_word_pieces"),
    *("masking", "mask_words_factor"),
)
_ROOM_FLAGS = ("pack_sequences", "max_examples_per_seq", "cross_documents")
# What google-research/bert has no counterpart of.
_FAST_FLAGS = (
    *("token_store", "num_workers", "shard_megabytes", "mask_words_file", "length_bins"),
    *(*_MASK_FLAGS, *_ROOM_FLAGS),
)


def _command() -> Command:
    command = Command(
        "create_pretraining_data.py",
        "Makes TFRecords for run_pretraining.py from text (one sentence a line, an empty line between documents).",
        """
        create_pretraining_data.py --input_file='corpus/*.txt' --vocab_file=vocab/ko-mecab-32k \\
            --output_file=data/train.tfrecord --num_shards=16 --max_seq_length=128 --max_predictions_per_seq=20 \\
            --eval_fraction=0.05 --eval_output_file=data/eval.tfrecord
        """,
    )
    _define_files(command)
    _define_instances(command)
    _define_room(command)
    _define_machine(command)
    _define_beam(command)
    return command


def _define_files(command: Command) -> None:
    command.group("Input and output")
    command.string(
        "input_file",
        None,
        "Text in UTF-8, one sentence a line and an empty line between documents: a path, a glob in quotes, or "
        "several of both with commas; .gz and .bz2 are unpacked. Example: --input_file='corpus/*.txt.gz'",
        required=True,
    )
    command.string(
        "output_file",
        None,
        "Where the records go: a path, or several with commas, each written under exactly its name. A name that "
        "ends with .gz is compressed. Beside each file, NAME.manifest.json says what made it.",
        required=True,
    )
    command.string(
        "vocab_file",
        None,
        "A vocabulary folder made by build_vocab.py, which says itself how text is cut; or a plain vocab.txt, "
        "which is read as google-research/bert does.",
        required=True,
    )
    command.boolean(
        "do_lower_case",
        None,
        "Lower the case and strip accents. Left out, a vocabulary folder decides; for a plain vocab.txt the "
        "default is true, as in google-research/bert, which turns Hangul into Jamo: say false for Korean.",
    )
    command.boolean(
        "allow_tokenizer_mismatch",
        False,
        "Go on with a warning where Mecab, its dictionary, the casing or vocab.txt are not what the vocabulary folder "
        "was made with. Text may then be cut into other pieces.",
    )
    command.integer(
        "num_shards",
        None,
        "Write --output_file as this many files, NAME-00000-of-00004 and so on. A few hundred megabytes each are "
        "good for training on several machines.",
        lower_bound=1,
    )
    command.number(
        "shard_megabytes",
        None,
        "Instead of --num_shards: as many files as make each of about this size (before compression). "
        "--mode=fast only. Example: 200",
        lower_bound=0.001,
    )
    command.number(
        "eval_fraction",
        0.0,
        "Share of the documents to hold out for evaluation (at least one). Which ones is decided by their text "
        "alone, so a document stays on its side when the corpus grows. Example: 0.05",
    )
    command.string("eval_output_file", None, "Where the records of held-out documents go.")


def _define_instances(command: Command) -> None:
    command.group("Instances")
    default = InstanceConfig()
    command.enum(
        "mode",
        "fast",
        ["fast", "google"],
        "google gives record for record what google-research/bert's program does for the same flags and input: one "
        "process, everything in memory. fast is made for large corpora, and mends that program's faults: no "
        "sentence is thrown away, half of the next sentences are random ones.",
    )
    command.integer(
        "max_seq_length", default.max_seq_length, "Pieces in a sequence, [CLS] and both [SEP] counted."
    )
    command.integer(
        "max_predictions_per_seq",
        default.max_predictions_per_seq,
        "Masked pieces in a sequence at most: --max_seq_length × --masked_lm_prob, rounded up. 20 at 128 and "
        "0.15, 77 at 512.",
    )
    command.number("masked_lm_prob", default.masked_lm_prob, "Share of the pieces to mask.")
    command.number(
        "short_seq_prob",
        default.short_seq_prob,
        "Share of sequences that aim at a random length instead of the full one, because fine-tuning will see "
        "short ones. 0.1 makes every tenth short.",
    )
    command.integer(
        "dupe_factor",
        default.dupe_factor,
        "How often to go through the corpus, with other masks and pairs each time. Held-out documents are gone "
        "through once.",
    )
    command.integer("random_seed", default.random_seed, "Another number gives another choice of everything.")
    command.enum(
        "objective",
        default.objective,
        ["nsp", "sop", "none"],
        "What the second segment is for. nsp: is it what follows (0) or from another document (1)? sop: are the "
        "two in order (0) or swapped (1)? none: one segment, no label.",
    )
    command.boolean(
        "do_whole_word_mask",
        False,
        "Mask all pieces of a word together; a word is what the vocabulary's ## marks: an eojeol or a morpheme.",
    )
    command.enum(
        "masking_unit",
        None,
        ["piece", "morpheme", "eojeol"],
        "What is masked together (piece, unless --do_whole_word_mask is given). Punctuation is a unit of its own.",
    )

    _define_masks(command, default)


def _define_masks(command: Command, default: InstanceConfig) -> None:
    command.group("Masks (--mode=fast)")
    command.enum(
        "masking",
        default.masking,
        ["static", "dynamic"],
        "static: masks stand in the records, and --dupe_factor says how many different ones each text gets. dynamic: "
        "run_pretraining.py draws them anew in each pass, by the same rules, so --dupe_factor=1 is enough.",
    )
    command.number(
        "mask_token_prob", default.mask_token_prob, "Of the pieces to predict, the share replaced by [MASK]."
    )
    command.number(
        "random_token_prob",
        default.random_token_prob,
        "The share replaced by a random piece; what is left of 1 stays as it is.",
    )
    command.integer(
        "max_span_length",
        default.max_span_length,
        "Above 1, spans of up to this many units are masked, as in SpanBERT, which uses 10.",
    )
    command.number(
        "span_prob",
        default.span_prob,
        "A span ends after each unit with this probability: 0.2 gives spans of 4 units on average.",
    )
    command.integer(
        "max_word_pieces",
        default.max_word_pieces,
        "Never mask units of more pieces than this: what is cut into many is often a number, a name or "
        "an address. 0 is no limit.",
    )
    command.string(
        "mask_words_file",
        None,
        "Words that matter to you, names or terms, one a line: they are masked --mask_words_factor times as often as "
        "others, and the share of masked pieces stays the same.",
    )
    command.number(
        "mask_words_factor", default.mask_words_factor, "How much likelier the listed words are masked."
    )


def _define_room(command: Command) -> None:
    command.group("Less padding (--mode=fast)")
    command.boolean(
        "pack_sequences",
        False,
        "Put several short examples into one sequence. They do not see each other: attention, positions and labels "
        "are each example's own. For corpora of short documents.",
    )
    command.integer(
        "max_examples_per_seq",
        0,
        "How many examples share a sequence at most; 0 is one for every 8 pieces of --max_seq_length.",
    )
    command.boolean(
        "cross_documents",
        False,
        "With --objective=none: fill the room that a document leaves with others, [SEP] between them, as RoBERTa "
        "does. They do see each other.",
    )
    command.string(
        "length_bins",
        None,
        "Write a set of files for each of these lengths, and each example to the shortest that holds it; "
        "run_pretraining.py --group_by_length trains on all of them. Example: --length_bins=32,64,128",
    )


def _define_machine(command: Command) -> None:
    command.group("Machine (--mode=fast)")
    command.string(
        "token_store",
        None,
        "Folder on this machine for the text cut into pieces, which later runs use again while input and "
        "vocabulary stay the same. Default: token_store beside the first output file.",
    )
    command.integer(
        "num_workers",
        None,
        "Processes; the default is one for each core. The output does not depend on it.",
        lower_bound=1,
    )


def _define_beam(command: Command) -> None:
    command.group("Beyond one machine (--mode=fast)")
    command.enum(
        "engine",
        "local",
        ["local", "beam"],
        "local: this machine. beam: an Apache Beam pipeline with the same records, for Dataflow, Flink or Spark "
        "(pip install 'morphbert[beam]'). Beam's own flags are passed on to it, --num_workers too. Example: "
        "--engine=beam --runner=DataflowRunner --region=asia-northeast3 --temp_location=gs://BUCKET/tmp",
    )
    command.pass_on_with("engine", "beam")


def _masking_unit(values: flags.FlagValues, tokenizer: Tokenizer) -> MaskingUnit:
    whole_word: MaskingUnit = "morpheme" if tokenizer.splitter.continuation == "morpheme" else "eojeol"
    unit: MaskingUnit | None = values.masking_unit
    if values.do_whole_word_mask and unit not in (None, whole_word):
        raise UsageError(
            f"--do_whole_word_mask contradicts --masking_unit={unit}: words of this vocabulary are "
            f"{whole_word}s. Give one of the two."
        )
    return unit or (whole_word if values.do_whole_word_mask else "piece")


def _lengths(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise UsageError(f"--length_bins={text} is no list of numbers, for example 32,64,128.") from None


def _instance_config(values: flags.FlagValues, unit: MaskingUnit) -> InstanceConfig:
    return InstanceConfig(
        max_seq_length=values.max_seq_length,
        max_predictions_per_seq=values.max_predictions_per_seq,
        masked_lm_prob=values.masked_lm_prob,
        short_seq_prob=values.short_seq_prob,
        dupe_factor=values.dupe_factor,
        random_seed=values.random_seed,
        objective=values.objective,
        masking_unit=unit,
        mask_words=read_words(values.mask_words_file) if values.mask_words_file else (),
        length_bins=_lengths(values.length_bins),
        **{name: getattr(values, name) for name in (*_MASK_FLAGS, *_ROOM_FLAGS)},
    )


def _config(values: flags.FlagValues, config: InstanceConfig, input_files: Sequence[str]) -> BuildConfig:
    outputs = [name for name in values.output_file.split(",") if name]
    if values.num_shards is not None:
        if len(outputs) != 1:
            raise UsageError(
                f"--num_shards={values.num_shards} makes its names from one --output_file; {len(outputs)} "
                "were given."
            )
        if values.shard_megabytes is not None:
            raise UsageError("--num_shards and --shard_megabytes exclude each other: give one of them.")
        outputs = files.shard_names(outputs[0], values.num_shards)
    folder = "." if files.is_remote(outputs[0]) else os.path.dirname(outputs[0])
    return BuildConfig(
        input_files=tuple(input_files),
        output_files=tuple(outputs),
        instances=config,
        token_store=values.token_store or os.path.join(folder, "token_store"),
        eval_output_file=values.eval_output_file or None,
        eval_fraction=values.eval_fraction,
        num_workers=values.num_workers or default_workers(),
        shard_bytes=int(values.shard_megabytes * 1e6) if values.shard_megabytes is not None else None,
    )


def _tokenizer(values: flags.FlagValues) -> Tokenizer:
    tokenizer = load_tokenizer(values.vocab_file, values.do_lower_case, values.allow_tokenizer_mismatch)
    tokenizer.check_for_pretraining(values.vocab_file)
    normalizer = tokenizer.splitter.normalizer
    if normalizer.form == "bert" and normalizer.do_lower_case and tokenizer.vocabulary.has_hangul_syllables():
        _say(
            f"warning: {values.vocab_file} has Hangul syllables, and --do_lower_case (true by default for a plain "
            "vocab.txt) turns Hangul into Jamo, which it will not know: use --do_lower_case=false."
        )
    return tokenizer


def _say(line: str) -> None:
    print(f"create_pretraining_data.py: {line}", file=sys.stderr)


def _summary(config: BuildConfig, results: Sequence[SplitResult]) -> str:
    """The table at the end, one column for each side of the split."""
    rows = [("", [result.name for result in results])]

    def row(title: str, form: str, *numbers: float) -> None:
        rows.append((title, [form.format(number) for number in numbers]))

    sums = [result.statistics for result in results]
    row("documents", "{:,}", *(result.documents for result in results))
    row("sentences", "{:,}", *(result.sentences for result in results))
    row("records", "{:,}", *(s.records for s in sums))
    if config.instances.examples > 1:
        row("examples", "{:,}", *(s.examples for s in sums))
    row("padding", "{:.1%}", *(1 - s.pieces / s.room for s in sums))
    if config.instances.masking == "static":
        row("masked pieces", "{:.1%}", *(s.masked / s.pieces for s in sums))
    row("[UNK]", "{:.2%}", *(s.unknown / s.pieces for s in sums))
    if config.instances.objective == "nsp":
        row("random next sentences", "{:.1%}", *(s.positives / s.examples for s in sums))
    elif config.instances.objective == "sop":
        row("swapped", "{:.1%}", *(s.positives / s.examples for s in sums))
    return "\n".join(f"  {title:<24}" + "".join(f"{cell:>14}" for cell in cells) for title, cells in rows)


def _check_engine(command: Command, values: flags.FlagValues) -> None:
    if values.mode == "google":
        google_build.check_flags(
            values.objective,
            values.masking_unit,
            [name for name in _FAST_FLAGS if command.given(name)],
        )
        if values.engine == "beam":
            raise UsageError(
                "--mode=google runs in one process by its nature: --engine=beam is for --mode=fast."
            )
    if values.engine == "beam" and values.token_store:
        raise UsageError("--token_store is for --engine=local: a pipeline keeps no token store.")


def _create(command: Command, values: flags.FlagValues) -> None:
    # A bar's monitor thread and forked workers do not go together.
    tqdm.monitor_interval = 0
    # Flags first: nothing is read before they are known to be sound.
    _instance_config(values, values.masking_unit or "piece")
    _check_engine(command, values)
    if values.engine == "beam":
        config, results = _run_beam(command, values)
    else:
        config, results = _run_here(values)
    print(_summary(config, results))


def _run_here(values: flags.FlagValues) -> tuple[BuildConfig, list[SplitResult]]:
    tokenizer = _tokenizer(values)
    instances = _instance_config(values, _masking_unit(values, tokenizer))
    config = _config(values, instances, files.expand(values.input_file))
    if values.mode == "google":
        return config, google_build.build(config, tokenizer, _say)
    return config, build.build(config, tokenizer, _say, partial(tqdm, disable=None))


def _run_beam(command: Command, values: flags.FlagValues) -> tuple[BuildConfig, list[SplitResult]]:
    from morphbert.data.beam import run, vocabulary

    workers = [f"--num_workers={values.num_workers}"] if values.num_workers else []
    options = run.options_of([*command.foreign, *workers])
    tokenizer = _tokenizer(values)
    inputs = run.match_inputs(values.input_file, options)
    instances = _instance_config(values, _masking_unit(values, tokenizer))
    config = _config(values, instances, [path for path, _ in inputs])
    packed = vocabulary.pack(values.vocab_file, values.do_lower_case, values.allow_tokenizer_mismatch)
    return config, run.build(config, packed, inputs, options, _say)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    command = _command()
    return command.run(argv, partial(_create, command))


if __name__ == "__main__":
    sys.exit(main())
