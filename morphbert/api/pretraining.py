"""Pretraining as one call: trains a model on records, and puts a vocabulary and a report beside it."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from morphbert import quiet_tensorflow
from morphbert.api.pretraining_run import MAX_SEQ_LENGTH, STEPS, WARMUP_STEPS, check_files, run_config
from morphbert.errors import MorphbertError, UsageError
from morphbert.hints import held_back
from morphbert.hub import pinned
from morphbert.options import (
    NonNegativeFloat,
    NonNegativeInt,
    PathStr,
    PositiveFloat,
    PositiveInt,
    Share,
    configuration,
    option,
    optional,
    options,
)
from morphbert.plugins import load_plugins, model_plugin_option
from morphbert.train import loop_options
from morphbert.train.accelerator_check.targets import parse_targets
from morphbert.train.cluster.config import GROUP as DEVICES
from morphbert.train.cluster.config import DeviceConfig
from morphbert.train.mask_schedule import parse_mask_schedule
from morphbert.train.optimizers.config import GROUP as OPTIMIZER
from morphbert.train.optimizers.config import OptimizerConfig
from morphbert.train.phases import Phase, parse_phases
from morphbert.train.step_config import StepConfig
from morphbert.train.time_plan import parse_train_time

if TYPE_CHECKING:
    import numpy as np

    from morphbert.train.config import RunConfig


_TO_DO = "What to do"


@configuration
class PretrainingConfig:
    """The configuration of a pretraining run. `run_pretraining.py --help` explains each field."""

    bert_config_file: PathStr = option(
        group="Input and output",
        help="The model's configuration, a JSON file like google-research/bert's bert_config.json. Its vocab_size "
        "must be the number of lines of the records' vocabulary.",
    )
    plugin: tuple[str, ...] = model_plugin_option()
    input_file: str = option(
        help="Training records, made by create_pretraining_data.py: a path, a glob in quotes, or several of both "
        "with commas. With a weight after each, PATTERN:WEIGHT, every batch mixes them in these shares, and each is "
        "repeated as often as its share needs. Examples: --input_file='data/train.tfrecord*', "
        "--input_file='news*:0.7,wiki*:0.3'"
    )
    output_dir: PathStr = option(
        help="The folder for checkpoints, metrics.jsonl and TensorBoard logs. If it contains a checkpoint, the run "
        "continues from it exactly."
    )
    eval_input_file: str | None = optional(
        help="Held-out records for --do_eval. Default: the records of --input_file."
    )
    vocab_file: PathStr | None = optional(
        help="The records' vocabulary, a folder of build_vocab.py or a vocab.txt. Training does not need it. With "
        "it, the folder gets a copy beside the checkpoints, where fill_mask.py, export_model.py and others find it; "
        "evaluations distinguish nouns, josa and endings, whole eojeols, frequent and rare pieces; and the report "
        "shows predictions for masks. With an --init_checkpoint of another vocabulary, a piece of both keeps its "
        "embedding, and a new one starts from the mean of the old pieces that spell it. Example: "
        "--vocab_file=vocab/mine"
    )
    max_seq_length: PositiveInt | None = optional(
        help="The number of pieces in a sequence, [CLS] and [SEP] included. It must equal that of the records. "
        f"Default: {MAX_SEQ_LENGTH}, or the longest of --phases."
    )
    group_by_length: bool = option(
        default=False,
        help="Train on records of several lengths (create_pretraining_data.py --length_bins): a step takes a batch "
        "of one length, each length in proportion to its records. --max_seq_length and --max_predictions_per_seq are "
        "those of the longest.",
    )
    phases: str | None = optional(
        help="Train on records of one length after the other, each for a share of the steps: LENGTH:SHARE, and "
        ":BATCH_SIZE if it differs from --train_batch_size. --input_file names the records of all lengths; their "
        "manifests give lengths and places for masks, so --max_seq_length and --max_predictions_per_seq are not "
        "needed. Example, as BERT was trained: --phases=128:0.9,512:0.1"
    )
    max_predictions_per_seq: PositiveInt = option(
        default=20,
        help="The number of places for masked pieces in a record. It must equal that of the records: the length "
        "times the share of masked pieces, rounded up: 128 × 15% = 19.2, so 20 at 128, and 77 (BERT: 80) at 512. A "
        "larger number only adds padding; a smaller one drops masks of long sequences.",
    )
    masked_lm_schedule: str | None = optional(
        help="The share of the pieces to predict at the first and at the last step, START:END, linear between them, "
        "for records made with --masking=dynamic, instead of their --masked_lm_prob. Held-out records keep their "
        "share. Example: --masked_lm_schedule=0.30:0.15"
    )
    objective: Literal["masked_lm", "electra"] = option(
        default="masked_lm",
        group="Objective",
        help="masked_lm: BERT's, and next sentences where the records have labels of them. electra: a generator fills "
        "the masks, and the model tells which pieces are replaced (Clark et al. 2020); --bert_config_file describes "
        "the discriminator, and the folder gets both networks. Needs records without labels of the segments "
        "(create_pretraining_data.py --objective=none).",
    )
    generator_size: float = option(
        default=0.25,
        above=0,
        at_most=1,
        help="With --objective=electra: the generator's width, feed-forward width and heads as a share of the "
        "discriminator's; it has as many layers, and the same embeddings.",
    )
    generator_config_file: PathStr | None = optional(
        help="With --objective=electra: the generator's configuration, instead of --generator_size."
    )
    discriminator_weight: PositiveFloat = option(
        default=50.0,
        help="With --objective=electra: the factor of the discriminator's loss; the generator's has 1.",
    )
    embedding_sharing: Literal["shared", "gradient_disentangled"] = option(
        default="shared",
        help="With --objective=electra: shared: one table of word embeddings for both networks. "
        "gradient_disentangled: the discriminator adds a table of differences to the generator's, and its loss moves "
        "these alone (DeBERTaV3).",
    )
    do_train: bool = option(default=False, group=_TO_DO, help="Train.")
    do_eval: bool = option(default=False, help="Evaluate at the end and write eval_results.txt.")
    eval_at_start: bool = option(default=False, help="Also evaluate before the first step, for comparison.")
    eval_every: PositiveInt | None = optional(
        help="Also evaluate every this many steps, and keep the checkpoint with the lowest held-out loss in "
        "OUTPUT_DIR/best. Example: --eval_every=1000"
    )
    dry_run: bool = option(
        default=False,
        help="Check everything, take three steps, print the estimated time of the whole run, and keep nothing.",
    )
    compile_for: str | None = optional(
        help="Compile the step for devices that this machine does not have, print their compilers' figures, and "
        "train nothing: memory, operations, bytes, estimated time, and whatever is refused. One or several of v2:2x2, "
        "v3:2x2, v4:2x2x1, v5e:2x2, v5p:2x2x1, v6e:2x2 (chips of a TPU), h100, a100, l4 (h100:8 for eight), with "
        "commas. Needs `make compilers`. Example: --compile_for=v5e:2x2,h100"
    )
    find_batch_size: bool = option(
        default=False,
        help="With --compile_for: find the largest batch that fits into the devices' memory, by compiling several; "
        "--train_batch_size is tried first.",
    )
    train_batch_size: PositiveInt = option(
        default=32, help="The number of sequences in a step, over all devices. BERT used 256."
    )
    eval_batch_size: PositiveInt = option(
        default=8, help="The number of sequences in a step of the evaluation."
    )
    max_eval_steps: PositiveInt = option(
        default=100, help="The largest number of steps of the evaluation; each record counts once."
    )
    grammar_file: PathStr | None = optional(
        help="Minimal pairs of evaluate_grammar.py --input_file: evaluations also measure how often the model "
        "prefers the correct sentence, by phenomenon. Needs --vocab_file. Example: --grammar_file=data/grammar.jsonl"
    )
    num_train_steps: PositiveInt | None = optional(
        help=f"The number of training steps, including those already done. Default: {STEPS:,}, without "
        "--num_train_epochs."
    )
    num_train_epochs: PositiveFloat | None = optional(
        instead_of="num_train_steps",
        help="The number of passes over the records, instead of --num_train_steps. With records made at "
        "--dupe_factor=10, one pass is ten passes over the text. Example: --num_train_epochs=3",
    )
    train_time: str | None = optional(
        instead_of="num_train_steps",
        help="The training time instead of --num_train_steps: a number with s, m or h. The steps are timed after "
        "their compilation, and their number is set so that the whole run, including saves and evaluations, ends in "
        "that time. The checkpoints keep the number, so an interrupted run continues exactly. Example: "
        "--train_time=30m",
    )
    hidden_dropout_prob: Share | None = optional(
        help="Dropout rate of embeddings and both sub-layers, instead of the one in --bert_config_file. Example: "
        "--hidden_dropout_prob=0"
    )
    attention_probs_dropout_prob: Share | None = optional(
        help="Dropout rate of the attention weights, instead of the one in --bert_config_file. Example: "
        "--attention_probs_dropout_prob=0"
    )
    z_loss: NonNegativeFloat = option(
        default=0.0,
        help="Add this factor times the squared log-sum-exp of the scores to the masked LM's loss, which keeps the "
        "scores from growing. The printed loss excludes it. Example: --z_loss=1e-4",
    )
    ema_decay: float | None = optional(
        above=0,
        below=1,
        help="Keep an exponential moving average of the weights with this decay per step, and evaluate it. The "
        "checkpoints have both; other commands read the average. Example: --ema_decay=0.999",
    )
    on_divergence: Literal["stop", "rollback"] = option(
        default="stop",
        help="The reaction to a loss that is not a number or diverges. stop: end the run. rollback: return to the "
        "last checkpoint and skip the data since then; after three failed attempts, end the run.",
    )
    skip_corrupt_records: bool = option(
        default=False,
        help="Skip unreadable parts of damaged record files instead of stopping. All files are read first, to list "
        "the skipped parts.",
    )
    init_checkpoint: PathStr | None = optional(
        group="Starting from a model",
        help="The initial weights instead of random ones: a checkpoint of this program, or a TensorFlow 1 checkpoint "
        "of google-research, as a prefix or a folder; or a Hugging Face folder of any kind that import_model.py reads. "
        "Missing weights are listed and stay random. Additional positions repeat the existing ones; a model with "
        "fewer layers or a smaller width is tiled into the larger one, as ModernBERT-large began; for another "
        "vocabulary see --vocab_file.",
    )
    init_generator_checkpoint: PathStr | None = optional(
        help="With --objective=electra: the generator's initial weights, where --init_checkpoint holds the "
        "discriminator alone. Default: the generator in --init_checkpoint, if there is one. Example: "
        "--init_generator_checkpoint=koelectra-small-v3-generator"
    )
    init_vocab_file: PathStr | None = optional(
        help="The vocabulary of --init_checkpoint, if it differs from --vocab_file. Default: the one beside it."
    )
    optimizer: OptimizerConfig = options(default=OptimizerConfig(), group=OPTIMIZER)
    num_warmup_steps: NonNegativeInt | None = optional(
        group=OPTIMIZER,
        help="The number of steps over which the learning rate rises from 0, usually 1% to 10% of all steps. Default: "
        f"{WARMUP_STEPS:,}, without --warmup_proportion; with --train_time a tenth of all.",
    )
    warmup_proportion: Share | None = optional(
        instead_of="num_warmup_steps",
        help="The warm-up as a share of all steps, instead of --num_warmup_steps. Example: --warmup_proportion=0.1",
    )
    save_checkpoints_steps: PositiveInt = loop_options.save_checkpoints_steps("Checkpoints and log")
    keep_checkpoint_max: PositiveInt = loop_options.keep_checkpoint_max(5)
    async_checkpoints: bool = option(
        default=False,
        help="Train on while a checkpoint is synced to the disk, digested and named, or copied to a remote "
        "--output_dir. Only writing the data into memory is waited for. The guarantees are the same, and the next save "
        "waits for the one before.",
    )
    log_steps: PositiveInt = loop_options.log_steps()
    shuffle_buffer_size: PositiveInt = option(
        default=1000,
        help="The number of records in the shuffle window of training. create_pretraining_data.py shuffles all "
        "records, so a small window is enough.",
    )
    devices: DeviceConfig = options(default=DeviceConfig(), group=DEVICES)
    step: StepConfig = options(default=StepConfig(), group=_TO_DO)
    iterations_per_loop: PositiveInt = loop_options.iterations_per_loop()

    def __post_init__(self) -> None:
        """Raises UsageError for settings that contradict each other."""
        if self.compile_for is not None:
            parse_targets(self.compile_for)
        elif self.find_batch_size:
            raise UsageError(
                "--find_batch_size goes with --compile_for: say for which devices, or leave it out."
            )
        if not self.trains and not self.do_eval:
            raise UsageError("nothing to do: give --do_train, --do_eval or both.")
        if self.init_vocab_file and not (self.init_checkpoint and self.vocab_file):
            raise UsageError(
                "--init_vocab_file needs --init_checkpoint and --vocab_file: add them, or leave it out."
            )
        if self.grammar_file and not self.vocab_file:
            raise UsageError(
                "--grammar_file needs --vocab_file, which cuts the sentences into pieces: add it."
            )
        if self.grammar_file and not (self.do_eval or self.eval_every or self.eval_at_start):
            raise UsageError("--grammar_file applies to evaluations only: add --do_eval or --eval_every.")
        if self.num_train_epochs is not None and self.num_train_steps is not None:
            raise UsageError("give --num_train_steps or --num_train_epochs, not both.")
        if self.init_generator_checkpoint and not self.init_checkpoint:
            raise UsageError(
                "--init_generator_checkpoint needs --init_checkpoint, the discriminator, whose embeddings both "
                "networks share: add it, or leave it out."
            )
        self._check_electra()
        self._check_time()
        if self.warmup_proportion is not None and self.num_warmup_steps is not None:
            raise UsageError("give --num_warmup_steps or --warmup_proportion, not both.")
        if self.masked_lm_schedule is not None:
            parse_mask_schedule(self.masked_lm_schedule)
        phases = self.parsed_phases
        if not phases:
            return
        if self.group_by_length or self.num_train_epochs is not None:
            raise UsageError("--phases cannot be combined with --group_by_length or --num_train_epochs.")
        longest = max(phase.max_seq_length for phase in phases)
        if self.max_seq_length not in (None, longest):
            raise UsageError(
                f"--max_seq_length={self.max_seq_length}, but the longest of --phases is {longest}: leave it out."
            )

    def _check_electra(self) -> None:
        if self.objective != "electra":
            for name in (
                "generator_config_file",
                "generator_size",
                "discriminator_weight",
                "init_generator_checkpoint",
                "embedding_sharing",
            ):
                if self._differs_from_default(name):
                    raise UsageError(f"--{name} is for --objective=electra: add that, or leave it out.")
            return
        if self.generator_config_file is not None and self._differs_from_default("generator_size"):
            raise UsageError("give --generator_size or --generator_config_file, not both.")
        if self.z_loss:
            raise UsageError("--z_loss is for --objective=masked_lm: leave it out.")

    def _differs_from_default(self, name: str) -> bool:
        default = next(field.default for field in dataclasses.fields(self) if field.name == name)
        return bool(getattr(self, name) != default)

    def _check_time(self) -> None:
        if self.train_time is None:
            return
        parse_train_time(self.train_time)
        for name in ("num_train_steps", "num_train_epochs", "dry_run"):
            if getattr(self, name):
                raise UsageError(f"give --train_time or --{name}, not both.")
        if not self.trains:
            raise UsageError("--train_time needs --do_train: add it, or leave the time out.")

    @property
    def trains(self) -> bool:
        """Whether the run trains, or checks a training."""
        return self.do_train or self.dry_run or self.compile_for is not None

    @property
    def parsed_phases(self) -> tuple[Phase, ...]:
        """Returns the phases of the field `phases`."""
        return parse_phases(self.phases) if self.phases is not None else ()


@dataclasses.dataclass(frozen=True)
class PretrainingResult:
    """The result of a run.

    Attributes:
      output_dir: the folder with its checkpoints.
      step: its last step.
      metrics: its last held-out figures by name, if there was an evaluation.
      stopped_by: the number of the signal that stopped it, or None; the same call continues the run.
      report: the page about the run, if one was written.
    """

    output_dir: str
    step: int
    metrics: dict[str, float] | None = None
    stopped_by: int | None = None
    report: str | None = None


def run_pretraining(config: PretrainingConfig) -> PretrainingResult:
    """Trains and evaluates as configured; an interrupted run continues exactly.

    Returns:
      The last step, the figures of the held-out records if they were evaluated, and the number of the signal that ended
      the run, if any.

    Raises:
      MorphbertError: the input, the configuration or the machine must change first; nothing was overwritten.
    """
    load_plugins(config.plugin)
    check_files(config)
    quiet_tensorflow.load()
    began = time.monotonic()
    starts = ("init_checkpoint", "init_generator_checkpoint")
    given: dict[str, Any] = {name: pinned(path) for name in starts if (path := getattr(config, name))}
    config = dataclasses.replace(config, **given)
    from morphbert.interop.vocabularies import put_beside_run, vocabulary_of_run
    from morphbert.train.input.record_sets import manifests
    from morphbert.train.run import pretrain
    from morphbert.train.run_setup import RunHooks

    run = run_config(config)
    if config.compile_for is not None:
        from morphbert.train.accelerator_check.of_run import compile_run

        compile_run(run, parse_targets(config.compile_for), config.find_batch_size)
        return PretrainingResult(config.output_dir, 0)

    with held_back() as say_hints:
        tokenizer = None
        if config.vocab_file:
            of_records = manifests(run.input_files).values()
            tokenizer = vocabulary_of_run(config.vocab_file, run.bert_config, of_records)

        def put_vocabulary() -> None:
            if tokenizer is not None and config.vocab_file:
                put_beside_run(config.output_dir, tokenizer, config.vocab_file)

        hooks = RunHooks(
            read_weights=partial(_initial_weights, config, run),
            with_steps=partial(run_config, config),
            when_checked=say_hints,
            before_training=put_vocabulary,
            began=began,
        )
        outcome = pretrain(run, hooks)
    report = None
    if config.do_train and not config.dry_run and outcome.stopped_by is None and outcome.is_chief:
        report = _report(config.output_dir)
    return PretrainingResult(config.output_dir, outcome.step, outcome.metrics, outcome.stopped_by, report)


def _initial_weights(config: PretrainingConfig, run: RunConfig, path: str) -> Mapping[str, np.ndarray]:
    """Reads the weights that a run starts from, those of both networks for an ELECTRA."""
    from morphbert.interop.starting import Vocabularies, initial_weights, initial_weights_of_both
    from morphbert.train.input.record_sets import vocabulary_of

    vocabularies = Vocabularies(config.vocab_file, config.init_vocab_file, vocabulary_of(run.input_files))
    if run.electra is None:
        return initial_weights(path, run.bert_config, vocabularies)
    return initial_weights_of_both(
        path,
        config.init_generator_checkpoint,
        run.bert_config,
        run.electra.generator,
        vocabularies,
        disentangles=run.electra.disentangles,
    )


def _report(output_dir: str) -> str | None:
    """Writes the page about the run; a failure is only a warning."""
    from morphbert.api.reporting import TrainingReportConfig, training_report

    try:
        return training_report(TrainingReportConfig(output_dir=output_dir))
    except MorphbertError as error:
        print(f"warning: no report was written: {error}", file=sys.stderr)
        return None
