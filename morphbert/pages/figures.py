"""Plots as geometry: points in pixels, ticks, labels and the text of each point. Templates draw them as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from morphbert.pages.phrases import Text

# Distinct with red-green colour blindness (Okabe and Ito's set, without black and yellow).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
WIDTH, HEIGHT, RIGHT, TOP, BOTTOM = 520, 230, 14, 14, 36
# A character of the labels has about this many pixels.
_CHARACTER = 6.4
# A curve of more points is averaged to about so many; one of fewer shows each point as a dot.
_MOST_POINTS, _MOST_DOTS = 400, 25
# A curve of at least so many points is drawn smoothed, over its raw form: the mean of about this share of it.
_FEWEST_SMOOTHED, _SMOOTHED_OVER = 30, 0.02
# An axis spans at least this share of its largest value, so that noise on a level line stays small.
_LEAST_SPAN = 0.1
# A share that stays under this part of the largest one cannot be told from 0 in a plot.
_NOTHING = 0.01

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Tick:
    """A line of the grid: its place in pixels and its label."""

    place: float
    label: str


@dataclass(frozen=True)
class Dot:
    """A point of a curve in pixels, and its values as text."""

    left: float
    top: float
    across: str
    value: str


@dataclass(frozen=True)
class Curve:
    """A series: `path` is drawn, over `faint`, its raw values where `path` is smoothed."""

    name: Text
    colour: str
    path: str
    faint: str
    dots: tuple[Dot, ...]

    @property
    def marked(self) -> bool:
        """Whether each point is drawn as a dot."""
        return len(self.dots) <= _MOST_DOTS


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A grid with a title.

    Attributes:
      left: pixels from the edge to the grid, for the labels of `rows`.
      right: pixels from the grid to the edge.
    """

    title: Text
    left: float
    rows: tuple[Tick, ...]
    columns: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    right: int = 0
    bottom: int = BOTTOM


@dataclass(frozen=True, kw_only=True)
class LinePlot(Plot):
    """Curves over one axis.

    Attributes:
      across: the meaning of x.
      absent: names of series that are 0 throughout.
    """

    across: Text
    curves: tuple[Curve, ...]
    absent: tuple[Text, ...] = ()
    right: int = RIGHT

    @property
    def legend(self) -> list[tuple[Text, str]]:
        """Name and colour of each curve."""
        return [(curve.name, curve.colour) for curve in self.curves]

    @property
    def names(self) -> list[Text]:
        """The names of the curves."""
        return [curve.name for curve in self.curves]

    @property
    def readout(self) -> list[list[tuple[float, str, str]]]:
        """The values that the page shows under the pointer: of each curve, pixels from the left, x and y as text."""
        return [[(dot.left, dot.across, dot.value) for dot in curve.dots] for curve in self.curves]


def line_plot(
    title: Text, series: Mapping[Text, Points], across: Text, percent: bool = False, exact: bool = False
) -> LinePlot | None:
    """Returns curves over one axis; None where no series has a point.

    Args:
      title: the heading.
      series: by name, its points (x, y) with x ascending; points that are not finite are left out.
      across: the meaning of x.
      percent: whether y is a share and shown in percent.
      exact: y is set, not measured, so that curves are never smoothed.
    """
    finite = {
        name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        for name, points in series.items()
    }
    curves = {name: _thinned(points) for name, points in finite.items() if points}
    absent: tuple[Text, ...] = ()
    if percent and len(curves) > 2:
        largest = max(y for points in curves.values() for _, y in points)
        absent = tuple(
            name for name, points in curves.items() if max(y for _, y in points) < _NOTHING * largest
        )
        curves = {name: points for name, points in curves.items() if name not in absent}
    if not curves:
        return None
    every = [point for points in curves.values() for point in points]
    columns = ticks([x for x, _ in every])
    rows = ticks(axis_range([y for _, y in every], percent))
    names = tick_labels(rows, percent)
    left = 10 + _CHARACTER * max(map(len, names))

    def from_left(x: float) -> float:
        return round(left + (WIDTH - left - RIGHT) * (x - columns[0]) / (columns[-1] - columns[0]), 1)

    def from_top(y: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - rows[0]) / (rows[-1] - rows[0]), 1)

    def path(points: Points) -> str:
        return " ".join(f"{from_left(x)},{from_top(y)}" for x, y in points)

    def curve(index: int, name: Text, points: Points) -> Curve:
        smooth = points if exact or len(points) < _FEWEST_SMOOTHED else smoothed(points)
        dots = tuple(Dot(from_left(x), from_top(y), shown(x), shown(y, percent)) for x, y in points)
        faint = path(points) if smooth is not points else ""
        return Curve(name, COLOURS[index % len(COLOURS)], path(smooth), faint, dots)

    return LinePlot(
        title=title,
        across=across,
        left=left,
        rows=tuple(Tick(from_top(y), name) for y, name in zip(rows, names, strict=True)),
        columns=tuple(
            Tick(from_left(x), name) for x, name in zip(columns, tick_labels(columns), strict=True)
        ),
        curves=tuple(curve(index, name, points) for index, (name, points) in enumerate(curves.items())),
        absent=absent,
    )


@dataclass(frozen=True)
class Bar:
    """A bar in pixels, the name of its series, and its bucket and value as text."""

    left: float
    top: float
    width: float
    height: float
    colour: str
    name: Text
    label: str


@dataclass(frozen=True, kw_only=True)
class BarPlot(Plot):
    """Bars in groups, a group for each bucket; `columns` name the buckets."""

    explanation: Text
    bars: tuple[Bar, ...]


def bar_plot(
    title: Text, explanation: Text, buckets: Sequence[str], series: Mapping[Text, Sequence[float]]
) -> BarPlot:
    """Returns bars in groups: a group for each bucket, in it a bar for each series.

    Args:
      title, explanation: the heading, and a sentence on it.
      buckets: the labels of the groups.
      series: the shares in percent of each series by name, one for each bucket.
    """
    rows = ticks([0.0, max(1.0, *(share for shares in series.values() for share in shares))])
    names = [f"{name}%" for name in tick_labels(rows)]
    left = 10 + _CHARACTER * max(map(len, names))
    base = HEIGHT - BOTTOM
    scale = (base - TOP) / rows[-1]
    group = (WIDTH - left) / len(buckets)
    width = 0.8 * group / len(series)
    bars = [
        Bar(
            left=round(left + (index + 0.1) * group + number * width, 1),
            top=round(base - shares[index] * scale, 1),
            width=round(width, 1),
            height=round(shares[index] * scale, 1),
            colour=COLOURS[number % len(COLOURS)],
            name=name,
            label=f"{bucket}: {shares[index]:.1f}%",
        )
        for index, bucket in enumerate(buckets)
        for number, (name, shares) in enumerate(series.items())
    ]
    return BarPlot(
        title=title,
        explanation=explanation,
        left=left,
        rows=tuple(Tick(round(base - row * scale, 1), name) for row, name in zip(rows, names, strict=True)),
        columns=tuple(
            Tick(round(left + (index + 0.5) * group, 1), bucket) for index, bucket in enumerate(buckets)
        ),
        bars=tuple(bars),
    )


def legend(names: Sequence[Text]) -> list[tuple[Text, str]]:
    """Returns (name, colour) in the order of the series."""
    return [(name, COLOURS[index % len(COLOURS)]) for index, name in enumerate(names)]


def axis_range(values: Sequence[float], percent: bool = False) -> tuple[float, float]:
    """Returns the least and the largest value of an axis.

    It begins at 0 where that costs less than half of its height, and spans at least a tenth of the largest value
    (ten points, of shares): on a narrower one the noise of a level curve looks like a trend.
    """
    low, high = min(values), max(values)
    if low == high == 0.0 and not percent:
        return 0.0, 1.0  # a figure that is 0 throughout is rarely one below 0
    least = min(_LEAST_SPAN, max(high, 0.01)) if percent else _LEAST_SPAN * max(abs(low), abs(high))
    if high - low < least:
        middle = (low + high) / 2
        positive, low, high = low >= 0, middle - least / 2, middle + least / 2
        if positive and low < 0:
            low, high = 0.0, least
    if 0 < low <= high / 2:
        low = 0.0
    return low, high


def ticks(values: Sequence[float]) -> list[float]:
    """Returns about six round numbers, evenly spaced, from under the smallest value to over the largest.

    `[0.3, 9.1]` → `[0.0, 2.0, 4.0, 6.0, 8.0, 10.0]`.
    """
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # a flat curve gets room above and below
        spread = abs(high) or 1.0
        low, high = low - 0.1 * spread, high + 0.1 * spread
    rough = (high - low) / 5
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def tick_labels(places: Sequence[float], percent: bool = False) -> list[str]:
    """Returns the labels of evenly spaced places, with as many digits as tell them apart.

    `[0.0, 0.25, 0.5]` → `["0", "0.25", "0.5"]`, as shares `["0%", "25%", "50%"]`; `[0.0, 5e6]` → `["0", "5M"]`.
    """
    values = [100 * place for place in places] if percent else list(places)
    largest, step = max(map(abs, values)), values[1] - values[0]
    size, letter = next(
        ((size, letter) for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if largest >= 10 * size),
        (1.0, ""),
    )
    sign = "%" if percent else ""
    if largest < 1e-3:
        return [f"{value:.3g}{sign}" if abs(value) > step / 1e6 else f"0{sign}" for value in values]
    decimals = max(0, 1 - math.floor(math.log10(step / size) + 1e-9))
    made = [f"{value / size:,.{decimals}f}" for value in values]
    if "." in made[0]:
        made = [text.rstrip("0").rstrip(".") for text in made]
    return [("0" if text in ("0", "-0") else f"{text}{letter}") + sign for text in made]


def shown(value: float, percent: bool = False) -> str:
    """Returns a value with at most three significant digits, whole numbers as they are.

    `6.46512` → `"6.47"`, `0.123456` as a share → `"12.3%"`, `1200` → `"1,200"`, `0.00005` → `"5e-05"`.
    """
    if percent:
        return f"{shown(round(100 * value, 2))}%"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def smoothed(points: Points) -> list[tuple[float, float]]:
    """Returns the exponential moving average of a curve, corrected for its beginning as Adam's moments are."""
    keep = 1 - 1 / max(2.0, _SMOOTHED_OVER * len(points))
    mean = 0.0
    made = []
    for number, (x, y) in enumerate(points, start=1):
        mean = keep * mean + (1 - keep) * y
        made.append((x, mean / (1 - keep**number)))
    return made


def _thinned(points: Points) -> list[tuple[float, float]]:
    """Returns means of neighbours, where there are more points than a plot can show."""
    size = -(-len(points) // _MOST_POINTS)
    groups = (points[start : start + size] for start in range(0, len(points), size))
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups
    ]
