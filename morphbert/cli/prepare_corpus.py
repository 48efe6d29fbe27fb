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
    _define_filters(command)
    command.group("Machine")
    command.integer(
        "num_workers",
        0,
        "Processes; 0 takes all cores. The result does not depend on it.",
        lower_bound=0,
    )
    return command


def _define_filters(command: Command) -> None:
    command.group("What is left out")
    command.integer(
        "max_repeats",
        0,
        "Shorten longer runs of one character, digits apart, to this many; 0 leaves them. With 3, ㅋㅋㅋㅋㅋ "
        "becomes ㅋㅋㅋ.",
        lower_bound=0,
    )
    command.integer("min_characters", 0, "Leave out documents with fewer characters.", lower_bound=0)
    command.number(
        "min_hangul_share",
        0.0,
        "Leave out documents with a smaller share of Hangul among their characters (spaces apart). Example: 0.5",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    command.boolean(
        "drop_duplicates", False, "Leave out documents whose text is the same as an earlier one's."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    command = _command()

    def prepare(values: flags.FlagValues) -> None:
        chosen = {name: values[name].value for name in CorpusConfig.__dataclass_fields__}
        config = CorpusConfig(**{**chosen, "num_workers": values.num_workers or default_workers()})
        start = time.monotonic()
        done = prepare_corpus(config)
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in done.dropped.most_common())
        left_out = f" (left out: {reasons})" if reasons else ""
        print(
            f"Corpus: read {done.files} file(s), wrote {done.documents:,} documents{left_out} with {done.sentences:,} "
            f"sentences ({done.characters:,} characters) to {config.output_file} "
            f"in {time.monotonic() - start:.0f} s."
        )

    return command.run(argv, prepare)


if __name__ == "__main__":
    sys.exit(main())
