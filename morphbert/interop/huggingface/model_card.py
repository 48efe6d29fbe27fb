"""The README.md of an exported folder: the model, how to load it, its training data and its figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import morphbert
from morphbert.interop.pretrained import Pretrained
from morphbert.model.parameters import pretraining_parameters


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How often the stock tokenizer cuts as the exact one does, on some text."""

    text: str
    eojeols: int
    share_of_eojeols: float
    share_of_lines: float


def model_card(
    name: str, model: Pretrained, korean: bool, use: Sequence[str], agreement: Agreement | None = None
) -> str:
    """Returns the card in Markdown, with the header that Hugging Face reads.

    Args:
      name: the model's.
      model: the exported model.
      korean: whether the vocabulary has Hangul.
      use: paragraphs and code blocks on how to load it, in the format at hand.
      agreement: None where it was not measured.
    """
    header = [
        "---",
        *(["language: ko"] if korean else []),
        "library_name: transformers",
        *(["pipeline_tag: fill-mask"] if model.config.has_masked_lm else []),
    ]
    parts = [
        "\n".join(
            [
                *header,
                "tags:",
                f"- {'bert' if model.config.electra is None else 'electra'}",
                "- morphbert",
                "---",
            ]
        ),
        f"# {name}",
        _summary(model),
        "## Use",
    ]
    parts += use
    if agreement is not None:
        parts.append(
            f"Measured on {agreement.text} ({agreement.eojeols:,} eojeols): the stock tokenizer gives the same pieces "
            f"for {agreement.share_of_eojeols:.1%} of the eojeols and for {agreement.share_of_lines:.1%} of the lines."
        )
    parts += ["## Training", _training(model.details)]
    parts += ["## Data", _data(model.details.get("manifest"))]
    parts += ["## Evaluation", _evaluation(model.details.get("evaluation"))]
    return "\n\n".join(parts) + "\n"


def _summary(model: Pretrained) -> str:
    config = model.config
    size = 0
    for parameter in pretraining_parameters(config).values():
        count = 1
        for axis in parameter.shape:
            count *= axis
        size += count
    kind = "A ModernBERT model" if config.kind == "ModernBERT" else "A BERT model"
    if config.electra is not None:
        kind = f"The {config.electra} of an ELECTRA"
    return (
        f"{kind}: {config.num_hidden_layers} layers, {config.hidden_size} wide, "
        f"{config.num_attention_heads} heads, {config.vocab_size:,} pieces, {size:,} parameters with the heads. "
        f"Written by morphbert {morphbert.__version__}."
    )


def _table(head: tuple[str, str], rows: Mapping[str, Any]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    return "\n".join(lines + [f"| {name} | {value} |" for name, value in rows.items()])


def _training(details: Mapping[str, Any]) -> str:
    if "settings" not in details:
        return "Nothing is recorded about how the weights were trained."
    shown = {"steps": f"{details['step']:,}", "train_batch_size": details["data"]["train_batch_size"]}
    shown |= {
        name: ", ".join(value) if isinstance(value, list) else value
        for name, value in details["settings"].items()
    }
    return _table(("setting", "value"), shown)


def _data(manifest: Mapping[str, Any] | None) -> str:
    if manifest is None:
        return "The manifest of the training records was not found, so nothing can be said about the data."
    shown = {
        "input files": ", ".join(f"{file['name']} ({file['bytes']:,} bytes)" for file in manifest["inputs"]),
        "documents": f"{manifest['num_documents']:,}",
        "sentences": f"{manifest['num_sentences']:,}",
        "records": f"{manifest['num_records']:,}",
    }
    names = (
        "max_seq_length",
        "max_predictions_per_seq",
        "dupe_factor",
        "short_seq_prob",
        "objective",
        "mode",
    )
    shown |= {name: manifest[name] for name in names}
    shown |= {f"masking: {name}": value for name, value in manifest["masking"].items()}
    shown["analyser"] = manifest["tokenizer"]["analyzer"]["name"]
    return _table(("records", ""), shown)


def _evaluation(values: Mapping[str, Any] | None) -> str:
    if values is None:
        return "No held-out evaluation is recorded."
    shown = {name: value for name, value in values.items() if name not in ("kind", "step")}
    rounded = {name: f"{value:.4f}" if isinstance(value, float) else value for name, value in shown.items()}
    return f"On held-out records, at step {values['step']:,}:\n\n" + _table(("figure", "value"), rounded)
