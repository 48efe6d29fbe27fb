"""Compares several vocabularies on the same text: the report of `build_vocab.py --compare`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

from tqdm import tqdm

from morphbert.atomic_files import atomic_write, check_apart, check_writable
from morphbert.errors import MorphbertError
from morphbert.files import expand
from morphbert.formats.lines import is_blank, read_lines
from morphbert.hints import held_back
from morphbert.options import NonNegativeInt, PathStr, configuration, option, optional
from morphbert.pages.phrases import phrase
from morphbert.text.loading import load_tokenizer
from morphbert.text.tokenizer import Tokenizer
from morphbert.vocab.building import LONGEST_EXAMPLE, REPORT_NAMES, example_lines, report_bytes
from morphbert.vocab.figures import Measurement, answer_ceiling, read_paragraphs
from morphbert.vocab.report import EXAMPLES, Measured, VocabularyReport

# The number of lines at the beginning of the text from which examples are taken.
_SHOWN_FROM = 10_000


@configuration
class CompareConfig:
    """The vocabularies to compare, and the text.

    Attributes:
      vocabularies: folders, or plain `vocab.txt` files, which are read as google-research/bert's.
      do_lower_case: for plain files only; None decides as `load_tokenizer` does.
    """

    vocabularies: tuple[str, ...] = option(
        flag="compare",
        group="Report and comparison",
        help="Compare these vocabularies (folders, or plain vocab.txt files, with commas) on the text of "
        "--input_file instead of learning one. None of them should have been learned from this text. Example: "
        "--compare=vocab/mine,vocab/ko-mecab-8k",
    )
    input_file: str = option(
        help="The text to tokenize: a path, a glob in quotes, or several of both with commas."
    )
    encoding: str = option(
        default="utf-8", help="The encoding of the text. Example: --encoding=cp949, of older Korean files."
    )
    report_dir: PathStr = option(
        default="",
        help="With --compare, the folder for report.md and report.html. Without it the figures are only printed.",
    )
    answers_file: PathStr = option(
        default="",
        help="Questions in the format of SQuAD and KorQuAD, for the share of answers at token boundaries.",
    )
    do_lower_case: bool | None = optional(help="For a plain vocab.txt: lower-case the text.")
    allow_tokenizer_mismatch: bool = option(
        default=False,
        help="With --compare, only warn if a folder was made with another engine or dictionary than the installed one.",
    )
    num_examples: NonNegativeInt = option(
        default=5, help="The number of lines of the text that the report shows as pieces."
    )


def compare_vocabs(config: CompareConfig) -> VocabularyReport:
    """Tokenizes the text with every vocabulary; returns the report, and writes it into `report_dir` if it is set.

    Memory does not depend on the text.

    Raises:
      MorphbertError: a vocabulary or the text cannot be read, there is no text, or the folder cannot be written.
      UsageError: a report would replace an input.
    """
    questions = read_paragraphs(config.answers_file)
    paths = expand(config.input_file)
    if config.report_dir:
        _check_report_dir(config, paths)
    with held_back():
        tokenizers = [_load(path, config) for path in config.vocabularies]
    measurements = [Measurement(tokenizer) for tokenizer in tokenizers]
    shown: list[str] = []
    lines = characters = 0
    progress = tqdm(desc="Cutting text", unit=" characters", unit_scale=True, disable=None, file=sys.stderr)
    with progress:
        for line in _lines(paths, config.encoding):
            lines += 1
            characters += len(line)
            if lines <= _SHOWN_FROM and len(line) <= LONGEST_EXAMPLE:
                shown.append(line)
            for measurement in measurements:
                measurement.add(line)
            progress.update(len(line))
    if not lines:
        raise MorphbertError("the input files contain no text: every line is empty.")
    columns = tuple(
        Measured(
            name,
            tokenizer,
            measurement.figures(),
            None if questions is None else answer_ceiling(tokenizer, questions),
        )
        for name, tokenizer, measurement in zip(
            _names(config.vocabularies), tokenizers, measurements, strict=True
        )
    )
    report = VocabularyReport(
        title=phrase("Vocabularies compared"),
        notes=(
            phrase(
                "{lines} lines, {characters} characters, of {files} file(s).",
                lines=f"{lines:,}",
                characters=f"{characters:,}",
                files=f"{len(paths):,}",
            ),
        ),
        text=phrase("On this text"),
        columns=columns,
        examples=(*EXAMPLES, *example_lines(shown, config.num_examples)),
    )
    if config.report_dir:
        for name, content in report_bytes(report).items():
            with atomic_write(os.path.join(config.report_dir, name)) as stream:
                stream.write(content)
    return report


def _check_report_dir(config: CompareConfig, paths: Sequence[str]) -> None:
    reports = [os.path.join(config.report_dir, name) for name in REPORT_NAMES]
    answers = [("--answers_file", config.answers_file)] if config.answers_file else []
    check_apart(reports, [*(("--input_file", path) for path in paths), *answers])
    check_writable(config.report_dir, "report_dir")


def _load(path: str, config: CompareConfig) -> Tokenizer:
    lower = config.do_lower_case if os.path.isfile(path) else None
    return load_tokenizer(path, lower, config.allow_tokenizer_mismatch)


def _names(paths: Sequence[str]) -> list[str]:
    """Returns the names of the columns: the last part of each path (two for a file), or whole paths if two agree."""
    last = [
        os.path.join(*os.path.normpath(path).split(os.sep)[-2 if os.path.isfile(path) else -1 :])
        for path in paths
    ]
    return last if len(set(last)) == len(last) else list(paths)


def _lines(paths: Iterable[str], encoding: str) -> Iterable[str]:
    for path in paths:
        for line in read_lines(path, encoding=encoding):
            if not is_blank(line):
                yield line
