"""One pretraining run from its configuration to its last checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from morphbert.data.mixture import turns
from morphbert.errors import MorphbertError
from morphbert.files import is_remote
from morphbert.grammar.cutting import Cutter
from morphbert.grammar.pairs import read_pairs
from morphbert.model.config import BERT_CONFIG_NAME
from morphbert.model.electra import GENERATOR_CONFIG, with_whole_tables
from morphbert.model.parameters import TrainableModel
from morphbert.text.loading import load_tokenizer
from morphbert.text.tokenizer import Tokenizer
from morphbert.train import loop, preflight
from morphbert.train.checkpoint import (
    Checkpoints,
    WeightReader,
    check_shapes,
    has_average,
    latest,
    load_weights,
    read_shapes,
    read_weights,
)
from morphbert.train.cluster.device_peak import device_peak_flops
from morphbert.train.cluster.shared_folder import check_shared
from morphbert.train.cluster.strategy import build_strategy, cluster_of, share_processors
from morphbert.train.cluster.workers import Cluster, joined
from morphbert.train.config import RunConfig
from morphbert.train.evaluation import Evaluator, write_results
from morphbert.train.footprint import check_disk, estimate, warn_of_limit, warn_of_memory
from morphbert.train.grammar import GrammarEvaluator
from morphbert.train.input.record_sets import (
    Feed,
    RecordSet,
    one_after_the_other,
)
from morphbert.train.log import RunLog, duration, no_log
from morphbert.train.mask_schedule import parse_mask_schedule, with_schedule
from morphbert.train.objective import describe_pretraining, objective_of
from morphbert.train.optimizers.optimizer import Optimizer
from morphbert.train.phases import describe_phases
from morphbert.train.prediction_kinds import PredictionKinds, count_pieces
from morphbert.train.run_facts import check_records_of_run, describe, describe_run, write_run
from morphbert.train.run_state import BestLoss, Description, Position, RunState
from morphbert.train.step import TrainingStep, computes_by_halves
from morphbert.train.storage import write_text
from morphbert.train.time_plan import TIMED_AT_MOST, TIMED_SHARE, Costs, Stops, planned_before, steps_in
from morphbert.train.train_state import TrainState
from morphbert.train.trajectory import same_data

# TensorFlow's errors for a worker that is gone; they often come before its connection reports it.
_LOST = (
    *(tf.errors.UnavailableError, tf.errors.CancelledError, tf.errors.AbortedError),
    *(tf.errors.DeadlineExceededError, tf.errors.InternalError),
)
_SECONDS_TO_NOTICE = 10.0
# Number of steps → the run with that many.
Planned = Callable[[int], RunConfig]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a run: its last step, the signal that stopped it, and its held-out figures.

    is_chief: whether this process is the one of several that writes.
    """

    step: int
    stopped_by: int | None = None
    metrics: dict[str, float] | None = None
    is_chief: bool = True


def pretrain(
    config: RunConfig,
    read: WeightReader = read_weights,
    keep_vocabulary: Callable[[], None] = lambda: None,
    planned: Planned | None = None,
    began: float | None = None,
    checked: Callable[[], None] = lambda: None,
) -> Outcome:
    """Checks everything, then trains and evaluates as configured.

    Args:
      config: the run.
      read: `config.init_checkpoint` → weights by name; another reader knows more formats.
      keep_vocabulary: puts the vocabulary beside the checkpoints; called when nothing stands against training any more.
      planned: number of steps → the run with that many of them; needed where `config.train_time` decides the number.
      began: when the program began, by `time.monotonic`; None is now.
      checked: called when all is checked and the weights are in place, in every worker.

    Raises:
      MorphbertError: the input, the flags or the machine must change first; nothing was overwritten.
    """
    began = began or time.monotonic()
    cluster = cluster_of(config.devices)
    with preflight.alone_in(config.output_dir) if cluster.is_chief else _silent():
        for sets in (config.records if config.do_train else (), config.eval_records):
            preflight.check_records(sets)
            for chosen in sets:
                preflight.check_labels(chosen.form.layout, config.bert_config)
        if config.do_train:
            preflight.check_held_out(config.records, config.eval_records)
        tokenizer = load_tokenizer(config.vocab_file, allow_mismatch=True) if config.vocab_file else None
        with joined(cluster, _same_in_all(config), config.devices.connect_timeout):
            try:
                outcome = _Run(
                    config=config,
                    read=read,
                    keep_vocabulary=keep_vocabulary,
                    tokenizer=tokenizer,
                    cluster=cluster,
                    planned=planned,
                    began=began,
                    checked=checked,
                ).go()
                return dataclasses.replace(outcome, is_chief=cluster.is_chief)
            except _LOST as error:
                if cluster.size == 1:
                    raise
                # The connections tell which worker it is, and end this process.
                time.sleep(_SECONDS_TO_NOTICE)
                raise MorphbertError(
                    f"the workers can no longer reach each other: {error.message.splitlines()[0]} Start all of them "
                    "again: they continue from the last checkpoint."
                ) from error


def _same_in_all(config: RunConfig) -> dict[str, Any]:
    """Returns the settings that must be equal in all workers, as JSON values."""
    told = dataclasses.asdict(config)
    return dict(json.loads(json.dumps({**told, "devices": None}, default=str)))


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Drops this process's output: the first worker prints the same. Errors go elsewhere."""
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        yield


class _Run:
    """The parts of a run, built in the order in which TensorFlow needs them."""

    def __init__(
        self,
        config: RunConfig,
        read: WeightReader,
        keep_vocabulary: Callable[[], None],
        tokenizer: Tokenizer | None,
        cluster: Cluster,
        planned: Planned | None,
        began: float,
        checked: Callable[[], None],
    ):
        self.config = config
        self._checked = checked
        self._planned, self._began = planned, began
        self._read = read
        self._keep_vocabulary = keep_vocabulary
        self._cluster = cluster
        share_processors()
        self._devices = devices = build_strategy(config.devices, cluster)
        self.strategy, replicas = devices.strategy, devices.num_replicas
        self._agree = devices.agreement()
        self._order = one_after_the_other if config.phases else turns
        self._check_batches(replicas)
        self.objective = objective_of(config)
        self.expected = self.objective.parameters
        self.restored = latest(config.output_dir, repair=cluster.is_chief)
        if self.restored:
            check_records_of_run(config.output_dir, self.restored, config.input_files)
            check_shapes(self.restored.path, read_shapes(self.restored.path), self.expected, exact=True)
        config = self._follow_plan(config)
        self._needs = estimate(
            config, self.expected, replicas, computes_by_halves(self.strategy, config.step.xla)
        )
        self._say_needs()
        with self.strategy.scope():
            self.model = TrainableModel(config.bert_config, self.expected, config.step.seed)
            optimizer = Optimizer(config.optimizer, self.expected)
            self.train_state = TrainState.of(self.model, optimizer, config.step.dtype, config.ema_decay)
        self.average = self.train_state.average
        #: The model that is evaluated.
        self.result = self.average.model if self.average else self.model
        self.evaluator = self._evaluator(tokenizer) if config.eval_records else None
        self.grammar = None
        if config.grammar_file:
            assert tokenizer is not None  # the command asks for a vocabulary with pairs
            cutter = Cutter(tokenizer, config.bert_config.max_position_embeddings)
            self.grammar = GrammarEvaluator(config.bert_config, read_pairs(config.grammar_file), cutter)
        self._evaluations: dict[int, dict[str, float]] = {}

    def _check_batches(self, replicas: int) -> None:
        config = self.config
        parts = config.step.gradient_accumulation_steps
        preflight.check_batch("train_batch_size", config.train_batch_size, replicas, parts)
        for phase in config.phases:
            preflight.check_batch("phases", phase.batch_size or replicas * parts, replicas, parts)
        preflight.check_batch("eval_batch_size", config.eval_batch_size, replicas)

    def _say_needs(self) -> None:
        """Prints the memory that the run needs, and warns if memory or disk is short."""
        config, needs = self.config, self._needs
        print(
            f"model: {needs.parameters:,} parameters, {config.step.dtype}; {self._devices.chosen}", flush=True
        )
        if config.do_train:
            print(f"memory: {needs}", flush=True)
            warn_of_memory(needs, self._devices.replicas_of_cpu)
            warn_of_limit(needs)
            preflight.warn_of_warmup(config.optimizer)
            if self._cluster.is_chief:  # which alone writes checkpoints
                self._check_room(needs.checkpoint)

    def _check_room(self, checkpoint: int) -> None:
        config, best = self.config, bool(self.config.eval_every)
        check_disk(config.output_dir, checkpoint, config.keep_checkpoint_max, best=best)
        if config.async_checkpoints and is_remote(config.output_dir):
            check_disk(tempfile.gettempdir(), checkpoint, 0, flag="TMPDIR")

    def _evaluator(self, tokenizer: Tokenizer | None) -> Evaluator:
        config, kinds = self.config, None
        if tokenizer is not None:
            kinds = PredictionKinds(tokenizer, count_pieces(config.records, len(tokenizer.vocabulary)))
        return Evaluator(config, self.objective, self.result, self._devices, kinds)

    def go(self) -> Outcome:
        """Trains, evaluates, or both."""
        config = self.config
        stopped = None
        if config.do_train:
            step, stopped = self._train()
        else:
            step = self._load_for_evaluation()
            self._checked()
        if not config.do_eval or stopped is not None or config.dry_run:
            return Outcome(step, stopped)
        if step not in self._evaluations:
            log = self._log(step)
            self._evaluate(step, log)
            log.close()
        metrics = self._evaluations[step]
        if self._cluster.is_chief:
            path = write_results(config.output_dir, step, metrics)
            print(f"evaluation: written to {path}", flush=True)
        return Outcome(step, None, metrics)

    def _log(self, step: int) -> RunLog:
        if not self._cluster.is_chief:
            return no_log()
        config = self.config
        peak = config.devices.peak_flops or device_peak_flops(config.step.dtype)
        return RunLog(
            config.output_dir,
            step,
            config.optimizer.num_train_steps,
            config.train_batch_size,
            describe_pretraining,
            peak_flops=peak and peak * self._devices.num_replicas,
            began=self._began,
        )

    def _follow_plan(self, config: RunConfig) -> RunConfig:
        """Returns the run with as many steps as the checkpoint's plan says, where there is one."""
        self._plan: Mapping[str, Any] | None = None
        if config.train_time is not None and config.do_train and self.restored:
            plan = self.restored.description.plan
            steps = planned_before(plan, self.restored.step, config.train_time, self.restored.path)
            if steps is not None:
                assert self._planned is not None
                self.config, self._plan = self._planned(steps), plan
        return self.config

    def _make_plan(self, training: TrainingStep) -> TrainingStep:
        """Times the parts of the run, decides how many steps it has, and puts everything back to where it begins."""
        config, seconds = self.config, self.config.train_time
        assert seconds is not None
        assert self._planned is not None
        feed = self._feed(0)
        checkpoints = self._checkpoints(feed, self._state(feed, 0))
        timed = min(TIMED_SHARE * seconds, TIMED_AT_MOST)
        step, begin = loop.time_steps(feed, training, timed, self._agree)
        evaluation = self._agree(self._seconds_of_evaluation())
        save = self._agree(checkpoints.seconds_of_save())
        costs = Costs(self._agree(time.monotonic() - self._began), begin + save, step, save, evaluation)
        stops = Stops(config.save_checkpoints_steps, config.eval_every, config.eval_at_start, config.do_eval)
        steps = steps_in(seconds, costs, stops)
        self.config = self._planned(steps)
        self.train_state.optimizer.take_steps(self.config.optimizer)
        for part in (self.model, self.train_state.optimizer, self.train_state.loss_scale):
            if part is not None:
                part.reset()
        if self.average:
            self.average.start_from(self.model)
        self._plan = {"train_time": seconds, "num_train_steps": steps, **dataclasses.asdict(costs)}
        print(
            f"plan: {steps} steps in {duration(seconds)}: {costs.spent:.1f} s so far, {step:.4g} s a step, "
            f"{stops.saves(steps)} saves of {save:.2g} s, {stops.evaluations(steps)} evaluations of {evaluation:.2g} s",
            flush=True,
        )
        preflight.warn_of_warmup(self.config.optimizer)
        return training.again()

    def _feed(self, began: int, skipped: Sequence[int] | None = None) -> Feed:
        """Returns the batches of data that was begun at a step."""
        config = self.config
        return Feed(
            self._with_shares(began),
            config.train_batch_size,
            self._devices,
            seed=config.step.seed,
            shuffle_buffer_size=config.shuffle_buffer_size,
            skipped=skipped,
            order=self._order,
        )

    def _checkpoints(self, feed: Feed, state: RunState) -> Checkpoints:
        return Checkpoints(
            self.config.output_dir,
            self.train_state,
            feed.position,
            state,
            self.config.keep_checkpoint_max,
            cluster=self._cluster,
            reached=lambda: self._agree(0.0),
            asynchronous=self.config.async_checkpoints,
        )

    def _train(self) -> tuple[int, int | None]:
        config, sharers = self.config, self._devices.sharers_of_batch
        training = TrainingStep(self.objective, self.train_state, self.strategy, config.step, sharers)
        if config.train_time is not None and self._plan is None:
            training = self._make_plan(training)
            config = self.config  # with the planned steps
        if not config.dry_run:
            newest = self.restored.step if self.restored else None
            check_shared(config.output_dir, self._cluster, self._agree, newest)
        place, with_iterator = self._place_in_data()
        feed = self._feed(place.data_began, None if with_iterator else place.taken)
        feed.taken[:] = place.taken
        if config.phases:
            print(f"phases: {describe_phases(config.records, config.train_batch_size)}", flush=True)
        if config.masked_lm_schedule is not None:
            print(f"masks: {parse_mask_schedule(config.masked_lm_schedule).in_words()}", flush=True)
        state = self._state(feed, place.data_began)
        checkpoints = self._checkpoints(feed, state)
        step, last = self._start(checkpoints, with_iterator), config.optimizer.num_train_steps
        self._checked()
        if config.dry_run:
            loop.try_out(config, feed, training)
            return step, None
        if loop.finished(config, state, step):
            print(f"training: already at step {step} of {last}, nothing to do", flush=True)
            return step, None
        if self._cluster.is_chief:
            facts = describe_run(
                config, self._devices.chosen, self._devices.num_replicas, self._needs.parameters
            )
            write_run(config.output_dir, facts)
            self._keep_vocabulary()
        log = self._log(step)
        with contextlib.closing(log), checkpoints.finishing():
            if self._plan and not self.restored:
                checkpoints.save(0)
            if config.eval_at_start and step == 0:
                self._evaluate(0, log)
            reached = loop.TrainingLoop(
                config=config,
                feed=feed,
                training=training,
                checkpoints=checkpoints,
                state=state,
                log=log,
                evaluate=self._keeping_the_best(log, state, checkpoints),
                agree=self._agree,
            ).run(step)
        for line in feed.described_sources():
            print(f"mixture: {line}", flush=True)
        return reached

    def _keeping_the_best(self, log: RunLog, state: RunState, checkpoints: Checkpoints) -> loop.Evaluate:
        """Returns the evaluation of a step, which saves the best one."""

        def evaluate(at: int, stopping: Callable[[], bool]) -> bool | None:
            metrics = self._evaluate(at, log, stopping)
            if metrics is None:
                return None
            best = state.progress.best
            if not isinstance(best, BestLoss) or metrics["loss"] < best.loss:
                state.progress.best = BestLoss(at, metrics["loss"])
                checkpoints.save_best(at)
            return False

        return evaluate

    def _with_shares(self, began: int) -> tuple[RecordSet, ...]:
        """Returns the records, with the share of masks in each of their batches where it changes over the run."""
        config = self.config
        if config.masked_lm_schedule is None:
            return config.records
        schedule, steps = parse_mask_schedule(config.masked_lm_schedule), config.optimizer.num_train_steps
        return with_schedule(config.records, schedule, steps, began, bool(config.phases))

    def _place_in_data(self) -> tuple[Position, bool]:
        """Returns where the data stands, and whether the checkpoint has an iterator that stands there."""
        records, restored = self.config.records, self.restored
        if restored is None:
            return Position([0] * len(records)), False
        before, now = restored.description, self._description()
        if not same_data(before, now, say=restored.step < self.config.optimizer.num_train_steps):
            return Position([0] * len(records), restored.step), False
        readers = (before.num_workers, before.has_mask_schedule)
        same_readers = readers == (self._cluster.size, now.has_mask_schedule)
        return restored.position, same_readers and before.has_iterator and not self._devices.input_per_host

    def _state(self, feed: Feed, data_began: int) -> RunState:
        position = Position(feed.taken, data_began)
        return RunState(self._description(), len(self.objective.columns), position)

    def _start(self, checkpoints: Checkpoints, with_iterator: bool) -> int:
        """Brings the weights to where the run starts or continues; returns its step."""
        config = self.config
        if self.restored:
            checkpoints.restore(self.restored.path, with_data_position=with_iterator)
            if self.average and not has_average(self.restored.path):
                self.average.start_from(self.model)
                print(f"training: {self.restored.path} has no moving average, so it begins here", flush=True)
            print(f"training: continuing from {self.restored.path}", flush=True)
            return self.restored.step
        if config.init_checkpoint:
            missing = load_weights(config.init_checkpoint, self.model, self.expected, self._read)
            new = f"; new: {', '.join(missing)}" if missing else ""
            taken = f"{len(self.expected) - len(missing)} of {len(self.expected)}"
            print(f"training: {taken} weights from {config.init_checkpoint}{new}", flush=True)
            if self.average:
                self.average.start_from(self.model)
        if config.dry_run or not self._cluster.is_chief:
            return 0
        # Beside the checkpoints, so that later stages need no second path.
        write_text(os.path.join(config.output_dir, BERT_CONFIG_NAME), config.bert_config.to_json())
        if config.electra:
            write_text(os.path.join(config.output_dir, GENERATOR_CONFIG), config.electra.generator.to_json())
        return 0

    def _description(self) -> Description:
        return describe(self.config, self._devices, self._cluster.size, self._plan)

    def _load_for_evaluation(self) -> int:
        source = self.restored.path if self.restored else self.config.init_checkpoint
        if source is None:
            raise MorphbertError(
                f"--do_eval: there is no checkpoint in {self.config.output_dir}: train first, or give "
                "--init_checkpoint."
            )
        read = (lambda path: read_weights(path, as_stored=True)) if self.restored else self._read
        missing = load_weights(source, self.result, self.expected, read)
        if missing:
            raise MorphbertError(f"--do_eval: {source} has no {', '.join(missing[:5])}: nothing to evaluate.")
        return self.restored.step if self.restored else 0

    def _weights(self) -> dict[str, tf.Tensor]:
        """Returns the weights that are evaluated, by name; of an ELECTRA those of both networks."""
        weights = {name: tf.convert_to_tensor(p) for name, p in self.result.parameters.items()}
        return with_whole_tables(weights)

    def _seconds_of_evaluation(self) -> float:
        seconds = self.evaluator.seconds() if self.evaluator else 0.0
        return seconds + (self.grammar.seconds(self._weights()) if self.grammar else 0.0)

    def _evaluate(
        self, step: int, log: RunLog, stopping: Callable[[], bool] = lambda: False
    ) -> dict[str, float] | None:
        assert self.evaluator is not None  # the command gives files wherever it asks for an evaluation
        metrics = self.evaluator(stopping)
        if metrics is not None and self.grammar is not None:
            found = self.grammar(self._weights(), stopping)
            metrics = None if found is None else {**metrics, **found.metrics()}
        if metrics is not None:
            self._evaluations[step] = metrics
            log.evaluation(step, metrics)
        return metrics
