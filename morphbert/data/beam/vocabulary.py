"""A vocabulary for remote workers: its files as bytes, from which every worker makes the tokenizer."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from morphbert import files
from morphbert.data.batches import Pieces
from morphbert.data.build import known_pieces
from morphbert.data.encoding import SentenceEncoder
from morphbert.errors import MorphbertError
from morphbert.text.analyzers import USER_DICTIONARY_NAME
from morphbert.text.foreign import FILE_NAMES, SPECIALS_NAME
from morphbert.text.loading import foreign_folder_of, is_vocabulary_folder, load_tokenizer, plain_vocabulary
from morphbert.text.metadata import METADATA_NAME
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import BERT_SPELLING, VOCABULARY_NAME

# A vocabulary's files are a few megabytes; other files of the folder are not packed.
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class PackedVocabulary:
    """The files behind a path, so that `load_tokenizer` can read them on another machine.

    Attributes:
      entries: the name and content of each file.
      single: whether the path was that of one file, not of a folder.
    """

    entries: tuple[tuple[str, bytes], ...]
    single: bool
    do_lower_case: bool | None = None
    allow_mismatch: bool = False


def pack(path: str, do_lower_case: bool | None, allow_mismatch: bool) -> PackedVocabulary:
    """Reads the files of the vocabulary at `path`."""
    path = foreign_folder_of(path, do_lower_case)
    if not is_vocabulary_folder(path):
        entries = [(os.path.basename(path), files.read_bytes(path))]
        special = plain_vocabulary(path).special
        if special != BERT_SPELLING:  # stated by a file beside it
            entries.append((SPECIALS_NAME, json.dumps(special.as_map()).encode("utf-8")))
        return PackedVocabulary(tuple(entries), True, do_lower_case, allow_mismatch)
    packed = tuple((name, files.read_bytes(os.path.join(path, name))) for name in _names(path))
    size = sum(len(content) for _, content in packed)
    if size > _MOST_BYTES:
        raise MorphbertError(
            f"the folder {path} contains {size >> 20} MB, too much to send to every worker. Give a folder that "
            "contains only the vocabulary."
        )
    return PackedVocabulary(packed, False, do_lower_case, allow_mismatch)


def _names(folder: str) -> Iterator[str]:
    if files.is_remote(folder):
        ours = (METADATA_NAME, VOCABULARY_NAME, USER_DICTIONARY_NAME, *FILE_NAMES)
        yield from (name for name in ours if files.exists(os.path.join(folder, name)))
        return
    yield from sorted(name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name)))


@functools.lru_cache(maxsize=1)
def unpack(packed: PackedVocabulary) -> Tokenizer:
    """Returns the tokenizer, which is made once per process."""
    with tempfile.TemporaryDirectory(prefix="morphbert-") as folder:
        for name, content in packed.entries:
            with open(os.path.join(folder, name), "wb") as stream:
                stream.write(content)
        path = os.path.join(folder, packed.entries[0][0]) if packed.single else folder
        return load_tokenizer(path, packed.do_lower_case, packed.allow_mismatch)


@functools.lru_cache(maxsize=1)
def encoder_of(packed: PackedVocabulary) -> SentenceEncoder:
    return SentenceEncoder(unpack(packed))


@functools.lru_cache(maxsize=1)
def pieces_of(packed: PackedVocabulary, mask_words: tuple[str, ...]) -> Pieces:
    return known_pieces(unpack(packed), mask_words)
