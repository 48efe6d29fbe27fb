"""Text → pieces, ids and the characters they stand for, by WordPiece."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise, repeat
from operator import add, sub
from typing import Any, TypeVar

from morphbert.errors import MorphbertError
from morphbert.text.analyzers import MARK
from morphbert.text.characters import MAY_STAND_ALONE, stands_alone
from morphbert.text.jamo import compose, syllable_numbers
from morphbert.text.vocabulary import CLS, PAD, SEP, UNK, VOCABULARY_NAME, Vocabulary
from morphbert.text.wordpiece import CONTINUATION, LongestMatch
from morphbert.text.words import Word, WordSplitter

Value = TypeVar("Value")

# Distinct eojeols whose tokens are remembered (70 MB), and distinct morphemes, those that begin a word and those that
# continue one (17 MB each). The petitions, 4 million characters, have 252,000 eojeols, most of which occur once; half
# of them has 33,000 morphemes.
_REMEMBERED = 400_000
_PARTS = 50_000
_LONGEST_REMEMBERED = 64


_AROUND_MARKS = re.compile(f"({MAY_STAND_ALONE.pattern})")
_LEFT_OUT = frozenset((PAD, CLS, SEP))
_CLOSING = frozenset(".,!?…:;)]}’”」』》〉】、。")
_OPENING = frozenset("([{‘“「『《〈【")


@dataclass(frozen=True)
class Encoding:
    """The pieces of one text, without special tokens; the lists have the same length.

    `offsets[i]` is the half-open range of characters of the ORIGINAL text that piece i stands for.
    `word_ids[i]` is the number of its eojeol, which is what stands between spaces: a full stop has the number
    of the word it follows. `morpheme_ids[i]` counts the analyser's morphemes in the same way, through the text.
    """

    ids: list[int]
    tokens: list[str]
    offsets: list[tuple[int, int]]
    word_ids: list[int]
    morpheme_ids: list[int]


# What a morpheme becomes (or an eojeol, where there is no analyser): tokens, their starts and ends from its first
# character on, its length, and whether its last character stands alone, so that what follows begins a word.
# Plain tuples: the garbage collector stops looking at those, and there are many.
_Part = tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...], int, bool]


class Tokenizer:
    """A word splitter and a vocabulary. Not for use by several threads at a time; may be forked and pickled.

    Attributes:
      unknown: the token for what the vocabulary cannot write.
    """

    unknown = UNK

    def __init__(
        self, vocabulary: Vocabulary, splitter: WordSplitter, longest_word: int | None = None
    ) -> None:
        """
        Args:
          longest_word: words of more characters become [UNK], as in google-research/bert (200).
        """
        self.vocabulary = vocabulary
        self.splitter = splitter
        self.vocab: Mapping[str, int] = vocabulary.ids
        self.inv_vocab: Mapping[int, str] = {number: token for token, number in vocabulary.ids.items()}
        self._longest_word = longest_word
        self._matcher = LongestMatch(vocabulary.ids)
        # Pieces are what is written, one after the other; and nothing but spaces and marks divides words.
        self._as_written = splitter.marks_stand_alone and not splitter.decomposes
        self._simple = self._as_written and splitter.analyzer is None
        self._lengths = {token: len(token.removeprefix(CONTINUATION)) or 2 for token in vocabulary.ids}
        self._tokens: dict[str, tuple[str, ...]] = {}  # of eojeols, for `tokenize`
        # Of morphemes: when they continue a word, and when they begin one.
        self._parts: tuple[dict[str, _Part], dict[str, _Part]] = ({}, {})

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tokens": {}, "_parts": ({}, {})}

    def tokenize(self, text: str) -> list[str]:
        """Text → pieces: `"사과나무를 심었습니다."` → `["사과", "##나무", "##를", "심", "##었", "##습니다", "."]`."""
        eojeols = self.splitter.marked_eojeols(self.splitter.normalizer(text))
        if self._simple:
            return list(chain.from_iterable(self._tokens_of(eojeols)))
        return list(chain.from_iterable([part[0] for part in self._parts_of(eojeols)[0]]))

    def encode(self, text: str) -> Encoding:
        """Text → pieces with ids, original character ranges and eojeol numbers; no special tokens."""
        normalized = self.splitter.normalizer.with_map(text)
        eojeols = self.splitter.marked_eojeols(normalized.text)
        if not eojeols:
            return Encoding([], [], [], [], [])
        encoding = (self._encode_simple(eojeols) if self._simple else None) or self._encode(eojeols)
        if normalized.starts is not None:
            encoding.offsets[:] = [normalized.span(start, end) for start, end in encoding.offsets]
        return encoding

    def _encode_simple(self, eojeols: list[str]) -> Encoding | None:
        """Eojeols → their encoding, without an analyser; None where there is an [UNK]."""
        cut = self._tokens_of(eojeols)
        tokens = list(chain.from_iterable(cut))
        if UNK in tokens:
            return None
        word_ids = list(chain.from_iterable(map(repeat, range(len(cut)), map(len, cut))))
        offsets = self._offsets(tokens, word_ids)
        return Encoding(self._ids_of(tokens), tokens, offsets, word_ids, word_ids.copy())

    def _offsets(self, tokens: list[str], word_ids: list[int]) -> list[tuple[int, int]]:
        """Where pieces stand that are what is written: before eojeol n, all pieces before it and n spaces."""
        lengths = list(map(self._lengths.__getitem__, tokens))
        ends = list(map(add, accumulate(lengths), word_ids))
        return list(zip(map(sub, ends, lengths), ends, strict=True))

    def _encode(self, eojeols: list[str]) -> Encoding:
        # All loops but the first run inside Python itself: over the morphemes, then over the pieces.
        parts, counts = self._parts_of(eojeols)
        of_parts = [part[0] for part in parts]
        tokens = list(chain.from_iterable(of_parts))
        sizes = list(map(len, of_parts))
        words = list(chain.from_iterable(map(repeat, range(len(counts)), counts)))
        word_ids = list(chain.from_iterable(map(repeat, words, sizes)))
        morpheme_ids = list(chain.from_iterable(map(repeat, range(len(parts)), sizes)))
        if self._as_written and UNK not in tokens:
            offsets = self._offsets(tokens, word_ids)
        else:
            _, starts, ends, lengths, _ = zip(*parts, strict=True)
            # Before a part stand the parts before it, and as many spaces as eojeols.
            places = map(add, accumulate(lengths, initial=0), words)
            before = list(chain.from_iterable(map(repeat, places, sizes)))
            all_starts = map(add, before, chain.from_iterable(starts))
            offsets = list(zip(all_starts, map(add, before, chain.from_iterable(ends)), strict=True))
        return Encoding(self._ids_of(tokens), tokens, offsets, word_ids, morpheme_ids)

    def _ids_of(self, tokens: list[str]) -> list[int]:
        try:
            return list(map(self.vocab.__getitem__, tokens))
        except KeyError:
            raise MorphbertError(
                f"the text has characters that the vocabulary lacks, and it has no {self.unknown} to stand for them. "
                f"Put {self.unknown} on a line of {VOCABULARY_NAME}."
            ) from None

    def _tokens_of(self, eojeols: list[str]) -> list[tuple[str, ...]]:
        known = self._tokens.get
        return [known(eojeol) or self._cut(eojeol) for eojeol in eojeols]

    def _cut(self, eojeol: str) -> tuple[str, ...]:
        """The tokens of an eojeol where there is no analyser."""
        parts = [eojeol] if MAY_STAND_ALONE.search(eojeol) is None else _AROUND_MARKS.split(eojeol)
        tokens: list[str] = []
        if all(map(stands_alone, parts[1::2])):
            for text in filter(None, parts):
                tokens += (self._short(text) and self._matcher.cut(text)) or (UNK,)
        else:
            for part in self._parts_of([eojeol])[0]:
                tokens += part[0]
        return _remember(self._tokens, _REMEMBERED, eojeol, tuple(tokens))

    def _short(self, word: str) -> bool:
        return self._longest_word is None or len(word) <= self._longest_word

    def _parts_of(self, eojeols: Iterable[str]) -> tuple[list[_Part], list[int]]:
        """What the morphemes of eojeols become, and how many each eojeol has.

        It is the morphemes that are remembered: there are far fewer of them than of eojeols, and new eojeols are
        mostly made of known ones.
        """
        parts: list[_Part] = []
        counts = []
        continuing, beginning = self._parts
        every = self.splitter.continuation == "morpheme"
        for marked in eojeols:
            known = beginning
            morphemes = marked.removesuffix(MARK).split(MARK)
            counts.append(len(morphemes))
            for morpheme in morphemes:
                part = known.get(morpheme)
                if part is None:
                    part = self._part_of(morpheme, known is beginning)
                    _remember(known, _PARTS, morpheme, part)
                parts.append(part)
                known = beginning if every or part[4] else continuing
        return parts, counts

    def _part_of(self, morpheme: str, bare: bool) -> _Part:
        words = self.splitter.words(morpheme)
        if not bare and not self._alone(words[0]):
            words[0] = words[0]._replace(continues=True)
        tokens: list[str] = []
        spans: list[tuple[int, int]] = []
        for word in words:
            pieces = self.cut_word(word)
            if pieces is None:
                tokens.append(UNK)
                spans.append((word.start, word.start + self.length(word)))
            else:
                tokens += pieces
                spans += self.spans(word, pieces)
        starts, ends = zip(*spans, strict=True)
        return tuple(tokens), starts, ends, len(morpheme), self._alone(words[-1])

    def _alone(self, word: Word) -> bool:
        return self.splitter.marks_stand_alone and len(word.text) == 1 and stands_alone(word.text)

    def length(self, word: Word) -> int:
        """How many characters of the normalised text a word is."""
        return len(compose(word.text)) if self.splitter.decomposes else len(word.text)

    def cut_word(self, word: Word) -> list[str] | None:
        """The pieces of one word, or None where it becomes `[UNK]`."""
        if not self._short(word.text):
            return None
        return self._matcher.cut(word.text, word.continues)

    def spans(self, word: Word, pieces: list[str]) -> list[tuple[int, int]]:
        """The characters of the eojeol that each piece of a word stands for."""
        # Without its sign; the first piece may have none.
        lengths = [len(piece) - len(CONTINUATION) for piece in pieces]
        if not word.continues:
            lengths[0] = len(pieces[0])
        if not self.splitter.decomposes:
            ends = list(accumulate(lengths, initial=word.start))
            return list(pairwise(ends))
        # A piece that ends within a syllable stands for all of it, and so does the next one.
        numbers = [word.start + number for number in syllable_numbers(word.text)]
        ends = list(accumulate(lengths, initial=0))
        return [(numbers[start], numbers[end - 1] + 1) for start, end in pairwise(ends)]

    def check_for_pretraining(self, path: str) -> None:
        """Refuses a vocabulary that records or training could not use (`Vocabulary.check_for_pretraining`)."""
        self.vocabulary.check_for_pretraining(path)

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """Pieces → ids; a token that the vocabulary lacks raises KeyError, as in google-research/bert."""
        vocab = self.vocab
        return [vocab[token] for token in tokens]

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """Ids → pieces."""
        inverse = self.inv_vocab
        return [inverse[number] for number in ids]

    def decode(self, ids: Iterable[int]) -> str:
        """Ids → text: `##` pieces are joined to what stands before them, special tokens left out.

        `사과 ##나무 ##를 심 ##었 ##습니다 .` → `"사과나무를 심었습니다."`. With continuation eojeol this is the
        normalised text but for the spacing around punctuation and ideographs, which pieces do not tell: closing
        marks are put to the left, opening ones to the right, others and ideographs have spaces on both sides. Jamo
        are composed.
        """
        text = join_pieces(self.convert_ids_to_tokens(ids))
        return compose(text) if self.splitter.decomposes else text

    def describe(self) -> dict[str, Any]:
        """Everything that the output depends on, JSON-able: what the metadata and every manifest record."""
        return {
            **self.splitter.describe(),
            "vocab": {"size": len(self.vocabulary), "sha256": self.vocabulary.sha256},
        }


def _remember(memory: dict[str, Value], most: int, marked: str, value: Value) -> Value:
    """Keeps what an eojeol became; when there are as many as may be, all are forgotten."""
    if len(marked) <= _LONGEST_REMEMBERED:
        if len(memory) >= most:
            memory.clear()
        memory[marked] = value
    return value


def join_pieces(tokens: Iterable[str]) -> str:
    """Pieces → text (see `Tokenizer.decode`): `["나", "##는", "(", "간", "##다", ")", "!"]` → `"나는 (간다)!"`."""
    parts: list[str] = []
    glue = True
    for token in tokens:
        if token in _LEFT_OUT:
            continue
        continues = token.startswith(CONTINUATION) and len(token) > len(CONTINUATION)
        if not glue and not continues and token not in _CLOSING:
            parts.append(" ")
        parts.append(token[len(CONTINUATION) :] if continues else token)
        glue = token in _OPENING
    return "".join(parts)
