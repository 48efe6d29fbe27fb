"""Writes a pretraining run as one HTML page, with predictions of its newest checkpoint for masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphbert import quiet_tensorflow
from morphbert.options import PathStr, configuration, option, optional
from morphbert.plugins import load_plugins, model_plugin_option

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


@configuration
class TrainingReportConfig:
    """The configuration of a report: the run, and the page."""

    output_dir: PathStr = option(group="Run", help="The --output_dir of the run.")
    vocab_file: PathStr | None = optional(
        help="The vocabulary of the run's records, with which the newest checkpoint fills in masks. Default: the one "
        "beside the checkpoints, a copy of the run's --vocab_file."
    )
    text: str | None = optional(help="A sentence with [MASK] to fill in, instead of the program's examples.")
    plugin: tuple[str, ...] = model_plugin_option()
    report_file: PathStr | None = optional(
        group="Output", help="The page. Default: report.html in --output_dir."
    )


def training_report(config: TrainingReportConfig) -> str:
    """Writes the page about a run, finished or in progress; returns its path.

    Raises:
      MorphbertError: the folder contains no run, or the page cannot be written.
    """
    quiet_tensorflow.load()
    load_plugins(config.plugin)
    from morphbert.train.report import write_report

    filled = _filled_masks(config.output_dir, config.vocab_file, config.text)
    return write_report(config.output_dir, filled, config.report_file)


def _filled_masks(output_dir: str, vocab_file: str | None, text: str | None) -> list[Filled]:
    """Returns predictions of a run's newest checkpoint for masks; none without a vocabulary or a checkpoint.

    Without `vocab_file`, this uses the vocabulary beside the checkpoints.
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
