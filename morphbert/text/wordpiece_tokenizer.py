"""Text → pieces, ids and the characters they stand for, by WordPiece."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from morphbert.errors import MorphbertError
from morphbert.text.analyzers import MARK
from morphbert.text.jamo import compose, syllable_numbers
from morphbert.text.vocabulary import CLS, PAD, SEP, UNK, VOCABULARY_NAME, Vocabulary
from morphbert.text.wordpiece import CONTINUATION, longest_match
from morphbert.text.words import Word, WordSplitter

# Distinct eojeols that a tokenizer remembers (about 60 MB). Petitions of 4 million characters have 220,000,
# and nine in ten of those occur once or twice.
_REMEMBERED = 100_000
_LONGEST_REMEMBERED = 64


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


class _Pieces(NamedTuple):
    """What one eojeol becomes; spans and morphemes are relative to its first."""

    tokens: list[str]
    spans: list[tuple[int, int]]
    morphemes: list[int]
    length: int


class Tokenizer:
    """A word splitter and a vocabulary. Not for use by several threads at a time; may be forked and pickled."""

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
        self._longest_piece = max(len(token) for token in vocabulary.tokens)
        self._remembered: dict[str, _Pieces] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_remembered": {}}

    def tokenize(self, text: str) -> list[str]:
        """Text → pieces: `"사과나무를 심었습니다."` → `["사과", "##나무", "##를", "심", "##었", "##습니다", "."]`."""
        splitter = self.splitter
        remembered = self._remembered
        tokens: list[str] = []
        for marked in splitter.marked_eojeols(splitter.normalizer(text)):
            pieces = remembered.get(marked)
            tokens += (self._cut(marked) if pieces is None else pieces).tokens
        return tokens

    def encode(self, text: str) -> Encoding:
        """Text → pieces with ids, original character ranges and eojeol numbers; no special tokens."""
        normalized = self.splitter.normalizer.with_map(text)
        moved = normalized.starts is not None
        tokens: list[str] = []
        offsets: list[tuple[int, int]] = []
        word_ids: list[int] = []
        morpheme_ids: list[int] = []
        position = morpheme = 0
        for number, marked in enumerate(self.splitter.marked_eojeols(normalized.text)):
            pieces = self._remembered.get(marked)
            if pieces is None:
                pieces = self._cut(marked)
            tokens += pieces.tokens
            for start, end in pieces.spans:
                offsets.append((position + start, position + end))
            word_ids += [number] * len(pieces.tokens)
            for index in pieces.morphemes:
                morpheme_ids.append(morpheme + index)
            morpheme = morpheme_ids[-1] + 1
            position += pieces.length + 1
        if moved:
            offsets = [normalized.span(start, end) for start, end in offsets]
        return Encoding(self._ids_of(tokens), tokens, offsets, word_ids, morpheme_ids)

    def _ids_of(self, tokens: list[str]) -> list[int]:
        try:
            return self.convert_tokens_to_ids(tokens)
        except KeyError:
            raise MorphbertError(
                f"the text has characters that the vocabulary lacks, and it has no {UNK} to stand for them. "
                f"Put {UNK} on a line of {VOCABULARY_NAME}."
            ) from None

    def _cut(self, marked: str) -> _Pieces:
        tokens: list[str] = []
        spans: list[tuple[int, int]] = []
        morphemes: list[int] = []
        for word in self.splitter.words(marked):
            pieces = self.cut_word(word)
            if pieces is None:
                tokens.append(UNK)
                spans.append((word.start, word.start + self.length(word)))
                morphemes.append(word.morpheme)
                continue
            tokens += pieces
            morphemes += [word.morpheme] * len(pieces)
            spans += self.spans(word, pieces)
        cut = _Pieces(tokens, spans, morphemes, len(marked) - marked.count(MARK))
        if len(marked) <= _LONGEST_REMEMBERED:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[marked] = cut
        return cut

    def length(self, word: Word) -> int:
        """How many characters of the normalised text a word is."""
        return len(compose(word.text)) if self.splitter.decomposes else len(word.text)

    def cut_word(self, word: Word) -> list[str] | None:
        """The pieces of one word, or None where it becomes `[UNK]`."""
        if self._longest_word is not None and len(word.text) > self._longest_word:
            return None
        return longest_match(word.text, self.vocab, word.continues, self._longest_piece)

    def spans(self, word: Word, pieces: list[str]) -> list[tuple[int, int]]:
        """The characters of the eojeol that each piece of a word stands for."""
        found = []
        start = 0
        for index, piece in enumerate(pieces):
            end = start + len(piece)
            if index or word.continues:
                end -= len(CONTINUATION)
            found.append((start, end))
            start = end
        if self.splitter.decomposes:
            # A piece that ends within a syllable stands for all of it, and so does the next one.
            numbers = syllable_numbers(word.text)
            found = [(numbers[start], numbers[end - 1] + 1) for start, end in found]
        return [(word.start + start, word.start + end) for start, end in found]

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
