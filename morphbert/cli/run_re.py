"""`run_re.py`: a pretrained model → one that tells the relation between two entities of a sentence."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from morphbert.cli import task_flags
from morphbert.cli.command import Command
from morphbert.finetune.config import RELATION_POOLINGS, RelationConfig


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
    task_flags.define_encoding(command)
    task_flags.define_training(command, epochs=3.0, max_seq_length=128)
    task_flags.define_test(command, "Write predictions.jsonl for --predict_file: relation and probabilities.")
    task_flags.define_head(
        command,
        RELATION_POOLINGS,
        "entities: [CLS] and the mean of each entity's pieces. cls, mean, max: of the whole sentence, markers in it.",
        "entities",
    )
    task_flags.define_loss(command)
    task_flags.define_rest(command)
    return command


def _config(command: Command) -> RelationConfig:
    return task_flags.config_of(RelationConfig, command, labels=task_flags.words(command.values.labels))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (128 + the signal's number where one stopped it)."""
    return task_flags.run(_command(), argv, _config)


if __name__ == "__main__":
    sys.exit(main())
