"""A larger model from a smaller one, as ModernBERT-large began (Warner et al. 2024, arXiv:2412.13663).

Each matrix of the smaller model stands in the middle of the larger one's, which is filled by repeating it to all sides
(Phi's tiling, from the middle); new layer i begins as old layer round(i × old / new) (Rae et al. 2021, "Gopher").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from morphbert.errors import MorphbertError
from morphbert.model import names as weight_names
from morphbert.model.config import BertConfig
from morphbert.model.names import BlockNames, layer_blocks

# The keys that may grow, and those that do not affect shapes or are adapted elsewhere.
_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
_FREE = (
    *("vocab_size", "max_position_embeddings", "position_offset", "initializer_range"),
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "next_sentence_head", "pooler"),
)
# For each index of a new axis, that of the old one.
_Index = npt.NDArray[np.int64]


def grows(old: BertConfig, new: BertConfig) -> bool:
    """Whether one of the sizes of the new model is larger than the old one's; of an ALBERT, more layers have the same
    weights.
    """
    names = (
        _SIZES if old.num_hidden_groups is None else [name for name in _SIZES if name != "num_hidden_layers"]
    )
    return any(getattr(new, name) > getattr(old, name) for name in names)


def grown(
    weights: Mapping[str, np.ndarray], old: BertConfig, new: BertConfig, source: str
) -> tuple[dict[str, np.ndarray], str]:
    """Weights for a model that is larger in width, in depth or in both, and a line about how they were made.

    Args:
      weights: of the smaller model, by name; those of heads may be missing. Vocabulary and positions are the new ones.
      old: its configuration.
      new: that of the larger one.
      source: where they are from, for messages.

    Raises:
      MorphbertError: the models differ in more than their sizes, one of these falls, or the width of the heads changes.
    """
    _check(old, new, source)
    axes = _Axes(old, new)
    layers = [
        min(round(index * old.num_hidden_layers / new.num_hidden_layers), old.num_hidden_layers - 1)
        for index in range(new.num_hidden_layers)
    ]
    modules = dict(axes.outside_of_layers())
    origins = {name: name for name in modules}
    before, after = layer_blocks(old), layer_blocks(new)
    for index, origin in enumerate(layers):
        for ours, theirs in zip(after[index], before[origin], strict=True):
            for (name, module), (other, _) in zip(axes.of_block(ours), axes.of_block(theirs), strict=True):
                modules[name], origins[name] = module, other
    replaced = _all_modules(before, axes)
    found = {name: value for name, value in weights.items() if name.rpartition("/")[0] not in replaced}
    for name, (rows, columns) in modules.items():
        of_kind: dict[str, tuple[_Index, ...]] = {"kernel": (rows, columns)}
        of_kind |= dict.fromkeys(("bias", "gamma", "beta"), (columns,))
        for kind, taken in of_kind.items():
            if (value := weights.get(f"{origins[name]}/{kind}")) is not None:
                found[f"{name}/{kind}"] = value[np.ix_(*taken)]
    for table in (
        weight_names.WORD_EMBEDDINGS,
        weight_names.POSITION_EMBEDDINGS,
        weight_names.SEGMENT_EMBEDDINGS,
    ):
        if table in found:
            found[table] = found[table][:, axes.embedding]
    output = f"{weight_names.NEXT_SENTENCE}/output_weights"
    if output in found:
        found[output] = found[output][:, axes.hidden]
    return found, (
        f"{_in_words(old)} grown to {_in_words(new)}: matrices repeated from their middle, layers from "
        f"{' '.join(str(layer) for layer in layers)}"
    )


def _check(old: BertConfig, new: BertConfig, source: str) -> None:
    compared = [field.name for field in dataclasses.fields(BertConfig) if field.name not in (*_SIZES, *_FREE)]
    different = [name for name in compared if getattr(old, name) != getattr(new, name)]
    smaller = [name for name in _SIZES if getattr(new, name) < getattr(old, name)]
    problem = None
    if different:
        name = different[0]
        problem = f"{name} is {getattr(old, name)} there and {getattr(new, name)} in --bert_config_file"
    elif smaller:
        name = smaller[0]
        problem = f"{name} falls from {getattr(old, name)} to {getattr(new, name)}, while others grow"
    elif old.variant is not None:
        problem = f"its block is the variant {old.variant!r} of a plugin"
    elif old.num_hidden_groups is not None:
        problem = "its layers share their weights (ALBERT)"
    else:
        heads = [config.hidden_size // config.num_attention_heads for config in (old, new)]
        if heads[0] != heads[1]:
            problem = (
                f"its heads are {heads[0]} wide and those of --bert_config_file {heads[1]}: only whole heads can be "
                "added"
            )
    if problem:
        raise MorphbertError(
            f"--init_checkpoint={source} is a smaller model, and it cannot grow into that of --bert_config_file: "
            f"{problem}. Change the configuration, or start from another model."
        )


class _Axes:
    """Maps each axis of the larger model to the places in the smaller one's."""

    def __init__(self, old: BertConfig, new: BertConfig):
        self.hidden = _from_middle(old.hidden_size, new.hidden_size)
        # Embeddings with a separate width keep it.
        self.embedding = self.hidden if old.embedding_size is None else np.arange(old.embedding_size)
        self.mapping = weight_names.mapping_name(old)
        self.inner = _from_middle(old.intermediate_size, new.intermediate_size)
        self.first = (
            np.concatenate([self.inner, old.intermediate_size + self.inner]) if old.mlp_gate else self.inner
        )
        size = old.hidden_size // old.num_attention_heads
        heads = _from_middle(old.num_attention_heads, new.num_attention_heads)
        self.heads = (heads[:, None] * size + np.arange(size)).reshape(-1)

    def outside_of_layers(self) -> Iterator[tuple[str, tuple[_Index, _Index]]]:
        """Module → rows and columns of its kernel; its vectors have the columns."""
        for name in (weight_names.FINAL_NORM, weight_names.POOLER, weight_names.DISCRIMINATOR):
            yield name, (self.hidden, self.hidden)
        for name in (weight_names.EMBEDDING_NORM, weight_names.TRANSFORM_NORM):
            yield name, (self.embedding, self.embedding)
        yield self.mapping, (self.embedding, self.hidden)
        yield weight_names.TRANSFORM, (self.hidden, self.embedding)
        yield weight_names.DISCRIMINATOR_SCORE, (self.hidden, np.arange(1))

    def of_block(self, names: BlockNames) -> Iterator[tuple[str, tuple[_Index, _Index]]]:
        """Yields the same for the modules of a block."""
        for part in ("query", "key", "value"):
            yield names.projection(part), (self.hidden, self.heads)
        yield names.attention_output, (self.heads, self.hidden)
        yield names.attention_norm, (self.hidden, self.hidden)
        yield names.intermediate, (self.hidden, self.first)
        yield names.output, (self.inner, self.hidden)
        yield names.output_norm, (self.hidden, self.hidden)


def _from_middle(old: int, new: int) -> _Index:
    """3 → 7: 1 2 0 1 2 0 1, the old ones in the middle and over and over to both sides."""
    return (np.arange(new) - (new - old) // 2) % old


def _all_modules(blocks: list[list[BlockNames]], axes: _Axes) -> set[str]:
    return {name for layer in blocks for block in layer for name, _ in axes.of_block(block)} | {
        name for name, _ in axes.outside_of_layers()
    }


def _in_words(config: BertConfig) -> str:
    return f"{config.num_hidden_layers} layers of {config.hidden_size}"
