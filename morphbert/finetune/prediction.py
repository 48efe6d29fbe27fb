"""Predicts rows with a fine-tuned model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from tqdm import tqdm

from morphbert import atomic_files, files
from morphbert.errors import UsageError
from morphbert.finetune.loading import TaskModel, load_task
from morphbert.finetune.rows import Row, RowError, chunks
from morphbert.finetune.scoring import Scorer
from morphbert.finetune.task import Data, Examples
from morphbert.finetune.task_configs import PredictConfig
from morphbert.formats.tables import json_value, rows_of
from morphbert.plugins import load_plugins
from morphbert.text.unknown_share import say_unknown_ids

# Returns one prediction per row, or an object with `error`.
Predict = Callable[[Sequence[Row]], list[dict[str, Any]]]

# Added to rows; those of an earlier prediction do not stay.
_ADDED = ("prediction", "error")
# The number of batches of rows in memory.
_BATCHES = 32


@dataclasses.dataclass(frozen=True)
class Predicted:
    """The result of a prediction: the numbers of rows and of rows without a prediction, and the checkpoint."""

    rows: int
    failed: int
    checkpoint: str


def predict(config: PredictConfig) -> Predicted:
    """Writes each row of a table as JSON with `prediction`, or with `error` if there is none.

    Values of these names in the rows are left out.

    Raises:
      MorphbertError: the model is missing, or a line is not an object or lacks a field; no file is written then.
    """
    paths = files.expand(config.input_file)
    if len(paths) != 1:
        raise UsageError(f"--input_file={config.input_file} matches {len(paths)} files: give one.")
    atomic_files.check_apart([config.output_file], [("--input_file", paths[0])])
    load_plugins(config.plugin)
    model = load_task(config.model, config.load_best)
    make = predictor(model, config, paths[0])
    rows = failed = 0
    with (
        tqdm(desc="predicting", unit=" rows", disable=None) as bar,
        atomic_files.atomic_write(config.output_file) as stream,
    ):
        for some in chunks(rows_of(paths[0], config.encoding), _BATCHES * config.batch_size):
            for row, made in zip(some, make(some), strict=True):
                failed += "error" in made
                kept = {name: value for name, value in row.items() if name not in _ADDED}
                whole = {**kept, **(made if "error" in made else {"prediction": made})}
                stream.write(atomic_files.json_bytes(whole, default=json_value) + b"\n")
            rows += len(some)
            bar.update(len(some))
    return Predicted(rows, failed, model.checkpoint)


def predictor(model: TaskModel, config: PredictConfig, source: str | None = None) -> Predict:
    """Returns a function that makes predictions with a model; see its task's `predictions` for their keys.

    Args:
      model: a model of any task.
      config: the configuration of the prediction.
      source: the name of the input in the message about its share of [UNK].
    """
    task = model.task
    scorer = Scorer(task, model.config, model.weights, config.batch_size)

    def data_of(examples: Sequence[Any]) -> Data:
        return task.data(Examples(examples), model, "predict")

    def make(rows: Sequence[Row]) -> list[dict[str, Any]]:
        nonlocal source
        made: list[dict[str, Any]] = [{} for _ in rows]
        examples: dict[int, Any] = {}
        for number, row in enumerate(rows):
            try:
                examples[number] = task.from_row(row, number, config)
            except RowError as error:
                made[number] = {"error": str(error)}
        try:
            data = data_of(list(examples.values()))
        except RowError:
            for number, example in list(examples.items()):
                try:
                    data_of([example])
                except RowError as error:
                    made[number] = {"error": str(error)}
                    del examples[number]
            data = data_of(list(examples.values()))
        if source is not None and examples:
            say_unknown_ids(model.tokenizer, data.features.pieces, source)
            source = None
        if examples:
            predictions = task.predictions(data, scorer(data.features), config)
            for number, prediction in zip(examples, predictions, strict=True):
                made[number] = prediction
        return made

    return make
