"""ELECTRA's pretraining: a generator replaces pieces, and a discriminator tells which (Clark et al. 2020, section 2).

The generator is a masked LM, usually narrower. Its samples take the places of the masks, and the discriminator says of
each piece whether it is replaced. Both read the embeddings of the discriminator. Axes as in `encoder` and `losses`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.model import kernels
from morphbert.model.config import BertConfig
from morphbert.model.encoder import NO_DROPOUT, EncoderInputs, ForwardPass, encode
from morphbert.model.heads import discriminator_logits, masked_lm_scores
from morphbert.model.kernels.hashing import hashed, numbered, shape_of
from morphbert.model.kernels.sampling import sample
from morphbert.model.layers import Parameters
from morphbert.model.losses import DENOMINATOR_EPSILON, Batch, example_weights
from morphbert.model.names import EMBEDDINGS, MASKED_LM, TRANSFORM, TRANSFORM_NORM, WORD_EMBEDDINGS
from morphbert.model.parameters import Parameter, pretraining_parameters

SUMS = (
    "masked_lm_loss",
    "masked_lm_correct",
    "discriminator_loss",
    "discriminator_correct",
    "replaced",
    "replaced_found",
    "replaced_said",
)
COUNTS = ("masked_lm", "pieces")
# The beginnings of names in a checkpoint of both networks.
GENERATOR = "generator/"
GENERATOR_HEAD = "generator_predictions/"
DISCRIMINATOR_HEAD = "discriminator_predictions/"
# With disentangled gradients: the generator's table, and the difference of the discriminator's.
GENERATOR_TABLE = GENERATOR + WORD_EMBEDDINGS.removeprefix("bert/")
TABLE_DIFFERENCE = f"{WORD_EMBEDDINGS}_difference"
# The generator's configuration, beside the discriminator's `bert_config.json`.
GENERATOR_CONFIG = "generator_config.json"
# The feature of a batch that decides the samples: see `draw_keys`.
DRAW_KEYS = "draw_keys"
# A generator's own names → those in a checkpoint of both networks (google-research/electra).
GENERATOR_NAMES = {
    f"{EMBEDDINGS}/": f"{EMBEDDINGS}/",  # shared
    "bert/": GENERATOR,
    f"{TRANSFORM}/": f"{GENERATOR_HEAD}dense/",
    f"{TRANSFORM_NORM}/": f"{GENERATOR_HEAD}LayerNorm/",
    f"{MASKED_LM}/output_bias": f"{GENERATOR_HEAD}output_bias",
}


@dataclasses.dataclass(frozen=True)
class Electra:
    """The settings of the objective beyond the discriminator's configuration.

    Attributes:
      generator: the configuration of the generator.
      discriminator_weight: λ, by which the discriminator's loss is multiplied; 50 in the paper.
      disentangles: whether the discriminator's word embeddings are the generator's, without their gradient, plus a
        table of differences (DeBERTaV3: He et al. 2021, section 3.2); otherwise both networks share one table.
    """

    generator: BertConfig
    discriminator_weight: float = 50.0
    disentangles: bool = False


def discriminator_of(config: BertConfig, origin: str) -> BertConfig:
    """Returns the discriminator with a model's encoder: without pooler and without the head for next sentences.

    Raises:
      MorphbertError: the configuration is a generator's, or an ALBERT's or RoBERTa's; `origin` says where it was given.
    """
    if config.electra == "generator":
        raise MorphbertError(
            f"{origin} describes the generator of an ELECTRA: give the discriminator's configuration; the generator's "
            "is --generator_config_file."
        )
    return dataclasses.replace(config, electra="discriminator", pooler=False, next_sentence_head=False)


def generator_of(discriminator: BertConfig, size: float) -> BertConfig:
    """Returns a generator `size` times as wide as its discriminator, with as many layers and the same embeddings.

    Its heads are as wide as the discriminator's, as far as its width holds one of them.
    """
    width = max(1, round(discriminator.hidden_size * size))
    heads = max(1, width * discriminator.num_attention_heads // discriminator.hidden_size)
    return dataclasses.replace(
        discriminator,
        electra="generator",
        embedding_size=discriminator.embedding_width,
        hidden_size=width // (2 * heads) * 2 * heads or heads,
        num_attention_heads=heads,
        intermediate_size=max(1, round(discriminator.intermediate_size * size)),
    )


def check_generator(generator: BertConfig, discriminator: BertConfig, origin: str) -> None:
    """Refuses a generator that cannot read its discriminator's embeddings, or is wider than it.

    Raises:
      MorphbertError: the message names the value that does not fit; `origin` is its source.
    """
    for name in ("vocab_size", "type_vocab_size", "max_position_embeddings", "position_embedding_type"):
        own, other = getattr(generator, name), getattr(discriminator, name)
        if own != other:
            raise MorphbertError(
                f"{origin}: {name} is {own} in the generator and {other} in the discriminator, and both share their "
                "embeddings: give the same."
            )
    if generator.embedding_width != discriminator.embedding_width:
        raise MorphbertError(
            f"{origin}: the generator's embeddings are {generator.embedding_width} wide and the discriminator's "
            f"{discriminator.embedding_width}, and both share them: set embedding_size to "
            f"{discriminator.embedding_width} in the generator."
        )
    if generator.hidden_size > discriminator.hidden_size:
        raise MorphbertError(
            f"{origin}: the generator is {generator.hidden_size} wide and its discriminator "
            f"{discriminator.hidden_size}: a generator that is better than its discriminator leaves it nothing to "
            "learn. Give one of a quarter to a half of its width (--generator_size=0.25)."
        )


def name_in_both(name: str, disentangles: bool = False) -> str:
    """Returns the name beside a discriminator of a generator's weight."""
    if disentangles and name == WORD_EMBEDDINGS:
        return GENERATOR_TABLE
    for own, there in GENERATOR_NAMES.items():
        if name.startswith(own):
            return there + name.removeprefix(own)
    return GENERATOR + name


def electra_parameters(
    discriminator: BertConfig, generator: BertConfig, disentangles: bool = False
) -> dict[str, Parameter]:
    """Returns the weights of both networks, the embeddings once, or the word embeddings as table and difference."""
    parameters = pretraining_parameters(discriminator)
    if disentangles:
        table = parameters.pop(WORD_EMBEDDINGS)
        difference = dataclasses.replace(table, initial="zeros", hugging_face=None)
        parameters = {TABLE_DIFFERENCE: difference, **parameters}
    for name, parameter in pretraining_parameters(generator).items():
        if (there := name_in_both(name, disentangles)) not in parameters:
            part = f"generator's {parameter.part}"
            parameters[there] = dataclasses.replace(parameter, part=part, hugging_face=None)
    return parameters


def with_whole_tables(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Returns weights by name, arrays or tensors, with the discriminator's whole word embeddings.

    They replace their difference from the generator's.
    """
    whole = dict(weights)
    if TABLE_DIFFERENCE in whole:
        whole[WORD_EMBEDDINGS] = whole[GENERATOR_TABLE] + whole.pop(TABLE_DIFFERENCE)
    return whole


def with_differences(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the inverse of `with_whole_tables`; a generator without its own table gets the discriminator's."""
    divided = dict(weights)
    if WORD_EMBEDDINGS in divided:
        table = divided.pop(WORD_EMBEDDINGS)
        divided.setdefault(GENERATOR_TABLE, table)
        divided[TABLE_DIFFERENCE] = table - divided[GENERATOR_TABLE]
    return divided


def draw_keys(input_ids: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns the keys of a batch's samples, a function of the seed and a row's pieces, not of its place there.

    So the samples are the same however a batch is divided among replicas and parts.

    Args:
      input_ids: int32 [B, L].
      seed: int32 [2].

    Returns:
      int32 [B, 2], see `kernels.sampling.sample`.
    """
    words = tf.random.stateless_uniform([3], seed, minval=None, maxval=None, dtype=tf.uint32)
    columns = numbered(shape_of(input_ids[:1]), words[0])
    pieces = hashed(columns, tf.bitcast(input_ids, tf.uint32))
    rows = tf.reduce_sum(tf.cast(hashed(pieces, words[1]), tf.int64), 1)
    rows = tf.cast(tf.bitwise.bitwise_and(rows, tf.constant(2**32 - 1, tf.int64)), tf.uint32)
    shared = tf.broadcast_to(words[2], tf.shape(rows))
    return tf.bitcast(tf.stack([rows, shared], 1), tf.int32)


def corrupted(batch: Batch, drawn: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Puts samples where the masks are.

    Args:
      batch: with masks.
      drawn: int32 [B, P], a piece for each mask.

    Returns:
      int32 [B, L], the pieces, and float32 [B, L], 1 where a piece is not the original one. A sample that is the
      original piece counts as original.
    """
    ids, positions = batch["input_ids"], batch["masked_lm_positions"]
    real = tf.cast(batch["masked_lm_weights"] > 0, tf.int32)  # the places that no mask takes point at [CLS]
    rows = tf.broadcast_to(tf.range(tf.shape(ids)[0])[:, None], tf.shape(positions))
    places = tf.stack([rows, positions], -1)
    masked = tf.gather(ids, positions, batch_dims=1)
    changed = tf.tensor_scatter_nd_add(ids, places, (drawn - masked) * real)
    differs = tf.cast(drawn != batch["masked_lm_ids"], tf.int32) * real
    replaced = tf.scatter_nd(places, differs, tf.shape(ids))
    return tf.ensure_shape(changed, ids.shape), tf.cast(tf.ensure_shape(replaced, ids.shape), tf.float32)


def counts(batch: Batch) -> dict[str, tf.Tensor]:
    """Returns the denominators of a batch: number of masks, and of pieces that the discriminator judges."""
    return {
        "masked_lm": tf.reduce_sum(batch["masked_lm_weights"]),
        "pieces": tf.reduce_sum(_judged(batch)),
    }


def _judged(batch: Batch) -> tf.Tensor:
    """float32 [B, L], 1 for each piece that the discriminator judges: not for padding."""
    return tf.cast(batch["input_mask"], tf.float32) * example_weights(batch)[:, None]


def electra_sums(
    parameters: Parameters,
    discriminator: BertConfig,
    networks: Electra,
    batch: Batch,
    forward: ForwardPass = NO_DROPOUT,
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Returns losses and right answers of both networks, summed over the batch.

    Args:
      parameters: weights by the names of `electra_parameters`, in the dtype to compute in.
      discriminator: its configuration.
      networks: the generator, and what both networks share.
      batch: as for `losses.pretraining_sums`, with `draw_keys`.
      forward: dropout and recomputation.

    Returns:
      float32 scalars `SUMS`: cross entropies in nats, and counts of right answers, of replaced pieces, of those that
      the discriminator found, and of all that it said were replaced; and which predictions of the generator are right,
      float32 [B, P].
    """
    generator, disentangles, key = networks.generator, networks.disentangles, forward.dropout_key
    first, second = (
        forward
        if key is None
        else forward._replace(dropout_key=tf.random.experimental.stateless_fold_in(key, number))
        for number in (1, 2)
    )
    own = {name: parameters[name_in_both(name, disentangles)] for name in pretraining_parameters(generator)}
    looked_up, scored = kernels.both_uses(own[WORD_EMBEDDINGS])
    table = looked_up
    if disentangles:
        table = tf.stop_gradient(own[WORD_EMBEDDINGS]) + parameters[TABLE_DIFFERENCE]
    inputs = EncoderInputs.of(batch)
    hidden = encode({**own, WORD_EMBEDDINGS: looked_up}, generator, inputs, first)
    scores, bias = masked_lm_scores(
        {**own, WORD_EMBEDDINGS: scored}, generator, hidden, batch["masked_lm_positions"]
    )
    weights, labels = (tf.reshape(batch[name], [-1]) for name in ("masked_lm_weights", "masked_lm_ids"))
    losses, right = kernels.cross_entropy(scores, bias, labels)

    ids, replaced = corrupted(batch, sample(scores, bias, batch[DRAW_KEYS]))
    replaced_inputs = inputs._replace(input_ids=ids)
    told = encode({**parameters, WORD_EMBEDDINGS: table}, discriminator, replaced_inputs, second)
    logits = discriminator_logits(parameters, discriminator, told)
    judged = _judged(batch)
    of_pieces = tf.nn.sigmoid_cross_entropy_with_logits(labels=replaced, logits=logits)
    said = tf.cast(logits > 0.0, tf.float32)
    values = (
        losses * weights,
        right * weights,
        of_pieces * judged,
        tf.cast(said == replaced, tf.float32) * judged,
        replaced * judged,
        said * replaced * judged,
        said * judged,
    )
    sums = {name: tf.reduce_sum(value) for name, value in zip(SUMS, values, strict=True)}
    return sums, tf.reshape(right, tf.shape(batch["masked_lm_ids"]))


def total_loss(
    sums: Mapping[str, tf.Tensor], denominators: Mapping[str, tf.Tensor], discriminator_weight: float
) -> tf.Tensor:
    """Returns the generator's loss, a mean over the masks, + λ times the discriminator's, a mean over the pieces."""
    masked_lm = sums["masked_lm_loss"] / (denominators["masked_lm"] + DENOMINATOR_EPSILON)
    told = tf.math.divide_no_nan(sums["discriminator_loss"], denominators["pieces"])
    return masked_lm + discriminator_weight * told


def averages(totals: Mapping[str, float], discriminator_weight: float) -> dict[str, float]:
    """Sums and counts over any number of batches → figures.

    Returns:
      `loss`, the generator's `masked_lm_loss` and `masked_lm_accuracy`, the discriminator's `discriminator_loss` and
      `discriminator_accuracy`, and of the replaced pieces their share of all (`replaced_share`), the share that the
      discriminator found (`replaced_recall`) and, of the pieces that it called replaced, the share that was
      (`replaced_precision`, 0 where it said so of none).
    """
    masked_lm, pieces = totals["masked_lm"] + DENOMINATOR_EPSILON, max(totals["pieces"], 1.0)
    values = {
        "masked_lm_loss": totals["masked_lm_loss"] / masked_lm,
        "masked_lm_accuracy": totals["masked_lm_correct"] / masked_lm,
        "discriminator_loss": totals["discriminator_loss"] / pieces,
        "discriminator_accuracy": totals["discriminator_correct"] / pieces,
        "replaced_share": totals["replaced"] / pieces,
        "replaced_recall": totals["replaced_found"] / max(totals["replaced"], 1.0),
        "replaced_precision": totals["replaced_found"] / max(totals["replaced_said"], 1.0),
    }
    loss = values["masked_lm_loss"] + discriminator_weight * values["discriminator_loss"]
    return {"loss": loss, **values}
