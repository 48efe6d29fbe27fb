"""Hangul syllables ↔ conjoining Jamo (한 ↔ ᄒ ᅡ ᆫ), for vocabularies below the syllable, as KR-BERT's.

It is Unicode's canonical decomposition, of Hangul syllables alone, so composing (NFC) takes all of it back.
"""

from __future__ import annotations

import unicodedata

from morphbert.text.characters import is_hangul_syllable

_LEADING = "".join(map(chr, range(0x1100, 0x1113)))
_FOLLOWING = "".join(map(chr, [*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]))


class _JamoTable(dict[int, str]):
    def __missing__(self, code: int) -> str:
        char = chr(code)
        self[code] = result = unicodedata.normalize("NFD", char) if is_hangul_syllable(char) else char
        return result


_TABLE = _JamoTable()


def decompose(text: str) -> str:
    r"""`"한a"` → `"\u1112\u1161\u11aba"`; composed text becomes three Jamo a syllable, or two."""
    return text.translate(_TABLE)


def compose(text: str) -> str:
    r"""`"\u1112\u1161\u11aba"` → `"한a"`: `compose(decompose(text)) == text` for composed text (NFC)."""
    return unicodedata.normalize("NFC", text)


def syllable_numbers(decomposed: str) -> list[int]:
    r"""For each character, the number of the one that it comes from: `"\u1112\u1161\u11aba"` → `[0, 0, 0, 1]`."""
    return [number for number, char in enumerate(compose(decomposed)) for _ in _TABLE[ord(char)]]


def word_characters_of_jamo() -> list[str]:
    """What every syllable of today's Hangul can be written with: leading Jamo plain and with `##`, others with `##`."""
    return [*_LEADING, *("##" + char for char in _LEADING + _FOLLOWING)]
