"""Query, key and value: three matrix products, or one with the three weights joined in each step.

    python benchmarks/projections.py [--rounds=12]

Forward and backward of the projections and of the split into heads, 32 × 128 pieces, at the widths of BERT-mini and
BERT-base. The two take turns; the output is medians and their ratio. Weights stay apart, so that checkpoints
keep their names: joining them, and parting their gradients, is part of the time.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

_BATCH, _LENGTH, _HEAD = 32, 128, 64


def three(rows: tf.Tensor, kernels: Sequence[tf.Tensor], biases: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """[B L, H] → three of [B L, H]."""
    return [tf.nn.bias_add(tf.matmul(rows, k), b) for k, b in zip(kernels, biases, strict=True)]


def joined(rows: tf.Tensor, kernels: Sequence[tf.Tensor], biases: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The same from one product of [B L, H] and [H, 3 H]."""
    return tf.split(tf.nn.bias_add(tf.matmul(rows, tf.concat(kernels, 1)), tf.concat(biases, 0)), 3, 1)


def step_of(project: Callable[..., list[tf.Tensor]], width: int, dtype: str) -> Callable[[], object]:
    """One forward and backward pass."""
    random = np.random.default_rng(1)
    rows = tf.constant(random.normal(size=(_BATCH * _LENGTH, width)), dtype)
    weights = [tf.constant(random.normal(size=(width, width)) * 0.02, tf.float32) for _ in range(3)]
    weights += [tf.zeros([width])] * 3

    @tf.function
    def step(rows: tf.Tensor, weights: list[tf.Tensor]) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([rows, *weights])
            cast = [tf.cast(weight, dtype) for weight in weights]
            parts = project(rows, cast[:3], cast[3:])
            heads = [
                tf.transpose(tf.reshape(part, [_BATCH, _LENGTH, width // _HEAD, _HEAD]), [0, 2, 1, 3])
                for part in parts
            ]
            loss = tf.add_n([tf.reduce_sum(head * head) for head in heads])
        return tape.gradient(loss, [rows, *weights])

    return lambda: step(rows, weights)[-1].numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    for width in (256, 768):
        for dtype in ("float32", "bfloat16"):
            steps = [step_of(project, width, dtype) for project in (three, joined)]
            seconds: list[list[float]] = [[], []]
            for turn in range(rounds + 2):
                for step, taken in zip(steps, seconds, strict=True):
                    started = time.perf_counter()
                    step()
                    if turn > 1:  # the first two compile and warm up
                        taken.append(time.perf_counter() - started)
            apart, one = map(statistics.median, seconds)
            print(
                f"{width} {dtype}: three {apart * 1e3:.1f} ms, one {one * 1e3:.1f} ms, {one / apart:.2f} × the time"
            )


if __name__ == "__main__":
    main()
