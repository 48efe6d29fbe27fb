"""One pretraining run from its configuration to its last checkpoint.

The parts of it, in the order of their use: `run_setup` builds what stays, `run_plan` decides the number of steps where
time is given, `run_start` takes weights and data to where they start, `loop` takes the steps, `run_evaluation` judges
them, and `checkpoint` saves them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.text.loading import load_tokenizer
from morphbert.text.tokenizer import Tokenizer
from morphbert.train import loop, preflight
from morphbert.train.cluster.device_peak import device_peak_flops
from morphbert.train.cluster.shared_folder import check_shared
from morphbert.train.cluster.strategy import cluster_of
from morphbert.train.cluster.workers import Cluster, joined
from morphbert.train.config import RunConfig
from morphbert.train.evaluation import write_results
from morphbert.train.log import RunLog, no_log
from morphbert.train.mask_schedule import parse_mask_schedule
from morphbert.train.objective import describe_pretraining
from morphbert.train.phases import describe_phases
from morphbert.train.run_evaluation import HeldOut, keeping_the_best
from morphbert.train.run_facts import describe_run, write_run
from morphbert.train.run_plan import make_plan
from morphbert.train.run_setup import RunHooks, RunSetup, set_up
from morphbert.train.run_start import OpenRun, load_for_evaluation, open_run, place_in_data, start_weights
from morphbert.train.step import TrainingStep

# TensorFlow's errors for a worker that is gone; they often come before its connection reports it.
_LOST = (
    *(tf.errors.UnavailableError, tf.errors.CancelledError, tf.errors.AbortedError),
    *(tf.errors.DeadlineExceededError, tf.errors.InternalError),
)
_SECONDS_TO_NOTICE = 10.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a run: its last step, the signal that stopped it, and its held-out figures.

    is_chief: whether this process is the one of several that writes.
    """

    step: int
    stopped_by: int | None = None
    metrics: dict[str, float] | None = None
    is_chief: bool = True


def pretrain(config: RunConfig, hooks: RunHooks) -> Outcome:
    """Checks everything, then trains and evaluates as configured.

    Args:
      config: the run.
      hooks: the functions of the command that are called in it.

    Raises:
      MorphbertError: the input, the flags or the machine must change first; nothing was overwritten.
    """
    cluster = cluster_of(config.devices)
    with preflight.alone_in(config.output_dir) if cluster.is_chief else _silent():
        _check_all_records(config)
        tokenizer = load_tokenizer(config.vocab_file, allow_mismatch=True) if config.vocab_file else None
        with (
            joined(cluster, _same_in_all(config), config.devices.connect_timeout),
            _naming_lost_workers(cluster),
        ):
            return _run(set_up(config, hooks, cluster), tokenizer)


def _check_all_records(config: RunConfig) -> None:
    for sets in (config.records if config.do_train else (), config.eval_records):
        preflight.check_records(sets)
        for record_set in sets:
            preflight.check_labels(record_set.form.layout, config.bert_config)
    if config.do_train:
        preflight.check_held_out(config.records, config.eval_records)


def _same_in_all(config: RunConfig) -> dict[str, Any]:
    """Returns the settings that must be equal in all workers, as JSON values."""
    settings = dataclasses.asdict(config)
    return dict(json.loads(json.dumps({**settings, "devices": None}, default=str)))


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Drops this process's output: the first worker prints the same. Errors go elsewhere."""
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        yield


@contextlib.contextmanager
def _naming_lost_workers(cluster: Cluster) -> Iterator[None]:
    """Turns TensorFlow's error about a worker that is gone into one that says what to do."""
    try:
        yield
    except _LOST as error:
        if cluster.size == 1:
            raise
        # The connections tell which worker it is, and end this process.
        time.sleep(_SECONDS_TO_NOTICE)
        raise MorphbertError(
            f"the workers can no longer reach each other: {error.message.splitlines()[0]} Start all of them "
            "again: they continue from the last checkpoint."
        ) from error


def _run(setup: RunSetup, tokenizer: Tokenizer | None) -> Outcome:
    """Trains, evaluates, or both."""
    held_out = HeldOut(setup, tokenizer)
    if setup.config.do_train:
        sharers = setup.devices.sharers_of_batch
        step_config, strategy = setup.config.step, setup.devices.strategy
        training = TrainingStep(setup.objective, setup.train_state, strategy, step_config, sharers)
        if setup.config.train_time is not None and setup.plan is None:
            setup = make_plan(setup, training, held_out)
            training = training.again()
        reached = _train(setup, training, held_out)
    else:
        reached = loop.Reached(load_for_evaluation(setup))
        setup.hooks.when_checked()
    is_chief = setup.cluster.is_chief
    if not setup.config.do_eval or reached.stopped_by is not None or setup.config.dry_run:
        return Outcome(reached.step, reached.stopped_by, is_chief=is_chief)
    return Outcome(reached.step, metrics=_final_figures(setup, held_out, reached.step), is_chief=is_chief)


def _train(setup: RunSetup, training: TrainingStep, held_out: HeldOut) -> loop.Reached:
    """Takes the run from where it starts or continues to its last step, as far as no signal stops it."""
    config = setup.config
    if not config.dry_run:
        newest = setup.restored.step if setup.restored else None
        check_shared(config.output_dir, setup.cluster, setup.agree, newest)
    place = place_in_data(setup)
    running = open_run(setup, place)
    _say_phases_and_masks(config)
    step = start_weights(setup, running.checkpoints, place)
    setup.hooks.when_checked()
    if config.dry_run:
        loop.try_out(config, running.feed, training)
        return loop.Reached(step)
    if loop.finished(config, running.state, step):
        last = config.optimizer.num_train_steps
        print(f"training: already at step {step} of {last}, nothing to do", flush=True)
        return loop.Reached(step)
    if setup.cluster.is_chief:
        devices, parameters = setup.devices, setup.footprint.parameters
        write_run(config.output_dir, describe_run(config, devices.chosen, devices.num_replicas, parameters))
        setup.hooks.before_training()
    reached = _take_steps(setup, training, held_out, running, step)
    for line in running.feed.described_sources():
        print(f"mixture: {line}", flush=True)
    return reached


def _say_phases_and_masks(config: RunConfig) -> None:
    if config.phases:
        print(f"phases: {describe_phases(config.records, config.train_batch_size)}", flush=True)
    if config.masked_lm_schedule is not None:
        print(f"masks: {parse_mask_schedule(config.masked_lm_schedule).in_words()}", flush=True)


def _take_steps(
    setup: RunSetup, training: TrainingStep, held_out: HeldOut, running: OpenRun, step: int
) -> loop.Reached:
    """Trains from a step on; log and checkpoints are complete afterwards."""
    log = _open_log(setup, step)
    with contextlib.closing(log), running.checkpoints.finishing():
        if setup.plan and not setup.restored:
            running.checkpoints.save(0)
        if setup.config.eval_at_start and step == 0:
            held_out.evaluate(0, log)
        return loop.TrainingLoop(
            config=setup.config,
            feed=running.feed,
            training=training,
            checkpoints=running.checkpoints,
            state=running.state,
            log=log,
            evaluate=keeping_the_best(held_out, running, log),
            agree=setup.agree,
        ).run(step)


def _final_figures(setup: RunSetup, held_out: HeldOut, step: int) -> dict[str, float] | None:
    """Writes and returns the held-out figures of the last step, which the training may have evaluated."""
    figures = held_out.figures_of(step)
    if figures is None:
        with contextlib.closing(_open_log(setup, step)) as log:
            figures = held_out.evaluate(step, log)
    assert figures is not None  # nothing interrupts this evaluation
    if setup.cluster.is_chief:
        path = write_results(setup.config.output_dir, step, figures)
        print(f"evaluation: written to {path}", flush=True)
    return figures


def _open_log(setup: RunSetup, step: int) -> RunLog:
    """Returns the log from a step on; that of other workers than the first writes nothing."""
    if not setup.cluster.is_chief:
        return no_log()
    config = setup.config
    peak = config.devices.peak_flops or device_peak_flops(config.step.dtype)
    return RunLog(
        config.output_dir,
        step,
        config.optimizer.num_train_steps,
        config.train_batch_size,
        describe_pretraining,
        peak_flops=peak and peak * setup.devices.num_replicas,
        began=setup.hooks.began,
    )
