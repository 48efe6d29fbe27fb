"""Particles: their forms after consonants and vowels, their cases, and their order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from morphbert.grammar.change import Change
from morphbert.grammar.sentence import Morpheme, Sentence
from morphbert.grammar.syllables import final_of
from morphbert.text.characters import is_hangul_syllable


class Forms(NamedTuple):
    """A particle with two forms: after a consonant, after a vowel, and the tags that it has."""

    after_consonant: str
    after_vowel: str
    tags: tuple[str, ...]

    def after(self, syllable: str) -> str:
        """Returns the form that is right after a syllable; 로 stands after ㄹ, too."""
        final = final_of(syllable)
        closed = bool(final) and not (final == "ㄹ" and self.after_vowel == "로")
        return self.after_consonant if closed else self.after_vowel

    def other(self, form: str) -> str:
        """은 → 는, 는 → 은."""
        return self.after_vowel if form == self.after_consonant else self.after_consonant


TOPIC = Forms("은", "는", ("JX",))
SUBJECT = Forms("이", "가", ("JKS", "JKC"))
OBJECT = Forms("을", "를", ("JKO",))
AND = Forms("과", "와", ("JC", "JKB"))
DIRECTION = Forms("으로", "로", ("JKB",))


def form_after_noun(forms: Forms, sentence: Sentence) -> Iterator[Change]:
    """책을 → 책를: the form that belongs after a vowel stands after a consonant, or the other way round."""
    for index, morpheme in _particles(forms, sentence):
        noun = _noun_before(sentence, index)
        if noun is not None and sentence.ends_word(index):
            new = forms.other(morpheme.text)
            yield Change(morpheme.start, morpheme.end, new, noun, particle=len(new))


def _particles(forms: Forms, sentence: Sentence) -> Iterator[tuple[int, Morpheme]]:
    """Yields the morphemes that are this particle, in the right form, after a noun in Hangul."""
    for index, morpheme in enumerate(sentence.morphemes):
        if (
            index
            and not morpheme.begins_word
            and morpheme.tag in forms.tags
            and morpheme.text in forms[:2]
            and (sentence.morphemes[index - 1].is_noun or sentence.morphemes[index - 1].tag == "ETN")
            and is_hangul_syllable(sentence.text[morpheme.start - 1])
            and forms.after(sentence.text[morpheme.start - 1]) == morpheme.text
        ):
            yield index, morpheme


def _noun_before(sentence: Sentence, index: int) -> tuple[int, int] | None:
    """Returns the characters of the noun that a word consists of up to a morpheme; None where it has something else."""
    first = index
    while not sentence.morphemes[first].begins_word:
        first -= 1
        if not sentence.morphemes[first].is_noun:
            return None
    start, end = sentence.morphemes[first].start, sentence.morphemes[index].start
    return (start, end) if all(map(is_hangul_syllable, sentence.text[start:end])) else None


# Verbs that take one noun in either case (영화를 시작했다, 영화가 시작했다), and verbs of a way.
_EITHER_CASE = frozenset(
    "시작 계속 반복 지속 완료 종료 폐업 확대 확산 증가 감소 변화 변경 변질 진행 마비 개봉 상영 회복 해결 통과 성공 "
    "실패 이동 출발 움직이 움직여 움직 멈추 멈춰 그치 다치 다쳐 끝내 마치 마쳐 내리 내려 울리 울려 지나 넘 넘어 떠나 "
    "벗어나 나가 나오 가 오 걷 다니 "
    "보이 보여 들리 되 돼 살 날 나 하 걸리 걸려 생기 차 들 들어 서 맞 타 켜 열 닫".split()
)


def case(sentence: Sentence) -> Iterator[Change]:
    """이 ↔ 을 where the predicate, the next word, leaves no choice.

    - 문제가 있다 → 문제를 있다: an adjective, or 있다 or 없다, ends the sentence;
    - 문제가 된다 → 문제를 된다: with 되다 and 아니다;
    - 그가 책을 읽었다 → 그가 책이 읽었다: the verb has its subject already.
    """
    for index, _ in _particles(SUBJECT, sentence):
        if sentence.begins(index + 1) and (
            _ends_with_adjective(sentence, index + 1) or _is_become_or_not(sentence, index + 1)
        ):
            yield _with_case(sentence, index, OBJECT)
    for index, _ in _particles(OBJECT, sentence):
        if (
            sentence.begins(index + 1)
            and _has_subject(sentence, index)
            and _takes_object(sentence, index + 1)
        ):
            yield _with_case(sentence, index, SUBJECT)


def _with_case(sentence: Sentence, index: int, forms: Forms) -> Change:
    start, end = sentence.morphemes[index].start, sentence.morphemes[index].end
    new = forms.after(sentence.text[start - 1])
    return Change(start, end, new, particle=len(new))


def _ends_with_adjective(sentence: Sentence, index: int) -> bool:
    rest = sentence.morphemes[index:]
    if not rest or sentence.morphemes[index - 2].tag == "NP":  # 내가, 네가: their object has another noun
        return False
    adjective = rest[0].tags[0] == "VA" or (rest[0].tags[0] == "VV" and rest[0].text[0] in "있없")
    tags = [tag for morpheme in rest for tag in morpheme.tags if tag[0] != "S"]
    ends = "EF" in tags and all(tag in ("VA", "VV", "EP", "EF") for tag in tags)
    only_stops = all(morpheme.tags[0] in ("SF", "SE") for morpheme in rest if morpheme.tags[0][0] == "S")
    return adjective and ends and only_stops


def _is_become_or_not(sentence: Sentence, index: int) -> bool:
    rest = sentence.morphemes[index:]
    if len(rest) < 2 or sentence.morphemes[index - 2].tag == "NP":
        return False
    verb = rest[0]
    is_become = verb.tags[0] == "VV" and verb.text[0] in "되된될됩됐돼"
    if not (is_become or verb.tags[0] == "VCN"):
        return False
    if verb.tags[-1][0] == "E" and verb.tags[-1] != "EP":
        return "EF" in verb.tags
    ending = next((morpheme for morpheme in rest[1:] if morpheme.tags[-1] != "EP"), None)
    return ending is not None and ending.tags[-1] == "EF"


def _has_subject(sentence: Sentence, index: int) -> bool:
    """Returns whether the clause of an object has a subject before it, with no other predicate or subject between."""
    subjects = 0
    for morpheme in reversed(sentence.morphemes[:index]):
        if morpheme.is_predicate or morpheme.tag in ("JKO", "JC", "JKG", "JKQ", "SC"):
            break
        if morpheme.tag == "JKS":
            subjects += 1
    return subjects == 1


def _takes_object(sentence: Sentence, index: int) -> bool:
    rest = sentence.morphemes[index:]
    if len(rest) < 2:
        return False
    first, second = rest[0], rest[1]
    if first.tags[0] == "NNG" and second.tags[0] == "XSV" and not second.begins_word:
        verb, after = first.text, rest[1:4]
        if second.text[0] not in "하한합할했해":
            return False
    elif first.tags[0] == "VV":
        verb, after = first.text, rest[:3]
    else:
        return False
    wish = any(morpheme.text.startswith("싶") for morpheme in after)
    return verb not in _EITHER_CASE and not wish


_FIRST_PARTICLES = ("에서", "에게", "에게서", "한테", "으로", "로", "에", "와", "과", "께")
_SECOND_PARTICLES = ("는", "도", "은")


def order(sentence: Sentence) -> Iterator[Change]:
    """학교에서는 → 학교는에서: two particles in the other order."""
    for first, second in pairwise(sentence.morphemes):
        if (
            first.tag == "JKB"
            and second.tag == "JX"
            and not first.begins_word
            and not second.begins_word
            and first.text in _FIRST_PARTICLES
            and second.text in _SECOND_PARTICLES
        ):
            yield Change(first.start, second.end, second.text + first.text, particle=len(second.text))


topic = partial(form_after_noun, TOPIC)
subject = partial(form_after_noun, SUBJECT)
object_ = partial(form_after_noun, OBJECT)
and_ = partial(form_after_noun, AND)
direction = partial(form_after_noun, DIRECTION)
