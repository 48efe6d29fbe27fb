"""A vocabulary report as one HTML page: tables, plots, examples."""

from __future__ import annotations

from morphbert.pages.figures import bar_plot, legend
from morphbert.pages.phrases import Text
from morphbert.pages.rendering import render, untranslated
from morphbert.vocab.report import Measured, VocabularyReport, figure_rows, histograms, remarks


def html(report: VocabularyReport) -> str:
    """Returns the report as a page; the same report gives the same text."""
    columns = report.columns
    names = [column.name for column in columns]
    plots = [
        bar_plot(shown.title, shown.explanation, shown.buckets, dict(zip(names, shown.shares, strict=True)))
        for shown in (histograms(columns) if report.text else ())
    ]
    return render(
        "vocabulary.html",
        title=report.title,
        notes=report.notes,
        text=report.text,
        names=names,
        legend=legend(names),
        figures=[(name, *map(_value, values)) for name, values in figure_rows(columns)]
        if report.text
        else (),
        figures_head=("", *map(_value, names)),
        remarks=remarks(report),
        histograms=plots,
        examples=[
            {"text": text, "rows": [(column.name, _pieces(text, column)) for column in columns]}
            for text in report.examples
        ],
    )


def _value(text: Text) -> Text:
    return untranslated(text) if isinstance(text, str) else text


def _pieces(text: str, column: Measured) -> list[tuple[str, str]]:
    return [(_kind(token, column), token) for token in column.tokenizer.tokenize(text)]


def _kind(token: str, column: Measured) -> str:
    """Returns the CSS class of a piece."""
    if token == column.tokenizer.unknown:
        return "unknown"
    number = column.tokenizer.vocab.get(token)
    return "goes-on" if number is not None and column.tokenizer.vocabulary.continuations[number] else ""
