"""Normalises raw text for tokenization, with a map back to the original characters.

Four forms:

    nfc    the default. Composed (NFC), cased; control and format characters dropped, every Unicode space and line
           separator one space, a lone surrogate U+FFFD. With `do_lower_case`, text is lower-cased and accents are
           stripped; Hangul stays whole.
    jamo   the same; when eojeols are cut into words (`morphbert.text.words`), syllables become conjoining Jamo,
           three for 한. This happens after the analysis, because analysers read syllables.
    bert   google-research/bert's, character for character. Text is not composed; with `do_lower_case`
           it is decomposed (NFD), and 한국어 becomes a row of conjoining Jamo.
    transformers
           that of transformers' BertTokenizer: `bert` without private-use characters, and lower case character by
           character (no final sigma).

`strip_accents` controls accents independently of lower case, as transformers' key of that name does. All forms leave
single spaces between eojeols and none at the ends.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from morphbert.text.characters import is_control, is_whitespace

Form = Literal["nfc", "jamo", "bert", "transformers"]

# Characters that no form changes, joins or drops. Text of these characters alone (nearly all Korean text) skips the
# work. The test of this module proves the property for each of them.
_PLAIN_CLASS = " -~°±·×÷‐-‧‰-※←-↙①-⑳■-◗★☆☎♠-♬、。〈-〗ㄱ-ㆎ一-鿿가-힣！-～😀-🙏"
_PLAIN = re.compile(f"[{_PLAIN_CLASS}]*")
_OTHERS = re.compile(f"[^{_PLAIN_CLASS}]+")


@dataclass(frozen=True)
class Normalized:
    """Normalised text with the source of each of its characters.

    `starts[i]:ends[i]` is the span of the original text behind character i; None for both means that no character moved
    (i:i+1). The span of a space is the first of the spaces that it replaces.
    """

    text: str
    starts: list[int] | None = None
    ends: list[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Returns the original span of the range `start:end` of normalised text; an empty range stays before the next
        character.
        """
        if self.starts is None or self.ends is None:
            return start, end
        if start == end:
            return self.starts[start], self.starts[start]
        return self.starts[start], self.ends[end - 1]

    def spans(self, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Returns `span` of each range of normalised text."""
        if self.starts is None or self.ends is None:
            return ranges
        starts, ends = self.starts, self.ends
        return [
            (starts[start], ends[end - 1]) if start < end else self.span(start, end) for start, end in ranges
        ]


class _NfcTable(dict[int, "str | None"]):
    """Maps code points to their replacements (None drops one); filled on demand."""

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        category = unicodedata.category(char)
        result: str | None = char
        if char.isspace() or category[0] == "Z":
            result = " "
        elif category in ("Cc", "Cf"):
            result = None
        elif category == "Cs":
            result = "\ufffd"
        self[code] = result
        return result


class _BertTable(dict[int, "str | None"]):
    """Maps code points as google-research/bert's cleaning does.

    That drops U+FFFD, and leaves U+2028 and U+2029 to a later `split()`, which treats them as white space, as this
    table does.
    """

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        result: str | None = char
        if char in "\0\ufffd" or is_control(char):
            result = None
        elif is_whitespace(char) or char in "\u2028\u2029":
            result = " "
        self[code] = result
        return result


class _TransformersTable(_BertTable):
    """`_BertTable` without private-use characters, which the library `tokenizers` counts as control characters."""

    def __missing__(self, code: int) -> str | None:
        result = super().__missing__(code)
        if unicodedata.category(chr(code)) == "Co":
            self[code] = result = None
        return result


_TABLES: dict[str, dict[int, str | None]] = {
    "nfc": (_NFC_TABLE := _NfcTable()),
    "jamo": _NFC_TABLE,
    "bert": _BertTable(),
    "transformers": _TransformersTable(),
}


class _KeepTable(dict[int, "int | None"]):
    """Maps code points to themselves, and non-spacing marks (category Mn), which accent stripping drops, to None."""

    def __missing__(self, code: int) -> int | None:
        self[code] = result = None if unicodedata.category(chr(code)) == "Mn" else code
        return result


_STRIP_MARKS = _KeepTable()


class _DecomposedLengths(dict[str, int]):
    """Maps a character to the length of its NFD form; filled on demand."""

    def __missing__(self, char: str) -> int:
        self[char] = length = len(unicodedata.normalize("NFD", char))
        return length


_DECOMPOSED_LENGTHS = _DecomposedLengths()


def _strip_accents(text: str) -> str:
    return normalize_unicode("NFD", text).translate(_STRIP_MARKS)


# Finds runs of combining marks. Python sorts marks by insertion, in time that grows with the square of a run's length.
_LONG_RUN = re.compile(r"[^\w\s\x00-\x7f]{33,}")


def normalize_unicode(form: Literal["NFC", "NFD", "NFKC"], text: str) -> str:
    """Returns `unicodedata.normalize` of a text, in linear time even with long runs of combining marks."""
    if _LONG_RUN.search(text):
        text = _LONG_RUN.sub(lambda run: _ordered(run.group()), text)
    return unicodedata.normalize(form, text)


def _ordered(run: str) -> str:
    """Returns the canonically equivalent text with decomposed marks in canonical order (UAX #15)."""
    ordered: list[str] = []
    marks: list[str] = []
    for char in run:
        parts = unicodedata.normalize("NFD", char)
        if all(map(unicodedata.combining, parts)):
            marks.extend(parts)
            continue
        ordered += sorted(marks, key=unicodedata.combining)
        ordered.append(char)
        marks.clear()
    return "".join([*ordered, *sorted(marks, key=unicodedata.combining)])


# Unassigned characters, which no form changes, represent added tokens; one more represents such a character in the
# text.
_FIRST_ADDED, _LAST_ADDED = 0x40000, 0x4FFFD
_NO_TOKEN = "\U0003fffd"


def added_char(number: int) -> str:
    """Returns the character that represents an added token in normalised text."""
    return chr(_FIRST_ADDED + number)


def is_added_char(char: str) -> bool:
    """Returns whether a character of normalised text represents an added token."""
    return _FIRST_ADDED <= ord(char) <= _LAST_ADDED


@functools.lru_cache(maxsize=8)
def _added_pattern(added: tuple[str, ...]) -> re.Pattern[str]:
    """Returns a pattern of the added tokens, longer ones first, and of the characters that represent them."""
    tokens = sorted(added, key=len, reverse=True)
    return re.compile("|".join([*map(re.escape, tokens), f"[{chr(_FIRST_ADDED)}-{chr(_LAST_ADDED)}]"]))


class _Mapping(NamedTuple):
    """Normalised text in parts, with the beginning and the end of each of its characters in the original text."""

    parts: list[str]
    starts: list[int]
    ends: list[int]


@dataclass(frozen=True)
class Normalizer:
    """The normalisation of one tokenizer; a pure function of the text."""

    form: Form = "nfc"
    do_lower_case: bool = False
    strip_accents: bool | None = None  # None: as do_lower_case
    added: tuple[
        str, ...
    ] = ()  # tokens found before any other step; each becomes one character (`added_char`)

    @property
    def strips(self) -> bool:
        """Whether accents are stripped."""
        return self.do_lower_case if self.strip_accents is None else self.strip_accents

    @property
    def composes(self) -> bool:
        """Whether text is composed (NFC), as in `nfc` and `jamo`."""
        return self.form in ("nfc", "jamo")

    @property
    def destroys_hangul(self) -> bool:
        """Whether accent stripping turns 한국어 into conjoining Jamo."""
        return self.strips and not self.composes

    def __call__(self, text: str) -> str:
        r"""Returns normalised text: `" 한국어\u200b  \u1112\u1161\u11ab글 "` → `"한국어 한글"` (form nfc)."""
        return " ".join(self.eojeols(text))

    def eojeols(self, text: str) -> list[str]:
        """Returns the eojeols of normalised text: `"  한국어  한글 "` → `["한국어", "한글"]`."""
        if self.added:
            text = _added_pattern(self.added).sub(self._added_char, text)
        plain = _PLAIN.fullmatch(text) is not None
        if not plain:
            text = text.translate(_TABLES[self.form])
        if self.do_lower_case:
            text = self._lowered(text)
        if self.strips and not (plain and self.composes):
            text = _strip_accents(text)
        if self.composes and not plain:
            text = normalize_unicode("NFC", text)
        return text.split()

    def plain(self, text: str) -> str | None:
        """Returns a text without added tokens normalised except for its spaces, or None if not all its characters are
        plain.
        """
        if _PLAIN.fullmatch(text) is None or (self.added and _added_pattern(self.added).search(text)):
            return None
        return self._plain(text)

    def with_map(self, text: str) -> Normalized:
        """Returns normalised text as a call does, with the map to the original characters.

        Plain characters are mapped in runs; only the others, and the plain one before them, which they may join, go
        through every step.
        """
        if (self.do_lower_case and "Σ" in text) or (self.added and _added_pattern(self.added).search(text)):
            return self._mapped(*self._steps(text))
        other = _OTHERS.search(text)
        if other is None and not has_loose_spaces(text):
            plain = self._plain(text)
            if len(plain) == len(text):
                return Normalized(plain)
        elif self(text) == text:
            return Normalized(text)
        made = _Mapping([], [], [])
        last = 0
        for found in _OTHERS.finditer(text) if other else ():
            first = max(found.start() - 1, last)
            self._add_plain(text, last, first, made)
            last = found.end()
            part, part_starts, part_ends = self._steps(text[first:last])
            made.parts.append(part)
            made.starts.extend([first + start for start in part_starts])
            made.ends.extend([first + end for end in part_ends])
        self._add_plain(text, last, len(text), made)
        return self._mapped("".join(made.parts), made.starts, made.ends)

    def _plain(self, run: str) -> str:
        """Returns a run of plain characters normalised; each is independent of its neighbours."""
        if self.do_lower_case:
            run = run.lower()
        return unicodedata.normalize("NFD", run) if self.destroys_hangul else run

    def _add_plain(self, text: str, first: int, last: int, made: _Mapping) -> None:
        """Appends the plain characters `first:last` of a text, normalised, with their map."""
        run = text[first:last]
        made.parts.append(plain := self._plain(run))
        if len(plain) == len(run):
            made.starts.extend(range(first, last))
            made.ends.extend(range(first + 1, last + 1))
            return
        numbers = decomposed_from(run)
        made.starts.extend(map(first.__add__, numbers))
        made.ends.extend(map((first + 1).__add__, numbers))

    def _steps(self, text: str) -> tuple[str, list[int], list[int]]:
        """Returns text after every step except the last, which joins spaces, with its map."""
        chars, starts, ends = self._clean(text)
        if self.do_lower_case:
            chars, starts, ends = self._lower(chars, starts, ends)
        if self.strips or self.composes:
            chars, starts, ends = self._compose(chars, starts, ends)
        return chars, starts, ends

    def _mapped(self, text: str, starts: list[int], ends: list[int]) -> Normalized:
        if has_loose_spaces(text):
            text, starts, ends = _collapse_spaces(text, starts, ends)
        return Normalized(text, starts, ends)

    def _added_char(self, found: re.Match[str]) -> str:
        token = found.group()
        return added_char(self.added.index(token)) if token in self.added else _NO_TOKEN

    def _clean(self, text: str) -> tuple[str, list[int], list[int]]:
        table = _TABLES[self.form]
        kept: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        last = 0
        found = _added_pattern(self.added).finditer(text) if self.added else iter(())
        for match in itertools.chain(found, (None,)):
            first = len(text) if match is None else match.start()
            for position in range(last, first):
                replacement = table[ord(text[position])]
                if replacement is not None:
                    kept.append(replacement)
                    starts.append(position)
                    ends.append(position + 1)
            if match is not None:
                kept.append(self._added_char(match))
                starts.append(match.start())
                ends.append(last := match.end())
        return "".join(kept), starts, ends

    def _compose(self, text: str, starts: list[int], ends: list[int]) -> tuple[str, list[int], list[int]]:
        """Normalises cluster by cluster; a changed cluster is mapped as a whole."""
        out: list[str] = []
        out_starts: list[int] = []
        out_ends: list[int] = []
        for first, last in _clusters(text):
            cluster = text[first:last]
            result = _strip_accents(cluster) if self.strips else cluster
            if self.composes:
                result = normalize_unicode("NFC", result)
            out.append(result)
            if result == cluster:
                out_starts += starts[first:last]
                out_ends += ends[first:last]
            else:
                out_starts += [starts[first]] * len(result)
                out_ends += [ends[last - 1]] * len(result)
        return "".join(out), out_starts, out_ends

    def _lowered(self, text: str) -> str:
        if self.form == "transformers" and "Σ" in text:
            return "".join(map(str.lower, text))
        return text.lower()

    def _lower(self, text: str, starts: list[int], ends: list[int]) -> tuple[str, list[int], list[int]]:
        # The text is lower-cased as a whole, because a final sigma depends on its neighbours. The lengths do not depend
        # on them.
        lengths = [len(char.lower()) for char in text]
        return (
            self._lowered(text),
            [start for start, length in zip(starts, lengths, strict=True) for _ in range(length)],
            [end for end, length in zip(ends, lengths, strict=True) for _ in range(length)],
        )


def decomposed_from(plain: str) -> list[int]:
    r"""Returns for each character of the decomposed form (NFD) of plain characters the number of its source: `"한a"`
    → `[0, 0, 0, 1]`.
    """
    lengths = map(_DECOMPOSED_LENGTHS.__getitem__, plain)
    return list(itertools.chain.from_iterable(map(itertools.repeat, itertools.count(), lengths)))


def _joins_the_previous(char: str) -> bool:
    """Returns whether NFC could join or reorder the character with the one before it. It can for all marks, and for the
    vowels and final consonants of conjoining Hangul.
    """
    return (
        unicodedata.category(char)[0] == "M"
        or "\u1160" <= char <= "\u11ff"
        or unicodedata.combining(char) > 0
    )


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    r"""Yields ranges that can be normalised independently: `"e\u0301a"` → (0, 2), (2, 3)."""
    start = 0
    for position in range(1, len(text)):
        if text[position] >= "\u0300" and _joins_the_previous(text[position]):
            continue
        yield start, position
        start = position
    if text:
        yield start, len(text)


def has_loose_spaces(text: str) -> bool:
    """Returns whether there are spaces at the ends of a text, or several together."""
    return text.startswith(" ") or text.endswith(" ") or "  " in text


def _collapse_spaces(text: str, starts: list[int], ends: list[int]) -> tuple[str, list[int], list[int]]:
    out_starts: list[int] = []
    out_ends: list[int] = []
    words: list[str] = []
    for match in re.finditer(r"\S+", text):
        first, last = match.span()
        if words:
            out_starts.append(starts[first - 1])
            out_ends.append(ends[first - 1])
        words.append(match.group())
        out_starts += starts[first:last]
        out_ends += ends[first:last]
    return " ".join(words), out_starts, out_ends
