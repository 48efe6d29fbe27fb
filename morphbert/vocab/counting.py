"""Counts the words of text files on all cores and in bounded memory.

Words have WordPiece's form: `사과나무` at the start of an eojeol, `##를` as a continuation. `#` is punctuation and
always a separate word, so the two cannot be confused.

Each block of lines is counted into a separate sorted file. The files are merged, and the rarest words beyond a limit
are left out. Memory depends on the block size and that limit, not on the corpus, and the result does not depend on the
number of workers.
"""

from __future__ import annotations

import contextlib
import heapq
import io
import itertools
import os
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from tqdm import tqdm

from morphbert.errors import MorphbertError, naming
from morphbert.formats.lines import is_blank, read_lines
from morphbert.parallel import run_tasks
from morphbert.text.wordpiece import CONTINUATION, is_continuation, piece_text
from morphbert.text.words import WordSplitter

# At most about 100 MB in a worker, with some hundred thousand distinct words.
_BLOCK_CHARACTERS = 1_500_000
# Longer words are counted in parts of this size: pieces are far shorter, and some "words" are whole files.
_LONGEST_WORD = 64
_OPEN_RUNS = 128
# The number of words kept for learning. Beyond it the rarest are dropped, all words of a count together. 27 million
# characters have 147,000 morphemes, or 2 million eojeols without an analyser, nearly all of which occur once.
_MOST_WORDS = 500_000

_HELD_OUT_LINES = 5_000


class CountedWords(Collection[tuple[str, int]]):
    """Pairs (word, count), sorted by word, kept as the bytes of a run: a tenth of the size of a list."""

    def __init__(self, run: bytes) -> None:
        self._run = run
        self._size = run.count(b"\n")

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[tuple[str, int]]:
        for line in io.BytesIO(self._run):
            word, _, count = line.decode("utf-8").rpartition("\t")
            yield word, int(count)

    def __contains__(self, item: object) -> bool:
        return any(known == item for known in self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CountedWords) and self._run == other._run

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class WordCounts:
    """The statistics of a corpus for a learner.

    Attributes:
      words: the words with counts, without the rarest if there are too many.
      characters: the count of each character at the beginning of a word (`가`) and later in one (`##가`), over all
        words, including those missing from `words`. Held-out lines are not counted.
      held_out: at most 5,000 uncounted lines for measuring.
      lines, characters_read: the totals of the input without empty lines.
      dropped_words: the number of distinct words missing from `words`.
    """

    words: CountedWords
    characters: Counter[str]
    held_out: list[str] = field(repr=False)
    lines: int
    characters_read: int
    dropped_words: int


def count_words(
    paths: Iterable[str],
    splitter: WordSplitter,
    num_workers: int,
    held_out_share: float,
    encoding: str = "utf-8",
) -> WordCounts:
    """Counts the words of text files, read as by `read_lines`; empty lines are ignored.

    Args:
      num_workers: the number of processes; the result does not depend on it.
      held_out_share: the approximate share of lines, chosen by a hash of the line, that is held out for measuring (at
        most 5,000 lines).
      encoding: the encoding of the files.

    Raises:
      MorphbertError: a file cannot be read or decoded, or no file contains text.
    """
    reader = _Reader(paths, held_out_share, encoding)
    with tempfile.TemporaryDirectory(prefix="morphbert-") as folder:
        runs = list(_count_blocks(reader, splitter, folder, num_workers))
        if not reader.lines:
            raise MorphbertError("the input files contain no text: every line is empty.")
        while len(runs) > _OPEN_RUNS:
            groups = [runs[first : first + _OPEN_RUNS] for first in range(0, len(runs), _OPEN_RUNS)]
            runs = list(run_tasks(_merge_group, folder, groups, num_workers))
        merging = tqdm(
            _merge(runs), "Merging counts", unit=" words", unit_scale=True, disable=None, file=sys.stderr
        )
        merged = _write_run(merging, folder)
        characters = _characters_of(_read_run(merged))
        sizes = Counter(count for _, count in _read_run(merged))
        least = _least_count(sizes, _MOST_WORDS)
        words = CountedWords(b"".join(_lines_with(_read_run(merged), least)))
    return WordCounts(
        words=words,
        characters=characters,
        held_out=reader.held_out,
        lines=reader.lines,
        characters_read=reader.characters,
        dropped_words=sizes.total() - len(words),
    )


def word_characters(word: str) -> Iterator[str]:
    """`"사과"` → `"사"`, `"##과"`; `"##를"` → `"##를"`."""
    continues = is_continuation(word)
    for index, character in enumerate(piece_text(word)):
        yield CONTINUATION + character if continues or index else character


def _least_count(sizes: Counter[int], most: int) -> int:
    """Returns the smallest count that at most `most` words reach."""
    total = 0
    for count in sorted(sizes, reverse=True):
        total += sizes[count]
        if total > most:
            return count + 1
    return 1


class _Reader:
    """Reads the lines of the files in blocks, holds out some of them, and counts lines and characters."""

    def __init__(self, paths: Iterable[str], held_out_share: float, encoding: str):
        self._paths = list(paths)
        self._encoding = encoding
        self._threshold = int(held_out_share * (1 << 32))
        self.held_out: list[str] = []
        self._held_out_set: set[str] = set()
        self.lines = 0
        self.characters = 0

    def blocks(self) -> Iterator[list[str]]:
        block: list[str] = []
        size = 0
        for line in self._lines():
            block.append(line)
            size += len(line)
            if size >= _BLOCK_CHARACTERS:
                yield block
                block, size = [], 0
        if block:
            yield block

    def _lines(self) -> Iterator[str]:
        for path in self._paths:
            for line in read_lines(path, encoding=self._encoding):
                if is_blank(line):
                    continue
                self.lines += 1
                self.characters += len(line)
                if not self._hold_out(line):
                    yield line

    def _hold_out(self, line: str) -> bool:
        # By its content, so repetitions of a held-out line are not counted.
        if zlib.crc32(line.encode("utf-8")) >= self._threshold:
            return False
        if line not in self._held_out_set:
            if len(self.held_out) >= _HELD_OUT_LINES:
                return False
            self.held_out.append(line)
            self._held_out_set.add(line)
        return True


def _count_blocks(reader: _Reader, splitter: WordSplitter, folder: str, num_workers: int) -> Iterator[str]:
    """Yields one sorted run of counts per block."""
    progress = tqdm(desc="Counting words", unit=" characters", unit_scale=True, disable=None, file=sys.stderr)
    with progress:
        for run in run_tasks(_count_block, (splitter, folder), reader.blocks(), num_workers):
            progress.update(reader.characters - progress.n)
            yield run


def _count_block(shared: tuple[WordSplitter, str], block: list[str]) -> str:
    """Counts one block of lines; returns the path of a file with the counts, sorted by word."""
    splitter, folder = shared
    return _write_run(sorted(_words_of(block, splitter).items()), folder)


def _words_of(lines: Iterable[str], splitter: WordSplitter) -> Counter[str]:
    eojeols: Counter[str] = Counter()
    for line in lines:
        eojeols.update(splitter.marked_eojeols(splitter.normalizer(line)))
    words: Counter[str] = Counter()
    for eojeol, count in eojeols.items():
        for word in splitter.words(eojeol):
            prefix = CONTINUATION if word.continues else ""
            for start in range(0, len(word.text), _LONGEST_WORD):
                words[prefix + word.text[start : start + _LONGEST_WORD]] += count
                prefix = CONTINUATION
    return words


def count_characters(lines: Iterable[str], splitter: WordSplitter) -> Counter[str]:
    """Counts the characters of lines, plain at the beginning of a word and with `##` elsewhere."""
    return _characters_of(_words_of(lines, splitter).items())


def _characters_of(words: Iterable[tuple[str, int]]) -> Counter[str]:
    characters: Counter[str] = Counter()
    for word, count in words:
        for character in word_characters(word):
            characters[character] += count
    return characters


def _write_run(counts: Iterable[tuple[str, int]], folder: str) -> str:
    handle, path = tempfile.mkstemp(dir=folder)
    with naming(path), os.fdopen(handle, "wb") as stream:
        stream.writelines(_lines_with(counts))
    return path


def _lines_with(counts: Iterable[tuple[str, int]], least: int = 1) -> Iterator[bytes]:
    """Yields the lines of a run without rarer words."""
    return (f"{word}\t{count}\n".encode() for word, count in counts if count >= least)


def _read_run(path: str) -> Iterator[tuple[str, int]]:
    with open(path, encoding="utf-8", newline="\n") as stream:
        for line in stream:
            word, _, count = line.rpartition("\t")
            yield word, int(count)


def _merge_group(folder: str, runs: list[str]) -> str:
    """Merges sorted runs; returns the path of the merged run."""
    return _write_run(_merge(runs), folder)


def _merge(runs: list[str]) -> Iterator[tuple[str, int]]:
    """Merges sorted runs into one, adds the counts of equal words, and deletes the runs."""
    for word, group in itertools.groupby(heapq.merge(*map(_read_run, runs)), key=lambda item: item[0]):
        yield word, sum(count for _, count in group)
    for run in runs:
        with contextlib.suppress(OSError):
            os.unlink(run)
