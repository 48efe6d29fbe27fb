"""A vocabulary report as one HTML page: tables, plots drawn as SVG, examples. It loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from morphbert.text.report import Histogram, Measured, Report, figure_rows, histograms, remarks
from morphbert.text.wordpiece import CONTINUATION

# Distinct also for eyes that see no red or no green (Okabe and Ito's set, without black and yellow).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")

_STYLE = """
body { font: 16px/1.55 system-ui, "Noto Sans KR", "Apple SD Gothic Neo", "Malgun Gothic", sans-serif;
       color: #222; background: #fff; max-width: 62rem; margin: 2rem auto; padding: 0 1.2rem; }
h1, h2, h3 { line-height: 1.25; }
h2 { margin-top: 2.2rem; border-bottom: 1px solid #ddd; padding-bottom: .3rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #e4e4e4; text-align: right; }
th:first-child, td:first-child { text-align: left; font-weight: normal; }
code { background: #f2f2f2; padding: 0 .25em; border-radius: 3px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1.4rem; }
figure { margin: 0; }
figcaption { font-size: .9rem; color: #555; }
figcaption b { color: #222; font-size: 1rem; display: block; }
svg { width: 100%; height: auto; }
svg text { font-size: 11px; fill: #555; }
.legend span { margin-right: 1.2rem; }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .35em; }
.example { margin: 1.2rem 0; }
.example p { margin: .2rem 0; }
.example .name { display: inline-block; min-width: 9rem; margin-right: .6rem; color: #555; font-size: .9rem; }
.piece { display: inline-block; padding: 0 .3em; margin: .1em .12em .1em 0; border-radius: 3px; background: #cfe3f1; }
.piece.goes-on { background: #eef4f9; margin-left: -.06em; }
.piece.unknown { background: #f6c9b8; }
"""


def html(report: Report) -> str:
    """The report as a page; same report, same text."""
    columns = report.columns
    parts = [f"<h1>{escape(report.title)}</h1>", *(f"<p>{_inline(note)}</p>" for note in report.notes)]
    if report.text:
        parts += [f"<h2>{escape(report.text)}</h2>", _legend(columns), _table(columns)]
        parts += [f"<p>{_inline(remark)}</p>" for remark in remarks(report)]
        parts += [
            '<div class="plots">',
            *(_figure(histogram, columns) for histogram in histograms(columns)),
            "</div>",
        ]
    parts.append("<h2>Examples</h2>")
    parts += [_example(text, columns) for text in report.examples]
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _inline(text: str) -> str:
    """Plain text with `code` in it → HTML."""
    return "".join(
        f"<code>{escape(part)}</code>" if index % 2 else escape(part)
        for index, part in enumerate(text.split("`"))
    )


def _legend(columns: Sequence[Measured]) -> str:
    if len(columns) < 2:
        return ""
    entries = (
        f'<span><i style="background:{_colour(index)}"></i>{escape(column.name)}</span>'
        for index, column in enumerate(columns)
    )
    return f'<p class="legend">{"".join(entries)}</p>'


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]


def _table(columns: Sequence[Measured]) -> str:
    heads = "".join(f"<th>{escape(column.name)}</th>" for column in columns)
    rows = "\n".join(
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{escape(value)}</td>' for value in values)}</tr>"
        for name, values in figure_rows(columns)
    )
    return f"<table>\n<tr><th></th>{heads}</tr>\n{rows}\n</table>"


def _figure(histogram: Histogram, columns: Sequence[Measured]) -> str:
    caption = f"<b>{escape(histogram.title)}</b>{escape(histogram.explanation)}"
    return f"<figure><figcaption>{caption}</figcaption>{_bars(histogram, columns)}</figure>"


def _bars(histogram: Histogram, columns: Sequence[Measured]) -> str:
    """Bars in groups, a group for each bucket and in it a bar for each vocabulary; the axis is in percent."""
    width, height, left, top, bottom = 520, 230, 38, 14, 24
    highest = max((share for shares in histogram.shares for share in shares), default=0)
    step = next(step for step in (1, 2, 5, 10, 20, 25) if highest <= 5 * step or step == 25)
    scale = (height - top - bottom) / (step * max(1, -(-highest // step)))
    floor = height - bottom
    group = (width - left) / len(histogram.buckets)
    bar = 0.8 * group / len(columns)
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(histogram.title, quote=True)}">'
    ]
    for line in range(int(max(1, -(-highest // step))) + 1):
        y = floor - line * step * scale
        parts.append(f'<line x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{left - 5}" y="{y + 4:.1f}" text-anchor="end">{line * step}%</text>')
    for index, bucket in enumerate(histogram.buckets):
        x = left + index * group
        for number, column in enumerate(columns):
            share = histogram.shares[number][index]
            tip = f"{column.name}: {bucket}: {share:.1f}%"
            parts.append(
                f'<rect x="{x + 0.1 * group + number * bar:.1f}" y="{floor - share * scale:.1f}" width="{bar:.1f}" '
                f'height="{share * scale:.1f}" fill="{_colour(number)}"><title>{escape(tip)}</title></rect>'
            )
        parts.append(
            f'<text x="{x + group / 2:.1f}" y="{height - 8}" text-anchor="middle">{escape(bucket)}</text>'
        )
    return "".join(parts) + "</svg>"


def _example(text: str, columns: Sequence[Measured]) -> str:
    lines = [f"<p>{escape(text)}</p>"]
    for column in columns:
        name = f'<span class="name">{escape(column.name)}</span>' if len(columns) > 1 else ""
        pieces = "".join(
            f'<span class="piece{_kind(token, column)}">{escape(token)}</span>'
            for token in column.tokenizer.tokenize(text)
        )
        lines.append(f"<p>{name}{pieces}</p>")
    return f'<div class="example">{"".join(lines)}</div>'


def _kind(token: str, column: Measured) -> str:
    if token == column.tokenizer.unknown:
        return " unknown"
    return " goes-on" if token.startswith(CONTINUATION) and len(token) > len(CONTINUATION) else ""
