"""The reference: Hugging Face's BertForPreTraining with our weights, and batches for both sides."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from morphbert.model.config import BertConfig
from morphbert.model.losses import pretraining_sums, total_loss
from morphbert.model.parameters import in_dtype, pretraining_parameters

CONFIG = BertConfig(
    vocab_size=97,
    hidden_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=80,
    max_position_embeddings=40,
    type_vocab_size=2,
)


def random_batch(seed, batch=6, length=24, predictions=5, config=CONFIG):
    """Sequences of different lengths with different numbers of masks, as records have them."""
    random = np.random.default_rng(seed)
    rows = {
        name: []
        for name in (
            "input_ids",
            "input_mask",
            "segment_ids",
            "masked_lm_positions",
            "masked_lm_ids",
            "masked_lm_weights",
        )
    }
    for _ in range(batch):
        size, masks = int(random.integers(8, length + 1)), int(random.integers(1, predictions + 1))
        pad, gap = [0] * (length - size), [0] * (predictions - masks)
        rows["input_ids"].append(random.integers(1, config.vocab_size, size).tolist() + pad)
        rows["input_mask"].append([1] * size + pad)
        rows["segment_ids"].append([0] * (size // 2) + [1] * (size - size // 2) + pad)
        rows["masked_lm_positions"].append(sorted(random.choice(size, masks, replace=False).tolist()) + gap)
        rows["masked_lm_ids"].append(random.integers(1, config.vocab_size, masks).tolist() + gap)
        rows["masked_lm_weights"].append([1.0] * masks + [0.0] * len(gap))
    rows["next_sentence_labels"] = random.integers(0, 2, [batch, 1]).tolist()
    return {n: tf.constant(v, tf.float32 if n.endswith("weights") else tf.int32) for n, v in rows.items()}


HUGGING_FACE_PARTS = (
    ("bert/embeddings/word_embeddings", "bert.embeddings.word_embeddings.weight"),
    ("bert/embeddings/token_type_embeddings", "bert.embeddings.token_type_embeddings.weight"),
    ("bert/embeddings/position_embeddings", "bert.embeddings.position_embeddings.weight"),
    ("cls/predictions/output_bias", "cls.predictions.bias"),
    ("cls/seq_relationship/output_weights", "cls.seq_relationship.weight"),
    ("cls/seq_relationship/output_bias", "cls.seq_relationship.bias"),
)


def hugging_face_name(name):
    """Our name → (name of the torch parameter, whether the matrix is transposed there)."""
    for ours, theirs in HUGGING_FACE_PARTS:
        if name == ours:
            return theirs, False
    parts = name.replace("layer_", "layer.").replace("/", ".")
    for ours, theirs in (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")):
        parts = parts.replace(ours, theirs)
    return parts.replace(".kernel", ".weight"), name.endswith("kernel")


def hugging_face_model(weights, config=CONFIG):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    values = dataclasses.asdict(config)
    values["hidden_act"] = "gelu_new"  # the tanh form, by the name it has there
    model = transformers.BertForPreTraining(transformers.BertConfig(**values, attn_implementation="eager"))
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in weights.items():
            theirs, transposed = hugging_face_name(name)
            parameters[theirs].copy_(torch.tensor(value.T.copy() if transposed else value))
    return model.eval()


def hugging_face_inputs(batch):
    import torch

    return {
        ours: torch.tensor(batch[theirs].numpy().astype(np.int64))
        for ours, theirs in (
            ("input_ids", "input_ids"),
            ("attention_mask", "input_mask"),
            ("token_type_ids", "segment_ids"),
        )
    }


def hugging_face_losses(model, batch):
    """Both losses of the reference, taken over the masked positions and the pairs."""
    import torch

    outputs = model(**hugging_face_inputs(batch))
    positions = torch.tensor(batch["masked_lm_positions"].numpy().astype(np.int64))
    rows = torch.arange(positions.shape[0])[:, None]
    logits = outputs.prediction_logits[rows, positions]
    real = torch.tensor(batch["masked_lm_weights"].numpy()) > 0
    labels = torch.tensor(batch["masked_lm_ids"].numpy().astype(np.int64))
    cross_entropy = torch.nn.functional.cross_entropy
    masked_lm = cross_entropy(logits[real], labels[real])
    next_labels = torch.tensor(batch["next_sentence_labels"].numpy()[:, 0].astype(np.int64))
    return (
        logits,
        outputs.seq_relationship_logits,
        masked_lm,
        cross_entropy(outputs.seq_relationship_logits, next_labels),
    )


def bfloat16_gradients(config, weights, denominators):
    """A compiled function of rows to the gradients of the total loss, which is computed in bfloat16."""
    declared = pretraining_parameters(config)

    @tf.function
    def gradients(rows):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            sums = pretraining_sums(in_dtype(weights, declared, "bfloat16"), config, rows)
            loss = total_loss(sums, denominators)
        return {name: tf.convert_to_tensor(g) for name, g in tape.gradient(loss, weights).items()}

    return gradients
