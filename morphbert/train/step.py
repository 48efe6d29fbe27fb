"""One training step: loss, reduction over replicas, clipping, update; and the loop around it in the graph."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import tensorflow as tf

from morphbert.model.electra import DRAW_KEYS, draw_keys
from morphbert.model.encoder import ForwardPass
from morphbert.model.losses import Batch
from morphbert.model.parameters import in_dtype
from morphbert.train.objective import Objective
from morphbert.train.step_config import StepConfig
from morphbert.train.train_state import TrainState


def share_of_replica(batch: Batch, replica: tf.Tensor, num_replicas: int) -> dict[str, tf.Tensor]:
    """Returns a replica's rows of a batch for all of them: [B, …] → [B / num_replicas, …]."""

    def rows(values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(values, [num_replicas, values.shape[0] // num_replicas, *values.shape[1:]])[replica]

    return {name: rows(values) for name, values in batch.items()}


def with_draw_keys(batch: Batch, seed: int, step: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns a batch with the keys of its samples at a step: the same on every replica and in every part."""
    key = tf.stack([seed, 0])
    # Beside the keys of dropout, which fold a replica's number, from 0 on, into the same.
    for number in (tf.cast(step, tf.int32), tf.int32.max):
        # A negative word is another number to XLA (filled up with zeros) than to TensorFlow (with its sign).
        key = tf.random.experimental.stateless_fold_in(tf.bitwise.bitwise_and(key, tf.int32.max), number)
    key = tf.bitwise.bitwise_and(key, tf.int32.max)
    return {**batch, DRAW_KEYS: draw_keys(batch["input_ids"], key)}


def _next(iterator: tf.data.Iterator, before: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Returns the next batch, and the seconds of waiting for it from when `before` was there."""
    with tf.control_dependencies([before]):
        started = tf.timestamp()
    with tf.control_dependencies([started]):
        batch = iterator.get_next()
    # With input per host a value has a part for each replica.
    with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
        ended = tf.timestamp()
    # Else nothing makes the clock be read before the step: where there is one core, the step would count as waiting.
    with tf.control_dependencies([ended]):
        batch = tf.nest.map_structure(tf.identity, batch, expand_composites=True)
    return batch, ended - started


def computes_by_halves(strategy: tf.distribute.Strategy, xla: bool | None) -> bool:
    """Returns whether a batch is to be computed as two halves side by side: on a CPU that one replica has to itself.

    Operations between the matrix products do not keep all cores busy; with two halves, the operations of one fill the
    gaps of the other. On one core they take turns. XLA runs operations one after the other, and other devices are no
    faster by it. The number of cores plays no part, so that a run that moves to another CPU adds up in
    the same order.
    """
    devices = strategy.extended.worker_devices
    return not xla and len(devices) == 1 and "CPU" in devices[0]


def halves(batch: Batch, wanted: bool) -> list[Batch]:
    """Returns the two halves of a batch [B, …] if they are wanted and B is even, and else the batch."""
    rows = batch["input_ids"].shape[0]
    if not wanted or rows is None or rows % 2:
        return [batch]
    return [share_of_replica(batch, tf.constant(number), 2) for number in range(2)]


class TrainingStep:
    """The compiled training step of one model under one strategy.

    Weights that the optimizer was not given are frozen: they get no gradients. `sharers_of_batch` replicas share
    a batch that `run` takes, all of them unless it says otherwise; several workers and the hosts of a TPU have input of
    their own.

    All-reduces stand directly in the replica function, never inside a nested or compiled one: there they
    deadlock or fail to compile under MirroredStrategy.
    """

    def __init__(
        self,
        objective: Objective,
        train_state: TrainState,
        strategy: tf.distribute.Strategy,
        config: StepConfig,
        sharers_of_batch: int | None = None,
    ):
        self.objective = objective
        self._model = train_state.model
        self._optimizer = train_state.optimizer
        self._strategy = strategy
        self._config = config
        self._loss_scale = train_state.loss_scale
        self._average = train_state.average
        self._trained = {name: train_state.model.parameters[name] for name in train_state.optimizer.trained}
        self._by_halves = computes_by_halves(strategy, config.xla)
        self._sharers = sharers_of_batch or strategy.num_replicas_in_sync
        self.gradients = tf.function(self._gradients, autograph=False, jit_compile=config.xla or None)
        self.update = tf.function(self._update, autograph=False, jit_compile=config.xla or None)

    def again(self) -> TrainingStep:
        """Returns the step with the optimizer's present configuration and the same function of gradients."""
        step = copy.copy(self)
        step.update = tf.function(step._update, autograph=False, jit_compile=self._config.xla or None)
        return step

    def replica_step(self, batch: Batch) -> tf.Tensor:
        """Computes a replica's share of its worker's rows; returns float32 [columns], equal on all replicas."""
        context = tf.distribute.get_replica_context()
        replica = context.replica_id_in_sync_group
        local = share_of_replica(batch, replica % self._sharers, self._sharers)

        if self.objective.draws:
            local = with_draw_keys(local, self._config.seed, self._optimizer.step)

        counted = {
            **self.objective.count(local),
            "tokens": tf.reduce_sum(tf.cast(local["input_mask"], tf.float32)),
        }
        denominators = context.all_reduce("SUM", counted)
        gradients, sums = self.gradients(local, denominators, self._optimizer.step, replica)
        gradients, sums = context.all_reduce("SUM", (gradients, sums))
        scale = tf.constant(1.0) if self._loss_scale is None else tf.identity(self._loss_scale.scale)
        norm, rate = self.update(gradients)

        counts = (denominators[name] for name in (*self.objective.counts, "tokens"))
        return tf.stack([*sums, *counts, norm, rate, scale])

    # No Python statement depends on a tensor: AutoGraph's conversion would only make each start slower.
    @tf.function(autograph=False)
    def run(self, iterator: tf.data.Iterator, num_steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Takes `num_steps` global batches from a host iterator.

        Returns:
          float32 [num_steps, columns], and float64 [num_steps], the seconds that each step waited for its batch.
        """
        rows = tf.TensorArray(tf.float32, size=num_steps, element_shape=[len(self.objective.columns)])
        waits = tf.TensorArray(tf.float64, size=num_steps, element_shape=[])

        def take(
            index: tf.Tensor, rows: tf.TensorArray, waits: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.TensorArray, tf.TensorArray]:
            batch, wait = _next(iterator, rows.flow)
            row = self._strategy.run(self.replica_step, (batch,))
            row = self._strategy.experimental_local_results(row)[0]
            return index + 1, rows.write(index, row), waits.write(index, wait)

        _, rows, waits = tf.while_loop(
            lambda index, *_: index < num_steps, take, (tf.constant(0, num_steps.dtype), rows, waits)
        )
        return rows.stack(), waits.stack()

    def _gradients(
        self, batch: Batch, denominators: Mapping[str, tf.Tensor], step: tf.Tensor, replica: tf.Tensor
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Gradients of this replica's part of the global loss, and the objective's sums."""
        parts = self._config.gradient_accumulation_steps
        key = tf.stack([self._config.seed, 0])
        for number in (tf.cast(step, tf.int32), replica):
            key = tf.random.experimental.stateless_fold_in(key, number)
        if parts == 1:
            return self._part(batch, denominators, key)

        split = {name: tf.reshape(v, [parts, v.shape[0] // parts, *v.shape[1:]]) for name, v in batch.items()}
        gradients = [tf.zeros(p.shape) for p in self._trained.values()]
        sums = [tf.zeros([]) for _ in self.objective.sums]

        def add(
            index: tf.Tensor, gradients: list[tf.Tensor], sums: list[tf.Tensor]
        ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
            part = {name: values[index] for name, values in split.items()}
            part_key = tf.random.experimental.stateless_fold_in(key, index)
            more_gradients, more_sums = self._part(part, denominators, part_key)
            gradients = [a + b for a, b in zip(gradients, more_gradients, strict=True)]
            return index + 1, gradients, [a + b for a, b in zip(sums, more_sums, strict=True)]

        _, gradients, sums = tf.while_loop(
            lambda index, *_: index < parts, add, (tf.constant(0), gradients, sums), maximum_iterations=parts
        )
        return gradients, sums

    def _part(
        self, batch: Batch, denominators: Mapping[str, tf.Tensor], key: tf.Tensor
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Gradients and sums of one part of a replica's share, computed by halves where that is faster."""
        weights = {name: tf.convert_to_tensor(p) for name, p in self._model.parameters.items()}
        computed = in_dtype(weights, self._model.declared, self._config.dtype)
        parts = halves(batch, self._by_halves)
        # As a function, two halves are traced once; TensorFlow puts its graph in place of each call.
        half = tf.function(self._half, autograph=False) if len(parts) > 1 else self._half
        found = [
            half(computed, part, denominators, tf.random.experimental.stateless_fold_in(key, number))
            for number, part in enumerate(parts)
        ]
        gradients, sums = (
            [tf.add_n(same) for same in zip(*lists, strict=True)] for lists in zip(*found, strict=True)
        )
        return gradients, sums

    def _half(
        self,
        weights: Mapping[str, tf.Tensor],
        batch: Batch,
        denominators: Mapping[str, tf.Tensor],
        key: tf.Tensor,
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """float32 gradients, and sums, of weights in the dtype to compute in."""
        trained = [weights[name] for name in self._trained]
        forward = ForwardPass(key, self._config.recompute, self._config.recompute_policy)
        with tf.GradientTape() as tape:
            tape.watch(trained)
            sums = self.objective.compute(weights, batch, forward)
            loss = self.objective.loss(sums, denominators)
            if self._loss_scale is not None:
                loss *= self._loss_scale.scale
        gradients = tape.gradient(loss, trained, unconnected_gradients="zero")
        # Embedding gradients come as slices with repeated rows, which optimizers mistake for distinct ones.
        dense = [tf.cast(tf.convert_to_tensor(gradient), tf.float32) for gradient in gradients]
        return dense, [sums[name] for name in self.objective.sums]

    def _update(self, gradients: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        parameters, scaling = self._trained, self._loss_scale
        if scaling is None:
            return self._apply(dict(zip(parameters, gradients, strict=True)))
        gradients = [gradient / scaling.scale for gradient in gradients]
        finite = tf.math.is_finite(tf.linalg.global_norm(gradients))
        scaling.update(finite)
        named = dict(zip(parameters, gradients, strict=True))
        return self._choose(finite, lambda: self._apply(named), self._optimizer.pass_over)

    def _choose(
        self,
        condition: tf.Tensor,
        then: Callable[[], tuple[tf.Tensor, tf.Tensor]],
        otherwise: Callable[[], tuple[tf.Tensor, tf.Tensor]],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Does one of two things that write variables; another step may keep its variables elsewhere."""
        return tf.cond(condition, then, otherwise)

    def _apply(self, gradients: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        norm_and_rate = self._optimizer.apply(self._trained, gradients)
        if self._average is not None:
            self._average.move(self._trained, self._optimizer.step)
        return norm_and_rate
