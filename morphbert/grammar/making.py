"""Any text → minimal pairs: sentences are analysed, the rules find places, a sample of these is written.

Which pairs are taken depends on a digest of each, and on nothing else: not on the order of the text, nor on the number
of processes.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from tqdm import tqdm

from morphbert.atomic_files import atomic_write
from morphbert.corpus.sentences import split_sentences
from morphbert.errors import MorphbertError, UsageError
from morphbert.files import expand, is_remote
from morphbert.formats.document import RawDocument, where
from morphbert.formats.raw_documents import (
    InputFormat,
    blocks_of,
    json_paragraphs,
    read_documents,
)
from morphbert.grammar.change import Change
from morphbert.grammar.pairs import MinimalPair
from morphbert.grammar.phenomena import PHENOMENA
from morphbert.grammar.sentence import Sentence, analyze
from morphbert.options import NonNegativeInt, PathStr, PositiveInt, configuration, option, optional, options
from morphbert.parallel import default_workers, run_tasks
from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.normalize import Normalizer

_BLOCK_CHARACTERS = 200_000
_FEWEST_WORDS = 3
_FEWEST_CHARACTERS = 8
# Of the characters of a sentence, spaces apart.
_HANGUL_SHARE = 0.8
_HANGUL = re.compile("[가-힣]")
# Letters for laughter and tears, and a syllable that is drawn out: signs of text that is not edited.
_UNEDITED = re.compile(r"[ㄱ-ㅎㅏ-ㅣ]|([가-힣])\1\1|[~^;]")


@configuration
class GrammarPairsConfig:
    """The configuration of minimal pairs made from text. `evaluate_grammar.py --help` explains each field."""

    input_file: str = option(
        group="Making pairs",
        help="Text to make pairs from, which no model that they test was trained on: a path, a folder, a glob in "
        "quotes, several with commas, or @LIST. With this flag pairs are written to --grammar_file; without it they "
        "are read from there.",
    )
    grammar_file: PathStr = option(
        help="The minimal pairs, JSON Lines: a right sentence, a wrong one, the phenomenon and the characters that "
        "differ, a pair a line."
    )
    input_format: InputFormat = options(default=InputFormat())
    max_pairs: PositiveInt = option(default=1000, help="Pairs of each phenomenon at most.")
    max_pairs_per_word: PositiveInt = option(
        default=10, help="Pairs of a phenomenon in which the same words are changed in the same way at most."
    )
    max_characters: int = option(
        default=100, at_least=10, at_most=1000, help="Longer sentences are passed over."
    )
    seed: NonNegativeInt = option(default=12345, help="Of the choice where there are more.")
    num_workers: PositiveInt | None = optional(
        help="Processes. Default: all cores. The pairs do not depend on it."
    )


class MadePairs(NamedTuple):
    """The numbers of sentences that were read, and of pairs that were written, by phenomenon."""

    sentences: int
    counts: dict[str, int]

    @property
    def total(self) -> int:
        """All pairs."""
        return sum(self.counts.values())


class _Found(NamedTuple):
    """A pair with its digest and the words that it changes, which decide whether it is kept."""

    digest: bytes
    words: tuple[str, str]
    pair: MinimalPair


def make_grammar_pairs(config: GrammarPairsConfig) -> MadePairs:
    """Writes minimal pairs from a text; the same text and settings give the same bytes.

    Raises:
      MorphbertError: the text cannot be read, or gives no pair; an earlier file is left as it was.
    """
    paths = expand(config.input_file)
    if not is_remote(config.grammar_file) and any(
        os.path.realpath(path) == os.path.realpath(config.grammar_file) for path in paths
    ):
        raise UsageError(f"--grammar_file={config.grammar_file} is --input_file, too: give another name.")
    chosen = {name: _Sample(config.max_pairs, config.max_pairs_per_word) for name in PHENOMENA}
    sentences = 0
    progress = tqdm(desc="Making pairs", unit="B", unit_scale=True, disable=None)
    with progress, atomic_write(config.grammar_file) as stream:
        raw = (doc for path in paths for doc in read_documents(path, config.input_format, progress.update))
        workers = config.num_workers or default_workers()
        for count, found in run_tasks(_pairs_of_block, config, blocks_of(raw, _BLOCK_CHARACTERS), workers):
            sentences += count
            for one in found:
                chosen[one.pair.phenomenon].add(one)
        pairs = {name: sample.pairs() for name, sample in chosen.items()}
        if not any(pairs.values()):
            raise MorphbertError(
                f"--input_file={config.input_file}: none of {sentences:,} sentences gives a pair: Korean sentences of "
                f"{_FEWEST_WORDS} words or more and {config.max_characters} characters at most are taken."
            )
        for of_phenomenon in pairs.values():
            stream.writelines(f"{pair.to_json()}\n".encode() for pair in of_phenomenon)
    return MadePairs(sentences, {name: len(of_phenomenon) for name, of_phenomenon in pairs.items()})


class _Sample:
    """The pairs with the smallest digests, so many of each change of words, and so many in all."""

    def __init__(self, most: int, most_of_words: int):
        self._most, self._most_of_words = most, most_of_words
        self._by_words: dict[tuple[str, str], dict[bytes, _Found]] = {}
        self._size = 0

    def add(self, found: _Found) -> None:
        """Keeps a pair for now, unless it is there already."""
        same = self._by_words.setdefault(found.words, {})
        if found.digest in same:
            return
        same[found.digest] = found
        if len(same) > self._most_of_words:
            del same[max(same)]
        else:
            self._size += 1
        if (
            self._size > 8 * self._most + 1000
        ):  # those that are left out cannot come back: the bound only falls
            self._keep(self._smallest())

    def _smallest(self) -> list[_Found]:
        everything = (found for same in self._by_words.values() for found in same.values())
        return heapq.nsmallest(self._most, everything, key=lambda found: found.digest)

    def _keep(self, kept: list[_Found]) -> None:
        self._by_words, self._size = {}, len(kept)
        for found in kept:
            self._by_words.setdefault(found.words, {})[found.digest] = found

    def pairs(self) -> list[MinimalPair]:
        """Returns the sample, in the order of the digests."""
        return [found.pair for found in self._smallest()]


@lru_cache(maxsize=1)
def _tools() -> tuple[Callable[[str], str], MecabAnalyzer]:
    return Normalizer("nfc"), MecabAnalyzer()


def _pairs_of_block(config: GrammarPairsConfig, block: list[RawDocument]) -> tuple[int, list[_Found]]:
    normalize, analyzer = _tools()
    count = 0
    found: list[_Found] = []
    for document in block:
        for line, paragraph in _paragraphs(document, config):
            for text in split_sentences(normalize(paragraph)):
                count += 1
                if _is_usable(text, config.max_characters):
                    found += _pairs_of(text, f"{document.path}:{line}", config.seed, analyzer)
    return count, found


def _paragraphs(document: RawDocument, config: GrammarPairsConfig) -> Iterator[tuple[int, str]]:
    """Yields the paragraphs of a document with their line in the file, or that of its beginning."""
    if document.problem:
        raise MorphbertError(f"{where(document)}: {document.problem}")
    if document.follows_file:
        yield from enumerate(document.lines, start=document.line)
        return
    try:
        paragraphs = document.lines
        if document.is_json:
            paragraphs = json_paragraphs(document, config.input_format.fields)
    except MorphbertError as error:
        raise MorphbertError(f"{where(document)}: {error}") from error
    for paragraph in paragraphs:
        yield document.line, paragraph


def _is_usable(text: str, most: int) -> bool:
    """Returns whether a sentence is of ordinary length, of words in Hangul, and written as in a book."""
    if not _FEWEST_CHARACTERS <= len(text) <= most or text.count(" ") + 1 < _FEWEST_WORDS:
        return False
    visible = len(text) - text.count(" ")
    return len(_HANGUL.findall(text)) >= _HANGUL_SHARE * visible and not _UNEDITED.search(text)


def _pairs_of(text: str, source: str, seed: int, analyzer: MecabAnalyzer) -> list[_Found]:
    """Returns one pair at most of each phenomenon."""
    sentence = analyze(text, analyzer)
    found = []
    for name, phenomenon in PHENOMENA.items():
        places = [
            _found(sentence, change, name, source, seed)
            for change in dict.fromkeys(phenomenon.rule(sentence))
            if change.noun is not None or not phenomenon.masks_noun
        ]
        for one in sorted(places, key=lambda place: place[0].digest):
            if _stays_a_particle(one[0].pair, one[1], analyzer):
                found.append(one[0])
                break
    return found


def _found(sentence: Sentence, change: Change, name: str, source: str, seed: int) -> tuple[_Found, Change]:
    good, start, end = sentence.text, change.start, change.end
    bad = good[:start] + change.new + good[end:]
    pair = MinimalPair(
        phenomenon=name,
        good=good,
        bad=bad,
        good_span=(start, end),
        bad_span=(start, start + len(change.new)),
        source=source,
        noun_span=change.noun if PHENOMENA[name].masks_noun else None,
    )
    digest = hashlib.blake2b("\x1f".join((str(seed), name, good, bad)).encode(), digest_size=16).digest()
    first, last = sentence.word_of(start, end)
    if (first, last) == (start, end):  # 어제, 안: it is the words after them that differ
        _, last = sentence.word_of(start, min(last + 2, len(good)))
    words = (good[first:last], bad[first : last + len(bad) - len(good)])
    return _Found(digest, words, pair), change


def _stays_a_particle(pair: MinimalPair, change: Change, analyzer: MecabAnalyzer) -> bool:
    """Returns whether Mecab finds the particle in the wrong sentence, too, where the rule asks for it."""
    if not change.particle:
        return True
    start = change.start
    return any(
        morpheme.start == start and morpheme.end == start + change.particle and morpheme.tag[0] == "J"
        for morpheme in analyze(pair.bad, analyzer).morphemes
    )
