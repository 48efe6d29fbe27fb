"""Raw files → BERT's input format: a sentence a line, an empty line between documents."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal, NamedTuple, cast

from tqdm import tqdm

from morphbert.errors import MorphbertError
from morphbert.files import atomic_write, expand, read_lines
from morphbert.parallel import run_tasks
from morphbert.text.normalize import Normalizer
from morphbert.text.sentences import split_sentences

Splitter = Literal["rule", "line"]
Format = Literal["auto", "text", "jsonl"]

_BLOCK_CHARACTERS = 500_000
_JSON_NAME = re.compile(r"\.(jsonl|ndjson|json)(\.gz|\.bz2)?$")


@dataclass(frozen=True)
class CorpusConfig:
    """What `prepare_corpus` reads, and how.

    Attributes:
      input_file: paths and globs with commas.
      format: `text` (documents end at empty lines) or `jsonl` (a document a line); `auto` goes by the names.
      text_field: the JSON field with the text; dots go into nested objects.
      splitter: `rule` splits Korean sentences; `line` keeps the lines as sentences.
    """

    input_file: str
    output_file: str
    format: Format = "auto"
    text_field: str = "text"
    splitter: Splitter = "rule"
    num_workers: int = 1


@dataclass(frozen=True)
class PreparedCorpus:
    """What was written; `empty_documents` had no text and are not in the output."""

    files: int
    documents: int
    sentences: int
    characters: int
    empty_documents: int


class _Raw(NamedTuple):
    """One document before its text is known: where it begins, and its lines (one, for JSON)."""

    path: str
    line: int
    is_json: bool
    lines: list[str]


class _Done(NamedTuple):
    """A block of documents as it is written."""

    content: bytes
    documents: int
    sentences: int
    characters: int
    empty: int


def prepare_corpus(config: CorpusConfig) -> PreparedCorpus:
    """Reads documents, splits them and writes them in their order; the number of workers changes nothing.

    Text is composed (NFC), control and format characters are dropped, and white space is one space.

    Raises:
      MorphbertError: unreadable input, a line that is not JSON or has no such field, or no text at all.
    """
    paths = expand(config.input_file)
    documents = sentences = characters = empty = 0
    progress = tqdm(desc="Preparing", unit=" documents", unit_scale=True, disable=None, file=sys.stderr)
    with _open_output(config.output_file) as stream, progress:
        for done in run_tasks(_prepare_block, config, _blocks(_read(paths, config)), config.num_workers):
            if done.documents:
                stream.write(b"\n" if documents else b"")
                stream.write(done.content)
            documents += done.documents
            sentences += done.sentences
            characters += done.characters
            empty += done.empty
            progress.update(done.documents + done.empty)
        if not documents:
            raise MorphbertError(f"{config.input_file}: none of {len(paths)} file(s) holds any text.")
    return PreparedCorpus(len(paths), documents, sentences, characters, empty)


@contextlib.contextmanager
def _open_output(path: str) -> Iterator[IO[bytes]]:
    with atomic_write(path) as raw:
        if not path.endswith(".gz"):
            yield raw
            return
        # Without name and time in the header: same input, same bytes.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
            yield cast("IO[bytes]", packed)


def _read(paths: Iterable[str], config: CorpusConfig) -> Iterator[_Raw]:
    for path in paths:
        is_json = config.format == "jsonl" or (
            config.format == "auto" and _JSON_NAME.search(os.path.basename(path)) is not None
        )
        begin = 1
        lines: list[str] = []
        for number, line in enumerate(read_lines(path), start=1):
            if is_json:
                if not _is_blank(line):
                    yield _Raw(path, number, True, [line])
                continue
            if not _is_blank(line):
                lines.append(line)
                continue
            if lines:
                yield _Raw(path, begin, False, lines)
            begin, lines = number + 1, []
        if lines:
            yield _Raw(path, begin, False, lines)


def _is_blank(line: str) -> bool:
    return not line or line.isspace()


def _blocks(documents: Iterable[_Raw]) -> Iterator[list[_Raw]]:
    block: list[_Raw] = []
    size = 0
    for document in documents:
        block.append(document)
        size += sum(map(len, document.lines))
        if size >= _BLOCK_CHARACTERS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _prepare_block(config: CorpusConfig, block: list[_Raw]) -> _Done:
    normalize = Normalizer("nfc")
    written: list[str] = []
    sentences = characters = 0
    for raw in block:
        paragraphs = _json_paragraphs(raw, config.text_field) if raw.is_json else raw.lines
        found: list[str] = []
        for paragraph in map(normalize, paragraphs):
            if config.splitter == "rule":
                found += split_sentences(paragraph)
            elif paragraph:
                found.append(paragraph)
        if found:
            written.append("".join(f"{sentence}\n" for sentence in found))
            sentences += len(found)
            characters += sum(map(len, found))
    return _Done(
        "\n".join(written).encode("utf-8"), len(written), sentences, characters, len(block) - len(written)
    )


def _json_paragraphs(raw: _Raw, field: str) -> list[str]:
    where = f"{raw.path}, line {raw.line}"
    try:
        value: Any = json.loads(raw.lines[0])
    except (ValueError, RecursionError) as error:
        raise MorphbertError(
            f"{where}: not JSON ({error}). JSON Lines has one object a line; for plain text give --format=text."
        ) from error
    for name in field.split("."):
        if not isinstance(value, dict) or name not in value:
            names = ", ".join(map(str, value)) if isinstance(value, dict) else type(value).__name__
            raise MorphbertError(
                f"{where}: there is no field {field!r} (found: {names or 'nothing'}). Name the field with the "
                "text: --text_field=NAME, with dots for nested ones."
            )
        value = value[name]
    if value is None:
        return []
    if not isinstance(value, str):
        raise MorphbertError(
            f"{where}: the field {field!r} holds {type(value).__name__}, not text: choose another --text_field."
        )
    return value.splitlines()
