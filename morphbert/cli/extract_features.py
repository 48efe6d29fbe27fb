"""`extract_features.py`: writes a pretrained model's hidden states of texts."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from morphbert import files, quiet_tensorflow
from morphbert.api.exchange import extract_features
from morphbert.cli.command import Command
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


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return _command().run(argv, _extract)


if __name__ == "__main__":
    sys.exit(main())
