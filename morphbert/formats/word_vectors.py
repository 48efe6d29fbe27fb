"""Reads word2vec's text format, whose first line is "words size"; GloVe's lacks it."""

from __future__ import annotations

from collections.abc import Iterator

from morphbert.formats.lines import read_lines


def word_vectors(path: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yields the number of each line with its word and the word's numbers, still as text: most are not wanted.

    `"나무 0.5 1"` in line 2 → `(2, "나무", ["0.5", "1"])`
    """
    for line_number, line in enumerate(read_lines(path), start=1):
        # Words may contain other spaces, such as U+00A0; only U+0020 divides.
        parts = line.strip("\r\n ").split(" ")
        if line_number == 1 and len(parts) == 2:
            continue
        yield line_number, parts[0], parts[1:]
