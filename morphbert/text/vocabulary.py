"""The vocabulary: one token per line of `vocab.txt`, with the line number (from 0) as its id."""

from __future__ import annotations

import codecs
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

    As in google-research/bert, a token on two lines has the id of the later line.
    """

    tokens: tuple[str, ...]
    ids: Mapping[str, int] = field(repr=False, compare=False)
    sha256: str  # of the bytes of vocab.txt
    added: tuple[
        str, ...
    ] = ()  # found in the text unchanged before tokenization (transformers' added tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    @functools.cached_property
    def continuations(self) -> tuple[bool, ...]:
        """For each id, whether its piece continues a word, as its spelling shows.

        A continuation begins with `##`, or, in a vocabulary with SentencePiece's `▁`, does not begin with `▁`.
        """
        by_sharps = tuple(token.startswith("##") for token in self.tokens)
        if any(by_sharps) or not any(token.startswith("▁") for token in self.tokens):
            return by_sharps
        return tuple(
            not token.startswith("▁") and not (token[:1] == "[" and token[-1:] == "]")
            for token in self.tokens
        )

    def has_hangul_syllables(self) -> bool:
        """Returns whether any token contains a composed syllable, which BERT's lower-casing never produces."""
        return any(is_hangul_syllable(char) for token in self.tokens for char in token)

    def has_capitals(self) -> bool:
        """Returns whether any piece except special ones such as `[UNK]` and `[unused1]` has a capital letter."""
        return any(
            token != token.lower()
            for token in self.tokens
            if not (token.startswith("[") and token.endswith("]")) and token not in self.added
        )

    def check_for_pretraining(self, path: str) -> None:
        """Refuses a vocabulary unsuitable for records or training.

        `[PAD]` may have any id (1 in KLUE's RoBERTa and in KoBERT): records are padded with 0, as
        google-research/bert's are, and the values of padding are never read.

        Args:
          path: its file, for the message.

        Raises:
          MorphbertError: a special token is missing, or a token is on two lines.
        """
        missing = [token for token in SPECIAL_TOKENS if token not in self.ids]
        if missing:
            raise MorphbertError(
                f"{path} ({len(self)} tokens) has no {' and no '.join(missing)}. Pretraining needs "
                f"{' '.join(SPECIAL_TOKENS)}: put each on a separate line, preferably the first five, or learn a "
                "vocabulary with build_vocab.py."
            )
        if len(self.ids) < len(self.tokens):
            first: dict[str, int] = {}
            for number, token in enumerate(self.tokens, start=1):
                if token in first:
                    raise MorphbertError(
                        f"{path}: the token {token!r} is on line {first[token]} and again on line {number}. Give "
                        f"each id a different token, for example [unused{number}]."
                    )
                first[token] = number


@dataclass(frozen=True)
class VocabularyDigest:
    """The identity of a vocabulary: the SHA-256 of its `vocab.txt`, and the source of this value."""

    sha256: str
    said_by: str


def check_same_vocabulary(
    name: str, given: Vocabulary | VocabularyDigest, made_with: Vocabulary | VocabularyDigest, remedy: str
) -> None:
    """Refuses a vocabulary other than the expected one: even with equal sizes, the ids have other meanings.

    Args:
      name: the given vocabulary as the user wrote it: `--vocab_file=PATH`.
      given: the given vocabulary or its digest.
      made_with: the expected vocabulary or its digest.
      remedy: the last sentence of the message.

    Raises:
      MorphbertError: the vocabularies differ.
    """
    if isinstance(given, Vocabulary) and isinstance(made_with, Vocabulary):
        same = given.tokens == made_with.tokens
    else:
        same = bool(_digests(given) & _digests(made_with))
    if not same:
        said_by = f" by {made_with.said_by}" if isinstance(made_with, VocabularyDigest) else ""
        raise MorphbertError(
            f"{name} is another vocabulary (SHA-256 {given.sha256[:12]}…) than the expected one{said_by} "
            f"({made_with.sha256[:12]}…), so its ids have other meanings. {remedy}"
        )


def _digests(vocabulary: Vocabulary | VocabularyDigest) -> set[str]:
    """Returns the digests of a vocabulary: of its file, and of its pieces as `vocabulary_bytes` writes them."""
    if isinstance(vocabulary, VocabularyDigest):
        return {vocabulary.sha256}
    return {vocabulary.sha256, hashlib.sha256(vocabulary_bytes(vocabulary.tokens)).hexdigest()}


def vocabulary_from_tokens(tokens: Iterable[str]) -> Vocabulary:
    """Returns the vocabulary whose `vocab.txt` has these lines, as `vocabulary_bytes` writes them."""
    tokens = tuple(tokens)
    return vocabulary_of_file(tokens, vocabulary_bytes(tokens))


def with_added(vocabulary: Vocabulary, added: Mapping[str, int], path: str) -> Vocabulary:
    """Returns the vocabulary with the tokens of `added_tokens.json`, from a Hugging Face folder at `path`.

    A token with the id of a line must be the token of that line; others follow the last line. A free id between them
    gets the piece `[unused…]`, which no text contains.

    Raises:
      MorphbertError: an id belongs to another piece, or is far beyond the vocabulary.
    """
    size = len(vocabulary)
    further: dict[int, str] = {}
    for token, number in added.items():
        if token in vocabulary.ids and vocabulary.ids[token] != number:
            raise MorphbertError(
                f"{path}: the added token {token} has the id {number}, but {vocabulary.ids[token]} in the vocabulary."
            )
        if number < 0 or number >= size + 100_000:
            raise MorphbertError(
                f"{path}: the added token {token} has the id {number}, far beyond a vocabulary of {size} pieces."
            )
        if number >= size and further.setdefault(number, token) != token:
            raise MorphbertError(f"{path}: {further[number]} and {token} have the same id {number}.")
        if number < size and vocabulary.tokens[number] != token:
            raise MorphbertError(
                f"{path}: the added token {token} has the id {number}, which belongs to {vocabulary.tokens[number]}."
            )
    named = tuple(token for token in added if token not in SPECIAL_TOKENS)
    if not further:
        return dataclasses.replace(vocabulary, added=named)
    more = [further.get(number, f"[unused_id_{number}]") for number in range(size, max(further) + 1)]
    tokens = (*vocabulary.tokens, *more)
    return dataclasses.replace(vocabulary_from_tokens(tokens), added=named)


def vocabulary_bytes(tokens: Iterable[str]) -> bytes:
    r"""Returns the content of `vocab.txt`: `["[PAD]", "가"]` → `b"[PAD]\n\xea\xb0\x80\n"`."""
    return "".join(f"{token}\n" for token in tokens).encode("utf-8")


def vocabulary_of_file(tokens: tuple[str, ...], content: bytes) -> Vocabulary:
    """Builds the vocabulary of a file's tokens; the digest is that of the file's content."""
    ids = OrderedDict((token, number) for number, token in enumerate(tokens))
    return Vocabulary(tokens, ids, hashlib.sha256(content).hexdigest())


def parse_vocabulary(content: bytes, path: str) -> Vocabulary:
    r"""Returns the vocabulary of a `vocab.txt` as google-research/bert reads it: lines end with `\n`, and white space
    around tokens is dropped.

    A byte order mark at the beginning is dropped.

    Args:
      content: the bytes of the file.
      path: the file, for messages.

    Raises:
      MorphbertError: the file is not UTF-8 (the message names the line), or is empty.
    """
    lines = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    tokens = []
    for number, line in enumerate(lines, start=1):
        try:
            tokens.append(line.decode("utf-8").strip())
        except UnicodeDecodeError as error:
            raise MorphbertError(
                f"{path}, line {number}: not UTF-8. A vocabulary is a UTF-8 text file with one token per line."
            ) from error
    if not tokens:
        raise MorphbertError(f"{path} is empty: a vocabulary has one token per line.")
    return vocabulary_of_file(tuple(tokens), content)
