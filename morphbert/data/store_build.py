"""Raw text → token store, on all cores, in bounded memory, continued where it was interrupted.

The text is cut into blocks of lines. A worker turns a block into `blocks/NUMBER-DIGEST.npz`, which appears whole
or not at all; the name holds the digest of the text, so that a block of another text is never taken for it.
At the end the blocks are joined into the arrays of the store, and `store.json` makes it one.
"""

from __future__ import annotations

import hashlib
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

from morphbert import files
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
from morphbert.formats.lines import lines_of
from morphbert.parallel import run_tasks
from morphbert.structured import load_json
from morphbert.text.tokenizer import Tokenizer

# Characters of text in a block: enough to make the exchange between processes cheap, few enough that
# 10 MB of text occupy all cores and a block in each stage weighs nothing.
_BLOCK_CHARACTERS = 200_000


class Block(NamedTuple):
    """Consecutive sentences of the corpus, as text.

    starts: index of each sentence that begins a document; the first sentence may go on with an older one.
    read: bytes of input files up to here, for the progress bar (compressed files count as they are).
    """

    number: int
    digest: str
    sentences: list[str]
    starts: list[int]
    read: int


@dataclass(frozen=True)
class _Workshop:
    """What every worker has: the encoder, and where blocks go."""

    encoder: SentenceEncoder
    folder: str
    dtype: str


def input_fingerprint(paths: Sequence[str]) -> list[dict[str, Any]]:
    """Name, size and time of change of each input: what tells that it is still the same."""
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
    """Opens the store in `folder` where it fits input and tokenizer, and makes it where it does not.

    Args:
      say: receives one line about what was reused or made.
      progress: receives the bytes of input read so far.
      may_write: False where another process holds the store.
      encoding: of the input.

    Raises:
      MorphbertError: the input cannot be read or holds no text, the disk is full, or the store would have
        to be made and another process holds it.
    """
    wanted = {
        "format": STORE_FORMAT,
        "inputs": input_fingerprint(input_files),
        "tokenizer": tokenizer.describe(),
    }
    if encoding != "utf-8":  # stores of UTF-8 input do not name it
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
            f"another process is making or using the token store {folder}, and this run needs one for another "
            "input or tokenizer: wait for it, or give this run its own --token_store."
        )
    if os.path.exists(path):
        os.unlink(path)
    blocks = os.path.join(folder, "blocks")
    try:
        os.makedirs(blocks, exist_ok=True)
    except OSError as error:
        raise files.write_error(blocks, error) from error
    _forget_other_tokenizers(blocks, wanted)
    counts = _make(folder, blocks, input_files, tokenizer, num_workers, progress, encoding)
    if wanted["inputs"] != input_fingerprint(input_files):
        raise MorphbertError(
            "an input file changed while it was read: run the same command again once it is at rest."
        )
    with files.atomic_write(path) as stream:
        stream.write(json.dumps({**wanted, **counts}, ensure_ascii=False, indent=2).encode() + b"\n")
    shutil.rmtree(blocks, ignore_errors=True)
    return open_store(folder)


def _reason_to_make(folder: str, path: str, wanted: Mapping[str, Any]) -> str | None:
    """Why the store that is there cannot be used, in words; None where it can."""
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
    """Blocks are named by their text; those that another tokenizer made are thrown away."""
    path = os.path.join(blocks, "tokenizer.json")
    content = json.dumps([wanted["format"], wanted["tokenizer"]], sort_keys=True).encode()
    if os.path.exists(path) and files.read_bytes(path) == content:
        return
    for name in os.listdir(blocks):
        os.unlink(os.path.join(blocks, name))
    with files.atomic_write(path) as stream:
        stream.write(content)


def _make(
    folder: str,
    blocks: str,
    input_files: Sequence[str],
    tokenizer: Tokenizer,
    num_workers: int,
    progress: Callable[[int], None],
    encoding: str,
) -> dict[str, Any]:
    dtype = np.dtype(token_dtype(len(tokenizer.vocabulary)))
    workshop = _Workshop(SentenceEncoder(tokenizer), blocks, dtype.name)
    names: list[str] = []
    digests_path = os.path.join(folder, "digests.all")
    files.remove(digests_path)  # of a killed run
    try:
        with open(digests_path, "xb") as digests:
            tasks = _blocks(input_files, encoding, digests)
            for name, read in run_tasks(_encode_block, workshop, tasks, num_workers):
                names.append(name)
                progress(read)
        counts = _join(folder, [os.path.join(blocks, name) for name in names], digests_path, dtype)
        os.unlink(digests_path)
    except OSError as error:
        raise files.write_error(folder, error) from error
    if counts["tokens"] == 0:
        raise MorphbertError(
            f"the input holds no text: {len(input_files)} file(s), among them {input_files[0]}. One sentence a "
            "line, an empty line between documents."
        )
    return counts


def _blocks(input_files: Sequence[str], encoding: str, digests: IO[bytes]) -> Iterator[Block]:
    """Cuts the input into blocks; a document ends at an empty line and at the end of a file.

    The digest of each document goes to `digests` (uint64), in the order of the documents.
    """
    sentences: list[str] = []
    starts: list[int] = []
    finished = array("Q")
    document: DocumentDigest | None = None
    number = size = read = 0

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

    before = 0  # bytes of the files that are done
    for path in input_files:
        with files.open_for_reading(path) as raw:
            for line in lines_of(raw, path, encoding):
                line = line.strip()
                if not line:
                    if document is not None:
                        finished.append(document.value())
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
            document = None
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
    with files.atomic_write(path) as stream:
        np.savez(
            stream,
            tokens=np.frombuffer(tokens, np.uint32).astype(workshop.dtype),
            marks=np.frombuffer(b"".join(marks), np.uint8),
            ends=np.frombuffer(ends, np.int64),
            starts=np.array(starts, np.int64),
        )
    return name, block.read


def _join(folder: str, blocks: Sequence[str], digests_path: str, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Blocks → the arrays of the store. Documents without any piece are left out."""
    digests = (
        np.memmap(digests_path, np.uint64, "r") if os.path.getsize(digests_path) else np.zeros(0, np.uint64)
    )
    seen = documents = sentences = tokens = 0
    # The document that is open: its first sentence and piece, and its digest's index.
    opened: tuple[int, int, int] | None = None
    with ExitStack() as stack:
        out = {
            name: files.Digesting(stack.enter_context(files.atomic_write(os.path.join(folder, name))))
            for name in ARRAYS
        }

        def close(at_sentence: int) -> None:
            nonlocal documents
            if opened is not None and at_sentence > opened[0]:
                out["documents"].write(opened[0].to_bytes(8, "little"))
                out["document_tokens"].write(opened[1].to_bytes(8, "little"))
                out["digests"].write(int(digests[opened[2]]).to_bytes(8, "little"))
                documents += 1

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
    return {"arrays": arrays, "tokens": tokens, "sentences": sentences, "documents": documents}


def _read_block(path: str) -> tuple[np.ndarray[Any, Any], ...]:
    """`ends`, `starts`, `tokens` and `marks` of a block.

    Raises:
      MorphbertError: it is damaged; it is removed, so that the next run makes it again.
    """
    try:
        with np.load(path) as block:
            return block["ends"], block["starts"], block["tokens"], block["marks"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        files.remove(path)
        raise MorphbertError(
            f"{path}, a part of the token store that an earlier run left, is damaged ({error}) and was removed: run "
            "the same command again."
        ) from error
