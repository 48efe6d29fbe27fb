"""A pretraining run from its options: the model, the records found, the steps and the optimizer."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from morphbert.atomic_files import check_writable
from morphbert.data.mixture import split_weight
from morphbert.errors import MorphbertError
from morphbert.files import check_there, in_other_forms, is_remote
from morphbert.plugins import identities
from morphbert.train.mask_schedule import parse_mask_schedule
from morphbert.train.optimizers.config import ScheduledConfig, warmup_steps
from morphbert.train.phases import in_phases
from morphbert.train.time_plan import BEFORE_PLAN, parse_train_time

if TYPE_CHECKING:
    from morphbert.api.pretraining import PretrainingConfig
    from morphbert.model.config import BertConfig
    from morphbert.model.electra import Electra
    from morphbert.train.config import RunConfig
    from morphbert.train.input.record_sets import RecordSet

# BERT's numbers, where the options give none.
STEPS = 100_000
WARMUP_STEPS = 10_000
MAX_SEQ_LENGTH = 128


def check_files(config: PretrainingConfig) -> None:
    """Checks that the local files of a run exist, before the load of TensorFlow, which takes seconds.

    Raises:
      MorphbertError: a file is missing.
    """
    check_there(
        bert_config_file=config.bert_config_file,
        vocab_file=config.vocab_file,
        grammar_file=config.grammar_file,
    )
    for flag, patterns in (("input_file", config.input_file), ("eval_input_file", config.eval_input_file)):
        for pattern in filter(None, (part.strip() for part in (patterns or "").split(","))):
            if flag == "input_file" and not is_remote(pattern):
                pattern = split_weight(pattern, _is_there, f"--{flag}")[0]
            if not (is_remote(pattern) or _is_there(pattern)):
                raise MorphbertError(
                    f"--{flag}: no file matches {pattern!r} (working directory: {os.getcwd()}). Make records with "
                    "create_pretraining_data.py, and put globs in quotes."
                )

    if config.output_dir:
        check_writable(config.output_dir)


def _is_there(pattern: str) -> bool:
    return os.path.exists(pattern) or bool(in_other_forms(pattern))


def run_config(config: PretrainingConfig, planned_steps: int | None = None) -> RunConfig:
    """Returns the run with its files found and its records known; with the steps that `--train_time` has been found to
    hold.
    """
    from morphbert.train.cluster.strategy import decide_xla
    from morphbert.train.config import RunConfig
    from morphbert.train.input.record_sets import mixed
    from morphbert.train.preflight import expand_records, expand_sources

    bert_config = _bert_config(config)
    sources, shares = expand_sources(config.input_file, "--input_file", weighted=True)
    input_files = tuple(file for files in sources for file in files)
    eval_files: tuple[str, ...] = ()
    if config.do_eval or config.eval_at_start or config.eval_every:
        given = config.eval_input_file
        eval_files = input_files if given is None else expand_records(given, "--eval_input_file")
    num_train_steps = planned_steps or _steps(config, input_files)
    optimizer = _optimizer(config, num_train_steps)
    step = decide_xla(config.step, config.devices)
    records, eval_records = _records(config, bert_config, num_train_steps, input_files, eval_files)
    if shares:
        records = mixed(records, sources, shares)
    return RunConfig.of(
        config,
        bert_config=bert_config,
        do_train=config.trains,
        electra=_electra(config, bert_config),
        records=records,
        phases=config.parsed_phases,
        eval_records=eval_records,
        optimizer=optimizer,
        step=step,
        plugins=tuple(identities(config.plugin)),
        train_time=parse_train_time(config.train_time) if config.train_time is not None else None,
    )


def _bert_config(config: PretrainingConfig) -> BertConfig:
    from morphbert.model.config import BertConfig

    found = _with_rates(BertConfig.from_json_file(config.bert_config_file), config)
    if config.objective != "electra":
        return found
    from morphbert.model.electra import discriminator_of

    return discriminator_of(found, f"--bert_config_file={config.bert_config_file}")


def _with_rates(model: BertConfig, config: PretrainingConfig) -> BertConfig:
    """Returns a model with the rates of dropout that the options give."""
    rates = {name: getattr(config, name) for name in ("hidden_dropout_prob", "attention_probs_dropout_prob")}
    return dataclasses.replace(model, **{name: rate for name, rate in rates.items() if rate is not None})


def _electra(config: PretrainingConfig, discriminator: BertConfig) -> Electra | None:
    """Returns the generator and the settings of --objective=electra; None for other objectives."""
    from morphbert.model.config import BertConfig
    from morphbert.model.electra import Electra, check_generator, generator_of

    if config.objective != "electra":
        return None
    if config.generator_config_file is None:
        generator = generator_of(discriminator, config.generator_size)
    else:
        origin = f"--generator_config_file={config.generator_config_file}"
        found = _with_rates(BertConfig.from_json_file(config.generator_config_file), config)
        if found.electra == "discriminator":
            raise MorphbertError(f"{origin} describes a discriminator: give the generator's configuration.")
        generator = dataclasses.replace(found, electra="generator", pooler=False, next_sentence_head=False)
        check_generator(generator, discriminator, origin)
    disentangles = config.embedding_sharing == "gradient_disentangled"
    return Electra(generator, config.discriminator_weight, disentangles)


def _records(
    config: PretrainingConfig,
    model: BertConfig,
    num_train_steps: int,
    input_files: tuple[str, ...],
    eval_files: tuple[str, ...],
) -> tuple[tuple[RecordSet, ...], tuple[RecordSet, ...]]:
    """Returns the training records, in the order of the phases, and the held-out records."""
    from morphbert.data.records import RecordShape
    from morphbert.train.input.record_sets import SetFinder
    from morphbert.train.preflight import check_lengths

    phases = config.parsed_phases
    length = config.max_seq_length or MAX_SEQ_LENGTH
    shape: RecordShape | None = RecordShape(length, config.max_predictions_per_seq)
    by_length = "--group_by_length" if config.group_by_length else None
    if phases:
        shape, by_length = None, "--phases"
    seed, corrupt = config.step.seed, config.skip_corrupt_records
    schedule = parse_mask_schedule(config.masked_lm_schedule) if config.masked_lm_schedule else None
    finder = SetFinder.of(
        model, shape, by_length, input_files, seed=seed, skip_corrupt=corrupt, schedule=schedule
    )
    records = finder.sets(input_files)
    eval_records = finder.for_evaluation(eval_files).sets(eval_files) if eval_files else ()
    if phases:
        records = in_phases(records, phases, num_train_steps, config.train_batch_size)
    for chosen in (*records, *eval_records):
        check_lengths(chosen.form.shape, model)
    return records, eval_records


def _steps(config: PretrainingConfig, input_files: tuple[str, ...]) -> int:
    from morphbert.train.input.record_sets import num_records

    if config.train_time is not None:
        return BEFORE_PLAN
    if config.num_train_epochs is None:
        return config.num_train_steps or STEPS
    count = num_records(input_files)
    steps = max(1, round(count * config.num_train_epochs / config.train_batch_size))
    print(f"training: {config.num_train_epochs:g} epochs of {count} records are {steps} steps")
    return steps


def _optimizer(config: PretrainingConfig, num_train_steps: int) -> ScheduledConfig:
    warmup = config.num_warmup_steps
    proportion = config.warmup_proportion
    if warmup is None and proportion is None:
        if config.train_time is not None:
            proportion = WARMUP_STEPS / STEPS
        else:
            warmup = WARMUP_STEPS
    warmup = warmup_steps(warmup, proportion, num_train_steps)
    return config.optimizer.with_steps(num_train_steps, warmup)
