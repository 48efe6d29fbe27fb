"""Tables of labelled examples that would silently become other examples: each is refused by file and line, or "
"read right.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphbert.errors import MorphbertError
from morphbert.finetune.classes import labels_in
from morphbert.finetune.rows import texts_in
from morphbert.formats.labels import counted, read_labelled
from morphbert.formats.questions import read_questions
from morphbert.formats.raw_documents import InputFormat, json_paragraphs, read_documents
from morphbert.formats.relations import read_relations
from morphbert.formats.tables import rows_of

ROWS = [(str(i), f"재미있는 영화 {i}", str(i % 2)) for i in range(20)]


def table(path, rows=ROWS, divider="\t", header=("id", "document", "label")) -> str:
    path.write_text("".join(divider.join(row) + "\n" for row in [header, *rows]), encoding="utf-8")
    return str(path)


def replaced(place: int, row: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [*ROWS[:place], row, *ROWS[place + 1 :]]


def refusal(path: str, kind: str = "class", column: str = "label") -> str:
    with pytest.raises(MorphbertError) as error:
        read_labelled(path, ["document"], column, kind)
    return str(error.value)


def test_a_sound_table_is_counted(tmp_path):
    found = read_labelled(table(tmp_path / "ok.tsv"), ["document"], "label")
    assert found.summary == "20 examples, 2 labels: 0 (10), 1 (10)"


@pytest.mark.parametrize(
    ("name", "divider", "row"),
    [
        ("a.tsv", "\t", ("5", "중간에 탭이\t들어간 리뷰", "1")),
        ("a.csv", ",", ("5", "쉼표가, 들어간 리뷰", "1")),
        ("a.tsv", "\t", ("5", "라벨이 없다")),
        ("a.csv", ",", ("5", "라벨이 없다")),
        ("a.tsv", "\t", ("5", "줄이\n바뀐 리뷰", "1")),
        ("a.tsv", "\t", ("\t",)),
    ],
)
def test_another_number_of_columns_is_refused_with_its_line(tmp_path, name, divider, row):
    path = table(tmp_path / name, replaced(5, row), divider)
    assert f"{name}, line 7: " in refusal(path)
    assert "columns, where the first line has 3 (id, document, label)" in refusal(path)


@pytest.mark.parametrize(
    "rows",
    [
        replaced(3, ("3", '"따옴표가 닫히지 않은 리뷰', "1")),  # it never closes
        [*ROWS[:3], ("3", '"닫히지 않은 리뷰', "1"), *ROWS[4:12], ("12", '다른 " 리뷰', "0"), *ROWS[13:]],
        [*ROWS[:3], ("3", '"닫히지 않은 리뷰', "1"), *ROWS[4:12], ("12", '다른 리뷰"', "0"), *ROWS[13:]],
        [*ROWS[:3], ("3", '"닫히지 않은 리뷰', "1"), *ROWS[4:12], ("12", '"다른 리뷰', "0"), *ROWS[13:]],
    ],
)
def test_a_quotation_mark_that_does_not_close_is_refused_where_it_opens(tmp_path, rows):
    """Also where a later mark closes it and the rows between would be one text."""
    path = table(tmp_path / "a.csv", rows, ",")
    assert "a.csv, line 5: " in refusal(path)


def test_texts_of_several_lines_with_commas_are_no_rows(tmp_path):
    text = "첫 줄, 둘째, 셋째\n영화, 음악, 책\n물, 불, 흙\n끝"
    rows = [("0", '"' + text + '"', "1"), ("1", "짧다", "0"), ("2", '"' + text + '"', "0")]
    found = read_labelled(table(tmp_path / "a.csv", rows, ","), ["document"], "label")
    assert [row["document"] for row in found.rows] == [text, "짧다", text]


fields = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(fields, st.sampled_from(["긍정", "부정", "중립, 혼합", '"따옴표"'])), min_size=1, max_size=8
    )
)
def test_what_the_csv_writer_writes_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    text = io.StringIO()
    csv.writer(text).writerows([("document", "label"), *rows])
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    found = read_labelled(str(path), ["document"], "label")
    assert [(row["document"], row["label"]) for row in found.rows] == [(text, label) for text, label in rows]


@pytest.mark.parametrize("label", ["1 ", "\u30001", "1\u00a0", "\ufeff1", "1 \u200b"])
def test_white_space_around_a_label_makes_no_class(tmp_path, label):
    found = read_labelled(table(tmp_path / "a.tsv", replaced(5, ("5", "공백", label))), ["document"], "label")
    assert found.summary == "20 examples, 2 labels: 0 (10), 1 (10)"


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("", "the label is missing (column 'label' contains '')"),
        (" ", "the label is missing"),
        ("NaN", "the label is missing (column 'label' contains 'NaN')"),
        ("null", "the label is missing"),
        ("1.0", "the label '1.0' is the number of the label '1' "),
        ("01", "the label '01' is the number of the label '1' "),
        ("true", "the label 'true' occurs beside the number"),
    ],
)
def test_labels_that_are_none_or_another_in_disguise(tmp_path, label, reason):
    message = refusal(table(tmp_path / "a.tsv", replaced(5, ("5", "라벨", label))))
    assert "a.tsv, line 7: " in message
    assert reason in message


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("NaN", "the label is missing (column 'label' contains nan)"),
        ("null", "the label is missing (column 'label' contains None)"),
        ("1.0", "the label 1.0 is a decimal number"),
        ("true", "the label 'true' occurs beside the number '0'"),
        ("[1]", "the label is [1], where a text or a whole number is expected"),
        ('{"gold": 1}', "the label is an object with gold. Name one with a dot: --label_column=NAME.gold"),
    ],
)
def test_labels_of_json(tmp_path, label, reason):
    lines = [f'{{"document": "영화", "label": {label if i == 3 else i % 2}}}\n' for i in range(6)]
    (tmp_path / "a.jsonl").write_text("".join(lines), encoding="utf-8")
    message = refusal(str(tmp_path / "a.jsonl"))
    assert "a.jsonl, line 4: " in message
    assert reason in message


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.jsonl", '\n{"document": "영화", "label": 0}\n{"document": "영화", "label": 0, "label": 1}\n', 3),
        ("a.json", '\n[{"document": "영화", "label": 0},\n{"document": "영화", "label": 0,\n"label": 1}]', 4),
    ],
)
def test_a_key_that_a_row_has_twice_is_refused(tmp_path, name, content, line):
    """The last one would win in silence."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    message = refusal(str(tmp_path / name))
    assert f"{name}, line {line}: the key 'label' occurs more than once in one object" in message


def test_missing_texts_are_counted_and_never_the_word_nan(tmp_path):
    lines = [
        '{"document": NaN, "label": 1}\n',
        '{"document": null, "label": 0}\n',
        '{"document": 3, "label": 0}\n',
    ]
    (tmp_path / "a.jsonl").write_text("".join(lines), encoding="utf-8")
    found = read_labelled(str(tmp_path / "a.jsonl"), ["document"], "label")
    assert [row["document"] for row in found.rows] == ["", "", "3"]
    assert "; 2 without text, the first at " in found.summary


def test_true_and_false_alone_are_classes(tmp_path):
    lines = "".join(f'{{"document": "영화", "label": {word}}}\n' for word in ("true", "false", "true"))
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    found = read_labelled(str(tmp_path / "a.jsonl"), ["document"], "label")
    assert found.summary == "3 examples, 2 labels: false (1), true (2)"


@pytest.mark.parametrize("score", ["nan", "inf", "", "높음", "1e999"])
def test_scores_are_finite_numbers(tmp_path, score):
    assert "a.tsv, line 7: the " in refusal(
        table(tmp_path / "a.tsv", replaced(5, ("5", "점수", score))), "score"
    )


@pytest.mark.parametrize("name", ["문서", "document\u200b", " document", "\ufeffdocument"])
def test_names_of_columns_are_composed_and_without_white_space(name, tmp_path):
    wanted = name.strip(" \u200b\ufeff")
    path = table(tmp_path / "a.tsv", header=("id", unicodedata.normalize("NFD", name), "label"))
    for typed in (wanted, unicodedata.normalize("NFD", wanted)):
        assert read_labelled(path, [typed], "label").rows[0][typed] == ROWS[0][1]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_of_objects_are_those_of_a_header(form, tmp_path):
    """The same names in a header and in objects are found by the same flags, in training and for a corpus."""
    inner, outer = (unicodedata.normalize(form, name) for name in ("내용", "문서"))
    text = "마음에 듭니다."
    (tmp_path / "a.csv").write_text(f"{outer},label\n{text},1\n", encoding="utf-8")
    nested = {outer: {inner: text}, "label": 1}
    (tmp_path / "a.jsonl").write_text(json.dumps(nested, ensure_ascii=False), encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps([nested]), encoding="utf-8")
    for name, wanted in (("a.csv", "문서"), ("a.jsonl", "문서.내용"), ("a.json", "문서.내용")):
        for typed in (wanted, unicodedata.normalize("NFD", wanted)):
            path = str(tmp_path / name)
            assert read_labelled(path, [typed], "label").rows[0][typed] == text
            if "." not in typed:
                assert texts_in(next(rows_of(path)), [typed]) == (text,)
            config = InputFormat(text_fields=(typed,))
            (document,) = read_documents(path, config)
            lines = json_paragraphs(document, config.fields) if document.is_json else document.lines
            assert lines == [text]


def test_two_names_of_an_object_that_look_the_same_are_refused(tmp_path):
    row = {unicodedata.normalize(form, "문서"): "가" for form in ("NFC", "NFD")}
    (tmp_path / "a.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert "a.jsonl, line 1: the name '문서' occurs more than once" in refusal(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.data"])
def test_semicolons_between_columns_are_named(name, tmp_path):
    path = table(tmp_path / name, divider=";")
    assert "no column 'document' (found: 'id;document;label')" in refusal(path)
    assert "Semicolons seem to divide the columns" in refusal(path)
    with pytest.raises(MorphbertError, match=r"no column 'document'.*Semicolons seem to divide the columns"):
        list(read_documents(path, InputFormat(format="csv", text_fields=("document",))))
    path = table(tmp_path / "b.csv", [("1", "재미있지만, 길다", "1")], ";")
    assert "line 2: 2 columns, where the first line has 1 (id;document;label). Semicolons seem" in refusal(
        path
    )
    assert "Semicolons" not in refusal(table(tmp_path / "c.csv", divider=",", header=("id", "text", "label")))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "document,label\r좋다,1\r나쁘다,0\r", r"a.csv: the lines end with \r alone"),
        ("a.tsv", "document\tlabel\r좋다\t1\r나쁘다\t0", r"a.tsv: the lines end with \r alone"),
        (
            "a.csv",
            'document, label\n"좋다", "1"\n',
            "a.csv, line 2: white space between a comma and a quotation mark",
        ),
        ("a.csv", "document,label\n좋다,TRUE\n좋다,True\n", "line 3: the label 'True' is the label 'TRUE' ("),
    ],
)
def test_tables_of_other_programs_are_not_taken_for_other_tables(name, content, reason, tmp_path):
    (tmp_path / name).write_bytes(content.encode())
    assert reason in refusal(str(tmp_path / name))


def test_a_text_that_is_a_quotation_after_a_space_is_read(tmp_path):
    (tmp_path / "a.csv").write_text('label,document\n1," ""재미있다"""\n0,나쁘다\n', encoding="utf-8")
    found = read_labelled(str(tmp_path / "a.csv"), ["document"], "label")
    assert [row["document"] for row in found.rows] == [' "재미있다"', "나쁘다"]


def test_columns_of_one_name_are_refused(tmp_path):
    path = table(tmp_path / "a.tsv", header=("id", "document", "document"))
    assert "'document' occurs more than once" in refusal(path, column="document")


def test_long_cells_are_read(tmp_path):
    rows = replaced(5, ("5", "가" * 140_000, "1"))
    found = read_labelled(table(tmp_path / "a.csv", rows, ","), ["document"], "label")
    assert len(found.rows[5]["document"]) == 140_000


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 50_000, "line 1: not JSON (values are nested more than 100 levels deep)"),
        ('{"a": ' * 50_000, "nested more than 100 levels deep"),
        ('[{"a": ' + "[" * 200 + "]" * 200 + "}]", "nested more than 100 levels deep"),
        ("[" + "9" * 5_000 + "]", "not JSON"),
        ("\\x00\\x01", "not JSON"),
        ('[{"data": []}, 7]', "example 2: a number, where an object"),
        ('{"data": 7}', "line 1: not in SQuAD's format"),
        ('{"data": [{"paragraphs": [{"context": "a", "qas": [{}]}]}]}', "not in SQuAD's format"),
        ('{"data": []}', "has no question"),
        (
            '{"data": [{"paragraphs": [{"context": "a", "qas": [{"question": "?", "answers": '
            '[{"text": "a", "answer_start": Infinity}]}]}]}]}',
            "not in SQuAD's format",
        ),
    ],
)
def test_questions_and_relations_of_another_form(tmp_path, content, reason):
    path = tmp_path / "a.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(MorphbertError) as error:
        read_questions(str(path))
    assert reason in str(error.value)
    with pytest.raises(MorphbertError):
        read_relations(str(path))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("bytes")
    for name in ("a.tsv", "a.csv", "a.json", "a.jsonl", "a"):
        (folder / name).write_bytes(b"document\tlabel\n" + content if name == "a.tsv" else content)
        try:
            found = read_labelled(str(folder / name), ["document"], "label")
        except MorphbertError:
            continue
        assert all(isinstance(row["document"], str) and row["label"] for row in found.rows)


def test_predictions_of_hostile_ids_keep_one_answer_each(tmp_path):
    qas = [
        {"question": "수도는?", "answers": [{"text": "서울", "answer_start": 0}], "id": one}
        for one in ("a", "a", 1, "1", None)
    ]
    path = tmp_path / "q.json"
    path.write_text(
        json.dumps({"data": [{"paragraphs": [{"context": "서울이다.", "qas": qas}]}]}), encoding="utf-8"
    )
    ids = [question.id for question in read_questions(str(path))[0]]
    assert len(set(ids)) == 5


@pytest.mark.parametrize("place", ["1e999", "NaN", '"' + "9" * 5000 + '"', '"²"'])
def test_a_place_that_is_no_whole_number_is_named(tmp_path, place):
    entity = '{"word": "가", "start_idx": PLACE, "end_idx": 0, "type": "PER"}'.replace("PLACE", place)
    content = (
        f'[{{"sentence": "가 나", "subject_entity": {entity}, "object_entity": {entity}, "label": "a"}}]'
    )
    (tmp_path / "a.json").write_text(content, encoding="utf-8")
    with pytest.raises(MorphbertError):
        read_relations(str(tmp_path / "a.json"))


def test_labels_of_any_digits_have_an_order():
    """Python converts at most 4,300 digits, and `²` is a digit that is no number."""
    assert labels_in(["10", "9" * 5000, "²", "9", "a"]) == ("9", "10", "9" * 5000, "a", "²")
    assert counted(Counter(["²", "2", "9" * 5000])).startswith("3 labels: 2 (1), 999")
