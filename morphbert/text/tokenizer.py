"""Encodes text as pieces with ids and character ranges, by WordPiece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, pairwise
from operator import add, itemgetter, sub
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.text.characters import MAY_STAND_ALONE
from morphbert.text.jamo import compose, syllable_numbers
from morphbert.text.normalize import added_char, decomposed_from, has_loose_spaces
from morphbert.text.vocabulary import BERT_SPELLING, CLS, PAD, SEP, UNK, VOCABULARY_NAME, Vocabulary
from morphbert.text.wordpiece import (
    CONTINUATION,
    LONGEST_REMEMBERED,
    EojeolPieces,
    LongestMatch,
    is_continuation,
    piece_text,
)
from morphbert.text.words import BEGINS_WORD, Word, WordSplitter

# The number of distinct morphemes whose pieces are cached (30 MB). The petitions have 33,000 in their first half.
_MORPHEMES = 100_000

_FIELDS = tuple(map(itemgetter, range(6)))
_CACHES = ("_parts", "_eojeols", "_whole_eojeols")
_LEFT_OUT = frozenset((PAD, CLS, SEP))
_CLOSING = frozenset(".,!?…:;)]}’”」』》〉】、。")
_OPENING = frozenset("([{‘“「『《〈【")


@dataclass(frozen=True)
class Encoding:
    """The pieces of one text, without special tokens; the lists have the same length.

    `offsets[i]` is the half-open character range of piece i in the ORIGINAL text. `word_ids[i]` is the number of its
    eojeol, the text between two spaces: a full stop has the number of the word before it. `morpheme_ids[i]` is the
    number of its morpheme in the text.
    """

    ids: list[int]
    tokens: list[str]
    offsets: list[tuple[int, int]]
    word_ids: list[int]
    morpheme_ids: list[int]


# A piece of a morpheme (or, without an analyser, of an eojeol): the token; the id (_NO_ID if the vocabulary has none);
# the number of its characters; the distance of its end from the end before it, a space included; and whether it begins
# an eojeol and a morpheme (1 or 0). These are plain tuples, which the garbage collector stops tracking, because there
# are many.
_Piece = tuple[str, int, int, int, int, int]
_Part = tuple[_Piece, ...]
_NO_ID = -1


class _Parts(dict[str, _Part]):
    """Maps a morpheme with its sign (`WordSplitter.morphemes`) to its pieces; filled on demand.

    With an analyser, the cached units are morphemes: there are far fewer of them than of eojeols, and new eojeols
      mostly consist of known morphemes.
    """

    def __init__(self, make: Callable[[str], _Part]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, morpheme: str) -> _Part:
        part = self._make(morpheme)
        if len(self) >= _MORPHEMES:
            self.clear()
        if len(morpheme) <= LONGEST_REMEMBERED:
            self[morpheme] = part
        return part


class Tokenizer:
    """A word splitter and a vocabulary. Not thread-safe; may be forked and pickled.

    Attributes:
      unknown: the token for words that the vocabulary cannot write.
    """

    unknown = UNK

    def __init__(
        self, vocabulary: Vocabulary, splitter: WordSplitter, longest_word: int | None = None
    ) -> None:
        """
        Args:
          longest_word: longer words become [UNK], as in google-research/bert (200 characters).
        """
        self.vocabulary = vocabulary
        self.splitter = splitter
        self.vocab: Mapping[str, int] = vocabulary.ids
        self.inv_vocab: Mapping[int, str] = {number: token for token, number in vocabulary.ids.items()}
        self._longest_word = longest_word
        added = splitter.normalizer.added
        self._matcher = LongestMatch(
            [token for token in vocabulary.ids if token not in added],
            {added_char(number): token for number, token in enumerate(added)},
        )
        self._lengths = {token: len(piece_text(token)) for token in vocabulary.ids}
        self._lengths |= dict.fromkeys(added, 1)
        self._lengths.pop(UNK, None)

    @cached_property
    def _parts(self) -> _Parts:
        return _Parts(self._part)

    @cached_property
    def _eojeols(self) -> EojeolPieces | None:
        """Returns the cache for the fast path: only spaces and marks divide words, and pieces are the written
        characters.
        """
        splitter = self.splitter
        if not splitter.marks_stand_alone or splitter.decomposes or splitter.analyzer is not None:
            return None
        return EojeolPieces(self._matcher, UNK, self._tokens_of_words, splitter.stands_alone)

    @cached_property
    def _whole_eojeols(self) -> _Parts:
        """Returns the cache of eojeols of plain characters that normalisation decomposes, as they were before it."""
        return _Parts(self._part_of_whole)

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state without caches, which are rebuilt."""
        return {name: value for name, value in self.__dict__.items() if name not in _CACHES}

    def tokenize(self, text: str) -> list[str]:
        """Returns the pieces of a text.

        `"사과나무를 심었습니다."` → `["사과", "##나무", "##를", "심", "##었", "##습니다", "."]`
        """
        normalizer = self.splitter.normalizer
        tokens: list[str] = []
        if self._eojeols is not None:
            for pieces in map(self._eojeols.__getitem__, normalizer.eojeols(text)):
                tokens += pieces
            return tokens
        parts = map(self._parts.__getitem__, self.splitter.morphemes(normalizer(text)))
        return list(map(_FIELDS[0], chain.from_iterable(parts)))

    def encode(self, text: str) -> Encoding:
        """Returns the pieces of a text with ids, original character ranges and eojeol numbers; no special tokens."""
        normalizer = self.splitter.normalizer
        eojeols = self._eojeols
        if (
            eojeols is not None
            and normalizer.destroys_hangul
            and text
            and not has_loose_spaces(text)
            and normalizer.plain(text) is not None
        ):
            # Most of such text is Hangul, and a map of all its Jamo would cost more than the rest.
            return self._encode_parts(map(self._whole_eojeols.__getitem__, text.split(" ")))
        normalized = normalizer.with_map(text)
        if not normalized.text:
            return Encoding([], [], [], [], [])
        encoding = (
            self._encode(normalized.text)
            if eojeols is None
            else self._encode_eojeols(eojeols, normalized.text)
        )
        encoding.offsets[:] = normalized.spans(encoding.offsets)
        return encoding

    def _encode_eojeols(self, known: EojeolPieces, normalized: str) -> Encoding:
        """Returns the encoding of normalised text without an analyser, whose morphemes are the eojeols."""
        eojeols = normalized.split(" ")
        tokens: list[str] = []
        word_ids: list[int] = []
        for number, pieces in enumerate(map(known.__getitem__, eojeols)):
            tokens += pieces
            word_ids += (number,) * len(pieces)
        try:
            lengths = list(map(self._lengths.__getitem__, tokens))
        except KeyError:
            lengths = list(
                chain.from_iterable(map(self._eojeol_lengths, map(known.__getitem__, eojeols), eojeols))
            )
        try:
            ids = list(map(self.vocab.__getitem__, tokens))
        except KeyError:
            raise self._no_unknown() from None
        # The end of a piece is the length of all pieces up to it, plus one space for each eojeol before its own.
        ends = list(map(add, accumulate(lengths), word_ids))
        offsets = list(zip(map(sub, ends, lengths), ends, strict=True))
        return Encoding(ids, tokens, offsets, word_ids, word_ids.copy())

    def _eojeol_lengths(self, pieces: tuple[str, ...], eojeol: str) -> Iterable[int]:
        """Returns the number of characters of each piece of an eojeol, which may have [UNK]."""
        lengths = [self._lengths.get(piece, 0) for piece in pieces]
        unknown = lengths.count(0)
        if unknown == 1:
            lengths[lengths.index(0)] = len(eojeol) - sum(lengths)
        elif unknown:
            words = self.splitter.words(eojeol)
            return [
                end - start for word in words for start, end in self.spans(word, self.cut_word(word) or [UNK])
            ]
        return lengths

    def _no_unknown(self) -> MorphbertError:
        return MorphbertError(
            f"the vocabulary lacks characters of the text, and has no {self.unknown} to replace them. Put "
            f"{self.unknown} on a line of {VOCABULARY_NAME}."
        )

    def _encode(self, normalized: str) -> Encoding:
        return self._encode_parts(map(self._parts.__getitem__, self.splitter.morphemes(normalized)))

    def _encode_parts(self, parts: Iterable[_Part]) -> Encoding:
        pieces = list(chain.from_iterable(parts))
        tokens, ids, lengths, advances, eojeols, morphemes = [list(map(field, pieces)) for field in _FIELDS]
        if _NO_ID in ids and self.unknown not in self.vocab:
            raise self._no_unknown()
        for counted in (advances, eojeols, morphemes):
            counted[0] -= 1  # no space before the first eojeol, and numbers begin with 0
        ends = list(accumulate(advances))
        offsets = list(zip(map(sub, ends, lengths), ends, strict=True))
        return Encoding(ids, tokens, offsets, list(accumulate(eojeols)), list(accumulate(morphemes)))

    def _tokens_of_words(self, eojeol: str) -> tuple[str, ...]:
        cut = (self.cut_word(word) or (UNK,) for word in self.splitter.words(eojeol))
        return tuple(chain.from_iterable(cut))

    def _short(self, word: str) -> bool:
        return self._longest_word is None or len(word) <= self._longest_word

    def _part(self, signed: str) -> _Part:
        begins_eojeol = signed[0] == " "
        begins_word = begins_eojeol or signed[0] == BEGINS_WORD
        text = signed[1:] if begins_word else signed
        splitter = self.splitter
        eojeol = int(begins_eojeol)
        if splitter.decomposes or (splitter.marks_stand_alone and MAY_STAND_ALONE.search(text)):
            words = splitter.words(text)
            if not begins_word and not self._alone(words[0]):
                words[0] = words[0]._replace(continues=True)
        else:
            words = [Word(text, 0, not begins_word, 0)]
        part: list[_Piece] = []
        last = -eojeol
        ids = self.vocab
        for word in words:
            pieces = self.cut_word(word) or [UNK]
            for token, (start, end) in zip(pieces, self.spans(word, pieces), strict=True):
                part.append(
                    (token, ids.get(token, _NO_ID), end - start, end - last, eojeol, 0 if part else 1)
                )
                eojeol = 0
                last = end
        return tuple(part)

    def _part_of_whole(self, eojeol: str) -> _Part:
        """Returns the pieces of an eojeol of plain characters, with the ranges of the characters that they are of."""
        known, decomposed = self._eojeols, self.splitter.normalizer.plain(eojeol)
        assert known is not None
        assert decomposed is not None
        tokens = known[decomposed]
        if len(tokens) == 1:
            size = len(eojeol)
            return ((tokens[0], self.vocab.get(tokens[0], _NO_ID), size, size + 1, 1, 1),)
        lengths = list(self._eojeol_lengths(tokens, decomposed))
        numbers = decomposed_from(eojeol)
        part: list[_Piece] = []
        end, last, begins = 0, -1, 1
        for token, length in zip(tokens, lengths, strict=True):
            # A piece that ends within a syllable covers the whole syllable, and so does the next piece.
            start = numbers[end]
            end += length
            stop = numbers[end - 1] + 1
            part.append((token, self.vocab.get(token, _NO_ID), stop - start, stop - last, begins, begins))
            last, begins = stop, 0
        return tuple(part)

    def _alone(self, word: Word) -> bool:
        return len(word.text) == 1 and self.splitter.stands_alone(word.text)

    def length(self, word: Word) -> int:
        """Returns the number of characters of a word in normalised text."""
        return len(compose(word.text)) if self.splitter.decomposes else len(word.text)

    def cut_word(self, word: Word) -> list[str] | None:
        """Returns the pieces of one word, or None if it becomes `[UNK]`."""
        if not self._short(word.text):
            return None
        return self._matcher.cut(word.text, word.continues)

    def spans(self, word: Word, pieces: list[str]) -> list[tuple[int, int]]:
        """Returns the character range of each piece of a word, within its eojeol."""
        if len(pieces) == 1:
            start = word.start
            return [(start, start + (self.length(word) if self.splitter.decomposes else len(word.text)))]
        # Without its sign; the first piece may have none.
        lengths = [len(piece) - len(CONTINUATION) for piece in pieces]
        if not word.continues:
            lengths[0] = len(pieces[0])
        if not self.splitter.decomposes:
            ends = list(accumulate(lengths, initial=word.start))
            return list(pairwise(ends))
        # A piece that ends within a syllable covers the whole syllable, and so does the next piece.
        numbers = [word.start + number for number in syllable_numbers(word.text)]
        ends = list(accumulate(lengths, initial=0))
        return [(numbers[start], numbers[end - 1] + 1) for start, end in pairwise(ends)]

    def check_for_pretraining(self, path: str) -> None:
        """Refuses a vocabulary unsuitable for records or training (`Vocabulary.check_for_pretraining`)."""
        self.vocabulary.check_for_pretraining(path)

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """Returns the ids of pieces; raises KeyError for a missing one, as google-research/bert does.

        Special tokens have BERT's names or the spelling of the vocabulary's file.
        """
        vocab = self.vocab
        if self.vocabulary.special != BERT_SPELLING:
            tokens = map(self.vocabulary.special.named, tokens)
        return [vocab[token] for token in tokens]

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """Returns the pieces of ids."""
        inverse = self.inv_vocab
        return [inverse[number] for number in ids]

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of ids: `##` pieces are joined to the piece before them, and special tokens are left out.

        `사과 ##나무 ##를 심 ##었 ##습니다 .` → `"사과나무를 심었습니다."`. With continuation eojeol this is the
        normalised text, except for the spacing around punctuation and ideographs, which pieces do not record: closing
        marks are joined to the left and opening ones to the right; other marks and ideographs get spaces on both sides.
        Jamo are composed.
        """
        written = self.vocabulary.special.written
        tokens = self.convert_ids_to_tokens(ids)
        text = join_pieces(token if token in _LEFT_OUT else written(token) for token in tokens)
        return compose(text) if self.splitter.decomposes else text

    def describe(self) -> dict[str, Any]:
        """Returns everything that the output depends on, as JSON values, for the metadata and every manifest."""
        special = self.vocabulary.special
        return {
            **self.splitter.describe(),
            **({"added_tokens": list(self.vocabulary.added)} if self.vocabulary.added else {}),
            **({} if special == BERT_SPELLING else {"special_tokens": special.as_map()}),
            "vocab": {"size": len(self.vocabulary), "sha256": self.vocabulary.sha256},
        }


def join_pieces(tokens: Iterable[str]) -> str:
    """Returns the text of pieces (see `Tokenizer.decode`): `["나", "##는", "(", "간", "##다", ")", "!"]` → `"나는
    (간다)!"`.
    """
    parts: list[str] = []
    glue = True
    for token in tokens:
        if token in _LEFT_OUT:
            continue
        continues = is_continuation(token)
        if not glue and not continues and token not in _CLOSING:
            parts.append(" ")
        parts.append(piece_text(token))
        glue = token in _OPENING
    return "".join(parts)
