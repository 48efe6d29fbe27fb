"""Finds documents that repeat an earlier one, exactly or nearly, in bounded memory.

Near duplicates by MinHash (Broder, "On the Resemblance and Containment of Documents", 1997) with datasketch: a document
is the set of its runs of five characters without white space. Its signature, 128 minima of hash functions over that
set, estimates the Jaccard similarity of two sets (shared / all). Documents whose signatures agree in one whole band are
compared. A temporary SQLite database on the disk contains the state and is deleted when the process ends for any
reason; only its cache is in memory.
"""

from __future__ import annotations

import hashlib
import sqlite3
from functools import lru_cache
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from morphbert.errors import MorphbertError

_PERMUTATIONS = 128
_SHINGLE = 5
# The number of shingles hashed at a time: 128 minima of each are 4 MB.
_BATCH = 8192
# The trade-off of the bands: an additional comparison costs only time, a missed one leaves a duplicate.
_MISSES_WEIGH = 0.95
# Two bands of 64 values, the coarsest division.
_HIGHEST = 0.99
_CACHE_KIB = 200_000


class Duplicate(NamedTuple):
    """The name of an earlier document, whether it is equal, and the similarity of the two (1: equal)."""

    of: str
    equal: bool
    similarity: float = 1.0


def require_minhash() -> None:
    """Raises MorphbertError with the remedy if datasketch is not installed."""
    try:
        import datasketch  # noqa: F401
    except ImportError as error:
        raise MorphbertError("near duplicates need a package: pip install datasketch") from error


@lru_cache(maxsize=1)
def _empty_minhash() -> Any:
    from datasketch import MinHash

    # The scheme and the seed influence which documents are dropped, so both are fixed.
    return MinHash(_PERMUTATIONS, seed=1, hashfunc=int, scheme="affine32")


def signature(text: str) -> bytes:
    """Returns the MinHash signature of a document: 128 little-endian uint32; white space is ignored."""
    made = _empty_minhash().copy()
    hashes = _shingle_hashes("".join(text.split()))
    for start in range(0, len(hashes), _BATCH):
        made.update_batch(hashes[start : start + _BATCH].tolist())
    return bytes(made.hashvalues.astype("<u4").tobytes())


def _shingle_hashes(text: str) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Returns a 32-bit hash of each distinct run of five characters (of the whole text if it is shorter)."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    length = max(min(_SHINGLE, len(codes)), 1)
    hashes = np.zeros(max(len(codes) - length + 1, 0), dtype=np.uint64)
    for offset in range(length):  # FNV-1a's step for one code point (arithmetic wraps around at 64 bits)
        hashes = (hashes ^ codes[offset : offset + len(hashes)]) * np.uint64(0x100000001B3)
    return np.unique((hashes ^ (hashes >> np.uint64(32))).astype(np.uint32))


class DuplicateStore:
    """The documents so far. A context manager.

    Documents are compared with kept documents only, not with duplicates, so a chain of small changes does not remove
    documents that have little in common.

    Args:
      near: the least similarity of near duplicates; 0 finds only equal documents.
      cache_kib: the memory for the database's pages, in KiB.
    """

    def __init__(self, near: float = 0.0, cache_kib: int = _CACHE_KIB):
        self._near = near
        self._bands: list[tuple[int, int]] = []
        if near:
            from datasketch import MinHashLSH

            chosen = MinHashLSH(
                min(near, _HIGHEST), _PERMUTATIONS, weights=(1 - _MISSES_WEIGH, _MISSES_WEIGH)
            )
            self._bands = [(band * chosen.r, (band + 1) * chosen.r) for band in range(chosen.b)]
        self._database = sqlite3.connect("", isolation_level=None)  # a temporary file without a name
        for setting in (f"cache_size=-{cache_kib}", "journal_mode=OFF", "synchronous=OFF"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute("CREATE TABLE exact (digest BLOB PRIMARY KEY, name TEXT) WITHOUT ROWID")
        self._database.execute(
            "CREATE TABLE documents (number INTEGER PRIMARY KEY, name TEXT, signature BLOB)"
        )
        self._database.execute(
            "CREATE TABLE bands (key INTEGER, number INTEGER, PRIMARY KEY (key, number)) WITHOUT ROWID"
        )
        self._database.execute("BEGIN")
        self._number = 0

    def __enter__(self) -> DuplicateStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def find_or_add(self, digest: bytes, signature: bytes, name: str) -> Duplicate | None:
        """Returns the earlier document that this one repeats; otherwise adds this one and returns None.

        Args:
          digest: the digest of the text, which finds equal documents. signature: `signature(text)`, empty if `near` is
            0.
          name: the name of the document in reports of later repetitions.

        Raises:
          MorphbertError: the disk with the temporary files is full.
        """
        try:
            return self._find_or_add(digest, signature, name)
        except sqlite3.Error as error:
            raise MorphbertError(
                f"the duplicate database cannot be written to the folder for temporary files: {error}. Name another "
                "folder in the environment variable SQLITE_TMPDIR."
            ) from error

    def _find_or_add(self, digest: bytes, signature: bytes, name: str) -> Duplicate | None:
        run = self._database.execute
        if run("INSERT OR IGNORE INTO exact VALUES (?, ?)", (digest, name)).rowcount == 0:
            (first,) = run("SELECT name FROM exact WHERE digest = ?", (digest,)).fetchone()
            return Duplicate(first, equal=True)
        if not self._near:
            return None
        values = np.frombuffer(signature, dtype="<u4")
        keys = [
            int.from_bytes(
                hashlib.blake2b(bytes([band]) + values[first:last].tobytes(), digest_size=8).digest(),
                "little",
                signed=True,
            )
            for band, (first, last) in enumerate(self._bands)
        ]
        marks = ",".join("?" * len(keys))
        candidates = run(
            f"SELECT name, signature FROM documents WHERE number IN (SELECT number FROM bands WHERE key IN ({marks})) "
            "ORDER BY number",
            keys,
        )
        for earlier, theirs in candidates:
            similarity = float(np.mean(values == np.frombuffer(theirs, dtype="<u4")))
            if similarity >= self._near:
                return Duplicate(earlier, False, similarity)
        self._number += 1
        run("INSERT INTO documents VALUES (?, ?, ?)", (self._number, name, signature))
        # (two bands of one document may have the same key by chance)
        self._database.executemany(
            "INSERT OR IGNORE INTO bands VALUES (?, ?)", [(key, self._number) for key in keys]
        )
        return None
