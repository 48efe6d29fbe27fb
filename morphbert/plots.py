"""Pages that need nothing from anywhere: one HTML file with its style, its tables and its plots, drawn as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

# Distinct also for eyes that see no red or no green (Okabe and Ito's set, without black and yellow).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
# A curve of more points is averaged to about so many.
_MOST_POINTS = 400
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 520, 230, 52, 12, 12, 34

_STYLE = """
body { font: 16px/1.55 system-ui, "Noto Sans KR", "Noto Sans CJK KR", "Apple SD Gothic Neo", "Malgun Gothic",
       sans-serif; color: #222; background: #fff; max-width: 70rem; margin: 2rem auto; padding: 0 1.2rem; }
h1, h2 { line-height: 1.25; }
h2 { margin-top: 2.2rem; border-bottom: 1px solid #ddd; padding-bottom: .3rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #e4e4e4; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; font-weight: normal; }
.words th, .words td { text-align: left; overflow-wrap: anywhere; }
.words td:first-child { white-space: nowrap; }
summary { cursor: pointer; font-weight: bold; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1.4rem; }
figure { margin: 0; }
figcaption b { display: block; }
svg { width: 100%; height: auto; }
svg text { font-size: 11px; fill: #555; }
.legend span { display: inline-block; margin-right: 1.2rem; font-size: .9rem; }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .35em; }
"""


def page(title: str, body: Iterable[str], language: str = "en", style: str = "") -> str:
    """A whole HTML document; `body` is HTML, `style` CSS for what only this page has."""
    inside = "\n".join(body)
    return (
        f'<!DOCTYPE html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{inside}\n</body>\n</html>\n"
    )


def table(rows: Iterable[Sequence[object]], head: Sequence[str] = (), words: bool = False) -> str:
    """Rows of plain text as an HTML table; `words` sets all columns to the left."""
    lines = [f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>"] if head else []
    lines += [f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table{' class=words' if words else ''}>\n" + "\n".join(lines) + "\n</table>"


def line_plot(
    title: str, series: Mapping[str, Sequence[tuple[float, float]]], across: str, percent: bool = False
) -> str:
    """Curves over one axis as an HTML figure; nothing where no series has a point.

    Args:
      title: what is drawn.
      series: by name, its points (x, y) with x ascending; those that are not finite are left out.
      across: what x is.
      percent: y is a share and shown as one.
    """
    curves = {
        name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        for name, points in series.items()
    }
    curves = {name: _thinned(points) for name, points in curves.items() if points}
    if not curves:
        return ""
    every = [point for points in curves.values() for point in points]
    columns, rows = ticks([x for x, _ in every]), ticks([y for _, y in every])

    def place(x: float, y: float) -> tuple[float, float]:
        width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        across = (x - columns[0]) / (columns[-1] - columns[0])
        return _LEFT + width * across, _HEIGHT - _BOTTOM - height * (y - rows[0]) / (rows[-1] - rows[0])

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">']
    for y in rows:
        height = place(columns[0], y)[1]
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height:.1f}" y2="{height:.1f}" stroke="#e4e4e4"/>'
        )
        shown = f"{_number(100 * y)}%" if percent else _number(y)
        parts.append(f'<text x="{_LEFT - 5}" y="{height + 4:.1f}" text-anchor="end">{shown}</text>')
    for x in columns:
        left = place(x, rows[0])[0]
        parts.append(f'<text x="{left:.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{_number(x)}</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">{escape(across)}</text>')
    for index, (name, points) in enumerate(curves.items()):
        colour, places = COLOURS[index % len(COLOURS)], [place(x, y) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        if len(places) <= 25:
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}"><title>{escape(name)}: {_number(value)}'
                "</title></circle>"
                for (x, y), (_, value) in zip(places, points, strict=True)
            ]
    shown = legend(list(curves)) if len(curves) > 1 else ""
    return f"<figure><figcaption><b>{escape(title)}</b>{shown}</figcaption>{''.join(parts)}</svg></figure>"


def bar_plot(
    title: str, explanation: str, buckets: Sequence[str], series: Mapping[str, Sequence[float]]
) -> str:
    """Bars in groups as an HTML figure: a group for each bucket, in it a bar for each series.

    Args:
      title, explanation: what is drawn, and a sentence on it.
      buckets: what stands below the groups.
      series: by name, its shares in percent, one for each bucket.
    """
    rows = ticks([0.0, max(1.0, *(share for shares in series.values() for share in shares))])
    scale = (_HEIGHT - _TOP - _BOTTOM) / rows[-1]
    floor = _HEIGHT - _BOTTOM
    group = (_WIDTH - _LEFT) / len(buckets)
    width = 0.8 * group / len(series)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">']
    for row in rows:
        height = floor - row * scale
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{height:.1f}" y2="{height:.1f}" stroke="#e4e4e4"/>'
            f'<text x="{_LEFT - 5}" y="{height + 4:.1f}" text-anchor="end">{_number(row)}%</text>'
        )
    for index, bucket in enumerate(buckets):
        left = _LEFT + index * group
        for number, (name, shares) in enumerate(series.items()):
            share = shares[index]
            parts.append(
                f'<rect x="{left + 0.1 * group + number * width:.1f}" y="{floor - share * scale:.1f}" '
                f'width="{width:.1f}" height="{share * scale:.1f}" fill="{COLOURS[number % len(COLOURS)]}">'
                f"<title>{escape(name)}: {escape(bucket)}: {share:.1f}%</title></rect>"
            )
        parts.append(
            f'<text x="{left + group / 2:.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{escape(bucket)}</text>'
        )
    caption = f"<figcaption><b>{escape(title)}</b>{escape(explanation)}</figcaption>"
    return f"<figure>{caption}{''.join(parts)}</svg></figure>"


def legend(names: Sequence[str]) -> str:
    """Which colour is whose, in the order of the series."""
    entries = (
        f'<span><i style="background:{COLOURS[index % len(COLOURS)]}"></i>{escape(name)}</span>'
        for index, name in enumerate(names)
    )
    return f'<span class="legend">{"".join(entries)}</span>'


def ticks(values: Sequence[float], most: int = 6) -> list[float]:
    """Round numbers, evenly spaced, from under the smallest value to over the largest, about `most` of them.

    `[0.3, 9.1]` → `[0.0, 2.0, 4.0, 6.0, 8.0, 10.0]`.
    """
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # a level line: room above and below
        spread = abs(high) or 1.0
        low, high = low - 0.1 * spread, high + 0.1 * spread
    rough = (high - low) / (most - 1)
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of neighbours, where there are more points than a plot can show."""
    size = -(-len(points) // _MOST_POINTS)
    groups = (points[start : start + size] for start in range(0, len(points), size))
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups
    ]


def _number(value: float) -> str:
    """12000000 → "12M", 0.00005 → "5e-05", 0.30000000000000004 → "0.3"."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or (abs(value) >= size and value % size == 0):
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"
