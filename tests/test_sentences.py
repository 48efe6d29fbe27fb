"""Sentence splitters: our rule, and that every one of them loses nothing."""

import importlib.util

import pytest
from samples import GOLDEN

from morphbert.corpus.sentences import split_sentences
from morphbert.corpus.splitters import load_splitter, require_splitter
from morphbert.errors import MorphbertError


@pytest.mark.parametrize(
    "sentences",
    [
        ["어제 학교에 갔습니다.", "그런데 3.14점을 받았다!", "왜 그럴까?"],
        ['그는 "가자." 라고 했다.', '"좋아!"라고 답했다.', "(끝)"],
        ["2019. 3. 1.에 시작했다.", "1. 첫째 항목이다.", "2. 둘째 항목이다.", "가. 목적은 없다."],
        ["Dr. Kim은 U.S. 출신이다.", "J. Lee도 그렇다."],
        ["회의가 끝났습니다", "그리고 모두 돌아갔습니다만 아무도 말이 없었다."],
        ["재밌다ㅋㅋ", "추천해요", "꼭 보세요~"],
        ["진짜 멋져요 ㅠㅠ", "또 보고 싶어요 ㅋㅋㅋ", "추천합니다"],
        ["진짜... 별로였다...", "그래도 끝까지 봤다…"],
        ["동의하십니까?", "저는 동의합니다!!", "「끝」"],
        ["자세한 것은 https://example.com/a.b?c=1 에서 보면 된다."],
        ["필요 없는 것은 중요 사항이 아니다."],
        # 십니까 ends a sentence, 하니까 and 그러니까 do not.
        ["안녕하십니까", "저는 학생이니까 그러니까 도와주실 수 있겠습니까", "부탁합니다."],
        ["문을 잠근 채로요", "아무도 없더라고요", "제가 열어 드릴게요", "수요 조사와 가요 대회는 취소됐다."],
        # What is said or stands in brackets belongs to one sentence.
        ["우리는 “문을 열어라. 여기는 우리 집이다.”라고 외쳤다.", "아무도 없었다."],
        ['안내판에 "위험합니다. 들어가지 마시오."라고 적혀 있다.', "그래도 들어갔다."],
        ["법(이하 이 장에서 같다. 다만 예외가 있다)을 지킨다.", "끝이다."],
        ["대표로서 1. 조합의 의무를 다한다.", "그것이 전부다."],
        ["2017.08.27. 서울 선언문을 보라.", "[전문개정 2018. 4. 17.]", "제2조는 다음과 같다."],
        ["-. 첫째 항목이다.", "#. 둘째 항목이다."],
    ],
)
def test_sentences_joined_by_spaces_come_apart_again(sentences):
    assert split_sentences(" ".join(sentences)) == sentences


def test_a_forgotten_space():
    assert split_sentences("밥을 먹었다.그리고 잤어요!정말?응") == [
        "밥을 먹었다.",
        "그리고 잤어요!",
        "정말?응",
    ]


def test_a_quotation_mark_that_is_never_closed_swallows_nothing():
    text = '그는 "이제 됐다. 그만하자. ' + "우리는 걸었다. " * 60
    assert len(split_sentences(text)) == 62


def test_nothing_is_lost():
    text = "가. 나... 다? (라.) ㅋㅋ 마ㅠ 바다. 사요 아니다~ 자 2. 3 차!"
    assert "".join(split_sentences(text)).replace(" ", "") == text.replace(" ", "")
    assert split_sentences("") == split_sentences("  ") == []


@pytest.mark.parametrize("name", ["rule", "line", "kiwipiepy", "kss"])
def test_every_splitter_keeps_all_characters(name):
    if name in ("kiwipiepy", "kss") and importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install {name}")
    load_splitter.cache_clear()
    split = load_splitter(name)
    paragraphs = (GOLDEN / "documents_ko.txt").read_text(encoding="utf-8").splitlines()[:20]
    for paragraph in [*paragraphs, "안녕하십니까 😀 저는 학생입니다.그래요?  네", "", "ㅋ" * 12_000]:
        sentences = split(paragraph)
        assert all(sentence.strip() == sentence and sentence for sentence in sentences)
        assert "".join("".join(sentences).split()) == "".join(paragraph.split())
    if name != "line":
        assert split("밥을 먹었습니다. 그리고 잤습니다.") == ["밥을 먹었습니다.", "그리고 잤습니다."]


def test_a_splitter_that_is_not_installed_names_the_remedy(monkeypatch):
    monkeypatch.setattr("morphbert.corpus.splitters.find_spec", lambda name: None)
    with pytest.raises(MorphbertError, match="pip install kss"):
        require_splitter("kss")
