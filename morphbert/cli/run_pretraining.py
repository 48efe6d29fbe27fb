"""`run_pretraining.py`: records → a pretrained model."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from absl import flags

from morphbert.cli import quiet_tensorflow, training_flags
from morphbert.cli.command import Command
from morphbert.errors import MorphbertError, UsageError
from morphbert.train import choices
from morphbert.train.phases import in_phases, parse_phases

if TYPE_CHECKING:
    import numpy as np

    from morphbert.model.config import BertConfig
    from morphbert.train.config import RunConfig
    from morphbert.train.input.record_sets import RecordSet
    from morphbert.train.phases import Phase


def _command() -> Command:
    command = Command(
        "run_pretraining.py",
        "Pretrains BERT on TFRecords, on CPU, GPUs or a TPU; run again, it continues where it stopped.",
        """
        run_pretraining.py --bert_config_file=bert_config.json --input_file='data/train.tfrecord*' \\
            --output_dir=out/model --do_train --do_eval --eval_input_file=data/eval.tfrecord \\
            --train_batch_size=32 --num_train_steps=100000 --num_warmup_steps=10000 --learning_rate=1e-4
        """,
    )
    _define_input(command)
    _define_training(command)
    _define_start(command)
    training_flags.define_optimizer(command)
    _define_output(command)
    training_flags.define_devices(command)
    return command


def _define_input(command: Command) -> None:
    command.group("Input and output")
    command.string(
        "bert_config_file",
        None,
        "The model's sizes, a JSON file like google-research/bert's bert_config.json. Its vocab_size has to be "
        "the number of lines of the vocabulary that the records were made with.",
        required=True,
    )
    command.string(
        "input_file",
        None,
        "Records to train on, made by create_pretraining_data.py: a path, a glob in quotes, or several of both "
        "with commas. Example: --input_file='data/train.tfrecord*'",
        required=True,
    )
    command.string(
        "output_dir",
        None,
        "Folder for checkpoints, metrics.jsonl and TensorBoard logs. If it holds a checkpoint, the run goes on "
        "from there, exactly.",
        required=True,
    )
    command.string(
        "eval_input_file", None, "Held-out records for --do_eval; without it --input_file is used."
    )
    command.string(
        "vocab_file",
        None,
        "The vocabulary that the records were made with, a folder of build_vocab.py or a vocab.txt. Training needs "
        "none. A copy is put beside the checkpoints, where fill_mask.py, export_model.py and others find it; "
        "evaluations tell apart nouns, josa and endings, whole eojeols, frequent and rare pieces; the report shows "
        "masks that the model fills in. With --init_checkpoint of another vocabulary, a piece that both have "
        "keeps its embedding, another starts from the mean of the old pieces that spell it. Example: "
        "--vocab_file=vocab/mine",
    )
    command.integer(
        "max_seq_length",
        128,
        "Pieces in a sequence, [CLS] and [SEP] included. Has to be that of the records: it is checked.",
        lower_bound=1,
    )
    command.boolean(
        "group_by_length",
        False,
        "Train on records of several lengths (create_pretraining_data.py --length_bins): a step takes a batch of one "
        "length, each length in proportion to its records. The two flags around this one are those of the longest.",
    )
    command.string(
        "phases",
        None,
        "Train on records of one length after the other, each for a share of the steps: LENGTH:SHARE, and :BATCH_SIZE "
        "where it is not --train_batch_size. --input_file names the records of all of them; their manifests tell "
        "lengths and places for masks, so that the flags around this one are not needed. Example, as BERT was "
        "trained: --phases=128:0.9,512:0.1",
    )
    command.integer(
        "max_predictions_per_seq",
        20,
        "Places for masked pieces in a record. Has to be that of the records. It is the length times the share "
        "of masked pieces, rounded up: 128 × 15% = 19.2, so 20 at 128, and 77 (BERT: 80) at 512. More only adds "
        "padding; fewer cuts masks off long sequences.",
        lower_bound=1,
    )


def _define_start(command: Command) -> None:
    command.group("Starting from a model")
    command.string(
        "init_checkpoint",
        None,
        "Weights to start from instead of random ones: a checkpoint of this program, or a TensorFlow 1 one of "
        "google-research/bert, as a prefix or a folder; or a folder of Hugging Face's, BERT, RoBERTa or ALBERT. What "
        "it lacks is listed and stays random. More positions repeat those that it has; for another vocabulary see "
        "--vocab_file.",
    )
    command.string(
        "init_vocab_file",
        None,
        "The vocabulary of --init_checkpoint, where it is another than --vocab_file. Default: the one beside it.",
    )


def _define_training(command: Command) -> None:
    command.group("What to do")
    command.boolean("do_train", False, "Train.")
    command.boolean("do_eval", False, "Evaluate at the end and write eval_results.txt.")
    command.boolean(
        "eval_at_start", False, "Also evaluate before the first step, to have something to compare with."
    )
    command.integer(
        "eval_every",
        None,
        "Also evaluate every so many steps, and keep the checkpoint with the lowest held-out loss in OUTPUT_DIR/best. "
        "Example: --eval_every=1000",
        lower_bound=1,
    )
    command.boolean(
        "dry_run",
        False,
        "Check everything, take three steps, say how long a whole run would take, and keep nothing.",
    )
    command.integer(
        "train_batch_size",
        32,
        "Sequences in a step, over all devices together. BERT used 256.",
        lower_bound=1,
    )
    command.integer("eval_batch_size", 8, "Sequences in a step of the evaluation.", lower_bound=1)
    command.integer(
        "max_eval_steps", 100, "Steps of the evaluation at most; each record counts once.", lower_bound=1
    )
    command.integer("num_train_steps", 100_000, "Steps to train, those already done included.", lower_bound=1)
    command.number(
        "num_train_epochs",
        None,
        "Passes over the records instead of --num_train_steps. With records made at --dupe_factor=10, one pass is "
        "ten passes over the text. Example: --num_train_epochs=3",
        lower_bound=1e-9,
    )
    command.integer(
        "gradient_accumulation_steps",
        1,
        "Computes each batch in that many parts, for batches that do not fit into memory; the update is the same.",
        lower_bound=1,
    )
    command.boolean(
        "recompute",
        False,
        "Compute each layer a second time for its gradients instead of keeping its activations: far less memory, about "
        "a third more time, the same numbers.",
    )
    for name, what in (
        ("hidden_dropout_prob", "of embeddings and both sub-layers"),
        ("attention_probs_dropout_prob", "of the attention weights"),
    ):
        command.number(
            name,
            None,
            f"Dropout rate {what}, instead of the one in --bert_config_file. Example: --{name}=0",
            lower_bound=0.0,
            upper_bound=1.0,
        )
    command.enum(
        "on_divergence",
        "stop",
        choices.ON_DIVERGENCE,
        "When the loss is not a number or blows up. stop: end the run. rollback: go back to the last checkpoint and "
        "leave out the data since; after three times in vain, end it.",
    )
    command.boolean(
        "skip_corrupt_records",
        False,
        "Leave out what cannot be read of damaged record files instead of stopping. All files are read through first, "
        "to name what is left out.",
    )
    command.integer("seed", 12345, "Of initial weights, dropout and order of the records.", lower_bound=0)


def _define_output(command: Command) -> None:
    command.group("Checkpoints and log")
    command.integer("save_checkpoints_steps", 1000, "Steps between checkpoints.", lower_bound=1)
    command.integer("keep_checkpoint_max", 5, "Newest checkpoints to keep.", lower_bound=1)
    command.integer("log_steps", 100, "Steps between lines of progress.", lower_bound=1)
    command.integer(
        "shuffle_buffer_size",
        1000,
        "Records in the window that training shuffles in. create_pretraining_data.py shuffles all of them, so a "
        "small window is enough.",
        lower_bound=1,
    )


def _check(command: Command, values: flags.FlagValues) -> None:
    if values.dry_run:  # of training
        values.do_train = True
    if not values.do_train and not values.do_eval:
        raise UsageError("nothing to do: give --do_train, --do_eval or both.")
    if values.init_vocab_file and not (values.init_checkpoint and values.vocab_file):
        raise UsageError(
            "--init_vocab_file goes with --init_checkpoint and --vocab_file: add them, or leave it out."
        )
    if values.num_train_epochs is not None and command.given("num_train_steps"):
        raise UsageError("give --num_train_steps or --num_train_epochs, not both.")
    if values.phases is not None:
        if values.group_by_length or values.num_train_epochs is not None:
            raise UsageError("--phases goes neither with --group_by_length nor with --num_train_epochs.")
        longest = max(phase.max_seq_length for phase in parse_phases(values.phases))
        if command.given("max_seq_length") and values.max_seq_length != longest:
            raise UsageError(
                f"--max_seq_length={values.max_seq_length}, but the longest of --phases is {longest}: leave it out."
            )
    training_flags.check(values)


def _bert_config(values: flags.FlagValues) -> BertConfig:
    from morphbert.model.config import BertConfig

    rates = {name: getattr(values, name) for name in ("hidden_dropout_prob", "attention_probs_dropout_prob")}
    given = {name: rate for name, rate in rates.items() if rate is not None}
    return dataclasses.replace(BertConfig.from_json_file(values.bert_config_file), **given)


def _records(
    values: flags.FlagValues,
    model: BertConfig,
    phases: tuple[Phase, ...],
    num_train_steps: int,
    input_files: tuple[str, ...],
    eval_files: tuple[str, ...],
) -> tuple[tuple[RecordSet, ...], tuple[RecordSet, ...]]:
    """What is trained on, in the order of the phases, and what is held out."""
    from morphbert.data.records import RecordShape
    from morphbert.train.input.record_sets import SetFinder
    from morphbert.train.preflight import check_shapes

    shape: RecordShape | None = RecordShape(values.max_seq_length, values.max_predictions_per_seq)
    by_length = "--group_by_length" if values.group_by_length else None
    if phases:
        shape, by_length = None, "--phases"
    corrupt = values.skip_corrupt_records
    finder = SetFinder.of(model, shape, by_length, input_files, eval_files, values.seed, corrupt)
    records, eval_records = finder.sets(input_files), finder.sets(eval_files)
    if phases:
        records = in_phases(records, phases, num_train_steps)
    for chosen in (*records, *eval_records):
        check_shapes(chosen.form.shape, model)
    return records, eval_records


def _config(values: flags.FlagValues) -> RunConfig:
    from morphbert.train.config import RunConfig
    from morphbert.train.input.record_sets import num_records
    from morphbert.train.preflight import expand_records

    bert_config = _bert_config(values)
    input_files = expand_records(values.input_file, "--input_file")
    eval_files: tuple[str, ...] = ()
    if values.do_eval or values.eval_at_start or values.eval_every:
        given = values.eval_input_file is not None
        eval_files = expand_records(values.eval_input_file, "--eval_input_file") if given else input_files
    num_train_steps = values.num_train_steps
    if values.num_train_epochs is not None:
        count = num_records(input_files)
        num_train_steps = max(1, round(count * values.num_train_epochs / values.train_batch_size))
        print(f"training: {values.num_train_epochs:g} epochs of {count} records are {num_train_steps} steps")
    devices = training_flags.devices(values)
    optimizer = training_flags.optimizer(values, num_train_steps, values.num_warmup_steps)
    step = training_flags.step(values, devices)
    phases = parse_phases(values.phases) if values.phases is not None else ()
    records, eval_records = _records(values, bert_config, phases, num_train_steps, input_files, eval_files)
    same_name = (
        *(
            "output_dir",
            "vocab_file",
            "init_checkpoint",
            "do_train",
            "do_eval",
            "eval_at_start",
            "eval_every",
            "dry_run",
            "train_batch_size",
        ),
        *("eval_batch_size", "max_eval_steps", "save_checkpoints_steps", "keep_checkpoint_max"),
        *("iterations_per_loop", "log_steps", "shuffle_buffer_size", "on_divergence"),
    )
    return RunConfig(
        bert_config=bert_config,
        records=records,
        phases=phases,
        eval_records=eval_records,
        optimizer=optimizer,
        step=step,
        devices=devices,
        **{name: getattr(values, name) for name in same_name},
    )


def _write_report(values: flags.FlagValues) -> None:
    """The page about the run; what goes wrong with it is said and undoes nothing."""
    from morphbert.cli.training_report import filled_masks
    from morphbert.train.report import write_report

    try:
        path = write_report(values.output_dir, filled_masks(values.output_dir))
    except MorphbertError as error:
        print(f"warning: no report was written: {error}", file=sys.stderr)
    else:
        print(f"report: {path}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (128 + the signal's number where one stopped it)."""
    command = _command()
    stopped_by: list[int] = []

    def pretrain(values: flags.FlagValues) -> None:
        _check(command, values)
        quiet_tensorflow.load()
        from morphbert.interop.starting import initial_weights
        from morphbert.interop.vocabularies import put_beside_run, vocabulary_of_run
        from morphbert.train.input.record_sets import manifests
        from morphbert.train.run import pretrain as run

        config = _config(values)

        def read(path: str) -> Mapping[str, np.ndarray]:
            return initial_weights(path, config.bert_config, values.vocab_file, values.init_vocab_file)

        tokenizer = None
        if values.vocab_file:
            found = manifests(config.input_files).values()
            tokenizer = vocabulary_of_run(values.vocab_file, config.bert_config, found)

        def keep_vocabulary() -> None:
            if tokenizer is not None:
                put_beside_run(config.output_dir, tokenizer, values.vocab_file)

        outcome = run(config, read, keep_vocabulary)
        if values.do_train and not values.dry_run and outcome.stopped_by is None and outcome.is_chief:
            _write_report(values)
        if outcome.stopped_by is not None:
            stopped_by.append(outcome.stopped_by)
            print(
                f"stopped by signal {outcome.stopped_by} at step {outcome.step}; the same command continues.",
                file=sys.stderr,
            )

    status = command.run(argv, pretrain)
    return 128 + stopped_by[0] if stopped_by else status


if __name__ == "__main__":
    sys.exit(main())
