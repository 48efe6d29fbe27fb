"""`run_ner.py`: fine-tunes a pretrained model to find entities in a text, with a tag for each character."""

from __future__ import annotations

import sys

from morphbert.cli import fine_tuning
from morphbert.cli.command import Command
from morphbert.finetune.task_configs import TaggingConfig


def _command() -> Command:
    return Command(
        "run_ner.py",
        "Fine-tunes a pretrained model to find entities in texts with a tag for each character, as in KLUE-NER.",
        """
        run_ner.py --init_checkpoint=out/model --vocab_file=out/vocab --train_file=klue-ner-v1.1_train.tsv \\
            --eval_file=klue-ner-v1.1_dev.tsv --output_dir=out/ner --do_train --do_eval
        """,
        TaggingConfig,
    )


main = fine_tuning.main_of(_command)


if __name__ == "__main__":
    sys.exit(main())
