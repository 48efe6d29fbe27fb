"""A run as one HTML page: its settings, data, curves, held-out figures and machine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.pages.figures import LinePlot, line_plot, shown
from morphbert.pages.rendering import render as render_page
from morphbert.pages.rendering import translated
from morphbert.train.log import METRICS_FILE, duration, read_metrics
from morphbert.train.run_facts import read_run
from morphbert.train.storage import write_text

REPORT_FILE = "report.html"
# A sentence with masks, and for each of them the likeliest pieces with their probabilities.
Filled = tuple[str, Sequence[Sequence[tuple[str, float]]]]

_KIND = "masked_lm_accuracy_"
_PHENOMENON = "grammar_accuracy_"
_SHOWN = {
    "loss": "loss",
    "masked_lm_loss": "masked LM loss",
    "masked_lm_accuracy": "masked LM accuracy",
    "masked_lm_perplexity": "masked LM perplexity",
    "next_sentence_loss": "next sentence loss",
    "next_sentence_accuracy": "next sentence accuracy",
    "discriminator_loss": "discriminator loss",
    "discriminator_accuracy": "discriminator accuracy",
    "replaced_share": "replaced pieces",
    "replaced_recall": "replaced pieces found",
    "replaced_precision": "named as replaced and so",
    "grammar_accuracy": "grammar: pairs right",
    "grammar_unspaced_accuracy": "grammar: pairs right without spaces",
    "num_examples": "examples",
}
_KINDS_NOTE = (
    "By kind of masked piece. An eojeol counts where all of its pieces are masked, and is right where all are. "
    "Frequent pieces make up the first half of the text, middle ones the next 40%, rare ones the last tenth."
)
# The entries of a manifest that readers look for first, in words.
_COUNTS = {
    "num_records": "records",
    "num_documents": "documents",
    "num_sentences": "sentences",
    "max_seq_length": "pieces in a record, at most",
    "max_predictions_per_seq": "masked pieces in a record, at most",
    "objective": "sentence objective",
}


def write_report(directory: str, filled: Sequence[Filled] = (), path: str | None = None) -> str:
    """Writes the report on the run in an output folder, finished or in progress; returns its path.

    Args:
      directory: the `--output_dir` of the run.
      filled: masks that its newest checkpoint has filled in.
      path: where the page goes; None for `report.html` in the folder.

    Raises:
      MorphbertError: there is no run, or the page cannot be written.
    """
    path = path or os.path.join(directory, REPORT_FILE)
    write_text(path, render(directory, filled))
    return path


def render(directory: str, filled: Sequence[Filled] = ()) -> str:
    """The page, see `write_report`."""
    facts, log = read_run(directory), os.path.join(directory, METRICS_FILE)
    lines = read_metrics(log) if tf.io.gfile.exists(log) else []
    if not lines:
        raise MorphbertError(
            f"{directory} has no line of {METRICS_FILE} yet: wait until the run has logged one (--log_steps)."
        )
    trained = [line for line in lines if line["kind"] == "train"]
    evaluated = [line for line in lines if line["kind"] == "eval"]
    name = os.path.basename(os.path.abspath(directory))
    parts = (("run", "Run"), ("model", "Model"), ("optimizer", "Optimizer"), ("step", "Step"))
    return render_page(
        "pretraining.html",
        title=f"Pretraining: {name}",
        heading=translated("Pretraining") + f": {name}",
        summary=_summary(facts, trained, evaluated),
        curves=_learning(trained, evaluated),
        **_evaluation(evaluated),
        filled=_masks(filled),
        **_throughput(trained),
        data=_data(facts["data"]),
        configuration=[(title, _facts(facts[part])) for part, title in parts],
        environment=_facts({"morphbert": facts["morphbert_version"], **facts["environment"]}),
    )


def _summary(
    facts: Mapping[str, Any], trained: Sequence[Any], evaluated: Sequence[Any]
) -> list[tuple[str, str]]:
    steps = facts["optimizer"]["num_train_steps"]
    step = max(line["step"] for line in (*trained, *evaluated))
    rows = [
        ("steps", f"{step:,} of {steps:,}" + ("" if step >= steps else ", in progress or stopped")),
        ("parameters", f"{facts['parameters']:,}"),
        ("started", facts["started"]),
    ]
    if facts["continued"]:
        rows.append(("continued", ", ".join(facts["continued"])))
    if trained:
        rows.append(("loss in training", shown(trained[-1]["loss"])))
        if goodput := [line for line in trained if "goodput" in line]:
            share, wall = goodput[-1]["goodput"], duration(goodput[-1]["wall_seconds"])
            rows.append(("goodput", f"{shown(share, percent=True)} of {wall} moved the weights"))
        if step < steps and "seconds_left" in trained[-1]:
            rows.append(("time left", duration(trained[-1]["seconds_left"])))
    if evaluated:
        best = min(evaluated, key=lambda line: line["loss"])
        rows.append(
            (
                "held-out loss",
                f"{shown(evaluated[-1]['loss'])}, at best {shown(best['loss'])} at step {best['step']:,}",
            )
        )
    return rows


def _curve(lines: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(line["step"], line[name]) for line in lines if name in line]


def _learning(trained: Sequence[Any], evaluated: Sequence[Any]) -> list[LinePlot]:
    def both(title: str, name: str, percent: bool = False, exact: bool = False) -> LinePlot | None:
        series = {"training": _curve(trained, name), "held out": _curve(evaluated, name)}
        return line_plot(title, series, "step", percent, exact)

    kinds = dict.fromkeys(key for line in evaluated for key in line if key.startswith(_KIND))
    of_kinds = {kind.removeprefix(_KIND).replace("_", " "): _curve(evaluated, kind) for kind in kinds}
    phenomena = dict.fromkeys(key for line in evaluated for key in line if key.startswith(_PHENOMENON))
    of_phenomena = {
        name.removeprefix(_PHENOMENON).replace("_", " "): _curve(evaluated, name) for name in phenomena
    }
    names = {
        "are replaced": "replaced_share",
        "of them found": "replaced_recall",
        "right of those named": "replaced_precision",
    }
    of_replaced = {shown_as: _curve(evaluated, name) for shown_as, name in names.items()}
    plots = (
        both("Loss", "loss"),
        both("Masked LM: loss", "masked_lm_loss"),
        both("Masked LM: accuracy", "masked_lm_accuracy", percent=True),
        line_plot("Masked LM: held-out accuracy by kind", of_kinds, "step", percent=True),
        line_plot("Grammar: minimal pairs in the right order", of_phenomena, "step", percent=True),
        both("Next sentence: loss", "next_sentence_loss"),
        both("Next sentence: accuracy", "next_sentence_accuracy", percent=True),
        both("Discriminator: loss", "discriminator_loss"),
        line_plot("Replaced pieces, held out", of_replaced, "step", percent=True),
        both("z-loss", "z_loss"),
        both("Learning rate", "learning_rate", exact=True),
        both("Norm of the gradient", "gradient_norm"),
        both("Loss scale", "loss_scale", exact=True),
    )
    return [plot for plot in plots if plot is not None]


def _throughput(trained: Sequence[Any]) -> dict[str, Any]:
    figures = (
        ("Sequences a second", "sequences_per_second", False),
        ("Pieces a second, padding left out", "tokens_per_second", False),
        ("Share of the time spent waiting for input", "input_wait_share", True),
        ("Model FLOPs utilisation", "model_flops_utilization", True),
    )
    rows = []
    for title, name, percent in figures:
        values = sorted(value for _, value in _curve(trained, name))
        if values:
            rows.append((title, shown(values[len(values) // 2], percent)))
    plots = [line_plot(title, {title: _curve(trained, name)}, "step", part) for title, name, part in figures]
    return {"throughput": rows, "throughput_curves": [plot for plot in plots if plot is not None]}


def _evaluation(evaluated: Sequence[Any]) -> dict[str, Any]:
    """The last and the best evaluation as rows, and the last one's accuracy by kind."""
    if not evaluated:
        return {"evaluation": (), "evaluation_head": (), "kinds": (), "kinds_note": "", "phenomena": ()}
    best, last = min(evaluated, key=lambda line: line["loss"]), evaluated[-1]
    columns = [("last", last)] if best["step"] == last["step"] else [("last", last), ("best", best)]
    rows = [
        (name, *(_figure(key, line[key]) for _, line in columns))
        for key, name in _SHOWN.items()
        if all(key in line for _, line in columns)
    ]
    kinds = [key.removeprefix(_KIND) for key in last if key.startswith(_KIND)]
    return {
        "evaluation": rows,
        "evaluation_head": ("", *(f"{word}: step {line['step']:,}" for word, line in columns)),
        "kinds": [
            (
                kind.replace("_", " "),
                shown(last[_KIND + kind], percent=True),
                f"{last['masked_lm_predictions_' + kind]:,}",
            )
            for kind in kinds
        ],
        "kinds_note": _KINDS_NOTE,
        "phenomena": [
            (key.removeprefix(_PHENOMENON).replace("_", " "), shown(last[key], percent=True))
            for key in last
            if key.startswith(_PHENOMENON)
        ],
    }


def _figure(name: str, value: float) -> str:
    shares = ("accuracy", "_share", "_recall", "_precision")
    return shown(value, percent=name.endswith(shares))


def _masks(filled: Sequence[Filled]) -> list[tuple[str, str]]:
    return [
        (
            sentence if number == 0 else "",
            " · ".join(f"{piece} {shown(probability, percent=True)}" for piece, probability in pieces),
        )
        for sentence, masks in filled
        for number, pieces in enumerate(masks)
    ]


def _facts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _word(value)) for name, value in values.items()]


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else _word(value)


def _data(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each part's files, the counts of its first manifest, and the manifests as rows."""
    made = []
    for part, title in (("train", "Trained on"), ("eval", "Evaluated on")):
        files, manifests = data[part]["files"], data[part]["manifests"]
        if not files:
            continue
        more = f" and {len(files) - 8} more" if len(files) > 8 else ""
        counts = (
            []
            if not manifests
            else [
                (word, _count(manifests[0][name])) for name, word in _COUNTS.items() if name in manifests[0]
            ]
        )
        made.append(
            {
                "name": title,
                "files": ", ".join(files[:8]) + more,
                "counts": counts,
                "manifests": [_facts(manifest) for manifest in manifests],
            }
        )
    return made
