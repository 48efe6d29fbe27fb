"""Documents that were there before, word for word or nearly so, found in bounded memory.

Near duplicates by MinHash (Broder, "On the Resemblance and Containment of Documents", 1997) with datasketch: a document
is the set of its runs of five characters without white space, and 128 minima of hash functions over that set, its
signature, estimate how much two sets have in common (Jaccard: shared / all). Documents whose signatures agree in one
whole band are compared. What has to be remembered lies in a temporary SQLite database on the disk, which vanishes with
the process whatever becomes of it; only its cache is in memory.
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
# Shingles that are hashed at a time: 128 minima of each are 4 MB.
_BATCH = 8192
# Where a band is to agree is a matter of taste: rather compare too often (which costs time alone) than miss one.
_MISSES_WEIGH = 0.95
# Two bands of 64 values: the coarsest that there is.
_HIGHEST = 0.99
_CACHE_KIB = 200_000


class Duplicate(NamedTuple):
    """An earlier document, as it was called, whether it is equal, and how much the two have in common (1: all)."""

    of: str
    equal: bool
    similarity: float = 1.0


def require_minhash() -> None:
    """Raises MorphbertError with the remedy where datasketch is not installed."""
    try:
        import datasketch  # noqa: F401
    except ImportError as error:
        raise MorphbertError("near duplicates need a package: pip install datasketch") from error


@lru_cache(maxsize=1)
def _empty_minhash() -> Any:
    from datasketch import MinHash

    # The scheme and the seed are part of what decides which documents go: both are fixed.
    return MinHash(_PERMUTATIONS, seed=1, hashfunc=int, scheme="affine32")


def signature(text: str) -> bytes:
    """The MinHash signature of a document: 128 little-endian uint32; white space does not count."""
    made = _empty_minhash().copy()
    hashes = _shingle_hashes("".join(text.split()))
    for start in range(0, len(hashes), _BATCH):
        made.update_batch(hashes[start : start + _BATCH].tolist())
    return bytes(made.hashvalues.astype("<u4").tobytes())


def _shingle_hashes(text: str) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """A 32-bit hash of each different run of five characters (of all of it, where it is shorter)."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    length = max(min(_SHINGLE, len(codes)), 1)
    hashes = np.zeros(max(len(codes) - length + 1, 0), dtype=np.uint64)
    for offset in range(length):  # FNV-1a's step, a code point at a time (arithmetic wraps around at 64 bits)
        hashes = (hashes ^ codes[offset : offset + len(hashes)]) * np.uint64(0x100000001B3)
    return np.unique((hashes ^ (hashes >> np.uint64(32))).astype(np.uint32))


class DuplicateStore:
    """What was seen so far. A context manager.

    Near duplicates are compared with what was added, and not with other duplicates, so that a chain of small changes
    does not take away documents that have little in common.

    Args:
      near: documents that have at least this much in common are near duplicates; 0 looks for equal ones alone.
      cache_kib: memory for the database's pages.
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
        """The earlier document that this one repeats; or None, and this one is an earlier one from now on.

        Args:
          digest: of the text, for equal ones. signature: `signature(text)`, empty where `near` is 0.
          name: what the document is called if a later one repeats it.

        Raises:
          MorphbertError: the disk with the temporary files is full.
        """
        try:
            return self._find_or_add(digest, signature, name)
        except sqlite3.Error as error:
            raise MorphbertError(
                f"what is remembered of documents cannot be written to the folder for temporary files: {error}. "
                "The environment variable SQLITE_TMPDIR names another one."
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
        # (two bands of one document may well have the same key, by chance)
        self._database.executemany(
            "INSERT OR IGNORE INTO bands VALUES (?, ?)", [(key, self._number) for key in keys]
        )
        return None
