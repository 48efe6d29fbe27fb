"""Reads a model and its tokenizer from any format that is known."""

from __future__ import annotations

import logging
import os

from morphbert.hints import held_back
from morphbert.interop import sources
from morphbert.interop.huggingface.pretrained_tokenizer import PretrainedTokenizer
from morphbert.interop.pretrained import Pretrained
from morphbert.interop.vocabularies import tokenizer_of


@held_back()
def read_with_tokenizer(
    path: str | os.PathLike[str],
    *,
    vocab_file: str | None = None,
    bert_config_file: str | None = None,
    do_lower_case: bool | None = None,
    allow_pickle: bool = False,
) -> tuple[Pretrained, PretrainedTokenizer | None]:
    """Returns a model and its tokenizer, None where there is no vocabulary; the arguments are those of `load`.

    Heads that the source lacks, and a missing vocabulary, are said in a warning.

    Raises:
      MorphbertError: nothing readable there, or its parts do not belong together.
    """
    read = sources.read(
        os.fspath(path),
        bert_config_file=bert_config_file,
        vocab_file=vocab_file,
        do_lower_case=do_lower_case,
        allow_pickle=allow_pickle,
    )
    warn = logging.getLogger("morphbert").warning
    pieces = tokenizer_of(read)
    tokenizer = None
    if pieces is None:
        warn(
            "there is no vocabulary beside %s, so the tokenizer is None: give vocab_file, the vocabulary that the "
            "model was trained with.",
            read.source,
        )
    else:
        tokenizer = PretrainedTokenizer(pieces, str(read.vocabulary), read.config.max_position_embeddings)
    if missing := read.missing():
        warn("%s has no %s: initial values, of no use untrained.", read.source, ", ".join(missing))
    return read, tokenizer
