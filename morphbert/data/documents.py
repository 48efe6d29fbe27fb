"""Documents: their digest, and which of them are held out for evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class DocumentDigest:
    """64 bits of a document's text, line by line: what decides whether it is held out.

    Lines come stripped, so that spacing at their ends and the kind of line ending change nothing.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=8)

    def add(self, line: str | bytes) -> None:
        self._hash.update(line if isinstance(line, bytes) else line.encode("utf-8", "surrogatepass"))
        self._hash.update(b"\n")

    def value(self) -> int:
        return int.from_bytes(self._hash.digest(), "little")


def held_out(digests: Sequence[int] | npt.NDArray[np.uint64], fraction: float) -> npt.NDArray[np.bool_]:
    """Which documents are held out: those whose digest, read as a number from 0 to 1, is below `fraction`.

    A document's fate depends on its text alone, so it stays on its side when the corpus grows. The
    exception are tiny corpora: with 0 < fraction < 1, two documents or more are divided so that both
    sides have one, and a document alone is not held out. Equal documents are on the same side but for that.

    `held_out([0, 2**63, 2**64 - 1], 0.6)` → `[True, True, False]`
    """
    digests = np.asarray(digests, dtype=np.uint64)
    if fraction <= 0 or (len(digests) <= 1 and fraction < 1):
        return np.zeros(len(digests), dtype=np.bool_)
    if fraction >= 1:
        return np.ones(len(digests), dtype=np.bool_)
    out: npt.NDArray[np.bool_] = digests < np.uint64(int(fraction * 2**64))
    if not out.any():
        out[int(np.argmin(digests))] = True
    elif out.all():
        out[int(np.argmax(digests))] = False
    return out
