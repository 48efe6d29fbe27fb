"""`run_multiple_choice.py`: fine-tunes a pretrained model to choose the correct candidate for a question."""

from __future__ import annotations

import sys

from morphbert.cli import fine_tuning
from morphbert.cli.command import Command
from morphbert.finetune.task_configs import MultipleChoiceConfig


def _command() -> Command:
    return Command(
        "run_multiple_choice.py",
        "Fine-tunes a pretrained model to choose the correct candidate for a question: exams, HellaSwag, COPA.",
        """
        run_multiple_choice.py --init_checkpoint=out/model --vocab_file=out/vocab --train_file=train.jsonl \\
            --eval_file=dev.jsonl --output_dir=out/choice --do_train --do_eval
        run_multiple_choice.py … --train_file=hellaswag.tsv --question_column=context \\
            --choice_columns=ending_1,ending_2,ending_3,ending_4
        """,
        MultipleChoiceConfig,
    )


main = fine_tuning.main_of(_command)


if __name__ == "__main__":
    sys.exit(main())
