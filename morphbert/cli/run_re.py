"""`run_re.py`: fine-tunes a pretrained model to classify the relation between two entities of a sentence."""

from __future__ import annotations

import sys

from morphbert.cli import fine_tuning
from morphbert.cli.command import Command
from morphbert.finetune.task_configs import RelationConfig


def _command() -> Command:
    return Command(
        "run_re.py",
        "Fine-tunes a pretrained model to classify the relation between two entities of a sentence, as in KLUE-RE.",
        """
        run_re.py --init_checkpoint=out/model --vocab_file=out/vocab --train_file=klue-re-v1.1_train.json \\
            --eval_file=klue-re-v1.1_dev.json --output_dir=out/re --do_train --do_eval
        """,
        RelationConfig,
    )


main = fine_tuning.main_of(_command)


if __name__ == "__main__":
    sys.exit(main())
