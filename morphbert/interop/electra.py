"""The two networks of an ELECTRA in one checkpoint, by google-research/electra's names.

`electra/…` (`bert/…` in checkpoints of this program) and `discriminator_predictions/…` are the discriminator,
`generator/…` and `generator_predictions/…` the generator. The generator has no separate embeddings where it shares
those of the discriminator, and no separate layers where it shares all weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from morphbert.errors import MorphbertError
from morphbert.interop.pretrained import Pretrained
from morphbert.model.config import BertConfig
from morphbert.model.electra import (
    DISCRIMINATOR_HEAD,
    GENERATOR,
    GENERATOR_HEAD,
    GENERATOR_NAMES,
    name_in_both,
)
from morphbert.model.names import EMBEDDINGS, MASKED_LM

# The generator's head as that of a masked LM here → in a checkpoint of both networks.
_HEAD = {here: there for here, there in GENERATOR_NAMES.items() if there.startswith(GENERATOR_HEAD)}


def holds_both(names: Iterable[str]) -> bool:
    """Returns whether weights are those of both networks."""
    return any(name.startswith((GENERATOR, GENERATOR_HEAD)) for name in names)


def is_electra(names: Collection[str]) -> bool:
    """Returns whether weights are those of a discriminator, alone or beside its generator."""
    return holds_both(names) or any(name.startswith(DISCRIMINATOR_HEAD) for name in names)


def of_network(
    weights: Mapping[str, np.ndarray], config: BertConfig, source: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Divides the weights of a checkpoint into those of the network that a configuration describes, and the others.

    Args:
      weights: by their names in the checkpoint, the encoder under `bert/`.
      config: of the discriminator, of the generator, or of a model that is no ELECTRA.
      source: where they are, for messages.

    Returns:
      The weights of that network by the names of a separate model, and those of the other one by their names in the
      checkpoint, without the shared ones.

    Raises:
      MorphbertError: the checkpoint is an ELECTRA's and the configuration is not, or the network is not in it.
    """
    both = holds_both(weights)
    discriminates = any(name.startswith(DISCRIMINATOR_HEAD) for name in weights)
    if config.electra is None:
        if both or discriminates:
            raise MorphbertError(
                f'{source} is an ELECTRA, and its configuration does not say so: add "electra": "discriminator" to the '
                'configuration, or "electra": "generator" with the sizes of the generator.'
            )
        return dict(weights), {}
    if config.electra == "discriminator":
        head = sorted(name for name in weights if name.startswith(f"{MASKED_LM}/"))
        if head and not discriminates:
            raise MorphbertError(
                f"{source} is a masked LM or the generator of an ELECTRA (it has {head[0]}), and the configuration "
                "describes a discriminator: give the discriminator, or the configuration of this checkpoint."
            )
        others = {n: v for n, v in weights.items() if n.startswith((GENERATOR, GENERATOR_HEAD))}
        return {name: value for name, value in weights.items() if name not in others}, others
    if both:
        return _generator(weights)
    if discriminates:
        raise MorphbertError(
            f"{source} is the discriminator of an ELECTRA alone, and the configuration describes a generator: give the "
            "generator, or the configuration of this checkpoint."
        )
    return dict(weights), {}


def _generator(
    weights: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns the generator of a checkpoint of both, with its shared embeddings and layers, and the discriminator."""
    own_layers = any(name.startswith(f"{GENERATOR}encoder/") for name in weights)
    here = {there: ours for ours, there in _HEAD.items()}
    found, others = {}, {}
    for name, value in weights.items():
        if name.startswith(GENERATOR):
            found[f"bert/{name.removeprefix(GENERATOR)}"] = value
        elif name.startswith(GENERATOR_HEAD):
            found[_renamed(name, here)] = value
        elif name.startswith("bert/"):
            of_embeddings = name.startswith(f"{EMBEDDINGS}/")
            own = f"{GENERATOR}{name.removeprefix('bert/')}" in weights if of_embeddings else own_layers
            if own:
                others[name] = value
            else:
                found[name] = value
        else:
            others[name] = value
    return found, others


def generator_of(model: Pretrained) -> Pretrained | None:
    """Returns the generator of a checkpoint of both networks that was read as the discriminator, None if unknown."""
    if model.generator_config is None:
        return None
    weights, others = of_network(
        {**model.weights, **model.other_network}, model.generator_config, model.source
    )
    return dataclasses.replace(
        model,
        config=model.generator_config,
        weights=weights,
        other_network=others,
        generator_config=None,
        left_over=describe_others(others, model.generator_config),
    )


def chosen(model: Pretrained, network: str | None) -> Pretrained:
    """Returns the network that `--electra_network` names, of a model as it was read.

    Raises:
      MorphbertError: there is no such network, or its configuration is not known.
    """
    if network in (None, model.config.electra):
        return model
    found = generator_of(model)
    if network == "generator" and found is not None:
        return found
    if network == "generator" and model.other_network:
        remedy = (
            f"does not say the sizes of its {network}: give --bert_config_file, the {network}'s configuration"
        )
    elif model.other_network:
        remedy = f"was read as its {model.config.electra}, as --bert_config_file says: leave that out"
    else:
        remedy = f"holds no {network}: leave the flag out, or give the checkpoint or folder of the {network}"
    raise MorphbertError(f"--electra_network={network}: {model.source} {remedy}.")


def joined_checkpoint(model: Pretrained, slots: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns what google-research/electra's checkpoint has: both networks where `model` is from one of both.

    Args:
      model: one network of an ELECTRA.
      slots: the optimizer's, by the names of the checkpoint that `model` is from.
    """
    if not model.other_network:
        return joined({**model.weights, **slots}, model.config)
    own: Mapping[str, np.ndarray] = model.weights
    if model.config.electra == "generator":
        own = _beside(model.weights, model.other_network)
    return by_their_names({**own, **model.other_network, **slots})


def _beside(weights: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns a generator by its names in the checkpoint that it was divided from, of which `others` are the rest.

    Weights that are not among the others are shared: embeddings one by one, the layers all or none.
    """
    shares_layers = not any(name.startswith("bert/encoder/") for name in others)

    def there(name: str) -> str:
        if not name.startswith("bert/"):
            return name_in_both(name)
        shared = name not in others if name.startswith(f"{EMBEDDINGS}/") else shares_layers
        return name if shared else GENERATOR + name.removeprefix("bert/")

    return {there(name): value for name, value in weights.items()}


def joined(weights: Mapping[str, np.ndarray], config: BertConfig) -> dict[str, np.ndarray]:
    """Returns a separate network by its names in google-research/electra's checkpoint of both.

    The embeddings are `electra/embeddings`, which both networks share.
    """
    if config.electra == "discriminator":
        return by_their_names(weights)
    return by_their_names({name_in_both(name): value for name, value in weights.items()})


def beside_discriminator(
    weights: Mapping[str, np.ndarray], disentangles: bool = False
) -> dict[str, np.ndarray]:
    """Returns a generator by its names in a checkpoint of both networks, without the embeddings that both share."""
    named = {name_in_both(name, disentangles): value for name, value in weights.items()}
    return {name: value for name, value in named.items() if not name.startswith(f"{EMBEDDINGS}/")}


def by_their_names(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights of a checkpoint of both networks, whose encoder of the discriminator is `electra/` there."""
    return {_renamed(name, {"bert/": "electra/"}): value for name, value in weights.items()}


def _renamed(name: str, beginnings: Mapping[str, str]) -> str:
    for here, there in beginnings.items():
        if name.startswith(here):
            return there + name.removeprefix(here)
    return name


def describe_others(others: Mapping[str, np.ndarray], config: BertConfig) -> tuple[str, ...]:
    """Describes the weights of the other network for the list of weights that were not taken."""
    other = "generator" if config.electra == "discriminator" else "discriminator"
    return (f"{len(others)} weights of the {other}",) if others else ()
