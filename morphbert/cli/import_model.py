"""`import_model.py`: somebody else's pretrained model → a folder that this program trains on, exports and uses."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags

from morphbert.cli import quiet_tensorflow
from morphbert.cli.command import Command


def _command() -> Command:
    command = Command(
        "import_model.py",
        "Takes a pretrained model over from Hugging Face or google-research/bert, also to another vocabulary.",
        """
        import_model.py --checkpoint=downloads/bert-base-multilingual-cased --output_dir=out/start \\
            --new_vocab_file=vocab/ko-mecab-32k
        """,
    )
    command.group("Model")
    command.string(
        "checkpoint",
        None,
        "The model: a Hugging Face folder (BERT, RoBERTa or ALBERT), or a TensorFlow 1 checkpoint of "
        "google-research/bert or albert (a folder or a prefix), or one of this program.",
        required=True,
    )
    command.string("bert_config_file", None, "Its configuration. Default: the one beside the checkpoint.")
    command.string("vocab_file", None, "Its vocabulary. Default: the one beside it, if there is one.")
    command.boolean(
        "do_lower_case",
        None,
        "Whether its plain vocab.txt is for lower-cased text. Default: what its tokenizer_config.json says, else "
        "yes if it has no capital letters.",
    )
    command.boolean(
        "allow_pickle",
        False,
        "Read pytorch_model.bin where there is no model.safetensors. A pickle can run code: only from where you trust.",
    )
    command.group("What to make of it")
    command.string(
        "output_dir", None, "The new folder: for --init_checkpoint and export_model.py.", required=True
    )
    command.string(
        "new_vocab_file",
        None,
        "Another vocabulary for it. Pieces that both have keep their embeddings; others start from the mean of the old "
        "pieces they are written with. Example: --new_vocab_file=vocab/ko-mecab-32k",
    )
    command.integer(
        "max_position_embeddings",
        None,
        "More positions, or fewer: those that there are, repeated. Example: 1024",
        lower_bound=1,
    )
    command.integer("seed", 12345, "Of the initial values of what the model lacks.", lower_bound=0)
    command.boolean("overwrite", False, "Replace the folder if there is one.")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""

    def run(values: flags.FlagValues) -> None:
        quiet_tensorflow.load()
        from morphbert.interop.importing import ImportConfig, import_model

        config = ImportConfig(**{name: values[name].value for name in ImportConfig.__dataclass_fields__})
        for line in import_model(config):
            print(line)
        print(f"import: {config.checkpoint}, written to {config.output_dir}")

    return _command().run(argv, run)


if __name__ == "__main__":
    sys.exit(main())
