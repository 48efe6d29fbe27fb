"""`run_squad.py`: a pretrained model → one that finds answers in paragraphs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from absl import flags

from morphbert.cli import task_flags
from morphbert.cli.command import Command
from morphbert.errors import MorphbertError, UsageError
from morphbert.finetune import choices

if TYPE_CHECKING:
    import numpy as np

    from morphbert.finetune.answers import Window
    from morphbert.finetune.experiment import Problem, Scores
    from morphbert.finetune.losses import LossConfig
    from morphbert.finetune.pretrained_start import Start
    from morphbert.finetune.run import Judgement


def _command() -> Command:
    command = Command(
        "run_squad.py",
        "Fine-tunes a pretrained model to answer questions with a span of a paragraph: KorQuAD 1.0, SQuAD, KLUE-MRC.",
        """
        run_squad.py --init_checkpoint=out/model --vocab_file=out/vocab --train_file=KorQuAD_v1.0_train.json \\
            --predict_file=KorQuAD_v1.0_dev.json --output_dir=out/korquad --do_train --do_predict
        """,
    )
    task_flags.define_model(command)
    command.group("Data", "data")
    command.string("train_file", None, "Questions with answers, in SQuAD's JSON; compressed too.")
    command.string(
        "predict_file",
        None,
        "Questions to answer. Where they have answers, exact match and F1 (--metric) are printed.",
    )
    command.integer(
        "doc_stride",
        128,
        "Pieces from the beginning of one window of a long paragraph to that of the next.",
        lower_bound=1,
    )
    command.integer("max_query_length", 64, "Pieces of the question that are kept.", lower_bound=1)
    task_flags.define_training(command, epochs=2.0, max_seq_length=384)
    task_flags.define_test(
        command, "Write predictions.json and nbest_predictions.json for --predict_file.", do_eval=False
    )
    command.integer("n_best_size", 20, "Spans to keep for each question.", lower_bound=1)
    command.integer("max_answer_length", 30, "Pieces in an answer at most.", lower_bound=1)
    command.enum(
        "metric",
        "korquad",
        choices.METRICS,
        "Whose official script is followed. korquad: F1 over characters. squad: over words. klue: ROUGE-W in place of "
        "F1, as KLUE-MRC has it.",
    )
    command.boolean("version_2_with_negative", False, "Some questions have no answer (SQuAD 2.0, KLUE-MRC).")
    command.number(
        "null_score_diff_threshold",
        0.0,
        "With --version_2_with_negative: answer nothing if its score is larger than the best answer's by more than "
        "this.",
        lower_bound=-1e30,
        upper_bound=1e30,
    )
    command.boolean(
        "strip_particles",
        False,
        "Leave off particles (조사) and the copula at an answer's end, by Mecab; the figures without it are "
        "printed too.",
    )
    task_flags.define_head(command)
    task_flags.define_rest(command)
    return command


def _check(command: Command, values: flags.FlagValues) -> None:
    task_flags.check(command, values)
    if not (values.do_train or values.do_predict):
        raise UsageError("nothing to do: give --do_train, --do_predict or both.")
    if (values.do_predict or values.eval_every) and not values.predict_file:
        raise UsageError("--do_predict and --eval_every need --predict_file.")


class _Asked:
    """Questions of a file with the windows of their paragraphs, and what scores of these say."""

    def __init__(self, values: flags.FlagValues, start: Start, path: str) -> None:
        from morphbert.finetune import answers
        from morphbert.finetune.answer_metrics import METRICS, evaluate
        from morphbert.finetune.questions import read_questions

        self._values = values
        shape = answers.WindowConfig(values.max_seq_length, values.doc_stride, values.max_query_length)
        self.questions, account = read_questions(path)
        self.windows: list[Window] = list(answers.windows_of(start.tokenizer, self.questions, shape))
        self.known = any(question.answers for question in self.questions)
        self.impossible = any(question.is_impossible for question in self.questions)
        print(f"data: {os.path.basename(path)}: {account}; {len(self.windows)} windows", flush=True)
        if self.known:
            best = evaluate(self.questions, answers.ceiling(self.windows, self.questions), values.metric)
            words = METRICS[values.metric].in_words(best)
            print(f"ceiling: {words} with this tokenizer and perfect choice of spans", flush=True)

    def answer(
        self, scores: Sequence[np.ndarray]
    ) -> tuple[dict[str, str], dict[str, list[dict[str, object]]], dict[str, float]]:
        """The answer, the best spans and how much likelier no answer is than the best one, by id."""
        from morphbert.finetune.answers import guesses_of

        values = self._values
        found, nothing = guesses_of(
            self.windows, scores, self.questions, values.n_best_size, values.max_answer_length
        )
        chosen, best, odds = {}, {}, {}
        for question, guesses, empty in zip(self.questions, found, nothing, strict=True):
            chosen[question.id] = guesses[0].text if guesses else ""
            odds[question.id] = empty - guesses[0].score if guesses else 1e9
            best[question.id] = [
                {"text": g.text, "answer_start": g.start, "probability": g.probability, "score": g.score}
                for g in guesses
            ]
        return chosen, best, odds

    def with_threshold(self, chosen: dict[str, str], odds: dict[str, float]) -> dict[str, str]:
        """Answers with nothing in place of those that the threshold refuses."""
        values = self._values
        if not values.version_2_with_negative:
            return chosen
        limit = values.null_score_diff_threshold
        return {name: "" if odds[name] > limit else text for name, text in chosen.items()}

    def stripped(self, chosen: dict[str, str], best: dict[str, list[dict[str, object]]]) -> dict[str, str]:
        """Answers without particles at their ends."""
        from morphbert.finetune.particles import ParticleStripper

        stripper = ParticleStripper()
        starts = {name: int(str(spans[0]["answer_start"])) for name, spans in best.items() if spans}
        contexts = {question.id: question.context for question in self.questions}
        return {
            name: stripper.strip(contexts[name], starts[name], text) if text else text
            for name, text in chosen.items()
        }

    def judge(self, scores: Scores) -> Judgement:
        """Exact match and F1 or ROUGE-W, and what the options would change."""
        from morphbert.finetune.answer_metrics import METRICS, best_threshold, evaluate
        from morphbert.finetune.run import Judgement

        values, metric = self._values, METRICS[self._values.metric]
        chosen, best, odds = self.answer(scores)
        final = self.with_threshold(chosen, odds)
        figures = evaluate(self.questions, final, values.metric)
        if values.strip_particles:
            before = {f"{name}_unstripped": figures[name] for name in ("exact_match", metric.figure)}
            figures = {
                **evaluate(self.questions, self.stripped(final, best), values.metric),
                **before,
            }
        if values.version_2_with_negative:
            threshold, reached = best_threshold(self.questions, chosen, odds, values.metric)
            figures |= {"best_threshold": threshold, f"best_threshold_{metric.figure}": reached}
        line = metric.in_words(figures)
        if values.strip_particles:
            line += f" without particles; with them {metric.in_words(figures, '_unstripped')}"
        return Judgement(figures, line=line)

    def write(self, folder: str, scores: Scores) -> str:
        """Writes answers, best spans and, where there may be none, how much likelier that is."""
        chosen, best, odds = self.answer(scores)
        final = self.with_threshold(chosen, odds)
        if self._values.strip_particles:
            final = self.stripped(final, best)
        _write(folder, "predictions.json", final)
        _write(folder, "nbest_predictions.json", best)
        if self._values.version_2_with_negative:
            _write(folder, "null_odds.json", odds)
        return f"{len(final)} questions, written to {folder}/predictions.json"


def _problem(values: flags.FlagValues, start: Start) -> tuple[Problem, LossConfig | None]:
    from morphbert.finetune import answers
    from morphbert.finetune.answer_metrics import METRICS
    from morphbert.finetune.experiment import Problem
    from morphbert.finetune.heads import NO_POOLING

    features = held_out = judge = write = None
    saved = task_flags.saved_task(values)
    if saved is None:
        train = _Asked(values, start, values.train_file)
        if not train.known and not values.version_2_with_negative:
            raise MorphbertError(
                f"{values.train_file} has no answer to learn from; questions without answers go with "
                "--version_2_with_negative."
            )
        head = task_flags.head_config(values, NO_POOLING.pooling)
        task = answers.SpanTask(values.max_seq_length, head)
        saved = {
            "task": "span",
            **head.to_dict(),
            "max_seq_length": values.max_seq_length,
            "doc_stride": values.doc_stride,
            "max_query_length": values.max_query_length,
            "version_2_with_negative": values.version_2_with_negative,
        }
        features = answers.features_of(train.windows, train.questions, values.max_seq_length, labelled=True)
    else:
        task = task_flags.task_in_folder(values, saved, answers.SpanTask)
    if values.do_predict or values.eval_every:
        asked = _Asked(values, start, values.predict_file)
        held_out = answers.features_of(asked.windows, asked.questions, values.max_seq_length, labelled=False)
        write = asked.write
        # Questions that are only asked have neither answers nor the word that there is none.
        judge = asked.judge if asked.known or asked.impossible else None
    best = METRICS[values.metric].figure
    problem = Problem(task, saved, best, features, held_out, judge, held_out, write)
    return problem, None


def _write(folder: str, name: str, content: object) -> None:
    from morphbert.train.storage import write_text

    write_text(os.path.join(folder, name), json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _texts(values: flags.FlagValues, path: str) -> Iterator[Sequence[str]]:
    from morphbert.finetune.questions import read_questions

    questions, _ = read_questions(path)
    for context in dict.fromkeys(question.context for question in questions):
        yield context.splitlines()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (128 + the signal's number where one stopped it)."""
    return task_flags.run(_command(), argv, _check, _problem, _texts)


if __name__ == "__main__":
    sys.exit(main())
