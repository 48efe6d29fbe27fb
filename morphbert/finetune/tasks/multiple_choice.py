"""Chooses the correct candidate for a question (run_multiple_choice.py's task).

Each candidate is encoded with the question, `[CLS] question [SEP] candidate [SEP]`, and has one score; the softmax is
over a question's candidates (Devlin et al. 2019, section 4.4). Questions may have different numbers of candidates:
empty sequences fill missing ones, and their scores are lowered so that they have no influence.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.finetune import huggingface
from morphbert.finetune.classes import likeliest_is, shares_of_scores
from morphbert.finetune.config import POOLER, HeadConfig
from morphbert.finetune.features import Features
from morphbert.finetune.head_task import HeadTask, saved_values
from morphbert.finetune.huggingface import TransformersHead
from morphbert.finetune.judgement import Judgement, by_length
from morphbert.finetune.plugin_head import (
    check_metrics,
    head_input,
    some_scores,
    with_own_figures,
)
from morphbert.finetune.rows import Row, RowError, field_in, text_in, where_of
from morphbert.finetune.task import Data, Examples, Purpose, Reader, Scores
from morphbert.finetune.task_configs import MultipleChoiceConfig, PredictConfig
from morphbert.formats.tables import read_table
from morphbert.interop.sequence_batches import piece_arrays
from morphbert.model.functions import HIDDEN
from morphbert.model.losses import Batch
from morphbert.pages.phrases import Text, phrase
from morphbert.structured import load_json
from morphbert.text.sequences import encode_sequence
from morphbert.train.storage import write_json_lines

# The least number of labels that indicate the first number.
_MANY = 20


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of question, candidates and label.

    Attributes:
      question: the columns of the question, which are joined with spaces.
      choices: the column with a list of all candidates; ignored if `each` names columns.
      each: the column of each candidate.
      label: the column of the correct candidate: its number, counted from `first_label`, its column, or its letter.
      first_label: the number of the first candidate.
    """

    question: tuple[str, ...] = ("question",)
    choices: str = "choices"
    each: tuple[str, ...] = ()
    label: str = "label"
    first_label: int = 0

    @classmethod
    def of(cls, config: MultipleChoiceConfig) -> Columns:
        """Returns the columns that the flags name."""
        return cls(
            config.question_column,
            config.choices_column,
            config.choice_columns,
            config.label_column,
            config.first_label,
        )

    @property
    def to_read(self) -> tuple[str, ...]:
        """All columns except the label."""
        return (*self.question, *(self.each or (self.choices,)))


@dataclasses.dataclass(frozen=True)
class ChoiceExample:
    """A question, its candidates, and the number of the correct one, from 0, None if it is unknown."""

    question: str
    choices: tuple[str, ...]
    label: int | None = None


@dataclasses.dataclass(frozen=True)
class MultipleChoice(HeadTask):
    """The head: dropout and one linear layer, `output_weights` [1, D] and `output_bias` [1], on each candidate.

    Attributes:
      columns: the columns of the table.
      head: the input of the head.
      max_seq_length: the number of pieces of question and candidate, special tokens included.
      most: the largest number of candidates of a question in the training data.
      custom_head: the name of a plugin's head, which replaces this one.
    """

    name: ClassVar[str] = "multiple_choice"
    title: ClassVar[Text] = phrase("multiple choice")

    columns: Columns = Columns()
    head: HeadConfig = POOLER
    max_seq_length: int = 128
    most: int = 2
    custom_head: str | None = None

    @property
    def outputs(self) -> int:
        """One score for each candidate."""
        return 1

    @property
    def guessing(self) -> float:
        """The loss of guessing a candidate."""
        return math.log(max(2, self.most))

    def best_metric(self, config: MultipleChoiceConfig) -> str:
        """Accuracy."""
        return "accuracy"

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `task.json`."""
        return {
            **super().to_dict(),
            "question_column": list(self.columns.question),
            "choices_column": self.columns.choices,
            "choice_columns": list(self.columns.each),
            "first_label": self.columns.first_label,
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> MultipleChoice:
        """Returns the task of a `task.json`."""
        columns = Columns(
            tuple(saved["question_column"]),
            saved["choices_column"],
            tuple(saved["choice_columns"]),
            first_label=saved["first_label"],
        )
        return cls(columns, **saved_values(saved))

    # ── Examples ─────────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def read(cls, config: MultipleChoiceConfig, path: str, purpose: Purpose) -> Examples:
        """Reads a table; counts the candidates and the correct ones."""
        columns, labelled = Columns.of(config), purpose != "predict"
        rows = read_table(path, [*columns.to_read, *([columns.label] if labelled else [])], config.encoding)
        items = []
        for row in rows:
            try:
                items.append(_example(row, columns, labelled))
            except MorphbertError as error:
                raise MorphbertError(f"{row.where}: {error}") from error
        examples = Examples(items, path, _summary(items))
        examples.say()
        if labelled:
            _check_first(items, columns, path)
        return examples

    def from_row(self, row: Row, number: int, config: PredictConfig) -> ChoiceExample:
        """Reads the keys of the training data."""
        if config.text_column:
            raise MorphbertError(
                f"--text_column={','.join(config.text_column)}: a model of multiple choice reads "
                f"{', '.join(map(repr, self.columns.to_read))}, as in its training data. Leave the flag out."
            )
        remedy = " They are the columns of the training data."
        for name in (*self.columns.question, *self.columns.each):
            text_in(row, name, remedy)
        if not self.columns.each:
            field_in(row, self.columns.choices, remedy)  # a list, which `_example` reads
        try:
            return _example(row, self.columns, labelled=False)
        except MorphbertError as error:
            raise RowError(f"{where_of(row)}: {error}") from error

    @classmethod
    def texts(cls, config: MultipleChoiceConfig, path: str) -> Iterator[Sequence[str]]:
        """Yields each question with its candidates as one document."""
        columns = Columns.of(config)
        for row in read_table(path, columns.to_read, config.encoding):
            example = _example(row, columns, labelled=False)
            yield [example.question, *example.choices]

    @classmethod
    def learn(
        cls, config: MultipleChoiceConfig, examples: Examples, reader: Reader
    ) -> tuple[MultipleChoice, Data]:
        """Determines the largest number of candidates, the only property that depends on the examples."""
        most = max(len(example.choices) for example in examples.items)
        head = head_input(config.head, config.custom_head)
        task = cls(Columns.of(config), head, config.max_seq_length, most, config.custom_head)
        check_metrics(
            config.metrics,
            lambda scores, wanted: choice_metrics(shares_of_scores(scores), wanted),
            *some_scores(most),
        )
        return task, task.data(examples, reader, "train", config)

    def data(
        self, examples: Examples, reader: Reader, purpose: Purpose, config: MultipleChoiceConfig | None = None
    ) -> Data:
        """Returns arrays [N, candidates, L], zero after a question's last candidate; `labels` int32 [N]."""
        items = examples.items
        most = max((len(example.choices) for example in items), default=1)
        arrays = piece_arrays(
            [
                encode_sequence(reader.tokenizer, example.question, choice, self.max_seq_length)[0]
                for example in items
                for choice in example.choices
            ],
            self.max_seq_length,
        )
        # The rows of existing sequences in an array with `most` candidates for every question.
        places = [number * most + place for number, e in enumerate(items) for place in range(len(e.choices))]
        pieces = {}
        for name, values in arrays.items():
            filled = np.zeros((len(items) * most, self.max_seq_length), values.dtype)
            filled[places] = values
            pieces[name] = filled.reshape(len(items), most, self.max_seq_length)
        labels = {}
        if purpose != "predict":
            labels["labels"] = np.asarray([example.label for example in items], np.int32)
        return Data(items, Features(pieces, labels))

    # ── Network ──────────────────────────────────────────────────────────────────────────────────────────

    def sequences(self, batch: Batch) -> Batch:
        """Returns the arrays of B × N sequences."""
        return {
            name: tf.reshape(values, [-1, values.shape[-1]])
            for name, values in batch.items()
            if values.shape.rank == 3
        }

    def postprocess(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Returns float32 [B, N] of the scores [B × N, 1] of all sequences; those of empty ones are lowered."""
        # [B, N]: a candidate has at least [CLS].
        real = tf.cast(tf.reduce_max(batch["input_mask"], -1), tf.float32)
        return tf.reshape(scores, tf.shape(real)) + HIDDEN * (1.0 - real)

    def losses(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Returns the cross entropy over each question's candidates: float32 [B]."""
        return tf.nn.sparse_softmax_cross_entropy_with_logits(batch["labels"], scores)

    def right(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor | None:
        """Returns 1 where the most likely candidate is the correct one."""
        return likeliest_is(scores, batch["labels"])

    # ── Scores → figures and predictions ─────────────────────────────────────────────────────────────────

    def judge(self, data: Data, scores: Scores, config: MultipleChoiceConfig) -> Judgement:
        """Returns accuracy and loss."""
        stacked, labels = np.stack(scores), data.features.labels["labels"]
        shares = shares_of_scores(stacked)
        groups = by_length(data.features.lengths, lambda rows: choice_metrics(shares[rows], labels[rows]))
        figures = with_own_figures(
            choice_metrics(shares, labels), config.metrics, labels, stacked, config.best_metric
        )
        return Judgement(figures, groups=groups)

    def predictions(self, data: Data, scores: Scores, config: PredictConfig) -> list[dict[str, Any]]:
        """Returns `label` (numbered as in the training data), `choice` (the candidate) and all `probabilities`."""
        return self._predictions(data, scores)

    def _predictions(self, data: Data, scores: Scores) -> list[dict[str, Any]]:
        made = []
        for example, shares in zip(data.examples, shares_of_scores(np.stack(scores)), strict=True):
            best = int(shares.argmax())
            made.append(
                {
                    "label": best + self.columns.first_label,
                    "choice": example.choices[best],
                    "probabilities": [round(float(share), 6) for share in shares[: len(example.choices)]],
                }
            )
        return made

    def write(self, folder: str, data: Data, scores: Scores, config: MultipleChoiceConfig) -> str:
        """Writes `predictions.jsonl`; `id` is the row's number from 1."""
        path = os.path.join(folder, "predictions.jsonl")
        made = self._predictions(data, scores)
        write_json_lines(path, [{"id": str(number), **one} for number, one in enumerate(made, start=1)])
        return f"{len(made)} questions, written to {path}"

    # ── Hugging Face ─────────────────────────────────────────────────────────────────────────────────────

    def to_transformers(
        self, kind: str, weights: Mapping[str, np.ndarray], encoder: Mapping[str, np.ndarray]
    ) -> TransformersHead:
        """Returns `…ForMultipleChoice`, which reads [CLS] through the pooler, or ELECTRA's layer in its place."""
        huggingface.check_pooler(self.head)
        tensors = {**encoder, **huggingface.linear_tensors(weights, "output", "classifier")}
        if kind == "ELECTRA":
            tensors |= huggingface.dense_tensors(weights, "sequence_summary.summary")
        return TransformersHead("ForMultipleChoice", "multiple-choice", tensors, {})


def choice_metrics(shares: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns accuracy and mean cross entropy of probabilities [N, candidates] and the correct numbers."""
    of_right = shares[np.arange(len(labels)), labels]
    return {
        "accuracy": float(np.mean(shares.argmax(1) == labels)),
        "loss": float(np.mean(-np.log(np.maximum(of_right, 1e-300)))),
        "num_examples": len(labels),
    }


def _example(row: Mapping[str, Any], columns: Columns, labelled: bool) -> ChoiceExample:
    """Reads one row; its error messages do not name the row."""
    question = " ".join(str(row[name]) for name in columns.question if row[name] is not None)
    choices = _choices(row, columns)
    if not labelled:
        return ChoiceExample(question, choices)
    return ChoiceExample(question, choices, _label(row[columns.label], columns, len(choices)))


def _choices(row: Mapping[str, Any], columns: Columns) -> tuple[str, ...]:
    if columns.each:
        found = ["" if row[name] is None else str(row[name]) for name in columns.each]
        while found and not found[-1].strip():
            found.pop()
        for name, choice in zip(columns.each, found, strict=False):
            if not choice.strip():
                raise MorphbertError(
                    f"the candidate {name!r} is empty, but a later one is not: correct the row."
                )
    else:
        found = _listed(row[columns.choices], columns.choices)
    if len(found) < 2:
        raise MorphbertError(
            f"the row has {len(found)} candidates, and a choice needs at least two: correct the row."
        )
    return tuple(found)


def _listed(value: Any, name: str) -> list[str]:
    """Returns the list of texts of a value, which may be its JSON in the cell of a table."""
    if isinstance(value, str):
        try:
            value = load_json(value)
        except ValueError:
            value = None
    if not isinstance(value, list) or any(isinstance(one, (dict, list)) or one is None for one in value):
        raise MorphbertError(
            f'{name!r} is not a list of candidates, such as ["서울", "부산"]. Name its column with '
            "--choices_column, or a column for each candidate with --choice_columns=a,b,c,d."
        )
    return [str(one) for one in value]


def _label(value: Any, columns: Columns, candidates: int) -> int:
    """Returns the number of the correct candidate, from 0."""
    text = "" if value is None or isinstance(value, bool) else str(value).strip()
    if text in columns.each:
        number = columns.each.index(text)
    elif re.fullmatch(r"-?\d{1,18}", text):
        number = int(text) - columns.first_label
    elif len(text) == 1 and "A" <= text <= "Z":
        number = ord(text) - ord("A")
    else:
        raise MorphbertError(
            f"the label is {value!r}: give the number of the correct candidate, counted from "
            f"--first_label={columns.first_label}, its letter (A, B, …) or its column. Name the label's column with "
            "--label_column."
        )
    if not 0 <= number < candidates:
        first = columns.first_label
        other = " If the first candidate is number 1, give --first_label=1." if first == 0 else ""
        raise MorphbertError(
            f"the label is {value!r}, but the row has {candidates} candidates, {first} to "
            f"{first + candidates - 1}.{other}"
        )
    return number


def _summary(items: Sequence[ChoiceExample]) -> str:
    few, most = (pick(len(example.choices) for example in items) for pick in (min, max))
    chance = sum(1 / len(example.choices) for example in items) / len(items)
    numbers = f"{few}" if few == most else f"{few} to {most}"
    return f"{len(items)} questions with {numbers} candidates; guessing reaches accuracy {chance:.4f}"


def _check_first(items: Sequence[ChoiceExample], columns: Columns, path: str) -> None:
    """Warns about labels that seem to be counted from another number."""
    seen = Counter(example.label for example in items)
    if len(items) >= _MANY and not seen[0]:
        print(
            f"warning: {path}: the first candidate is never correct. Labels are counted from {columns.first_label}. "
            "If this is wrong, give --first_label.",
            flush=True,
        )
