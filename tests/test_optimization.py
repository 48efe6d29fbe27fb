"""The optimizer and schedule against BERT's formulas in float64, and 50 steps against torch."""

import dataclasses
import re
import typing

import hugging_face_reference
import numpy as np
import pytest
import tensorflow as tf
from variants import VARIANTS, config_of

from morphbert.model.losses import counts, pretraining_sums, total_loss
from morphbert.model.parameters import (
    Parameter,
    TrainableModel,
    pretraining_parameters,
    replica_variable,
)
from morphbert.train.optimizers.config import ScheduledConfig
from morphbert.train.optimizers.optimizer import Optimizer, layer_scales
from morphbert.train.optimizers.rules import OPTIMIZERS
from morphbert.train.optimizers.schedules import learning_rate_at

ROLES = {"gamma": "norm_scale", "beta": "norm_shift", "bias": "bias", "output_bias": "bias"}


def declared(weights):
    """What the arrays are by the last part of their names; kernels where it says nothing else."""
    return {
        name: Parameter(weight.shape, "zeros", ROLES.get(name.rpartition("/")[2], "kernel"))
        for name, weight in weights.items()
    }


def published_rate(step, top, steps, warmup):
    """google-research/bert: polynomial decay of power 1 to 0, linear warm-up before."""
    return top * step / warmup if step < warmup else top * (1 - min(step, steps) / steps)


@pytest.mark.parametrize("warmup", [0, 1, 30])
def test_schedule_is_the_published_one(warmup):
    config = ScheduledConfig(learning_rate=1e-4, num_train_steps=100, num_warmup_steps=warmup)
    for step in (0, 1, 5, 29, 30, 31, 99, 100, 150):
        ours = float(learning_rate_at(config, tf.constant(step, tf.int64)))
        assert ours == pytest.approx(published_rate(step, 1e-4, 100, warmup), rel=1e-5, abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # At steps 0, 10 (end of the warm-up), 50, 90, 100 and 150 of 100, from 1 down to 0.2.
        ("linear", [0.0, 0.92, 0.6, 0.28, 0.2, 0.2]),
        ("polynomial", [0.0, 0.2 + 0.8 * 0.81, 0.4, 0.208, 0.2, 0.2]),
        (
            "cosine",
            [
                0.0,
                0.2 + 0.4 * (1 + np.cos(0.1 * np.pi)),
                0.6,
                0.2 + 0.4 * (1 + np.cos(0.9 * np.pi)),
                0.2,
                0.2,
            ],
        ),
        ("constant", [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("warmup_stable_decay", [0.0, 1.0, 1.0, 0.6, 0.2, 0.2]),
    ],
)
def test_schedules(schedule, expected):
    config = ScheduledConfig(
        learning_rate=1.0,
        num_train_steps=100,
        num_warmup_steps=10,
        schedule=schedule,
        end_learning_rate=0.2,
        power=2.0,
        decay_share=0.2,
    )
    rates = [
        float(learning_rate_at(config, tf.constant(step, tf.int64))) for step in (0, 10, 50, 90, 100, 150)
    ]
    assert rates == pytest.approx(expected, rel=1e-5)


def reference_updates(weights, gradients, config, steps):
    """The published formulas in float64: clip by global norm, moments, decay decoupled and by name."""
    state = {name: [np.zeros_like(w, dtype=np.float64)] * 2 for name, w in weights.items()}
    weights = {name: w.astype(np.float64) for name, w in weights.items()}
    for step in range(steps):
        norm = np.sqrt(sum((g[step].astype(np.float64) ** 2).sum() for g in gradients.values()))
        scale = config.clip_norm / max(norm, config.clip_norm)
        rate = published_rate(step, config.learning_rate, config.num_train_steps, config.num_warmup_steps)
        for name, weight in weights.items():
            gradient = gradients[name][step].astype(np.float64) * scale
            m, v = state[name]
            m = config.beta_1 * m + (1 - config.beta_1) * gradient
            v = config.beta_2 * v + (1 - config.beta_2) * gradient**2
            state[name] = [m, v]
            if config.optimizer != "adam":
                m, v = m / (1 - config.beta_1 ** (step + 1)), v / (1 - config.beta_2 ** (step + 1))
            update = m / (np.sqrt(v) + config.epsilon)
            if not any(part in name for part in ("LayerNorm", "layer_norm", "bias")):
                update = update + config.weight_decay_rate * weight
            if config.optimizer == "lamb":
                update = update * np.linalg.norm(weight) / np.linalg.norm(update)
            if config.optimizer == "stable_adamw":
                update = update / max(1.0, np.sqrt((gradient**2 / np.maximum(v, config.epsilon**2)).mean()))
            weights[name] = weight - rate * update
    return weights


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "stable_adamw", "lamb"])
def test_twenty_updates_equal_the_reference(optimizer):
    random = np.random.default_rng(0)
    shapes = {
        "a/kernel": (7, 5),
        "a/bias": (5,),
        "a/LayerNorm/gamma": (5,),
        "cls/predictions/output_bias": (9,),
    }
    weights = {name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    gradients = {
        name: random.normal(0, 0.7, (20, *shape)).astype(np.float32) for name, shape in shapes.items()
    }
    config = ScheduledConfig(
        optimizer=optimizer, learning_rate=1e-2, num_train_steps=25, num_warmup_steps=4, weight_decay_rate=0.1
    )
    variables = {name: replica_variable(tf.constant(w), name) for name, w in weights.items()}
    ours = Optimizer(config, declared(weights))
    apply = tf.function(ours.apply)
    for step in range(20):
        norm, rate = apply(variables, {name: tf.constant(g[step]) for name, g in gradients.items()})
        assert float(norm) > config.clip_norm  # or clipping would not be tested
        assert float(rate) == pytest.approx(published_rate(step, 1e-2, 25, 4), rel=1e-5)
    assert int(ours.step) == 20
    for name, expected in reference_updates(weights, gradients, config, 20).items():
        np.testing.assert_allclose(variables[name], expected, rtol=0, atol=1e-6, err_msg=name)


def test_stable_adamw_clips_an_update_whose_gradient_surges():
    """After a hundred small gradients a large one moves AdamW's weight as far as 40 usual updates together."""
    gradients = np.float32([1e-3] * 100 + [1.0])
    moved = {}
    for name in ("adamw", "stable_adamw"):
        weights = {"a/kernel": replica_variable(tf.zeros([1]), "a/kernel")}
        config = ScheduledConfig(
            optimizer=name,
            learning_rate=1.0,
            schedule="constant",
            num_warmup_steps=0,
            weight_decay_rate=0.0,
            beta_1=0.0,
        )
        optimizer = Optimizer(config, declared({"a/kernel": np.zeros(1)}))
        apply = tf.function(optimizer.apply)
        for gradient in gradients:
            before = weights["a/kernel"].numpy()
            apply(weights, {"a/kernel": tf.constant([gradient])})
        moved[name] = float(abs(weights["a/kernel"].numpy() - before)[0])
    assert moved["adamw"] > 5.0
    assert moved["stable_adamw"] == pytest.approx(1.0, rel=1e-3)


def reference_orthogonal(matrix):
    """Jordan et al. 2024: five turns of X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X, in float64."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x - 4.7750 * gram @ x + 2.0315 * gram @ gram @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def test_muon_equals_the_reference():
    """Twenty updates of hidden matrices by Muon's formulas in float64; the other weights are AdamW's."""
    random = np.random.default_rng(0)
    shapes = {
        "wide/kernel": (6, 16),
        "tall/kernel": (16, 6),
        "table": (9, 6),
        "bias": (6,),
        "head/kernel": (6, 6),
    }
    weights = {name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    gradients = {
        name: random.normal(0, 0.7, (20, *shape)).astype(np.float32) for name, shape in shapes.items()
    }
    parameters = {
        "wide/kernel": Parameter((6, 16), "zeros", "kernel", layer=1),
        "tall/kernel": Parameter((16, 6), "zeros", "kernel", layer=2),
        "table": Parameter((9, 6), "zeros", "table", layer=0),
        "bias": Parameter((6,), "zeros", "bias", layer=1),
        "head/kernel": Parameter((6, 6), "zeros", "kernel"),
    }
    config = ScheduledConfig(
        optimizer="muon", learning_rate=1e-2, num_train_steps=25, num_warmup_steps=4, weight_decay_rate=0.1
    )
    variables = {name: replica_variable(tf.constant(w), name) for name, w in weights.items()}
    ours = Optimizer(config, parameters)
    apply = tf.function(ours.apply)
    for step in range(20):
        apply(variables, {name: tf.constant(g[step]) for name, g in gradients.items()})

    norms = [
        np.sqrt(sum((g[step].astype(np.float64) ** 2).sum() for g in gradients.values()))
        for step in range(20)
    ]
    for name in ("wide/kernel", "tall/kernel"):
        weight, momentum = weights[name].astype(np.float64), np.zeros(shapes[name])
        for step in range(20):
            gradient = gradients[name][step].astype(np.float64) / max(norms[step], 1.0)
            momentum = 0.95 * momentum + gradient
            update = 0.2 * np.sqrt(16) * reference_orthogonal(gradient + 0.95 * momentum) + 0.1 * weight
            weight = weight - published_rate(step, 1e-2, 25, 4) * update
        np.testing.assert_allclose(variables[name], weight, rtol=0, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(ours.muon_m[name], momentum, rtol=0, atol=1e-6)
    assert set(ours.muon_m) == {"wide/kernel", "tall/kernel"}
    assert set(ours.adam_m) == set(ours.adam_v) == {"table", "bias", "head/kernel"}
    adamw = reference_updates(weights, gradients, dataclasses.replace(config, optimizer="adamw"), 20)
    for name in ours.adam_m:
        np.testing.assert_allclose(variables[name], adamw[name], rtol=0, atol=1e-6, err_msg=name)


def test_muon_moves_the_layers_matrices_and_no_other_weight():
    parameters = pretraining_parameters(config_of("pre_ln"))
    matrices = {name for name, p in parameters.items() if p.is_hidden_matrix}
    assert matrices == {name for name in parameters if re.search(r"/layer_\d+/.*kernel$", name)}
    assert len(matrices) == 4 * 6


@pytest.mark.parity
def test_adamw_is_torchs():
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(1)
    start, gradients = random.normal(0, 0.5, 40).astype(np.float32), random.normal(0, 0.01, (10, 40))
    config = ScheduledConfig(
        optimizer="adamw",
        learning_rate=1e-2,
        schedule="constant",
        num_warmup_steps=0,
        weight_decay_rate=0.1,
        epsilon=1e-8,
    )
    ours = {"a/kernel": replica_variable(tf.constant(start), "a/kernel")}
    theirs = torch.nn.Parameter(torch.tensor(start))
    optimizer = Optimizer(config, declared({"a/kernel": start}))
    reference = torch.optim.AdamW([theirs], lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)
    for gradient in gradients.astype(np.float32):
        optimizer.apply(ours, {"a/kernel": tf.constant(gradient)})
        theirs.grad = torch.tensor(gradient)
        reference.step()
    # Each step rounds a weight, on both sides, by half of the last of 24 bits.
    rounding = 2 * len(gradients) * 2**-24 * np.abs(start).max()
    np.testing.assert_allclose(ours["a/kernel"], theirs.detach(), rtol=0, atol=rounding)


def test_lamb_leaves_a_weight_of_zeros_its_update():
    variables = {"a/bias": replica_variable(tf.zeros(4), "a/bias")}
    config = ScheduledConfig(optimizer="lamb", learning_rate=0.1, num_warmup_steps=0, schedule="constant")
    optimizer = Optimizer(config, declared({"a/bias": np.zeros(4)}))
    optimizer.apply(variables, {"a/bias": tf.constant([0.1, -0.1, 0.2, 0.0])})
    np.testing.assert_allclose(variables["a/bias"], [-0.1, 0.1, -0.1, 0.0], atol=1e-5)


def test_layers_further_down_learn_more_slowly():
    names = [
        *("bert/embeddings/word_embeddings", "bert/embeddings/LayerNorm/beta"),
        *("bert/encoder/layer_0/output/dense/bias", "bert/encoder/layer_1/output/dense/bias"),
        *("bert/pooler/dense/kernel", "cls/predictions/output_bias"),
    ]
    parameters = pretraining_parameters(config_of("pre_ln", num_hidden_layers=2, pre_layer_norm=False))
    scales = layer_scales(parameters, 0.5)
    assert [scales[name] for name in names] == [0.125, 0.125, 0.25, 0.5, 1.0, 1.0]
    assert set(layer_scales(parameters, 1.0).values()) == {1.0}


@pytest.mark.parametrize("variant", ["bert", *VARIANTS])
def test_weight_decay_leaves_out_what_the_published_names_leave_out(variant):
    """google-research/bert asks the names for `LayerNorm`, `layer_norm` and `bias`; here the weights know it."""
    parameters = pretraining_parameters(
        hugging_face_reference.CONFIG if variant == "bert" else config_of(variant)
    )
    decayed = {name for name, p in parameters.items() if ScheduledConfig().decays(name, p)}
    assert decayed == {name for name in parameters if not re.search("LayerNorm|layer_norm|bias", name)}
    assert len(decayed) > 10
    assert not any(ScheduledConfig(weight_decay_rate=0.0).decays(*named) for named in parameters.items())


def test_a_list_that_is_given_is_of_names():
    parameters = pretraining_parameters(hugging_face_reference.CONFIG)
    config = ScheduledConfig(exclude_from_weight_decay=("layer_0/", "pool"))
    left_out = {name for name, p in parameters.items() if not config.decays(name, p)}
    assert left_out == {name for name in parameters if "layer_0/" in name or "pool" in name}


@pytest.mark.parity
def test_fifty_steps_give_the_losses_that_torch_gives():
    """Same weights, batches and Adam on both sides; the network is Hugging Face's there."""
    torch = pytest.importorskip("torch")
    config = ScheduledConfig(learning_rate=2e-3, num_train_steps=60, num_warmup_steps=5)
    batches = [hugging_face_reference.random_batch(100 + n) for n in range(5)]

    model = hugging_face_reference.CONFIG
    ours = TrainableModel(model, pretraining_parameters(model), seed=9)
    reference = hugging_face_reference.hugging_face_model(
        {n: p.numpy() for n, p in ours.parameters.items()}, hugging_face_reference.CONFIG
    )
    optimizer = Optimizer(config, ours.declared)

    @tf.function
    def step(batch):
        weights = {name: tf.convert_to_tensor(p) for name, p in ours.parameters.items()}
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = total_loss(pretraining_sums(weights, hugging_face_reference.CONFIG, batch), counts(batch))
        gradients = tape.gradient(loss, weights)
        optimizer.apply(ours.parameters, {n: tf.convert_to_tensor(g) for n, g in gradients.items()})
        return loss

    names = {hugging_face_reference.hugging_face_name(name)[0]: name for name in ours.parameters}
    parameters = {name: p for name, p in reference.named_parameters() if name in names}
    state = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in parameters.items()}

    def reference_step(number, batch):
        _, _, masked_lm, next_sentence = hugging_face_reference.hugging_face_losses(reference, batch)
        reference.zero_grad()
        (masked_lm + next_sentence).backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), config.clip_norm)
        rate = published_rate(number, config.learning_rate, config.num_train_steps, config.num_warmup_steps)
        with torch.no_grad():
            for name, p in parameters.items():
                m, v = state[name]
                m.mul_(config.beta_1).add_(p.grad, alpha=1 - config.beta_1)
                v.mul_(config.beta_2).addcmul_(p.grad, p.grad, value=1 - config.beta_2)
                update = m / (v.sqrt() + config.epsilon)
                if not any(part in names[name] for part in ("LayerNorm", "bias")):
                    update = update + config.weight_decay_rate * p
                p.sub_(rate * update)
        return (masked_lm + next_sentence).item()

    losses = []
    for number in range(50):
        batch = batches[number % len(batches)]
        losses.append((float(step(batch)), reference_step(number, batch)))
    ours_losses, reference_losses = np.array(losses).T
    np.testing.assert_allclose(ours_losses, reference_losses, rtol=0, atol=1e-4)
    assert (
        ours_losses[-5:].mean() < ours_losses[:5].mean() - 0.5
    )  # it learned, so that equality means something


def test_the_flags_names_are_those_of_the_rules():
    choices = typing.get_args(typing.get_type_hints(ScheduledConfig)["optimizer"])
    assert set(choices) == set(OPTIMIZERS)
