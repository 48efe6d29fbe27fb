"""`prepare_corpus.py`: raw files → a sentence a line, an empty line between documents."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from absl import flags

from morphbert.cli.command import Command
from morphbert.parallel import default_workers
from morphbert.text.corpus import CorpusConfig, prepare_corpus


def _command() -> Command:
    command = Command(
        "prepare_corpus.py",
        "Brings raw text into BERT's input format: a sentence a line, an empty line between documents.",
        """
        prepare_corpus.py --input_file='petitions.jsonl.gz' --text_field=text --output_file=corpus.txt
        """,
    )
    command.group("Input")
    command.string(
        "input_file",
        None,
        "UTF-8 text or JSON Lines, plain or .gz or .bz2: a path, a glob in quotes, or several of both with commas.",
        required=True,
    )
    command.enum(
        "format",
        "auto",
        ["auto", "text", "jsonl"],
        "text: empty lines divide documents. jsonl: every line is a document. auto: jsonl for names that end in "
        ".jsonl, .ndjson or .json (and .gz or .bz2), else text.",
    )
    command.string(
        "text_field",
        "text",
        "The JSON field with the text; dots go into nested objects. Example: --text_field=article.body",
    )
    command.group("Sentences and output")
    command.enum(
        "splitter",
        "rule",
        ["rule", "line"],
        "rule: Korean sentence endings, also where the full stop or the space after it was forgotten. line: every "
        "line is a sentence already.",
    )
    command.string(
        "output_file", None, "The file to write; with the ending .gz it is compressed.", required=True
    )
    command.integer(
        "num_workers",
        0,
        "Processes; 0 takes all cores. The result does not depend on it.",
        lower_bound=0,
    )
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    command = _command()

    def prepare(values: flags.FlagValues) -> None:
        chosen = {name: values[name].value for name in CorpusConfig.__dataclass_fields__}
        config = CorpusConfig(**{**chosen, "num_workers": values.num_workers or default_workers()})
        start = time.monotonic()
        done = prepare_corpus(config)
        empty = f" ({done.empty_documents:,} without text left out)" if done.empty_documents else ""
        print(
            f"Corpus: read {done.files} file(s), wrote {done.documents:,} documents{empty} with {done.sentences:,} "
            f"sentences ({done.characters:,} characters) to {config.output_file} "
            f"in {time.monotonic() - start:.0f} s."
        )

    return command.run(argv, prepare)


if __name__ == "__main__":
    sys.exit(main())
