"""A run as one HTML page: its settings, data, curves, held-out figures and machine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.grammar.results import ACCURACY_OF_PHENOMENON
from morphbert.pages.figures import LinePlot, line_plot, shown
from morphbert.pages.phrases import Phrase, Text, phrase
from morphbert.pages.rendering import render as render_page
from morphbert.pages.rendering import untranslated
from morphbert.train.evaluation import ACCURACY_OF_KIND, PREDICTIONS_OF_KIND
from morphbert.train.log import METRICS_FILE, duration, read_metrics
from morphbert.train.run_facts import read_run
from morphbert.train.storage import write_text

REPORT_FILE = "report.html"
# A sentence with masks, and for each of them the likeliest pieces with their probabilities.
Filled = tuple[str, Sequence[Sequence[tuple[str, float]]]]


class _Figure(NamedTuple):
    """A figure of an evaluation: its name in words, and whether it is a share, which the page has in percent."""

    words: Phrase
    is_share: bool = False

    def shown(self, value: float) -> str:
        return shown(value, percent=self.is_share)


# Figures of an evaluation.
_SHOWN: Mapping[str, _Figure] = {
    "loss": _Figure(phrase("loss")),
    "masked_lm_loss": _Figure(phrase("masked LM loss")),
    "masked_lm_accuracy": _Figure(phrase("masked LM accuracy"), is_share=True),
    "masked_lm_perplexity": _Figure(phrase("masked LM perplexity")),
    "next_sentence_loss": _Figure(phrase("next sentence loss")),
    "next_sentence_accuracy": _Figure(phrase("next sentence accuracy"), is_share=True),
    "discriminator_loss": _Figure(phrase("discriminator loss")),
    "discriminator_accuracy": _Figure(phrase("discriminator accuracy"), is_share=True),
    "replaced_share": _Figure(phrase("replaced pieces"), is_share=True),
    "replaced_recall": _Figure(phrase("replaced pieces found"), is_share=True),
    "replaced_precision": _Figure(phrase("named as replaced and so"), is_share=True),
    "grammar_accuracy": _Figure(phrase("grammar: pairs right"), is_share=True),
    "grammar_unspaced_accuracy": _Figure(phrase("grammar: pairs right without spaces"), is_share=True),
    "num_examples": _Figure(phrase("examples")),
}
_KINDS_NOTE = phrase(
    "By kind of masked piece. An eojeol counts where all of its pieces are masked, and is right where all are. "
    "Frequent pieces make up the first half of the text, middle ones the next 40%, rare ones the last tenth."
)
# The entries of a manifest that readers look for first, in words.
_COUNTS = {
    "num_records": phrase("records"),
    "num_documents": phrase("documents"),
    "num_sentences": phrase("sentences"),
    "max_seq_length": phrase("pieces in a record, at most"),
    "max_predictions_per_seq": phrase("masked pieces in a record, at most"),
    "objective": phrase("sentence objective"),
}
# Kinds of pieces, and the phenomena of grammar.
_NAMES = {
    "nouns": phrase("nouns"),
    "josa_and_endings": phrase("josa and endings"),
    "frequent": phrase("frequent"),
    "middle": phrase("middle"),
    "rare": phrase("rare"),
    "whole_eojeols": phrase("whole eojeols"),
    "topic": phrase("topic 은/는"),
    "topic_masked_noun": phrase("topic 은/는, noun masked"),
    "subject": phrase("subject 이/가"),
    "subject_masked_noun": phrase("subject 이/가, noun masked"),
    "object": phrase("object 을/를"),
    "object_masked_noun": phrase("object 을/를, noun masked"),
    "and": phrase("and 와/과"),
    "and_masked_noun": phrase("and 와/과, noun masked"),
    "direction": phrase("direction 으로/로"),
    "direction_masked_noun": phrase("direction 으로/로, noun masked"),
    "case": phrase("case"),
    "particle_order": phrase("order of particles"),
    "ending_order": phrase("order of endings"),
    "honorific_agreement": phrase("agreement of honorifics"),
    "honorific_self": phrase("honorifics for oneself"),
    "tense": phrase("tense"),
    "negative_polarity": phrase("negative polarity"),
    "negative_adverb": phrase("negative adverb"),
    "negative_spelling": phrase("negative spelling"),
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
    """Returns the page, see `write_report`."""
    facts, log = read_run(directory), os.path.join(directory, METRICS_FILE)
    lines = read_metrics(log) if tf.io.gfile.exists(log) else []
    if not lines:
        raise MorphbertError(
            f"{directory} has no line of {METRICS_FILE} yet: wait until the run has logged one (--log_steps)."
        )
    trained = [line for line in lines if line["kind"] == "train"]
    evaluated = [line for line in lines if line["kind"] == "eval"]
    name = os.path.basename(os.path.abspath(directory))
    parts = (
        ("run", phrase("Run")),
        ("model", phrase("Model")),
        ("optimizer", phrase("Optimizer")),
        ("step", phrase("Step")),
    )
    return render_page(
        "pretraining.html",
        title=phrase("Pretraining: {name}", name=name),
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
) -> list[tuple[Phrase, Text]]:
    steps = facts["optimizer"]["num_train_steps"]
    step = max(line["step"] for line in (*trained, *evaluated))
    done = {"step": f"{step:,}", "steps": f"{steps:,}"}
    rows: list[tuple[Phrase, Text]] = [
        (
            phrase("steps"),
            phrase("{step} of {steps}", **done)
            if step >= steps
            else phrase("{step} of {steps}, in progress or stopped", **done),
        ),
        (phrase("parameters"), f"{facts['parameters']:,}"),
        (phrase("started"), facts["started"]),
    ]
    if facts["continued"]:
        rows.append((phrase("continued"), ", ".join(facts["continued"])))
    if trained:
        rows.append((phrase("loss in training"), shown(trained[-1]["loss"])))
        if goodput := [line for line in trained if "goodput" in line]:
            share, wall = goodput[-1]["goodput"], duration(goodput[-1]["wall_seconds"])
            moved = phrase("{share} of {wall} moved the weights", share=shown(share, percent=True), wall=wall)
            rows.append((phrase("goodput"), moved))
        if step < steps and "seconds_left" in trained[-1]:
            rows.append((phrase("time left"), duration(trained[-1]["seconds_left"])))
    if evaluated:
        best = min(evaluated, key=lambda line: line["loss"])
        rows.append(
            (
                phrase("held-out loss"),
                phrase(
                    "{loss}, at best {best} at step {step}",
                    loss=shown(evaluated[-1]["loss"]),
                    best=shown(best["loss"]),
                    step=f"{best['step']:,}",
                ),
            )
        )
    return rows


def _curve(lines: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(line["step"], line[name]) for line in lines if name in line]


def _learning(trained: Sequence[Any], evaluated: Sequence[Any]) -> list[LinePlot]:
    across = phrase("step")

    def both(title: Phrase, name: str, exact: bool = False) -> LinePlot | None:
        series: dict[Text, Any] = {
            phrase("training"): _curve(trained, name),
            phrase("held out"): _curve(evaluated, name),
        }
        is_share = name in _SHOWN and _SHOWN[name].is_share
        return line_plot(title, series, across, is_share, exact)

    def of_names(prefix: str) -> dict[Text, Any]:
        keys = dict.fromkeys(key for line in evaluated for key in line if key.startswith(prefix))
        return {_named(key.removeprefix(prefix)): _curve(evaluated, key) for key in keys}

    names = {
        phrase("are replaced"): "replaced_share",
        phrase("of them found"): "replaced_recall",
        phrase("right of those named"): "replaced_precision",
    }
    of_replaced: dict[Text, Any] = {shown_as: _curve(evaluated, name) for shown_as, name in names.items()}
    kinds, phenomena = of_names(ACCURACY_OF_KIND), of_names(ACCURACY_OF_PHENOMENON)
    by_kind = phrase("Masked LM: held-out accuracy by kind")
    of_grammar = phrase("Grammar: minimal pairs in the right order")
    plots = (
        both(phrase("Loss"), "loss"),
        both(phrase("Masked LM: loss"), "masked_lm_loss"),
        both(phrase("Masked LM: accuracy"), "masked_lm_accuracy"),
        line_plot(by_kind, kinds, across, percent=True),
        line_plot(of_grammar, phenomena, across, percent=True),
        both(phrase("Next sentence: loss"), "next_sentence_loss"),
        both(phrase("Next sentence: accuracy"), "next_sentence_accuracy"),
        both(phrase("Discriminator: loss"), "discriminator_loss"),
        line_plot(phrase("Replaced pieces, held out"), of_replaced, across, percent=True),
        both(phrase("z-loss"), "z_loss"),
        both(phrase("Learning rate"), "learning_rate", exact=True),
        both(phrase("Norm of the gradient"), "gradient_norm"),
        both(phrase("Loss scale"), "loss_scale", exact=True),
    )
    return [plot for plot in plots if plot is not None]


def _throughput(trained: Sequence[Any]) -> dict[str, Any]:
    figures = (
        (phrase("Sequences a second"), "sequences_per_second", False),
        (phrase("Pieces a second, padding left out"), "tokens_per_second", False),
        (phrase("Share of the time spent waiting for input"), "input_wait_share", True),
        (phrase("Model FLOPs utilisation"), "model_flops_utilization", True),
    )
    rows = []
    for title, name, percent in figures:
        values = sorted(value for _, value in _curve(trained, name))
        if values:
            rows.append((title, shown(values[len(values) // 2], percent)))
    plots = [
        line_plot(title, {title: _curve(trained, name)}, phrase("step"), part)
        for title, name, part in figures
    ]
    return {"throughput": rows, "throughput_curves": [plot for plot in plots if plot is not None]}


def _evaluation(evaluated: Sequence[Any]) -> dict[str, Any]:
    """Returns the last and the best evaluation as rows, and the last one's accuracy by kind."""
    if not evaluated:
        return {"evaluation": (), "evaluation_head": (), "kinds": (), "kinds_note": "", "phenomena": ()}
    best, last = min(evaluated, key=lambda line: line["loss"]), evaluated[-1]
    columns = [(phrase("last: step {step}", step=f"{last['step']:,}"), last)]
    if best["step"] != last["step"]:
        columns.append((phrase("best: step {step}", step=f"{best['step']:,}"), best))
    rows = [
        (figure.words, *(figure.shown(line[key]) for _, line in columns))
        for key, figure in _SHOWN.items()
        if all(key in line for _, line in columns)
    ]
    kinds = [key.removeprefix(ACCURACY_OF_KIND) for key in last if key.startswith(ACCURACY_OF_KIND)]
    return {
        "evaluation": rows,
        "evaluation_head": ("", *(head for head, _ in columns)),
        "kinds": [
            (
                _named(kind),
                shown(last[ACCURACY_OF_KIND + kind], percent=True),
                f"{last[PREDICTIONS_OF_KIND + kind]:,}",
            )
            for kind in kinds
        ],
        "kinds_note": _KINDS_NOTE,
        "phenomena": [
            (_named(key.removeprefix(ACCURACY_OF_PHENOMENON)), shown(last[key], percent=True))
            for key in last
            if key.startswith(ACCURACY_OF_PHENOMENON)
        ],
    }


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
    return f"{value:,}" if isinstance(value, int) else untranslated(_word(value))


def _named(key: str) -> Text:
    """Returns the name of a kind of piece or of a phenomenon of grammar."""
    return _NAMES.get(key, key.replace("_", " "))


def _data(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns each part's files, the counts of its first manifest, and the manifests as rows."""
    made = []
    for part, title in (("train", phrase("Trained on")), ("eval", phrase("Evaluated on"))):
        files, manifests = data[part]["files"], data[part]["manifests"]
        if not files:
            continue
        more = phrase(" and {count} more", count=len(files) - 8) if len(files) > 8 else ""
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
                "files": ", ".join(files[:8]),
                "more": more,
                "counts": counts,
                "manifests": [_facts(manifest) for manifest in manifests],
            }
        )
    return made
