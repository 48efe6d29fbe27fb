"""The digests of documents, and the choice of held-out documents."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class DocumentDigest:
    """A 64-bit digest of a document's text, line by line, which decides whether it is held out.

    Lines are stripped, so spacing at their ends and the kind of line ending have no influence.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=8)

    def add(self, line: str | bytes) -> None:
        self._hash.update(line if isinstance(line, bytes) else line.encode("utf-8", "surrogatepass"))
        self._hash.update(b"\n")

    def value(self) -> int:
        return int.from_bytes(self._hash.digest(), "little")


def held_out(digests: Sequence[int] | npt.NDArray[np.uint64], fraction: float) -> npt.NDArray[np.bool_]:
    """Returns whether each document is held out: its digest, as a number from 0 to 1, is below `fraction`.

    The side of a document depends only on its text, so it does not change when the corpus grows. Tiny corpora are an
    exception: with 0 < fraction < 1, two or more documents are divided so that both sides have one, and a single
    document is not held out. Apart from this exception, equal documents are on the same side.

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
