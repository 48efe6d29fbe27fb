"""One fine-tuning run: the training loop of pretraining with a task's head and labelled examples."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

import morphbert
from morphbert.errors import MorphbertError
from morphbert.finetune.features import Features
from morphbert.finetune.feed import ExampleFeed, scoring_batches
from morphbert.finetune.task import Task, describe, objective_of, outputs
from morphbert.model.parameters import TrainableModel
from morphbert.train import loop, preflight
from morphbert.train.checkpoint import Checkpoints, RunState, check_shapes, latest, load_weights, read_weights
from morphbert.train.config import LoopConfig
from morphbert.train.log import RunLog
from morphbert.train.loss_scale import LossScale
from morphbert.train.optimization import Optimizer
from morphbert.train.step import TrainingStep, in_dtype
from morphbert.train.strategy import build_strategy

# What a run at another place would have to have the same to arrive where this one does.
_TRAJECTORY = ("optimizer", "step", "train_batch_size", "group_by_length", "task", "examples")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineTuneConfig(LoopConfig):
    """A run. Names are those of the flags.

    Attributes:
      group_by_length: put examples of like length into a batch; else all batches have the longest length.
      best_metric: the figure of an evaluation by which the best checkpoint is kept; a leading `-` means the lowest.
      task: what is trained, JSON-able, for the checkpoint.
    """

    group_by_length: bool = True
    best_metric: str = "-loss"
    task: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class FineTuning:
    """A model with a task's head: trains it, restores it, scores examples with it."""

    def __init__(self, config: FineTuneConfig, task: Task, weights: Mapping[str, np.ndarray] | None) -> None:
        """Builds the model.

        Args:
          config: the run.
          task: the head and its losses.
          weights: of the pretrained model, None for random ones; what the task does not use is left out.

        Raises:
          MorphbertError: the output folder cannot be used or holds another model, or the devices are not there.
        """
        preflight.check_output_dir(config.output_dir)
        self.config, self.task = config, task
        self.strategy, chosen = build_strategy(config.devices)
        replicas = self.strategy.num_replicas_in_sync
        parts = config.step.gradient_accumulation_steps
        preflight.check_batch("train_batch_size", config.train_batch_size, replicas, parts)
        self.objective = objective_of(task, config.bert_config)
        self.restored = latest(config.output_dir)
        expected = self.objective.parameters
        if self.restored:
            check_shapes(
                self.restored.path, _all_weights(self.restored.path, expected), expected, exact=False
            )
        with self.strategy.scope():
            self.model = TrainableModel(config.bert_config, expected, config.step.seed)
            self.optimizer = Optimizer(config.optimizer, self.model.parameters)
            self.loss_scale = LossScale() if config.step.dtype == "float16" else None
        self._scores = tf.function(self._scores_of_batch)
        # One trace for each length that batches are cut to is meant; TensorFlow warns of it.
        tf.get_logger().addFilter(lambda record: "retracing" not in record.getMessage())
        size = sum(int(np.prod(p.shape)) for p in expected.values())
        print(f"model: {size:,} parameters, {config.step.dtype}; {chosen}", flush=True)
        if weights is not None and not self.restored:
            source = str(config.init_checkpoint)
            missing = load_weights(source, self.model, expected, lambda path: weights)
            new = f"; new: {', '.join(missing)}" if missing else ""
            taken = f"{len(expected) - len(missing)} of {len(expected)}"
            print(f"training: {taken} weights from {source}{new}", flush=True)

    def train(
        self, features: Features, evaluate: Callable[[], dict[str, float]] | None = None
    ) -> tuple[int, int | None]:
        """Trains to the last step, going on from a checkpoint in the output folder; returns (step, signal).

        Args:
          features: the examples.
          evaluate: held-out figures of the model as it is, called every `eval_every` steps and at the end.
        """
        config, last = self.config, self.config.optimizer.num_train_steps
        feed = ExampleFeed(features, config.train_batch_size, last, config.step.seed, config.group_by_length)
        state = RunState(self._description(len(features)))
        checkpoints = Checkpoints(
            config.output_dir,
            self.model,
            self.optimizer,
            None,
            state,
            config.keep_checkpoint_max,
            self.loss_scale,
        )
        step = self._go_on(checkpoints, state)
        if step >= last:
            print(f"training: already at step {step} of {last}, nothing to do", flush=True)
            return step, None
        training = TrainingStep(
            self.objective, self.model, self.optimizer, self.strategy, config.step, self.loss_scale
        )
        log = RunLog(config.output_dir, step, last, config.train_batch_size, describe)

        def evaluate_and_keep(at: int) -> None:
            if evaluate is None:
                return
            metrics = evaluate()
            log.evaluation(at, metrics)
            name = config.best_metric.removeprefix("-")
            if name not in metrics:
                raise MorphbertError(f"--best_metric={config.best_metric}: there are {', '.join(metrics)}.")
            value, best = metrics[name], state.values["best"]
            if config.best_metric.startswith("-"):
                better = best is None or value < best["value"]
            else:
                better = best is None or value > best["value"]
            if better:
                state.values["best"] = {"step": at, "metric": name, "value": value}
                checkpoints.save_best(at)

        try:
            step, stopped = loop.train(
                config, step, feed, training, checkpoints, state, log, evaluate_and_keep
            )
            if config.eval_every and stopped is None:
                evaluate_and_keep(step)
            return step, stopped
        finally:
            log.close()

    def load(self) -> int:
        """Takes the weights of the newest checkpoint in the output folder; returns its step."""
        if self.restored is None:
            raise MorphbertError(
                f"there is no checkpoint in --output_dir={self.config.output_dir}: train first (--do_train)."
            )
        weights = _all_weights(self.restored.path, self.objective.parameters)
        for name, variable in self.model.parameters.items():
            variable.assign(weights[name])
        return self.restored.step

    def scores(self, features: Features) -> list[np.ndarray]:
        """The task's scores of each example, in order; those of pieces are as long as the batch was cut to."""
        found: list[Any] = [None] * len(features)
        batches = scoring_batches(features, self.config.eval_batch_size)
        total = -(-len(features) // self.config.eval_batch_size)
        for rows, batch in tqdm(
            batches, desc="scoring", unit="batch", total=total, leave=False, disable=None
        ):
            values = self._scores({name: tf.constant(value) for name, value in batch.items()}).numpy()
            for row, value in zip(rows, values, strict=False):
                found[row] = value
        return found

    def _scores_of_batch(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        # float16's range needs no loss scale here, but its rounding would decide close calls.
        dtype = "bfloat16" if self.config.step.dtype == "bfloat16" else "float32"
        weights = {name: tf.convert_to_tensor(p) for name, p in self.model.parameters.items()}
        return outputs(self.task, self.config.bert_config, in_dtype(weights, dtype), batch)

    def _go_on(self, checkpoints: Checkpoints, state: RunState) -> int:
        if not self.restored:
            return 0
        now, before = state.values, self.restored.state
        for name in _TRAJECTORY:
            if before["settings"].get(name) != now["settings"][name]:
                print(
                    f"warning: {name} was {before['settings'].get(name)}, is {now['settings'][name]}: the run goes "
                    "on, but not to the weights it would have reached",
                    flush=True,
                )
        checkpoints.restore(self.restored.path, with_data_position=False)
        state.values = {**now, **{name: before.get(name, now[name]) for name in ("log", "best", "rollbacks")}}
        print(f"training: continuing from {self.restored.path}", flush=True)
        return self.restored.step

    def _description(self, examples: int) -> dict[str, Any]:
        config = self.config
        optimizer = dataclasses.asdict(config.optimizer)
        optimizer["exclude_from_weight_decay"] = list(config.optimizer.exclude_from_weight_decay)
        return {
            "morphbert_version": morphbert.__version__,
            "config": config.bert_config.to_dict(),
            "settings": {
                "optimizer": optimizer,
                "step": dataclasses.asdict(config.step),
                "train_batch_size": config.train_batch_size,
                "group_by_length": config.group_by_length,
                "task": dict(config.task),
                "examples": examples,
            },
            "data": {"files": []},
            "log": loop.empty_sums(self.objective),
            "best": None,
            "rollbacks": {"step": -1, "times": 0},
        }


def _all_weights(path: str, expected: Mapping[str, Any]) -> dict[str, np.ndarray]:
    weights = read_weights(path)
    missing = [name for name in expected if name not in weights]
    if missing:
        raise MorphbertError(
            f"{os.path.dirname(path)} holds the checkpoint of another task: it lacks {', '.join(missing[:3])}. Give "
            "another --output_dir."
        )
    return weights
