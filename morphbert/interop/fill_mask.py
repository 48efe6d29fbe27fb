"""A pretrained model put to its own task: the likeliest pieces for each [MASK] of a sentence."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.model.config import BertConfig
from morphbert.model.encoder import encode
from morphbert.model.heads import masked_lm_logits
from morphbert.model.parameters import pretraining_parameters
from morphbert.text.special_tokens import encode_special
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary import CLS, MASK, SEP
from morphbert.train.checkpoint import check_shapes, read_weights, resolve


@dataclasses.dataclass(frozen=True)
class Filled:
    """What the model says of one [MASK]: pieces with their probabilities, the likeliest first."""

    position: int
    pieces: tuple[tuple[str, float], ...]


class MaskFiller:
    """A checkpoint and its tokenizer, ready to fill masks; computes in float32 on whatever device there is."""

    def __init__(self, checkpoint: str, tokenizer: Tokenizer, config_file: str | None = None):
        """Loads the weights.

        Args:
          checkpoint: a prefix, or a folder of which the newest is taken.
          tokenizer: of the vocabulary that the model was trained with.
          config_file: the model's `bert_config.json`; None takes the one beside the checkpoint.

        Raises:
          MorphbertError: nothing readable there, or configuration, weights and vocabulary do not belong together.
        """
        prefix = resolve(checkpoint)
        beside = os.path.join(os.path.dirname(prefix), "bert_config.json")
        self.config = BertConfig.from_json_file(config_file or beside)
        self.tokenizer = tokenizer
        if len(tokenizer.vocabulary) != self.config.vocab_size:
            raise MorphbertError(
                f"the vocabulary has {len(tokenizer.vocabulary)} pieces, but the model of {prefix} has "
                f"{self.config.vocab_size}: give the vocabulary that the model was trained with."
            )
        weights = read_weights(prefix)
        check_shapes(prefix, weights, pretraining_parameters(self.config), exact=True)
        self._parameters = {name: tf.constant(value) for name, value in weights.items()}

    def __call__(self, text: str, top_k: int = 5) -> list[Filled]:
        """The `top_k` likeliest pieces for each [MASK], in order.

        Raises:
          MorphbertError: there is no [MASK], or the text is longer than the model's positions.
        """
        pieces = [CLS, *encode_special(self.tokenizer, text).tokens, SEP]
        positions = [index for index, piece in enumerate(pieces) if piece == MASK]
        if not positions:
            raise MorphbertError(f"there is no {MASK} in {text!r}: write it where a piece is to be guessed.")
        if len(pieces) > self.config.max_position_embeddings:
            raise MorphbertError(
                f"the text has {len(pieces)} pieces, the model takes {self.config.max_position_embeddings}: shorten it."
            )
        probabilities = self._probabilities(self.tokenizer.convert_tokens_to_ids(pieces), positions)
        vocabulary = self.tokenizer.vocabulary.tokens
        filled = []
        for position, row in zip(positions, probabilities, strict=True):
            best = np.argsort(-row, kind="stable")[:top_k]
            filled.append(Filled(position, tuple((vocabulary[i], float(row[i])) for i in best)))
        return filled

    def _probabilities(self, ids: list[int], positions: list[int]) -> np.ndarray:
        """Ids [L], positions [M] → float32 [M, V]."""
        row = tf.constant([ids])
        hidden = encode(self._parameters, self.config, row, tf.ones_like(row), tf.zeros_like(row))
        logits = masked_lm_logits(self._parameters, self.config, hidden, tf.constant([positions]))
        return tf.nn.softmax(logits[0]).numpy()
