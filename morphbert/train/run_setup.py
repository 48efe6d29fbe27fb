"""Sets up a run: its devices, its objective, the checkpoint that it continues, and the variables that it trains."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

from morphbert.files import is_remote
from morphbert.model.parameters import TrainableModel
from morphbert.train import preflight
from morphbert.train.checkpoint import (
    Restored,
    WeightReader,
    check_shapes,
    latest,
    read_shapes,
    read_weights,
)
from morphbert.train.cluster.processor import warn_of_dtype
from morphbert.train.cluster.strategy import Devices, build_strategy, share_processors
from morphbert.train.cluster.workers import Cluster
from morphbert.train.config import RunConfig
from morphbert.train.footprint import Footprint, check_disk, estimate, warn_of_limit, warn_of_memory
from morphbert.train.objective import Objective, objective_of
from morphbert.train.optimizers.optimizer import Optimizer
from morphbert.train.run_facts import check_records_of_run, describe
from morphbert.train.run_state import Description
from morphbert.train.step import computes_by_halves
from morphbert.train.time_plan import planned_before
from morphbert.train.train_state import TrainState


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunHooks:
    """The functions that a command adds to the configuration of its run, and the time of its start.

    Attributes:
      read_weights: `config.init_checkpoint` → weights by name; another reader knows more formats.
      with_steps: number of steps → the run with that many of them; needed where `config.train_time` decides the number.
      when_checked: called in every worker when all is checked and the weights are in place.
      before_training: called in the first worker, before the first step of a run that is kept; it puts the vocabulary
        beside the checkpoints.
      began: when the program began, by `time.monotonic`.
    """

    read_weights: WeightReader = read_weights
    with_steps: Callable[[int], RunConfig] | None = None
    when_checked: Callable[[], None] = lambda: None
    before_training: Callable[[], None] = lambda: None
    began: float = dataclasses.field(default_factory=time.monotonic)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSetup:
    """The parts of a run that are there before its first step and stay until its last.

    Attributes:
      config: the run. With `--train_time`, its number of steps is a placeholder until there is a `plan`.
      hooks: the functions of the command.
      devices: where it is computed, and by which workers.
      agree: returns the highest of the workers' numbers; in it they wait for each other.
      objective: the sums that are trained on.
      restored: the checkpoint that the run continues; None for a run that begins.
      footprint: the memory that it needs.
      train_state: the variables, with the values of a run that begins.
      plan: how `--train_time` is spent, as the checkpoints store it; None before it is made, and without the flag.
    """

    config: RunConfig
    hooks: RunHooks
    devices: Devices
    agree: Callable[[float], float]
    objective: Objective
    restored: Restored | None
    footprint: Footprint
    train_state: TrainState
    plan: Mapping[str, Any] | None

    @property
    def cluster(self) -> Cluster:
        """The workers of the run."""
        return self.devices.cluster

    @property
    def evaluated_model(self) -> TrainableModel:
        """The model whose weights are evaluated: the moving average, if the run keeps one."""
        average = self.train_state.average
        return self.train_state.model if average is None else average.model

    def description(self) -> Description:
        """Returns the description of the run for its checkpoints."""
        return describe(self.config, self.devices, self.cluster.size, self.plan)


def set_up(config: RunConfig, hooks: RunHooks, cluster: Cluster) -> RunSetup:
    """Builds the parts of a run in the order in which TensorFlow needs them, after the workers have met.

    Prints what the run needs.

    Raises:
      MorphbertError: a batch, the folder's checkpoint or the machine does not suit the run.
    """
    share_processors()
    devices = build_strategy(config.devices, cluster)
    _check_batches(config, devices.num_replicas)
    objective = objective_of(config)
    restored = _checkpoint_to_continue(config, objective, cluster)
    config, plan = _follow_plan(config, hooks, restored)
    by_halves = computes_by_halves(devices.strategy, config.step.xla)
    footprint = estimate(config, objective.parameters, devices.num_replicas, by_halves)
    _say_needs(config, devices, footprint)
    with devices.strategy.scope():
        model = TrainableModel(config.bert_config, objective.parameters, config.step.seed)
        optimizer = Optimizer(config.optimizer, objective.parameters)
        train_state = TrainState.of(model, optimizer, config.step.dtype, config.ema_decay)
    return RunSetup(
        config=config,
        hooks=hooks,
        devices=devices,
        agree=devices.agreement(),
        objective=objective,
        restored=restored,
        footprint=footprint,
        train_state=train_state,
        plan=plan,
    )


def _check_batches(config: RunConfig, replicas: int) -> None:
    parts = config.step.gradient_accumulation_steps
    preflight.check_batch("train_batch_size", config.train_batch_size, replicas, parts)
    for phase in config.phases:
        preflight.check_batch("phases", phase.batch_size or replicas * parts, replicas, parts)
    preflight.check_batch("eval_batch_size", config.eval_batch_size, replicas)


def _checkpoint_to_continue(config: RunConfig, objective: Objective, cluster: Cluster) -> Restored | None:
    """Returns the newest checkpoint of the output folder, once it is known to be of this model and vocabulary."""
    restored = latest(config.output_dir, repair=cluster.is_chief)
    if restored is not None:
        check_records_of_run(config.output_dir, restored, config.input_files)
        check_shapes(restored.path, read_shapes(restored.path), objective.parameters, exact=True)
    return restored


def _follow_plan(
    config: RunConfig, hooks: RunHooks, restored: Restored | None
) -> tuple[RunConfig, Mapping[str, Any] | None]:
    """Returns the run with the steps of its checkpoint's plan, and the plan; the same run where there is none."""
    if config.train_time is None or not config.do_train or restored is None:
        return config, None
    plan = restored.description.plan
    steps = planned_before(plan, restored.step, config.train_time, restored.path)
    if steps is None:
        return config, None
    assert hooks.with_steps is not None
    return hooks.with_steps(steps), plan


def _say_needs(config: RunConfig, devices: Devices, footprint: Footprint) -> None:
    """Prints the memory that the run needs, and warns if memory or disk is short."""
    print(f"model: {footprint.parameters:,} parameters, {config.step.dtype}; {devices.chosen}", flush=True)
    warn_of_dtype(config.step.dtype, devices.replicas_of_cpu)
    if config.do_train:
        print(f"memory: {footprint}", flush=True)
        warn_of_memory(footprint, devices.replicas_of_cpu)
        warn_of_limit(footprint)
        preflight.warn_of_warmup(config.optimizer)
        if devices.cluster.is_chief:  # which alone writes checkpoints
            _check_room(config, footprint.checkpoint)


def _check_room(config: RunConfig, checkpoint: int) -> None:
    check_disk(config.output_dir, checkpoint, config.keep_checkpoint_max, best=bool(config.eval_every))
    if config.async_checkpoints and is_remote(config.output_dir):
        check_disk(tempfile.gettempdir(), checkpoint, 0, flag="TMPDIR")
