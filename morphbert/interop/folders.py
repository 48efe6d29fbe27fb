"""Folders that are filled from others."""

from __future__ import annotations

import os


def move_into(source: str, target: str) -> None:
    """Moves the files of a folder, with those of its folders, into another; equal names are replaced."""
    for entry in sorted(os.listdir(source)):
        old, new = os.path.join(source, entry), os.path.join(target, entry)
        if os.path.isdir(old):
            os.makedirs(new, exist_ok=True)
            move_into(old, new)
        else:
            os.replace(old, new)
