"""Decides how many steps a run of `--train_time` has, by timing its parts."""

from __future__ import annotations

import dataclasses
import time

from morphbert.train import loop, preflight
from morphbert.train.log import duration
from morphbert.train.optimizers.config import ScheduledConfig
from morphbert.train.run_evaluation import HeldOut
from morphbert.train.run_setup import RunSetup
from morphbert.train.run_start import Place, open_run
from morphbert.train.step import TrainingStep
from morphbert.train.time_plan import TIMED_AT_MOST, TIMED_SHARE, Costs, Stops, steps_in
from morphbert.train.train_state import TrainState


def make_plan(setup: RunSetup, training: TrainingStep, held_out: HeldOut) -> RunSetup:
    """Returns the run with the number of steps that its time holds; the variables are as before the first step.

    The caller makes its step `again` afterwards, with the new number of steps.

    Raises:
      MorphbertError: the time is too short for one step.
    """
    seconds, with_steps = setup.config.train_time, setup.hooks.with_steps
    assert seconds is not None
    assert with_steps is not None
    costs = _costs(setup, training, held_out, seconds)
    before = setup.config
    stops = Stops(before.save_checkpoints_steps, before.eval_every, before.eval_at_start, before.do_eval)
    steps = steps_in(seconds, costs, stops)
    config = with_steps(steps)
    _put_back(setup.train_state, config.optimizer)
    print(
        f"plan: {steps} steps in {duration(seconds)}: {costs.spent:.1f} s so far, {costs.step:.4g} s a step, "
        f"{stops.saves(steps)} saves of {costs.save:.2g} s, "
        f"{stops.evaluations(steps)} evaluations of {costs.evaluation:.2g} s",
        flush=True,
    )
    preflight.warn_of_warmup(config.optimizer)
    plan = {"train_time": seconds, "num_train_steps": steps, **dataclasses.asdict(costs)}
    return dataclasses.replace(setup, config=config, plan=plan)


def _costs(setup: RunSetup, training: TrainingStep, held_out: HeldOut, seconds: float) -> Costs:
    """Times steps, an evaluation and a save; the steps move the weights. All workers have the same result."""
    agree = setup.agree
    running = open_run(setup, Place.beginning(setup.config))
    timed = min(TIMED_SHARE * seconds, TIMED_AT_MOST)
    step, begin = loop.time_steps(running.feed, training, timed, agree)
    evaluation = agree(held_out.seconds())
    save = agree(running.checkpoints.seconds_of_save())
    return Costs(agree(time.monotonic() - setup.hooks.began), begin + save, step, save, evaluation)


def _put_back(train_state: TrainState, optimizer: ScheduledConfig) -> None:
    """Gives all variables their first values, and the optimizer its number of steps."""
    train_state.optimizer.take_steps(optimizer)
    for part in (train_state.model, train_state.optimizer, train_state.loss_scale):
        if part is not None:
            part.reset()
    if train_state.average:
        train_state.average.start_from(train_state.model)
