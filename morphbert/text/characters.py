"""The character classes of BERT's tokenization, as BERT defines them.

These definitions of google-research/bert (`tokenization.py`) differ from Unicode's in two places. Every ASCII character
that is not a letter, digit or space is punctuation (`$`, `+`, `^`…). Tab, line feed and carriage return are white
space, not control characters.
"""

from __future__ import annotations

import re
import unicodedata

# The CJK blocks that BERT puts spaces around. Hangul and Kana stay whole.
_IDEOGRAPH_BLOCKS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


def is_whitespace(char: str) -> bool:
    r"""Returns whether a character is a space, tab, line feed, carriage return or space separator (category Zs):
    `"\u3000"` → True.
    """
    return char in " \t\n\r" or unicodedata.category(char) == "Zs"


def is_control(char: str) -> bool:
    r"""Returns whether a character is a control or format character other than white space: `"\u200b"` → True, `"\n"` →
    False.
    """
    return char not in "\t\n\r" and unicodedata.category(char) in ("Cc", "Cf")


def is_punctuation(char: str) -> bool:
    """Returns whether a character is of category P*, or ASCII other than letters, digits, spaces and controls: `"$"`,
    `"。"` → True.
    """
    code = ord(char)
    if code < 128:
        return 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return unicodedata.category(char)[0] == "P"


def is_ideograph(char: str) -> bool:
    """Returns whether a character is a Chinese character by BERT's definition: `"韓"` → True, `"한"` and `"か"` →
    False.
    """
    code = ord(char)
    return any(first <= code <= last for first, last in _IDEOGRAPH_BLOCKS)


def is_hangul_syllable(char: str) -> bool:
    """Returns whether a character is a composed Hangul syllable: `"한"` → True, `"ㅋ"` and `"ᄒ"` → False."""
    return "가" <= char <= "힣"


class _StandsAlone(dict[str, bool]):
    """Maps each character to whether it is a separate word; looks each one up in the Unicode data once."""

    def __missing__(self, char: str) -> bool:
        self[char] = answer = is_punctuation(char) or is_ideograph(char)
        return answer


_STANDS_ALONE = _StandsAlone()


# Every separate character is neither a letter nor a digit, or is an ideograph. A search for these is much faster than a
# look-up of each character of a text, most of which are Hangul.
MAY_STAND_ALONE = re.compile(
    r"[\W_" + "".join(f"{chr(first)}-{chr(last)}" for first, last in _IDEOGRAPH_BLOCKS) + "]"
)


def stands_alone(char: str) -> bool:
    """Returns whether a character is a separate word, as punctuation and ideographs are: `"."`, `"韓"` → True."""
    return _STANDS_ALONE[char]
