"""`build_vocab.py`: learns a vocabulary from raw text or, with `--compare`, compares vocabularies."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from morphbert.cli.command import Command
from morphbert.vocab.building import REPORT_NAMES, BuiltVocabulary, VocabularyConfig, build_vocab
from morphbert.vocab.comparing import CompareConfig, compare_vocabs
from morphbert.vocab.report import figures_table


def _command() -> Command:
    return Command(
        "build_vocab.py",
        "Learns a WordPiece vocabulary on the morphemes of raw text, or compares vocabularies.",
        """
        build_vocab.py --input_file='corpus/*.txt.gz' --vocab_dir=vocab/mine --vocab_size=32000
        build_vocab.py --compare=vocab/mine,vocab/ko-mecab-8k --input_file=heldout.txt --report_dir=out/comparison
        """,
        VocabularyConfig,
        ("compare", CompareConfig),
    )


def _outcome(config: VocabularyConfig, built: BuiltVocabulary, seconds: float) -> str:
    measured = ""
    if built.figures.lines:
        measured = (
            f"; held out: {built.figures.pieces_per_eojeol:.2f} pieces an eojeol, "
            f"{100 * built.figures.unknown_share:.2f}% of eojeols with [UNK]"
        )
    return (
        f"Vocabulary: read {built.counts.lines:,} lines ({built.counts.characters_read:,} characters) of "
        f"{built.files} file(s), wrote {len(built.pieces.tokens):,} pieces to {config.vocab_dir} "
        f"in {seconds:.0f} s{measured}."
    )


def _warn(built: BuiltVocabulary, learner: str) -> None:
    size, pieces = len(built.pieces.tokens), built.pieces
    if pieces.unused:
        print(
            f"build_vocab.py: warning: the text has only {size - pieces.unused:,} pieces; the other "
            f"{pieces.unused:,} of {size:,} lines are [unused0], [unused1]… Give more text or a smaller --vocab_size.",
            file=sys.stderr,
        )
    elif 2 * pieces.alphabet > size and learner != "char":
        print(
            f"build_vocab.py: warning: {pieces.alphabet:,} of the {size:,} lines are single characters, which leaves "
            "few for words. --character_coverage=0.9995 leaves out the rarest.",
            file=sys.stderr,
        )


def _compare(config: CompareConfig) -> None:
    start = time.monotonic()
    report = compare_vocabs(config)
    print(figures_table(report.columns))
    where = f", wrote {' and '.join(REPORT_NAMES)} to {config.report_dir}" if config.report_dir else ""
    print(
        f"Comparison: cut {report.columns[0].figures.lines:,} lines with {len(report.columns)} vocabularies{where} in "
        f"{time.monotonic() - start:.0f} s."
    )


def _build(config: VocabularyConfig) -> None:
    start = time.monotonic()
    built = build_vocab(config)
    _warn(built, config.learner)
    print(_outcome(config, built, time.monotonic() - start))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return _command().run(
        argv, lambda config: _compare(config) if isinstance(config, CompareConfig) else _build(config)
    )


if __name__ == "__main__":
    sys.exit(main())
