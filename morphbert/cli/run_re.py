"""`run_re.py`: a pretrained model → one that tells the relation between two entities of a sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from absl import flags

from morphbert.cli import task_flags
from morphbert.cli.command import Command
from morphbert.finetune import choices

if TYPE_CHECKING:
    from morphbert.finetune.experiment import Problem, Scores
    from morphbert.finetune.features import Features
    from morphbert.finetune.losses import LossConfig
    from morphbert.finetune.pretrained_start import Start
    from morphbert.finetune.relation import RelationConfig
    from morphbert.finetune.relations import RelationExample
    from morphbert.finetune.run import Judgement


def _command() -> Command:
    command = Command(
        "run_re.py",
        "Fine-tunes a pretrained model to tell the relation between two entities of a sentence, as in KLUE-RE.",
        """
        run_re.py --init_checkpoint=out/model --vocab_file=out/vocab --train_file=klue-re-v1.1_train.json \\
            --eval_file=klue-re-v1.1_dev.json --output_dir=out/re --do_train --do_eval
        """,
    )
    task_flags.define_model(command)
    command.group("Data", "data")
    command.string(
        "train_file",
        None,
        "Examples to train on, in KLUE-RE's JSON: sentence, subject_entity and object_entity (word, start_idx, "
        "end_idx, type), label; one list, or an object a line. Compressed too.",
    )
    command.string("eval_file", None, "Examples to evaluate on.")
    command.string("predict_file", None, "Examples to predict; a label is not needed.")
    command.string("labels", None, "All relations with commas. Default: those of the training data, sorted.")
    task_flags.define_training(command, epochs=3.0, max_seq_length=128)
    task_flags.define_test(command, "Write predictions.jsonl for --predict_file: relation and probabilities.")
    task_flags.define_head(
        command,
        choices.RELATION_POOLINGS,
        "entities: [CLS] and the mean of each entity's pieces. cls, mean, max: of the whole sentence, markers in it.",
        "entities",
    )
    task_flags.define_loss(command)
    task_flags.define_rest(command)
    return command


def _read(path: str, labelled: bool = True) -> list[RelationExample]:
    from morphbert.finetune.relations import read_relations

    examples, moved = read_relations(path, labelled)
    print(
        f"data: {os.path.basename(path)}: {len(examples)} examples; {moved} entities moved to where their words stand",
        flush=True,
    )
    return examples


def _features(
    values: flags.FlagValues,
    start: Start,
    config: RelationConfig,
    examples: Sequence[RelationExample],
    source: str | None,
) -> Features:
    """Examples as arrays; `source` is the file of labelled ones."""
    from morphbert.finetune.classification import ClassificationConfig, label_arrays
    from morphbert.finetune.relation import features_of

    labels = None
    if source is not None:
        classes = ClassificationConfig("class", config.labels)
        labels = label_arrays([example.label for example in examples], classes, source)
    return features_of(start.tokenizer, examples, config, start.config, values.max_seq_length, labels)


def _config(values: flags.FlagValues, train: Sequence[RelationExample]) -> RelationConfig:
    from morphbert.finetune.classification import labels_in
    from morphbert.finetune.relation import RelationConfig
    from morphbert.finetune.relations import entity_types

    given = [str(example.label) for example in train]
    labels = tuple(values.labels.split(",")) if values.labels else labels_in(given, several=False)
    counts = task_flags.counts_of_labels(values, labels, given)
    return RelationConfig(
        labels, entity_types(train), task_flags.head_config(values), task_flags.loss_config(values, counts)
    )


def _problem(values: flags.FlagValues, start: Start) -> tuple[Problem, LossConfig | None]:
    from morphbert.finetune.experiment import Problem
    from morphbert.finetune.relation import Relation, RelationConfig

    train = held_out = asked = write = None
    saved = task_flags.saved_task(values)
    if saved is None:
        examples = _read(values.train_file)
        config = _config(values, examples)
        task = Relation(config)
        train = _features(values, start, config, examples, values.train_file)
        saved = {
            "task": "relation",
            "labels": list(config.labels),
            "entity_types": list(config.entity_types),
            **config.head.to_dict(),
            "max_seq_length": values.max_seq_length,
        }
    else:
        task = task_flags.task_in_folder(values, saved, Relation)
        config = RelationConfig(task.config.labels, task.entity_types, task.head)
    if values.eval_file and (values.do_eval or values.eval_every):
        held_out = _features(values, start, config, _read(values.eval_file), values.eval_file)

    def judge(scores: Scores) -> Judgement:
        assert held_out is not None
        return _judgement(scores, held_out, config.labels)

    if values.do_predict:
        new = _read(values.predict_file, labelled=False)
        asked = _features(values, start, config, new, None)

        def write(folder: str, scores: Scores) -> str:
            return _write(folder, new, scores, config.labels)

    problem = Problem(task, saved, "f1_micro", train, held_out, judge, asked, write)
    return problem, config.loss


def _judgement(scores: Scores, held_out: Features, labels: Sequence[str]) -> Judgement:
    import numpy as np

    from morphbert.finetune.confusion import Confusion
    from morphbert.finetune.experiment import by_length
    from morphbert.finetune.relation import relation_metrics
    from morphbert.finetune.run import Judgement

    stacked, wanted = np.stack(scores), held_out.labels["labels"]
    groups = by_length(held_out.lengths, lambda rows: relation_metrics(stacked[rows], wanted[rows], labels))
    confusion = Confusion.of(wanted, stacked.argmax(1), labels)
    return Judgement(relation_metrics(stacked, wanted, labels), confusion, groups)


def _write(folder: str, examples: Sequence[RelationExample], scores: Scores, labels: Sequence[str]) -> str:
    import numpy as np

    from morphbert.finetune.classification import probabilities
    from morphbert.train.storage import write_json_lines

    path = os.path.join(folder, "predictions.jsonl")
    rows = []
    for example, shares in zip(examples, probabilities(np.stack(scores), "class"), strict=True):
        by_label = {label: round(float(share), 6) for label, share in zip(labels, shares, strict=True)}
        rows.append({"id": example.id, "label": labels[int(shares.argmax())], "probabilities": by_label})
    write_json_lines(path, rows)
    return f"{len(examples)} examples, written to {path}"


def _texts(values: flags.FlagValues, path: str) -> Iterator[Sequence[str]]:
    from morphbert.finetune.relations import read_relations

    for example in read_relations(path, labelled=False)[0]:
        yield [example.sentence]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (128 + the signal's number where one stopped it)."""
    return task_flags.run(_command(), argv, task_flags.check_files, _problem, _texts)


if __name__ == "__main__":
    sys.exit(main())
