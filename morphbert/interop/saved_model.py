"""TensorFlow's SavedModel: signatures that take ids, and a second folder whose signatures take raw text.

    OUTPUT/                 ids → hidden states, pooled output, masked-LM logits; needs TensorFlow alone
    OUTPUT/tokenizer/       cuts text into ids at the client (transformers' files)
    OUTPUT/text/            raw text → the same; needs tensorflow_text, and exists where no analyser is needed

They are apart because an op of tensorflow_text makes a whole SavedModel unloadable where that library is missing.
"""

from __future__ import annotations

import os

import tensorflow as tf

from morphbert.interop.huggingface.tokenizer_files import has_exact_stock_tokenizer
from morphbert.interop.native import write_config
from morphbert.interop.pretrained import Pretrained
from morphbert.model.config import BertConfig
from morphbert.model.encoder import EncoderInputs, encode, pool
from morphbert.model.heads import discriminator_logits, masked_lm_logits
from morphbert.text.tokenizer import Tokenizer

TEXT_FOLDER = "text"
_NAMES = ("input_ids", "input_mask", "segment_ids")


class _Served(tf.Module):
    """The weights and the functions that become signatures."""

    def __init__(self, model: Pretrained):
        super().__init__()
        self.config: BertConfig = model.config
        # A list, as names with slashes cannot be attributes; `by_name` gives them back.
        self.variables_in_order = [tf.Variable(value, name=name) for name, value in model.weights.items()]
        self._names = tuple(model.weights)

    def by_name(self) -> dict[str, tf.Tensor]:
        values = map(tf.convert_to_tensor, self.variables_in_order)
        return dict(zip(self._names, values, strict=True))

    def encoded(self, ids: tf.Tensor, mask: tf.Tensor, segments: tf.Tensor) -> dict[str, tf.Tensor]:
        """Ids, mask, segments int32 [B, L] → hidden_states [B, L, H] and, with a pooler, pooled_output [B, H]."""
        parameters = self.by_name()
        hidden = self._hidden(parameters, ids, mask, segments)
        if not self.config.pooler:
            return {"hidden_states": hidden}
        return {"hidden_states": hidden, "pooled_output": pool(parameters, hidden)}

    def masked_lm(self, ids: tf.Tensor, mask: tf.Tensor, segments: tf.Tensor) -> dict[str, tf.Tensor]:
        """Ids, mask, segments int32 [B, L] → masked_lm_logits [B, L, V], of every position."""
        parameters = self.by_name()
        hidden = self._hidden(parameters, ids, mask, segments)
        shape = tf.shape(ids)
        every = tf.broadcast_to(tf.range(shape[1])[None], shape)
        return {"masked_lm_logits": masked_lm_logits(parameters, self.config, hidden, every)}

    def discriminator(self, ids: tf.Tensor, mask: tf.Tensor, segments: tf.Tensor) -> dict[str, tf.Tensor]:
        """Ids, mask, segments int32 [B, L] → discriminator_logits [B, L], of every position."""
        parameters = self.by_name()
        hidden = self._hidden(parameters, ids, mask, segments)
        return {"discriminator_logits": discriminator_logits(parameters, self.config, hidden)}

    def _hidden(
        self, parameters: dict[str, tf.Tensor], ids: tf.Tensor, mask: tf.Tensor, segments: tf.Tensor
    ) -> tf.Tensor:
        longest = self.config.max_position_embeddings
        message = f"the model takes {longest} pieces at most: shorten the input"
        with tf.control_dependencies([tf.debugging.assert_less_equal(tf.shape(ids)[1], longest, message)]):
            ids = tf.identity(ids)
        return encode(parameters, self.config, EncoderInputs(ids, mask, segments))


def write(folder: str, model: Pretrained, tokenizer: Tokenizer | None) -> list[str]:
    """Writes the SavedModel(s) and `bert_config.json`; returns notes about them.

    Args:
      folder: where to.
      model: with every weight.
      tokenizer: the model's; None writes no `text/`.
    """
    served = _Served(model)
    ids = [tf.TensorSpec([None, None], tf.int32, name) for name in _NAMES]

    @tf.function(input_signature=ids, autograph=False)
    def encode_ids(
        input_ids: tf.Tensor, input_mask: tf.Tensor, segment_ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return served.encoded(input_ids, input_mask, segment_ids)

    @tf.function(input_signature=ids, autograph=False)
    def masked_lm(
        input_ids: tf.Tensor, input_mask: tf.Tensor, segment_ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return served.masked_lm(input_ids, input_mask, segment_ids)

    @tf.function(input_signature=ids, autograph=False)
    def discriminator(
        input_ids: tf.Tensor, input_mask: tf.Tensor, segment_ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return served.discriminator(input_ids, input_mask, segment_ids)

    head = {"masked_lm": masked_lm} if model.config.has_masked_lm else {"discriminator": discriminator}
    signatures = {"serving_default": encode_ids, "encode": encode_ids, **head}
    tf.saved_model.save(served, folder, signatures=signatures)
    write_config(folder, model.config)
    if tokenizer is None:
        return ["no vocabulary is known, so none is in the folder, and there is no text/ that takes raw text"]
    if tokenizer.vocabulary.added:
        return [
            "there is no text/, which takes raw text: it does not find the added tokens of the vocabulary"
        ]
    if not has_exact_stock_tokenizer(tokenizer):
        return [
            "the analyser runs outside the graph: the signatures take ids, which the client makes with "
            "tokenizer/ of the folder; there is no text/"
        ]
    return _write_text(os.path.join(folder, TEXT_FOLDER), served, tokenizer)


def _write_text(folder: str, served: _Served, tokenizer: Tokenizer) -> list[str]:
    try:
        from morphbert.interop.text_graph import TextCutter
    except ImportError as error:
        return [f"there is no text/, which takes raw text: it needs tensorflow-text ({error})"]
    cutter = TextCutter(tokenizer, served.config.max_position_embeddings)
    served.cutter = cutter  # tracked, so that its tables are saved
    texts = [tf.TensorSpec([None], tf.string, "text")]

    @tf.function(input_signature=texts, autograph=False)
    def tokenize(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(_NAMES, cutter(text), strict=True))

    @tf.function(input_signature=texts, autograph=False)
    def encode_text(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return served.encoded(*cutter(text))

    signatures = {"serving_default": encode_text, "encode": encode_text, "tokenize": tokenize}
    tf.saved_model.save(served, folder, signatures=signatures)
    return ["text/ takes raw text: import tensorflow_text before loading it"]
