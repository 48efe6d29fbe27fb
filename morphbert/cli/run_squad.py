"""`run_squad.py`: a pretrained model → one that finds answers in paragraphs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from morphbert.cli import quiet_tensorflow, task_flags
from morphbert.cli.command import Command
from morphbert.errors import UsageError
from morphbert.finetune import choices

if TYPE_CHECKING:
    import numpy as np

    from morphbert.finetune.answers import Window
    from morphbert.finetune.questions import Question


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
    command.group("Data")
    command.string("train_file", None, "Questions with answers, in SQuAD's JSON; compressed too.")
    command.string(
        "predict_file",
        None,
        "Questions to answer. Where they have answers, exact match and F1 are printed.",
    )
    command.integer(
        "doc_stride",
        128,
        "Pieces from the beginning of one window of a long paragraph to that of the next.",
        lower_bound=1,
    )
    command.integer("max_query_length", 64, "Pieces of the question that are kept.", lower_bound=1)
    task_flags.define_training(command, epochs=2.0, max_seq_length=384)
    command.boolean(
        "do_predict", False, "Write predictions.json and nbest_predictions.json for --predict_file."
    )
    command.group("Answers")
    command.integer("n_best_size", 20, "Spans to keep for each question.", lower_bound=1)
    command.integer("max_answer_length", 30, "Pieces in an answer at most.", lower_bound=1)
    command.enum(
        "metric",
        "korquad",
        choices.METRICS,
        "korquad: F1 over characters, as KorQuAD's official script. squad: over words.",
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
    task_flags.define_rest(command)
    return command


def _check(command: Command, values: flags.FlagValues) -> None:
    task_flags.check(command, values)
    if not (values.do_train or values.do_predict):
        raise UsageError("nothing to do: give --do_train, --do_predict or both.")
    if (values.do_predict or values.eval_every) and not values.predict_file:
        raise UsageError("--do_predict and --eval_every need --predict_file.")


def _predictions(
    values: flags.FlagValues,
    windows: Sequence[Window],
    scores: Sequence[np.ndarray],
    questions: Sequence[Question],
) -> tuple[dict[str, str], dict[str, list[dict[str, object]]]]:
    """The answer and the best spans of each question, by id."""
    from morphbert.finetune.answers import guesses_of

    found, nothing = guesses_of(windows, scores, questions, values.n_best_size, values.max_answer_length)
    chosen, best = {}, {}
    for question, guesses, empty in zip(questions, found, nothing, strict=True):
        text = guesses[0].text if guesses else ""
        limit = values.null_score_diff_threshold
        if values.version_2_with_negative and guesses and empty - guesses[0].score > limit:
            text = ""
        chosen[question.id] = text
        best[question.id] = [
            {"text": g.text, "answer_start": g.start, "probability": g.probability, "score": g.score}
            for g in guesses
        ]
    return chosen, best


def _run(values: flags.FlagValues) -> int | None:
    from morphbert.finetune import answers
    from morphbert.finetune.answer_metrics import evaluate
    from morphbert.finetune.questions import read_questions
    from morphbert.finetune.run import FineTuning
    from morphbert.finetune.task_file import write_folder
    from morphbert.train.evaluation import write_results

    start = task_flags.find_start(values)
    shape = answers.WindowConfig(values.max_seq_length, values.doc_stride, values.max_query_length)

    def read(path: str) -> tuple[list[Question], list[Window]]:
        questions, account = read_questions(path)
        windows = list(answers.windows_of(start.tokenizer, questions, shape))
        print(f"data: {os.path.basename(path)}: {account}; {len(windows)} windows", flush=True)
        if any(question.answers for question in questions):
            best = evaluate(questions, answers.ceiling(windows, questions), values.metric)
            print(
                f"ceiling: exact match {best['exact_match']:.2f}, F1 {best['f1']:.2f} with this tokenizer and perfect "
                "choice of spans",
                flush=True,
            )
        return questions, windows

    train = read(values.train_file) if values.do_train else None
    asked = read(values.predict_file) if values.do_predict or values.eval_every else None
    saved = {
        "task": "span",
        "max_seq_length": values.max_seq_length,
        "doc_stride": values.doc_stride,
        "max_query_length": values.max_query_length,
        "version_2_with_negative": values.version_2_with_negative,
    }
    config = task_flags.run_config(values, start, len(train[1]) if train else 0, "f1", saved)
    running = FineTuning(config, answers.SpanTask(values.max_seq_length), start.weights)

    def answer() -> tuple[dict[str, str], dict[str, list[dict[str, object]]]]:
        assert asked is not None
        features = answers.features_of(asked[1], asked[0], values.max_seq_length, labelled=False)
        return _predictions(values, asked[1], running.scores(features), asked[0])

    def figures() -> dict[str, float]:
        assert asked is not None
        return evaluate(asked[0], answer()[0], values.metric)

    if train is not None:
        write_folder(values.output_dir, start, saved)
        features = answers.features_of(train[1], train[0], values.max_seq_length, labelled=True)
        step, stopped = running.train(features, figures if values.eval_every else None)
        if stopped is not None:
            return stopped
    else:
        step = running.load()
    if values.do_predict and asked is not None:
        chosen, best = answer()
        _write(values.output_dir, "predictions.json", chosen)
        _write(values.output_dir, "nbest_predictions.json", best)
        print(
            f"prediction: {len(chosen)} questions, written to {values.output_dir}/predictions.json",
            flush=True,
        )
        if any(question.answers for question in asked[0]):
            result = evaluate(asked[0], chosen, values.metric)
            write_results(values.output_dir, step, result)
            print(f"evaluation: exact match {result['exact_match']:.2f}, F1 {result['f1']:.2f}", flush=True)
    return None


def _write(folder: str, name: str, content: object) -> None:
    from morphbert.train.storage import write_text

    write_text(os.path.join(folder, name), json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (128 + the signal's number where one stopped it)."""
    command = _command()
    stopped_by: list[int] = []

    def run(values: flags.FlagValues) -> None:
        _check(command, values)
        quiet_tensorflow.load()
        stopped = _run(values)
        if stopped is not None:
            stopped_by.append(stopped)
            print(f"stopped by signal {stopped}; the same command continues.", file=sys.stderr)

    status = command.run(argv, run)
    return 128 + stopped_by[0] if stopped_by else status


if __name__ == "__main__":
    sys.exit(main())
