"""The contributions of a batch: sums and counts, never means.

A mean over one replica's share of a batch is not the mean over the batch as soon as shares hold different
numbers of masks. So everything here is a sum, to be added over micro-batches and replicas and divided once
by the count over the global batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from morphbert.model import kernels
from morphbert.model.config import BertConfig
from morphbert.model.encoder import NO_DROPOUT, EncoderInputs, ForwardPass, encode, pool
from morphbert.model.heads import masked_lm_scores, next_sentence_logits
from morphbert.model.layers import Parameters
from morphbert.model.names import WORD_EMBEDDINGS

Batch = Mapping[str, tf.Tensor]

# The values of `pretraining_sums` and `counts`, in the order in which a step reports them.
SUMS = ("masked_lm_loss", "masked_lm_correct", "next_sentence_loss", "next_sentence_correct")
COUNTS = ("masked_lm", "next_sentence")

# google-research/bert adds this to the masked LM's denominator, so that a batch without masks gives 0.
DENOMINATOR_EPSILON = 1e-5


def example_weights(batch: Batch) -> tf.Tensor:
    """Returns float32 [B]: 1 for an example, 0 for one that only fills up the last batch of an evaluation."""
    if "example_weights" in batch:
        return batch["example_weights"]
    return tf.ones(tf.shape(batch["input_ids"])[:1])


def label_weights(batch: Batch) -> tf.Tensor:
    """Returns float32 [B, E], 1 for each example that has a label of its segments; E is 1 without packing.

    Packed examples begin at their `cls_positions`; an entry after the first whose position is 0 is none.
    """
    weights = example_weights(batch)[:, None]
    if "cls_positions" not in batch:
        return weights
    exists = tf.cast(batch["cls_positions"][:, 1:] > 0, tf.float32)
    return tf.concat([weights, weights * exists], 1)


def counts(batch: Batch) -> dict[str, tf.Tensor]:
    """Returns the denominators of a batch: number of predicted positions, number of labelled sentence pairs."""
    labelled = "next_sentence_labels" in batch
    return {
        "masked_lm": tf.reduce_sum(batch["masked_lm_weights"]),
        "next_sentence": tf.reduce_sum(label_weights(batch)) if labelled else tf.constant(0.0),
    }


def pretraining_sums(
    parameters: Parameters,
    config: BertConfig,
    batch: Batch,
    forward: ForwardPass = NO_DROPOUT,
    z_loss: float = 0.0,
) -> dict[str, tf.Tensor]:
    """Loss and number of right predictions of both tasks, summed over the batch.

    Args:
      parameters: weights by name, in the dtype to compute in.
      config: the model's configuration.
      batch: the records' features: int32 [B, L] and [B, P], float32 `masked_lm_weights` [B, P], int32
        `next_sentence_labels` [B, 1], without which the sums of that task are 0. Packed ones have `sequence_ids`
        and `position_ids` [B, L], labels [B, E] and `cls_positions` [B, E] besides.
      forward: dropout and recomputation.
      z_loss: the factor of the square of ln Σ exp(scores), which it keeps near 0 (PaLM: Chowdhery et al.
        2022, section 5).

    Returns:
      float32 scalars `masked_lm_loss`, `masked_lm_correct`, `next_sentence_loss`, `next_sentence_correct`:
      cross entropy in nats, and counts; with a `z_loss` above 0 also `z_loss`.
    """
    return sums_and_right(parameters, config, batch, forward, z_loss)[0]


def sums_and_right(
    parameters: Parameters,
    config: BertConfig,
    batch: Batch,
    forward: ForwardPass = NO_DROPOUT,
    z_loss: float = 0.0,
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Returns the values of `pretraining_sums`, and which predictions are right: float32 [B, P], 1 or 0."""
    looked_up, scored = kernels.both_uses(parameters[WORD_EMBEDDINGS])
    hidden = encode({**parameters, WORD_EMBEDDINGS: looked_up}, config, EncoderInputs.of(batch), forward)
    scores, bias = masked_lm_scores(
        {**parameters, WORD_EMBEDDINGS: scored}, config, hidden, batch["masked_lm_positions"]
    )
    weights, labels = (tf.reshape(batch[name], [-1]) for name in ("masked_lm_weights", "masked_lm_ids"))
    more: dict[str, tf.Tensor] = {}
    if z_loss:
        losses, right, total = kernels.cross_entropy_and_total(scores, bias, labels)
        more["z_loss"] = z_loss * tf.reduce_sum(total * total * weights)
    else:
        losses, right = kernels.cross_entropy(scores, bias, labels)
    masked_lm_loss, masked_lm_correct = tf.reduce_sum(losses * weights), tf.reduce_sum(right * weights)
    next_loss, next_correct = tf.constant(0.0), tf.constant(0.0)
    if "next_sentence_labels" in batch:
        labels = batch["next_sentence_labels"]
        scores = next_sentence_logits(parameters, pool(parameters, hidden, batch.get("cls_positions")))
        scores = tf.reshape(scores, [-1, labels.shape[1], 2])  # [B, E, 2]
        next_loss, next_correct = _weighted_sums(scores, labels, label_weights(batch))
    sums = {
        "masked_lm_loss": masked_lm_loss,
        "masked_lm_correct": masked_lm_correct,
        "next_sentence_loss": next_loss,
        "next_sentence_correct": next_correct,
        **more,
    }
    return sums, tf.reshape(right, tf.shape(batch["masked_lm_ids"]))


def _weighted_sums(logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    right = tf.cast(tf.equal(tf.argmax(logits, -1, output_type=tf.int32), labels), tf.float32)
    return tf.reduce_sum(losses * weights), tf.reduce_sum(right * weights)


def total_loss(sums: Mapping[str, tf.Tensor], denominators: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Returns masked-LM loss + next-sentence loss, means over the global batch (google-research/bert), + z-loss."""
    of_predictions = sums["masked_lm_loss"] + sums["z_loss"] if "z_loss" in sums else sums["masked_lm_loss"]
    masked_lm = of_predictions / (denominators["masked_lm"] + DENOMINATOR_EPSILON)
    return masked_lm + tf.math.divide_no_nan(sums["next_sentence_loss"], denominators["next_sentence"])


def averages(totals: Mapping[str, float]) -> dict[str, float]:
    """Sums and counts over any number of batches → figures by google-research/bert's names.

    Returns:
      `loss`, `masked_lm_loss` (nats a prediction), `masked_lm_accuracy` and, where there are labels,
      `next_sentence_loss` and `next_sentence_accuracy`. `z_loss`, where it is among them, is not in `loss`: so losses
      of runs with and without it are comparable.
    """
    masked_lm, pairs = totals["masked_lm"] + DENOMINATOR_EPSILON, totals["next_sentence"]
    values = {
        "masked_lm_loss": totals["masked_lm_loss"] / masked_lm,
        "masked_lm_accuracy": totals["masked_lm_correct"] / masked_lm,
    }
    if "z_loss" in totals:
        values["z_loss"] = totals["z_loss"] / masked_lm
    if pairs:
        values["next_sentence_loss"] = totals["next_sentence_loss"] / pairs
        values["next_sentence_accuracy"] = totals["next_sentence_correct"] / pairs
    return {"loss": values["masked_lm_loss"] + values.get("next_sentence_loss", 0.0), **values}
