"""A pretrained model in use: encoder, configuration and tokenizer, from any format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from morphbert.errors import MorphbertError, UsageError
from morphbert.hints import held_back
from morphbert.interop import sources
from morphbert.interop.vocabularies import check_rows, tokenizer_of
from morphbert.model.config import BertConfig
from morphbert.text.loading import load_tokenizer
from morphbert.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Start:
    """The model's configuration, its tokenizer with the path, and its weights (None for random ones)."""

    config: BertConfig
    tokenizer: Tokenizer
    vocabulary: str
    weights: Mapping[str, np.ndarray] | None


@held_back()
def find_start(
    init_checkpoint: str | None, config_file: str | None, vocab_file: str | None, do_lower_case: bool | None
) -> Start:
    """Reads a model in any format of `import_model.py`, or only a configuration and a vocabulary.

    Raises:
      MorphbertError: parts are missing or do not belong together.
    """
    if init_checkpoint is None:
        if config_file is None or vocab_file is None:
            raise UsageError(
                "give --init_checkpoint; or, for random weights, --bert_config_file and --vocab_file."
            )
        config, tokenizer = (
            BertConfig.from_json_file(config_file),
            load_tokenizer(vocab_file, do_lower_case),
        )
        check_rows(
            tokenizer,
            config.vocab_size,
            f"--vocab_file={vocab_file}",
            f"--bert_config_file={config_file}",
        )
        return Start(config, tokenizer, vocab_file, None)
    model = sources.read(
        init_checkpoint, bert_config_file=config_file, vocab_file=vocab_file, do_lower_case=do_lower_case
    )
    found = tokenizer_of(model)
    if found is None:
        raise MorphbertError(
            f"there is no vocabulary beside {model.source}: give the model's vocabulary with --vocab_file."
        )
    if model.config.electra == "generator":
        print(
            f"warning: {model.source} is the generator of an ELECTRA; its discriminator is the network for tasks and "
            "features.",
            flush=True,
        )
    return Start(model.config, found, str(model.vocabulary), model.weights)
