"""Reads texts and pairs of texts from lines, also google-research/bert's `FIRST ||| SECOND`, and from tables."""

from __future__ import annotations

import re
from collections.abc import Iterator

from morphbert.errors import MorphbertError
from morphbert.files import expand
from morphbert.formats.lines import read_lines
from morphbert.formats.tables import Row, is_table, rows_of, value_at

_PAIR = re.compile(r"^(.*) \|\|\| (.*)$")


def read_texts(
    patterns: str, text_field: str = "text", text_pair_field: str | None = None, encoding: str = "utf-8"
) -> Iterator[tuple[str, str | None]]:
    """Yields texts or pairs of texts, in order.

    Args:
      patterns: paths or globs, with commas. `.jsonl`, `.json`, `.parquet`, `.csv` and `.tsv` are tables; other files
        have one text per line, or a pair as `FIRST ||| SECOND`, as in google-research/bert.
      text_field: a table's column with the text.
      text_pair_field: the column with the second text, if any.
      encoding: the encoding of the files.

    Raises:
      MorphbertError: a file cannot be read, or a row lacks the column or has no text in it.
    """
    for path in expand(patterns):
        if not is_table(path):
            for line in read_lines(path, encoding=encoding):
                line = line.strip()
                pair = _PAIR.match(line)
                yield (pair.group(1), pair.group(2)) if pair else (line, None)
            continue
        for row in rows_of(path, encoding):
            first = _field(row, text_field, "--text_field")
            second = None if text_pair_field is None else _field(row, text_pair_field, "--text_pair_field")
            yield first, second


def _field(row: Row, name: str, flag: str) -> str:
    value = value_at(row, name, flag)
    if not isinstance(value, str):
        raise MorphbertError(
            f"{row.where}: there is no text in {name!r} (found: {', '.join(map(repr, row))}). Name the column with "
            f"{flag}."
        )
    return value
