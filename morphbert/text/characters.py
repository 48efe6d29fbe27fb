"""What kind of character: the four questions that BERT's tokenization asks, with BERT's answers.

They are google-research/bert's definitions (`tokenization.py`), which differ from Unicode's in two
places: every ASCII character that is no letter, digit or space counts as punctuation (`$`, `+`, `^`…),
and tab, line feed and carriage return are white space, not control characters.
"""

from __future__ import annotations

import re
import unicodedata

# The CJK blocks that BERT puts spaces around. Hangul and Kana are written with words and stay whole.
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
    r"""Space, tab, line feed, carriage return, or a space separator (category Zs): `"\u3000"` → True."""
    return char in " \t\n\r" or unicodedata.category(char) == "Zs"


def is_control(char: str) -> bool:
    r"""A control or format character that is no white space: `"\u200b"` → True, `"\n"` → False."""
    return char not in "\t\n\r" and unicodedata.category(char) in ("Cc", "Cf")


def is_punctuation(char: str) -> bool:
    """Category P*, or any ASCII that is no letter, digit, space or control: `"$"`, `"。"` → True."""
    code = ord(char)
    if code < 128:
        return 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return unicodedata.category(char)[0] == "P"


def is_ideograph(char: str) -> bool:
    """A Chinese character, as BERT counts them: `"韓"` → True, `"한"` and `"か"` → False."""
    code = ord(char)
    return any(first <= code <= last for first, last in _IDEOGRAPH_BLOCKS)


def is_hangul_syllable(char: str) -> bool:
    """A composed Hangul syllable: `"한"` → True, `"ㅋ"` and `"ᄒ"` → False."""
    return "가" <= char <= "힣"


class _StandsAlone(dict[str, bool]):
    """Whether a character is a word of its own; each is looked up in the Unicode data once."""

    def __missing__(self, char: str) -> bool:
        self[char] = answer = is_punctuation(char) or is_ideograph(char)
        return answer


_STANDS_ALONE = _StandsAlone()


# Every character that stands alone is one of these: what is neither letter nor digit, or an ideograph. Looking for them
# is much faster than asking each character of a text, most of which are Hangul.
MAY_STAND_ALONE = re.compile(
    r"[\W_" + "".join(f"{chr(first)}-{chr(last)}" for first, last in _IDEOGRAPH_BLOCKS) + "]"
)


def stands_alone(char: str) -> bool:
    """Punctuation and ideographs are words of their own: `"."`, `"韓"` → True."""
    return _STANDS_ALONE[char]
