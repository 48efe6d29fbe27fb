"""Writes a model in memory and its tokenizer."""

from __future__ import annotations

import os

from morphbert.errors import MorphbertError
from morphbert.interop.configs import SAVE_FORMATS, SaveConfig
from morphbert.interop.export import write
from morphbert.interop.folders import added_to
from morphbert.interop.huggingface.pretrained_tokenizer import PretrainedTokenizer
from morphbert.interop.pretrained import Pretrained


def write_with_tokenizer(
    path: str | os.PathLike[str],
    model: Pretrained,
    tokenizer: PretrainedTokenizer | None,
    format: str = "ours",
    overwrite: bool = False,
) -> None:
    """Writes both into a new folder; see `BertModel.save`."""
    if format not in SAVE_FORMATS:
        raise MorphbertError(f"format={format!r} is not known; the formats are {', '.join(SAVE_FORMATS)}.")
    size = model.config.vocab_size
    if tokenizer is not None and len(tokenizer) > size:
        raise MorphbertError(
            f"the tokenizer has {len(tokenizer)} pieces and the model {size}: they do not belong together."
        )
    config = SaveConfig(
        checkpoint=model.source, output_dir=os.fspath(path), format=format, overwrite=overwrite
    )
    write(model, None if tokenizer is None else tokenizer.pieces, config)


def write_into(
    path: str | os.PathLike[str], model: Pretrained, tokenizer: PretrainedTokenizer | None
) -> None:
    """Writes both in Hugging Face's format into a folder that may hold other files; equal names are replaced."""
    with added_to(path) as made:
        write_with_tokenizer(made, model, tokenizer, "huggingface")
