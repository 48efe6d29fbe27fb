"""`run_squad.py`: fine-tunes a pretrained model to find answers in paragraphs."""

from __future__ import annotations

import sys

from morphbert.cli import fine_tuning
from morphbert.cli.command import Command
from morphbert.finetune.task_configs import SpanConfig


def _command() -> Command:
    return Command(
        "run_squad.py",
        "Fine-tunes a pretrained model to answer questions with a span of a paragraph: KorQuAD 1.0, SQuAD, KLUE-MRC.",
        """
        run_squad.py --init_checkpoint=out/model --vocab_file=out/vocab --train_file=KorQuAD_v1.0_train.json \\
            --predict_file=KorQuAD_v1.0_dev.json --output_dir=out/korquad --do_train --do_predict
        """,
        SpanConfig,
    )


main = fine_tuning.main_of(_command)


if __name__ == "__main__":
    sys.exit(main())
