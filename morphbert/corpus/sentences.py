"""Splits Korean paragraphs into sentences by surface rules: fast enough for any corpus, without an analyser.

A sentence ends

- at `.`, `?`, `!`, `…` before a space, with the closing quotes and brackets that follow;
- at the same marks without the space, if a sentence-final ending is before them: `갔다.그리고`;
- after an ending that rarely occurs elsewhere, if the full stop is missing (`갔습니다 그리고`) or replaced by ㅋㅋ,
  ㅠㅠ or ~ (`재밌다ㅋㅋ 추천`).

It does not end in `3.14`, `2019. 3. 1.`, `1. 첫째`, `가. 목적`, `Dr. Kim`, nor within quotation marks or brackets, nor
before the continuation of a quotation: `"가자." 라고 했다`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_CLOSING = r"[\"'”’」』)\]》〉]*"
# Endings of whole sentences: plain (다), polite (요, 죠), question (까) and clipped (음, 함, 임, 됨, 네).
_FINAL = "다요죠까음함임됨네"
# Syllables that end in ㅂ: 합니까, 십니까; but 하니까 goes on.
_ENDS_IN_B = "".join(chr(code) for code in range(ord("가") + 17, ord("힣") + 1, 28))
# 요 after the vowels of endings, but not in 필요, 중요, 수요, 가요.
_BEFORE_YO = "어아여해에예네세군지데나까래와워봐줘돼되져려겨켜게께서로구대걸셔쳐둬써커떠고라러타파빠싸뻐퍼"
_BARE = rf"니다|[{_ENDS_IN_B}]니까|[{_BEFORE_YO}]요|[은는인건던]가요|죠"
_FACE = "[ㅋㅎ]{2,}|[ㅠㅜ]+|[~^]+"
_CANDIDATE = re.compile(
    rf"""
    (?<![.?!…。？！])(?P<stop>[.?!…。？！]+{_CLOSING})(?=\s)
    | (?<=[{_FINAL}])(?P<joined>[.?!…]+{_CLOSING})(?=["'“‘「『(]?[가-힣])
    | (?P<bare>(?<=[가-힣])(?:{_BARE})(?:\s(?:{_FACE}))? | (?<=[{_FINAL}])(?:{_FACE}))(?=\s)
    """,
    re.VERBOSE,
)
# The continuation of a sentence after a quotation.
_QUOTED = re.compile(r"\s*(?:이?라[고는며면]|이?란\b|거나\b|하[고며는]\b|[고는은며]\s)")
_LIST_MARK = re.compile(r"[(\[]?(?:\d{1,3}|[가-하]|[a-zA-Z]|[ivxIVX]{1,4})")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|No|Inc|Co|Ltd|Jr|Sr|cf|e\.g|i\.e|U\.S|[A-Z]))$")
_WORD = re.compile(r"\w")
_VISIBLE = re.compile(r"\S")
_NEXT_DIGIT = re.compile(r"\s+\d")
# A number alone before its stop numbers the following text, and a date is not an end.
_COUNTS = re.compile(r"(?:(?:^|\s)[(\[]?\d{1,2}|(?:\d{4}|\d{2}|')\s?\.\s?\d{1,2}\s?\.\s?\d{1,2})$")
_COUNTS_LENGTH = 14
# Quoted or bracketed text belongs to one sentence; a longer span more likely means a missing closing mark.
_SPAN = re.compile(
    r"""“[^“”]{1,300}”|‘[^‘’]{1,300}’|「[^「」]{1,300}」|『[^『』]{1,300}』|\([^()]{1,300}\)|(?<![^\s(,])"[^"]{1,300}\""""
)
_ABBREVIATION_LENGTH = 5


def split_sentences(text: str) -> list[str]:
    """Returns the sentences of one paragraph, without the white space around them.

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
    # The beginning of the sentence without white space, and its first letter or digit. Each is searched once: a search
    # back from every stop would take quadratic time in a text such as `! ! ! !`.
    start, word = _first(_VISIBLE, text, 0), _first(_WORD, text, 0)
    spans = _SPAN.finditer(text)
    span = next(spans, None)
    for match in _CANDIDATE.finditer(text):
        end = match.end()
        while span is not None and span.end() <= match.start():
            span = next(spans, None)
        if span is not None and span.start() < match.start() and end < span.end():
            continue
        if _QUOTED.match(text, end) or (
            match.lastgroup == "stop" and not _ends_here(text, start, word, match.start(), end)
        ):
            continue
        yield end
        start = _first(_VISIBLE, text, end)
        word = word if word >= end else _first(_WORD, text, end)


def _first(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Returns the position of the first match of a pattern, or the end of the text."""
    match = pattern.search(text, start)
    return match.start() if match else len(text)


def _ends_here(text: str, start: int, word: int, stop: int, end: int) -> bool:
    """Returns whether the stop at `stop:end` ends the sentence that begins at `start` and has its first letter at
    `word`.
    """
    if word >= stop:
        return False  # `-.` and `#.` are list marks
    mark = text[stop:end]
    if mark[0] in ".…" and ((len(mark) > 1 and mark[1] == ".") or mark[0] == "…"):
        # Three dots are as often a pause as an end.
        return stop > start and text[stop - 1] in _FINAL + "ㅋㅎㅠㅜ"
    if mark[0] != ".":
        return True
    if _LIST_MARK.fullmatch(text, start, stop):
        return False
    if text[stop - 1 : stop].isdigit() and (
        _NEXT_DIGIT.match(text, end)
        or (mark == "." and _COUNTS.search(text, max(start, stop - _COUNTS_LENGTH), stop))
    ):
        return False
    return _ABBREVIATION.search(text, max(start, stop - _ABBREVIATION_LENGTH), stop) is None
