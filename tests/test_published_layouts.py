"""Published data sets are read as they are: small files in the same form, with made-up text."""

import json

import pytest

from morphbert.formats.labels import read_labelled
from morphbert.formats.questions import read_questions
from morphbert.formats.relations import read_relations

QUOTED = '그는 "좋다"고 했다'


def written(path, content):
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=1)
    path.write_text(text, encoding="utf-8")
    return str(path)


def lines(*rows):
    return "".join("\t".join(row) + "\n" for row in rows)


def test_nsmc(tmp_path):
    path = written(
        tmp_path / "ratings_train.txt",
        lines(
            ("id", "document", "label"),
            ("9976970", "아 더빙.. 목소리가 별로", "0"),
            ("3819312", f"{QUOTED} 그리고 ,쉼표,", "1"),
            ("10265843", "", "0"),
        ),
    )
    found = read_labelled(path, ["document"], "label")
    assert [(row["document"], row["label"]) for row in found.rows] == [
        ("아 더빙.. 목소리가 별로", "0"),
        (f"{QUOTED} 그리고 ,쉼표,", "1"),
        ("", "0"),
    ]
    assert found.summary.startswith("3 examples, 2 labels: 0 (2), 1 (1); 1 without text, the first at")


def test_kornli(tmp_path):
    path = written(
        tmp_path / "multinli.train.ko.tsv",
        lines(
            ("sentence1", "sentence2", "gold_label"),
            (QUOTED, "그는 좋아했다", "entailment"),
            ("비가 온다", "비가 오지 않는다", "contradiction"),
            ("비가 온다", "우산이 있다", "neutral"),
        ),
    )
    found = read_labelled(path, ["sentence1", "sentence2"], "gold_label")
    assert [row["gold_label"] for row in found.rows] == ["entailment", "contradiction", "neutral"]
    assert (found.rows[0]["sentence1"], found.rows[0]["sentence2"]) == (QUOTED, "그는 좋아했다")


def test_korsts(tmp_path):
    path = written(
        tmp_path / "sts-train.tsv",
        lines(
            ("genre", "filename", "year", "id", "score", "sentence1", "sentence2"),
            ("main-captions", "MSRvid", "2012test", "0001", "5.000", "비행기가 뜬다", "비행기가 떠오른다"),
            ("main-news", "headlines", "2013", "0002", "0.25", QUOTED, "비가 온다"),
        ),
    )
    found = read_labelled(path, ["sentence1", "sentence2"], "score", "score")
    assert [float(row["score"]) for row in found.rows] == [5.0, 0.25]
    assert found.rows[1]["sentence1"] == QUOTED


@pytest.mark.parametrize(
    ("fields", "texts", "column", "kind", "label"),
    [
        (
            {"title": "제목", "predefined_news_category": "사회", "label": "사회"},
            ["title"],
            "label",
            "class",
            "사회",
        ),
        (
            {
                "sentence1": "가",
                "sentence2": "나",
                "labels": {"label": 3.7, "real-label": 3.71, "binary-label": 1},
            },
            ["sentence1", "sentence2"],
            "labels.label",
            "score",
            3.7,
        ),
        (
            {
                "sentence1": "가",
                "sentence2": "나",
                "labels": {"label": 3.7, "real-label": 3.71, "binary-label": 1},
            },
            ["sentence1", "sentence2"],
            "labels.binary-label",
            "class",
            "1",
        ),
        (
            {"premise": "가", "hypothesis": "나", "gold_label": "neutral", "author": "neutral"},
            ["premise", "hypothesis"],
            "gold_label",
            "class",
            "neutral",
        ),
    ],
    ids=["tc", "sts", "sts-binary", "nli"],
)
def test_klue_tables(tmp_path, fields, texts, column, kind, label):
    entries = [{"guid": f"예문_{n}", "source": "예문", **fields} for n in range(2)]
    array = written(tmp_path / "array.json", entries)
    by_line = written(tmp_path / "lines.jsonl", "".join(json.dumps(entry) + "\n" for entry in entries))
    for path in (array, by_line):
        rows = read_labelled(path, texts, column, kind).rows
        assert [row[column] for row in rows] == [label] * 2
        assert [[row[name] for name in texts] for row in rows] == [[fields[name] for name in texts]] * 2


def test_klue_re(tmp_path):
    sentence = "〈꽃〉은 김소월이 쓴 시이다."
    entry = {
        "guid": "예문-re-0",
        "sentence": sentence,
        "subject_entity": {"word": "꽃", "start_idx": 1, "end_idx": 1, "type": "POH"},
        "object_entity": {"word": "김소월", "start_idx": 5, "end_idx": 7, "type": "PER"},
        "label": "no_relation",
        "source": "예문",
    }
    (example,) = read_relations(written(tmp_path / "re.json", [entry]))[0]
    assert sentence[example.subject.start : example.subject.end] == "꽃"
    assert sentence[example.object.start : example.object.end] == "김소월"
    assert (example.label, example.object.type) == ("no_relation", "PER")


def test_korquad_2_1(tmp_path):
    context = "<h1>한강</h1> 한강은 서울을 지난다."
    entry = {
        "id": "1",
        "question": "한강은 어디를 지나나?",
        "answer": {
            "text": "서울",
            "answer_start": context.index("서울"),
            "html_answer_start": 0,
            "html_answer_text": "서울",
        },
    }
    article = {
        "title": "한강",
        "url": "예문",
        "context": context,
        "raw_html": "<html></html>",
        "qas": [entry],
    }
    path = written(tmp_path / "korquad2.1_dev_00.json", {"version": "KorQuAD_2.1_dev", "data": [article]})
    (question,), statistics = read_questions(path)
    assert (question.id, question.golds) == ("1", ("서울",))
    assert statistics.answers == 1
