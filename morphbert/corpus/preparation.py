"""Converts raw files to BERT's input format: one sentence per line, an empty line between documents.

    files ─ raw_documents ─► RawDocument ─ cleaning ─► paragraphs ─ splitters ─► sentences ─ filters, duplicates ─► file

The first and the last step run in the main process, in document order; the steps between them run on all cores. The
result therefore does not depend on the number of workers.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from tqdm import tqdm

from morphbert.atomic_files import atomic_write, check_apart
from morphbert.corpus.cleaning import Cleaning
from morphbert.corpus.duplicates import DuplicateStore, require_minhash, signature
from morphbert.corpus.output import open_corpus
from morphbert.corpus.report import CorpusReport, Example, excerpt
from morphbert.corpus.splitters import Splitter, load_splitter, require_splitter
from morphbert.errors import MorphbertError, UsageError
from morphbert.files import COMPRESSED, REPORT_ENDING, STANDARD_INPUT, expand, identity, shard_names
from morphbert.formats import raw_documents
from morphbert.formats.document import RawDocument, where
from morphbert.formats.raw_documents import InputFormat
from morphbert.options import (
    NonNegativeInt,
    PathStr,
    Share,
    changed,
    configuration,
    option,
    optional,
    options,
)
from morphbert.parallel import default_workers, run_tasks

_BLOCK_CHARACTERS = 500_000
_HANGUL = re.compile("[가-힣ㄱ-ㆎ]+")
_NOT_READABLE = "not readable"


@configuration
class CorpusConfig:
    """The configuration of `prepare_corpus`. `prepare_corpus.py --help` explains each field."""

    input_file: str = option(
        group="Input",
        help="Files, plain or compressed as .gz, .bz2, .xz or .zst: a path, a folder, a glob in quotes, several of "
        "these with commas, or @LIST, a text file with one of them per line. - is standard input.",
    )
    input_format: InputFormat = options(default=InputFormat())
    skip_unreadable: bool = option(
        default=False,
        help="Leave out broken documents (invalid JSON, a missing field, another number of columns) and list them in "
        "the report, instead of ending with an error.",
    )
    splitter: Splitter = option(
        default="rule",
        group="Sentences and output",
        help="rule: Korean sentence endings, even if the full stop or the space after it is missing; fast enough for "
        "any corpus. kiwipiepy, kss: libraries that analyse the text, 90 and 190 times slower (pip install kiwipiepy "
        "or kss; docs/corpus.md compares them). line: every line is one sentence.",
    )
    output_file: PathStr = option(help="The output file; the ending .gz compresses it.")
    num_shards: int | None = optional(
        at_least=1,
        at_most=500,
        help="Write this many files of similar size instead, NAME-00000-of-00004 and so on. Their concatenation in "
        "order is the single file.",
    )
    report_file: PathStr | None = optional(
        help="The report of omitted documents and removed text, with examples: JSON with the ending .json, else "
        "Markdown. Default: the output file's name with .report.md."
    )
    cleaning: Cleaning = options(
        default=Cleaning(), group="Changes to the text (white space always becomes one space)"
    )
    min_characters: NonNegativeInt = option(
        default=0, group="Omitted documents", help="Leave out documents with fewer characters."
    )
    max_characters: NonNegativeInt = option(
        default=0, help="Leave out documents with more characters; 0 means no limit."
    )
    min_sentences: NonNegativeInt = option(
        default=0, help="Leave out documents with fewer sentences. Predicting the next sentence needs 2."
    )
    min_hangul_share: Share = option(
        default=0.0,
        help="Leave out documents with a smaller share of Hangul among their characters without spaces. Example: 0.5",
    )
    drop_duplicates: bool = option(
        default=False, help="Leave out documents with the same text as an earlier one."
    )
    near_duplicates: Share = option(
        default=0.0,
        help="Leave out documents with at least this similarity to an earlier one (Jaccard of runs of five "
        "characters, by MinHash); 0 is off, 0.8 is usual. Needs: pip install datasketch. The folder that TMPDIR "
        "names needs about 1 KB of disk space per document.",
    )
    num_workers: NonNegativeInt = option(
        default=0,
        group="Machine",
        help="The number of processes; 0 uses all cores. The result does not depend on it.",
    )

    @property
    def outputs(self) -> list[str]:
        return shard_names(self.output_file, self.num_shards) if self.num_shards else [self.output_file]

    @property
    def report(self) -> str:
        return self.report_file or self.output_file + REPORT_ENDING


class _Done(NamedTuple):
    """One document to write, or the reason for its omission with an excerpt instead of the text.

    `removed` has the number of removals of each kind, and the first removed text.
    """

    where: str
    content: bytes = b""
    sentences: int = 0
    characters: int = 0
    dropped: str = ""
    detail: str = ""
    excerpt: str = ""
    removed: dict[str, tuple[int, str]] = {}  # noqa: RUF012 (never changed)
    signature: bytes = b""
    divided: bool = False


def prepare_corpus(config: CorpusConfig) -> CorpusReport:
    """Splits documents into sentences and writes them with a report; the result does not depend on the number of
    workers.

    Memory is bounded: a few blocks of half a million characters per worker, one document at a time, and the cache of
      the duplicate store, whose data are on the disk.

    Raises:
      MorphbertError: the input cannot be read, a document is broken, or there is no text. Nothing is written then.
      UsageError: the settings are invalid.
    """
    paths = _input_paths(config)
    _check(config, paths)
    require_splitter(config.splitter)
    if config.near_duplicates:
        require_minhash()
    report = CorpusReport(changed(config), len(paths))
    sizes = [identity(path)["bytes"] for path in paths if path != STANDARD_INPUT]
    with ExitStack() as stack:
        # The report is opened first: an unwritable path fails at once, and the report appears after the output.
        report_stream = stack.enter_context(atomic_write(config.report))
        store = stack.enter_context(DuplicateStore(config.near_duplicates))
        write = stack.enter_context(open_corpus(config.output_file, config.num_shards))
        progress = stack.enter_context(
            tqdm(
                desc="Preparing",
                total=sum(map(int, sizes)) or None,
                unit="B",
                unit_scale=True,
                disable=None,
                file=sys.stderr,
            )
        )
        raw = (
            doc
            for path in paths
            for doc in raw_documents.read_documents(path, config.input_format, progress.update)
        )
        for block in run_tasks(
            _prepare_block,
            config,
            raw_documents.blocks_of(raw, _BLOCK_CHARACTERS),
            config.num_workers or default_workers(),
        ):
            for done in block:
                _take(done, config, store, write, report)
            progress.set_postfix_str(f"{report.read:,} documents", refresh=False)
        if not report.documents:
            raise MorphbertError(
                f"{config.input_file}: no document of {len(paths)} file(s) is "
                f"kept{f' (left out: {report.reasons})' if report.dropped else ''}."
            )
        report_stream.write(report.text(config.report))
    return report


def _input_paths(config: CorpusConfig) -> list[str]:
    if STANDARD_INPUT not in config.input_file.split(","):
        return expand(config.input_file)
    if config.input_file != STANDARD_INPUT:
        raise UsageError("standard input (--input_file=-) cannot be combined with files.")
    return [STANDARD_INPUT]


def _check(config: CorpusConfig, paths: list[str]) -> None:
    """Raises UsageError for output that could not be read or would replace its own input."""
    if config.output_file == STANDARD_INPUT:
        raise UsageError(
            "--output_file=-: the corpus is written to a file, not to standard output: give its path."
        )
    ending = os.path.splitext(config.output_file)[1]
    if ending in COMPRESSED and ending != ".gz":
        raise UsageError(f"--output_file={config.output_file}: the only compression of output is .gz.")
    if config.max_characters and config.max_characters < config.min_characters:
        raise UsageError(
            f"--max_characters={config.max_characters} is less than --min_characters={config.min_characters}."
        )
    others = set(glob.glob(glob.escape(config.output_file) + "-[0-9]*-of-[0-9]*")) - set(config.outputs)
    if config.num_shards and others:
        raise UsageError(
            f"{min(others)} is from an earlier run with another --num_shards, and a glob would read both. Remove it, "
            "or choose another --output_file."
        )
    check_apart((*config.outputs, config.report), (("--input_file", path) for path in paths))


def _take(
    done: _Done,
    config: CorpusConfig,
    store: DuplicateStore,
    write: Callable[[bytes], None],
    report: CorpusReport,
) -> None:
    """Writes one document, or counts it as omitted."""
    if done.dropped == _NOT_READABLE and not config.skip_unreadable:
        raise MorphbertError(
            f"{done.where}: {done.detail} (--skip_unreadable leaves such documents out and continues.)"
        )
    report.read += 1
    report.divided += done.divided
    for kind, (count, first) in done.removed.items():
        report.remove(kind, count, Example(done.where, excerpt(first)))
    reason, detail, shown = done.dropped, done.detail, done.excerpt
    if not reason and (config.drop_duplicates or config.near_duplicates):
        digest = hashlib.blake2b(done.content, digest_size=16).digest()
        earlier = store.find_or_add(digest, done.signature, done.where)
        if earlier is not None:
            reason = "duplicate" if earlier.equal else "near duplicate"
            detail = f"of {earlier.of}" + ("" if earlier.equal else f", {earlier.similarity:.0%} in common")
            shown = excerpt(done.content[:1000].decode("utf-8", "ignore"))
    if reason:
        report.drop(reason, done.characters, Example(done.where, shown, detail))
        return
    write(done.content)
    report.documents += 1
    report.sentences += done.sentences
    report.characters += done.characters


def _prepare_block(config: CorpusConfig, block: list[RawDocument]) -> list[_Done]:
    return [_prepare(config, raw) for raw in block]


def _prepare(config: CorpusConfig, raw: RawDocument) -> _Done:
    name = where(raw)
    lines, problem = raw.lines, raw.problem
    if raw.is_json:
        try:
            lines = raw_documents.json_paragraphs(raw, config.input_format.fields)
        except MorphbertError as error:
            problem = str(error)
    if problem:
        return _Done(name, dropped=_NOT_READABLE, detail=problem, excerpt=excerpt("\n".join(raw.lines)))
    removed: dict[str, tuple[int, str]] = {}

    def note(kind: str, text: str) -> None:
        count, first = removed.get(kind, (0, text))
        removed[kind] = (count + 1, first)

    split = load_splitter(config.splitter)
    sentences = [
        sentence for paragraph in config.cleaning("\n".join(lines), note) for sentence in split(paragraph)
    ]
    characters = sum(map(len, sentences))
    reason, detail = _reason_to_drop(config, sentences, characters)
    if reason:
        shown = excerpt(" ".join(sentences) or "\n".join(lines))
        return _Done(
            where=name,
            characters=characters,
            dropped=reason,
            detail=detail,
            excerpt=shown,
            removed=removed,
            divided=raw.divided,
        )
    content = "".join(f"{sentence}\n" for sentence in sentences)
    return _Done(
        name,
        content.encode("utf-8"),
        len(sentences),
        characters,
        removed=removed,
        signature=signature(content) if config.near_duplicates else b"",
        divided=raw.divided,
    )


def _reason_to_drop(config: CorpusConfig, sentences: list[str], characters: int) -> tuple[str, str]:
    """Returns the reason for a document's omission and the deciding value; two empty strings if it is kept."""
    if not sentences:
        return "no text", ""
    if characters < config.min_characters:
        return "too short", f"{characters:,} characters"
    if config.max_characters and characters > config.max_characters:
        return "too long", f"{characters:,} characters"
    if len(sentences) < config.min_sentences:
        return "too few sentences", f"{len(sentences):,}"
    if config.min_hangul_share:
        visible = characters - sum(sentence.count(" ") for sentence in sentences)
        hangul = sum(len(run) for sentence in sentences for run in _HANGUL.findall(sentence))
        if hangul < config.min_hangul_share * visible:
            return "too little Hangul", f"{hangul / visible:.0%}"
    return "", ""
