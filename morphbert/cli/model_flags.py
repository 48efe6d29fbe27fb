"""The flags by which the commands that use a model find what belongs to it."""

from __future__ import annotations

from morphbert.cli.command import Command

LOWER_CASE_HELP = (
    "For a plain vocab.txt: whether text is lower-cased. Default: unless the vocabulary has capital letters."
)


def define_parts(command: Command, lower_case_help: str = LOWER_CASE_HELP) -> None:
    """Configuration and vocabulary, which lie beside the model or are named."""
    command.string(
        "bert_config_file", None, "Its configuration. Default: bert_config.json beside the checkpoint."
    )
    command.string(
        "vocab_file",
        None,
        "The vocabulary that it was trained with: a folder made by build_vocab.py, or a plain vocab.txt. Default: the "
        "one beside the model, if there is one.",
    )
    command.boolean("do_lower_case", None, lower_case_help)
