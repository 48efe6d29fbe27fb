"""`run_classifier.py`: a pretrained model → one that sorts sentences or pairs of them into classes, or scores them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from morphbert.cli import task_flags
from morphbert.cli.command import Command
from morphbert.errors import UsageError
from morphbert.finetune import choices

if TYPE_CHECKING:
    import numpy as np

    from morphbert.finetune.classification import ClassificationConfig
    from morphbert.finetune.experiment import Problem, Scores
    from morphbert.finetune.features import Features
    from morphbert.finetune.losses import LossConfig
    from morphbert.finetune.pretrained_start import Start
    from morphbert.finetune.run import Judgement


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
    task_flags.define_test(command, "Write test_results.tsv for --predict_file, one line an example.")
    task_flags.define_head(
        command,
        choices.POOLINGS,
        "cls: BERT's pooler over [CLS]; of several layers [CLS] itself, of an LSTM its ends. mean, max: over all "
        "pieces.",
        "cls",
    )
    task_flags.define_loss(command, "Of --task=class. ")
    task_flags.define_rest(command)
    return command


def _check(command: Command, values: flags.FlagValues) -> None:
    task_flags.check_files(command, values)
    if len(_columns(values)) not in (1, 2):
        raise UsageError(f"--text_column={values.text_column}: give one column, or two for pairs.")
    weighs = values.class_weights or values.deferred_reweighting is not None
    if values.task != "class" and (values.loss != "cross_entropy" or weighs):
        raise UsageError(f"--loss={values.loss} and weights of classes go with --task=class.")


def _columns(values: flags.FlagValues) -> list[str]:
    return [name for name in values.text_column.split(",") if name]


def _rows(values: flags.FlagValues, file: str, labelled: bool = True) -> list[dict[str, Any]]:
    from morphbert.formats.tables import read_table

    return read_table(file, [*_columns(values), *([values.label_column] if labelled else [])])


def _labels(values: flags.FlagValues, train: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    from morphbert.finetune.classification import labels_in

    if values.task == "score":
        return ()
    if values.labels:
        return tuple(values.labels.split(","))
    return labels_in([row[values.label_column] for row in train], values.task == "labels")


def _features(
    values: flags.FlagValues,
    start: Start,
    task: ClassificationConfig,
    rows: Sequence[Mapping[str, Any]],
    source: str | None,
) -> Features:
    """Rows of a table as arrays; `source` is the file of labelled rows, None for rows without labels."""
    from morphbert.finetune.classification import features_of, label_arrays, texts_of

    labels = None
    if source is not None:
        labels = label_arrays([row[values.label_column] for row in rows], task, source)
    texts = texts_of(rows, _columns(values))
    return features_of(start.tokenizer, texts, labels, values.max_seq_length)


def _task(values: flags.FlagValues, train: Sequence[Mapping[str, Any]]) -> ClassificationConfig:
    from morphbert.finetune.classification import ClassificationConfig

    labels = _labels(values, train)
    counts: list[int] = []
    if values.task == "class":
        counts = task_flags.counts_of_labels(values, labels, (row[values.label_column] for row in train))
    return ClassificationConfig(
        values.task, labels, task_flags.head_config(values), task_flags.loss_config(values, counts)
    )


def _problem(values: flags.FlagValues, start: Start) -> tuple[Problem, LossConfig | None]:
    from morphbert.finetune.classification import Classification
    from morphbert.finetune.experiment import Problem

    train = None
    saved = task_flags.saved_task(values)
    if saved is None:
        rows = _rows(values, values.train_file)
        config = _task(values, rows)
        task = Classification(config)
        saved = {
            "task": "classification",
            "kind": config.kind,
            "labels": list(config.labels),
            **config.head.to_dict(),
            "max_seq_length": values.max_seq_length,
            "text_columns": len(_columns(values)),
        }
        train = _features(values, start, config, rows, values.train_file)
    else:
        task = task_flags.task_in_folder(values, saved, Classification)
        config = task.config
    held_out = asked = None
    if values.eval_file and (values.do_eval or values.eval_every):
        held_out = _features(values, start, config, _rows(values, values.eval_file), values.eval_file)
    if values.do_predict:
        asked = _features(values, start, config, _rows(values, values.predict_file, labelled=False), None)

    def judge(scores: Scores) -> Judgement:
        assert held_out is not None
        return _judgement(scores, held_out, config)

    best = {"class": "accuracy", "labels": "f1_micro", "score": "spearman"}[config.kind]
    problem = Problem(task, saved, best, train, held_out, judge, asked, _writer(config))
    return problem, config.loss if config.kind == "class" else None


def _judgement(scores: Scores, held_out: Features, config: ClassificationConfig) -> Judgement:
    import numpy as np

    from morphbert.finetune.classification import metrics
    from morphbert.finetune.confusion import Confusion
    from morphbert.finetune.experiment import by_length
    from morphbert.finetune.run import Judgement

    stacked, labels = np.stack(scores), held_out.labels["labels"]
    groups = by_length(held_out.lengths, lambda rows: metrics(stacked[rows], labels[rows], config))
    confusion = None
    if config.kind == "class":
        confusion = Confusion.of(labels, stacked.argmax(1), config.labels)
    return Judgement(metrics(stacked, labels, config), confusion, groups)


def _writer(config: ClassificationConfig) -> Any:
    def write(folder: str, scores: Sequence[np.ndarray]) -> str:
        import numpy as np

        from morphbert.finetune.classification import probabilities
        from morphbert.train.storage import write_text

        shares = probabilities(np.stack(scores), config.kind)
        path = os.path.join(folder, "test_results.tsv")
        write_text(path, "".join("\t".join(f"{value:.6f}" for value in row) + "\n" for row in shares))
        return f"{len(shares)} examples, written to {path}"

    return write


def _texts(values: flags.FlagValues, path: str) -> Iterator[Sequence[str]]:
    for row in _rows(values, path, labelled=False):
        yield [str(row[name]) for name in _columns(values)]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (128 + the signal's number where one stopped it)."""
    return task_flags.run(_command(), argv, _check, _problem, _texts)


if __name__ == "__main__":
    sys.exit(main())
