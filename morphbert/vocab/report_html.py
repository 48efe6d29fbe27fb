"""A vocabulary report as one HTML page: tables, plots, examples. It loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from morphbert.plots import bar_plot, legend, page, table
from morphbert.vocab.report import Measured, Report, figure_rows, histograms, remarks

_STYLE = """
code { background: #f2f2f2; padding: 0 .25em; border-radius: 3px; }
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
    names = [column.name for column in columns]
    body = [f"<p>{_inline(note)}</p>" for note in report.notes]
    if report.text:
        body.append(f"<h2>{escape(report.text)}</h2>")
        body += [f"<p>{legend(names)}</p>"] if len(names) > 1 else []
        body.append(table(((name, *values) for name, values in figure_rows(columns)), ("", *names)))
        body += [f"<p>{_inline(remark)}</p>" for remark in remarks(report)]
        body.append('<div class="plots">')
        body += [
            bar_plot(
                shown.title, shown.explanation, shown.buckets, dict(zip(names, shown.shares, strict=True))
            )
            for shown in histograms(columns)
        ]
        body.append("</div>")
    body.append("<h2>Examples</h2>")
    body += [_example(text, columns) for text in report.examples]
    return page(report.title, body, style=_STYLE)


def _inline(text: str) -> str:
    """Plain text with `code` in it → HTML."""
    return "".join(
        f"<code>{escape(part)}</code>" if index % 2 else escape(part)
        for index, part in enumerate(text.split("`"))
    )


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
    number = column.tokenizer.vocab.get(token)
    return " goes-on" if number is not None and column.tokenizer.vocabulary.continuations[number] else ""
