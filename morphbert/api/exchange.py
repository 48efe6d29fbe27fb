"""Import, export and use of a model as single calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from morphbert import quiet_tensorflow
from morphbert.errors import MorphbertError, UsageError
from morphbert.hints import held_back
from morphbert.hub import push
from morphbert.interop.configs import (
    ExportConfig,
    ExtractConfig,
    FillMaskConfig,
    ImportConfig,
    ModelWithTokenizer,
)
from morphbert.plugins import load_plugins

if TYPE_CHECKING:
    from morphbert.interop.fill_mask import Filled, MaskFiller
    from morphbert.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class WrittenModel:
    """A folder with a model, and lines that describe its content and source."""

    output_dir: str
    notes: tuple[str, ...]


def export_model(config: ExportConfig) -> WrittenModel:
    """Writes a checkpoint into a folder that other programs load; a fine-tuned model is exported with its head.

    Returns:
      The folder, and a line for each note about its content, such as a part that other programs compute differently.

    Raises:
      MorphbertError: the input does not fit together, or the folder cannot be written; nothing is left then.
    """
    quiet_tensorflow.load()
    from morphbert.finetune.task_file import is_task_folder
    from morphbert.interop.export import export

    if config.push_to_hub and config.format != "huggingface":
        raise UsageError(
            f"--push_to_hub is for --format=huggingface, not for {config.format}: export twice, or leave it out."
        )
    notes = _export_task(config) if is_task_folder(config.checkpoint) else export(config)
    if config.push_to_hub:
        notes = [*notes, f"uploaded to {push(config.output_dir, config.push_to_hub, config.hub_private)}"]
    return WrittenModel(config.output_dir, tuple(notes))


def _export_task(config: ExportConfig) -> list[str]:
    from morphbert.finetune.export import export_task

    if config.format != "huggingface":
        raise MorphbertError(
            f"{config.checkpoint} is a fine-tuned model, which can be exported with its head only as "
            f"--format=huggingface, not as {config.format}. For the encoder, give the prefix of a checkpoint, such as "
            f"{config.checkpoint}/model.ckpt-1000."
        )
    load_plugins(config.plugin)
    return export_task(config.checkpoint, config.output_dir, True, config.overwrite, config.model_name or "")


def import_model(config: ImportConfig) -> WrittenModel:
    """Imports a pretrained model of another program, optionally for another vocabulary.

    Returns:
      The folder, and a line for each note about the model and its vocabulary.

    Raises:
      MorphbertError: the input does not fit together, or the folder cannot be written; nothing is left then.
    """
    quiet_tensorflow.load()
    from morphbert.interop import importing

    return WrittenModel(config.output_dir, tuple(importing.import_model(config)))


def extract_features(config: ExtractConfig) -> int:
    """Writes a pretrained model's hidden states of each piece of each text.

    Returns:
      The number of texts.

    Raises:
      MorphbertError: the input cannot be read or does not fit the model; no file is written then.
    """
    quiet_tensorflow.load()
    from functools import partial

    from tqdm import tqdm

    from morphbert.interop.extraction import extract

    return extract(config, partial(tqdm, desc="Extracting", unit=" texts", disable=None))


def fill_mask(config: FillMaskConfig) -> list[Filled]:
    """Returns the most likely pieces for each [MASK] of a text.

    Example:
      `fill_mask(FillMaskConfig(checkpoint="out/model", text="나는 [MASK]에 간다."))[0]`

    Args:
      config: the model, the text and the number of pieces for each mask (`top_k`).

    Returns:
      One value for each [MASK], in the order of the text, with pieces and probabilities, the most likely first.

    Raises:
      MorphbertError: the text is missing or has no [MASK], or model and vocabulary do not belong together.
    """
    if config.text is None:
        raise UsageError("--text is required: a sentence with one or more [MASK].")
    return mask_filler(config)(config.text, config.top_k)


def mask_filler(config: FillMaskConfig) -> MaskFiller:
    """Returns the model of a configuration, loaded once for many texts."""
    with held_back():
        tokenizer = filling_tokenizer(config)
        quiet_tensorflow.load()
        from morphbert.interop.fill_mask import MaskFiller

        return MaskFiller(config.checkpoint, tokenizer, config.bert_config_file)


def filling_tokenizer(config: ModelWithTokenizer, flag: str = "--vocab_file") -> Tokenizer:
    """Returns the tokenizer of `vocab_file`, or the one beside the model. `flag` names `vocab_file` in messages.

    Loads the model's plugins first.

    Raises:
      UsageError: there is neither.
    """
    load_plugins(config.plugin)
    from morphbert.text.loading import load_tokenizer

    if config.vocab_file:
        tokenizer = load_tokenizer(config.vocab_file, config.do_lower_case, config.allow_tokenizer_mismatch)
        tokenizer.check_for_pretraining(config.vocab_file)
        return tokenizer
    quiet_tensorflow.load()
    from morphbert.interop import sources
    from morphbert.interop.vocabularies import tokenizer_of

    model = sources.read(
        config.checkpoint, bert_config_file=config.bert_config_file, do_lower_case=config.do_lower_case
    )
    found = tokenizer_of(model)
    if found is None:
        raise UsageError(
            f"{flag} is required: there is no vocabulary beside {model.source}. Give the one that the model was "
            "trained with."
        )
    return found
