"""Rows with texts → what a fine-tuned model says of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from morphbert import files
from morphbert.errors import MorphbertError
from morphbert.finetune import answers, classification, relation, tagging
from morphbert.finetune.features import Features
from morphbert.finetune.loading import TaskModel
from morphbert.finetune.questions import Question
from morphbert.finetune.relations import RelationExample, relation_example
from morphbert.finetune.scoring import Scorer
from morphbert.finetune.tags import entities_of
from morphbert.formats.tables import json_lines

Row = Mapping[str, Any]
# One prediction for each row.
Predict = Callable[[Sequence[Row]], list[dict[str, Any]]]

# Rows that are in memory at once, in batches.
_BATCHES = 32


@dataclasses.dataclass(frozen=True)
class PredictionConfig:
    """How rows are read and what is said of them.

    Attributes:
      text_column: keys of the text, or of both texts; None takes `text`, and `text_pair` for the second.
      batch_size: examples scored at once.
      n_best_size: answers of a question that are given, the likeliest first.
      max_answer_length: pieces of an answer at most.
      null_score_diff_threshold: a question has no answer if that scores higher than its best one by more than this.
    """

    text_column: tuple[str, ...] | None = None
    batch_size: int = 32
    n_best_size: int = 1
    max_answer_length: int = 30
    null_score_diff_threshold: float = 0.0


def predictor(model: TaskModel, config: PredictionConfig) -> Predict:
    """What makes predictions with a model.

    A class: `label` and `probabilities` of all; several labels: `labels` and `probabilities`; a score: `score`. Tags:
    `entities` with their characters [start, end), and `tags` of all characters. An answer: `text`, `start`, `end`,
    `score`, `probability` and, with an `n_best_size` above 1, `n_best`; of questions that may have none also
    `no_answer_score_diff`. A relation: as a class.
    """
    scorer = Scorer(model.task, model.config, model.weights, config.batch_size)
    task = model.task
    if isinstance(task, relation.Relation):
        return lambda rows: _relations(model, task, scorer, rows)
    if isinstance(task, classification.Classification):
        return lambda rows: _classes(model, task.config, scorer, rows, config)
    if isinstance(task, tagging.Tagging):
        return lambda rows: _entities(model, task.config.labels, scorer, rows, config)
    return lambda rows: _answers(model, scorer, rows, config)


def predict_file(
    predict: Predict,
    config: PredictionConfig,
    input_file: str,
    output_file: str,
    progress: Callable[[int], object],
) -> tuple[int, int]:
    """JSON Lines → JSON Lines: each row as it was, with `prediction` in it; or with `error`, where there can be none.

    Args:
      progress: receives how many rows are done.

    Returns:
      How many rows were read, and how many of them could not be predicted.

    Raises:
      MorphbertError: a line is no object, or lacks what the task needs; no file is left then.
    """
    rows = failed = 0
    with files.atomic_write(output_file) as stream:
        for some in _chunks(_rows(input_file), _BATCHES * config.batch_size):
            for row, made in zip(some, predict(some), strict=True):
                failed += "error" in made
                whole = {**row, **(made if "error" in made else {"prediction": made})}
                stream.write((json.dumps(whole, ensure_ascii=False) + "\n").encode())
            rows += len(some)
            progress(len(some))
    return rows, failed


class _Line(dict[str, Any]):
    """A row that knows where it stands."""

    where: str = ""


def _rows(path: str) -> Iterator[_Line]:
    for number, row in json_lines(path):
        known = _Line(row)
        known.where = f"{path}: line {number}"
        yield known


def _chunks(rows: Iterable[_Line], size: int) -> Iterator[list[_Line]]:
    some: list[_Line] = []
    for row in rows:
        some.append(row)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


def _text(row: Row, name: str, flag: str = "") -> str:
    """A field as text; null is an empty one."""
    if name not in row:
        where = getattr(row, "where", "a row")
        there = ", ".join(map(repr, row)) or "nothing"
        raise MorphbertError(f"{where}: there is no {name!r}, only {there}.{flag}")
    return "" if row[name] is None else str(row[name])


def _columns(model: TaskModel, config: PredictionConfig) -> tuple[str, ...]:
    number = int(model.saved.get("text_columns", 1))
    names = config.text_column or ("text", "text_pair")[:number]
    if len(names) != number:
        raise MorphbertError(
            f"--text_column={','.join(names)} names {len(names)}, but the model was trained on "
            f"{'one text' if number == 1 else 'pairs of texts'}."
        )
    return names


_NAME_COLUMNS = " Name it with --text_column."


def _classes(
    model: TaskModel,
    task: classification.ClassificationConfig,
    scorer: Scorer,
    rows: Sequence[Row],
    config: PredictionConfig,
) -> list[dict[str, Any]]:
    columns = _columns(model, config)
    texts = [
        (
            _text(row, columns[0], _NAME_COLUMNS),
            _text(row, columns[1], _NAME_COLUMNS) if len(columns) > 1 else None,
        )
        for row in rows
    ]
    features = classification.features_of(model.tokenizer, texts, None, model.max_seq_length)
    values = classification.probabilities(np.stack(scorer(features)), task.kind)
    return [_class_prediction(row, task) for row in values]


def _class_prediction(values: np.ndarray, task: classification.ClassificationConfig) -> dict[str, Any]:
    if task.kind == "score":
        return {"score": float(values[0])}
    shares = {label: round(float(value), 6) for label, value in zip(task.labels, values, strict=True)}
    if task.kind == "labels":
        return {"labels": [label for label, share in shares.items() if share > 0.5], "probabilities": shares}
    return {"label": task.labels[int(values.argmax())], "probabilities": shares}


def _entities(
    model: TaskModel, known: Sequence[str], scorer: Scorer, rows: Sequence[Row], config: PredictionConfig
) -> list[dict[str, Any]]:
    name = (config.text_column or ("text",))[0]
    texts = [_text(row, name, _NAME_COLUMNS) for row in rows]
    windows = tagging.windows_of(model.tokenizer, texts, model.max_seq_length)
    scores = scorer(tagging.features_of(windows, None, known, model.max_seq_length))
    labels = tagging.labels_of_scores(windows, scores, known)
    found = tagging.tags_of_texts(windows, labels, texts)
    return [
        {"entities": [dataclasses.asdict(one) for one in entities_of(text, tags)], "tags": tags}
        for text, tags in zip(texts, found, strict=True)
    ]


def _answers(
    model: TaskModel, scorer: Scorer, rows: Sequence[Row], config: PredictionConfig
) -> list[dict[str, Any]]:
    saved = model.saved
    questions = [
        Question(str(number), _text(row, "question"), _text(row, "context"))
        for number, row in enumerate(rows)
    ]
    shape = answers.WindowConfig(model.max_seq_length, saved["doc_stride"], saved["max_query_length"])
    windows = list(answers.windows_of(model.tokenizer, questions, shape))
    scores = scorer(answers.features_of(windows, questions, model.max_seq_length, labelled=False))
    most = max(config.n_best_size, 20)
    best, nothing = answers.guesses_of(windows, scores, questions, most, config.max_answer_length)
    predictions = []
    for guesses, none in zip(best, nothing, strict=True):
        given = [_answer(guess) for guess in guesses[: config.n_best_size]] or [dict(_NO_ANSWER)]
        made = dict(given[0])
        if saved.get("version_2_with_negative") and guesses:
            made["no_answer_score_diff"] = none - guesses[0].score
            if made["no_answer_score_diff"] > config.null_score_diff_threshold:
                made |= _NO_ANSWER
        if config.n_best_size > 1:
            made["n_best"] = given
        predictions.append(made)
    return predictions


_NO_ANSWER: Mapping[str, Any] = {"text": "", "start": None, "end": None, "score": None, "probability": None}


def _answer(guess: answers.Guess) -> dict[str, Any]:
    end = guess.start + len(guess.text)
    return {
        "text": guess.text,
        "start": guess.start,
        "end": end,
        "score": guess.score,
        "probability": round(guess.probability, 6),
    }


def _relations(
    model: TaskModel, task: relation.Relation, scorer: Scorer, rows: Sequence[Row]
) -> list[dict[str, Any]]:
    config = relation.RelationConfig(task.config.labels, task.entity_types, task.head)
    predictions: list[dict[str, Any]] = [{} for _ in rows]
    places, features = [], []
    for number, row in enumerate(rows):
        try:
            example: RelationExample = relation_example(row, number)
            made = relation.features_of(
                model.tokenizer, [example], config, model.config, model.max_seq_length, None
            )
        except MorphbertError as error:
            predictions[number] = {"error": str(error)}
            continue
        places.append(number)
        features.append(made)
    if places:
        values = classification.probabilities(np.stack(scorer(_joined(features))), "class")
        for number, row_of in zip(places, values, strict=True):
            predictions[number] = _class_prediction(row_of, task.config)
    return predictions


def _joined(features: Sequence[Features]) -> Features:
    names = features[0].pieces
    return Features({name: np.concatenate([one.pieces[name] for one in features]) for name in names}, {})
