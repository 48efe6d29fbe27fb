"""`--morpheme_tags` selects the boundaries that cut an eojeol, by the parts of speech on their two sides.

    J       only particles (josa) are cut off: 사과나무|를 심었습니다
    J,E     particles and endings: 사과나무|를 심|었|습니다
    -E      all boundaries cut, except those before endings: 사과|나무|를 심었습니다

A tag covers all tags that begin with it (J: JKS, JKO, JX…). A contraction of two morphemes (갔: VV+EP) has the first
tag on its left side and the second on its right.
"""

from __future__ import annotations

from dataclasses import dataclass

from morphbert.errors import MorphbertError

# mecab-ko-dic's parts of speech (its pos-id.def), close to those of the Sejong corpus.
TAGS = (
    "NNG NNP NNB NNBC NR NP VV VA VX VCP VCN MM MAG MAJ IC JKS JKC JKG JKO JKB JKV JKQ JX JC EP EF EC ETN ETM "
    "XPN XSN XSV XSA XR SF SP SE SSO SSC SC SY SL SH SN"
).split()


@dataclass(frozen=True)
class TagRule:
    """Decides on the boundary between two morphemes of an eojeol.

    Attributes:
      tags: beginnings of tags.
      only: True cuts only where one of the two sides has such a tag; False cuts everywhere except before a morpheme
        with such a tag.
    """

    tags: tuple[str, ...]
    only: bool

    def cuts(self, left: str, right: str) -> bool:
        """Returns whether an eojeol is cut between morphemes with these tags: rule J, `("NNG", "JKO")` → True."""
        before = right.partition("+")[0].startswith(self.tags)
        if self.only:
            return before or left.rpartition("+")[2].startswith(self.tags)
        return not before


def parse_tag_rule(text: str) -> TagRule | None:
    """Returns the rule of a value of `--morpheme_tags`; None for an empty value, which cuts at every boundary.

    Raises:
      MorphbertError: a tag is unknown, or only some tags have a minus.
    """
    given = [part.strip() for part in text.split(",") if part.strip()]
    if not given:
        return None
    minus = [part.startswith("-") for part in given]
    if any(minus) and not all(minus):
        raise MorphbertError(
            f"--morpheme_tags={text}: tags with a minus prevent cuts, and tags without it select them. Give all of "
            "them with a minus, or none."
        )
    tags = tuple(part.removeprefix("-") for part in given)
    for tag in tags:
        if not tag or not any(known.startswith(tag) for known in TAGS):
            raise MorphbertError(
                f"--morpheme_tags={text}: there is no tag {tag!r}. Known tags, which may be shortened to their "
                f"beginnings: {' '.join(TAGS)}"
            )
    return TagRule(tags, not any(minus))
