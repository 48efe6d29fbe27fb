"""`run_ner.py`: a pretrained model → one that finds names in a text, by a tag for each character."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from morphbert.cli import task_flags
from morphbert.cli.command import Command
from morphbert.finetune.config import STRADDLING, TaggingConfig


def _command() -> Command:
    command = Command(
        "run_ner.py",
        "Fine-tunes a pretrained model to find entities in texts with a tag for each character, as in KLUE-NER.",
        """
        run_ner.py --init_checkpoint=out/model --vocab_file=out/vocab --train_file=klue-ner-v1.1_train.tsv \\
            --eval_file=klue-ner-v1.1_dev.tsv --output_dir=out/ner --do_train --do_eval
        """,
    )
    task_flags.define_model(command)
    command.group("Data", "data")
    command.string(
        "train_file",
        None,
        "Texts to train on, in KLUE-NER's format: a character, a tab and its tag (O, B-PS, I-PS …) on each line, "
        "spaces too, and an empty line after each text. Compressed too.",
    )
    command.string("eval_file", None, "Texts to evaluate on.")
    command.string(
        "predict_file",
        None,
        "Texts to tag: one a line; a .tsv is read in KLUE-NER's format, its tags left aside.",
    )
    command.enum(
        "straddling",
        "split",
        STRADDLING,
        "Pieces that an entity begins or ends within. split: their labels say where, so that all tags come back. "
        "first: they take the tag of their first character, as KLUE's baseline does.",
    )
    task_flags.define_encoding(command)
    task_flags.define_training(command, epochs=3.0, max_seq_length=128)
    task_flags.define_test(
        command, "Write predictions.jsonl for --predict_file: text, tags and entities with their characters."
    )
    task_flags.define_head(command)
    task_flags.define_loss(command)
    task_flags.define_rest(command)
    return command


def _config(command: Command) -> TaggingConfig:
    return task_flags.config_of(TaggingConfig, command)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (128 + the signal's number where one stopped it)."""
    return task_flags.run(_command(), argv, _config)


if __name__ == "__main__":
    sys.exit(main())
