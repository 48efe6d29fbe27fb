"""Pages and plots: well-formed, self-contained, and true to their numbers."""

import ast
import itertools
import re
import xml.etree.ElementTree as ElementTree

import jinja2
import numpy as np
import pytest
from browser import Browser, check_report, needs_browser
from samples import ROOT

from morphbert.finetune.confusion import Confusion
from morphbert.finetune.judgement import surest_mistakes
from morphbert.finetune.report import confusion_table
from morphbert.grammar.phenomena import PHENOMENA
from morphbert.pages.figures import axis_range, bar_plot, line_plot, shown, smoothed, tick_labels, ticks
from morphbert.pages.korean import KOREAN
from morphbert.pages.phrases import phrase
from morphbert.pages.rendering import render, translated
from morphbert.text.piece_kinds import KINDS
from morphbert.train import report
from morphbert.train.prediction_kinds import BANDS


@pytest.mark.parametrize(
    "values", [[0.3, 9.1], [5.0], [0.0], [-3.0, 1e6], [1e-5, 2e-5], [0.1, 0.1 + 1e-12], [2.0, 2.5, 10.5]]
)
def test_ticks_are_even_and_hold_all_values(values):
    found = ticks(values)
    assert 2 <= len(found) <= 8
    assert found[0] <= min(values) + 1e-9
    assert found[-1] >= max(values) - 1e-9
    steps = {round((b - a) / (found[1] - found[0]), 6) for a, b in itertools.pairwise(found)}
    assert steps == {1.0}
    labels = tick_labels(found)
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("places", "percent", "expected"),
    [
        ([0.0, 0.25, 0.5], True, ["0%", "25%", "50%"]),
        ([0.0, 0.002, 0.004], True, ["0%", "0.2%", "0.4%"]),
        ([6.0, 6.25, 6.5], False, ["6", "6.25", "6.5"]),
        ([0.0, 5e6, 1e7], False, ["0", "5M", "10M"]),
        ([0.0, 500.0, 1000.0], False, ["0", "500", "1,000"]),
        ([0.0, 2e-5, 4e-5], False, ["0", "2e-05", "4e-05"]),
    ],
)
def test_labels_have_the_digits_that_tell_them_apart(places, percent, expected):
    assert tick_labels(places, percent) == expected


def test_values_have_three_significant_digits():
    found = [
        shown(6.46512),
        shown(0.123456, percent=True),
        shown(1200.0),
        shown(54111.3),
        shown(5e-5),
        shown(0),
    ]
    assert found == ["6.47", "12.3%", "1,200", "54,111", "5e-05", "0"]


def test_a_level_curve_does_not_look_like_a_trend():
    low, high = axis_range([6.24, 6.26])
    assert high - low == pytest.approx(0.626)
    assert axis_range([0.62, 0.64], percent=True) == pytest.approx((0.58, 0.68))
    assert axis_range([0.0, 0.002], percent=True) == pytest.approx((0.0, 0.01), abs=0.005)
    assert axis_range([10.0, 6.0]) == (6.0, 10.0)
    assert axis_range([10.0, 4.0])[0] == 0.0
    assert axis_range([0.0, 0.0]) == (0.0, 1.0)


def test_a_curve_goes_through_its_points():
    plot = line_plot("손실", {"train": [(0, 10.0), (50, 5.0), (100, 0.0)], "none": []}, "step")
    (curve,) = plot.curves
    points = [tuple(map(float, point.split(","))) for point in curve.path.split()]
    assert points[0][0] < points[1][0] < points[2][0]
    assert points[1][1] == pytest.approx((points[0][1] + points[2][1]) / 2, abs=0.2)  # half-way down
    assert points[0][1] < points[2][1]  # 10 stands above 0
    assert points[0][1] >= plot.rows[-1].place - 0.1  # and not above the last line of the grid
    assert [(dot.across, dot.value) for dot in curve.dots] == [("0", "10"), ("50", "5"), ("100", "0")]


def test_labels_have_room_on_the_left():
    plot = line_plot("x", {"a": [(0, 0.002135), (1, 0.002138)]}, "step", percent=True)
    assert plot.left >= 6 * max(len(tick.label) for tick in plot.rows)
    assert max(len(tick.label.strip("%")) for tick in plot.rows) <= 5


def test_what_is_not_finite_or_empty_is_left_out():
    assert line_plot("x", {"a": [], "b": [(1.0, float("nan"))]}, "step") is None
    assert "nan" not in str(line_plot("x", {"a": [(1.0, float("nan")), (2.0, 1.0)]}, "step"))


def test_series_at_zero_are_named_instead_of_drawn():
    series = {"a": [(0, 0.4), (1, 0.5)], "b": [(0, 0.0), (1, 0.0)], "c": [(0, 0.3), (1, 0.001)]}
    plot = line_plot("x", series, "step", percent=True)
    assert [curve.name for curve in plot.curves] == ["a", "c"]
    assert plot.absent == ("b",)


def test_long_curves_are_thinned_and_smoothed_over_their_raw_form():
    noise = np.random.default_rng(0).normal(size=100_000)
    plot = line_plot("x", {"a": list(enumerate(noise))}, "step")
    assert len(plot.curves[0].dots) <= 400
    assert plot.curves[0].faint
    values = [y for _, y in smoothed([(float(n), 3.0) for n in range(50)])]
    assert values == pytest.approx([3.0] * 50)  # a constant stays, from the first point on
    assert np.std([y for _, y in smoothed(list(enumerate(noise[:1000])))][100:]) < 0.3
    assert not line_plot("x", {"a": list(enumerate(noise))}, "step", exact=True).curves[0].faint
    assert not line_plot("x", {"a": [(0, 1), (1, 2)]}, "step").curves[0].faint


def test_bars_are_as_high_as_their_shares():
    plot = bar_plot("x", "", ["1", "2"], {"a": [10.0, 20.0], "b": [0.0, 40.0]})
    heights = [bar.height for bar in plot.bars]
    assert heights == pytest.approx([heights[3] / 4, 0, heights[3] / 2, heights[3]], abs=0.11)


def fine_tuning(**more):
    values = {
        "title": "제목 <&>",
        "summary": "",
        "figures": [(phrase("accuracy"), "0.9")],
        "curves": [],
        "confusion": None,
        "mistakes": [("가 <b>", "1", "0", "99%")],
        "groups": [],
        "group_head": (),
        "settings": [],
    }
    return render("fine_tuning.html", **{**values, **more})


def test_a_page_needs_nothing_from_anywhere_and_shows_text_as_text():
    plot = line_plot("손실 '\"", {"<i>": [(0, 1.0), (1, 2.0)], "b'": [(0, 2.0)]}, "step")
    page = fine_tuning(curves=[plot])
    assert "제목 &lt;&amp;&gt;" in page
    assert "가 &lt;b&gt;" in page
    assert "<i>" not in page
    assert not re.search(r"(src|href|url)\s*[=(]|https?://", page)
    assert '<meta charset="utf-8">' in page
    svg = page[page.index("<svg") : page.index("</svg>") + len("</svg>")]
    assert len(list(ElementTree.fromstring(svg).iter("polyline"))) == 2
    with pytest.raises(jinja2.UndefinedError):
        render("fine_tuning.html", title="x")


def test_phrases_of_pages_and_korean_forms_are_the_same_set():
    """A phrase without a Korean form would be English there, and a form without its phrase would be dead."""
    shown = set()
    for path in (ROOT / "morphbert").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "phrase":
                assert isinstance(node.args[0], ast.Constant) or path.name == "rendering.py", ast.unparse(
                    node
                )
                shown |= {argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)}
    for path in (ROOT / "morphbert" / "pages" / "templates").glob("*.html"):
        shown |= set(re.findall(r'"([^"]+)" \| t\b', path.read_text(encoding="utf-8")))
    assert shown ^ KOREAN.keys() == set()
    names = re.compile(r"{(\w+)}")
    assert [
        form for form, korean in KOREAN.items() if set(names.findall(form)) != set(names.findall(korean))
    ] == []


def test_a_phrase_without_a_korean_form_is_refused_when_it_is_made():
    with pytest.raises(ValueError, match="'senses of a word' has no Korean form: add it to"):
        phrase("senses of a word")


def test_phrases_are_korean_where_the_browser_is():
    assert translated(phrase("accuracy")) == '<span data-ko="정확도">accuracy</span>'
    assert translated("my metric <") == "my metric &lt;"
    group = phrase(
        "{lines} lines, {characters} characters, of {files} file(s).", lines="<2>", characters=3, files=1
    )
    assert str(group) == "<2> lines, 3 characters, of 1 file(s)."
    assert group.korean == "파일 1개, <2>줄, 3자입니다."
    assert "&lt;2&gt; lines" in translated(group)
    task = phrase("Fine-tuning: {task}", task=phrase("multiple choice"))
    assert (str(task), task.korean) == ("Fine-tuning: multiple choice", "파인튜닝: 객관식 문제")
    assert 'data-ko="가장 확신한 오답"' in fine_tuning()


@needs_browser
def test_a_fine_tuned_models_page_in_a_browser(tmp_path):
    plot = line_plot(
        phrase("accuracy"), {phrase("held out"): [(0, 0.5), (50, 0.75), (100, 1.0)]}, phrase("step")
    )
    labels = [f"{number}번 갈래" for number in range(30)]  # wider than a telephone
    matrix = confusion_table(Confusion.of(np.arange(30), np.arange(30)[::-1], labels))
    page = tmp_path / "report.html"
    page.write_text(fine_tuning(curves=[plot], confusion=matrix), encoding="utf-8")
    assert check_report(page, tmp_path / "profile", "학습 곡선") == ["평가 0.75 (50)"]
    with Browser(tmp_path / "english", "en-US") as browser:
        browser.open(page.as_uri())
        assert browser.run("return document.documentElement.lang") == "en"
        assert "Curves" in browser.texts("h2")


def test_every_kind_of_piece_and_grammar_has_a_name_on_the_page():
    names = {*PHENOMENA, *KINDS, *BANDS, "whole_eojeols"}
    assert names == report._NAMES.keys()


def test_the_confusion_matrix_shows_its_counts():
    matrix = confusion_table(Confusion.of(np.array([0, 0, 1]), np.array([0, 1, 1]), ("부정", "긍정")))
    assert [[cell["count"] for cell in row["cells"]] for row in matrix["rows"]] == [["1", "1"], ["0", "1"]]
    assert matrix["rows"][0]["cells"][1]["title"] == "부정 → 긍정: 1 (50.0%)"
    many = Confusion.of(
        np.arange(50), (np.arange(50) + (np.arange(50) < 5)) % 50, [str(n) for n in range(50)]
    )
    assert set("01234") <= set(confusion_table(many)["labels"])
    assert len(confusion_table(many)["labels"]) == 40


def test_the_surest_mistakes_come_first():
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]])
    found = surest_mistakes(
        ["가", "나", "다", "라"], shares, np.array([1, 0, 0, 1]), ("부정", "긍정"), most=2
    )
    assert [(one.text, one.label, one.predicted, one.probability) for one in found] == [
        ("가", "긍정", "부정", 0.9),
        ("나", "부정", "긍정", 0.8),
    ]
