"""`run_classifier.py`: fine-tunes a pretrained model to classify or score sentences or pairs of sentences."""

from __future__ import annotations

import sys

from morphbert.cli import fine_tuning
from morphbert.cli.command import Command
from morphbert.finetune.task_configs import ClassificationConfig


def _command() -> Command:
    return Command(
        "run_classifier.py",
        "Fine-tunes a pretrained model on labelled sentences or pairs of sentences: classes, several labels, or a "
        "score.",
        """
        run_classifier.py --init_checkpoint=out/model --vocab_file=out/vocab --train_file=ratings_train.txt \\
            --eval_file=ratings_test.txt --text_column=document --label_column=label --output_dir=out/nsmc \\
            --do_train --do_eval
        run_classifier.py … --train_file=sts-train.tsv --text_column=sentence1,sentence2 --label_column=score \\
            --task=score
        """,
        ClassificationConfig,
    )


main = fine_tuning.main_of(_command)


if __name__ == "__main__":
    sys.exit(main())
