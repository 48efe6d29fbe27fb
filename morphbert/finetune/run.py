"""One fine-tuning run: the training loop of pretraining with a task's head and labelled examples."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError, UsageError
from morphbert.finetune.advice import Advice
from morphbert.finetune.features import Features
from morphbert.finetune.feed import ExampleFeed
from morphbert.finetune.heads import check_layers
from morphbert.finetune.judgement import Judgement
from morphbert.finetune.plugins import CUSTOM_TASKS
from morphbert.finetune.scoring import Scorer, check_task, chosen_checkpoint
from morphbert.finetune.task import Task, describe, objective_of
from morphbert.finetune.word_vectors import WordVectors
from morphbert.model.config import BertConfig
from morphbert.model.names import WORD_EMBEDDINGS
from morphbert.model.parameters import Parameter, TrainableModel
from morphbert.train import loop, preflight
from morphbert.train.checkpoint import Checkpoints, check_shapes, latest, load_weights, read_shapes
from morphbert.train.cluster.processor import warn_of_dtype
from morphbert.train.cluster.strategy import Devices
from morphbert.train.config import LoopConfig
from morphbert.train.log import RunLog
from morphbert.train.optimizers.optimizer import Optimizer
from morphbert.train.run_state import BestMetric, Description, RunState
from morphbert.train.step import TrainingStep
from morphbert.train.train_state import TrainState
from morphbert.train.trajectory import differences, say_differences


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskRunConfig(LoopConfig):
    """The configuration of one training of a task's model, with all numbers known. Names are those of the flags.

    Attributes:
      group_by_length: whether batches contain examples of similar length; otherwise all batches have the longest
        length.
      best_metric: the figure of an evaluation by which the best checkpoint is kept; a leading `-` means the lowest.
      early_stopping: the number of consecutive evaluations without an improvement that end the run; None for never.
      freeze_embeddings: whether the embeddings are not trained.
      freeze_layers: the number of lowest layers that, with the embeddings, are not trained.
      reweighted_from: the step at which class weights begin; None if there are none or they always apply.
      wandb_project: the project of Weights & Biases to log to, or None.
      task: the description of the task as JSON values, for the checkpoint.
    """

    group_by_length: bool
    best_metric: str
    early_stopping: int | None
    freeze_embeddings: bool
    freeze_layers: int
    reweighted_from: int | None
    wandb_project: str | None
    task: Mapping[str, Any]

    @property
    def frozen(self) -> tuple[str, ...]:
        """Returns the prefixes of the names of frozen weights, in the checkpoints' form."""
        layers = tuple(f"bert/encoder/layer_{index}/" for index in range(self.freeze_layers))
        return (("bert/embeddings/",) if self.freeze_embeddings or layers else ()) + layers

    def freezes(self, parameter: Parameter) -> bool:
        """Returns whether a weight is frozen."""
        if parameter.part == "embeddings":
            return self.freeze_embeddings or self.freeze_layers > 0
        return parameter.layer is not None and 0 < parameter.layer <= self.freeze_layers


class FineTuning:
    """A model with a task's head, with methods to train it, restore it, and score examples."""

    def __init__(
        self,
        config: TaskRunConfig,
        task: Task,
        weights: Mapping[str, np.ndarray] | None,
        devices: Devices,
        word_vectors: WordVectors | None = None,
    ) -> None:
        """Builds the model.

        Args:
          config: the configuration of the run.
          task: the head and its losses.
          weights: the pretrained model's weights, None for random ones; weights that the task does not use are ignored.
          devices: the result of `build_strategy`, which a process calls only once.
          word_vectors: the initial word embeddings of some pieces.

        Raises:
          MorphbertError: the output folder cannot be used or contains another model, or the devices are missing.
        """
        preflight.check_output_dir(config.output_dir)
        self.config, self.task = config, task
        if config.devices.strategy == "multi_worker":
            raise UsageError("--strategy=multi_worker is for pretraining: a task is trained on one machine.")
        self.strategy, replicas = devices.strategy, devices.num_replicas
        parts = config.step.gradient_accumulation_steps
        preflight.check_batch("train_batch_size", config.train_batch_size, replicas, parts)
        check_layers(task.head.layers, config.bert_config)
        _check_frozen(config.freeze_layers, config.bert_config)
        self.objective = objective_of(task, config.bert_config)
        self.restored = latest(config.output_dir)
        expected = self.objective.parameters
        if self.restored:
            self._check(self.restored.path)
        with self.strategy.scope():
            self.model = TrainableModel(config.bert_config, expected, config.step.seed)
            trained = {name: p for name, p in expected.items() if not config.freezes(p)}
            self.train_state = TrainState.of(
                self.model, Optimizer(config.optimizer, trained), config.step.dtype
            )
        #: Scores examples with the current weights.
        self.scores = Scorer(
            task, config.bert_config, self.model.parameters, config.eval_batch_size, config.step.dtype
        )
        size, learned = (_size(p.shape for p in some) for some in (expected.values(), trained.values()))
        frozen = "" if size == learned else f", of which {learned:,} are trained"
        print(f"model: {size:,} parameters{frozen}, {config.step.dtype}; {devices.chosen}", flush=True)
        warn_of_dtype(config.step.dtype, devices.replicas_of_cpu)
        if not self.restored:
            self._start(weights, word_vectors)

    def _start(self, weights: Mapping[str, np.ndarray] | None, word_vectors: WordVectors | None) -> None:
        expected = self.objective.parameters
        if weights is not None:
            source = str(self.config.init_checkpoint)
            missing = load_weights(source, self.model, expected, lambda path: weights)
            new = f"; new: {', '.join(missing)}" if missing else ""
            taken = f"{len(expected) - len(missing)} of {len(expected)}"
            print(f"training: {taken} weights from {source}{new}", flush=True)
        if word_vectors is not None:
            table = self.model.parameters[WORD_EMBEDDINGS]
            table.assign(word_vectors.over(tf.convert_to_tensor(table).numpy()))
            print(f"training: {word_vectors}", flush=True)

    def train(self, features: Features, evaluate: Callable[[int], Judgement] | None = None) -> loop.Reached:
        """Trains to the last step, from a checkpoint in the output folder if there is one.

        Args:
          features: the examples.
          evaluate: returns the held-out figures of the current model at a step; called every `eval_every` steps and at
            the end.
        """
        config, last = self.config, self.config.optimizer.num_train_steps
        feed = ExampleFeed(
            features,
            config.train_batch_size,
            last,
            seed=config.step.seed,
            group_by_length=config.group_by_length,
            reweighted_from=config.reweighted_from,
        )
        state = RunState(self._description(len(features)), len(self.objective.columns))
        checkpoints = Checkpoints(
            config.output_dir, self.train_state, None, state, config.keep_checkpoint_max
        )
        step = self._go_on(checkpoints, state)
        if loop.finished(config, state, step):
            print(f"training: already at step {step} of {last}, nothing to do", flush=True)
            return loop.Reached(step)
        if self._enough(state):
            print(f"training: stopped early at step {step} before, nothing to do", flush=True)
            return loop.Reached(step)
        objective = dataclasses.replace(self.objective, warn=self.advice(step).of_line)
        training = TrainingStep(objective, self.train_state, self.strategy, config.step)
        follow = self._follower(state)
        log = RunLog(
            config.output_dir,
            start_step=step,
            num_steps=last,
            batch_size=config.train_batch_size,
            describe=describe,
            follow=follow,
        )

        def evaluate_and_keep(at: int, _: Callable[[], bool]) -> loop.Verdict:
            if evaluate is None:
                return loop.Verdict.GO_ON
            return self._keep(evaluate(at), at, checkpoints, state, log)

        with contextlib.closing(log):
            return loop.TrainingLoop(
                config=config,
                feed=feed,
                training=training,
                checkpoints=checkpoints,
                state=state,
                log=log,
                evaluate=evaluate_and_keep,
            ).run(step)

    def advice(self, step: int = 0) -> Advice:
        """Returns the settings that can be changed in the run; its training begins at `step`."""
        config, loss = self.config, self.task.loss
        # A plugin's task may compute another loss.
        known = loss is not None and self.task.name not in CUSTOM_TASKS
        return Advice(
            chance=loss.chance if loss is not None and known else float("inf"),
            warmup=config.optimizer.num_warmup_steps,
            learning_rate=config.optimizer.learning_rate,
            pretrained=bool(config.init_checkpoint),
            frozen=bool(config.frozen),
            since=step,
        )

    def _follower(self, state: RunState) -> Callable[[str, int, Mapping[str, float]], None] | None:
        if self.config.wandb_project is None:
            return None
        from morphbert.finetune.weights_and_biases import follow_run

        return follow_run(self.config.wandb_project, self.config.output_dir, state.description.settings)

    def _keep(
        self, judgement: Judgement, at: int, checkpoints: Checkpoints, state: RunState, log: RunLog
    ) -> loop.Verdict:
        """Logs an evaluation, keeps the model if it is the best, and judges by `--early_stopping` whether to go on."""
        log.evaluation(at, judgement.figures)
        if judgement.confusion is not None:
            log.image(at, "confusion", judgement.confusion.picture())
        if self._better(state, judgement.figures, at):
            checkpoints.save_best(at)
        if not self._enough(state):
            return loop.Verdict.GO_ON
        best = _best(state)
        assert best is not None  # something is enough only after something was best
        print(
            f"training: {best.metric} was no better in {best.waited} evaluations than {best.value:.4f} "
            f"at step {best.step}: stopping early",
            flush=True,
        )
        return loop.Verdict.ENOUGH

    def _better(self, state: RunState, figures: Mapping[str, float], at: int) -> bool:
        """Returns whether the figures are the best so far; counts the evaluations since."""
        chosen = self.config.best_metric
        name = chosen.removeprefix("-")
        if name not in figures:
            raise MorphbertError(f"--best_metric={chosen}: there are {', '.join(figures)}.")
        value, best = figures[name], _best(state)
        sign = -1.0 if chosen.startswith("-") else 1.0
        if best is None or sign * value > sign * best.value:
            state.progress.best = BestMetric(at, name, value)
            return True
        state.progress.best = dataclasses.replace(best, waited=best.waited + 1)
        return False

    def _enough(self, state: RunState) -> bool:
        best, patience = _best(state), self.config.early_stopping
        return patience is not None and best is not None and best.waited >= patience

    def load(self, best: bool = False) -> int:
        """Loads the newest or the best checkpoint of the output folder; returns its step."""
        path, step = chosen_checkpoint(self.config.output_dir, best)
        self._check(path)
        load_weights(path, self.model, self.objective.parameters)
        return step

    def _check(self, path: str) -> None:
        """Refuses a checkpoint of another task or model, after reading only its index."""
        shapes = read_shapes(path)
        check_task(path, shapes, self.objective.parameters)
        check_shapes(path, shapes, self.objective.parameters, exact=True)

    def _go_on(self, checkpoints: Checkpoints, state: RunState) -> int:
        if not self.restored:
            return 0
        before, now = self.restored.description, state.description
        pairs = (before.config, now.config), (before.settings, now.settings)
        say_differences(difference for pair in pairs for difference in differences(*pair))
        checkpoints.restore(self.restored.path, with_data_position=False)
        print(f"training: continuing from {self.restored.path}", flush=True)
        return self.restored.step

    def _description(self, examples: int) -> Description:
        config = self.config
        return Description(
            config=config.bert_config.to_dict(),
            settings={
                "optimizer": config.optimizer.settings(),
                "step": config.step.settings(),
                "train_batch_size": config.train_batch_size,
                "group_by_length": config.group_by_length,
                "frozen": list(config.frozen),
                "task": dict(config.task),
                "examples": examples,
                "num_replicas": self.strategy.num_replicas_in_sync,
                "tensorflow": tf.__version__,
            },
            data={"files": []},
        )


def _size(shapes: Iterable[tuple[int, ...]]) -> int:
    return sum(int(np.prod(shape)) for shape in shapes)


def _check_frozen(layers: int, config: BertConfig) -> None:
    if layers > config.num_hidden_layers:
        raise MorphbertError(
            f"--freeze_layers={layers}, but the model has {config.num_hidden_layers} layers."
        )
    if layers and config.num_hidden_groups is not None:
        raise MorphbertError(
            f"--freeze_layers={layers}: an ALBERT's layers share their weights, so none can be frozen alone. "
            "--freeze_embeddings can."
        )


def _best(state: RunState) -> BestMetric | None:
    """Returns the best evaluation so far of a fine-tuning."""
    best = state.progress.best
    assert best is None or isinstance(best, BestMetric)
    return best
