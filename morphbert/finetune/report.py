"""`report.html`: a fine-tuned model's figures, curves and mistakes on one page."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from morphbert.finetune.confusion import Confusion
from morphbert.finetune.judgement import Judgement
from morphbert.pages.figures import LinePlot, line_plot, shown
from morphbert.pages.phrases import Text, phrase
from morphbert.pages.rendering import render, untranslated
from morphbert.train.log import METRICS_FILE, read_metrics
from morphbert.train.storage import write_text

REPORT_NAME = "report.html"
# More classes than this make a table that nobody can read.
_MOST_CLASSES = 40
# A figure with fewer evaluations than this has no curve.
_FEWEST_POINTS = 2
# Figures of the tasks and of the log.
_FIGURES = {
    "loss": phrase("loss"),
    "learning_rate": phrase("learning rate"),
    "num_examples": phrase("examples"),
    "accuracy": phrase("accuracy"),
    "precision": phrase("precision"),
    "recall": phrase("recall"),
    "f1": phrase("F1"),
    "f1_micro": phrase("F1, micro"),
    "f1_macro": phrase("F1, macro"),
    "auprc": phrase("area under precision and recall"),
    "pearson": phrase("Pearson's correlation"),
    "spearman": phrase("Spearman's correlation"),
    "exact_match": phrase("exact match"),
    "rouge_w": phrase("ROUGE-W"),
    "exact_match_unstripped": phrase("exact match with particles"),
    "f1_unstripped": phrase("F1 with particles"),
    "rouge_w_unstripped": phrase("ROUGE-W with particles"),
    "no_answer_accuracy": phrase("accuracy without an answer"),
    "best_threshold": phrase("best threshold"),
    "best_threshold_f1": phrase("F1 at the best threshold"),
    "best_threshold_rouge_w": phrase("ROUGE-W at the best threshold"),
    "entity_f1": phrase("F1 of entities"),
    "entity_f1_micro": phrase("F1 of entities, micro"),
    "character_f1": phrase("F1 of characters"),
}


def write_report(
    folder: str, step: int, title: Text, judgement: Judgement, settings: Mapping[str, Any]
) -> str:
    """Writes the page; returns its path.

    Args:
      folder: the run's folder, whose `metrics.jsonl` has the curves.
      step: the step of the evaluated model.
      title: the task's `title`.
      judgement: the evaluation on held-out examples.
      settings: the settings of the run, as JSON values.
    """
    groups = judgement.groups
    names = list(next(iter(groups.values()))) if groups else []
    page = render(
        "fine_tuning.html",
        title=phrase("Fine-tuning: {task}", task=title),
        summary=phrase(
            "{count} held-out examples, step {step}.",
            count=f"{judgement.figures['num_examples']:,}",
            step=f"{step:,}",
        ),
        figures=[
            (_named(name), shown(value), untranslated(name))
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


def _named(name: str) -> Text:
    """Returns the name of a figure; of a plugin's metric `"my_score"` → `"my score"`."""
    return _FIGURES.get(name, name.replace("_", " "))


def _curves(folder: str) -> list[LinePlot]:
    path = os.path.join(folder, METRICS_FILE)
    if not os.path.exists(path):
        return []
    series: dict[str, dict[Text, list[tuple[float, float]]]] = {}
    training, held_out = phrase("training"), phrase("held out")
    for line in read_metrics(path):
        kind = training if line["kind"] == "train" else held_out
        for name, value in line.items():
            if name not in ("kind", "step", "num_examples") and isinstance(value, (int, float)):
                series.setdefault(name, {}).setdefault(kind, []).append((line["step"], value))
    plots = [
        line_plot(_named(name), kinds, phrase("step"), exact=name == "learning_rate")
        for name, kinds in series.items()
        if (held_out in kinds or name in ("loss", "learning_rate"))
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
