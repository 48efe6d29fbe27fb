"""The vocabulary: one token a line of `vocab.txt`, its line number (from 0) its id."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from morphbert.errors import MorphbertError
from morphbert.text.characters import is_hangul_syllable

VOCABULARY_NAME = "vocab.txt"
PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in the order of their ids.

    As in google-research/bert, a token that stands on two lines has the id of the later one.
    """

    tokens: tuple[str, ...]
    ids: Mapping[str, int] = field(repr=False, compare=False)
    sha256: str  # of the bytes of vocab.txt
    added: tuple[str, ...] = ()  # found in the text as they are before it is cut (transformers' added tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    @functools.cached_property
    def continuations(self) -> tuple[bool, ...]:
        """For each id, whether its piece goes on with the word before it, as the piece itself shows.

        That is `##`; or, where the vocabulary has pieces with SentencePiece's `▁` instead, not to begin with `▁`.
        """
        by_sharps = tuple(token.startswith("##") for token in self.tokens)
        if any(by_sharps) or not any(token.startswith("▁") for token in self.tokens):
            return by_sharps
        return tuple(
            not token.startswith("▁") and not (token[:1] == "[" and token[-1:] == "]")
            for token in self.tokens
        )

    def has_hangul_syllables(self) -> bool:
        """Whether any token holds a composed syllable, which BERT's lower-casing would never produce."""
        return any(is_hangul_syllable(char) for token in self.tokens for char in token)

    def has_capitals(self) -> bool:
        """Whether any piece but the special ones has a capital letter: `[UNK]`, `[unused1]` do not count."""
        return any(
            token != token.lower()
            for token in self.tokens
            if not (token.startswith("[") and token.endswith("]")) and token not in self.added
        )

    def check_for_pretraining(self, path: str) -> None:
        """Refuses a vocabulary that records or training could not use.

        `[PAD]` may have any id (1 in KLUE's RoBERTa and in KoBERT): records are padded with 0 as
        google-research/bert's are, and what stands in padding is never looked at.

        Args:
          path: where it was read from, for the message.

        Raises:
          MorphbertError: a special token is missing, or a token stands on two lines.
        """
        missing = [token for token in SPECIAL_TOKENS if token not in self.ids]
        if missing:
            raise MorphbertError(
                f"{path} ({len(self)} tokens) has no {' and no '.join(missing)}. Pretraining needs "
                f"{' '.join(SPECIAL_TOKENS)}: put each on a line of its own, best the first five, "
                "or learn a vocabulary with build_vocab.py."
            )
        if len(self.ids) < len(self.tokens):
            first: dict[str, int] = {}
            for number, token in enumerate(self.tokens, start=1):
                if token in first:
                    raise MorphbertError(
                        f"{path}: the token {token!r} stands on line {first[token]} and again on line "
                        f"{number}. Give each id a token of its own, for example [unused{number}]."
                    )
                first[token] = number


@dataclass(frozen=True)
class VocabularyDigest:
    """Which vocabulary something was made with: the SHA-256 of its `vocab.txt`, and where that is said."""

    sha256: str
    said_by: str


def check_same_vocabulary(
    name: str, given: Vocabulary | VocabularyDigest, made_with: Vocabulary | VocabularyDigest, remedy: str
) -> None:
    """Refuses a vocabulary in place of another: equal in size or not, its pieces have other ids.

    Args:
      name: what is given, as the user names it: `--vocab_file=PATH`.
      given: the vocabulary itself, or its digest.
      made_with: the one that something was made with.
      remedy: what to do.

    Raises:
      MorphbertError: they differ.
    """
    if isinstance(given, Vocabulary) and isinstance(made_with, Vocabulary):
        same = given.tokens == made_with.tokens
    else:
        same = bool(_digests(given) & _digests(made_with))
    if not same:
        said_by = f" by {made_with.said_by}" if isinstance(made_with, VocabularyDigest) else ""
        raise MorphbertError(
            f"{name} is another vocabulary (SHA-256 {given.sha256[:12]}…) than the one that is expected{said_by} "
            f"({made_with.sha256[:12]}…): the ids of its pieces mean something else. {remedy}"
        )


def _digests(vocabulary: Vocabulary | VocabularyDigest) -> set[str]:
    """The digests under which a vocabulary may be known: of its file, and of its pieces as they are written here."""
    if isinstance(vocabulary, VocabularyDigest):
        return {vocabulary.sha256}
    return {vocabulary.sha256, hashlib.sha256(vocabulary_bytes(vocabulary.tokens)).hexdigest()}


def vocabulary_from_tokens(tokens: Iterable[str]) -> Vocabulary:
    """The vocabulary whose `vocab.txt` has these lines, as `vocabulary_bytes` writes them."""
    tokens = tuple(tokens)
    return vocabulary_of_file(tokens, vocabulary_bytes(tokens))


def with_added(vocabulary: Vocabulary, added: Mapping[str, int], path: str) -> Vocabulary:
    """The vocabulary with further tokens: `added_tokens.json` of a Hugging Face folder at `path`.

    One whose id is that of a line has to be that line; others follow the last line. An id between them that nothing
    has gets the piece `[unused…]`, which no text becomes.

    Raises:
      MorphbertError: an id belongs to another piece, or lies far beyond the vocabulary.
    """
    size = len(vocabulary)
    further: dict[int, str] = {}
    for token, number in added.items():
        if token in vocabulary.ids and vocabulary.ids[token] != number:
            raise MorphbertError(
                f"{path}: the added token {token} has the id {number}, and in the vocabulary {vocabulary.ids[token]}."
            )
        if number < 0 or number >= size + 100_000:
            raise MorphbertError(f"{path}: the added token {token} has the id {number}, of {size} pieces.")
        if number >= size and further.setdefault(number, token) != token:
            raise MorphbertError(f"{path}: the id {number} is that of {further[number]} and of {token}.")
        if number < size and vocabulary.tokens[number] != token:
            raise MorphbertError(
                f"{path}: the added token {token} has the id {number}, which is that of {vocabulary.tokens[number]}."
            )
    named = tuple(token for token in added if token not in SPECIAL_TOKENS)
    if not further:
        return dataclasses.replace(vocabulary, added=named)
    more = [further.get(number, f"[unused_id_{number}]") for number in range(size, max(further) + 1)]
    tokens = (*vocabulary.tokens, *more)
    return dataclasses.replace(vocabulary_from_tokens(tokens), added=named)


def vocabulary_bytes(tokens: Iterable[str]) -> bytes:
    r"""The content of `vocab.txt`: `["[PAD]", "가"]` → `b"[PAD]\n\xea\xb0\x80\n"`."""
    return "".join(f"{token}\n" for token in tokens).encode("utf-8")


def vocabulary_of_file(tokens: tuple[str, ...], content: bytes) -> Vocabulary:
    """Builds the vocabulary of a file's tokens; the digest is that of the file's content."""
    ids = OrderedDict((token, number) for number, token in enumerate(tokens))
    return Vocabulary(tokens, ids, hashlib.sha256(content).hexdigest())
