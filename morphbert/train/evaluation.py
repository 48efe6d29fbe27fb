"""Held-out figures, under google-research/bert's names."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping

import tensorflow as tf
from tqdm import tqdm

from morphbert.model.losses import Batch
from morphbert.model.parameters import TrainableModel, in_dtype
from morphbert.train.cluster.strategy import Devices
from morphbert.train.config import RunConfig
from morphbert.train.input.record_sets import known_number
from morphbert.train.input.records import evaluation_dataset, naming_bad_records
from morphbert.train.objective import Objective
from morphbert.train.prediction_kinds import PredictionKinds, sums_by_kind
from morphbert.train.step import computes_by_halves, halves, share_of_replica, with_draw_keys
from morphbert.train.storage import write_text

# Figures of a kind of masked piece, whose name follows.
ACCURACY_OF_KIND = "masked_lm_accuracy_"
PREDICTIONS_OF_KIND = "masked_lm_predictions_"
# A bar is shown for an evaluation that takes longer.
_SECONDS_BEFORE_BAR = 10.0
_TIMED_BATCHES = 5


class Evaluator:
    """Evaluates a model on record files, dropout off, with the same strategy as training.

    With `kinds`, it gives an accuracy for each kind of masked piece.
    """

    def __init__(
        self,
        config: RunConfig,
        objective: Objective,
        model: TrainableModel,
        devices: Devices,
        kinds: PredictionKinds | None = None,
    ):
        total = sum(chosen.share for chosen in config.eval_records)
        # Of each set, its share of the batches.
        self._limits = [
            max(1, config.max_eval_steps * chosen.share // total) for chosen in config.eval_records
        ]
        self._datasets = [
            evaluation_dataset(chosen.files, chosen.form, config.eval_batch_size, chosen.first_file).take(
                limit
            )
            for chosen, limit in zip(config.eval_records, self._limits, strict=True)
        ]
        self._config = config
        self._objective = objective
        self._model = model
        self._devices = devices
        self._kinds = kinds
        self._by_halves = computes_by_halves(devices.strategy, config.step.xla)
        # Every evaluation sees the same batches, so the kinds of their masked pieces are found once.
        self._of_batches: list[dict[str, tf.Tensor]] = []
        self.sums = tf.function(self._sums, autograph=False, jit_compile=config.step.xla or None)

    def __call__(self, stopping: Callable[[], bool] = lambda: False) -> dict[str, float] | None:
        """Metrics over at most `max_eval_steps` batches, each record once; several lengths get their share of them.

        Args:
          stopping: asked before each batch whether to leave it.

        Returns:
          None if it was left, and otherwise the objective's `averages`, `masked_lm_perplexity` (e to the loss) and
          `num_examples`; with kinds also `masked_lm_accuracy_KIND` and `masked_lm_predictions_KIND` for each kind that
          occurs.
        """
        names = [*self._objective.eval_sums, *self._objective.counts]
        if self._kinds:
            kinds = (*self._kinds.names, "whole_eojeols")
            names += [f"predictions_{kind}" for kind in kinds] + [f"right_{kind}" for kind in kinds]
        totals = dict.fromkeys(names, 0.0)
        num_examples = 0
        # Summed as Python floats: float32 would lose counts beyond 16.7 million.
        bar = tqdm(
            self._batches(),
            desc="evaluation",
            unit="batch",
            total=self._num_batches(),
            leave=False,
            disable=None,
            delay=_SECONDS_BEFORE_BAR,
        )
        for batch in bar:
            if stopping():
                bar.close()
                return None
            for name, value in zip(totals, self._batch(batch).numpy().tolist(), strict=True):
                totals[name] += value
            num_examples += int(tf.reduce_sum(batch["example_weights"]))
        metrics = self._objective.averages(totals)
        metrics["masked_lm_perplexity"] = math.exp(min(metrics["masked_lm_loss"], 700.0))
        for kind in (*self._kinds.names, "whole_eojeols") if self._kinds else ():
            if found := totals[f"predictions_{kind}"]:
                metrics[ACCURACY_OF_KIND + kind] = totals[f"right_{kind}"] / found
                metrics[PREDICTIONS_OF_KIND + kind] = int(found)
        return {**metrics, "num_examples": num_examples}

    def seconds(self) -> float:
        """Returns how long an evaluation takes, from some of its batches, after they have been compiled."""
        for _ in range(2):  # the first time compiles, and finds the kinds of the masked pieces
            times = [time.monotonic()]
            for batch in itertools.islice(self._batches(), _TIMED_BATCHES):
                self._batch(batch).numpy()
                times.append(time.monotonic())
        if len(times) < 2:
            return 0.0
        # The first batch waits for the files to be opened, which happens once whatever the number of batches.
        first, others = times[1] - times[0], len(times) - 2
        each = (times[-1] - times[1]) / others if others else first
        return first + each * ((self._num_batches() or sum(self._limits)) - 1)

    def _num_batches(self) -> int | None:
        """Returns how many batches there are, where the records' number is known without reading them."""
        total = 0
        for chosen, limit in zip(self._config.eval_records, self._limits, strict=True):
            records = known_number(chosen.files)
            if records is None:
                return None
            total += min(-(-records // self._config.eval_batch_size), limit)
        return total

    def _batches(self) -> Iterator[Batch]:
        number = 0
        for chosen, dataset in zip(self._config.eval_records, self._datasets, strict=True):
            with naming_bad_records(chosen.files, chosen.form):
                for batch in dataset:
                    yield {**batch, **self._kinds_of(number, batch)}
                    number += 1

    def _kinds_of(self, number: int, batch: Batch) -> dict[str, tf.Tensor]:
        if self._kinds is None:
            return {}
        if number == len(self._of_batches):
            values = self._kinds({name: tensor.numpy() for name, tensor in batch.items()})
            self._of_batches.append({name: tf.constant(value) for name, value in values.items()})
        return self._of_batches[number]

    @tf.function(autograph=False)
    def _batch(self, batch: Batch) -> tf.Tensor:
        strategy, replicas = self._devices.strategy, self._devices.num_replicas

        def summed(local: Batch) -> tf.Tensor:
            return tf.distribute.get_replica_context().all_reduce("SUM", self.sums(local))

        def share_summed(whole: Batch) -> tf.Tensor:
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            return summed(share_of_replica(whole, number, replicas))

        if self._devices.input_per_host:
            # Cut here, on the host that read it: each core, which may be another host's, is sent its rows alone.
            shares = strategy.experimental_distribute_values_from_function(
                lambda context: share_of_replica(batch, context.replica_id_in_sync_group, replicas)
            )
            row = strategy.run(summed, (shares,))
        else:
            row = strategy.run(share_summed, (batch,))
        return strategy.experimental_local_results(row)[0]

    def _sums(self, batch: Batch) -> tf.Tensor:
        weights = {name: tf.convert_to_tensor(p) for name, p in self._model.parameters.items()}
        batch = {**batch, "masked_lm_weights": batch["masked_lm_weights"] * batch["example_weights"][:, None]}
        computed = in_dtype(weights, self._model.declared, self._config.step.dtype)
        objective = self._objective
        assert objective.evaluate is not None  # of every objective of pretraining
        if objective.draws:  # the same samples in every evaluation, as far as the generator is the same
            batch = with_draw_keys(batch, 0, tf.constant(0))
        found = [objective.evaluate(computed, half) for half in halves(batch, self._by_halves)]
        right = tf.concat([right for _, right in found], 0)
        denominators = objective.count(batch)
        row = tf.stack(
            [
                *(tf.add_n([sums[name] for sums, _ in found]) for name in objective.eval_sums),
                *(denominators[name] for name in objective.counts),
            ]
        )
        return (
            row if self._kinds is None else tf.concat([row, tf.reshape(sums_by_kind(batch, right), [-1])], 0)
        )


def write_results(directory: str, step: int, metrics: Mapping[str, float]) -> str:
    """Writes `eval_results.txt`, `name = value` sorted by name, as google-research/bert does; returns its path."""
    path = os.path.join(directory, "eval_results.txt")
    values = {**metrics, "global_step": step}
    write_text(path, "".join(f"{name} = {values[name]}\n" for name in sorted(values)))
    return path
