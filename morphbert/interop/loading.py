"""`morphbert.load(path)`: model and tokenizer from any format that is known, and back."""

from __future__ import annotations

import logging
import os
from typing import NamedTuple

from morphbert.errors import MorphbertError
from morphbert.interop import sources
from morphbert.interop.bert_model import BertModel
from morphbert.interop.configs import SAVE_FORMATS, SaveConfig
from morphbert.interop.export import write
from morphbert.interop.huggingface.pretrained_tokenizer import PretrainedTokenizer
from morphbert.interop.pretrained import Pretrained
from morphbert.interop.vocabularies import tokenizer_of


class Loaded(NamedTuple):
    """`model, tokenizer = morphbert.load(path)`; without a vocabulary the tokenizer is None."""

    model: BertModel
    tokenizer: PretrainedTokenizer | None

    def save(self, path: str, format: str = "ours", overwrite: bool = False) -> None:
        """Writes both; see `BertModel.save`."""
        self.model.save(path, self.tokenizer, format, overwrite)


def load(
    path: str,
    vocab_file: str | None = None,
    bert_config_file: str | None = None,
    do_lower_case: bool | None = None,
    allow_pickle: bool = False,
) -> Loaded:
    """Loads a model with its tokenizer.

    Args:
      path: the output folder of a run or one of its checkpoints (`out/model/model.ckpt-1000`), a TensorFlow 1
        checkpoint of google-research/bert, or a Hugging Face folder.
      vocab_file: a vocabulary folder or a plain `vocab.txt`. Default: the one beside the model.
      bert_config_file: of a checkpoint. Default: the one beside it.
      do_lower_case: for a plain `vocab.txt`. Default: what its `tokenizer_config.json` says, else unless the
        vocabulary has capital letters.
      allow_pickle: whether a `pytorch_model.bin` may be read.

    Returns:
      Model and tokenizer. What the source lacks, a head perhaps, has initial values, and a missing vocabulary makes no
      tokenizer: a warning says so.

    Raises:
      MorphbertError: nothing readable there, or its parts do not belong together.
    """
    read = sources.read(os.fspath(path), bert_config_file, vocab_file, do_lower_case, allow_pickle)
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
    return Loaded(BertModel.of(read, tokenizer), tokenizer)


def save(
    path: str,
    model: BertModel,
    tokenizer: PretrainedTokenizer | None = None,
    format: str = "ours",
    overwrite: bool = False,
) -> None:
    """Writes model and tokenizer; see `BertModel.save`."""
    tokenizer = model.tokenizer if tokenizer is None else tokenizer
    if format not in SAVE_FORMATS:
        raise MorphbertError(f"format={format!r} is not known; known are {', '.join(SAVE_FORMATS)}.")
    size = model.config.vocab_size
    if tokenizer is not None and len(tokenizer) > size:
        raise MorphbertError(
            f"the tokenizer has {len(tokenizer)} pieces and the model {size}: they do not belong together."
        )
    # What is known about the training of the source is left out: the weights may have been trained further.
    weights = {name: variable.numpy() for name, variable in model.parameters.items()}
    vocabulary = None if tokenizer is None else tokenizer.source
    pretrained = Pretrained(model.config, weights, model.source, vocabulary=vocabulary)
    config = SaveConfig(
        checkpoint=model.source, output_dir=os.fspath(path), format=format, overwrite=overwrite
    )
    write(pretrained, None if tokenizer is None else tokenizer.pieces, config)
