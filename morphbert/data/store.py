"""The token store: a corpus tokenized once for all duplicates and all later runs.

The store is a folder of flat little-endian arrays, which are mapped into memory and never loaded:

    tokens            [T]      uint16 or uint32   ids of all pieces, documents one after the other
    marks             [T]      uint8              the units that start at a piece (morphbert.data.encoding)
    sentences         [S + 1]  int64              first piece of each sentence; the last entry is T
    documents         [D + 1]  int64              first sentence of each document; the last entry is S
    document_tokens   [D + 1]  int64              first piece of each document; the last entry is T
    digests           [D]      uint64             of each document's text (morphbert.data.documents)

`store.json` is written last and has the source of the store and the size and SHA-256 of each array; a folder without it
is not a store. Each array is written atomically and is on the disk before `store.json` is written. A later run first
compares the digests, in about a second per gigabyte.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from morphbert import files
from morphbert.data.arrays import Int64
from morphbert.structured import load_json

STORE_FILE = "store.json"
STORE_FORMAT = 2
ARRAYS = ("tokens", "marks", "sentences", "documents", "document_tokens", "digests")

Integers = npt.NDArray[Any]


@dataclass(frozen=True)
class TokenStore:
    """The arrays of a store, mapped or in memory; the module's docstring gives the shapes."""

    tokens: Integers
    marks: npt.NDArray[np.uint8]
    sentences: Int64
    documents: Int64
    document_tokens: Int64
    digests: npt.NDArray[np.uint64]

    @property
    def num_tokens(self) -> int:
        return len(self.tokens)

    @property
    def num_sentences(self) -> int:
        return len(self.sentences) - 1

    @property
    def num_documents(self) -> int:
        return len(self.documents) - 1


def token_dtype(vocab_size: int) -> npt.DTypeLike:
    """Returns the type of ids: two bytes if they suffice, else four."""
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def damage_in(folder: str, content: Mapping[str, Any]) -> str | None:
    """Returns a description of the damage to the arrays of a store, or None.

    Args:
      content: the content of `store.json`.
    """
    for name in ARRAYS:
        path = os.path.join(folder, name)
        try:
            expected = content["arrays"][name]
            with open(path, "rb") as stream:
                length = os.fstat(stream.fileno()).st_size
                if length != expected["bytes"]:
                    return f"its array {name} has {length:,} bytes instead of {expected['bytes']:,}"
                if files.sha256_of(stream) != expected["sha256"]:
                    return f"its array {name} has changed since it was written (another SHA-256)"
        except FileNotFoundError:
            return f"its array {name} is missing"
        except (KeyError, TypeError):
            return f"it has no size and digest of its array {name}"
        except OSError as error:
            return f"its array {name} cannot be read ({error.strerror or error})"
    return None


def open_store(folder: str) -> TokenStore:
    """Maps the arrays of a finished store."""
    content = load_json(files.read_bytes(os.path.join(folder, STORE_FILE)))
    types = {
        "tokens": token_dtype(content["tokenizer"]["vocab"]["size"]),
        "marks": np.uint8,
        "digests": np.uint64,
    }

    def mapped(name: str) -> Any:
        dtype = np.dtype(types.get(name, np.int64)).newbyteorder("<")
        return np.memmap(os.path.join(folder, name), dtype, "r").view(np.ndarray)

    return TokenStore(**{name: mapped(name) for name in ARRAYS})
