"""The options of text and its tokenizer that several commands share."""

from __future__ import annotations

from typing import Any

from morphbert.options import option, optional


def text_encoding_option(texts: str = "text") -> Any:
    """Returns the field `encoding` of a command that reads text."""
    return option(
        default="utf-8",
        help=f"The encoding of the {texts}. Example: --encoding=cp949, for older Korean files.",
    )


def do_lower_case_option(**details: Any) -> Any:
    """Returns the field `do_lower_case` of a command that reads text for a model; `details` are those of `option`."""
    return optional(
        help="For a plain vocab.txt: lower-case the text. Default: the value in a tokenizer_config.json beside it, and "
        "without one true if the vocabulary has no capital letters.",
        **details,
    )


def tokenizer_mismatch_option() -> Any:
    """Returns the field `allow_tokenizer_mismatch` of a command that loads a tokenizer."""
    return option(
        default=False,
        help="Continue with a warning if Mecab, its dictionary, the casing or vocab.txt differ from those of the "
        "vocabulary folder. Text may then be cut into other pieces.",
    )
