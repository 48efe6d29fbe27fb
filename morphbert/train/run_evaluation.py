"""Evaluates the model of a run on its held-out records and minimal pairs, and keeps the best."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from morphbert.grammar.cutting import Cutter
from morphbert.grammar.pairs import read_pairs
from morphbert.model.electra import with_whole_tables
from morphbert.text.tokenizer import Tokenizer
from morphbert.train.evaluation import Evaluator
from morphbert.train.grammar import GrammarEvaluator
from morphbert.train.log import RunLog
from morphbert.train.loop import Evaluate, Verdict
from morphbert.train.prediction_kinds import PredictionKinds, count_pieces
from morphbert.train.run_setup import RunSetup
from morphbert.train.run_start import OpenRun
from morphbert.train.run_state import BestLoss


class HeldOut:
    """The evaluations of a run; the figures of each step that was evaluated are kept."""

    def __init__(self, setup: RunSetup, tokenizer: Tokenizer | None):
        """Prepares the records and the pairs; with a tokenizer there are figures by kind of piece, too."""
        self._model = setup.evaluated_model
        self._records = _of_records(setup, tokenizer) if setup.config.eval_records else None
        self._grammar = _of_pairs(setup, tokenizer) if setup.config.grammar_file else None
        self._figures: dict[int, dict[str, float]] = {}

    def evaluate(
        self, step: int, log: RunLog, stopping: Callable[[], bool] = lambda: False
    ) -> dict[str, float] | None:
        """Evaluates the weights of a step and logs the figures; returns None if `stopping` ended it before."""
        assert self._records is not None  # the command gives files wherever it asks for an evaluation
        figures = self._records(stopping)
        if figures is None:
            return None
        if self._grammar is not None:
            grammar = self._grammar(self._weights(), stopping)
            if grammar is None:
                return None
            figures = {**figures, **grammar.metrics()}
        self._figures[step] = figures
        log.evaluation(step, figures)
        return figures

    def figures_of(self, step: int) -> dict[str, float] | None:
        """Returns the figures of a step; None if it was not evaluated in this process."""
        return self._figures.get(step)

    def seconds(self) -> float:
        """Returns how long an evaluation takes, from a part of it."""
        seconds = self._records.seconds() if self._records else 0.0
        return seconds + (self._grammar.seconds(self._weights()) if self._grammar else 0.0)

    def _weights(self) -> dict[str, tf.Tensor]:
        """Returns the weights that are evaluated, by name; of an ELECTRA those of both networks."""
        weights = {name: tf.convert_to_tensor(p) for name, p in self._model.parameters.items()}
        return with_whole_tables(weights)


def _of_records(setup: RunSetup, tokenizer: Tokenizer | None) -> Evaluator:
    config, kinds = setup.config, None
    if tokenizer is not None:
        kinds = PredictionKinds(tokenizer, count_pieces(config.records, len(tokenizer.vocabulary)))
    return Evaluator(config, setup.objective, setup.evaluated_model, setup.devices, kinds)


def _of_pairs(setup: RunSetup, tokenizer: Tokenizer | None) -> GrammarEvaluator:
    config = setup.config
    assert tokenizer is not None  # the command asks for a vocabulary with pairs
    assert config.grammar_file is not None
    cutter = Cutter(tokenizer, config.bert_config.max_position_embeddings)
    return GrammarEvaluator(config.bert_config, read_pairs(config.grammar_file), cutter)


def keeping_the_best(held_out: HeldOut, running: OpenRun, log: RunLog) -> Evaluate:
    """Returns the evaluation for the training loop, which saves the model with the lowest loss so far."""

    def evaluate(step: int, stopping: Callable[[], bool]) -> Verdict:
        figures = held_out.evaluate(step, log, stopping)
        if figures is None:
            return Verdict.INTERRUPTED
        progress = running.state.progress
        if not isinstance(progress.best, BestLoss) or figures["loss"] < progress.best.loss:
            progress.best = BestLoss(step, figures["loss"])
            running.checkpoints.save_best(step)
        return Verdict.GO_ON

    return evaluate
