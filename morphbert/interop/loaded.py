"""`morphbert.load(path)`: model and tokenizer from any format that is known, and back."""

from __future__ import annotations

from typing import NamedTuple

from morphbert.interop.bert_model import BertModel
from morphbert.interop.huggingface.pretrained_tokenizer import PretrainedTokenizer
from morphbert.interop.loading import read_with_tokenizer


class Loaded(NamedTuple):
    """A model and its tokenizer, `model, tokenizer = morphbert.load(path)`; no vocabulary gives the tokenizer None."""

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
        checkpoint of google-research/bert, or a Hugging Face folder, also by its name on the Hub (`klue/bert-base`).
      vocab_file: a vocabulary folder or a plain `vocab.txt`. Default: the one beside the model.
      bert_config_file: the configuration of a checkpoint. Default: the one beside it.
      do_lower_case: for a plain `vocab.txt`. Default: as its `tokenizer_config.json` says, else unless the
        vocabulary has capital letters.
      allow_pickle: whether a `pytorch_model.bin` may be read.

    Returns:
      Model and tokenizer. Weights that the source lacks, such as a head, have initial values; without a vocabulary the
      tokenizer is None. A warning says so.

    Raises:
      MorphbertError: the path has no model that can be read, or its parts do not belong together.
    """
    read, tokenizer = read_with_tokenizer(
        path,
        vocab_file=vocab_file,
        bert_config_file=bert_config_file,
        do_lower_case=do_lower_case,
        allow_pickle=allow_pickle,
    )
    return Loaded(BertModel.of(read, tokenizer), tokenizer)


def save(
    path: str,
    model: BertModel,
    tokenizer: PretrainedTokenizer | None = None,
    format: str = "ours",
    overwrite: bool = False,
) -> None:
    """Writes model and tokenizer into a new folder, which `load` reads again.

    Args:
      path: the folder.
      model: the model.
      tokenizer: its tokenizer; None takes the one that was loaded with the model, if any.
      format: the value of `export_model.py --format`, such as "ours" or "huggingface".
      overwrite: whether to replace an existing folder.

    Raises:
      MorphbertError: the folder is not empty or cannot be written, or model and tokenizer do not belong together.
    """
    model.save(path, tokenizer, format, overwrite)
