"""Korean paragraphs → sentences, by rules on the surface: fast enough for any corpus, no analyser needed.

A sentence ends

- at `.`, `?`, `!`, `…` before a space, with the closing quotes and brackets that follow;
- at the same where the space was forgotten, if a sentence-final ending stands before it: `갔다.그리고`;
- after an ending that hardly ever stands elsewhere, where the full stop was forgotten: `갔습니다 그리고`, or
  where ㅋㅋ, ㅠㅠ or ~ stand in its place: `재밌다ㅋㅋ 추천`.

It does not end in `3.14`, `2019. 3. 1.`, `1. 첫째`, `가. 목적`, `Dr. Kim`, nor before what belongs to a
quotation: `"가자." 라고 했다`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_CLOSING = r"[\"'”’」』)\]》〉]*"
# Endings of whole sentences: plain (다), polite (요, 죠), question (까) and clipped (음, 함, 임, 됨, 네).
_FINAL = "다요죠까음함임됨네"
_BARE = r"니다|[습ㅂ]니까|[어아여해에예네세군지데나까래]요|[은는인건던]가요|죠"
_CANDIDATE = re.compile(
    rf"""
    (?P<stop>[.?!…。？！]+{_CLOSING})(?=\s)
    | (?<=[{_FINAL}])(?P<joined>[.?!…]+{_CLOSING})(?=["'“‘「『(]?[가-힣])
    | (?P<bare>(?<=[가-힣])(?:{_BARE}) | (?<=[{_FINAL}])(?:[ㅋㅎ]{{2,}}|[ㅠㅜ]+|[~^]+))(?=\s)
    """,
    re.VERBOSE,
)
# What goes on with the sentence after a quotation.
_QUOTED = re.compile(r"\s*(?:이?라[고는며면]|이?란\b|거나\b|하[고며는]\b|[고는은며]\s)")
_LIST_MARK = re.compile(r"\s*[(\[]?(?:\d{1,3}|[가-하]|[a-zA-Z]|[ivxIVX]{1,4})")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|No|Inc|Co|Ltd|Jr|Sr|cf|e\.g|i\.e|U\.S|[A-Z]))$")
_NEXT_DIGIT = re.compile(r"\s+\d")
_ABBREVIATION_LENGTH = 5


def split_sentences(text: str) -> list[str]:
    """One paragraph → its sentences, without the white space around them.

    `"어제 학교에 갔습니다.그런데 3.5점을 받았다! 왜 그럴까?"` →
    `["어제 학교에 갔습니다.", "그런데 3.5점을 받았다!", "왜 그럴까?"]`
    """
    sentences = []
    start = 0
    for end in _ends(text):
        sentence = text[start:end].strip()
        if sentence:
            sentences.append(sentence)
        start = end
    rest = text[start:].strip()
    if rest:
        sentences.append(rest)
    return sentences


def _ends(text: str) -> Iterator[int]:
    start = 0
    for match in _CANDIDATE.finditer(text):
        end = match.end()
        if _QUOTED.match(text, end) or (
            match.lastgroup == "stop" and not _ends_here(text, start, match.start(), end)
        ):
            continue
        yield end
        start = end


def _ends_here(text: str, start: int, stop: int, end: int) -> bool:
    """Whether the stop at `stop:end` ends the sentence that began at `start`."""
    mark = text[stop:end]
    if mark[0] in ".…" and ((len(mark) > 1 and mark[1] == ".") or mark[0] == "…"):
        # Three dots are a pause as often as an end.
        return stop > start and text[stop - 1] in _FINAL + "ㅋㅎㅠㅜ"
    if mark[0] != ".":
        return True
    if _LIST_MARK.fullmatch(text, start, stop):
        return False
    if text[stop - 1 : stop].isdigit() and _NEXT_DIGIT.match(text, end):
        return False
    return _ABBREVIATION.search(text, max(start, stop - _ABBREVIATION_LENGTH), stop) is None
