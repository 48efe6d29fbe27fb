"""Negation: words that need one (전혀, 아무도), and the forms 안, 못 and 않."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from morphbert.grammar.change import Change
from morphbert.grammar.sentence import Morpheme, Sentence

_ADVERBS = frozenset(("전혀", "결코", "도저히", "별로", "그다지", "좀처럼", "아무런"))
# Words that deny by their meaning, after which 전혀 needs no other negation.
_DENYING = (
    *(
        "다르",
        "다른",
        "달라",
        "달랐",
        "모르",
        "모른",
        "모를",
        "몰라",
        "몰랐",
        "싫",
        "어렵",
        "어려",
        "힘들",
        "힘든",
        "새로",
        "딴",
    ),
    *(
        "무관",
        "부족",
        "불가",
        "불필요",
        "무시",
        "무의미",
        "상관없",
        "드물",
        "거부",
        "반대",
        "엉뚱",
        "금지",
        "생소",
        "낯설",
        "의외",
    ),
)
_CANNOT = {
    "못했": "있었",
    "못합니다": "있습니다",
    "못한다": "있다",
    "못하": "있",
    "못한": "있는",
    "못할": "있을",
    "못해": "있어",
    "못해서": "있어서",
    "못해요": "있어요",
}
# Of the endings after 않, those that are others after 있.
_AFTER_BE = {
    "았": "었",
    "는다": "다",
    "은": "는",
    "은데": "는데",
    "아": "어",
    "아요": "어요",
    "아서": "어서",
    "아도": "어도",
    "아야": "어야",
    "는다고": "다고",
    "는다는": "다는",
    "는다면": "다면",
}


def _is_negator(morpheme: Morpheme) -> bool:
    tag = morpheme.tags[0]
    return (
        (tag == "MAG" and morpheme.text in ("안", "못"))
        or (tag in ("VX", "VV", "VA") and morpheme.text.startswith(("않", "못", "말", "마", "맙", "없")))
        or (tag == "VA" and "없" in morpheme.text)
        or tag == "VCN"
        or morpheme.text in ("없이", "아니")
    )


def _polarity_item(sentence: Sentence) -> int | None:
    """Returns the number of the first morpheme that needs a negation after it."""
    for index, morpheme in enumerate(sentence.morphemes):
        after = sentence.morphemes[index + 1 : index + 3]
        if morpheme.text in _ADVERBS and morpheme.begins_word:
            is_predicate = bool(after) and after[0].tags[0] == "VCP"  # 별로였다
            return None if is_predicate else index
        if morpheme.text in ("아무", "아무것") and any(one.text == "도" and one.tag == "JX" for one in after):
            return index
        if morpheme.text == "수" and morpheme.tag == "NNB" and after and after[0].text == "밖에":
            return index
    return None


def polarity(sentence: Sentence) -> Iterator[Change]:
    """아무도 없다 → 아무도 있다: the one negation of a sentence with 전혀, 아무도, 수밖에 … is none."""
    item = _polarity_item(sentence)
    negators = [index for index, morpheme in enumerate(sentence.morphemes) if _is_negator(morpheme)]
    if item is None or len(negators) != 1 or negators[0] <= item:
        return
    between = sentence.morphemes[item : negators[0] + 1]
    if any(one.tags[-1] == "EF" or _ends_clause(one, other) for one, other in pairwise(between)):
        return
    if any(morpheme.text.startswith(_DENYING) for morpheme in sentence.morphemes[item:]):
        return
    change = _affirmed(sentence, negators[0])
    if change is not None:
        yield change


def _ends_clause(morpheme: Morpheme, following: Morpheme) -> bool:
    """Returns whether an ending joins two clauses, and not a verb and its auxiliary."""
    return morpheme.tags[-1] == "EC" and following.tags[0] not in ("VX", "JX", "JKS", "JKO")


def _affirmed(sentence: Sentence, index: int) -> Change | None:
    """없다 → 있다, 안 간다 → 잘 간다, 가지 않았다 → 가고 있었다, 가지 못했다 → 가고 있었다."""
    morpheme = sentence.morphemes[index]
    start, end, text = morpheme.start, morpheme.end, morpheme.text
    following = sentence.morphemes[index + 1] if index + 1 < len(sentence.morphemes) else None
    if morpheme.tags[0] == "VA" and "없" in text:
        return Change(start + text.index("없"), start + text.index("없") + 1, "있")
    if following is None:
        return None
    if morpheme.tag == "MAG":
        verb = following.tags[0] in ("VV", "VX") and not following.text.startswith(
            ("되", "된", "돼", "됐", "됩", "될")
        )
        return Change(start, end, "잘") if verb else None
    before = sentence.morphemes[index - 1]
    stem = sentence.morphemes[index - 2] if index > 1 else None
    if before.text != "지" or stem is None or stem.tags[-1] not in ("VV", "XSV", "VX"):
        return None
    if text in _CANNOT:
        return Change(
            before.start,
            end,
            sentence.text[before.start : end].replace("지", "고", 1)[: -len(text)] + _CANNOT[text],
        )
    if text != "않" or following.begins_word:
        return None
    new = _AFTER_BE.get(following.text, following.text)
    space = sentence.text[before.end : start]
    return Change(before.start, following.end, f"고{space}있{new}")


# Adjectives before which 못 has a meaning (못 늦는다), or that are verbs as well.
_ALSO_VERBS = (
    "있",
    "계",
    "크",
    "큰",
    "컸",
    "커",
    "늦",
    "밝",
    "나",
    "낫",
    "되",
    "하",
    "굳",
    "길",
    "같",
    "없",
    "아니",
)


def adverb(sentence: Sentence) -> Iterator[Change]:
    """안 좋다 → 못 좋다: 못 does not stand before an adjective."""
    for index, (first, second) in enumerate(pairwise(sentence.morphemes)):
        after = sentence.morphemes[index + 2 : index + 3]
        if (
            (first.text, first.tag) == ("안", "MAG")
            and first.begins_word
            and second.begins_word
            and second.tags[0] == "VA"
            and not second.text.startswith(_ALSO_VERBS)
            and "EC" not in second.tags
            and not (after and after[0].text in ("아", "어"))  # 좋아하다 is a verb
        ):
            yield Change(first.start, first.end, "못")


def spelling(sentence: Sentence) -> Iterator[Change]:
    """안 간다 → 않 간다, 가지 않는다 → 가지 안는다: the adverb is 안, the auxiliary 않."""
    for first, second in pairwise(sentence.morphemes):
        if (first.text, first.tag) == ("안", "MAG") and first.begins_word and second.begins_word:
            if second.is_predicate:
                yield Change(first.start, first.end, "않")
        elif first.text == "지" and first.tags == ("EC",) and second.text == "않" and second.tag == "VX":
            yield Change(second.start, second.end, "안")
