"""Measures the share of `[UNK]` in a text, the first sign of a wrong tokenizer."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from morphbert.formats.lines import is_blank
from morphbert.text.special_tokens import encode_special
from morphbert.text.tokenizer import Encoding, Tokenizer
from morphbert.text.vocabulary import CLS, SEP

# The number of texts, the characters of each, and the smallest share that causes a warning.
MOST_TEXTS = 2000
_CHARACTERS = 1000
_WARN_FROM = 0.03
# The number of pieces from which on calls in Python are judged: one rare word in a short sentence is no sign.
_JUDGED_FROM = 100


@dataclass(frozen=True)
class UnknownShare:
    """Counts for the first texts; `examples` are words of the text that become `[UNK]`."""

    texts: int
    pieces: int
    unknown: int
    examples: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The share of `[UNK]` among the pieces, from 0 to 1."""
        return self.unknown / max(1, self.pieces)


def unknown_share(tokenizer: Tokenizer, texts: Iterable[str], most: int = MOST_TEXTS) -> UnknownShare:
    """Counts `[UNK]` in the first 1,000 characters of each of the first `most` texts that are not blank."""
    counted = pieces = unknown = 0
    examples: dict[str, None] = {}
    for text in islice((text for text in texts if not is_blank(text)), most):
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
    """Prints the share of `[UNK]` in the first texts of a model's input, and warns above 3%.

    Args:
      tokenizer: the model's tokenizer.
      texts: the input; only the first 2,000 texts are read.
      source: the name of the input in the message.
      say: receives the message; standard error by default.
    """
    found = unknown_share(tokenizer, texts)
    _say_found(tokenizer, found, source, say)
    return found


def say_unknown_ids(
    tokenizer: Tokenizer,
    pieces: Mapping[str, npt.NDArray[Any]],
    source: str,
) -> UnknownShare:
    """Prints the share of `[UNK]` as `say_unknown_share` does, for texts that are already arrays.

    Args:
      tokenizer: the tokenizer that cut them.
      pieces: `input_ids` and `input_mask`, int [N, …, L]; only the first 2,000 of N are read.
      source: the name of the input in the message.
    """
    ids, real = pieces["input_ids"][:MOST_TEXTS], pieces["input_mask"][:MOST_TEXTS] > 0
    framing = [tokenizer.vocab[token] for token in (CLS, SEP) if token in tokenizer.vocab]
    real = real & ~np.isin(ids, framing)
    unknown = real & (ids == tokenizer.vocab.get(tokenizer.unknown, -1))
    found = UnknownShare(len(ids), int(real.sum()), int(unknown.sum()))
    _say_found(tokenizer, found, source, _to_stderr)
    return found


def _say_found(tokenizer: Tokenizer, found: UnknownShare, source: str, say: Callable[[str], None]) -> None:
    if not found.pieces:
        return
    texts = "text" if found.texts == 1 else f"{found.texts:,} texts"
    say(f"tokenizer: {found.share:.2%} of the pieces are [UNK] in the first {texts} of {source}")
    if warning := unknown_warning(tokenizer, found):
        say(f"tokenizer: warning: {warning}")


def unknown_warning(tokenizer: Tokenizer, found: UnknownShare) -> str | None:
    """Returns a warning with the probable cause if more than 3% of the pieces are `[UNK]`, or None."""
    if found.share <= _WARN_FROM:
        return None
    examples = f", such as {', '.join(found.examples)}" if found.examples else ""
    cause = ""
    if lowering_hides_hangul(tokenizer):
        cause = " BERT's lower-casing decomposes Hangul, and the vocabulary has syllables: give --do_lower_case=false."
    return (
        f"{found.share:.1%} of the text is unknown to the vocabulary{examples}, so the model "
        "cannot read or learn it. Is it the vocabulary of this model and of this language "
        f"(do_lower_case={str(tokenizer.splitter.normalizer.do_lower_case).lower()})?{cause}"
    )


def lowering_hides_hangul(tokenizer: Tokenizer) -> bool:
    """Returns whether BERT's lower-casing decomposes Hangul while the vocabulary has syllables, never found then."""
    return tokenizer.splitter.normalizer.destroys_hangul and tokenizer.vocabulary.has_hangul_syllables()


class UnknownWatch:
    """Counts `[UNK]` over the calls of a tokenizer in Python, and logs the warning of `unknown_warning` once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._found = UnknownShare(0, 0, 0)
        self._over = False

    def count(self, text: str, encoding: Encoding) -> None:
        """Takes a text with its pieces. Looks at the first 2,000 texts, and judges from the 100th piece on."""
        if self._over:
            return
        unknown = [
            span
            for token, span in zip(encoding.tokens, encoding.offsets, strict=True)
            if token == self._tokenizer.unknown
        ]
        shown = dict.fromkeys((*self._found.examples, *(text[start:end] for start, end in unknown[:5])))
        self._found = UnknownShare(
            self._found.texts + 1,
            self._found.pieces + len(encoding.tokens),
            self._found.unknown + len(unknown),
            tuple(shown)[:5],
        )
        warning = (
            unknown_warning(self._tokenizer, self._found) if self._found.pieces >= _JUDGED_FROM else None
        )
        if warning is not None:
            logging.getLogger("morphbert").warning("tokenizer: %s", warning)
        self._over = warning is not None or self._found.texts >= MOST_TEXTS
