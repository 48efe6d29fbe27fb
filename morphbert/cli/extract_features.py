"""`extract_features.py`: writes a pretrained model's hidden states of texts."""

from __future__ import annotations

import sys

from morphbert import files, quiet_tensorflow
from morphbert.api.exchange import extract_features
from morphbert.cli.command import Command, main_of
from morphbert.interop.configs import ExtractConfig


def _command() -> Command:
    return Command(
        "extract_features.py",
        "Writes a pretrained model's hidden states of each piece of each text, as fixed features for another program.",
        """
        extract_features.py --init_checkpoint=out/model --vocab_file=out/vocab --input_file=texts.jsonl \\
            --output_file=features.jsonl --layers=-1,-2,-3,-4
        """,
        ExtractConfig,
    )


def _extract(config: ExtractConfig) -> None:
    files.expand(config.input_file)  # reports a missing file before TensorFlow is loaded
    quiet_tensorflow.load()
    count = extract_features(config)
    print(f"features: {count:,} texts, written to {config.output_file}")


main = main_of(_command, _extract)


if __name__ == "__main__":
    sys.exit(main())
