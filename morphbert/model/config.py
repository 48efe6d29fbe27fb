"""The configuration of a model: google-research/bert's `bert_config.json`, frozen and checked, and its variants.

A variant is a few keys more: ALBERT's are those of its `albert_config.json`, and a `config.json` of Hugging Face's
(one with `model_type`) is read by what its keys mean there.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.model.hugging_face_config import from_hugging_face

# Keys that released configurations carry and that do not change this network: Google's multilingual and
# Chinese models and ALBERTs, and what Hugging Face adds to every config.json.
_FOREIGN_KEYS = frozenset(
    {
        "_name_or_path",
        "add_cross_attention",
        "architectures",
        "bos_token_id",
        "classifier_dropout",
        "classifier_dropout_prob",
        "directionality",
        "down_scale_factor",
        "dtype",
        "eos_token_id",
        "finetuning_task",
        "gap_size",
        "gradient_checkpointing",
        "id2label",
        "is_decoder",
        "label2id",
        "language",
        "ln_type",
        "model_type",
        "net_structure_type",
        "num_memory_blocks",
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
# What makes a variant, with the values of plain BERT, which files leave out.
_PLAIN = {
    "embedding_size": None,
    "num_hidden_groups": None,
    "inner_group_num": 1,
    "position_offset": 0,
    "next_sentence_head": True,
    "pre_layer_norm": False,
}


def only_known(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values whose keys are those of `BertConfig`."""
    known = {field.name for field in dataclasses.fields(BertConfig)}
    return {key: value for key, value in values.items() if key in known}


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
      max_position_embeddings: longest sequence that the model can take. (A RoBERTa's `config.json` counts the
        `position_offset` rows in; they are taken off.)
      type_vocab_size: number of segments.
      initializer_range: standard deviation of the truncated normal initial weights.
      layer_norm_eps: added to the variance; 1e-12 in BERT.
      embedding_size: of ALBERT: width E of the embeddings, which a matrix takes to H; None for H.
      num_hidden_groups: of ALBERT: how many layers have weights of their own; the layers are spread over them in
        equal runs. None for BERT's layers, which all have.
      inner_group_num: of ALBERT: Transformer blocks in each of the layers.
      position_offset: of RoBERTa: rows of the position table before that of the first piece, the padding's id + 1.
      next_sentence_head: false for RoBERTa, which is trained without the task.
      pre_layer_norm: LayerNorm before attention and feed-forward instead of after, and once after the last layer
        (Xiong et al. 2020; with no LayerNorm on the embeddings, as Megatron-LM's BERT).
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
    embedding_size: int | None = None
    num_hidden_groups: int | None = None
    inner_group_num: int = 1
    position_offset: int = 0
    next_sentence_head: bool = True
    pre_layer_norm: bool = False

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int | None" and value is None:
                continue
            if field.type == "bool" and not isinstance(value, bool):
                raise MorphbertError(f"model configuration: {field.name} is {value!r}; it is true or false.")
            least = 0 if field.name == "position_offset" else 1
            whole = isinstance(value, int) and not isinstance(value, bool)
            if field.type.startswith("int") and not (whole and value >= least):
                raise MorphbertError(
                    f"model configuration: {field.name} is {value!r}; it is a number from {least} up."
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
        self._check_variant()

    def _check_variant(self) -> None:
        """Refuses combinations of keys that are no model."""
        groups, layers = self.num_hidden_groups, self.num_hidden_layers
        if groups is None:
            for name in ("embedding_size", "inner_group_num"):
                if getattr(self, name) != _PLAIN[name]:
                    raise MorphbertError(
                        f"model configuration: {name} is ALBERT's, and num_hidden_groups is missing: 1 for one set of "
                        f"weights in all layers, or {layers} for weights of each layer's own."
                    )
            return
        if layers % groups:
            raise MorphbertError(
                f"model configuration: num_hidden_layers {layers} is not divisible by num_hidden_groups {groups}: "
                "every group is in equally many layers."
            )
        for name in ("position_offset", "pre_layer_norm"):
            if getattr(self, name):
                raise MorphbertError(
                    f"model configuration: {name} together with num_hidden_groups: there is no ALBERT with it. Leave "
                    "one of the two out."
                )

    @property
    def embedding_width(self) -> int:
        """Width of the embeddings, E; H but for ALBERT."""
        return self.embedding_size or self.hidden_size

    @property
    def kind(self) -> str:
        """What the model is called: `BERT`, `ALBERT`, `RoBERTa` or `pre-LN BERT`."""
        if self.num_hidden_groups is not None:
            return "ALBERT"
        if self.pre_layer_norm:
            return "pre-LN BERT"
        return "RoBERTa" if self.position_offset else "BERT"

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
        for key, only in (("position_embedding_type", "absolute"), ("ln_type", "postln")):
            if values.get(key, only) != only:
                raise MorphbertError(f"{source}: {key} is {values[key]!r}; only {only!r} is supported.")
        if "model_type" in values:
            values = from_hugging_face(values, source)
        return cls(**only_known(values))

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

    def to_dict(self) -> dict[str, Any]:
        """The values by key, without what makes a variant where there is none."""
        values = dataclasses.asdict(self)
        return {key: value for key, value in values.items() if key not in _PLAIN or value != _PLAIN[key]}

    def to_json(self) -> str:
        """The configuration as google-research/bert writes it: sorted keys, two spaces."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"
