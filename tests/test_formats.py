"""Files of every kind, packing and encoding hold the same rows; published layouts are read as they are."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import typing
import unicodedata

import pytest
from samples import GOLDEN

from morphbert.errors import MorphbertError, UsageError
from morphbert.files import expand
from morphbert.formats import lines as lines_module
from morphbert.formats.labels import read_labelled
from morphbert.formats.lines import read_lines, read_text
from morphbert.formats.questions import read_questions
from morphbert.formats.raw_documents import (
    LINE_FORMATS,
    Format,
    InputFormat,
    is_plain_text,
    is_sentences,
    json_paragraphs,
    read_documents,
)
from morphbert.formats.relations import read_relations
from morphbert.formats.tables import read_table, rows_of

ROWS = [
    {"document": '"별 다섯" 개, 최고!', "label": "1"},
    {"document": "끝이 아쉽다\u2028그래도 좋다", "label": "0"},
]


def as_csv(rows) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


TABLES = {
    "a.tsv": "document\tlabel\n" + "".join(f"{row['document']}\t{row['label']}\n" for row in ROWS),
    "a.csv": as_csv(ROWS),
    "a.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS),
    "a.json": json.dumps(ROWS, ensure_ascii=False, indent=1),
    "b.json": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS),
}
PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("name", TABLES)
def test_tables_hold_the_same_rows_however_they_are_packed(tmp_path, name, ending):
    path = tmp_path / (name + ending)
    path.write_bytes(PACK[ending](TABLES[name].encode()))
    assert read_table(str(path), ["document", "label"]) == ROWS
    # Without an ending, the content shows the compression and the format.
    bare = tmp_path / "part-00000"
    bare.write_bytes(path.read_bytes())
    assert [dict(row) for row in rows_of(str(bare))] == ROWS


def test_zstandard_is_read_too(tmp_path):
    zstd = pytest.importorskip("backports.zstd", reason="zstd needs backports.zstd")
    (tmp_path / "a.tsv").write_bytes(zstd.compress(TABLES["a.tsv"].encode()))
    assert read_table(str(tmp_path / "a.tsv"), ["document", "label"]) == ROWS


@pytest.mark.parametrize("encoding", ["cp949", "euc-kr", "utf-16", "utf-8-sig", "utf-32"])
def test_encodings_that_are_named(tmp_path, encoding):
    rows = [{"document": "가나다 영화 후기", "label": "1"}, {"document": "다시 본다", "label": "0"}]
    (tmp_path / "a.csv").write_bytes(as_csv(rows).encode(encoding))
    named = "utf-8" if encoding == "utf-8-sig" else encoding
    assert read_labelled(str(tmp_path / "a.csv"), ["document"], "label", "class", named).rows == rows


@pytest.mark.parametrize(
    ("encoding", "remedy"),
    [
        (
            "cp949",
            "at byte 0 of the line). It reads as CP949. Give --encoding=cp949, or convert",
        ),
        (
            "utf-16",
            "a.txt is UTF-16 (its first bytes are that byte order mark), not UTF-8: give --encoding=utf-16",
        ),
        ("utf-32", "a.txt is UTF-32"),
        (
            "utf-16-le",
            "It looks like UTF-16LE. Give --encoding=utf-16le, or convert the file: iconv",
        ),
    ],
)
def test_other_encodings_are_named_with_the_remedy(tmp_path, encoding, remedy):
    (tmp_path / "a.txt").write_bytes("first\n한국어 문장\n".encode(encoding))
    for read in (lambda *a, **k: list(read_lines(*a, **k)), read_text):
        with pytest.raises(MorphbertError) as error:
            read(str(tmp_path / "a.txt"), encoding="utf-8")
        assert remedy in str(error.value)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (b"\xed\xa0\x80\xed\xb0\x80", "These bytes are surrogates, halves of a character of UTF-16"),
        ("가".encode()[:2], "The rest of the line is UTF-8: a character is damaged or cut off"),
    ],
)
def test_damaged_utf_8_is_not_told_to_be_another_encoding(tmp_path, damage, reason):
    (tmp_path / "a.txt").write_bytes("first\n한국어 ".encode() + damage + "문장\n".encode())
    for read in (lambda *a, **k: list(read_lines(*a, **k)), read_text):
        with pytest.raises(
            MorphbertError, match=r"a\.txt, line 2: not UTF-8 \(.* at byte 10 of the line\)"
        ) as error:
            read(str(tmp_path / "a.txt"), encoding="utf-8")
        assert reason in str(error.value)
        assert "CP949" not in str(error.value)


def test_a_long_line_of_cp949_is_not_told_to_be_damaged_utf_8(tmp_path):
    """Some of its bytes are those of other syllables in UTF-8."""
    line = (GOLDEN / "documents_ko.txt").read_text(encoding="utf-8").replace("\n", " ")
    (tmp_path / "a.txt").write_bytes(line.encode("cp949", "ignore"))
    with pytest.raises(MorphbertError, match=r"--encoding=cp949|iconv -f CP949"):
        list(read_lines(str(tmp_path / "a.txt"), encoding="utf-8"))


def test_an_unknown_encoding_is_a_wrong_flag():
    for name in ("klingon", "hex", "rot13"):
        with pytest.raises(UsageError, match="no text encoding has this name"):
            InputFormat(encoding=name)


def test_a_line_and_a_document_have_a_largest_size(tmp_path, monkeypatch):
    """A gigabyte packs into a few megabytes: the reading is bounded."""
    monkeypatch.setattr(lines_module, "LONGEST_LINE", 1 << 20)
    monkeypatch.setattr(lines_module, "LARGEST_DOCUMENT", 1 << 20)
    path = tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(b"short\n" + b"a" * (1 << 22)))
    with pytest.raises(MorphbertError, match=r"bomb.txt.gz, line 2: the line is longer than 1 MiB"):
        list(read_lines(str(path)))
    with pytest.raises(MorphbertError, match="one document of more than 1 MiB"):
        read_text(str(path))


# ── published layouts ──────────────────────────────────────────────────────────────────────────────────────


def write(path, content) -> str:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_klue_topics_and_inference(tmp_path):
    topics = [
        {"guid": f"ynat-v1_train_{i:05d}", "title": title, "label": label, "annotations": {"annotators": []}}
        for i, (title, label) in enumerate(
            [("유튜브 내달 2일까지", "생활문화"), ("어버이날 맑다가 흐려져", "정치")]
        )
    ]
    found = read_labelled(write(tmp_path / "ynat.json", topics), ["title"], "label")
    assert found.summary == "2 examples, 2 labels: 생활문화 (1), 정치 (1)"
    pairs = [{"premise": "흡연자분들은 발코니가 있다", "hypothesis": "없다", "gold_label": "contradiction"}]
    found = read_labelled(write(tmp_path / "nli.json", pairs), ["premise", "hypothesis"], "gold_label")
    assert found.rows == pairs


def test_klue_similarity_has_nested_labels(tmp_path):
    rows = [
        {
            "guid": "klue-sts-v1_train_00000",
            "sentence1": "숙소 위치는 찾기 쉽다.",
            "sentence2": "숙박시설의 위치는 쉽게 찾는다.",
            "labels": {"label": 3.7, "real-label": 3.714285714285714, "binary-label": 1},
        }
    ]
    path = write(tmp_path / "sts.json", rows)
    columns = ["sentence1", "sentence2"]
    found = read_labelled(path, columns, "labels.real-label", "score")
    assert found.rows[0]["labels.real-label"] == 3.714285714285714
    assert read_labelled(path, columns, "labels.binary-label").rows[0]["labels.binary-label"] == "1"
    with pytest.raises(
        MorphbertError, match=r"object with label, real-label, binary-label.*label_column=NAME.label"
    ):
        read_labelled(path, columns, "labels")


def test_kornlu_and_nsmc_are_not_quoted(tmp_path):
    sts = (
        'genre\tscore\tsentence1\tsentence2\nmain-captions\t5.000\t"비행기가 이륙한다.\t그는 말했다: "간다"\n'
    )
    found = read_labelled(
        write(tmp_path / "sts-train.tsv", sts), ["sentence1", "sentence2"], "score", "score"
    )
    assert found.rows == [
        {"sentence1": '"비행기가 이륙한다.', "sentence2": '그는 말했다: "간다"', "score": 5.0}
    ]
    nsmc = "id\tdocument\tlabel\n1\t아 더빙.. 진짜 짜증나네요\t0\n2\t\t1\n3\t굳\t1\n"
    found = read_labelled(write(tmp_path / "ratings.txt", nsmc), ["document"], "label")
    assert found.summary.startswith("3 examples, 2 labels: 0 (1), 1 (2); 1 without text, the first at ")
    assert found.summary.endswith("ratings.txt, line 3")


CONTEXT = "대한민국의 수도는 서울이다. 부산은 항구 도시이다."
ANSWER = {"text": "서울", "answer_start": 10}


@pytest.mark.parametrize(
    "content",
    [
        {
            "data": [
                {
                    "paragraphs": [
                        {"context": CONTEXT, "qas": [{"id": "a", "question": "수도는?", "answers": [ANSWER]}]}
                    ]
                }
            ]
        },
        {
            "data": [{"context": CONTEXT, "qas": [{"id": "a", "question": "수도는?", "answer": ANSWER}]}]
        },  # KorQuAD 2.1
        [
            {
                "id": "a",
                "question": "수도는?",
                "context": CONTEXT,
                "answers": {"text": ["서울"], "answer_start": [10]},
            }
        ],
        json.dumps({"guid": "a", "question": "수도는?", "context": CONTEXT, "answers": [ANSWER]}) + "\n",
    ],
)
def test_questions_in_every_layout(tmp_path, content):
    (question,), statistics = read_questions(write(tmp_path / "q.json", content))
    assert (question.id, question.context, question.golds) == ("a", CONTEXT, ("서울",))
    assert question.answers[0].start == 10
    assert str(statistics).startswith("1 questions, 1 answers, 0 of them moved")


@pytest.mark.parametrize(
    ("ids", "unique"),
    [
        ([None, None], ["question-1", "question-2"]),
        (["a", "a"], ["a", "a#2"]),
        (["a#2", "a", "a"], ["a#2", "a", "a#3"]),
        (["question-2", None], ["question-2", "question-2#2"]),
    ],
)
def test_ids_of_questions_become_unique(tmp_path, ids, unique):
    qas = [{"question": "수도는?", "answers": [ANSWER], **({"id": one} if one else {})} for one in ids]
    content = {"data": [{"paragraphs": [{"context": CONTEXT, "qas": qas}]}]}
    assert [question.id for question in read_questions(write(tmp_path / "q.json", content))[0]] == unique


def test_relations_with_a_line_separator_in_the_sentence(tmp_path):
    entity = {"word": "비틀즈", "start_idx": 0, "end_idx": 2, "type": "ORG"}
    row = {
        "guid": "r0",
        "sentence": "비틀즈는\u2028리버풀에서 결성되었다.",
        "subject_entity": entity,
        "object_entity": {"word": "리버풀", "start_idx": 5, "end_idx": 7, "type": "LOC"},
        "label": " no_relation ",
    }
    line = json.dumps(row, ensure_ascii=False) + "\n"
    (example, _), moved = read_relations(write(tmp_path / "re.jsonl", line + line))
    assert (example.sentence, example.label, moved) == (row["sentence"], "no_relation", 0)


# ── corpora ────────────────────────────────────────────────────────────────────────────────────────────────


def texts(path, **form) -> list[str]:
    form = InputFormat(**form)
    return [
        line
        for raw in read_documents(str(path), form)
        for line in (json_paragraphs(raw, form.fields) if raw.is_json else raw.lines)
    ]


def test_a_table_under_the_name_of_a_text_is_recognised(tmp_path):
    """Ids and labels are no sentences."""
    path = tmp_path / "ratings_train.txt.gz"
    table = "id\tdocument\tlabel\n" + "".join(f"{i}\t영화 {i}\t{i % 2}\n" for i in range(5))
    path.write_bytes(gzip.compress(table.encode()))
    assert texts(path, text_fields=("document",)) == [f"영화 {i}" for i in range(5)]
    for fields in ((), ("text",)):
        with pytest.raises(MorphbertError, match=r"is a table: its lines have 3 columns.*--text_field=label"):
            texts(path, text_fields=fields)
    assert texts(path, format="text")[1] == "0\t영화 0\t0"


def test_a_field_of_text_without_fields_is_refused(tmp_path):
    path = write(tmp_path / "a.txt", "첫 문장이다.\n둘째 문장이다.\n")
    with pytest.raises(UsageError, match=r"--text_field=document does not apply to .*a.txt \(read as text\)"):
        texts(path, text_fields=("document",))
    with pytest.raises(UsageError, match="--noheader"):
        texts(path, header=False, text_fields=("2",))
    with pytest.raises(UsageError, match="--format=text"):
        InputFormat(format="text", text_fields=("document",))
    assert texts(path) == ["첫 문장이다.", "둘째 문장이다."]


def test_arrays_and_parquet_are_corpora(tmp_path):
    rows = [{"text": "하나", "n": {"t": "일"}}, {"text": "둘", "n": {"t": "이"}}]
    assert texts(write(tmp_path / "a.json", rows), text_fields=("text", "n.t")) == ["하나", "일", "둘", "이"]
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow")
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet", text_fields=("n.t",)) == ["일", "이"]


# ── names of files ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    decomposed = unicodedata.normalize("NFD", "뉴스 모음")  # as macOS writes it
    names = ["a,b.txt", "c.txt", " d.txt", "[2020]/1.txt", "[2020]/x/[3].txt", f"{decomposed}/나.txt"]
    for name in [
        *names,
        f"{decomposed}/{unicodedata.normalize('NFD', '가.txt')}",
        "c.txt.report.md",
        "[2020]/.hidden",
    ]:
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        write(tmp_path / name, name)
    os.mkdir("empty")
    write(tmp_path / "list", "# files\na,b.txt\n\n[2020]/*.txt\n")
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ("a,b.txt", ["a,b.txt"]),
        ("c.txt,a,b.txt", ["c.txt", "a,b.txt"]),
        ("c.txt, d.txt", ["c.txt", " d.txt"]),
        ("[2020]/*.txt", ["[2020]/1.txt"]),
        ("[2020]/*/*", ["[2020]/x/[3].txt"]),
        ("[2020]", ["[2020]/1.txt", "[2020]/x/[3].txt"]),
        ("뉴스 모음/가.txt", ["뉴스 모음/가.txt"]),
        ("뉴스 모음/*.txt", ["뉴스 모음/가.txt", "뉴스 모음/나.txt"]),
        ("뉴스 모음/나*", ["뉴스 모음/나.txt"]),
        ("@list", ["a,b.txt", "[2020]/1.txt"]),
    ],
)
def test_names_of_files(folder, patterns, found):
    assert [unicodedata.normalize("NFC", path) for path in expand(patterns)] == found
    assert all(os.path.isfile(path) for path in expand(patterns))


@pytest.mark.parametrize(
    ("patterns", "reason"),
    [
        ("c.txt,[2020],c.txt", "c.txt is read twice: 'c.txt' and 'c.txt' both name it"),
        ("c*.txt,./c.txt", "is read twice: 'c*.txt' and './c.txt'"),
        ("empty", "the folder 'empty' has no files"),
        ("empt*", "no file matches 'empt*', only folders: end it with /*"),
        ("none/below/c.txt", "the working directory has no 'none'"),
        ("[2020]/2.txt", "the folder '[2020]' has no '2.txt'"),
        ("d.tx", "Did you mean"),
        ("@none", "@none names a list of files: none cannot be read"),
    ],
)
def test_names_without_a_file_are_explained(folder, patterns, reason):
    with pytest.raises(MorphbertError) as error:
        expand(patterns)
    assert reason in str(error.value)


def test_records_given_as_text_are_named(tmp_path):
    from morphbert.data.records import RecordWriter, serialize_example

    stream = io.BytesIO()
    RecordWriter(stream).write(serialize_example({"input_ids": list(range(128))}))
    path = tmp_path / "train.txt"
    path.write_bytes(stream.getvalue())
    with pytest.raises(MorphbertError, match="is a TFRecord file, not text"):
        list(read_lines(str(path)))


def test_semicolons_are_a_hint_in_tables_and_not_in_json(tmp_path):
    csv_file, json_file = tmp_path / "a.csv", tmp_path / "a.jsonl"
    csv_file.write_text("문장;정답\n좋은 영화;1\n", encoding="utf-8")
    json_file.write_text('{"문장;정답": "좋은 영화"}\n', encoding="utf-8")
    for path, hinted in ((csv_file, True), (json_file, False)):
        with pytest.raises(MorphbertError, match="there is no column '정답'") as refused:
            read_table(str(path), ["정답"])
        assert ("Semicolons seem to divide the columns" in str(refused.value)) == hinted


def test_a_value_is_found_under_the_name_as_typed_however_it_is_asked_for(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({unicodedata.normalize("NFC", "문장"): "좋은 영화"}), encoding="utf-8")
    (row,) = rows_of(str(path))
    typed = unicodedata.normalize("NFD", "문장")
    assert typed in row
    assert row[typed] == row.get(typed) == "좋은 영화"
    assert (row.get("정답"), row.get("정답", "모름")) == (None, "모름")


def test_every_format_has_a_reader():
    """One that lacked it would be read as a table."""
    of_rows = {"jsonl", "tsv", "csv", "parquet"}
    assert {*LINE_FORMATS, *of_rows, "auto"} == set(typing.get_args(Format))


@pytest.mark.parametrize(
    ("name", "content", "plain"),
    [
        ("a.txt", "첫 문장이다.\n", True),
        ("a.txt", '{"글"은 낱말이다.\n', True),
        ("a", "", True),
        ("a.txt.gz", gzip.compress("첫 문장이다.\n".encode(), mtime=0), True),
        ("a.jsonl", '{"text": "첫 문장이다."}\n', False),
        ("wiki_00", '{"text": "첫 문장이다."}\n', False),
        ("wiki_00", '\n<doc id="1" url="" title="글">\n글\n\n첫 문장이다.\n</doc>\n', False),
        ("a.csv.gz", b"", False),
        ("a.parquet", b"PAR1", False),
    ],
)
def test_plain_text_is_known_by_name_and_first_line(tmp_path, name, content, plain):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert is_plain_text(str(tmp_path / name)) == plain


@pytest.mark.parametrize(
    ("content", "sentences"),
    [
        ("첫 문장이다.\n둘째 문장이다.\n", True),
        ("제목\t부제\n첫 문장이다.\n", True),
        ("id\ttext\n1\t첫 문장이다.\n", False),
        ("1\t첫 문장이다.\n", False),
        ("id\t본문\n첫 문장이다.\n", False),
    ],
)
def test_a_txt_is_sentences_or_a_table(tmp_path, content, sentences):
    path = tmp_path / "글.txt"
    path.write_text(content, encoding="utf-8")
    assert is_sentences(str(path), "utf-8", ["본문"]) == sentences
