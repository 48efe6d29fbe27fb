"""prepare_corpus.py and the sentence rule."""

import gzip
import json

import pytest

from morphbert.cli.prepare_corpus import main
from morphbert.text.sentences import split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["어제 학교에 갔습니다.", "그런데 3.14점을 받았다!", "왜 그럴까?"],
        ['그는 "가자." 라고 했다.', '"좋아!"라고 답했다.', "(끝)"],
        ["2019. 3. 1.에 시작했다.", "1. 첫째 항목이다.", "2. 둘째 항목이다.", "가. 목적은 없다."],
        ["Dr. Kim은 U.S. 출신이다.", "J. Lee도 그렇다."],
        ["회의가 끝났습니다", "그리고 모두 돌아갔습니다만 아무도 말이 없었다."],
        ["재밌다ㅋㅋ", "추천해요", "꼭 보세요~"],
        ["진짜... 별로였다...", "그래도 끝까지 봤다…"],
        ["동의하십니까?", "저는 동의합니다!!", "「끝」"],
        ["자세한 것은 https://example.com/a.b?c=1 에서 보면 된다."],
        ["필요 없는 것은 중요 사항이 아니다."],
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


def test_nothing_is_lost():
    text = "가. 나... 다? (라.) ㅋㅋ 마ㅠ 바다. 사요 아니다~ 자 2. 3 차!"
    assert "".join(split_sentences(text)).replace(" ", "") == text.replace(" ", "")
    assert split_sentences("") == split_sentences("  ") == []


@pytest.fixture
def run(tmp_path):
    def run(content, *flags, name="in.txt", output="out.txt", status=0):
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        flags = [f"--input_file={tmp_path / name}", f"--output_file={tmp_path / output}", *flags]
        assert main(["--num_workers=1", *flags]) == status
        return (tmp_path / output).read_bytes() if status == 0 else (tmp_path / output).exists()

    return run


def test_documents_of_plain_text(run, capsys):
    written = run("첫째다. 둘째다.\n셋째\u200b다.\n\n  \n\n새  문서다.\n")
    assert written.decode() == "첫째다.\n둘째다.\n셋째다.\n\n새 문서다.\n"
    assert "wrote 2 documents with 4 sentences (18 characters)" in capsys.readouterr().out


def test_lines_may_be_sentences_already(run):
    assert run("첫째다. 둘째다.\n셋째다.\n", "--splitter=line").decode() == "첫째다. 둘째다.\n셋째다.\n"


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz", "in.json"])
def test_documents_of_json_lines(run, name):
    rows = [{"text": "가다. 나다.\n다다."}, {"text": ""}, {"text": None}, {"text": "끝 \ud800"}]
    content = "\n".join(map(json.dumps, rows)).encode()
    written = run(gzip.compress(content) if name.endswith("gz") else content, name=name)
    assert written.decode() == "가다.\n나다.\n다다.\n\n끝 \ufffd\n"


def test_nested_fields_and_compressed_output(run):
    row = json.dumps({"id": 1, "article": {"body": "본문이다."}})
    written = run(row, "--text_field=article.body", "--format=jsonl", output="out.txt.gz")
    assert gzip.decompress(written).decode() == "본문이다.\n"
    assert written == run(row, "--text_field=article.body", "--format=jsonl", output="out2.txt.gz")


def test_workers_change_nothing(run, monkeypatch):
    monkeypatch.setattr("morphbert.text.corpus._BLOCK_CHARACTERS", 50)
    text = "\n".join(f"{number}번째 문서다. 길지 않다.\n" for number in range(100))
    assert run(text) == run(text, "--num_workers=3", output="other.txt")


def test_what_is_left_out_is_said(run, capsys):
    text = "같은 글이다.\n\n같은  글이다.\n\n짧다.\n\nonly English text here.\n\n정말 재밌다ㅋㅋㅋㅋㅋㅋ 1000000원\n"
    flags = ["--drop_duplicates", "--min_characters=5", "--min_hangul_share=0.3", "--max_repeats=2"]
    assert run(text, *flags).decode() == "같은 글이다.\n\n정말 재밌다ㅋㅋ\n1000000원\n"
    assert "(left out: duplicate: 1, too short: 1, too little Hangul: 1)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ("\n \n", [], "holds a document"),
        ('{"text": "가"}\n{"text": ', ["--format=jsonl"], "line 2: not JSON"),
        ('{"body": "가"}', ["--format=jsonl"], "found: body"),
        ('{"text": 3}', ["--format=jsonl"], "holds int, not text"),
        ('["가"]', ["--format=jsonl"], "found: list"),
        ("가나다\n".encode("cp949"), [], "not UTF-8"),
        ("가나다\n", ["--min_characters=9"], "too short: 1"),
    ],
)
def test_bad_input_leaves_no_output(run, capsys, content, flags, message):
    assert run(content, *flags, status=1) is False
    assert message in capsys.readouterr().err
