"""`run_classifier.py`: a pretrained model → one that sorts sentences or pairs of them into classes, or scores them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from morphbert.cli import quiet_tensorflow, task_flags
from morphbert.cli.command import Command
from morphbert.errors import UsageError
from morphbert.finetune import choices

if TYPE_CHECKING:
    import numpy as np

    from morphbert.finetune.classification import ClassificationConfig
    from morphbert.finetune.features import Features
    from morphbert.finetune.pretrained_start import Start


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
    command.group("Data")
    files = (
        "Tab-separated with a first line of names (NSMC, KorSTS), .csv, .jsonl or .parquet; .gz and the like "
    )
    command.string("train_file", None, "Labelled examples to train on. " + files + "too.")
    command.string("eval_file", None, "Labelled examples to evaluate on.")
    command.string("predict_file", None, "Examples to predict; a label column is not needed.")
    command.string("text_column", "document", "The text's column; two with a comma between them for pairs.")
    command.string("label_column", "label", "The label's column.")
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
    task_flags.define_training(command, epochs=3.0, max_seq_length=128)
    command.boolean("do_eval", False, "Evaluate on --eval_file and write eval_results.txt.")
    command.boolean("do_predict", False, "Write test_results.tsv for --predict_file, one line an example.")
    command.string(
        "best_metric",
        None,
        "By which the best checkpoint is kept; - before it for lowest. Default: accuracy, f1_micro or spearman.",
    )
    command.group("Head and loss")
    command.enum(
        "pooling",
        "cls",
        choices.POOLINGS,
        "cls: BERT's pooler over [CLS]. mean, max: over all pieces.",
    )
    command.enum(
        "loss",
        "cross_entropy",
        choices.LOSSES,
        "Of --task=class. focal and ldam are for classes of unequal size.",
    )
    command.number(
        "label_smoothing", 0.0, "Of cross_entropy. Example: 0.1", lower_bound=0.0, upper_bound=0.999
    )
    command.number("focal_gamma", 2.0, "Of focal: 0 is cross entropy.", lower_bound=0.0)
    command.boolean("class_weights", False, "Weigh rare classes more, by their effective number.")
    task_flags.define_rest(command)
    return command


def _check(command: Command, values: flags.FlagValues) -> None:
    task_flags.check(command, values)
    if not (values.do_train or values.do_eval or values.do_predict):
        raise UsageError("nothing to do: give --do_train, --do_eval, --do_predict or several.")
    for doing, file in (
        ("do_eval", "eval_file"),
        ("do_predict", "predict_file"),
        ("eval_every", "eval_file"),
    ):
        if values[doing].value and not values[file].value:
            raise UsageError(f"--{doing} needs --{file}.")
    if len(_columns(values)) not in (1, 2):
        raise UsageError(f"--text_column={values.text_column}: give one column, or two for pairs.")
    if values.task != "class" and (values.loss != "cross_entropy" or values.class_weights):
        raise UsageError(f"--loss={values.loss} and --class_weights go with --task=class.")


def _columns(values: flags.FlagValues) -> list[str]:
    return [name for name in values.text_column.split(",") if name]


def _rows(values: flags.FlagValues, file: str, labelled: bool = True) -> list[dict[str, Any]]:
    from morphbert.finetune.tables import read_table

    return read_table(file, [*_columns(values), *([values.label_column] if labelled else [])])


def _labels(values: flags.FlagValues, train: Sequence[Mapping[str, Any]] | None) -> tuple[str, ...]:
    from morphbert.finetune.classification import labels_in

    if values.task == "score" or train is None:
        return ()
    if values.labels:
        return tuple(values.labels.split(","))
    return labels_in([row[values.label_column] for row in train], values.task == "labels")


class _Examples:
    """Rows of a table → features, with what the model's tokenizer and task need."""

    def __init__(self, values: flags.FlagValues, start: Start, task: ClassificationConfig) -> None:
        self._values, self._start, self._task = values, start, task

    def __call__(self, rows: Sequence[Mapping[str, Any]], source: str | None) -> Features:
        """`source` is the file of labelled rows, None for rows without labels."""
        from morphbert.finetune.classification import features_of, label_arrays, texts_of

        values = self._values
        labels = None
        if source is not None:
            labels = label_arrays([row[values.label_column] for row in rows], self._task, source)
        texts = texts_of(rows, _columns(values))
        return features_of(self._start.tokenizer, texts, labels, values.max_seq_length)


def _task(
    values: flags.FlagValues, train: Sequence[Mapping[str, Any]] | None, labels: tuple[str, ...]
) -> ClassificationConfig:
    import collections

    from morphbert.finetune.classification import ClassificationConfig
    from morphbert.finetune.task_file import read_task

    if train is None:  # scores need nothing of how it was learned
        saved = read_task(values.output_dir)
        return ClassificationConfig(saved["kind"], tuple(saved["labels"]), saved["pooling"])
    counts: tuple[int, ...] = ()
    if values.task == "class":
        seen = collections.Counter(str(row[values.label_column]) for row in train)
        counts = tuple(seen[label] for label in labels)
    return ClassificationConfig(
        kind=values.task,
        labels=labels,
        pooling=values.pooling,
        loss=values.loss,
        label_smoothing=values.label_smoothing,
        focal_gamma=values.focal_gamma,
        counts=counts,
        class_weights=values.class_weights,
    )


def _stack(scores: Sequence[np.ndarray]) -> np.ndarray:
    import numpy as np

    return np.stack(scores)


def _run(command: Command, values: flags.FlagValues) -> int | None:
    from morphbert.finetune.classification import Classification, metrics, probabilities
    from morphbert.finetune.run import FineTuning
    from morphbert.finetune.task_file import write_folder
    from morphbert.train.evaluation import write_results

    start = task_flags.find_start(values)
    train = _rows(values, values.train_file) if values.do_train else None
    task = _task(values, train, _labels(values, train))
    examples = _Examples(values, start, task)
    saved = {
        "task": "classification",
        "kind": task.kind,
        "labels": list(task.labels),
        "pooling": task.pooling,
        "max_seq_length": values.max_seq_length,
        "text_columns": len(_columns(values)),
    }
    default = {"class": "accuracy", "labels": "f1_micro", "score": "spearman"}[task.kind]
    best = values.best_metric or default
    learned = {**saved, "loss": task.loss, "class_weights": task.class_weights}
    config = task_flags.run_config(values, start, len(train or ()), best, learned)
    evaluated = None
    if values.eval_file and (values.do_eval or values.eval_every):
        rows = _rows(values, values.eval_file)
        evaluated = examples(rows, values.eval_file)
    running = FineTuning(config, Classification(task), start.weights)

    def evaluate() -> dict[str, float]:
        assert evaluated is not None
        return metrics(_stack(running.scores(evaluated)), evaluated.labels["labels"], task)

    if train is not None:
        write_folder(values.output_dir, start, saved)
        features = examples(train, values.train_file)
        step, stopped = running.train(features, evaluate if values.eval_every else None)
        if stopped is not None:
            return stopped
    else:
        step = running.load()
    if values.do_eval:
        figures = evaluate()
        path = write_results(values.output_dir, step, figures)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in figures.items() if name != "num_examples")
        print(f"evaluation: {shown} ({figures['num_examples']} examples), written to {path}", flush=True)
    if values.do_predict:
        rows = _rows(values, values.predict_file, labelled=False)
        shares = probabilities(_stack(running.scores(examples(rows, None))), task.kind)
        _write_predictions(values.output_dir, shares)
    return None


def _write_predictions(folder: str, shares: np.ndarray) -> None:
    from morphbert.train.storage import write_text

    path = os.path.join(folder, "test_results.tsv")
    write_text(path, "".join("\t".join(f"{value:.6f}" for value in row) + "\n" for row in shares))
    print(f"prediction: {len(shares)} examples, written to {path}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (128 + the signal's number where one stopped it)."""
    command = _command()
    stopped_by: list[int] = []

    def run(values: flags.FlagValues) -> None:
        _check(command, values)
        quiet_tensorflow.load()
        stopped = _run(command, values)
        if stopped is not None:
            stopped_by.append(stopped)
            print(f"stopped by signal {stopped}; the same command continues.", file=sys.stderr)

    status = command.run(argv, run)
    return 128 + stopped_by[0] if stopped_by else status


if __name__ == "__main__":
    sys.exit(main())
