"""Held-out figures, under google-research/bert's names."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping

import tensorflow as tf
from tqdm import tqdm

from morphbert.model.losses import COUNTS, SUMS, Batch, averages, counts, pretraining_sums
from morphbert.model.parameters import TrainableModel
from morphbert.train.config import RunConfig
from morphbert.train.records_input import evaluation_dataset, naming_bad_records
from morphbert.train.step import in_dtype, share_of_replica
from morphbert.train.storage import write_text


class Evaluator:
    """Evaluates a model on record files, dropout off, with the same strategy as training."""

    def __init__(self, config: RunConfig, model: TrainableModel, strategy: tf.distribute.Strategy):
        total = sum(chosen.share for chosen in config.eval_records)
        self._datasets = [
            (
                chosen,
                evaluation_dataset(chosen.files, chosen.form, config.eval_batch_size, chosen.first_file).take(
                    max(1, config.max_eval_steps * chosen.share // total)
                ),
            )
            for chosen in config.eval_records
        ]
        self._config = config
        self._model = model
        self._strategy = strategy
        self.sums = tf.function(self._sums, jit_compile=config.step.xla or None)

    def __call__(self) -> dict[str, float]:
        """Metrics over at most `max_eval_steps` batches, each record once; several lengths get their share of them.

        Returns:
          What `averages` gives, `masked_lm_perplexity` (e to the loss) and `num_examples`.
        """
        totals = dict.fromkeys((*SUMS, *COUNTS), 0.0)
        num_examples = 0
        # Summed as Python floats: float32 would lose counts beyond 16.7 million.
        for batch in tqdm(self._batches(), desc="evaluation", unit="batch", leave=False, disable=None):
            for name, value in zip(totals, self._batch(batch).numpy().tolist(), strict=True):
                totals[name] += value
            num_examples += int(tf.reduce_sum(batch["example_weights"]))
        metrics = averages(totals)
        perplexity = math.exp(min(metrics["masked_lm_loss"], 700.0))
        return {**metrics, "masked_lm_perplexity": perplexity, "num_examples": num_examples}

    def _batches(self) -> Iterator[Batch]:
        for chosen, dataset in self._datasets:
            with naming_bad_records(chosen.files, chosen.form):
                yield from dataset

    @tf.function
    def _batch(self, batch: Batch) -> tf.Tensor:
        row = self._strategy.run(self._replica, (batch,))
        return self._strategy.experimental_local_results(row)[0]

    def _replica(self, batch: Batch) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        local = share_of_replica(batch, context.replica_id_in_sync_group, self._strategy.num_replicas_in_sync)
        return context.all_reduce("SUM", self.sums(local))

    def _sums(self, batch: Batch) -> tf.Tensor:
        weights = {name: tf.convert_to_tensor(p) for name, p in self._model.parameters.items()}
        batch = {**batch, "masked_lm_weights": batch["masked_lm_weights"] * batch["example_weights"][:, None]}
        sums = pretraining_sums(in_dtype(weights, self._config.step.dtype), self._model.config, batch)
        denominators = counts(batch)
        return tf.stack([*(sums[name] for name in SUMS), *(denominators[name] for name in COUNTS)])


def write_results(directory: str, step: int, metrics: Mapping[str, float]) -> str:
    """Writes `eval_results.txt`, `name = value` sorted by name, as google-research/bert does; returns its path."""
    path = os.path.join(directory, "eval_results.txt")
    values = {**metrics, "global_step": step}
    write_text(path, "".join(f"{name} = {values[name]}\n" for name in sorted(values)))
    return path
