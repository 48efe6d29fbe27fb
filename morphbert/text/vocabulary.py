"""The vocabulary: one token per line of `vocab.txt`, with the line number (from 0) as its id."""

from __future__ import annotations

import codecs
import dataclasses
import functools
import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.git_lfs import refuse_pointer
from morphbert.text.characters import is_hangul_syllable
from morphbert.text.wordpiece import CONTINUATION, is_continuation

VOCABULARY_NAME = "vocab.txt"
PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)
# Begins the pieces of SentencePiece that begin an eojeol.
BEGINS = "\u2581"


def is_bracketed(token: str) -> bool:
    """Returns whether a token is special by its spelling: `[UNK]`, `[unused0]`; not `[`, `[]` or `[a`.

    BERT's tokenizer separates punctuation from words, so no longer token in square brackets is a piece of text.
    """
    return len(token) > 2 and token[0] == "[" and token[-1] == "]"


@dataclass(frozen=True)
class SpecialTokens:
    """The spelling of the special tokens in `vocab.txt`, by transformers' names of their roles.

    A loaded vocabulary has BERT's names, `[PAD] [UNK] [CLS] [SEP] [MASK]`, whatever the file has. Only texts and files
    of users have the file's spelling: `written` and `named` translate.
    """

    pad_token: str = PAD
    unk_token: str = UNK
    cls_token: str = CLS
    sep_token: str = SEP
    mask_token: str = MASK

    @functools.cached_property
    def _spellings(self) -> dict[str, str]:
        return dict(zip(SPECIAL_TOKENS, dataclasses.astuple(self), strict=True))

    @functools.cached_property
    def _names(self) -> dict[str, str]:
        return {spelling: name for name, spelling in self._spellings.items()}

    def written(self, token: str) -> str:
        """Returns a token as the file spells it: `"[MASK]"` → `"<MASK>"`, `"가"` → `"가"`."""
        return self._spellings.get(token, token)

    def named(self, token: str) -> str:
        """Returns BERT's name of a token in the file's spelling: `"<MASK>"` → `"[MASK]"`, `"가"` → `"가"`."""
        return self._names.get(token, token)

    def as_map(self) -> dict[str, str]:
        """Returns the content of a `special_tokens_map.json`: `{"pad_token": "<PAD>", …}`."""
        return dataclasses.asdict(self)


BERT_SPELLING = SpecialTokens()


def special_tokens_of_map(values: Any, source: str) -> SpecialTokens:
    """Returns the spelling in a Hugging Face `special_tokens_map.json`.

    Args:
      values: the content of the file; a token is a string, or an object with `content`.
      source: the name of the map in messages.

    Raises:
      MorphbertError: a role is missing or unknown, a token has white space, begins with `##`, or is the token of
        another role.
    """
    roles = [role.name for role in dataclasses.fields(SpecialTokens)]
    form = "Example: " + json.dumps({role: f"<{role[: -len('_token')].upper()}>" for role in roles})
    if not isinstance(values, Mapping):
        raise MorphbertError(f"{source}: {type(values).__name__} instead of an object. {form}")
    for key, value in values.items():
        same_as_role = key in ("bos_token", "eos_token") and value in map(values.get, roles)
        if value and key not in roles and not same_as_role:
            raise MorphbertError(
                f"{source}: the key {key!r} is unknown; the keys are {', '.join(roles)}. Other special tokens go into "
                "build_vocab.py --special_tokens."
            )
    found: dict[str, str] = {}
    for role, name in zip(roles, SPECIAL_TOKENS, strict=True):
        value = values.get(role)
        token = value.get("content") if isinstance(value, Mapping) else value
        if role not in values:
            raise MorphbertError(f"{source} has no {role}. {form}")
        if not isinstance(token, str) or not token or any(char.isspace() for char in token):
            raise MorphbertError(
                f"{source}: {role} is {token!r}; it must be a string that is not empty and has no white space."
            )
        if token.startswith(CONTINUATION):
            raise MorphbertError(f"{source}: {role} is {token}, and ## marks a piece within a word.")
        if token in found:
            raise MorphbertError(
                f"{source}: {found[token]} and {role} are both {token}; each needs another token."
            )
        if token in SPECIAL_TOKENS and token != name:
            raise MorphbertError(f"{source}: {role} is {token}, BERT's name of another special token.")
        found[token] = role
    return SpecialTokens(*found)


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in the order of their ids.

    As in google-research/bert, a token on two lines has the id of the later line.

    Attributes:
      special: the spelling of the special tokens in the file; `tokens` and `ids` have BERT's names.
    """

    tokens: tuple[str, ...]
    ids: Mapping[str, int] = field(repr=False, compare=False)
    sha256: str  # of the bytes of vocab.txt
    added: tuple[
        str, ...
    ] = ()  # found in the text unchanged before tokenization (transformers' added tokens)
    special: SpecialTokens = BERT_SPELLING

    def __len__(self) -> int:
        return len(self.tokens)

    @functools.cached_property
    def lines(self) -> tuple[str, ...]:
        """The tokens as the file spells them."""
        return tuple(map(self.special.written, self.tokens))

    @functools.cached_property
    def continuations(self) -> tuple[bool, ...]:
        """For each id, whether its piece continues a word, as its spelling shows.

        A continuation is one by `is_continuation`, or, in a vocabulary with SentencePiece's `▁`, does not begin with
        `▁`.
        """
        by_sharps = tuple(map(is_continuation, self.tokens))
        if any(by_sharps) or not any(token.startswith(BEGINS) for token in self.tokens):
            return by_sharps
        return tuple(not token.startswith(BEGINS) and not is_bracketed(token) for token in self.tokens)

    def has_hangul_syllables(self) -> bool:
        """Returns whether any token contains a composed syllable, which BERT's lower-casing never produces."""
        return any(is_hangul_syllable(char) for token in self.tokens for char in token)

    def has_capitals(self) -> bool:
        """Returns whether any piece except special ones such as `[UNK]` and `[unused1]` has a capital letter."""
        return any(
            token != token.lower()
            for token in self.tokens
            if not is_bracketed(token) and token not in self.added
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
                "vocabulary with build_vocab.py. If the file spells them in another way, put a special_tokens_map.json "
                "beside it, or make a vocabulary folder with build_vocab.py --init_vocab and --special_tokens_map."
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
        same = given.tokens == made_with.tokens  # with BERT's names of the special tokens
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
    return {vocabulary.sha256, hashlib.sha256(vocabulary_bytes(vocabulary.lines)).hexdigest()}


def with_special_tokens(vocabulary: Vocabulary, special: SpecialTokens, source: str) -> Vocabulary:
    """Returns the vocabulary of a file with another spelling of the special tokens; they get BERT's names.

    Args:
      vocabulary: as read from its file.
      source: the name of the spelling in messages.

    Raises:
      MorphbertError: the file lacks a token of the spelling, has it on two lines, or has BERT's name of a token beside
        it.
    """
    if special == vocabulary.special:
        return vocabulary
    lines = set(vocabulary.lines)
    for role, token in special.as_map().items():
        name = special.named(token)
        if token == name:
            continue
        if token not in lines:
            raise MorphbertError(
                f"{source}: {role} is {token}, which the vocabulary ({len(vocabulary)} tokens) lacks. Give the token "
                "that it has."
            )
        if vocabulary.lines.count(token) > 1:
            first = vocabulary.lines.index(token)
            again = vocabulary.lines.index(token, first + 1)
            raise MorphbertError(
                f"{source}: {role} is {token}, which the vocabulary has on line {first + 1} and again on line "
                f"{again + 1}. Replace one of them, for example by [unused{again + 1}]."
            )
        if name in lines:
            raise MorphbertError(
                f"{source}: {role} is {token}, and the vocabulary has {name} too. Remove one of them, for example by "
                f"[unused{vocabulary.lines.index(name)}] in its line."
            )
    tokens = tuple(map(special.named, vocabulary.lines))
    ids = OrderedDict((token, number) for number, token in enumerate(tokens))
    return dataclasses.replace(vocabulary, tokens=tokens, ids=ids, special=special)


def vocabulary_from_tokens(tokens: Iterable[str], special: SpecialTokens = BERT_SPELLING) -> Vocabulary:
    """Returns the vocabulary whose `vocab.txt` has these lines, as `vocabulary_bytes` writes them.

    Args:
      tokens: special tokens by BERT's names.
      special: their spelling in the file.
    """
    tokens = tuple(tokens)
    content = vocabulary_bytes(map(special.written, tokens))
    return dataclasses.replace(vocabulary_of_file(tokens, content), special=special)


def with_added(
    vocabulary: Vocabulary, added: Mapping[str, int], path: str, special: SpecialTokens = BERT_SPELLING
) -> Vocabulary:
    """Returns the vocabulary with the tokens of `added_tokens.json`, from a Hugging Face folder at `path`.

    A token with the id of a line must be the token of that line; others follow the last line. A free id between them
    gets the piece `[unused…]`, which no text contains. Special tokens, in the spelling `special`, are no added tokens.

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
    named = tuple(token for token in added if special.named(token) not in SPECIAL_TOKENS)
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
      MorphbertError: the file is not UTF-8 (the message names the line), is empty or is none of tokens.
    """
    refuse_pointer(content, path)
    if b"\r" in content and b"\n" not in content:
        raise MorphbertError(
            f"{path}: the lines end with \\r alone, as on old Macs. Convert them: tr '\\r' '\\n' < IN > OUT"
        )
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
