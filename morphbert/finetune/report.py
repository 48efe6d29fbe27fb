"""`report.html`: a fine-tuned model's figures, curves and mistakes on one page."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from morphbert.finetune.confusion import Confusion
from morphbert.finetune.judgement import Judgement
from morphbert.pages.figures import LinePlot, line_plot, shown
from morphbert.pages.rendering import render, translated
from morphbert.train.log import METRICS_FILE, read_metrics
from morphbert.train.storage import write_text

REPORT_NAME = "report.html"
# More classes than this make a table that nobody can read.
_MOST_CLASSES = 40
# A figure with fewer evaluations than this has no curve.
_FEWEST_POINTS = 2


def write_report(folder: str, step: int, judgement: Judgement, settings: Mapping[str, Any]) -> str:
    """Writes the page; returns its path.

    Args:
      folder: the run's folder, whose `metrics.jsonl` has the curves.
      step: the step of the evaluated model.
      judgement: the evaluation on held-out examples.
      settings: the settings of the run, as JSON values.
    """
    groups = judgement.groups
    names = list(next(iter(groups.values()))) if groups else []
    page = render(
        "fine_tuning.html",
        title=f"Fine-tuning: {settings.get('task', '')}",
        heading=translated("Fine-tuning") + f": {settings.get('task', '')}",
        summary=f"{judgement.figures['num_examples']:,} held-out examples, step {step:,}.",
        figures=[
            (_named(name), shown(value))
            for name, value in judgement.figures.items()
            if name != "num_examples"
        ],
        curves=_curves(folder),
        confusion=None if judgement.confusion is None else confusion_table(judgement.confusion),
        mistakes=[
            (mistake.text, mistake.label, mistake.predicted, shown(mistake.probability, percent=True))
            for mistake in judgement.mistakes
        ],
        groups=[(name, *(shown(group[key]) for key in names)) for name, group in groups.items()],
        group_head=("", *map(_named, names)),
        settings=[(name, json.dumps(value, ensure_ascii=False)) for name, value in sorted(settings.items())],
    )
    path = os.path.join(folder, REPORT_NAME)
    write_text(path, page)
    return path


def _named(name: str) -> str:
    """`"entity_f1"` → `"entity f1"`."""
    return name.replace("_", " ")


def _curves(folder: str) -> list[LinePlot]:
    path = os.path.join(folder, METRICS_FILE)
    if not os.path.exists(path):
        return []
    series: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for line in read_metrics(path):
        kind = "training" if line["kind"] == "train" else "held out"
        for name, value in line.items():
            if name not in ("kind", "step", "num_examples") and isinstance(value, (int, float)):
                series.setdefault(name, {}).setdefault(kind, []).append((line["step"], value))
    plots = [
        line_plot(_named(name), kinds, "step", exact=name == "learning_rate")
        for name, kinds in series.items()
        if ("held out" in kinds or name in ("loss", "learning_rate"))
        and max(map(len, kinds.values())) >= _FEWEST_POINTS
    ]
    return [plot for plot in plots if plot is not None]


def confusion_table(confusion: Confusion) -> dict[str, Any]:
    """Returns the matrix for the page: rows are the true classes, columns the predicted ones.

    Of many classes those that are mistaken most often are shown.
    """
    labels, counts, shares = confusion.labels, confusion.counts, confusion.shares
    chosen = list(range(len(labels)))
    if len(chosen) > _MOST_CLASSES:
        wrong = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
        chosen = sorted(sorted(chosen, key=lambda number: -wrong[number])[:_MOST_CLASSES])

    def cell(row: int, column: int) -> dict[str, Any]:
        count, share = int(counts[row, column]), float(shares[row, column])
        kinds = [("zero", count == 0), ("full", share > 0.5), ("right", row == column)]
        return {
            "count": f"{count:,}",
            "share": f"{share:.3f}",
            "kind": " ".join(kind for kind, applies in kinds if applies),
            "title": f"{labels[row]} → {labels[column]}: {count:,} ({share:.1%})",
        }

    return {
        "labels": [labels[number] for number in chosen],
        "rows": [{"label": labels[row], "cells": [cell(row, column) for column in chosen]} for row in chosen],
    }
