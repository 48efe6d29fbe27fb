"""`run_squad.py`: fine-tunes a pretrained model to find answers in paragraphs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

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


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (128 + the signal's number if a signal stopped it)."""
    return fine_tuning.run(_command(), argv)


if __name__ == "__main__":
    sys.exit(main())
