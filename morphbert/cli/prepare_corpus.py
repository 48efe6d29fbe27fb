"""`prepare_corpus.py`: raw files → a sentence a line, an empty line between documents."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from absl import flags

from morphbert.cli.command import Command
from morphbert.corpus.cleaning import Cleaning
from morphbert.corpus.preparation import CorpusConfig, prepare_corpus
from morphbert.formats.raw_documents import InputFormat
from morphbert.parallel import default_workers


def _command() -> Command:
    command = Command(
        "prepare_corpus.py",
        "Brings raw text into BERT's input format: a sentence a line, an empty line between documents.",
        """
        prepare_corpus.py --input_file='posts/*.jsonl.gz' --text_field=title,body.text --output_file=corpus.txt \\
            --urls=remove --max_repeats=3 --min_hangul_share=0.5 --near_duplicates=0.8
        """,
    )
    _define_input(command)
    command.group("Sentences and output")
    command.enum(
        "splitter",
        "rule",
        ["rule", "line", "kiwipiepy", "kss"],
        "rule: Korean sentence endings, also where the full stop or the space after it was forgotten; fast enough for "
        "any corpus. kiwipiepy, kss: libraries that analyse the text, 90 and 190 times slower (pip install kiwipiepy "
        "or kss; docs/corpus.md compares them). line: every line is a sentence already.",
    )
    command.string(
        "output_file", None, "The file to write; with the ending .gz it is compressed.", required=True
    )
    command.integer(
        "num_shards",
        None,
        "Write this many files of about one size instead, NAME-00000-of-00004 and so on. Joined in order they are the "
        "one file.",
        lower_bound=1,
        upper_bound=500,
    )
    command.string(
        "report_file",
        None,
        "Where to say what was left out and why, with examples: JSON with the ending .json, else Markdown. Default: "
        "the output file's name with .report.md.",
    )
    _define_cleaning(command)
    _define_filters(command)
    command.group("Machine")
    command.integer(
        "num_workers",
        0,
        "Processes; 0 takes all cores. The result does not depend on it.",
        lower_bound=0,
    )
    return command


def _define_input(command: Command) -> None:
    command.group("Input")
    command.string(
        "input_file",
        None,
        "UTF-8 files, plain or .gz, .bz2, .xz or .zst: a path, a glob in quotes, or several of both with commas. "
        "- is standard input.",
        required=True,
    )
    command.enum(
        "format",
        "auto",
        ["auto", "text", "jsonl", "tsv", "csv", "wikiextractor"],
        "text: empty lines divide documents. jsonl: every line is a JSON object, a document. tsv, csv: every row is a "
        "document; in TSV, quotation marks are characters. wikiextractor: <doc …>, text, </doc>, or its JSON. auto: by "
        "the names (.txt, .jsonl, .ndjson, .json, .tsv, .csv), and by the first line where they say nothing.",
    )
    command.string(
        "text_field",
        "text",
        "The field of JSON objects or the column with the text; dots go into nested objects and lists; several with "
        "commas become paragraphs of one document. Example: --text_field=title,article.body",
    )
    command.boolean(
        "header",
        True,
        "The first line of TSV and CSV files names the columns. With --noheader --text_field is a number, from 1.",
    )
    command.boolean(
        "skip_unreadable",
        False,
        "Leave out documents that are broken (no JSON, no such field, another number of columns), and say so in the "
        "report, instead of ending with an error.",
    )


def _define_cleaning(command: Command) -> None:
    command.group("What is changed in the text (white space always becomes one space)")
    command.enum(
        "normalization",
        "nfc",
        ["nfc", "nfkc", "none"],
        "nfc composes Hangul that was taken apart (macOS file names); nfkc also makes ｗｉｄｅ letters and ① plain.",
    )
    command.boolean(
        "remove_control_characters",
        True,
        "Remove control and format characters: zero-width space, BOM, NUL and the like.",
    )
    for name, what, mark in (
        ("urls", "Addresses of web pages", "URL"),
        ("emails", "E-mail addresses", "EMAIL"),
    ):
        command.enum(
            name,
            "keep",
            ["keep", "remove", "replace"],
            f"{what}: replace puts [{mark}] in their place (build_vocab.py --special_tokens can make it one piece).",
        )
    command.boolean(
        "remove_html",
        False,
        "Remove HTML tags, comments and scripts, and read references such as &amp;. <기생충> is no tag.",
    )
    command.boolean(
        "remove_markup",
        False,
        "Remove what is left of wikitext, WikiExtractor's marks and Markdown: {{…}}, [[…|…]], '''…''', == … ==, [1].",
    )
    command.integer(
        "max_repeats",
        0,
        "Shorten longer runs of one character, digits apart, to this many; 0 leaves them. With 3, ㅋㅋㅋㅋㅋ "
        "becomes ㅋㅋㅋ.",
        lower_bound=0,
    )


def _define_filters(command: Command) -> None:
    command.group("What is left out")
    command.integer("min_characters", 0, "Leave out documents with fewer characters.", lower_bound=0)
    command.integer(
        "max_characters", 0, "Leave out documents with more characters; 0 is no bound.", lower_bound=0
    )
    command.integer(
        "min_sentences",
        0,
        "Leave out documents with fewer sentences. Predicting the next sentence needs 2.",
        lower_bound=0,
    )
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
    command.number(
        "near_duplicates",
        0.0,
        "Leave out documents that have at least this share of their text in common with an earlier one (Jaccard of "
        "runs of five characters, by MinHash); 0 is off, 0.8 is usual. Needs: pip install datasketch. What has to be "
        "remembered, about 1 KB a document, lies on the disk, in the folder that TMPDIR names.",
        lower_bound=0.0,
        upper_bound=1.0,
    )


def _config(values: flags.FlagValues) -> CorpusConfig:
    return CorpusConfig(
        input_file=values.input_file,
        output_file=values.output_file,
        num_shards=values.num_shards,
        report_file=values.report_file or "",
        input_format=InputFormat(values.format, tuple(values.text_field.split(",")), values.header),
        cleaning=Cleaning(**{name: values[name].value for name in Cleaning.__dataclass_fields__}),
        splitter=values.splitter,
        min_characters=values.min_characters,
        max_characters=values.max_characters,
        min_sentences=values.min_sentences,
        min_hangul_share=values.min_hangul_share,
        drop_duplicates=values.drop_duplicates,
        near_duplicates=values.near_duplicates,
        skip_unreadable=values.skip_unreadable,
        num_workers=values.num_workers or default_workers(),
        settings={name: values[name].value for name in values if values[name].present},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    command = _command()

    def prepare(values: flags.FlagValues) -> None:
        config = _config(values)
        start = time.monotonic()
        done = prepare_corpus(config)
        seconds = time.monotonic() - start
        left_out = f" (left out: {done.reasons})" if done.dropped else ""
        shards = f" in {config.num_shards} files" if config.num_shards else ""
        print(
            f"Corpus: read {done.files} file(s), wrote {done.documents:,} documents{left_out} with {done.sentences:,} "
            f"sentences ({done.characters:,} characters) to {config.output_file}{shards} in {seconds:.0f} s "
            f"({done.characters / max(seconds, 1e-9) / 1e6:.2f} million characters a second). "
            f"What was left out and why: {config.report}"
        )

    return command.run(argv, prepare)


if __name__ == "__main__":
    sys.exit(main())
