"""What the smaller ONNX variants cost a trained model: masked LM on held-out records, by onnxruntime on the CPU.

    python benchmarks/onnx_variants.py CHECKPOINT RECORDS [--examples=N] [--batch=B]

CHECKPOINT is any model that `export_model.py` takes, RECORDS a file of held-out records with static masks. The
model is exported as `--format=onnx --int8 --fp16` to a temporary folder; float32, float16 and 8-bit then see the same
batches in turn. Loss and accuracy are means over the same masked pieces; "same piece" is how often a variant has
the likeliest piece of float32; the time is that of the fastest batch, as a ratio.
"""

import argparse
import itertools
import os
import tempfile
import time

import numpy as np
import onnxruntime

from morphbert.data.example_message import parse_example
from morphbert.data.records import read_records
from morphbert.interop import onnx_graph, sources

VARIANTS = ("masked_lm.onnx", "masked_lm.fp16.onnx", "masked_lm.int8.onnx")


def batches(path, size, examples):
    """Batches of records as arrays."""
    with open(path, "rb") as stream:
        rows = list(map(parse_example, itertools.islice(read_records(stream), examples)))
    for start in range(0, len(rows) - size + 1, size):
        part = rows[start : start + size]
        yield {name: np.array([row[name] for row in part]) for name in part[0]}


def figures(logits, batch):
    """Sum of the losses, right ones, and the likeliest pieces at the masked positions."""
    real = batch["masked_lm_weights"] > 0
    rows, _ = np.nonzero(real)
    picked = logits[rows, batch["masked_lm_positions"][real]].astype(np.float64)
    labels = batch["masked_lm_ids"][real]
    top = picked.max(1, keepdims=True)
    log_total = np.log(np.exp(picked - top).sum(1)) + top[:, 0]
    loss = log_total - picked[np.arange(len(labels)), labels]
    likeliest = picked.argmax(1)
    return loss.sum(), (likeliest == labels).sum(), likeliest


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("records")
    parser.add_argument("--examples", type=int, default=512)
    parser.add_argument("--batch", type=int, default=16)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        onnx_graph.write(folder, sources.read(arguments.checkpoint).completed(), int8=True, fp16=True)
        paths = {name: os.path.join(folder, name) for name in VARIANTS}
        sizes = {name: os.path.getsize(path) for name, path in paths.items()}
        sessions = {name: onnxruntime.InferenceSession(path) for name, path in paths.items()}
        loss, right, same = (dict.fromkeys(VARIANTS, 0.0) for _ in range(3))
        fastest = {name: float("inf") for name in VARIANTS}
        masked = 0
        for batch in batches(arguments.records, arguments.batch, arguments.examples):
            names = ("input_ids", "input_mask", "segment_ids")
            feed = dict(
                zip(("input_ids", "attention_mask", "token_type_ids"), (batch[n] for n in names), strict=True)
            )
            exact = None
            for name, session in sessions.items():
                start = time.perf_counter()
                (logits,) = session.run(["logits"], feed)
                fastest[name] = min(fastest[name], time.perf_counter() - start)
                losses, hits, likeliest = figures(logits, batch)
                exact = likeliest if exact is None else exact
                loss[name] += losses
                right[name] += hits
                same[name] += (likeliest == exact).sum()
            masked += len(exact)
    print(f"{masked:,} masked pieces of {arguments.records}")
    print("| file | MB | masked LM loss | right | same piece as float32 | time against float32 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in VARIANTS:
        print(
            f"| {name} | {sizes[name] / 1e6:.1f} | {loss[name] / masked:.4f} | {right[name] / masked:.2%} | "
            f"{same[name] / masked:.2%} | {fastest[name] / fastest[VARIANTS[0]]:.2f} |"
        )


if __name__ == "__main__":
    main()
