"""`prepare_corpus.py`: converts raw files to one sentence per line, with an empty line between documents."""

from __future__ import annotations

import sys
import time

from morphbert.cli.command import Command, main_of
from morphbert.corpus.preparation import CorpusConfig, prepare_corpus


def _command() -> Command:
    return Command(
        "prepare_corpus.py",
        "Converts raw text to BERT's input format: one sentence per line, an empty line between documents.",
        """
        prepare_corpus.py --input_file='posts/*.jsonl.gz' --text_field=title,body.text --output_file=corpus.txt \\
            --urls=remove --max_repeats=3 --min_hangul_share=0.5 --near_duplicates=0.8
        """,
        CorpusConfig,
    )


def _prepare(config: CorpusConfig) -> None:
    start = time.monotonic()
    done = prepare_corpus(config)
    seconds = time.monotonic() - start
    left_out = f" (left out: {done.reasons})" if done.dropped else ""
    shards = f" in {config.num_shards} files" if config.num_shards else ""
    print(
        f"Corpus: read {done.files} file(s), wrote {done.documents:,} documents{left_out} with {done.sentences:,} "
        f"sentences ({done.characters:,} characters) to {config.output_file}{shards} in {seconds:.0f} s "
        f"({done.characters / max(seconds, 1e-9) / 1e6:.2f} million characters a second). "
        f"Report: {config.report}"
    )


main = main_of(_command, _prepare)


if __name__ == "__main__":
    sys.exit(main())
