"""The loop on the host: the number of steps in a call, logging, saving, stopping, and recovery from a failed step."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.signals import handled_by
from morphbert.train.checkpoint import Checkpoints, latest
from morphbert.train.config import LoopConfig
from morphbert.train.input.record_sets import Feed, Portion
from morphbert.train.input.records import naming_bad_records
from morphbert.train.log import RunLog, duration
from morphbert.train.objective import Objective
from morphbert.train.run_state import LineSums, Rollbacks, RunState
from morphbert.train.step import TrainingStep

# A call of the compiled loop cannot be interrupted: it is kept to about this long, so that a signal, a line
# of progress and a save are never far away, whatever --iterations_per_loop says.
SECONDS_PER_CALL = 10.0
# A run whose first line of progress is further away than this, in seconds, says its loss and speed once before it.
FIRST_LINE_AFTER = 5.0
# A model that knows nothing has the loss of guessing, ln V + ln 2: twice that, it is broken.
BLOWN_UP = 2.0
# The share that a running mean of the loss keeps of itself with each step: over many steps, and over the last few.
LONG_MEAN, SHORT_MEAN = 0.99, 0.8
MOST_ROLLBACKS = 3
# Steps that are timed at least.
_TIMED_STEPS = 5


class StopRequest:
    """Remembers SIGTERM, SIGHUP, SIGUSR1 and Ctrl-C, so that the run can save first; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
        if number == getattr(signal, "SIGHUP", None):
            _without_terminal()
        print("training: stopping, the checkpoint is saved first", flush=True)


def _without_terminal() -> None:
    """Drops further output if the terminal is gone: a failed print must not end the run unsaved."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # ValueError: it is no file
            handle = stream.fileno()
            try:
                os.write(handle, b"\n")
            except OSError:
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, handle)
                os.close(nothing)


class Diverged(MorphbertError):
    """A step's loss or gradient is not finite, or its loss far too high; `batch` says which records it had."""

    def __init__(self, message: str, batch: str):
        super().__init__(message)
        self.batch = batch


class Verdict(enum.Enum):
    """How training continues after an evaluation."""

    #: Training goes on.
    GO_ON = enum.auto()
    #: Training ends here: more steps would not help.
    ENOUGH = enum.auto()
    #: A signal ends the run, and ended the evaluation before it had figures; the next run makes up for it.
    INTERRUPTED = enum.auto()


class Evaluate(Protocol):
    """Evaluates the model during training."""

    def __call__(self, step: int, stopping: Callable[[], bool], /) -> Verdict:
        """Evaluates the weights of `step`; `stopping` tells, between batches, whether a signal ends the run."""


class Reached(NamedTuple):
    """Where training ended: its last step, and the signal that stopped it before the end, or None."""

    step: int
    stopped_by: int | None = None


def finished(config: LoopConfig, state: RunState, step: int) -> bool:
    """Returns whether a run at `step` is complete."""
    return step >= config.optimizer.num_train_steps and not _evaluation_is_due(config, state, step)


def _evaluation_is_due(config: LoopConfig, state: RunState, step: int) -> bool:
    due = config.eval_every and (step % config.eval_every == 0 or step == config.optimizer.num_train_steps)
    return bool(due) and step > state.progress.evaluated


class Batches(Protocol):
    """Where steps take their batches from."""

    def begin(self, step: int) -> None:
        """Sets the next step."""

    def take(self, most: int) -> Portion:
        """Returns the next steps whose batches have one shape, `most` at most."""


@dataclasses.dataclass
class TrainingLoop:
    """Trains to the last step, or until SIGTERM or Ctrl-C, and leaves a checkpoint of the end.

    With `on_divergence="rollback"` a loss that is not finite or blows up takes the weights back to the last
    checkpoint, and the batches since are left out.

    Attributes:
      config: when to log, save, evaluate and end.
      feed: the batches.
      training: the compiled step.
      checkpoints: where the run is saved.
      state: the part of the checkpoint that is not tensors.
      log: where the figures go.
      evaluate: called every `config.eval_every` steps and at the last one, before the save, so that a checkpoint knows
        of every evaluation up to it.
      agree: finds the highest of a number that each of several workers has one of: they have to take the same steps in
        each call, and a signal to one stops all.
    """

    config: LoopConfig
    feed: Batches
    training: TrainingStep
    checkpoints: Checkpoints
    state: RunState
    log: RunLog
    evaluate: Evaluate
    agree: Callable[[float], float] = lambda value: value

    def run(self, step: int) -> Reached:
        """Trains from `step` on.

        Raises:
          MorphbertError: a loss or gradient that is not finite, a record that cannot be used, or a step that
            does not fit into memory; the last checkpoint stays as it was.
        """
        first, began = step, time.monotonic()
        self.feed.begin(step)
        self._stop, self._seconds_per_step, self._saved = StopRequest(), 0.0, step
        self._told, self._warned = False, set[bool]()
        with handled_by(self._stop):
            while self._goes_on(step):
                step = self._advance(step)
            if self._saved != step:
                self.checkpoints.save(step)
            self.checkpoints.finish()
            signalled = round(self.agree(self._stop.signal or 0))
        last, spent, path = self._last, duration(time.monotonic() - began), self.checkpoints.newest
        print(
            f"training: steps {first} to {step} of {last} in {spent}, saved as {path}; {self.log.goodput_in_words()}",
            flush=True,
        )
        return Reached(step, signalled or None)

    def _warn(self, step: int, figures: Mapping[str, float]) -> None:
        """Prints the objective's warning about its figures, once during the warm-up and once after it."""
        warm = step > self.config.optimizer.num_warmup_steps
        warning = None if warm in self._warned else self.training.objective.warn(step, figures)
        if warning is not None:
            self._warned.add(warm)
            print(f"warning: {warning}", flush=True)

    @property
    def _last(self) -> int:
        return self.config.optimizer.num_train_steps

    def _stopping(self) -> bool:
        return bool(round(self.agree(self._stop.signal or 0)))

    def _goes_on(self, step: int) -> bool:
        """Evaluates and saves where they are due; returns whether another step is taken."""
        enough = False
        if _evaluation_is_due(self.config, self.state, step):
            verdict = self.evaluate(step, self._stopping)
            if verdict is Verdict.INTERRUPTED:
                return False
            self.state.progress.evaluated, enough = step, verdict is Verdict.ENOUGH
            if step == self._last:
                self._saved = -1  # the checkpoint may be there and lack the evaluation alone
        due = step % self.config.save_checkpoints_steps == 0 or step == self._last or enough
        if due and self._saved != step:
            self.checkpoints.save(step)
            self._saved = step
        if step >= self._last or enough:
            return False
        self._seconds_per_step = self.agree(self._seconds_per_step)
        return not self._stopping()

    def _advance(self, step: int) -> int:
        """Takes the steps of one call; returns the step reached, after a rollback an earlier one."""
        objective = self.training.objective
        portion = self.feed.take(_steps_of_call(self.config, step, self._seconds_per_step))
        started = time.monotonic()
        rows, waited = _call(self.training, portion)
        seconds = time.monotonic() - started
        try:
            _add(objective, self.state, step, rows, portion)
        except Diverged as error:
            self._saved = _roll_back(self.config, error, self.checkpoints, self.state, self.log)
            self.feed.begin(self._saved)
            return self._saved
        if portion.first:  # the time is mostly compilation, and another length has another speed
            self._seconds_per_step = 0.0
        else:
            flops = _flops(self.config, objective, portion)
            batch_size = portion.records.batch_size if portion.records else None
            self.log.steps_done(portion.count, seconds, waited, flops, batch_size)
            self._seconds_per_step = seconds / portion.count
        step += portion.count
        self.log.show_loss(objective.averages(_named(objective, rows[-1].tolist()))["loss"])
        if step % self.config.log_steps == 0 or step == self._last:
            self._told = True
            self._warn(step, _log(self.log, step, self.state, objective, self.config.step.dtype))
        elif not (self._told or portion.first):
            self._told = True
            wait = self._seconds_per_step * (self.config.log_steps - step % self.config.log_steps)
            if wait > FIRST_LINE_AFTER:
                self.log.preview(step, objective.averages(_named(objective, self.state.progress.log.sums)))
        return step


def try_out(config: LoopConfig, feed: Feed, training: TrainingStep) -> None:
    """Takes three steps of each length without keeping them, and prints the estimated time of a whole run."""
    compilation, later, losses = 0.0, 0.0, []
    for portion, share in feed.each():
        seconds = []
        for _ in range(3):
            started = time.monotonic()
            row = _named(training.objective, _call(training, portion)[0][0].tolist())
            seconds.append(time.monotonic() - started)
            losses.append(training.objective.averages(row)["loss"])
        compilation += seconds[0]
        later += share * min(seconds[1:])
    whole = duration(later * config.optimizer.num_train_steps)
    print(
        f"dry run: losses {', '.join(f'{loss:.4f}' for loss in losses)}; the first step took {compilation:.1f} s with "
        f"compilation, the next {later:.2f} s: {config.optimizer.num_train_steps} steps would take {whole}. "
        "Nothing was saved.",
        flush=True,
    )


def time_steps(
    feed: Feed, training: TrainingStep, at_most: float, agree: Callable[[float], float]
) -> tuple[float, float]:
    """Takes steps of each length for about `at_most` seconds, which move the weights.

    Returns:
      The seconds of a step, compilation left out, and those until a step that is made `again` has begun.
    """
    started = time.monotonic()
    for portion, _ in feed.each():
        _call(training, portion)
    training, step = training.again(), 0.0
    again = time.monotonic()
    for portion, _ in feed.each():
        _call(training, portion)
    again, left = time.monotonic() - again, at_most - (time.monotonic() - started)
    for portion, share in feed.each():
        calls: list[tuple[int, float]] = []
        taken, spent, count = 0, 0.0, 1
        while True:
            begun = time.monotonic()
            _call(training, dataclasses.replace(portion, count=count))
            calls.append((count, agree(time.monotonic() - begun)))  # all workers take the same steps
            taken, spent = taken + count, spent + calls[-1][1]
            if taken >= _TIMED_STEPS and spent >= share * left:
                break
            each = spent / taken
            count = max(1, min(int(SECONDS_PER_CALL / each), int(share * left / each) - taken, 2 * taken))
        # The first and short calls are slower: caches and queues are empty, and a call itself takes time.
        long = [call for call in calls if 2 * call[0] >= max(calls)[0]]
        step += share * sum(seconds for _, seconds in long) / sum(count for count, _ in long)
    return step, agree(again)


def _roll_back(
    config: LoopConfig,
    error: Diverged,
    checkpoints: Checkpoints,
    state: RunState,
    log: RunLog,
) -> int:
    """Weights and moments as in the last checkpoint, the data where it is; returns the step to go on from.

    Raises:
      MorphbertError: rolling back was not asked for, there is no checkpoint, or it has not helped.
    """
    checkpoints.finish()
    restored = latest(config.output_dir, repair=False)
    there = (
        "there is no checkpoint yet" if restored is None else f"the last good checkpoint is {restored.path}"
    )
    message = (
        f"{error}. Its batch: {error.batch}. Nothing was saved since; {there}. Lower --learning_rate, lengthen "
        "--num_warmup_steps, or look at these examples."
    )
    if config.on_divergence != "rollback":
        raise MorphbertError(f"{message} To skip this batch, give --on_divergence=rollback.") from error
    if restored is None:
        raise MorphbertError(message) from error
    before = state.progress.rollbacks
    times = before.times + 1 if before.step == restored.step else 1
    if times > MOST_ROLLBACKS:
        raise MorphbertError(
            f"{message} Rolling back to step {restored.step} has not helped {MOST_ROLLBACKS} times."
        ) from error
    checkpoints.restore(restored.path, with_data_position=False)
    state.progress.rollbacks = Rollbacks(restored.step, times)
    log.go_back(restored.step)
    print(
        f"training: {error}, with {error.batch}: back to {restored.path}, and on with the data after it",
        flush=True,
    )
    return restored.step


def _steps_of_call(config: LoopConfig, step: int, seconds_per_step: float) -> int:
    """Steps to the next line, save or end, and no more than `SECONDS_PER_CALL` hold."""
    ends = [config.iterations_per_loop, config.optimizer.num_train_steps - step]
    marks = (config.log_steps, config.save_checkpoints_steps, config.eval_every)
    ends += [every - step % every for every in marks if every]
    affordable = int(SECONDS_PER_CALL / seconds_per_step) if seconds_per_step else 1
    return min(*ends, max(1, affordable))


def _flops(config: LoopConfig, objective: Objective, portion: Portion) -> int:
    """Returns the floating-point operations of a portion's steps; 0 if they are unknown."""
    if objective.flops is None or portion.records is None:
        return 0
    form = portion.records.form
    batch_size = portion.records.batch_size or config.train_batch_size
    return portion.count * objective.flops(batch_size, form.shape.max_seq_length, form.predictions)


def _call(training: TrainingStep, portion: Portion) -> tuple[np.ndarray, float]:
    """Takes a portion's steps; returns their figures and the seconds that they waited for their batches."""
    try:
        records = portion.records
        with naming_bad_records(records.files, records.form) if records else contextlib.nullcontext():
            rows, waits = training.run(portion.iterator, tf.constant(portion.count))
            return rows.numpy(), float(tf.reduce_sum(waits))
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        reason = (getattr(error, "message", None) or str(error) or "out of memory").splitlines()[0]
        raise MorphbertError(
            f"the device's memory is too small for this step: {reason}. Lower "
            "--train_batch_size or raise --gradient_accumulation_steps, which gives the same batch in parts."
        ) from error


def _named(objective: Objective, row: Sequence[float]) -> dict[str, float]:
    return dict(zip(objective.columns, row, strict=True))


def _add(objective: Objective, state: RunState, step: int, rows: np.ndarray, portion: Portion) -> None:
    """Adds steps to the sums since the last line.

    Raises:
      Diverged: a number is not finite, or a loss is over `BLOWN_UP` times that of guessing all alike, or the loss of
        the last steps is over that of the steps before by more than the objective's `surge`.
    """
    since = state.progress.log
    for index, row in enumerate(rows):
        named = _named(objective, row.tolist())
        names = [name for name, value in named.items() if not np.isfinite(value)]
        limit, loss = BLOWN_UP * objective.guessing, objective.averages(named)["loss"]
        if names:
            reason = f"{', '.join(names)} is not a finite number"
        elif loss > limit:
            reason = f"the loss is {loss:.1f}, over {limit:.1f}, {BLOWN_UP:g} times that of guessing"
        else:
            reason = _surge(objective, state, loss)
        if reason:
            raise Diverged(f"step {step + index + 1}: {reason}", portion.named(index))
        # One row after the other, whatever the calls were: the sum is then the same to the last bit.
        since.sums = [a + b for a, b in zip(since.sums, row.tolist(), strict=True)]
        since.steps += 1
        since.learning_rate, since.loss_scale = named["learning_rate"], named["loss_scale"]


def _surge(objective: Objective, state: RunState, loss: float) -> str:
    """Adds a step's loss to the means; returns a description if the short mean is far above the long one."""
    if not math.isfinite(objective.surge):
        return ""
    means = state.progress.loss_means or [loss, loss]
    means = [
        kept * mean + (1.0 - kept) * loss for kept, mean in zip((LONG_MEAN, SHORT_MEAN), means, strict=True)
    ]
    state.progress.loss_means = means
    if means[1] - means[0] <= objective.surge:
        return ""
    return f"the loss was {means[0]:.1f} and has risen to {means[1]:.1f}, both means of some steps"


def _log(log: RunLog, step: int, state: RunState, objective: Objective, dtype: str) -> Mapping[str, float]:
    """Writes the line; returns its figures of the objective."""
    since = state.progress.log
    state.progress.log = LineSums([0.0] * len(objective.columns))
    sums = _named(objective, since.sums)
    more = {"gradient_norm": sums["gradient_norm"] / since.steps, "learning_rate": since.learning_rate}
    if dtype == "float16":
        more["loss_scale"] = since.loss_scale
    figures = objective.averages(sums)
    log.training(step, {**figures, **more}, sums["tokens"] / since.steps)
    return figures
