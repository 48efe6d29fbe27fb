"""Labelled data in tables: TSV, CSV, JSON Lines and Parquet, by the names of columns."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.files import expand, open_for_reading, read_lines

_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


def read_table(patterns: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Reads rows.

    Args:
      patterns: paths or globs, with commas between them. What a file is, its name says: `.csv` (quotes as in
        spreadsheets), `.json` or `.jsonl` (an object a line), `.parquet`; everything else is tab-separated without
        quoting, as NSMC and KorSTS are. Each may be compressed, Parquet apart.
      columns: the columns to take.

    Returns:
      A dictionary of these columns for each row, in order.

    Raises:
      MorphbertError: a file cannot be read, a column is not there, or a row has too few fields.
    """
    rows = []
    for path in expand(patterns):
        for number, row in enumerate(rows_of(path), start=1):
            missing = [name for name in columns if row.get(name) is None]
            if missing:
                raise MorphbertError(
                    f"{path}: row {number} has no column {missing[0]!r}; there are "
                    f"{', '.join(repr(name) for name in row if row[name] is not None and name)}. Name the columns with "
                    "--text_column and --label_column."
                )
            rows.append({name: row[name] for name in columns})
    if not rows:
        raise MorphbertError(f"there is no row in {patterns}.")
    return rows


def is_table(path: str) -> bool:
    """Whether a file is a table by its name, as opposed to text a line."""
    return _plain_name(path).endswith((".csv", ".tsv", ".json", ".jsonl", ".parquet"))


def _plain_name(path: str) -> str:
    name = path.lower()
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    return name


def rows_of(path: str) -> Iterator[Mapping[str, Any]]:
    """The rows of one file, as they are read; see `read_table`."""
    name = _plain_name(path)
    if name.endswith(".parquet"):
        yield from _parquet(path)
    elif name.endswith((".json", ".jsonl")):
        yield from (row for _, row in json_lines(path))
    elif name.endswith(".csv"):
        with open_for_reading(path) as stream:
            yield from csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
    else:
        lines = (line.rstrip("\r\n") for line in read_lines(path))
        names = next(lines, "").removeprefix("\ufeff").split("\t")
        for line in lines:
            if line:
                yield dict(zip(names, line.split("\t"), strict=False))


def json_lines(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with one on each line, and the numbers of their lines; empty lines are passed over.

    Raises:
      MorphbertError: a line is not JSON, or no object.
    """
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise MorphbertError(
                f"{path}: line {number} is not JSON ({error}): one object a line is read."
            ) from error
        if not isinstance(row, dict):
            raise MorphbertError(f"{path}: line {number} is {type(row).__name__}, not an object.")
        yield number, row


def _parquet(path: str) -> Iterator[Mapping[str, Any]]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MorphbertError(f"{path}: Parquet needs pyarrow: pip install 'morphbert[finetune]'") from error
    with open_for_reading(path) as stream:
        try:
            table = pyarrow.parquet.ParquetFile(stream)
            for batch in table.iter_batches():
                yield from batch.to_pylist()
        except (pyarrow.ArrowException, OSError) as error:
            raise MorphbertError(f"{path} is not a readable Parquet file: {error}") from error
