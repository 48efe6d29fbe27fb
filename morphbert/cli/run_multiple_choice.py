"""`run_multiple_choice.py`: a pretrained model → one that chooses the right candidate for a question."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from morphbert.cli import task_flags
from morphbert.cli.command import Command
from morphbert.finetune.config import POOLINGS, MultipleChoiceConfig


def _command() -> Command:
    command = Command(
        "run_multiple_choice.py",
        "Fine-tunes a pretrained model to choose the right candidate for a question: exams, HellaSwag, COPA.",
        """
        run_multiple_choice.py --init_checkpoint=out/model --vocab_file=out/vocab --train_file=train.jsonl \\
            --eval_file=dev.jsonl --output_dir=out/choice --do_train --do_eval
        run_multiple_choice.py … --train_file=hellaswag.tsv --question_column=context \\
            --choice_columns=ending_1,ending_2,ending_3,ending_4
        """,
    )
    task_flags.define_model(command)
    command.group("Data", "data")
    command.string(
        "train_file",
        None,
        "Questions to train on: .jsonl, .csv, .parquet, or tab-separated with a first line of names; .gz and the like "
        "too. Their numbers of candidates may differ.",
    )
    command.string("eval_file", None, "Questions to evaluate on.")
    command.string("predict_file", None, "Questions to predict; a label column is not needed.")
    command.string(
        "question_column",
        "question",
        "The question's column; several with commas are put together with a space between them.",
    )
    command.string(
        "choices_column",
        "choices",
        "The column with all candidates: a list in JSON Lines, or the JSON of one in a cell of a table.",
    )
    command.string(
        "choice_columns",
        None,
        "Instead, a column for each candidate, with commas; the last ones of a row may be empty. Example: "
        "--choice_columns=A,B,C,D",
    )
    command.string(
        "label_column",
        "label",
        "The right candidate's column: its number, its letter (A for the first), or the name of its column.",
    )
    command.integer(
        "first_label", 0, "The number of the first candidate, where labels are numbers.", lower_bound=0
    )
    task_flags.define_encoding(command)
    task_flags.define_training(command, epochs=3.0, max_seq_length=128)
    task_flags.define_test(
        command, "Write predictions.jsonl for --predict_file: the candidate and probabilities of all."
    )
    task_flags.define_head(
        command,
        POOLINGS,
        "cls: BERT's pooler over [CLS]; of several layers [CLS] itself, of an LSTM its ends. mean, max: over all "
        "pieces.",
        "cls",
    )
    task_flags.define_rest(command)
    return command


def _config(command: Command) -> MultipleChoiceConfig:
    values = command.values
    return task_flags.config_of(
        MultipleChoiceConfig,
        command,
        question_column=task_flags.words(values.question_column),
        choice_columns=task_flags.words(values.choice_columns),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (128 + the signal's number where one stopped it)."""
    return task_flags.run(_command(), argv, _config)


if __name__ == "__main__":
    sys.exit(main())
