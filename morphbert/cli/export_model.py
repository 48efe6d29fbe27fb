"""`export_model.py`: exports a checkpoint for Hugging Face, google-research/bert, TF Serving or ONNX."""

from __future__ import annotations

import sys

from morphbert.api.exchange import export_model
from morphbert.cli.command import Command, main_of
from morphbert.interop.configs import ExportConfig


def _command() -> Command:
    return Command(
        "export_model.py",
        "Writes a trained model into a folder that other programs load.",
        """
        export_model.py --checkpoint=out/model --vocab_file=out/vocab --output_dir=out/huggingface --format=huggingface
        """,
        ExportConfig,
    )


def _export(config: ExportConfig) -> None:
    written = export_model(config)
    print(f"export: {config.checkpoint} as {config.format}, written to {written.output_dir}")
    for note in written.notes:
        print(f"note: {note}")


main = main_of(_command, _export)


if __name__ == "__main__":
    sys.exit(main())
