"""Recognises the pointer files that stand in place of large files where Git LFS has not loaded them."""

from __future__ import annotations

from morphbert.errors import MorphbertError

_POINTER = b"version https://git-lfs.github.com/spec/"
REASON = "a Git LFS pointer, some lines that stand for the file: load the file itself with git lfs pull"


def is_pointer(content: bytes) -> bool:
    """Returns whether the content of a file, or its first 64 bytes, is that of a pointer."""
    return content.startswith(_POINTER)


def refuse_pointer(content: bytes, path: str) -> None:
    """Refuses the content of a file, or its first 64 bytes, if it is that of a pointer.

    Raises:
      MorphbertError: names the file and says how to load it.
    """
    if is_pointer(content):
        raise MorphbertError(f"{path} is {REASON}.")
