"""`run_pretraining.py`: pretrains a model on records."""

from __future__ import annotations

import sys

from morphbert.api.pretraining import PretrainingConfig, run_pretraining
from morphbert.cli.command import Command, main_of


def _command() -> Command:
    return Command(
        "run_pretraining.py",
        "Pretrains BERT on TFRecords, on CPU, GPUs or a TPU; run again, it continues where it stopped.",
        """
        run_pretraining.py --bert_config_file=bert_config.json --input_file='data/train.tfrecord*' \\
            --output_dir=out/model --do_train --do_eval --eval_input_file=data/eval.tfrecord \\
            --train_batch_size=32 --num_train_steps=100000 --num_warmup_steps=10000 --learning_rate=1e-4
        """,
        PretrainingConfig,
    )


def _pretrain(config: PretrainingConfig) -> int | None:
    """Trains; returns 128 + the signal's number if a signal stopped it."""
    result = run_pretraining(config)
    if result.report is not None:
        print(f"report: {result.report}", flush=True)
    if result.stopped_by is None:
        return None
    print(
        f"stopped by signal {result.stopped_by} at step {result.step}; the same command continues.",
        file=sys.stderr,
    )
    return 128 + result.stopped_by


main = main_of(_command, _pretrain)


if __name__ == "__main__":
    sys.exit(main())
