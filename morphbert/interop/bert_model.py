"""The model that `morphbert.load` returns: weights and their computation."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.interop.huggingface.pretrained_tokenizer import PretrainedTokenizer
from morphbert.interop.loading import read_with_tokenizer
from morphbert.interop.pretrained import Pretrained
from morphbert.interop.saving import write_into, write_with_tokenizer
from morphbert.model.config import BertConfig
from morphbert.model.encoder import EncoderInputs, ForwardPass, encode_layers, pool
from morphbert.model.graphs import any_shape, specifications
from morphbert.model.heads import discriminator_logits, masked_lm_logits, next_sentence_logits


class ModelOutput(NamedTuple):
    """The result of a model. Its values also have transformers' names; `output["pooled_output"]` works too.

    Attributes:
      hidden_states: the states of the last layer, float32 [B, L, H].
      pooled_output: tanh of a dense layer over [CLS], float32 [B, H]; None for a model without a pooler.
    """

    hidden_states: tf.Tensor
    pooled_output: tf.Tensor | None

    @property
    def last_hidden_state(self) -> tf.Tensor:
        return self.hidden_states

    @property
    def pooler_output(self) -> tf.Tensor | None:
        return self.pooled_output

    def __getitem__(self, key: Any) -> Any:
        return getattr(self, key) if isinstance(key, str) else tuple.__getitem__(self, key)


class BertModel(tf.Module):
    """A BERT model, computed in float32 as it is called; its weights are `tf.Variable`s under their names.

    Axes: B sequences, L positions, H hidden, V pieces.

    Attributes:
      config: the configuration.
      parameters: every weight of a pretraining model, by google-research/bert's names.
      tokenizer: the tokenizer that was loaded with the model; None without one.
    """

    def __init__(self, config: BertConfig, seed: int = 0) -> None:
        """Makes a model with initial weights, which depend on configuration and seed alone."""
        super().__init__()
        self._take(Pretrained(config, {}, "a configuration").completed(seed))
        self.tokenizer: PretrainedTokenizer | None = None

    def _take(self, model: Pretrained) -> None:
        self.config = model.config
        self.parameters = {name: tf.Variable(value, name=name) for name, value in model.weights.items()}
        self.source = model.source

    @classmethod
    def of(cls, model: Pretrained, tokenizer: PretrainedTokenizer | None = None) -> BertModel:
        """Returns a model with the weights of `model` and its `tokenizer`; missing weights get initial values."""
        made = cls.__new__(cls)
        tf.Module.__init__(made)
        made._take(model.completed())
        made.tokenizer = tokenizer
        return made

    def __call__(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        *,
        input_mask: Any = None,
        segment_ids: Any = None,
        position_ids: Any = None,
        training: bool = False,
    ) -> ModelOutput:
        """Encodes a batch: `model(**tokenizer(texts, padding=True, return_tensors="np"))`.

        Args:
          input_ids: the pieces, integers [B, L] from 0 to V - 1.
          attention_mask: 1 for pieces and 0 for padding, [B, L]; None for no padding. Also called `input_mask`.
          token_type_ids: the segments, [B, L]; None for 0. Also called `segment_ids`.
          position_ids: the positions, [B, L]; None counts from 0.
          training: whether to apply dropout, with random masks.

        Raises:
          MorphbertError: an argument has another shape, or a number is out of its range.
        """
        given = {"input_mask": input_mask, "segment_ids": segment_ids, "position_ids": position_ids}
        hidden = self.layers(input_ids, attention_mask, token_type_ids, training=training, **given)[-1]
        return ModelOutput(hidden, pool(self._weights(), hidden) if self.config.pooler else None)

    def layers(self, input_ids: Any, *args: Any, training: bool = False, **inputs: Any) -> list[tf.Tensor]:
        """Returns the embeddings, then the output of each layer, float32 [B, L, H] each.

        The arguments are those of a call: `input_ids`, the other arrays by position or name, and `training`.

        Raises:
          MorphbertError: an argument has another shape, or a number is out of its range.
        """
        return self._encode(self._inputs(input_ids, *args, **inputs), training)

    def masked_lm_logits(
        self, input_ids: Any, *args: Any, training: bool = False, **inputs: Any
    ) -> tf.Tensor:
        """Returns the scores of every piece at every position, float32 [B, L, V]; the arguments are those of a call.

        Raises:
          MorphbertError: the model is the discriminator of an ELECTRA.
        """
        if not self.config.has_masked_lm:
            raise MorphbertError(
                f"{self.source} is the discriminator of an ELECTRA, which has no masked LM head: load the generator, "
                "or call discriminator_logits."
            )
        hidden = self.layers(input_ids, *args, training=training, **inputs)[-1]
        return any_shape(_score_all, self.config, specifications(self.parameters))(self._weights(), hidden)

    def discriminator_logits(
        self, input_ids: Any, *args: Any, training: bool = False, **inputs: Any
    ) -> tf.Tensor:
        """Returns the scores of "this piece is replaced", float32 [B, L]: above 0 it is likelier than not.

        The arguments are those of a call.

        Raises:
          MorphbertError: the model is not the discriminator of an ELECTRA.
        """
        if self.config.has_masked_lm:
            raise MorphbertError(
                f"{self.source} has no discriminator head: load the discriminator of an ELECTRA."
            )
        hidden = self.layers(input_ids, *args, training=training, **inputs)[-1]
        return discriminator_logits(self._weights(), self.config, hidden)

    def next_sentence_logits(
        self, input_ids: Any, *args: Any, training: bool = False, **inputs: Any
    ) -> tf.Tensor:
        """Returns the scores of "B follows A" (0) and "B is random" (1), float32 [B, 2].

        The arguments are those of a call.

        Raises:
          MorphbertError: the model has no such head, as a RoBERTa or an ELECTRA.
        """
        if not self.config.next_sentence_head:
            raise MorphbertError(f"{self.source} has no next sentence head: it was trained without the task.")
        hidden = self.layers(input_ids, *args, training=training, **inputs)[-1]
        return next_sentence_logits(self._weights(), pool(self._weights(), hidden))

    def save(
        self,
        path: str,
        tokenizer: PretrainedTokenizer | None = None,
        format: str = "ours",
        overwrite: bool = False,
    ) -> None:
        """Writes model and tokenizer into a new folder, which `morphbert.load` reads again.

        Args:
          path: the folder.
          tokenizer: the tokenizer; None takes the one that was loaded with the model, if any.
          format: the value of `export_model.py --format`, such as "ours", "huggingface" or "google".
          overwrite: whether to replace an existing folder. A folder that model or tokenizer was loaded from is never
            replaced, because it may contain the optimizer's state and other checkpoints.

        Raises:
          MorphbertError: the folder is not empty or cannot be written, model or tokenizer was loaded from it, or the
            tokenizer is another model's.
        """
        tokenizer = self.tokenizer if tokenizer is None else tokenizer
        write_with_tokenizer(path, self._pretrained(tokenizer), tokenizer, format, overwrite)

    @classmethod
    def from_pretrained(cls, path: str, **options: Any) -> BertModel:
        """Loads a model as `morphbert.load(path, **options)` does; its tokenizer is the attribute `tokenizer`.

        Raises:
          MorphbertError: the path has no model that can be read, or its parts do not belong together.
        """
        return cls.of(*read_with_tokenizer(path, **options))

    def save_pretrained(self, path: str) -> None:
        """Writes model and tokenizer as a Hugging Face folder at `path`, which transformers loads.

        Other files of the folder stay, and those of the same name are replaced.

        Raises:
          MorphbertError: the folder cannot be written, or Hugging Face has no such model or tokenizer.
        """
        write_into(path, self._pretrained(self.tokenizer), self.tokenizer)

    def _pretrained(self, tokenizer: PretrainedTokenizer | None) -> Pretrained:
        """Returns the model as it is written, without optimizer state; its weights may have been trained further."""
        weights = {name: variable.numpy() for name, variable in self.parameters.items()}
        vocabulary = None if tokenizer is None else tokenizer.source
        return Pretrained(self.config, weights, self.source, vocabulary=vocabulary)

    def _weights(self) -> dict[str, tf.Tensor]:
        return {name: tf.convert_to_tensor(variable) for name, variable in self.parameters.items()}

    def _encode(self, inputs: EncoderInputs, training: bool) -> list[tf.Tensor]:
        if not training:
            found = [tensor for tensor in inputs if tensor is not None]
            encode = any_shape(_encode_all, self.config, specifications(self.parameters), len(found))
            return list(encode(self._weights(), *found))
        key = tf.random.uniform([2], maxval=2**31 - 1, dtype=tf.int32)
        return encode_layers(self._weights(), self.config, inputs, ForwardPass(key))

    def _inputs(self, *positional: Any, **named: Any) -> EncoderInputs:
        """Checks the arguments of a call."""
        given = inspect.signature(self.__call__).bind(*positional, **named).arguments
        mask = _either(given, "attention_mask", "input_mask")
        segments = _either(given, "token_type_ids", "segment_ids")
        position_ids, config = given.get("position_ids"), self.config
        ids = _rows("input_ids", given["input_ids"], config.vocab_size)
        longest = config.max_position_embeddings
        if position_ids is None and ids.shape[1] is not None and ids.shape[1] > longest:
            raise MorphbertError(
                f"input_ids has {ids.shape[1]} positions, but the model has {longest}: shorten the text "
                "(truncation=True), or lengthen the model with import_model.py --max_position_embeddings."
            )
        mask = tf.ones_like(ids) if mask is None else _rows("attention_mask", mask, 2, ids)
        segments = (
            tf.zeros_like(ids)
            if segments is None
            else _rows(
                "token_type_ids", segments, max(2, config.type_vocab_size), ids
            )  # a pair is always taken
        )
        positions = None if position_ids is None else _rows("position_ids", position_ids, longest, ids)
        return EncoderInputs(ids, mask, segments, position_ids=positions)


def _encode_all(
    config: BertConfig,
    weights: dict[str, tf.Tensor],
    ids: tf.Tensor,
    mask: tf.Tensor,
    segments: tf.Tensor,
    positions: tf.Tensor | None = None,
) -> list[tf.Tensor]:
    return encode_layers(weights, config, EncoderInputs(ids, mask, segments, position_ids=positions))


def _score_all(config: BertConfig, weights: dict[str, tf.Tensor], hidden: tf.Tensor) -> tf.Tensor:
    shape = tf.shape(hidden)
    every = tf.broadcast_to(tf.range(shape[1])[None], shape[:2])
    return masked_lm_logits(weights, config, hidden, every)


def _either(given: Mapping[str, Any], name: str, other_name: str) -> Any:
    value, other = given.get(name), given.get(other_name)
    if value is not None and other is not None:
        raise MorphbertError(f"{name} and {other_name} are two names of the same argument: give one of them.")
    return other if value is None else value


def _rows(name: str, values: Any, limit: int, like: tf.Tensor | None = None) -> tf.Tensor:
    """Numbers from 0 up to `limit` (not included) → int32 [B, L], of the shape of `like`."""
    if not tf.is_tensor(values):
        try:
            values = np.asarray(values)
        except ValueError:
            raise MorphbertError(
                f"{name} has rows of different lengths: tokenizer(…, padding=True) makes them equal."
            ) from None
        if values.size and values.dtype.kind not in "iub":
            raise MorphbertError(f"{name} contains {values.dtype}; it must contain whole numbers.")
    tensor = tf.cast(values, tf.int32)
    if tensor.shape.rank != 2:
        raise MorphbertError(
            f"{name} has the shape {list(tensor.shape)}, not [batch, length]: give the tokenizer a list of "
            "texts, "
            'or return_tensors="np".'
        )
    if like is not None and not tensor.shape.is_compatible_with(like.shape):
        raise MorphbertError(f"{name} has the shape {list(tensor.shape)}, and input_ids {list(like.shape)}.")
    # Out of range, the CPU names a number of the wrong row, and a GPU reads zeros without a word.
    if tf.executing_eagerly() and tf.size(tensor) > 0:
        least, most = int(tf.reduce_min(tensor)), int(tf.reduce_max(tensor))
        if least < 0 or most >= limit:
            raise MorphbertError(
                f"{name} has numbers from {least} to {most}; the model accepts 0 to {limit - 1}: is it the tokenizer "
                "of this model?"
            )
    return tensor
