"""Tense: 어제 갔다 → 내일 갔다, 내일 가겠다 → 어제 가겠다."""

from __future__ import annotations

from collections.abc import Iterator

from morphbert.grammar.change import Change
from morphbert.grammar.particles import TOPIC
from morphbert.grammar.sentence import Morpheme, Sentence
from morphbert.grammar.syllables import final_of

_PAST = {
    "어제": "내일",
    "엊그제": "모레",
    "그저께": "모레",
    "작년": "내년",
    "지난주": "다음주",
    "지난달": "다음달",
    "아까": "이따가",
    "방금": "이따가",
}
_FUTURE = {
    "이따가": "아까",
    "내일": "어제",
    "모레": "그저께",
    "내년": "작년",
    "다음주": "지난주",
    "다음달": "지난달",
}
_PARTICLES = ("에", "에는", "는", "은", "도", "에도")
# After 었, endings that say how things were. 었으면, 었다가 and 었을 때 go with a future, too.
_AFTER_PAST = ("는데", "는데요", "고", "고요", "지만", "습니다만", "으나", "으니", "네요", "어요", "다")
# Words that make another time possible.
_UNSURE = frozenset("만약 만일 오늘 매일 항상 매년 매번".split())


def adverb(sentence: Sentence) -> Iterator[Change]:
    """The word for the time is of the other side of now; the first predicate after it tells on which side it is."""
    days = [index for index, m in enumerate(sentence.morphemes) if m.text in _PAST or m.text in _FUTURE]
    if len(days) != 1:
        return
    (index,) = days
    day = sentence.morphemes[index]
    if not day.begins_word or not _stands_alone(sentence, index) or day.tag not in ("MAG", "NNG"):
        return
    if index and sentence.morphemes[index - 1].text in ("그", "다음"):
        return
    rest = sentence.morphemes[index + 1 :]
    if day.text in _PAST and _is_past(rest) and not sentence.has(_UNSURE):
        new = _PAST[day.text]
    elif day.text in _FUTURE and _is_future(rest) and not any(_is_past_ending(m) for m in rest):
        new = _FUTURE[day.text]
    else:
        return
    if rest and rest[0].text in TOPIC[:2] and not rest[0].begins_word:
        yield Change(day.start, rest[0].end, new + TOPIC.after(new[-1]))
    else:
        yield Change(day.start, day.end, new)


def _stands_alone(sentence: Sentence, index: int) -> bool:
    """Returns whether a word is a morpheme with no more than a particle of time after it."""
    following = index + 1
    while not sentence.begins(following):
        following += 1
    end = sentence.morphemes[following - 1].end
    after = sentence.text[sentence.morphemes[index].end : end]
    return after == "" or after in _PARTICLES


def _is_past_ending(morpheme: Morpheme) -> bool:
    """Returns whether a morpheme has 었 in it: 었, 갔, 했."""
    if "EP" not in morpheme.tags:
        return False
    return any(final_of(char) == "ㅆ" and char != "겠" for char in morpheme.text)


def _joint(rest: tuple[Morpheme, ...], index: int) -> int | None:
    """Returns the number of the morpheme that joins a predicate to the next word: 보고 (왔다), 해 (봤다)."""
    for number in (index, index + 1):
        if (
            number + 1 < len(rest)
            and rest[number].tags[-1] == "EC"
            and (number == index or rest[number].tag == "EC")
        ):
            return number
    return None


def _is_past(rest: tuple[Morpheme, ...]) -> bool:
    """Returns whether the first predicate, with its auxiliaries, is in the past and says how things were."""
    index = next((number for number, morpheme in enumerate(rest) if morpheme.is_predicate), len(rest))
    while (joint := _joint(rest, index)) is not None and rest[joint + 1].tags[0] == "VX":
        index = joint + 1
    if index < len(rest) and not _is_past_ending(rest[index]):
        index += 1
        if index < len(rest) and rest[index].tags[0] != "EP":
            return False
    if index + 1 >= len(rest) or not _is_past_ending(rest[index]):
        return False
    if len(rest[index].tags) > 1 and rest[index].tags[-1] != "EP":
        return rest[index].tags[-1] == "EF"
    ending = rest[index + 1]
    return ending.tags == ("EF",) or (ending.tags == ("EC",) and ending.text in _AFTER_PAST)


def _is_future(rest: tuple[Morpheme, ...]) -> bool:
    """Returns whether the sentence ends with an intention or a forecast: 겠습니다, 을게요, 을 것이다, 을 예정입니다."""
    words = [morpheme for morpheme in rest if morpheme.tags[0][0] != "S"]
    if len(words) < 2 or words[-1].tags[-1] != "EF":
        return False
    if sum(morpheme.is_predicate for morpheme in words[:-3]) > 1:
        return False
    last, before = words[-1], words[-2]
    if before.tag == "EP":
        return before.text == "겠" and last.text in ("습니다", "다", "어요", "지요", "죠", "네요")
    if last.text.endswith(("게요", "게")):
        return (last.is_predicate or before.is_predicate) and any(
            final_of(char) == "ㄹ" for char in last.text
        )
    copula = next((place for place in (-1, -2) if words[place].tags[0] == "VCP"), None)
    if copula is None or len(words) < 2 - copula:
        return False
    noun, verb = words[copula - 1], words[copula - 2]
    return (
        noun.text in ("것", "거", "예정", "계획")
        and verb.tags[-1] == "ETM"
        and final_of(verb.text[-1]) == "ㄹ"
    )
