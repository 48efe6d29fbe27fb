"""The cost of a step: floating-point operations of its matrix products, counted from the shapes."""

from __future__ import annotations

from morphbert.model.config import BertConfig


def forward_flops(config: BertConfig, batch: int, length: int, predictions: int) -> int:
    """Operations of one forward pass of pretraining: a product of [m, k] and [k, n] has 2 m k n.

    Only matrix products are counted, as is usual (Kaplan et al. 2020, section 2.1; Chowdhery et al. 2022, appendix
    B): the operations between them are less than a hundredth of it. Padding is computed and so counted.

    Args:
      config: the model.
      batch: sequences, B.
      length: positions of a sequence, L.
      predictions: masked positions of a sequence, P, which alone get scores of all V pieces.
    """
    rows, width, inner = batch * length, config.hidden_size, config.intermediate_size
    projections = 4 * 2 * rows * width * width  # query, key, value, output
    feed_forward = (3 if config.mlp_gate else 2) * 2 * rows * width * inner
    picked, narrow = batch * predictions, config.embedding_width
    heads = 2 * picked * narrow * (width + config.vocab_size)
    if not config.has_masked_lm:  # a discriminator's head scores every piece
        heads = 2 * rows * width * (width + 1)
    if config.next_sentence_head:
        heads += 2 * batch * width * (width + 2)
    if narrow != width:  # the embeddings of ALBERT and ELECTRA are brought to the layers' width
        heads += 2 * rows * narrow * width
    layers = sum(
        projections
        + feed_forward
        + 2 * 2 * rows * keys_of(config, layer, length) * width  # scores, weighted sum
        for layer in range(config.num_hidden_layers)
    )
    return config.inner_group_num * layers + heads


def keys_of(config: BertConfig, layer: int, length: int) -> int:
    """Returns the number of keys that a query of a layer sees, at most, in a sequence of `length`."""
    if config.local_attention is None or config.is_global(layer):
        return length
    return min(length, 2 * (config.local_attention // 2) + 1)


def step_flops(config: BertConfig, batch: int, length: int, predictions: int) -> int:
    """Operations of a training step: of the forward pass, and twice that for the gradients by inputs and weights.

    Recomputed layers are not counted: the cost is that of the necessary operations.
    """
    return 3 * forward_flops(config, batch, length, predictions)
