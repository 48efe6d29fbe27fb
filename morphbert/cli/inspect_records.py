"""`inspect_records.py`: shows and checks the content of record files."""

from __future__ import annotations

import sys

from morphbert.cli.command import Command, main_of
from morphbert.data.inspection import InspectConfig, inspect_records, summary
from morphbert.errors import MorphbertError


def _command() -> Command:
    return Command(
        "inspect_records.py",
        "Shows examples and statistics of records, and checks them against their manifest and vocabulary.",
        """
        inspect_records.py --input_file='data/train.tfrecord*' --vocab_file=vocab/ko-mecab-32k --num_examples=3
        """,
        InspectConfig,
    )


def _inspect(config: InspectConfig) -> None:
    report = inspect_records(config)
    for example in report.examples:
        print(example + "\n")
    if text := summary(report, config.vocab_file is not None):
        print(text)
    if report.num_problems:
        listed = "\n  ".join(report.problems)
        raise MorphbertError(f"{report.num_problems} problem(s) in {report.files} file(s):\n  {listed}")
    print(f"{'verdict':<26}sound: {report.records:,} records in {report.files} file(s)")


main = main_of(_command, _inspect)


if __name__ == "__main__":
    sys.exit(main())
