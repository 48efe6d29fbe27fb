"""The configuration of a BERT model: google-research/bert's `bert_config.json`, frozen and checked."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from typing import Any

from morphbert.errors import MorphbertError

# Keys that released configurations carry and that do not change this network: Google's multilingual and
# Chinese models, and what Hugging Face adds to every config.json.
_FOREIGN_KEYS = frozenset(
    {
        "_name_or_path",
        "add_cross_attention",
        "architectures",
        "bos_token_id",
        "classifier_dropout",
        "directionality",
        "dtype",
        "eos_token_id",
        "finetuning_task",
        "gradient_checkpointing",
        "id2label",
        "is_decoder",
        "label2id",
        "language",
        "model_type",
        "output_past",
        "pad_token_id",
        "pooler_fc_size",
        "pooler_num_attention_heads",
        "pooler_num_fc_layers",
        "pooler_size_per_head",
        "pooler_type",
        "position_embedding_type",
        "problem_type",
        "tie_word_embeddings",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
ACTIVATIONS = ("gelu", "gelu_new", "gelu_erf", "relu", "tanh", "linear")


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """Sizes and rates of one model; the names and defaults are google-research/bert's.

    Attributes:
      vocab_size: number of pieces, V; has to be that of the vocabulary the records were made with.
      hidden_size: width of every layer's output, H.
      num_hidden_layers: number of Transformer layers.
      num_attention_heads: heads, N; H is divisible by it.
      intermediate_size: width of the feed-forward layer, usually 4 H.
      hidden_act: `gelu` is the tanh approximation, as in google-research/bert. Hugging Face calls that one
        `gelu_new`, which is accepted for it, and means by `gelu` the exact form, which is `gelu_erf` here:
        in a file with Hugging Face's `model_type`, its meaning is taken.
      hidden_dropout_prob: rate on embeddings and on the output of both sub-layers.
      attention_probs_dropout_prob: rate on the attention weights.
      max_position_embeddings: longest sequence that the model can take.
      type_vocab_size: number of segments.
      initializer_range: standard deviation of the truncated normal initial weights.
      layer_norm_eps: added to the variance; 1e-12 in BERT.
    """

    vocab_size: int
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 16
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise MorphbertError(
                    f"model configuration: {field.name} is {value!r}; it is a number from 1 up."
                )
            if field.type == "float" and (not isinstance(value, (int, float)) or value < 0):
                raise MorphbertError(
                    f"model configuration: {field.name} is {value!r}; it is a number from 0 up."
                )
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if getattr(self, name) >= 1:
                raise MorphbertError(f"model configuration: {name} is {getattr(self, name)}; it is under 1.")
        if self.hidden_size % self.num_attention_heads:
            raise MorphbertError(
                f"model configuration: hidden_size {self.hidden_size} is not divisible by "
                f"num_attention_heads {self.num_attention_heads}: each head takes an equal share of it."
            )
        if self.hidden_act not in ACTIVATIONS:
            raise MorphbertError(
                f"model configuration: hidden_act is {self.hidden_act!r}; known are {', '.join(ACTIVATIONS)}."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "model configuration") -> BertConfig:
        """Builds a configuration; a key that is not known is an error that names the nearest known one."""
        known = {field.name for field in dataclasses.fields(cls)}
        for key in values:
            if key not in known and key not in _FOREIGN_KEYS:
                near = difflib.get_close_matches(key, known, 1, cutoff=0.5)
                hint = f" Did you mean {near[0]!r}?" if near else f" Known keys: {', '.join(sorted(known))}."
                raise MorphbertError(f"{source}: unknown key {key!r}.{hint}")
        if "vocab_size" not in values:
            raise MorphbertError(f"{source}: vocab_size is missing: the number of lines of your vocab.txt.")
        if values.get("position_embedding_type", "absolute") != "absolute":
            raise MorphbertError(f"{source}: only absolute position embeddings are supported.")
        chosen = {key: value for key, value in values.items() if key in known}
        if "model_type" in values and chosen.get("hidden_act") == "gelu":
            chosen["hidden_act"] = "gelu_erf"
        return cls(**chosen)

    @classmethod
    def from_json_file(cls, path: str) -> BertConfig:
        """Reads a `bert_config.json` from any path that TensorFlow can open."""
        import tensorflow as tf

        try:
            with tf.io.gfile.GFile(path, "r") as stream:
                values = json.loads(stream.read())
        except tf.errors.OpError as error:
            raise MorphbertError(f"--bert_config_file: {path} cannot be read: {error.message}") from error
        except (UnicodeDecodeError, ValueError) as error:
            raise MorphbertError(f"--bert_config_file: {path} is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise MorphbertError(f"--bert_config_file: {path} holds {type(values).__name__}, not an object.")
        return cls.from_dict(values, source=path)

    def to_json(self) -> str:
        """The configuration as google-research/bert writes it: sorted keys, two spaces."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"
