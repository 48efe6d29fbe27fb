"""`create_pretraining_data.py`: makes training records from raw text."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from morphbert.cli.command import Command
from morphbert.data.creation import PretrainingData, PretrainingDataConfig, create_pretraining_data


def _command() -> Command:
    command = Command(
        "create_pretraining_data.py",
        "Makes TFRecords for run_pretraining.py from text (one sentence per line, an empty line between documents).",
        """
        create_pretraining_data.py --input_file='corpus/*.txt' --vocab_file=vocab/ko-mecab-32k \\
            --output_file=data/train.tfrecord --num_shards=16 --max_seq_length=128 --max_predictions_per_seq=20 \\
            --eval_fraction=0.05 --eval_output_file=data/eval.tfrecord
        """,
        PretrainingDataConfig,
    )
    command.pass_on_with("engine", "beam")
    return command


def _summary(made: PretrainingData) -> str:
    """Returns the final table, with one column for each side of the split."""
    rows = [("", [result.name for result in made.splits])]

    def row(title: str, form: str, *numbers: float) -> None:
        rows.append((title, [form.format(number) for number in numbers]))

    sums = [result.statistics for result in made.splits]
    row("documents", "{:,}", *(result.documents for result in made.splits))
    row("sentences", "{:,}", *(result.sentences for result in made.splits))
    row("records", "{:,}", *(s.records for s in sums))
    if made.instances.examples > 1:
        row("examples", "{:,}", *(s.examples for s in sums))
    row("padding", "{:.1%}", *(1 - s.pieces / s.room for s in sums))
    if made.instances.masking == "static" or made.instances.eval_masked_lm_prob is not None:
        row("masked pieces", "{:.1%}", *(s.masked / s.pieces for s in sums))
    row("[UNK]", "{:.2%}", *(s.unknown / s.pieces for s in sums))
    if made.instances.objective == "nsp":
        row("random next sentences", "{:.1%}", *(s.positives / s.examples for s in sums))
    elif made.instances.objective == "sop":
        row("swapped", "{:.1%}", *(s.positives / s.examples for s in sums))
    return "\n".join(f"  {title:<24}" + "".join(f"{cell:>14}" for cell in cells) for title, cells in rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    command = _command()

    def create(config: PretrainingDataConfig) -> None:
        config = dataclasses.replace(config, beam_options=tuple(command.foreign))
        print(_summary(create_pretraining_data(config)))

    return command.run(argv, create)


if __name__ == "__main__":
    sys.exit(main())
