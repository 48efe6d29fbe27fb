"""`predict.py`: predicts new texts with a fine-tuned model."""

from __future__ import annotations

import os
import sys

from morphbert import atomic_files, files, quiet_tensorflow
from morphbert.api.tasks import predict
from morphbert.cli.command import Command, main_of
from morphbert.errors import MorphbertError
from morphbert.finetune.task_configs import PredictConfig


def _command() -> Command:
    return Command(
        "predict.py",
        "Applies a fine-tuned model to new texts: classes, scores, entities, answers, relations, choices.",
        """
        predict.py --model=out/nsmc --input_file=new.jsonl --output_file=predicted.jsonl --text_column=document
        """,
        PredictConfig,
    )


def _predict(config: PredictConfig) -> None:
    # Mistakes are reported before TensorFlow is loaded.
    files.expand(config.input_file)
    if not os.path.isdir(config.model):
        raise MorphbertError(
            f"there is no folder {config.model}: give the --output_dir of a fine-tuning command."
        )
    atomic_files.check_writable(os.path.dirname(config.output_file) or ".", "output_file")
    quiet_tensorflow.load()
    done = predict(config)
    without = f", {done.failed} of them without a prediction (see `error`)" if done.failed else ""
    print(f"prediction: {done.rows} rows{without}, by {done.checkpoint}, written to {config.output_file}")


main = main_of(_command, _predict)


if __name__ == "__main__":
    sys.exit(main())
