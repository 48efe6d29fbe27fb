"""How much of a text is `[UNK]`: the first sign that a tokenizer is not that of the model, or of the text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from morphbert.text.special_tokens import encode_special
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import CLS, SEP

# Texts that are looked at, characters of each, and the share from which on it is a warning.
MOST_TEXTS = 2000
_CHARACTERS = 1000
_WARN_FROM = 0.03


@dataclass(frozen=True)
class UnknownShare:
    """Counts of the first texts; `examples` are words of the text that become `[UNK]`."""

    texts: int
    pieces: int
    unknown: int
    examples: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """`[UNK]` among the pieces, from 0 to 1."""
        return self.unknown / max(1, self.pieces)


def unknown_share(tokenizer: Tokenizer, texts: Iterable[str], most: int = MOST_TEXTS) -> UnknownShare:
    """Counts the `[UNK]` of the first `most` texts that are not blank (of each the first 1,000 characters)."""
    counted = pieces = unknown = 0
    examples: dict[str, None] = {}
    for text in islice((text for text in texts if text and not text.isspace()), most):
        encoding = encode_special(tokenizer, text[:_CHARACTERS])
        counted += 1
        pieces += len(encoding.tokens)
        for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
            if token == tokenizer.unknown:
                unknown += 1
                if len(examples) < 5:
                    examples[text[start:end]] = None
    return UnknownShare(counted, pieces, unknown, tuple(examples))


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def say_unknown_share(
    tokenizer: Tokenizer,
    texts: Iterable[str],
    source: str,
    say: Callable[[str], None] = _to_stderr,
) -> UnknownShare:
    """Prints the share of `[UNK]` in the first texts that a model is given, and warns above 3%.

    Args:
      tokenizer: the model's.
      texts: what it will read; only the first 2,000 are taken.
      source: where they come from, for the line.
      say: takes a line; standard error by default.
    """
    found = unknown_share(tokenizer, texts)
    _say_found(tokenizer, found, source, say)
    return found


def say_unknown_ids(
    tokenizer: Tokenizer,
    pieces: Mapping[str, npt.NDArray[Any]],
    source: str,
    say: Callable[[str], None] = _to_stderr,
) -> UnknownShare:
    """The same for texts that are arrays already.

    Args:
      tokenizer: the one that cut them.
      pieces: `input_ids` and `input_mask`, int [N, …, L]; the first 2,000 of N are taken.
      source: where they come from, for the line.
      say: takes a line; standard error by default.
    """
    ids, real = pieces["input_ids"][:MOST_TEXTS], pieces["input_mask"][:MOST_TEXTS] > 0
    framing = [tokenizer.vocab[token] for token in (CLS, SEP) if token in tokenizer.vocab]
    real = real & ~np.isin(ids, framing)
    unknown = real & (ids == tokenizer.vocab.get(tokenizer.unknown, -1))
    found = UnknownShare(len(ids), int(real.sum()), int(unknown.sum()))
    _say_found(tokenizer, found, source, say)
    return found


def _say_found(tokenizer: Tokenizer, found: UnknownShare, source: str, say: Callable[[str], None]) -> None:
    if not found.pieces:
        return
    say(
        f"tokenizer: {found.share:.2%} of the pieces are [UNK] in the first {found.texts:,} texts of {source}"
    )
    if found.share <= _WARN_FROM:
        return
    normalizer = tokenizer.splitter.normalizer
    examples = f", such as {', '.join(found.examples)}" if found.examples else ""
    cause = ""
    if normalizer.destroys_hangul and tokenizer.vocabulary.has_hangul_syllables():
        cause = " BERT's lower-casing takes Hangul apart, and the vocabulary has syllables: --do_lower_case=false."
    say(
        f"tokenizer: warning: {found.share:.1%} of the text is unknown to the vocabulary{examples}: the model learns "
        "or sees nothing of it. Is it the vocabulary of this model and of this language "
        f"(do_lower_case={str(normalizer.do_lower_case).lower()})?{cause}"
    )
