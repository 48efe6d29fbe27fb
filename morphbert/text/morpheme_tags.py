"""`--morpheme_tags`: which of the analyser's boundaries cut an eojeol, by the parts of speech on their two sides.

    J       only particles (josa) are cut off: 사과나무|를 심었습니다
    J,E     particles and endings: 사과나무|를 심|었|습니다
    -E      everything is cut, but endings stay with what they follow: 사과|나무|를 심었습니다

A tag stands for all tags that begin with it (J: JKS, JKO, JX…). A morpheme that two have grown into (갔: VV+EP) has
the first as its left side and the second as its right.
"""

from __future__ import annotations

from dataclasses import dataclass

from morphbert.errors import MorphbertError

# mecab-ko-dic's parts of speech (its pos-id.def), which are nearly those of the Sejong corpus.
TAGS = (
    "NNG NNP NNB NNBC NR NP VV VA VX VCP VCN MM MAG MAJ IC JKS JKC JKG JKO JKB JKV JKQ JX JC EP EF EC ETN ETM "
    "XPN XSN XSV XSA XR SF SP SE SSO SSC SC SY SL SH SN"
).split()


@dataclass(frozen=True)
class TagRule:
    """Decides on the boundary between two morphemes of an eojeol.

    Attributes:
      tags: beginnings of tags.
      only: True cuts where one of the two sides has such a tag, and nowhere else; False cuts everywhere but before
        a morpheme with such a tag.
    """

    tags: tuple[str, ...]
    only: bool

    def cuts(self, left: str, right: str) -> bool:
        """Whether an eojeol is cut between morphemes with these tags: rule J, `("NNG", "JKO")` → True."""
        before = right.partition("+")[0].startswith(self.tags)
        if self.only:
            return before or left.rpartition("+")[2].startswith(self.tags)
        return not before


def parse_tag_rule(text: str) -> TagRule | None:
    """The value of `--morpheme_tags` → its rule; None for an empty one, which cuts at every boundary.

    Raises:
      MorphbertError: there is no such tag, or some have a minus and others not.
    """
    given = [part.strip() for part in text.split(",") if part.strip()]
    if not given:
        return None
    minus = [part.startswith("-") for part in given]
    if any(minus) and not all(minus):
        raise MorphbertError(
            f"--morpheme_tags={text}: with a minus, tags say where not to cut, without one where to cut only. Give all "
            "of them with a minus or none."
        )
    tags = tuple(part.removeprefix("-") for part in given)
    for tag in tags:
        if not tag or not any(known.startswith(tag) for known in TAGS):
            raise MorphbertError(
                f"--morpheme_tags={text}: there is no tag {tag!r}. Known, by their beginnings too: {' '.join(TAGS)}"
            )
    return TagRule(tags, not any(minus))
