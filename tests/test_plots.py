"""Pages and plots: well-formed, self-contained, and true to their numbers."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest

from morphbert.plots import line_plot, page, table, ticks


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


def test_a_curve_goes_through_its_points():
    figure = line_plot("손실", {"train": [(0, 10.0), (50, 5.0), (100, 0.0)], "none": []}, "step")
    root = ElementTree.fromstring(figure.replace("<b>", "<b >"))
    (line,) = root.iter("polyline")
    points = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
    assert points[0][0] < points[1][0] < points[2][0]
    assert points[1][1] == pytest.approx((points[0][1] + points[2][1]) / 2, abs=0.2)  # half-way down
    assert points[0][1] < points[2][1]  # 10 stands above 0
    assert "손실" in figure


def test_what_is_not_finite_or_empty_is_left_out():
    assert line_plot("x", {"a": [], "b": [(1.0, float("nan"))]}, "step") == ""
    assert "nan" not in line_plot("x", {"a": [(1.0, float("nan")), (2.0, 1.0)]}, "step")


def test_long_curves_are_thinned_to_what_a_plot_can_show():
    figure = line_plot("x", {"a": [(float(n), float(n)) for n in range(100_000)]}, "step")
    assert len(figure) < 20_000


def test_a_page_needs_nothing_from_anywhere_and_shows_text_as_text():
    made = page("제목 <&>", [table([["가", "<b>"]], ["이름", "값"])], language="ko")
    assert "제목 &lt;&amp;&gt;" in made
    assert "&lt;b&gt;" in made
    assert not re.search(r"(src|href|url)\s*[=(]", made)
    assert '<meta charset="utf-8">' in made
