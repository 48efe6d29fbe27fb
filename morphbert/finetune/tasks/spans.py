"""Answers a question with a span of a paragraph, or with no answer (run_squad.py's task)."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from morphbert.atomic_files import json_bytes
from morphbert.errors import MorphbertError
from morphbert.finetune import answers, huggingface
from morphbert.finetune.answer_metrics import METRICS, best_threshold, evaluate
from morphbert.finetune.config import NO_POOLING, HeadConfig
from morphbert.finetune.head_task import HeadTask
from morphbert.finetune.huggingface import TransformersHead
from morphbert.finetune.judgement import Judgement
from morphbert.finetune.particles import ParticleStripper
from morphbert.finetune.plugin_head import check_metrics, head_input, with_own_figures
from morphbert.finetune.rows import Row, text_in
from morphbert.finetune.task import Data, Examples, Purpose, Reader, Scores
from morphbert.finetune.task_configs import PredictConfig, SpanConfig
from morphbert.formats.questions import Question, read_questions
from morphbert.model.functions import HIDDEN
from morphbert.model.losses import Batch
from morphbert.pages.phrases import Text, phrase
from morphbert.train.storage import write_text

HEAD = "cls/squad/output"
# The least number of spans for the normalisation of probabilities.
_CANDIDATES = 20
_NO_ANSWER: Mapping[str, Any] = {"text": "", "start": None, "end": None, "score": None, "probability": None}


@dataclasses.dataclass(frozen=True)
class Spans(HeadTask):
    """Two scores for each piece, for the beginning and the end of the answer (Devlin et al. 2019, 4.2).

    Attributes:
      head: the input of the head.
      max_seq_length: the number of pieces of question and window, special tokens included.
      doc_stride: the number of pieces between the beginnings of consecutive windows.
      max_query_length: the number of the question's pieces that are kept.
      version_2_with_negative: whether some questions have no answer.
      custom_head: the name of a plugin's head, which replaces this one.
    """

    name: ClassVar[str] = "span"
    title: ClassVar[Text] = phrase("answers to questions")
    output: ClassVar[str] = HEAD
    of_pieces: ClassVar[bool] = True
    output_dropout: ClassVar[bool] = False  # as in google-research/bert's run_squad.py

    head: HeadConfig = NO_POOLING
    max_seq_length: int = 384
    doc_stride: int = 128
    max_query_length: int = 64
    version_2_with_negative: bool = False
    custom_head: str | None = None

    @property
    def outputs(self) -> int:
        """The beginning and the end."""
        return 2

    @property
    def guessing(self) -> float:
        """The loss of guessing a position."""
        return math.log(self.max_seq_length)

    def best_metric(self, config: SpanConfig) -> str:
        """F1 or ROUGE-W."""
        return METRICS[config.metric].figure

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `task.json`."""
        return {
            **super().to_dict(),
            "doc_stride": self.doc_stride,
            "max_query_length": self.max_query_length,
            "version_2_with_negative": self.version_2_with_negative,
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Spans:
        """Returns the task of a `task.json`."""
        names = ("max_seq_length", "doc_stride", "max_query_length", "version_2_with_negative")
        lengths = {name: saved[name] for name in names if name in saved}
        head = HeadConfig.from_dict(saved, NO_POOLING.pooling)
        return cls(head, **lengths, custom_head=saved.get("custom_head"))

    def used_by(self, config: SpanConfig) -> Spans:
        """Returns the task with the run's window lengths."""
        length, stride, query = _windowing(config)
        return dataclasses.replace(self, max_seq_length=length, doc_stride=stride, max_query_length=query)

    # ── Examples ─────────────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def read(cls, config: SpanConfig, path: str, purpose: Purpose) -> Examples:
        """Reads SQuAD's JSON."""
        questions, statistics = read_questions(path, config.encoding)
        return Examples(questions, path, str(statistics))

    def from_row(self, row: Row, number: int, config: PredictConfig) -> Question:
        """Reads `question` and `context`."""
        return Question(str(number), text_in(row, "question"), text_in(row, "context"))

    @classmethod
    def texts(cls, config: SpanConfig, path: str) -> Iterator[Sequence[str]]:
        """Yields each paragraph as one document, whose parts are its lines."""
        for context in dict.fromkeys(
            question.context for question in read_questions(path, config.encoding)[0]
        ):
            yield context.splitlines()

    @classmethod
    def learn(cls, config: SpanConfig, examples: Examples, reader: Reader) -> tuple[Spans, Data]:
        """Checks that questions have answers, unless some may have none."""
        head = head_input(config.head, config.custom_head)
        task = cls(head, *_windowing(config), config.version_2_with_negative, config.custom_head)
        both = ("exact_match", METRICS[config.metric].figure)
        others = ("num_examples", "no_answer_accuracy", "best_threshold", f"best_threshold_{both[1]}")
        figures = dict.fromkeys((*both, *(f"{name}_unstripped" for name in both), *others), 0.0)
        check_metrics(
            config.metrics,
            lambda given, right: figures,
            *_as_arrays([("서울", "서울시"), ()], ["서울", "부산"]),
        )
        data = task.data(examples, reader, "train", config)
        if not _known(examples.items) and not config.version_2_with_negative:
            raise MorphbertError(
                f"{examples.source} has no answer to learn from. Questions without answers need "
                "--version_2_with_negative."
            )
        return task, data

    def data(
        self, examples: Examples, reader: Reader, purpose: Purpose, config: SpanConfig | None = None
    ) -> Data:
        """Returns windows of the paragraphs; prints the figures of a perfect choice of spans."""
        questions = examples.items
        shape = answers.WindowConfig(self.max_seq_length, self.doc_stride, self.max_query_length)
        windows = list(answers.windows_of(reader.tokenizer, questions, shape))
        examples.say(f"; {len(windows)} windows")
        if config is not None and _known(questions):
            best = evaluate(questions, answers.ceiling(windows, questions), config.metric)
            words = METRICS[config.metric].in_words(best)
            print(f"ceiling: {words} with this tokenizer and perfect choice of spans", flush=True)
        features = answers.features_of(windows, questions, self.max_seq_length, labelled=purpose == "train")
        return Data(questions, features, windows)

    # ── Network ──────────────────────────────────────────────────────────────────────────────────────────

    def postprocess(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Returns float32 [B, L, 2]; the scores of padding are lowered, so that it is never chosen."""
        return scores + HIDDEN * (1.0 - tf.cast(batch["input_mask"], tf.float32))[:, :, None]

    def losses(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor:
        """Returns the mean of both cross entropies over the positions: float32 [B]."""
        start = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["start_positions"], scores[:, :, 0])
        end = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["end_positions"], scores[:, :, 1])
        return (start + end) / 2.0

    def right(self, scores: tf.Tensor, batch: Batch) -> tf.Tensor | None:
        """Returns 1 where both ends are correct: float32 [B]."""
        ends = tf.argmax(scores, 1, output_type=tf.int32)
        wanted = tf.stack([batch["start_positions"], batch["end_positions"]], -1)
        return tf.cast(tf.reduce_all(tf.equal(ends, wanted), -1), tf.float32)

    # ── Scores → figures and predictions ─────────────────────────────────────────────────────────────────

    def can_judge(self, data: Data) -> bool:
        """Returns whether questions have answers, or are known to have none."""
        return _known(data.examples) or any(question.is_impossible for question in data.examples)

    def judge(self, data: Data, scores: Scores, config: SpanConfig) -> Judgement:
        """Returns exact match and F1 or ROUGE-W, and the effect of the options."""
        questions, metric = data.examples, METRICS[config.metric]
        found = _Answers.of(data, scores, config)
        final = found.with_threshold(config)
        figures = evaluate(questions, final, config.metric)
        if config.strip_particles:
            before = {f"{name}_unstripped": figures[name] for name in ("exact_match", metric.figure)}
            final = found.stripped(final, questions)
            figures = {**evaluate(questions, final, config.metric), **before}
        if config.version_2_with_negative:
            threshold, reached = best_threshold(questions, found.chosen, found.odds, config.metric)
            figures |= {"best_threshold": threshold, f"best_threshold_{metric.figure}": reached}
        line = metric.in_words(figures)
        if config.strip_particles:
            line += f" without particles; with them {metric.in_words(figures, '_unstripped')}"
        right, given = (
            [question.golds for question in questions],
            [final[question.id] for question in questions],
        )
        own = with_own_figures(figures, config.metrics, *_as_arrays(right, given), config.best_metric)
        line += "".join(f", {name} {own[name]:.4f}" for name in own if name not in figures)
        return Judgement(own, line=line)

    def predictions(self, data: Data, scores: Scores, config: PredictConfig) -> list[dict[str, Any]]:
        """Returns `text`, `start`, `end`, `score`, `probability` and, with an `n_best_size` above 1, `n_best`.

        With questions that may have no answer, also returns `no_answer_score_diff`.
        """
        most = max(config.n_best_size, _CANDIDATES)
        best, nothing = answers.guesses_of(
            data.windows, scores, data.examples, most, config.max_answer_length
        )
        predictions = []
        for guesses, none in zip(best, nothing, strict=True):
            given = [_prediction(guess) for guess in guesses[: config.n_best_size]] or [dict(_NO_ANSWER)]
            made = dict(given[0])
            if self.version_2_with_negative and guesses:
                made["no_answer_score_diff"] = none - guesses[0].score
                if made["no_answer_score_diff"] > config.null_score_diff_threshold:
                    made |= _NO_ANSWER
            if config.n_best_size > 1:
                made["n_best"] = given
            predictions.append(made)
        return predictions

    def write(self, folder: str, data: Data, scores: Scores, config: SpanConfig) -> str:
        """Writes google-research/bert's files: answers, best spans and, if there may be no answer, its odds."""
        found = _Answers.of(data, scores, config)
        final = found.with_threshold(config)
        if config.strip_particles:
            final = found.stripped(final, data.examples)
        _write(folder, "predictions.json", final)
        _write(folder, "nbest_predictions.json", found.best)
        if config.version_2_with_negative:
            _write(folder, "null_odds.json", found.odds)
        return f"{len(final)} questions, written to {folder}/predictions.json"

    # ── Hugging Face ─────────────────────────────────────────────────────────────────────────────────────

    def to_transformers(
        self, kind: str, weights: Mapping[str, np.ndarray], encoder: Mapping[str, np.ndarray]
    ) -> TransformersHead:
        """`…ForQuestionAnswering`."""
        huggingface.check_last_layer(self.head)
        output = "classifier" if kind == "ModernBERT" else "qa_outputs"
        tensors = {**encoder, **huggingface.linear_tensors(weights, HEAD, output)}
        return TransformersHead("ForQuestionAnswering", "question-answering", tensors, {"num_labels": 2})


@dataclasses.dataclass(frozen=True)
class _Answers:
    """The answer, the best spans, and the score of no answer minus that of the best one, by question id."""

    chosen: Mapping[str, str]
    best: Mapping[str, Sequence[Mapping[str, Any]]]
    odds: Mapping[str, float]

    @classmethod
    def of(cls, data: Data, scores: Scores, config: SpanConfig) -> _Answers:
        """Returns the answers of questions from the scores of windows."""
        found, nothing = answers.guesses_of(
            data.windows, scores, data.examples, config.n_best_size, config.max_answer_length
        )
        chosen, best, odds = {}, {}, {}
        for question, guesses, empty in zip(data.examples, found, nothing, strict=True):
            chosen[question.id] = guesses[0].text if guesses else ""
            odds[question.id] = empty - guesses[0].score if guesses else 1e9
            best[question.id] = [
                {"text": g.text, "answer_start": g.start, "probability": g.probability, "score": g.score}
                for g in guesses
            ]
        return cls(chosen, best, odds)

    def with_threshold(self, config: SpanConfig) -> dict[str, str]:
        """Returns the answers, empty for those that the threshold rejects."""
        if not config.version_2_with_negative:
            return dict(self.chosen)
        limit = config.null_score_diff_threshold
        return {name: "" if self.odds[name] > limit else text for name, text in self.chosen.items()}

    def stripped(self, final: Mapping[str, str], questions: Sequence[Question]) -> dict[str, str]:
        """Returns the answers without particles at their ends."""
        stripper = ParticleStripper()
        starts = {name: int(spans[0]["answer_start"]) for name, spans in self.best.items() if spans}
        contexts = {question.id: question.context for question in questions}
        return {
            name: stripper.strip(contexts[name], starts[name], text) if text else text
            for name, text in final.items()
        }


def _windowing(config: SpanConfig) -> tuple[int, int, int]:
    return config.max_seq_length, config.doc_stride, config.max_query_length


def _as_arrays(right: Sequence[tuple[str, ...]], given: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns each question's right answers and its given one as arrays of objects, [N], for plugins' metrics."""
    return np.fromiter(right, object, len(right)), np.fromiter(given, object, len(given))


def _known(questions: Sequence[Question]) -> bool:
    return any(question.answers for question in questions)


def _prediction(guess: answers.Guess) -> dict[str, Any]:
    return {
        "text": guess.text,
        "start": guess.start,
        "end": guess.start + len(guess.text),
        "score": guess.score,
        "probability": round(guess.probability, 6),
    }


def _write(folder: str, name: str, content: object) -> None:
    write_text(os.path.join(folder, name), json_bytes(content, indent=1).decode() + "\n")
