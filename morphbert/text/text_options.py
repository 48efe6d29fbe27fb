"""The options of text and its tokenizer that several commands share."""

from __future__ import annotations

from typing import Any

from morphbert.options import option


def text_encoding_option(texts: str = "text") -> Any:
    """Returns the field `encoding` of a command that reads text."""
    return option(
        default="utf-8",
        help=f"The encoding of the {texts}. Example: --encoding=cp949, for older Korean files.",
    )


def tokenizer_mismatch_option() -> Any:
    """Returns the field `allow_tokenizer_mismatch` of a command that loads a tokenizer."""
    return option(
        default=False,
        help="Continue with a warning if Mecab, its dictionary, the casing or vocab.txt differ from those of the "
        "vocabulary folder. Text may then be cut into other pieces.",
    )
