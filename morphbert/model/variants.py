"""The keys of a configuration that make a variant of BERT, the combinations of them that are no model, and the
variants that plugins register.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

from morphbert.errors import MorphbertError
from morphbert.plugins import Registry

if TYPE_CHECKING:
    import tensorflow as tf

    from morphbert.model.config import BertConfig
    from morphbert.model.dropout import DropoutKeys
    from morphbert.model.layers import Parameters
    from morphbert.model.names import BlockNames
    from morphbert.model.parameters import Parameter
    from morphbert.model.views import View


class Variant(Protocol):
    """The block of a model whose configuration names it as `variant`."""

    def parameters(
        self, names: BlockNames, config: BertConfig, usual: Mapping[str, Parameter]
    ) -> Mapping[str, Parameter]:
        """Returns the weights of one block by name.

        Args:
          names: the modules of the block; names of further weights begin with one of them.
          config: the model's configuration.
          usual: the weights of the block that the configuration describes without `variant`.
        """

    def block(
        self,
        parameters: Parameters,
        names: BlockNames,
        config: BertConfig,
        hidden: tf.Tensor,
        view: View,
        keys: DropoutKeys,
    ) -> tf.Tensor:
        """Returns the output of one block, [B, L, H]; `morphbert.model.encoder.transformer_block` is the usual one.

        Args:
          parameters: the model's weights by name, in the dtype to compute in.
          names: the modules of the block.
          config: the model's configuration.
          hidden: the input, [B, L, H].
          view: the positions that each position attends to, and their rotary angles, for `encoder.self_attention`.
          keys: the dropout; `keys.dropout_add(update, residual, rate)` adds the result of a sub-layer to its input.
        """


VARIANTS: Registry[Variant] = Registry("model variant", "variant")

_Class = TypeVar("_Class", bound=type)


def register_model(name: str) -> Callable[[_Class], _Class]:
    """Returns a decorator that registers a class as the block of models with `"variant": NAME` in their configuration.

    Args:
      name: the name, of letters, digits and `_`. `morphbert.model.variants.Variant` describes the class's methods.

    Raises:
      UsageError: the name is taken.
    """
    return VARIANTS.decorator(name, lambda kind: kind())


def first_set(config: BertConfig, *names: str) -> str | None:
    """Returns the first of the keys whose value is not the default, plain BERT's; None if all have it."""
    return next((name for name in names if getattr(config, name) != getattr(type(config), name)), None)


def check(config: BertConfig) -> None:
    """Refuses combinations of keys that are no model.

    Raises:
      MorphbertError: names the keys, and says which to change.
    """
    _check_albert(config)
    _check_electra(config)
    _check_modern(config)
    if config.variant is not None:
        VARIANTS.get(config.variant, "the model configuration")


def _check_albert(config: BertConfig) -> None:
    """Refuses combinations of ALBERT's keys that are no model."""
    groups, layers = config.num_hidden_groups, config.num_hidden_layers
    if groups is None:
        for name in ("embedding_size", "inner_group_num"):
            if first_set(config, name) and (config.electra is None or name != "embedding_size"):
                electra = ' For an ELECTRA, set electra to "discriminator" or "generator" instead.'
                raise MorphbertError(
                    f"model configuration: {name} is ALBERT's, and num_hidden_groups is missing: 1 for one set of "
                    f"weights in all layers, or {layers} for weights of each layer's own."
                    f"{electra if name == 'embedding_size' else ''}"
                )
        return
    if layers % groups:
        raise MorphbertError(
            f"model configuration: num_hidden_layers {layers} is not divisible by num_hidden_groups {groups}: "
            "every group is in equally many layers."
        )
    if config.position_offset:
        raise MorphbertError(
            "model configuration: position_offset together with num_hidden_groups: no ALBERT has this key. "
            "Leave one of the two out."
        )


def _check_electra(config: BertConfig) -> None:
    """Refuses combinations of ELECTRA's keys that are no model."""
    if config.electra is None:
        return
    problem = None
    if config.num_hidden_groups is not None:
        problem = (
            f"num_hidden_groups {config.num_hidden_groups} is ALBERT's, and the layers of an ELECTRA share no "
            "weights: leave num_hidden_groups or electra out"
        )
    elif config.position_offset:
        problem = (
            f"position_offset {config.position_offset} is RoBERTa's, and an ELECTRA counts its positions from 0: "
            "leave position_offset or electra out"
        )
    elif config.next_sentence_head:
        problem = (
            "next_sentence_head is true, and an ELECTRA is trained without the task: set it to false, or leave "
            "electra out"
        )
    elif config.pooler:
        problem = "pooler is true, and an ELECTRA has none: set pooler to false, or leave electra out"
    if problem:
        raise MorphbertError(f"model configuration: electra is {config.electra!r}: {problem}.")


def _check_modern(config: BertConfig) -> None:
    """Refuses combinations of the modern block's keys that are no model."""
    size, window = config.hidden_size // config.num_attention_heads, config.local_attention
    rotary = config.position_embedding_type == "rotary"
    problem = None
    if rotary and size % 2:
        problem = (
            f"position_embedding_type rotary turns the dimensions of a head in pairs, and hidden_size "
            f"{config.hidden_size} with num_attention_heads {config.num_attention_heads} gives {size} of them: choose "
            "sizes that give an even number"
        )
    elif rotary and config.position_offset:
        problem = (
            "position_offset counts rows of the table of learned positions, and position_embedding_type rotary "
            "has no table: leave one of the two out"
        )
    elif not rotary and (name := first_set(config, "global_rope_theta", "local_rope_theta")):
        problem = f'{name} is of rotary positions: set position_embedding_type to "rotary", or leave it out'
    elif window is None and config.global_attn_every_n_layers != 1:
        problem = (
            f"global_attn_every_n_layers is {config.global_attn_every_n_layers}, and local_attention, the window of "
            "the other layers, is missing: give both or neither"
        )
    elif window is not None and config.global_attn_every_n_layers == 1:
        problem = (
            f"local_attention is {window}, and with global_attn_every_n_layers 1 no layer would use it: give 2 or "
            "more, as ModernBERT 3, or leave local_attention out"
        )
    elif window is not None and window > config.max_position_embeddings:
        problem = (
            f"local_attention {window} is wider than max_position_embeddings {config.max_position_embeddings}: "
            "narrow the window, or leave local_attention and global_attn_every_n_layers out for global attention"
        )
    elif config.embedding_norm and not config.pre_layer_norm:
        problem = (
            "embedding_norm goes with pre_layer_norm; without that, the embeddings have a norm in any case: leave "
            "it out"
        )
    elif not config.pooler and config.electra is None and config.embedding_width != config.hidden_size:
        problem = (
            f"without pooler, tasks read the masked LM's head, which is as wide as the embeddings: embedding_size "
            f"{config.embedding_size} must be hidden_size {config.hidden_size} then"
        )
    elif config.next_sentence_head and not config.pooler:
        problem = (
            "next_sentence_head reads [CLS] through the pooler, and pooler is false: set next_sentence_head to "
            "false, or pooler to true"
        )
    if problem:
        raise MorphbertError(f"model configuration: {problem}.")
