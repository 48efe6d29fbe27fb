"""`report.html`: a fine-tuned model's figures, curves and mistakes on one page that needs nothing from anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from html import escape
from typing import Any

from morphbert import plots
from morphbert.finetune.confusion import Confusion
from morphbert.finetune.judgement import Judgement
from morphbert.train.log import METRICS_FILE, read_metrics
from morphbert.train.storage import write_text

REPORT_NAME = "report.html"
_CELL, _LABELS = 46, 150
# More classes than this make cells that nobody can read.
_MOST_CLASSES = 40


def write_report(folder: str, step: int, judgement: Judgement, settings: Mapping[str, Any]) -> str:
    """Writes the page; returns its path.

    Args:
      folder: the run's, whose `metrics.jsonl` has the curves.
      step: of the model that was judged.
      judgement: what the held-out examples say.
      settings: what the run was, JSON-able.
    """
    body = [f"<p>{judgement.figures['num_examples']} held-out examples, step {step}.</p>"]
    body.append(plots.table(_rows(judgement.figures), ("figure", "value")))
    body.append(_curves(folder))
    if judgement.confusion is not None:
        body += ["<h2>What is taken for what</h2>", confusion_plot(judgement.confusion)]
    if judgement.groups:
        names = list(next(iter(judgement.groups.values())))
        rows = [[name, *(_shown(group[key]) for key in names)] for name, group in judgement.groups.items()]
        body += ["<h2>By length</h2>", plots.table(rows, ("", *names))]
    words = [[name, json.dumps(value, ensure_ascii=False)] for name, value in sorted(settings.items())]
    body += ["<details><summary>Settings</summary>", plots.table(words, words=True), "</details>"]
    path = os.path.join(folder, REPORT_NAME)
    write_text(path, plots.page(f"Fine-tuning: {settings.get('task', '')}", body))
    return path


def _rows(figures: Mapping[str, float]) -> list[list[str]]:
    return [[name, _shown(value)] for name, value in figures.items() if name != "num_examples"]


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def _curves(folder: str) -> str:
    path = os.path.join(folder, METRICS_FILE)
    if not os.path.exists(path):
        return ""
    lines = read_metrics(path)
    series: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for line in lines:
        for name, value in line.items():
            if name not in ("kind", "step", "num_examples") and isinstance(value, (int, float)):
                series.setdefault(name, {}).setdefault(line["kind"], []).append((line["step"], value))
    wanted = [name for name, kinds in series.items() if "eval" in kinds or name in ("loss", "learning_rate")]
    figures = (plots.line_plot(name, series[name], "step") for name in wanted)
    return f'<h2>Curves</h2>\n<div class="plots">{"".join(figures)}</div>'


def confusion_plot(confusion: Confusion) -> str:
    """The matrix as an HTML figure: rows are the true classes, columns what they were taken for.

    Of many classes those that are mistaken most often are drawn.
    """
    labels, counts, shares = confusion.labels, confusion.counts, confusion.shares
    chosen = list(range(len(labels)))
    if len(chosen) > _MOST_CLASSES:
        wrong = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
        chosen = sorted(sorted(chosen, key=lambda number: -wrong[number])[:_MOST_CLASSES])
    size = _LABELS + _CELL * len(chosen)
    parts = [
        f'<svg viewBox="0 0 {size} {size}" style="max-width:{size}px" role="img" aria-label="confusion matrix">'
    ]
    for place, number in enumerate(chosen):
        middle, name = _LABELS + _CELL * place + _CELL // 2, escape(labels[number])
        parts.append(f'<text x="{_LABELS - 6}" y="{middle + 4}" text-anchor="end">{name}</text>')
        parts.append(
            f'<text x="{middle}" y="{_LABELS - 6}" transform="rotate(-45 {middle} {_LABELS - 6})">{name}</text>'
        )
    for y, row in enumerate(chosen):
        for x, column in enumerate(chosen):
            share, count = float(shares[row, column]), int(counts[row, column])
            left, top = _LABELS + _CELL * x, _LABELS + _CELL * y
            parts.append(
                f'<rect x="{left}" y="{top}" width="{_CELL - 1}" height="{_CELL - 1}" fill="{plots.COLOURS[0]}" '
                f'fill-opacity="{share:.3f}" stroke="#e4e4e4"><title>{escape(labels[row])} → '
                f"{escape(labels[column])}: {count} ({share:.1%})</title></rect>"
            )
            if count:
                colour = ' style="fill:#fff"' if share > 0.5 else ""
                parts.append(
                    f'<text x="{left + _CELL // 2}" y="{top + _CELL // 2 + 4}" text-anchor="middle"{colour}>'
                    f"{count}</text>"
                )
    caption = "Rows are the true classes, columns what they were taken for; colour is the share of the row."
    return f"<figure>{''.join(parts)}</svg><figcaption>{caption}</figcaption></figure>"
