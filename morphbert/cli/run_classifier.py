"""`run_classifier.py`: a pretrained model → one that sorts sentences or pairs of them into classes, or scores them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from morphbert.cli import task_flags
from morphbert.cli.command import Command
from morphbert.finetune.config import POOLINGS, ClassificationConfig


def _command() -> Command:
    command = Command(
        "run_classifier.py",
        "Fine-tunes a pretrained model on labelled sentences or pairs of them: classes, several labels, or a score.",
        """
        run_classifier.py --init_checkpoint=out/model --vocab_file=out/vocab --train_file=ratings_train.txt \\
            --eval_file=ratings_test.txt --text_column=document --label_column=label --output_dir=out/nsmc \\
            --do_train --do_eval
        run_classifier.py … --train_file=sts-train.tsv --text_column=sentence1,sentence2 --label_column=score \\
            --task=score
        """,
    )
    task_flags.define_model(command)
    command.group("Data", "data")
    files = (
        "Tab-separated with a first line of names (NSMC, KorSTS), .csv, .jsonl, .json (KLUE) or .parquet; .gz and the "
        "like "
    )
    command.string("train_file", None, "Labelled examples to train on. " + files + "too.")
    command.string("eval_file", None, "Labelled examples to evaluate on.")
    command.string("predict_file", None, "Examples to predict; a label column is not needed.")
    command.string("text_column", "document", "The text's column; two with a comma between them for pairs.")
    command.string(
        "label_column",
        "label",
        "The label's column; a dot goes into an object. Example: --label_column=labels.real-label",
    )
    command.enum(
        "task",
        "class",
        ("class", "labels", "score"),
        "class: one of several. labels: any number of them for a text (with commas in the column, or a list in JSON). "
        "score: a number, such as KorSTS's 0 to 5.",
    )
    command.string(
        "labels", None, "All labels with commas. Default: those of the training data. Example: --labels=0,1"
    )
    task_flags.define_encoding(command)
    task_flags.define_training(command, epochs=3.0, max_seq_length=128)
    task_flags.define_test(command, "Write test_results.tsv for --predict_file, one line an example.")
    task_flags.define_head(
        command,
        POOLINGS,
        "cls: BERT's pooler over [CLS]; of several layers [CLS] itself, of an LSTM its ends. mean, max: over all "
        "pieces.",
        "cls",
    )
    task_flags.define_loss(command, "Of --task=class. ")
    task_flags.define_rest(command)
    return command


def _config(command: Command) -> ClassificationConfig:
    return task_flags.config_of(
        ClassificationConfig,
        command,
        text_column=task_flags.words(command.values.text_column),
        labels=task_flags.words(command.values.labels),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (128 + the signal's number where one stopped it)."""
    return task_flags.run(_command(), argv, _config)


if __name__ == "__main__":
    sys.exit(main())
