"""`export_model.py`: a checkpoint → a folder for Hugging Face, google-research/bert, TF Serving or ONNX."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from morphbert.cli import model_flags, quiet_tensorflow
from morphbert.cli.command import Command
from morphbert.errors import MorphbertError
from morphbert.interop.choices import EXPORT_FORMATS

if TYPE_CHECKING:
    from morphbert.interop.export import ExportConfig


def _command() -> Command:
    command = Command(
        "export_model.py",
        "Writes a trained model into a folder that other programs load.",
        """
        export_model.py --checkpoint=out/model --vocab_file=out/vocab --output_dir=out/huggingface --format=huggingface
        """,
    )
    command.group("Model")
    command.string(
        "checkpoint",
        None,
        "The model: a folder, of which the newest checkpoint is taken, or a prefix such as out/model/model.ckpt-1000. "
        "Hugging Face folders and TensorFlow 1 checkpoints are taken too. A fine-tuned model's folder goes with its "
        "head, to Hugging Face.",
        required=True,
    )
    model_flags.define_parts(command)
    command.group("Output")
    command.string("output_dir", None, "The new folder.", required=True)
    command.enum(
        "format",
        None,
        EXPORT_FORMATS,
        "huggingface: transformers' files, tokenizer and model card. google: a TensorFlow 1 checkpoint under "
        "google-research/bert's names. saved_model: TensorFlow's, for TF Serving. onnx: encoder and masked LM.",
        required=True,
    )
    command.boolean("overwrite", False, "Replace the folder if there is one.")
    command.group("Details of single formats")
    command.string("model_name", None, "huggingface: the model card's title. Default: the folder's name.")
    command.string(
        "sample_text_file",
        None,
        "huggingface: text, a sentence a line, on which the agreement of the stock tokenizer with the exact one is "
        "measured for the model card. Example: --sample_text_file=data/corpus.txt",
    )
    command.boolean(
        "with_optimizer", False, "google: also the optimizer's moments (adam_m, adam_v) and global_step."
    )
    command.boolean("fp16", False, "onnx: also both models in float16, *.fp16.onnx: half the size, for GPUs.")
    command.boolean("int8", False, "onnx: also both models with matrices of 8-bit integers, *.int8.onnx.")
    return command


def _export_task(config: ExportConfig) -> list[str]:
    from morphbert.finetune.export import export_task

    if config.format != "huggingface":
        raise MorphbertError(
            f"{config.checkpoint} is a fine-tuned model: with its head it goes to --format=huggingface alone, not to "
            f"{config.format}. For the encoder, give the prefix of a checkpoint, such as "
            f"{config.checkpoint}/model.ckpt-1000."
        )
    return export_task(config.checkpoint, config.output_dir, True, config.overwrite, config.model_name or "")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""

    def run(values: flags.FlagValues) -> None:
        quiet_tensorflow.load()
        from morphbert.finetune.task_file import is_task_folder
        from morphbert.interop.export import ExportConfig, export

        config = ExportConfig(**{name: values[name].value for name in ExportConfig.__dataclass_fields__})
        notes = _export_task(config) if is_task_folder(config.checkpoint) else export(config)
        print(f"export: {config.checkpoint} as {config.format}, written to {config.output_dir}")
        for note in notes:
            print(f"note: {note}")

    return _command().run(argv, run)


if __name__ == "__main__":
    sys.exit(main())
