"""`training_report.py`: a pretraining run as one HTML page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from morphbert.cli import quiet_tensorflow
from morphbert.cli.command import Command

if TYPE_CHECKING:
    from morphbert.text.tokenizer import Tokenizer
    from morphbert.train.report import Filled

KOREAN = (
    "대한민국의 수도는 [MASK]이다.",
    "정말 재미있는 [MASK]였다.",
    "나는 학교[MASK] 간다.",
    "어제 친구와 [MASK]를 먹었다.",
    "모든 권력은 국민으로부터 [MASK].",
)
ENGLISH = ("The capital of France is [MASK].", "She went to the [MASK] to buy some bread.")
_TOP = 5


def _command() -> Command:
    command = Command(
        "training_report.py",
        "Shows a run of run_pretraining.py, finished or in progress, as one HTML page that needs no network.",
        """
        training_report.py --output_dir=out/model
        """,
    )
    command.group("Run")
    command.string("output_dir", None, "The --output_dir of the run.", required=True)
    command.string(
        "vocab_file",
        None,
        "The vocabulary that the run's records were made with; with it, the newest checkpoint fills in masks. Default: "
        "the one beside the checkpoints, which --vocab_file of the run has put there.",
    )
    command.string(
        "text", None, "A sentence with [MASK] to fill in, instead of some that come with the program."
    )
    command.group("Output")
    command.string("report_file", None, "The page. Default: report.html in --output_dir.")
    return command


def filled_masks(output_dir: str, vocab_file: str | None = None, text: str | None = None) -> list[Filled]:
    """Masks that the newest checkpoint of a run fills in; none without a vocabulary or before the first checkpoint.

    Without `vocab_file`, the vocabulary beside the checkpoints is taken.
    """
    import tensorflow as tf

    from morphbert.interop.fill_mask import MaskFiller
    from morphbert.interop.pretrained import find_vocabulary
    from morphbert.text.loading import load_tokenizer

    vocabulary = vocab_file or find_vocabulary(output_dir)
    if vocabulary is None or tf.train.latest_checkpoint(output_dir) is None:
        return []
    tokenizer = load_tokenizer(vocabulary, allow_mismatch=True)
    fill = MaskFiller(output_dir, tokenizer)
    sentences = (text,) if text else _sentences(tokenizer)
    return [(one, [filled.pieces for filled in fill(one, _TOP)]) for one in sentences]


def _sentences(tokenizer: Tokenizer) -> tuple[str, ...]:
    korean = tokenizer.vocabulary.has_hangul_syllables() or tokenizer.splitter.decomposes
    return KOREAN if korean else ENGLISH


def _report(values: flags.FlagValues) -> None:
    quiet_tensorflow.load()
    from morphbert.train.report import write_report

    filled = filled_masks(values.output_dir, values.vocab_file, values.text)
    print(f"report: {write_report(values.output_dir, filled, values.report_file)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return _command().run(argv, _report)


if __name__ == "__main__":
    sys.exit(main())
