"""A run as one HTML page: what it was told, what it read, its curves and held-out figures, and where it ran."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.plots import line_plot, page, table
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
    "grammar_accuracy": "grammar: pairs right",
    "grammar_unspaced_accuracy": "grammar: pairs right without spaces",
    "num_examples": "examples",
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
    body = [
        _summary(facts, trained, evaluated),
        "<h2>Curves</h2>",
        _plots(_learning(trained, evaluated)),
        "<h2>Throughput</h2>",
        _throughput(trained),
        "<h2>Evaluation</h2>",
        _evaluation(evaluated),
    ]
    if filled:
        body += ["<h2>Masks filled in</h2>", _masks(filled)]
    body += ["<h2>Configuration</h2>", *_configuration(facts), "<h2>Data</h2>", *_data(facts["data"])]
    body += [
        "<h2>Environment</h2>",
        _facts({"morphbert": facts["morphbert_version"], **facts["environment"]}),
    ]
    return page(f"Pretraining: {name}", body)


def _summary(facts: Mapping[str, Any], trained: Sequence[Any], evaluated: Sequence[Any]) -> str:
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
        rows.append(("loss in training", f"{trained[-1]['loss']:.4f}"))
        if goodput := [line for line in trained if "goodput" in line]:
            share, wall = goodput[-1]["goodput"], duration(goodput[-1]["wall_seconds"])
            rows.append(("goodput", f"{share:.1%} of {wall} moved the weights"))
        if step < steps and "seconds_left" in trained[-1]:
            rows.append(("time left", duration(trained[-1]["seconds_left"])))
    if evaluated:
        best = min(evaluated, key=lambda line: line["loss"])
        rows.append(
            (
                "held-out loss",
                f"{evaluated[-1]['loss']:.4f}, at best {best['loss']:.4f} at step {best['step']}",
            )
        )
    return table(rows, words=True)


def _curve(lines: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(line["step"], line[name]) for line in lines if name in line]


def _learning(trained: Sequence[Any], evaluated: Sequence[Any]) -> list[str]:
    def both(title: str, name: str, percent: bool = False) -> str:
        series = {"training": _curve(trained, name), "held out": _curve(evaluated, name)}
        return line_plot(title, series, "step", percent)

    kinds = dict.fromkeys(key for line in evaluated for key in line if key.startswith(_KIND))
    of_kinds = {kind.removeprefix(_KIND).replace("_", " "): _curve(evaluated, kind) for kind in kinds}
    phenomena = dict.fromkeys(key for line in evaluated for key in line if key.startswith(_PHENOMENON))
    of_phenomena = {
        name.removeprefix(_PHENOMENON).replace("_", " "): _curve(evaluated, name) for name in phenomena
    }
    return [
        both("Loss", "loss"),
        both("Masked LM: loss", "masked_lm_loss"),
        both("Masked LM: accuracy", "masked_lm_accuracy", percent=True),
        line_plot("Masked LM: held-out accuracy by kind", of_kinds, "step", percent=True),
        line_plot("Grammar: minimal pairs in the right order", of_phenomena, "step", percent=True),
        both("Next sentence: loss", "next_sentence_loss"),
        both("Next sentence: accuracy", "next_sentence_accuracy", percent=True),
        both("z-loss", "z_loss"),
        both("Learning rate", "learning_rate"),
        both("Norm of the gradient", "gradient_norm"),
        both("Loss scale", "loss_scale"),
    ]


def _throughput(trained: Sequence[Any]) -> str:
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
            middle = values[len(values) // 2]
            rows.append((title, f"{middle:.1%}" if percent else f"{middle:,.1f}"))
    plots = [line_plot(title, {title: _curve(trained, name)}, "step", part) for title, name, part in figures]
    return table(rows, ["", "median"]) + _plots(plots)


def _plots(figures: Sequence[str]) -> str:
    return '<div class="plots">\n' + "\n".join(filter(None, figures)) + "\n</div>"


def _evaluation(evaluated: Sequence[Any]) -> str:
    if not evaluated:
        return "<p>None yet (--do_eval, --eval_every).</p>"
    best, last = min(evaluated, key=lambda line: line["loss"]), evaluated[-1]
    columns = [("last", last)] if best["step"] == last["step"] else [("last", last), ("best", best)]
    rows = [
        (shown, *(_figure(name, line[name]) for _, line in columns))
        for name, shown in _SHOWN.items()
        if all(name in line for _, line in columns)
    ]
    made = table(rows, ["", *(f"{word}: step {line['step']:,}" for word, line in columns)])
    return made + _by_kind(last) + _by_phenomenon(last)


def _by_kind(last: Mapping[str, Any]) -> str:
    kinds = [key.removeprefix(_KIND) for key in last if key.startswith(_KIND)]
    if not kinds:
        return ""
    by_kind = [
        (kind.replace("_", " "), f"{last[_KIND + kind]:.1%}", f"{last['masked_lm_predictions_' + kind]:,}")
        for kind in kinds
    ]
    note = (
        "<p>By what is masked. An eojeol counts where all of its pieces are masked, and is right where all are. "
        "Frequent pieces make up the first half of the text, middle ones the next 40%, rare ones the last tenth.</p>"
    )
    return note + table(by_kind, ["masked LM accuracy, last", "right", "predictions"])


def _by_phenomenon(last: Mapping[str, Any]) -> str:
    rows = [
        (key.removeprefix(_PHENOMENON).replace("_", " "), f"{last[key]:.1%}")
        for key in last
        if key.startswith(_PHENOMENON)
    ]
    return table(rows, ["grammar, last", "pairs right"]) if rows else ""


def _figure(name: str, value: float) -> str:
    if name == "num_examples":
        return f"{value:,}"
    return f"{value:.2%}" if name.endswith("accuracy") else f"{value:,.4f}"


def _masks(filled: Sequence[Filled]) -> str:
    rows = []
    for sentence, masks in filled:
        for number, pieces in enumerate(masks):
            guesses = " · ".join(f"{piece} {probability:.1%}" for piece, probability in pieces)
            rows.append((sentence if number == 0 else "", guesses))
    return table(rows, ["sentence", "the likeliest pieces"], words=True)


def _facts(values: Mapping[str, Any]) -> str:
    return table(((name, _word(value)) for name, value in values.items()), words=True)


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _configuration(facts: Mapping[str, Any]) -> list[str]:
    parts = (("run", "Run"), ("model", "Model"), ("optimizer", "Optimizer"), ("step", "Step"))
    return [
        f"<details open><summary>{title}</summary>{_facts(facts[part])}</details>" for part, title in parts
    ]


def _data(data: Mapping[str, Any]) -> list[str]:
    made = []
    for part, title in (("train", "Trained on"), ("eval", "Evaluated on")):
        files = data[part]["files"]
        if not files:
            continue
        shown = ", ".join(files[:8]) + (f" and {len(files) - 8} more" if len(files) > 8 else "")
        made.append(f"<p><b>{title}</b> {html.escape(shown)}</p>")
        made += [
            f"<details open><summary>Manifest</summary>{_facts(manifest)}</details>"
            for manifest in data[part]["manifests"]
        ]
    return made
