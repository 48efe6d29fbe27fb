"""`inspect_records.py`: what is in record files, and whether it is sound."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags
from tqdm import tqdm

from morphbert import files
from morphbert.cli.command import Command
from morphbert.data import inspection
from morphbert.errors import MorphbertError
from morphbert.text.loading import load_vocabulary_of


def _command() -> Command:
    command = Command(
        "inspect_records.py",
        "Shows examples and statistics of records, and checks them against their manifest and vocabulary.",
        """
        inspect_records.py --input_file='data/train.tfrecord*' --vocab_file=vocab/ko-mecab-32k --num_examples=3
        """,
    )
    command.group("Input")
    command.string(
        "input_file",
        None,
        "Record files: a path, a glob in quotes, or several of both with commas. Manifests are passed over.",
        required=True,
    )
    command.string(
        "vocab_file",
        None,
        "The vocabulary folder or vocab.txt that they were made with. Without it, pieces are shown as numbers.",
    )
    command.group("Output")
    command.integer("num_examples", 3, "Examples to show.", lower_bound=0)
    return command


def _inspect(values: flags.FlagValues) -> None:
    paths = inspection.record_files(files.expand(values.input_file))
    if not paths:
        raise MorphbertError(f"--input_file={values.input_file} matches manifests only, no records.")
    vocabulary = None
    if values.vocab_file:
        vocabulary = load_vocabulary_of(values.vocab_file)
    size = sum(int(files.identity(path)["bytes"]) for path in paths)
    with tqdm(desc="inspecting", total=size, unit="B", unit_scale=True, disable=None) as bar:
        report = inspection.inspect(paths, vocabulary, values.num_examples, bar.update)
    for example in report.examples:
        print(example + "\n")
    if text := inspection.summary(report, vocabulary is not None):
        print(text)
    if report.num_problems:
        listed = "\n  ".join(report.problems)
        raise MorphbertError(f"{report.num_problems} problem(s) in {len(paths)} file(s):\n  {listed}")
    print(f"{'verdict':<26}sound: {report.records:,} records in {len(paths)} file(s)")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (1 where something is wrong with the records)."""
    return _command().run(argv, _inspect)


if __name__ == "__main__":
    sys.exit(main())
