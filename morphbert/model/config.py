"""The configuration of a model: google-research/bert's `bert_config.json`, frozen and checked, and its variants.

A variant is a few keys more: ALBERT's are those of its `albert_config.json`, the modern block's those of Hugging
Face's ModernBERT where it has a name, and a `config.json` of Hugging Face's (one with `model_type`) is read with
its keys' meaning there.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
from collections.abc import Mapping
from typing import Any

from morphbert.atomic_files import atomic_write
from morphbert.errors import MorphbertError
from morphbert.hub import local_path
from morphbert.model import variants
from morphbert.model.hugging_face_config import MODERN_BLOCK, MODERN_KEYS, from_hugging_face, from_modern_bert
from morphbert.model.variants import first_set
from morphbert.structured import load_json

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
        "problem_type",
        "summary_activation",
        "summary_last_dropout",
        "summary_type",
        "summary_use_proj",
        "tie_word_embeddings",
        "tokenizer_class",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
ACTIVATIONS = ("gelu", "gelu_new", "gelu_erf", "silu", "relu", "tanh", "linear")
POSITIONS = ("absolute", "rotary")
NORMS = ("layer_norm", "rms_norm")
ELECTRA_NETWORKS = ("discriminator", "generator")
# The keys of plain BERT, which every file has. All others make a variant; files leave those with default values out.
_OF_BERT = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "initializer_range",
    "layer_norm_eps",
)
# The keys of ALBERT, RoBERTa, pre-LN BERT and ELECTRA, and those that need one of the modern block's keys.
_OF_PUBLISHED = (
    "embedding_size",
    "num_hidden_groups",
    "inner_group_num",
    "position_offset",
    "next_sentence_head",
    "pre_layer_norm",
    "electra",
    "global_rope_theta",
    "local_rope_theta",
    "global_attn_every_n_layers",
)

# Above these a number is a mistake, or made to take all memory; the largest models have some hundred layers.
_MOST = {
    "num_hidden_layers": 1_000,
    "num_hidden_groups": 1_000,
    "inner_group_num": 1_000,
    "num_attention_heads": 1_024,
}
_MOST_ROWS = 10_000_000


BERT_CONFIG_NAME = "bert_config.json"
HUGGING_FACE_CONFIG_NAME = "config.json"


def config_file_in(folder: str) -> str | None:
    """Returns the path of a folder's `bert_config.json`, else of its `config.json`, else None."""
    paths = (os.path.join(folder, name) for name in (BERT_CONFIG_NAME, HUGGING_FACE_CONFIG_NAME))
    return next(filter(os.path.isfile, paths), None)


def only_known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values whose keys are those of `BertConfig`."""
    known = {field.name for field in dataclasses.fields(BertConfig)}
    return {key: value for key, value in values.items() if key in known}


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """The sizes and rates of a model. The names are google-research/bert's, the defaults transformers'.

    Attributes:
      vocab_size: the number of pieces, V, of the vocabulary that the records were made with.
      hidden_size: the width of every layer's output, H.
      num_hidden_layers: the number of Transformer layers.
      num_attention_heads: the number of heads, N, a divisor of H.
      intermediate_size: the width of the feed-forward layer, usually 4 H.
      hidden_act: the activation. `gelu` is the tanh approximation, as in google-research/bert. Hugging Face calls this
        `gelu_new`, which is accepted too, and calls the exact form `gelu`, which is `gelu_erf` here. A file with
        `model_type` has Hugging Face's meaning.
      hidden_dropout_prob: the dropout rate of embeddings and of the output of both sub-layers.
      attention_probs_dropout_prob: the dropout rate of the attention weights.
      max_position_embeddings: the length of the longest sequence. (A RoBERTa's `config.json` includes the
        `position_offset` rows, which are subtracted.)
      type_vocab_size: the number of segments; 0 for none, as in ModernBERT. Files of google-research/bert that leave it
        out have 16.
      initializer_range: the standard deviation of the truncated normal initial weights.
      layer_norm_eps: the number added to the variance; 1e-12 in BERT.
      embedding_size: for ALBERT and ELECTRA, the width E of the embeddings, which a matrix maps to H; None for H.
      num_hidden_groups: for ALBERT, the number of sets of weights, each of which serves an equal run of layers. None
        for BERT, where each layer has its own.
      inner_group_num: for ALBERT, the number of Transformer blocks in each layer.
      position_offset: for RoBERTa, the number of rows of the position table before that of the first piece, which is
        the padding's id + 1.
      next_sentence_head: whether the model has this head; false for RoBERTa, which is trained without the task.
      pre_layer_norm: LayerNorm before attention and feed-forward instead of after, and once after the last layer
        (Xiong et al. 2020; with no LayerNorm on the embeddings, as Megatron-LM's BERT).
      embedding_norm: with `pre_layer_norm`, whether a norm on the embeddings replaces that before the first attention.
      position_embedding_type: `absolute`, a learned table, or `rotary` (Su et al. 2021).
      global_rope_theta: the base of the rotary angles in layers with global attention.
      local_rope_theta: the base of the rotary angles in layers with local attention.
      global_attn_every_n_layers: with `local_attention`, n: attention is global in the layers 0, n, 2 n…
      local_attention: the window of attention in the other layers, in pieces, half of it on each side. None if all
        attention is global.
      mlp_gate: whether the feed-forward layer is gated (Shazeer 2020): GeGLU with a GELU as `hidden_act`, SwiGLU with
        `silu`.
      norm_type: `layer_norm`, or `rms_norm` (Zhang & Sennrich 2019).
      attention_bias: whether query, key, value and output of attention have biases.
      mlp_bias: whether the feed-forward layer has biases.
      norm_bias: whether norms have biases.
      classifier_bias: whether the dense layer of the masked LM head has a bias.
      decoder_bias: whether the scores of the pieces have biases.
      classifier_activation: the activation in the masked LM head; None for `hidden_act`.
      pooler: whether the model has BERT's pooler over [CLS]. Without it, tasks of sentences read [CLS] through the
        masked LM head, as in ModernBERT, or through a dense layer of the task, as in ELECTRA.
      electra: for ELECTRA (Clark et al. 2020), the network: `discriminator`, which tells replaced pieces from original
        ones, or `generator`, a masked LM. Neither has a pooler. None for every other model.
      variant: the name of a plugin's block (`register_model`), which replaces the one described here.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    embedding_size: int | None = None
    num_hidden_groups: int | None = None
    inner_group_num: int = 1
    position_offset: int = 0
    next_sentence_head: bool = True
    pre_layer_norm: bool = False
    embedding_norm: bool = False
    position_embedding_type: str = "absolute"
    global_rope_theta: float = 160000.0
    local_rope_theta: float = 10000.0
    global_attn_every_n_layers: int = 1
    local_attention: int | None = None
    mlp_gate: bool = False
    norm_type: str = "layer_norm"
    attention_bias: bool = True
    mlp_bias: bool = True
    norm_bias: bool = True
    classifier_bias: bool = True
    decoder_bias: bool = True
    classifier_activation: str | None = None
    pooler: bool = True
    electra: str | None = None
    variant: str | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            self._check_type(field.name, str(field.type), getattr(self, field.name))
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if getattr(self, name) >= 1:
                raise MorphbertError(f"model configuration: {name} is {getattr(self, name)}; it is under 1.")
        for name in ("global_rope_theta", "local_rope_theta"):
            if not getattr(self, name):
                raise MorphbertError(f"model configuration: {name} is 0; it is a number above 0.")
        for name, known in (
            ("hidden_act", ACTIVATIONS),
            ("classifier_activation", ACTIVATIONS),
            ("position_embedding_type", POSITIONS),
            ("norm_type", NORMS),
            ("electra", ELECTRA_NETWORKS),
        ):
            value = getattr(self, name)
            if value not in known and not (value is None and name in ("classifier_activation", "electra")):
                raise MorphbertError(
                    f"model configuration: {name} is {value!r}; it must be one of {', '.join(known)}."
                )
        if self.hidden_size % self.num_attention_heads:
            raise MorphbertError(
                f"model configuration: hidden_size {self.hidden_size} is not divisible by "
                f"num_attention_heads {self.num_attention_heads}: each head takes an equal share of it."
            )
        variants.check(self)

    @staticmethod
    def _check_type(name: str, kind: str, value: Any) -> None:
        if value is None and kind.endswith(" | None"):
            return
        kind = kind.removesuffix(" | None")
        if kind == "str" and not isinstance(value, str):
            raise MorphbertError(f"model configuration: {name} is {value!r}; it is a name.")
        if kind == "bool" and not isinstance(value, bool):
            raise MorphbertError(f"model configuration: {name} is {value!r}; it is true or false.")
        least = 0 if name in ("position_offset", "type_vocab_size") else 1
        whole = isinstance(value, int) and not isinstance(value, bool)
        if kind == "int" and not (whole and value >= least):
            raise MorphbertError(f"model configuration: {name} is {value!r}; it is a number from {least} up.")
        most = _MOST.get(name, _MOST_ROWS)
        if kind == "int" and value > most:
            raise MorphbertError(
                f"model configuration: {name} is {value!r}; at most {most:,} are taken, which no model reaches."
            )
        if kind == "float" and (
            not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < math.inf
        ):
            raise MorphbertError(f"model configuration: {name} is {value!r}; it is a number from 0 up.")

    @property
    def embedding_width(self) -> int:
        """Width of the embeddings, E; H except for ALBERT and ELECTRA."""
        return self.embedding_size or self.hidden_size

    @property
    def has_masked_lm(self) -> bool:
        """Whether a pretrained model has the masked LM's head; the discriminator of an ELECTRA has another."""
        return self.electra != "discriminator"

    @property
    def has_segments(self) -> bool:
        """Whether the model tells segments apart."""
        return self.type_vocab_size > 1

    @property
    def kind(self) -> str:
        """The model's name: `BERT`, `ALBERT`, `RoBERTa`, `pre-LN BERT`, `ModernBERT`, `ELECTRA` or `custom encoder`."""
        if not self.beside_modern_bert():
            return "ModernBERT"
        if self.electra is not None:
            others = [name for name in _modern_names() if name != "pooler"]
            is_bert = not (first_set(self, *others) or self.pre_layer_norm) and self.type_vocab_size
            return "ELECTRA" if is_bert else "custom encoder"
        albert = self.num_hidden_groups is not None
        if first_set(self, *_modern_names()) or not self.type_vocab_size or (albert and self.pre_layer_norm):
            return "custom encoder"
        if albert:
            return "ALBERT"
        if self.pre_layer_norm:
            return "pre-LN BERT"
        return "RoBERTa" if self.position_offset else "BERT"

    def beside_modern_bert(self) -> list[str]:
        """Returns the keys, with their values, by which the network differs from Hugging Face's ModernBERT."""
        plain = {name: getattr(BertConfig, name) for name in _variant_names() if name not in MODERN_KEYS}
        return [
            f"{name}={json.dumps(getattr(self, name))}"
            for name, value in {**plain, **MODERN_BLOCK}.items()
            if getattr(self, name) != value
        ]

    def modern_keys(self) -> list[str]:
        """Returns the keys, with their values, by which the network differs from those of google-research."""
        names = (*_modern_names(), "electra")
        values = [f"{name}={json.dumps(getattr(self, name))}" for name in names if first_set(self, name)]
        return values if self.type_vocab_size else [*values, "type_vocab_size=0"]

    def is_global(self, layer: int) -> bool:
        """Returns whether the attention of a layer, counted from 0, reaches the whole sequence."""
        return self.local_attention is None or layer % self.global_attn_every_n_layers == 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "model configuration") -> BertConfig:
        """Returns the configuration of a JSON object, in the form of google-research/bert or Hugging Face.

        Args:
          values: the object; with `model_type`, keys have Hugging Face's meaning.
          source: the name of the file, for messages.

        Raises:
          MorphbertError: a key is unknown (the message names the nearest known one), `vocab_size` is missing, or the
            values describe no model that is computed here.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if values.get("model_type") == "modernbert":
            return cls(**from_modern_bert(values, source))
        for key in values:
            if key not in known and key not in _FOREIGN_KEYS:
                near = difflib.get_close_matches(key, known, 1, cutoff=0.5)
                hint = f" Did you mean {near[0]!r}?" if near else f" Known keys: {', '.join(sorted(known))}."
                raise MorphbertError(f"{source}: unknown key {key!r}.{hint}")
        if "vocab_size" not in values:
            raise MorphbertError(f"{source}: vocab_size is missing: the number of lines of your vocab.txt.")
        if values.get("ln_type", "postln") != "postln":
            raise MorphbertError(f"{source}: ln_type is {values['ln_type']!r}; only 'postln' is supported.")
        if values.get("electra") is not None:
            values = {"pooler": False, "next_sentence_head": False, **values}
        if "model_type" in values:
            values = from_hugging_face(values, source)
        else:
            values = {"type_vocab_size": 16, **values}  # google-research/bert's default for its files
        return cls(**only_known(values))

    @classmethod
    def from_json_file(cls, path: str) -> BertConfig:
        """Reads a `bert_config.json` or `config.json` from any path that TensorFlow can open.

        Raises:
          MorphbertError: the file cannot be read or is not JSON, or `from_dict` refuses it.
        """
        import tensorflow as tf

        try:
            with tf.io.gfile.GFile(path, "r") as stream:
                values = load_json(stream.read())
        except tf.errors.OpError as error:
            raise MorphbertError(f"--bert_config_file: {path} cannot be read: {error.message}") from error
        except (UnicodeDecodeError, ValueError) as error:
            raise MorphbertError(f"--bert_config_file: {path} is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise MorphbertError(f"--bert_config_file: {path} holds {type(values).__name__}, not an object.")
        return cls.from_dict(values, source=path)

    @classmethod
    def from_pretrained(cls, path: str) -> BertConfig:
        """Reads the configuration of a model.

        Args:
          path: the model's folder, a JSON file, or a name of the Hugging Face Hub.

        Raises:
          MorphbertError: there is no configuration, or it describes a model that is not computed here.
        """
        path = local_path(os.fspath(path))
        if os.path.isdir(path):
            found = config_file_in(path)
            if found is None:
                raise MorphbertError(f"{path} has neither {BERT_CONFIG_NAME} nor {HUGGING_FACE_CONFIG_NAME}.")
            path = found
        return cls.from_json_file(path)

    def save_pretrained(self, folder: str) -> None:
        """Writes `bert_config.json` into a folder, for `from_pretrained` and --bert_config_file.

        `BertModel.save_pretrained` writes transformers' own `config.json`.
        """
        with atomic_write(os.path.join(folder, BERT_CONFIG_NAME)) as stream:
            stream.write(self.to_json().encode())

    def to_dict(self) -> dict[str, Any]:
        """Returns the values by key, without the keys of variants that have their defaults."""
        left_out = {name for name in _variant_names() if not first_set(self, name)}
        return {key: value for key, value in dataclasses.asdict(self).items() if key not in left_out}

    def to_json(self) -> str:
        """Returns the configuration as google-research/bert writes it: sorted keys, two spaces."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"


def _variant_names() -> list[str]:
    """Returns the keys that make a variant of BERT."""
    return [field.name for field in dataclasses.fields(BertConfig) if field.name not in _OF_BERT]


def _modern_names() -> list[str]:
    """Returns the keys each of which makes a network that google-research/bert, ALBERT and RoBERTa do not have."""
    return [name for name in _variant_names() if name not in _OF_PUBLISHED]
