"""`import_model.py`: imports another program's pretrained model for training, export and use."""

from __future__ import annotations

import sys

from morphbert.api.exchange import import_model
from morphbert.cli.command import Command, main_of
from morphbert.interop.configs import ImportConfig


def _command() -> Command:
    return Command(
        "import_model.py",
        "Imports a pretrained model from Hugging Face or google-research/bert, optionally for another vocabulary.",
        """
        import_model.py --checkpoint=downloads/bert-base-multilingual-cased --output_dir=out/start \\
            --new_vocab_file=vocab/ko-mecab-32k
        """,
        ImportConfig,
    )


def _import(config: ImportConfig) -> None:
    written = import_model(config)
    for note in written.notes:
        print(note)
    print(f"import: {config.checkpoint}, written to {written.output_dir}")


main = main_of(_command, _import)


if __name__ == "__main__":
    sys.exit(main())
