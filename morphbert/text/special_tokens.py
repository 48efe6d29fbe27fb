"""Encodes text that contains special tokens such as [MASK], for the use of a model.

Records are made by `Tokenizer.encode`, which reads `[MASK]` as three words of ordinary text.
"""

from __future__ import annotations

import functools
import re

from morphbert.text.jamo import decompose
from morphbert.text.tokenizer import Encoding, Tokenizer
from morphbert.text.vocabulary import CLS, MASK, PAD, SEP, UNK, SpecialTokens

# Rare syllables, then all: one that does not occur in the text replaces a mask during the analysis.
_HOLDERS = (*"뷁쀍똻꿻뙜", *map(chr, range(0xAC00, 0xD7A4)))


@functools.lru_cache(maxsize=8)
def _patterns(special: SpecialTokens) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Returns the pattern that finds special tokens, in BERT's and in the vocabulary's spelling."""

    def of(*names: str) -> re.Pattern[str]:
        written = dict.fromkeys((*names, *map(special.written, names)))
        return re.compile("|".join(map(re.escape, sorted(written, key=len, reverse=True))))

    return of(MASK), of(CLS, SEP, PAD, UNK)


def encode_special(tokenizer: Tokenizer, text: str) -> Encoding:
    """Encodes a text as `Tokenizer.encode` does, with special tokens in the text recognised.

    The text is cut as if each [MASK] were a word: the analyser sees the whole sentence, and text that follows a mask
    without a space continues its eojeol, as in the records of the model's training. Other special tokens divide the
    text. A token that the vocabulary lacks is ordinary text. The text may have BERT's names of the tokens and the
    spelling of the vocabulary's file; the encoding has BERT's names.

    `"나는 [MASK]에 간다"` → `["나", "##는", "[MASK]", "##에", "간", "##다"]`
    """
    masks, dividing = _patterns(tokenizer.vocabulary.special)
    if masks.search(text) is None and dividing.search(text) is None:
        return tokenizer.encode(text)
    named = tokenizer.vocabulary.special.named
    whole = Encoding([], [], [], [], [])
    start = 0
    for match in dividing.finditer(text):
        token, span = named(match.group()), (0, match.end() - match.start())
        if token not in tokenizer.vocab:
            continue
        _append(whole, _encode_masks(tokenizer, text[start : match.start()], masks), start)
        _append(
            whole,
            Encoding(tokenizer.convert_tokens_to_ids([token]), [token], [span], [0], [0]),
            match.start(),
        )
        start = match.end()
    _append(whole, _encode_masks(tokenizer, text[start:], masks), start)
    return whole


def _append(whole: Encoding, part: Encoding, start: int) -> None:
    word = whole.word_ids[-1] + 1 if whole.word_ids else 0
    morpheme = whole.morpheme_ids[-1] + 1 if whole.morpheme_ids else 0
    whole.ids.extend(part.ids)
    whole.tokens.extend(part.tokens)
    whole.offsets.extend((start + first, start + last) for first, last in part.offsets)
    whole.word_ids.extend(word + number for number in part.word_ids)
    whole.morpheme_ids.extend(morpheme + number for number in part.morpheme_ids)


def _encode_masks(tokenizer: Tokenizer, text: str, masks: re.Pattern[str]) -> Encoding:
    spans = [match.span() for match in masks.finditer(text)]
    if not spans or MASK not in tokenizer.vocab:
        return tokenizer.encode(text)
    holder = next(char for char in _HOLDERS if char not in text)
    splitter = tokenizer.splitter
    held = splitter.normalizer(holder)
    place = decompose(held) if splitter.decomposes else held
    normalized = splitter.normalizer.with_map(masks.sub(holder, text))
    encoding = Encoding([], [], [], [], [])
    position = morpheme = 0
    for number, marked in enumerate(splitter.marked_eojeols(normalized.text)):
        length = 0
        for word in splitter.words(marked):
            start, continues = word.start, word.continues
            length = word.start + tokenizer.length(word)
            for index, part in enumerate(word.text.split(place)):
                found: list[tuple[str, int, int]] = []
                if index:
                    found.append((MASK, start, start + len(held)))
                    start += len(held)
                    continues = True
                if part:
                    piece = word._replace(text=part, start=start, continues=continues)
                    pieces = tokenizer.cut_word(piece)
                    if pieces is None:
                        found.append((UNK, start, start + tokenizer.length(piece)))
                    else:
                        parts = tokenizer.spans(piece, pieces)
                        found += [(token, *span) for token, span in zip(pieces, parts, strict=True)]
                    start += tokenizer.length(piece)
                    continues = True
                for token, first, last in found:
                    encoding.tokens.append(token)
                    encoding.offsets.append(normalized.span(position + first, position + last))
                    encoding.word_ids.append(number)
                    encoding.morpheme_ids.append(morpheme + word.morpheme)
        morpheme = encoding.morpheme_ids[-1] + 1
        position += length + 1
    encoding.ids.extend(tokenizer.convert_tokens_to_ids(encoding.tokens))
    encoding.offsets[:] = _without_holders(encoding.offsets, spans)
    return encoding


def _without_holders(offsets: list[tuple[int, int]], masks: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Returns offsets in the original text, from offsets in the text with one character for each mask.

    Args:
      masks: the character ranges of the masks in the original text.
    """
    held: list[tuple[int, int]] = []  # where a mask's one character is, and how many more the mask has
    shift = 0
    for start, end in masks:
        held.append((start - shift, end - start - 1))
        shift += end - start - 1

    def original(position: int) -> int:
        return position + sum(longer for place, longer in held if place < position)

    return [(original(start), original(end)) for start, end in offsets]
