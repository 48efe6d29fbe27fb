"""Builds the token store from raw text on all cores, in bounded memory, and continues after an interruption.

The text is cut into blocks of lines. A worker turns a block into `blocks/NUMBER-DIGEST.npz`, which is written
atomically; the name contains the digest of the text, which distinguishes it from a block of another text. At the end
the blocks are joined into the arrays of the store, and `store.json` completes it.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import os
import shutil
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

import numpy as np

from morphbert import atomic_files, files
from morphbert.data.documents import DocumentDigest
from morphbert.data.encoding import SentenceEncoder
from morphbert.data.store import (
    ARRAYS,
    STORE_FILE,
    STORE_FORMAT,
    TokenStore,
    damage_in,
    open_store,
    token_dtype,
)
from morphbert.errors import MorphbertError
from morphbert.formats.lines import is_blank, lines_of, read_lines
from morphbert.parallel import run_tasks
from morphbert.structured import load_json
from morphbert.text.tokenizer import Tokenizer

# Characters of text in a block: enough for a cheap exchange between processes, and few enough that 10 MB of text occupy
# all cores and the blocks in all stages need little memory.
_BLOCK_CHARACTERS = 200_000


class Block(NamedTuple):
    """Consecutive sentences of the corpus, as text.

    Attributes:
      starts: the index of each sentence that begins a document; the first sentence may continue an earlier document.
      read: the bytes of input files up to here, before decompression, for the progress bar.
    """

    number: int
    digest: str
    sentences: list[str]
    starts: list[int]
    read: int


# The folder of blocks that are not joined yet, below the store's.
_BLOCKS = "blocks"


@dataclass(frozen=True)
class _Workshop:
    """The state of every worker: the encoder and the folder of blocks."""

    encoder: SentenceEncoder
    folder: str
    dtype: str


def input_fingerprint(paths: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the name, size and modification time of each input, which identify it."""
    return [files.identity(path) for path in paths]


def prepare_store(
    folder: str,
    input_files: Sequence[str],
    tokenizer: Tokenizer,
    num_workers: int,
    say: Callable[[str], None],
    progress: Callable[[int], None],
    may_write: bool,
    encoding: str = "utf-8",
) -> TokenStore:
    """Opens the store in `folder` if it fits input and tokenizer, and otherwise makes it.

    Args:
      say: receives one line about the reuse or creation.
      progress: receives the number of input bytes read so far.
      may_write: whether the store may be made; False if another process holds it.
      encoding: the encoding of the input.

    Raises:
      MorphbertError: the input cannot be read or contains no text, the disk is full, or the store must be made and
        another process holds it.
    """
    wanted = {
        "format": STORE_FORMAT,
        "inputs": input_fingerprint(input_files),
        "tokenizer": tokenizer.describe(),
    }
    if encoding != "utf-8":  # stores of UTF-8 input do not record the encoding
        wanted["encoding"] = encoding
    path = os.path.join(folder, STORE_FILE)
    if os.path.exists(path):
        reason = _reason_to_make(folder, path, wanted)
        if reason is None:
            say(f"token store: {folder} is used again")
            return open_store(folder)
        say(f"token store: {folder} is made again, because {reason}")
    if not may_write:
        raise MorphbertError(
            f"another process is making or using the token store {folder}, and this run needs one for another input "
            "or tokenizer. Wait for that process, or give this run another --token_store."
        )
    if os.path.exists(path):
        _refuse_without_text(input_files, encoding)  # an existing store outlives a mistaken input
        os.unlink(path)
    blocks = os.path.join(folder, _BLOCKS)
    try:
        os.makedirs(blocks, exist_ok=True)
    except OSError as error:
        raise atomic_files.write_error(blocks, error) from error
    _forget_other_tokenizers(blocks, wanted)
    counts = _make(folder, input_files, tokenizer, encoding, num_workers=num_workers, progress=progress)
    if wanted["inputs"] != input_fingerprint(input_files):
        raise MorphbertError(
            "an input file changed while it was read. Run the same command again when the file no longer changes."
        )
    with atomic_files.atomic_write(path) as stream:
        stream.write(json.dumps({**wanted, **counts}, ensure_ascii=False, indent=2).encode() + b"\n")
    shutil.rmtree(blocks, ignore_errors=True)
    return open_store(folder)


def _reason_to_make(folder: str, path: str, wanted: Mapping[str, Any]) -> str | None:
    """Returns the reason why the existing store cannot be used, or None."""
    try:
        content = load_json(files.read_bytes(path))
        changed = _difference(content, wanted)
    except (ValueError, AttributeError):
        changed = "its description"
    if changed is not None:
        return f"{changed} changed since it was made"
    return damage_in(folder, content)


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    if found.get("format") != wanted["format"]:
        return "the format of token stores"
    if found.get("tokenizer") != wanted["tokenizer"]:
        return "the vocabulary or the tokenizer"
    if found.get("inputs") != wanted["inputs"] or found.get("encoding") != wanted.get("encoding"):
        return "the input"
    return None


def _forget_other_tokenizers(blocks: str, wanted: Mapping[str, Any]) -> None:
    """Deletes the blocks of another tokenizer, because the names of blocks depend only on their text."""
    path = os.path.join(blocks, "tokenizer.json")
    content = json.dumps([wanted["format"], wanted["tokenizer"]], sort_keys=True).encode()
    if os.path.exists(path) and files.read_bytes(path) == content:
        return
    for name in os.listdir(blocks):
        os.unlink(os.path.join(blocks, name))
    with atomic_files.atomic_write(path) as stream:
        stream.write(content)


def _make(
    folder: str,
    input_files: Sequence[str],
    tokenizer: Tokenizer,
    encoding: str,
    *,
    num_workers: int,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    blocks = os.path.join(folder, _BLOCKS)
    dtype = np.dtype(token_dtype(len(tokenizer.vocabulary)))
    workshop = _Workshop(SentenceEncoder(tokenizer), blocks, dtype.name)
    names: list[str] = []
    of_files: list[int] = []
    digests_path = os.path.join(folder, "digests.all")
    files.remove(digests_path)  # left by a killed run
    try:
        with open(digests_path, "xb") as digests:
            tasks = _blocks(input_files, encoding, digests, of_files)
            for name, read in run_tasks(_encode_block, workshop, tasks, num_workers):
                names.append(name)
                progress(read)
        counts = _join(folder, [os.path.join(blocks, name) for name in names], digests_path, dtype, of_files)
        os.unlink(digests_path)
    except OSError as error:
        raise atomic_files.write_error(folder, error) from error
    if counts["tokens"] == 0:
        raise no_text(input_files)
    return counts


def _refuse_without_text(input_files: Sequence[str], encoding: str) -> None:
    """Raises if no file has a line with text. Pipes and remote files are not read ahead."""
    if not all(os.path.isfile(path) for path in input_files):
        return
    if all(is_blank(line) for path in input_files for line in read_lines(path, encoding=encoding)):
        raise no_text(input_files)


def no_text(input_files: Sequence[str]) -> MorphbertError:
    """Returns the error of input that has no text."""
    return MorphbertError(
        f"the input contains no text: {len(input_files)} file(s), among them {input_files[0]}. Write one "
        "sentence per line, with an empty line between documents."
    )


def _blocks(
    input_files: Sequence[str], encoding: str, digests: IO[bytes], of_files: list[int]
) -> Iterator[Block]:
    """Cuts the input into blocks; a document ends at an empty line and at the end of a file.

    The digests of the documents are written to `digests` (uint64) in document order, and the number of documents of
    each file is appended to `of_files`.
    """
    sentences: list[str] = []
    starts: list[int] = []
    finished = array("Q")
    document: DocumentDigest | None = None
    number = size = read = 0
    ended = 0  # documents

    def block() -> Block:
        nonlocal sentences, starts, size, number
        digests.write(finished.tobytes())
        del finished[:]
        text = hashlib.blake2b(digest_size=16)
        text.update("\n".join(sentences).encode())
        text.update(repr(starts).encode())
        made = Block(number, text.hexdigest(), sentences, starts, read)
        sentences, starts, size = [], [], 0
        number += 1
        return made

    before = 0  # bytes of the finished files
    for path in input_files:
        with files.open_for_reading(path) as raw:
            for line in lines_of(raw, path, encoding):
                line = line.strip()
                if not line:
                    if document is not None:
                        finished.append(document.value())
                        ended += 1
                        document = None
                    continue
                if document is None:
                    document = DocumentDigest()
                    starts.append(len(sentences))
                document.add(line)
                sentences.append(line)
                size += len(line)
                if size >= _BLOCK_CHARACTERS:
                    read = before + raw.tell()
                    yield block()
        read = before = before + int(files.identity(path)["bytes"])
        if document is not None:
            finished.append(document.value())
            ended += 1
            document = None
        of_files.append(ended - sum(of_files))
    yield block()


def _encode_block(workshop: _Workshop, block: Block) -> tuple[str, int]:
    """Writes the arrays of one block, unless an earlier run did; returns the file's name and `block.read`."""
    name = f"{block.number:06d}-{block.digest}.npz"
    path = os.path.join(workshop.folder, name)
    if os.path.exists(path):
        return name, block.read
    tokens = array("I")
    marks: list[bytes] = []
    ends = array("q")
    starts: list[int] = []
    first = set(block.starts)
    for index, sentence in enumerate(block.sentences):
        if index in first:
            starts.append(len(ends))
        ids, bits = workshop.encoder(sentence)
        if ids:
            tokens += ids
            marks.append(bits)
            ends.append(len(tokens))
    with atomic_files.atomic_write(path) as stream:
        np.savez(
            stream,
            tokens=np.frombuffer(tokens, np.uint32).astype(workshop.dtype),
            marks=np.frombuffer(b"".join(marks), np.uint8),
            ends=np.frombuffer(ends, np.int64),
            starts=np.array(starts, np.int64),
        )
    return name, block.read


def _join(
    folder: str, blocks: Sequence[str], digests_path: str, dtype: np.dtype[Any], of_files: Sequence[int]
) -> dict[str, Any]:
    """Joins blocks into the arrays of the store. Documents without a piece are left out."""
    digests = (
        np.memmap(digests_path, np.uint64, "r") if os.path.getsize(digests_path) else np.zeros(0, np.uint64)
    )
    seen = documents = sentences = tokens = 0
    kept, ends_of_files = [0] * len(of_files), list(itertools.accumulate(of_files))
    # The current document: its first sentence and piece, and the index of its digest.
    opened: tuple[int, int, int] | None = None
    with ExitStack() as stack:
        out = {
            name: atomic_files.Digesting(
                stack.enter_context(atomic_files.atomic_write(os.path.join(folder, name)))
            )
            for name in ARRAYS
        }

        def close(at_sentence: int) -> None:
            nonlocal documents
            if opened is not None and at_sentence > opened[0]:
                out["documents"].write(opened[0].to_bytes(8, "little"))
                out["document_tokens"].write(opened[1].to_bytes(8, "little"))
                out["digests"].write(int(digests[opened[2]]).to_bytes(8, "little"))
                documents += 1
                kept[bisect.bisect_right(ends_of_files, opened[2])] += 1

        out["sentences"].write(bytes(8))
        for path in blocks:
            ends, starts, ids, marks = _read_block(path)
            out["tokens"].write(ids.astype(dtype.newbyteorder("<")).tobytes())
            out["marks"].write(marks.tobytes())
            out["sentences"].write((ends + tokens).astype("<i8").tobytes())
            for start in starts.tolist():
                close(sentences + start)
                opened = (sentences + start, tokens + (int(ends[start - 1]) if start else 0), seen)
                seen += 1
            sentences += len(ends)
            tokens += int(ends[-1]) if len(ends) else 0
        close(sentences)
        out["documents"].write(sentences.to_bytes(8, "little"))
        out["document_tokens"].write(tokens.to_bytes(8, "little"))
        arrays = {name: {"bytes": stream.bytes, "sha256": stream.sha256} for name, stream in out.items()}
    counts = {"tokens": tokens, "sentences": sentences, "documents": documents, "documents_of_files": kept}
    return {"arrays": arrays, **counts}


def _read_block(path: str) -> tuple[np.ndarray[Any, Any], ...]:
    """Returns `ends`, `starts`, `tokens` and `marks` of a block.

    Raises:
      MorphbertError: the block is damaged; it is removed, so that the next run makes it again.
    """
    try:
        with np.load(path) as block:
            return block["ends"], block["starts"], block["tokens"], block["marks"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        files.remove(path)
        raise MorphbertError(
            f"{path}, part of the token store of an earlier run, is damaged ({error}) and was removed. Run the same "
            "command again."
        ) from error
