"""Converts Hangul syllables to conjoining Jamo and back (한 ↔ ᄒ ᅡ ᆫ), for sub-syllable vocabularies as KR-BERT's.

This is Unicode's canonical decomposition, limited to Hangul syllables, so composition (NFC) reverses it.
"""

from __future__ import annotations

import unicodedata

from morphbert.text.characters import is_hangul_syllable
from morphbert.text.wordpiece import CONTINUATION

_LEADING = "".join(map(chr, range(0x1100, 0x1113)))
_FOLLOWING = "".join(map(chr, [*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]))


class _JamoTable(dict[int, str]):
    def __missing__(self, code: int) -> str:
        char = chr(code)
        self[code] = result = unicodedata.normalize("NFD", char) if is_hangul_syllable(char) else char
        return result


_TABLE = _JamoTable()


def decompose(text: str) -> str:
    r"""Returns text with two or three Jamo for each composed syllable: `"한a"` → `"\u1112\u1161\u11aba"`."""
    return text.translate(_TABLE)


def compose(text: str) -> str:
    r"""Reverses `decompose` for composed text (NFC): `"\u1112\u1161\u11aba"` → `"한a"`."""
    return unicodedata.normalize("NFC", text)


def syllable_numbers(decomposed: str) -> list[int]:
    r"""Returns for each character the number of its source character: `"\u1112\u1161\u11aba"` → `[0, 0, 0, 1]`."""
    return [number for number, char in enumerate(compose(decomposed)) for _ in _TABLE[ord(char)]]


def word_characters_of_jamo() -> list[str]:
    """Returns the pieces that spell every modern syllable: leading Jamo plain and with `##`, others with `##`."""
    return [*_LEADING, *(CONTINUATION + char for char in _LEADING + _FOLLOWING)]
