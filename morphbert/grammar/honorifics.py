"""Honorifics: 께서 … -시-, and no -시- for oneself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from morphbert.grammar.change import Change
from morphbert.grammar.sentence import Morpheme, Sentence
from morphbert.grammar.syllables import final_of, with_ending, with_final
from morphbert.text.characters import is_hangul_syllable

# 계시다 is 있다 of the honoured.
_BE = {
    "계시": "있",
    "계신다": "있다",
    "계십니다": "있습니다",
    "계셨": "있었",
    "계셔서": "있어서",
}
_HONOURING = (
    "시",
    "으시",
    "십",
    "신",
    "실",
    "셨",
    "셔",
    "세",
    "으십",
    "으신",
    "으실",
    "으셨",
    "으셔",
    "으세",
)


def _honours(morpheme: Morpheme) -> bool:
    if morpheme.is_predicate and len(morpheme.tags) > 1 and morpheme.text[1:].startswith(_HONOURING):
        return True  # the stem and the honorific are one morpheme to Mecab: 가신다
    return ("EP" in morpheme.tags and morpheme.text.startswith(_HONOURING)) or morpheme.text.startswith(
        (
            "계시",
            "계신",
            "계실",
            "계십",
            "계셨",
            "계셔",
            "계세",
            "주무",
            "드시",
            "드신",
            "드십",
            "드셨",
            "잡수",
            "돌아가",
        )
    )


def agreement(sentence: Sentence) -> Iterator[Change]:
    """선생님께서 가신다 → 선생님께서 간다: the one honorific of the verb whose subject has 께서 is missing."""
    subjects = [index for index, m in enumerate(sentence.morphemes) if m.tag == "JKS"]
    if not subjects or sentence.morphemes[subjects[-1]].text != "께서":
        return
    honours = [i for i in range(subjects[-1], len(sentence.morphemes)) if _honours(sentence.morphemes[i])]
    if len(honours) != 1:
        return
    change = _without_honorific(sentence, honours[0])
    if change is not None:
        yield change


def _without_honorific(sentence: Sentence, index: int) -> Change | None:
    morpheme, stem = sentence.morphemes[index], sentence.morphemes[index - 1]
    if morpheme.text in _BE:
        after = sentence.morphemes[index + 1].text if index + 1 < len(sentence.morphemes) else ""
        plain = morpheme.text != "계시" or after.startswith(("고", "는", "던", "지", "기", "다"))
        return Change(morpheme.start, morpheme.end, _BE[morpheme.text]) if plain else None
    last = stem.text[-1]
    if stem.tags[-1] not in ("VV", "VX", "XSV") or morpheme.begins_word:
        return None
    if not is_hangul_syllable(last) or final_of(last):
        return None
    text, start = morpheme.text, morpheme.start
    if text == "시":
        plain = sentence.morphemes[index + 1].text.startswith(
            ("고", "는", "기", "지", "던", "면", "며", "도록", "겠", "다", "거나", "길")
        )
        return Change(start, morpheme.end, "") if plain else None
    if text in ("십니다", "십니까"):
        return Change(start - 1, morpheme.end, with_final(last, "ㅂ") + text[1:])
    if text == "신다":
        return Change(start - 1, morpheme.end, with_final(last, final_of(text[0])) + text[1:])
    if text in ("셨", "셔서", "셔"):
        joined = with_ending(last, final_of(text[0]))
        return None if joined is None else Change(start - 1, morpheme.end, joined + text[1:])
    return None


_SELF = ("제가", "내가", "저는", "나는")
_OWN = {
    "했": "하셨",
    "합니다": "하십니다",
    "한다": "하신다",
    "드립니다": "드리십니다",
    "바랍니다": "바라십니다",
    "갔": "가셨",
    "봤": "보셨",
}
_STATING = ("습니다", "다", "어요", "아요", "네요", "지요", "죠", "")


def about_oneself(sentence: Sentence) -> Iterator[Change]:
    """제가 하겠습니다 → 제가 하시겠습니다: one does not honour oneself."""
    morphemes = sentence.morphemes
    subjects = [
        index
        for index, m in enumerate(morphemes)
        if m.tag == "JKS" or (m.text in ("은", "는") and m.tag == "JX")
    ]
    if len(subjects) != 1 or not subjects[0]:
        return
    before = morphemes[subjects[0] - 1]
    if before.text + morphemes[subjects[0]].text not in _SELF or before.tag != "NP" or not before.begins_word:
        return
    rest = morphemes[subjects[0] + 1 :]
    if any(m.tags[-1] in ("ETM", "ETN") or "?" in m.text or "!" in m.text or _honours(m) for m in rest):
        return
    for first, second in pairwise(rest):
        if first.tags[-1] == "EC" and second.tags[0] != "VX":
            return
    change = _honoured_end(sentence)
    if change is not None and change.start > morphemes[subjects[0]].end:
        yield change


def _honoured_end(sentence: Sentence) -> Change | None:
    """하겠습니다 → 하시겠습니다, 했습니다 → 하셨습니다, 합니다 → 하십니다 at the end of a sentence."""
    words = [m for m in sentence.morphemes if m.tags[0][0] != "S"]
    if len(words) < 3 or words[-1].tags[-1] != "EF":
        return None
    last, before, stem = words[-1], words[-2], words[-3]
    if last.tags[0] in ("XSV", "VV", "VX") and last.text in _OWN:
        return Change(last.start, last.end, _OWN[last.text])
    if last.text not in _STATING:
        return None
    if before.tags[-1] == "EP" and before.text in _OWN and before.tags[0] in ("XSV", "VV", "VX"):
        return Change(before.start, before.end, _OWN[before.text])
    if before.tag != "EP" or stem.tags[-1] not in ("XSV", "VV", "VX") or before.begins_word:
        return None
    if final_of(stem.text[-1]) == "ㄹ":  # 알다 has another stem before -시-
        return None
    if before.text == "겠":
        return Change(before.start, before.start, "으시" if final_of(stem.text[-1]) else "시")
    if before.text in ("었", "았") and final_of(stem.text[-1]):
        return Change(before.start, before.end, "으셨")
    return None
