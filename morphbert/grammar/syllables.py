"""The final consonant of a Hangul syllable, taken off and put on."""

from __future__ import annotations

from morphbert.text.characters import is_hangul_syllable

_FIRST = ord("가")
# The finals in Unicode's order, the first for none.
_FINALS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
# A vowel and the ending 어 or 아 after it, in one syllable: 오 + 아 → 와.
_WITH_ENDING = dict(zip("ㅏㅐㅓㅔㅗㅚㅜㅣㅕ", "ㅏㅐㅓㅔㅘㅙㅝㅕㅕ", strict=True))


def final_of(syllable: str) -> str:
    """`"각"` → `"ㄱ"`, `"가"` → `""`; a character that is no Hangul syllable has none."""
    return _FINALS[(ord(syllable) - _FIRST) % 28].strip() if is_hangul_syllable(syllable) else ""


def with_final(syllable: str, final: str) -> str:
    """`("하", "ㅂ")` → `"합"`: a Hangul syllable with another final consonant, or none for `""`."""
    code = ord(syllable) - _FIRST
    return chr(_FIRST + code - code % 28 + _FINALS.index(final or " "))


def with_ending(syllable: str, final: str = "") -> str | None:
    """Returns a stem's last syllable, without a final, and the ending 아/어: `"주"` → `"줘"`, `("하", "ㅆ")` → `"했"`.

    None where the two do not grow together regularly (쓰, 쉬).
    """
    if syllable == "하":
        return with_final("해", final)
    code = ord(syllable) - _FIRST
    vowel = _WITH_ENDING.get(_VOWELS[code // 28 % 21])
    if vowel is None or code % 28:
        return None
    return with_final(chr(_FIRST + code // 588 * 588 + _VOWELS.index(vowel) * 28), final)
