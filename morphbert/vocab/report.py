"""Reports figures of vocabularies on held-out text, side by side, as Markdown.

`morphbert.vocab.report_html` shows the same figures as a page with plots.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from morphbert.pages.phrases import Phrase, Text, phrase
from morphbert.text.tokenizer import Tokenizer
from morphbert.vocab.figures import AnswerCeiling, Figures, lengths_of_pieces

# The same for every vocabulary, so that two reports can be compared.
EXAMPLES = (
    "사과나무를 심었습니다.",
    "어제 친구랑 본 영화가 생각보다 재미있어서 두 번 봤다.",
    "대한민국(大韓民國)의 주권은 국민에게 있고, 모든 권력은 국민으로부터 나온다.",
    "2019년 3월 1일, BERT를 한국어로 다시 학습시키기 시작했다.",
    "코로나바이러스감염증 때문에 재택근무를 하게 되었어요ㅠㅠ",
    "진짜 개꿀잼ㅋㅋㅋ 안보면 후회함!!",
    "할아버지께서는 안녕히 주무셨습니까?",
)


@dataclass(frozen=True)
class Measured:
    """One vocabulary and its figures on the text.

    Attributes:
      tokenizer: for the examples and for the composition of the vocabulary.
      figures: the figures on the text; `lines` is 0 without a text.
      answers: the figures on a file of questions, if there is one.
    """

    name: Text
    tokenizer: Tokenizer
    figures: Figures
    answers: AnswerCeiling | None = None


@dataclass(frozen=True)
class VocabularyReport:
    """The content of both forms of a report.

    Attributes:
      notes: sentences before the figures, with `code`.
      text: the heading of the figures, which names the measured text; empty if nothing was measured.
      remarks: sentences after the figures.
      examples: texts to show as pieces.
    """

    title: Text
    notes: tuple[Text, ...]
    text: Text
    columns: tuple[Measured, ...]
    remarks: tuple[Phrase, ...] = ()
    examples: tuple[str, ...] = EXAMPLES


@dataclass(frozen=True)
class Histogram:
    """Shares in percent, one row per vocabulary, with the names of the buckets."""

    title: Phrase
    explanation: Phrase
    buckets: tuple[str, ...]
    shares: tuple[tuple[float, ...], ...]


def figure_rows(columns: Sequence[Measured]) -> list[tuple[Phrase, list[Text]]]:
    """Returns the rows of the table: a figure's name and its value for each vocabulary, without rows empty for all."""
    rows: list[tuple[Phrase, Callable[[Measured], Text]]] = [
        (phrase("lines of the vocabulary"), lambda c: f"{len(c.tokenizer.vocabulary):,}"),
        (phrase("analyser"), _analyser),
        (phrase("lines"), lambda c: f"{c.figures.lines:,}"),
        (phrase("eojeols"), lambda c: f"{c.figures.eojeols:,}"),
        (phrase("characters covered"), lambda c: f"{100 * c.figures.coverage:.3f}%"),
        (phrase("eojeols with [UNK]"), lambda c: f"{100 * c.figures.unknown_share:.3f}%"),
        (phrase("[UNK] among the pieces"), lambda c: _share(c.figures.unknown_pieces, c.figures.pieces, 3)),
        (phrase("pieces per eojeol"), lambda c: f"{c.figures.pieces_per_eojeol:.3f}"),
        (phrase("pieces per character"), lambda c: f"{c.figures.pieces_per_character:.3f}"),
        (phrase("eojeols in one piece"), lambda c: _share(c.figures.whole_eojeols, c.figures.eojeols, 1)),
        (
            phrase("eojeols cut alike by a stock BERT tokenizer"),
            lambda c: (
                "–"
                if c.figures.as_stock_bert is None
                else _share(c.figures.as_stock_bert, c.figures.eojeols, 1)
            ),
        ),
        (
            phrase("answers that token boundaries can hit"),
            lambda c: (
                ""
                if c.answers is None
                else phrase(
                    "{share} ({reachable} of {answers})",
                    share=f"{100 * c.answers.share:.2f}%",
                    reachable=f"{c.answers.reachable:,}",
                    answers=f"{c.answers.answers:,}",
                )
            ),
        ),
    ]
    shown = [(name, [value(column) for column in columns]) for name, value in rows]
    return [(name, values) for name, values in shown if any(values)]


def remarks(report: VocabularyReport) -> list[Phrase]:
    """Returns the explanations of the table."""
    found = [
        *report.remarks,
        phrase(
            "A stock BERT tokenizer is google-research/bert's, without an analyser, on the same `vocab.txt`: where it "
            "cuts an eojeol alike, a program that knows no Mecab reads the text as the model does."
        ),
    ]
    if any(column.answers for column in report.columns):
        found.append(
            phrase(
                "An answer can be hit where its first and last characters are the first and last of a token: no model "
                "that marks a first and a last token can give more answers exactly."
            )
        )
    return found


def _share(part: int, whole: int, digits: int) -> str:
    return f"{100 * part / max(1, whole):.{digits}f}%"


def _analyser(column: Measured) -> Text:
    description = column.tokenizer.describe()
    parts = [
        str(description["analyzer"]["name"]),
        description["analyzer"].get("morpheme_tags", ""),
        "" if description["analyzer"]["name"] in ("none", "sentencepiece") else description["continuation"],
        "" if description["normalization"] == "nfc" else description["normalization"],
    ]
    words = ", ".join(part for part in parts if part)
    return phrase("{analyser}, lower-cased", analyser=words) if description["do_lower_case"] else words


def histograms(columns: Sequence[Measured]) -> list[Histogram]:
    """Returns the distributions of the lengths of eojeols, lines and pieces, in the text and in the vocabulary."""
    return [
        _histogram(
            phrase("Pieces of an eojeol"),
            phrase("Share of the eojeols that are cut into so many pieces."),
            [column.figures.eojeols_by_pieces for column in columns],
            (1, 2, 3, 4, 5, 6, 7),
        ),
        _histogram(
            phrase("Pieces of a line"),
            phrase("Share of the lines that have so many pieces, special tokens not counted."),
            [column.figures.lines_by_pieces for column in columns],
            (8, 16, 32, 64, 128, 256, 510),
        ),
        _histogram(
            phrase("Length of the pieces in the text"),
            phrase("Share of the pieces that have so many characters, as often as they occur."),
            [column.figures.pieces_by_length for column in columns],
            (1, 2, 3, 4, 5, 6, 7),
        ),
        _histogram(
            phrase("Length of the pieces in the vocabulary"),
            phrase("Share of the pieces that have so many characters, each once."),
            [lengths_of_pieces(column.tokenizer.vocabulary.tokens) for column in columns],
            (1, 2, 3, 4, 5, 6, 7),
        ),
    ]


def _histogram(
    title: Phrase, explanation: Phrase, counts: Sequence[Counter[int]], bounds: tuple[int, ...]
) -> Histogram:
    """Returns a bucket for each bound, which ends at it, and one for values above the last bound."""
    names = []
    least = 1
    for bound in bounds:
        names.append(str(bound) if least == bound else f"{least}–{bound}")
        least = bound + 1
    shares = []
    for count in counts:
        row = [0] * (len(bounds) + 1)
        for size, number in count.items():
            row[next((index for index, bound in enumerate(bounds) if size <= bound), len(bounds))] += number
        shares.append(tuple(100 * number / max(1, count.total()) for number in row))
    return Histogram(title, explanation, (*names, f"{least}+"), tuple(shares))


def markdown(report: VocabularyReport) -> str:
    """Returns the report as Markdown; the same report gives the same text."""
    parts = [f"# {report.title}\n", *(f"{note}\n" for note in report.notes)]
    if report.text:
        parts.append(f"## {report.text}\n")
        parts.append(figures_table(report.columns) + "\n")
        parts += [f"{remark}\n" for remark in remarks(report)]
        for histogram in histograms(report.columns):
            parts.append(
                f"### {histogram.title}\n\n{histogram.explanation}\n\n{_histogram_table(histogram, report.columns)}\n"
            )
    parts.append("## Examples\n")
    for text in report.examples:
        pieces = [_code(" ".join(column.tokenizer.tokenize(text))) for column in report.columns]
        if len(pieces) > 1:
            pieces = [
                f"{_plain(column.name)}: {piece}"
                for column, piece in zip(report.columns, pieces, strict=True)
            ]
        parts.append(f"- {_plain(text)}<br>{'<br>'.join(pieces)}")
    return "\n".join(parts) + "\n"


def figures_table(columns: Sequence[Measured]) -> str:
    """Returns a Markdown table of the figures with one column per vocabulary."""
    return _table("", [column.name for column in columns], figure_rows(columns))


def _histogram_table(histogram: Histogram, columns: Sequence[Measured]) -> str:
    rows = [
        (name, [f"{shares[index]:.1f}%" for shares in histogram.shares])
        for index, name in enumerate(histogram.buckets)
    ]
    return _table("", [column.name for column in columns], rows)


def _table(corner: str, heads: Sequence[Text], rows: Sequence[tuple[Text, Sequence[Text]]]) -> str:
    lines = [f"| {corner} | {' | '.join(map(_plain, heads))} |", f"|---|{'---:|' * len(heads)}"]
    lines += [f"| {name} | {' | '.join(map(str, values))} |" for name, values in rows]
    return "\n".join(lines)


def _plain(text: Text) -> str:
    r"""Returns text with Markdown's signs escaped: `"a_b|c"` → `"a\_b\|c"`."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", str(text))


def _code(text: str) -> str:
    """Returns text between backticks, more of them than its longest run."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}" if longest else f"`{text}`"
