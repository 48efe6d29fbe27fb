"""The README.md of an exported folder: the model, how to load it, its training data and its figures."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import morphbert
from morphbert.interop.pretrained import Pretrained
from morphbert.model.parameters import pretraining_parameters
from morphbert.text.tokenizer import Tokenizer

CARD_NAME = "README.md"
# The argument with which transformers runs the tokenizer's code that an export carries.
TRUST = ", trust_remote_code=True"


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How often the stock tokenizer cuts as the exact one does, on some text."""

    text: str
    eojeols: int
    share_of_eojeols: float
    share_of_lines: float


def write_card(
    folder: str,
    name: str,
    tokenizer: Tokenizer | None,
    pipeline: str | None,
    tags: Sequence[str],
    parts: Sequence[str],
) -> None:
    """Writes a `README.md` in Markdown, with the header that Hugging Face reads.

    Args:
      folder: the folder that is written.
      name: the model's.
      tokenizer: tells whether the model reads Korean; None where the vocabulary is unknown.
      pipeline: the pipeline of transformers that the model is for; None for none.
      tags: those before `morphbert`.
      parts: the paragraphs, headings, tables and blocks of code below the title.
    """
    korean = tokenizer is not None and tokenizer.vocabulary.has_hangul_syllables()
    header = [
        "---",
        *(["language: ko"] if korean else []),
        "library_name: transformers",
        *([] if pipeline is None else [f"pipeline_tag: {pipeline}"]),
        "tags:",
        *(f"- {tag}" for tag in (*tags, "morphbert")),
        "---",
    ]
    with open(os.path.join(folder, CARD_NAME), "w", encoding="utf-8") as stream:
        stream.write("\n\n".join(["\n".join(header), f"# {name}", *parts]) + "\n")


def title_of(name: str | None, output_dir: str) -> str:
    """Returns the name on a card: the one that was given, or that of the folder."""
    return name or os.path.basename(os.path.abspath(output_dir))


def usage(imports: str, trust: str, use: str) -> str:
    """Returns a block of code that loads the tokenizer and the model of a folder.

    Args:
      imports: the names from transformers.
      trust: the last arguments of the tokenizer's loading: `TRUST`, or nothing for a stock tokenizer.
      use: the lines after it, which load `folder`.
    """
    return (
        "```python\n"
        f"from transformers import {imports}\n\n"
        'folder = "."  # this folder, or its name on the Hub\n'
        f"tokenizer = AutoTokenizer.from_pretrained(folder{trust})\n"
        f"{use}```"
    )


def table(head: tuple[str, str] | None, rows: Mapping[str, Any]) -> str:
    """Returns a table of two columns, with their names or without."""
    names = "| | |" if head is None else f"| {head[0]} | {head[1]} |"
    return "\n".join([names, "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())])


def write_model_card(
    folder: str,
    name: str,
    model: Pretrained,
    tokenizer: Tokenizer | None,
    use: Sequence[str],
    agreement: Agreement | None = None,
) -> None:
    """Writes the card of a pretrained model.

    Args:
      folder: the folder that is written.
      name: the model's.
      model: the model, with what is known of its training.
      tokenizer: its tokenizer; None where the vocabulary is unknown.
      use: paragraphs and code blocks on how to load it, in the format at hand.
      agreement: that of transformers' own tokenizer; None where it was not measured.
    """
    parts = [_summary(model), "## Use", *use]
    if agreement is not None:
        parts.append(
            f"Measured on {agreement.text} ({agreement.eojeols:,} eojeols): the stock tokenizer gives the same pieces "
            f"for {agreement.share_of_eojeols:.1%} of the eojeols and for {agreement.share_of_lines:.1%} of the lines."
        )
    parts += ["## Training", _training(model.details)]
    parts += ["## Data", _data(model.details.get("manifest"))]
    parts += ["## Evaluation", _evaluation(model.details.get("evaluation"))]
    pipeline = "fill-mask" if model.config.has_masked_lm else None
    network = "bert" if model.config.electra is None else "electra"
    write_card(folder, name, tokenizer, pipeline=pipeline, tags=[network], parts=parts)


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


def _training(details: Mapping[str, Any]) -> str:
    if "settings" not in details:
        return "Nothing is recorded about how the weights were trained."
    shown = {"steps": f"{details['step']:,}", "train_batch_size": details["data"]["train_batch_size"]}
    shown |= {
        name: ", ".join(value) if isinstance(value, list) else value
        for name, value in details["settings"].items()
    }
    return table(("setting", "value"), shown)


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
    return table(("records", ""), shown)


def _evaluation(values: Mapping[str, Any] | None) -> str:
    if values is None:
        return "No held-out evaluation is recorded."
    shown = {name: value for name, value in values.items() if name not in ("kind", "step")}
    rounded = {name: f"{value:.4f}" if isinstance(value, float) else value for name, value in shown.items()}
    return f"On held-out records, at step {values['step']:,}:\n\n" + table(("figure", "value"), rounded)
