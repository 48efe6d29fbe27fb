"""Raw files → BERT's input format: a sentence a line, an empty line between documents."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import sys
from collections import Counter
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
_HANGUL = re.compile("[가-힣ㄱ-ㆎ]")
_JSON_NAME = re.compile(r"\.(jsonl|ndjson|json)(\.gz|\.bz2)?$")


@dataclass(frozen=True)
class CorpusConfig:
    """What `prepare_corpus` reads, and how.

    Attributes:
      input_file: paths and globs with commas.
      format: `text` (documents end at empty lines) or `jsonl` (a document a line); `auto` goes by the names.
      text_field: the JSON field with the text; dots go into nested objects.
      splitter: `rule` splits Korean sentences; `line` keeps the lines as sentences.
      max_repeats: longer runs of one character are shortened to this many (ㅋㅋㅋㅋㅋ → ㅋㅋㅋ with 3); 0 leaves them.
      min_characters: shorter documents are left out.
      min_hangul_share: documents with a smaller share of Hangul among their characters, spaces apart, are left out.
      drop_duplicates: documents with the same text as an earlier one are left out.
    """

    input_file: str
    output_file: str
    format: Format = "auto"
    text_field: str = "text"
    splitter: Splitter = "rule"
    max_repeats: int = 0
    min_characters: int = 0
    min_hangul_share: float = 0.0
    drop_duplicates: bool = False
    num_workers: int = 1


@dataclass(frozen=True)
class PreparedCorpus:
    """What was written; `dropped` says how many documents are not in the output, by reason."""

    files: int
    documents: int
    sentences: int
    characters: int
    dropped: Counter[str]


class _Raw(NamedTuple):
    """One document before its text is known: where it begins, and its lines (one, for JSON)."""

    path: str
    line: int
    is_json: bool
    lines: list[str]


class _Done(NamedTuple):
    """One document as it is written, or the reason why it is not."""

    content: str
    sentences: int
    characters: int
    dropped: str


def prepare_corpus(config: CorpusConfig) -> PreparedCorpus:
    """Reads documents, splits them and writes them in their order; the number of workers changes nothing.

    Text is composed (NFC), control and format characters are dropped, and white space is one space. Finding
    duplicates takes some 100 bytes of memory a document.

    Raises:
      MorphbertError: unreadable input, a line that is not JSON or has no such field, or no text at all.
    """
    paths = expand(config.input_file)
    documents = sentences = characters = 0
    dropped: Counter[str] = Counter()
    seen: set[bytes] = set()
    progress = tqdm(desc="Preparing", unit=" documents", unit_scale=True, disable=None, file=sys.stderr)
    with _open_output(config.output_file) as stream, progress:
        for block in run_tasks(_prepare_block, config, _blocks(_read(paths, config)), config.num_workers):
            for done in block:
                content = done.content.encode("utf-8")
                reason = done.dropped
                if config.drop_duplicates and not reason:
                    digest = hashlib.blake2b(content, digest_size=16).digest()
                    reason = "duplicate" if digest in seen else ""
                    seen.add(digest)
                if reason:
                    dropped[reason] += 1
                    continue
                stream.write(b"\n" + content if documents else content)
                documents += 1
                sentences += done.sentences
                characters += done.characters
            progress.update(len(block))
        if not documents:
            reasons = ", ".join(f"{reason}: {count:,}" for reason, count in dropped.most_common())
            raise MorphbertError(
                f"{config.input_file}: none of {len(paths)} file(s) holds a document to keep"
                f"{f' (left out: {reasons})' if reasons else ''}."
            )
    return PreparedCorpus(len(paths), documents, sentences, characters, dropped)


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


def _prepare_block(config: CorpusConfig, block: list[_Raw]) -> list[_Done]:
    return [_prepare(config, raw) for raw in block]


def _prepare(config: CorpusConfig, raw: _Raw) -> _Done:
    paragraphs = _json_paragraphs(raw, config.text_field) if raw.is_json else raw.lines
    found: list[str] = []
    for paragraph in map(Normalizer("nfc"), paragraphs):
        if config.max_repeats:
            paragraph = _shorten_runs(paragraph, config.max_repeats)
        if config.splitter == "rule":
            found += split_sentences(paragraph)
        elif paragraph:
            found.append(paragraph)
    characters = sum(map(len, found))
    return _Done(
        "".join(f"{sentence}\n" for sentence in found),
        len(found),
        characters,
        _reason_to_drop(config, found, characters),
    )


def _shorten_runs(text: str, most: int) -> str:
    """`("아ㅋㅋㅋㅋㅋ", 2)` → `"아ㅋㅋ"`; digits stay, because 1000000 is no exaggeration."""
    return re.sub(rf"(\D)\1{{{most},}}", lambda run: run.group(1) * most, text)


def _reason_to_drop(config: CorpusConfig, sentences: list[str], characters: int) -> str:
    if not sentences:
        return "no text"
    if characters < config.min_characters:
        return "too short"
    if config.min_hangul_share:
        visible = characters - sum(sentence.count(" ") for sentence in sentences)
        hangul = sum(len(_HANGUL.findall(sentence)) for sentence in sentences)
        if hangul < config.min_hangul_share * visible:
            return "too little Hangul"
    return ""


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
