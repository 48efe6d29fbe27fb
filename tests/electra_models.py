"""Small networks of an ELECTRA for several test files."""

from samples import GOLDEN, write_random_model
from variants import DISCRIMINATOR, GENERATOR

from morphbert.model.config import BertConfig

SMALL = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 48, "max_position_embeddings": 64, "type_vocab_size": 2}
VOCABULARY = GOLDEN / "vocab_ko.txt"


def config_of(network=DISCRIMINATOR, **changes):
    return BertConfig(**{**SMALL, **network, **changes})


def write_networks(root):
    """Writes a discriminator and a generator in our own format; returns their folder."""
    write_random_model(root / "discriminator", VOCABULARY, **DISCRIMINATOR)
    write_random_model(root / "generator", VOCABULARY, **GENERATOR, intermediate_size=32)
    return root
