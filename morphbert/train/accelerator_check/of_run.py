"""`--compile_for`: compiles the step of a pretraining run for devices that this machine does not have."""

from __future__ import annotations

from collections.abc import Sequence

from morphbert.errors import MorphbertError
from morphbert.train import preflight
from morphbert.train.accelerator_check.check import Checker, largest_batch
from morphbert.train.accelerator_check.program import Input, StepProgram
from morphbert.train.accelerator_check.report import Refusal, describe
from morphbert.train.accelerator_check.targets import Target
from morphbert.train.config import RunConfig
from morphbert.train.input.records import Reading, RecordFormat, training_dataset


def batch_of(form: RecordFormat, rows: int) -> tuple[Input, ...]:
    """Returns the tensors that training reads from records of a form, for one device with so many rows."""
    specification = training_dataset(("records",), form, Reading(rows, 0, 1)).element_spec
    return tuple(Input(name, tuple(one.shape), one.dtype.name) for name, one in sorted(specification.items()))


def programs_of(config: RunConfig, replicas: int) -> list[tuple[str, StepProgram]]:
    """Returns the compiled programs for one of `replicas` devices: a step and its name for each length and batch.

    Raises:
      MorphbertError: the batch cannot be shared out.
    """
    programs: list[tuple[str, StepProgram]] = []
    for chosen in config.records:
        batch, parts = chosen.batch_size or config.train_batch_size, config.step.gradient_accumulation_steps
        flag = "phases" if chosen.batch_size else "train_batch_size"
        preflight.check_batch(flag, batch, replicas, parts)
        program = StepProgram(
            bert_config=config.bert_config,
            optimizer=config.optimizer,
            step=config.step,
            batch=batch_of(chosen.form, batch // replicas),
            z_loss=config.z_loss,
            ema_decay=config.ema_decay,
            electra=config.electra,
        )
        named = (f"{chosen.form.shape.max_seq_length} pieces", program)
        if named not in programs:  # sets of a mixture, or phases, may be of one form
            programs.append(named)
    return programs


def compile_run(config: RunConfig, targets: Sequence[Target], find_batch_size: bool = False) -> None:
    """Prints the compilers' results for a run's steps; with `find_batch_size` also the largest batch that fits.

    Raises:
      MorphbertError: a step does not compile or does not fit, or an environment is missing.
    """
    preflight.check_records(config.records)
    failed = []
    with Checker() as checker:
        for target in targets:
            for name, program in programs_of(config, target.replicas):
                if find_batch_size:
                    _find(checker, program, target, name, config.step.gradient_accumulation_steps)
                    continue
                report = checker.report(program, target, name)
                print(describe(report), flush=True)
                if not report.fits:
                    failed.append(f"{target.name} ({name})")
    if failed:
        raise MorphbertError(
            f"--compile_for: the step cannot run on {', '.join(failed)}: the lines above say why."
        )


def _find(checker: Checker, program: StepProgram, target: Target, name: str, parts: int) -> None:
    described = {}

    def fits(rows: int) -> bool:
        report = checker.report(program.with_rows(rows), target, name)
        result = report.result
        if isinstance(result, Refusal) and not result.is_of_memory:
            raise MorphbertError(describe(report))
        described[rows] = describe(report)
        room = "fits" if report.fits else "does not fit"
        print(f"{target.name}: {name}: {rows} rows on each device: {room}", flush=True)
        return report.fits

    rows = largest_batch(fits, program.rows, parts)
    if not rows:
        raise MorphbertError(
            f"--find_batch_size: not even a batch of {parts} rows on each device fits into {target.name}: give "
            "--recompute, a narrower --dtype, a smaller model, or another device."
        )
    print(described[rows])
    print(
        f"{target.name}: {name}: the largest batch that fits is about {rows} rows on each device: "
        f"--train_batch_size={rows * target.replicas}",
        flush=True,
    )
