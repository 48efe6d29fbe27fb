"""`extract_features.py`: texts → the hidden states that a pretrained model has for them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from absl import flags
from tqdm import tqdm

from morphbert.cli import model_flags, quiet_tensorflow
from morphbert.cli.command import Command
from morphbert.errors import UsageError


def _command() -> Command:
    command = Command(
        "extract_features.py",
        "Writes what a pretrained model has for each piece of each text: fixed features for another program.",
        """
        extract_features.py --init_checkpoint=out/model --vocab_file=out/vocab --input_file=texts.jsonl \\
            --output_file=features.jsonl --layers=-1,-2,-3,-4
        """,
    )
    command.group("Texts")
    command.string(
        "input_file",
        None,
        "Texts: a text a line, or two as FIRST ||| SECOND; or a table by the file's name: .jsonl, .json, .parquet, "
        ".csv, .tsv. A path, a glob in quotes, or several with commas.",
        required=True,
    )
    command.string("text_field", "text", "In a table: the column with the text.")
    command.string("text_pair_field", None, "In a table: the column with the second text, if there is one.")
    command.group("Model")
    command.string(
        "init_checkpoint",
        None,
        "The model: a folder or checkpoint of this program or of google-research/bert, or a Hugging Face folder.",
        required=True,
    )
    model_flags.define_parts(command)
    command.integer(
        "max_seq_length",
        128,
        "Pieces of a text, special tokens included; longer ones are cut.",
        lower_bound=3,
    )
    command.group("Output")
    command.string(
        "output_file",
        None,
        "JSON Lines as google-research/bert writes them; or Parquet, where the name ends in .parquet. In the order of "
        "the input.",
        required=True,
    )
    command.string(
        "layers",
        "-1,-2,-3,-4",
        "The layers to write: -1 is the last, 0 the first. By default fewer where the model has fewer.",
    )
    command.enum(
        "pooling",
        "none",
        ("none", "cls", "mean"),
        "none: figures for each piece. cls: of [CLS] only. mean: the mean of all pieces, one vector a text.",
    )
    command.group("Computing")
    command.integer(
        "batch_size", 32, "Texts at a time; those of like length are put together.", lower_bound=1
    )
    command.boolean("use_tpu", False, "Of google-research/bert; a GPU is used where there is one, a TPU not.")
    command.string("master", None, "Of google-research/bert: no meaning in TensorFlow 2.")
    command.integer("num_tpu_cores", 8, "Of google-research/bert: no meaning without a TPU.")
    command.boolean(
        "use_one_hot_embeddings",
        False,
        "Of google-research/bert: no meaning without a TPU; the same numbers.",
    )
    return command


def _extract(values: flags.FlagValues) -> None:
    if values.use_tpu or values.master:
        raise UsageError("--use_tpu and --master: this command computes on the CPU or a GPU. Leave them out.")
    quiet_tensorflow.load()
    from morphbert.finetune.extraction import ExtractConfig, extract, layer_numbers

    layers = layer_numbers(values.layers) if values["layers"].present else None
    names = [name for name in ExtractConfig.__dataclass_fields__ if name != "layers"]
    config = ExtractConfig(**{name: values[name].value for name in names}, layers=layers)
    bar: partial[Iterable[Any]] = partial(tqdm, desc="Extracting", unit=" texts", disable=None)
    count = extract(config, bar)
    print(f"features: {count:,} texts, written to {config.output_file}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return _command().run(argv, _extract)


if __name__ == "__main__":
    sys.exit(main())
