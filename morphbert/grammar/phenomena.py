"""The table of phenomena: a name, the rule that finds it, and an example."""

from __future__ import annotations

from typing import NamedTuple

from morphbert.grammar import endings, honorifics, negation, particles, tense
from morphbert.grammar.change import Rule


class Phenomenon(NamedTuple):
    """One kind of mistake.

    Attributes:
      rule: finds the places in a sentence.
      example: the right form and the wrong one.
      masks_noun: whether the noun before the particle is scored, masked as a whole, instead of the whole sentence.
    """

    rule: Rule
    example: str
    masks_noun: bool = False


PHENOMENA: dict[str, Phenomenon] = {
    "topic": Phenomenon(particles.topic, "학생은 → 학생는"),
    "topic_masked_noun": Phenomenon(particles.topic, "[MASK]은 → [MASK]는", masks_noun=True),
    "subject": Phenomenon(particles.subject, "학교가 → 학교이"),
    "subject_masked_noun": Phenomenon(particles.subject, "[MASK]가 → [MASK]이", masks_noun=True),
    "object": Phenomenon(particles.object_, "책을 → 책를"),
    "object_masked_noun": Phenomenon(particles.object_, "[MASK]을 → [MASK]를", masks_noun=True),
    "and": Phenomenon(particles.and_, "친구와 → 친구과"),
    "and_masked_noun": Phenomenon(particles.and_, "[MASK]와 → [MASK]과", masks_noun=True),
    "direction": Phenomenon(particles.direction, "집으로 → 집로"),
    "direction_masked_noun": Phenomenon(particles.direction, "[MASK]으로 → [MASK]로", masks_noun=True),
    "case": Phenomenon(particles.case, "문제가 있다 → 문제를 있다"),
    "particle_order": Phenomenon(particles.order, "학교에서는 → 학교는에서"),
    "ending_order": Phenomenon(endings.order, "먹었습니다 → 먹습니다었"),
    "honorific_agreement": Phenomenon(honorifics.agreement, "선생님께서 가신다 → 선생님께서 간다"),
    "honorific_self": Phenomenon(honorifics.about_oneself, "제가 하겠습니다 → 제가 하시겠습니다"),
    "tense": Phenomenon(tense.adverb, "어제 갔다 → 내일 갔다"),
    "negative_polarity": Phenomenon(negation.polarity, "아무도 없다 → 아무도 있다"),
    "negative_adverb": Phenomenon(negation.adverb, "안 좋다 → 못 좋다"),
    "negative_spelling": Phenomenon(negation.spelling, "가지 않는다 → 가지 안는다"),
}
