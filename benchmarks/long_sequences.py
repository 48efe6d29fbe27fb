"""Measures the cost of length: processor time and memory of a training step, with local and with global attention.

    python benchmarks/long_sequences.py --model=modern-mini --lengths=512,2048,8192 --output=out/long.md

Every row has the same number of pieces (`--pieces`) in a step, so sequences are fewer where they are longer. Each is
measured in a process of its own: the processor time of a step is the lowest of `--steps` after the first, which is
traced and compiled; memory is the highest that the process held, less the memory before the first step. Processor time
is used because it depends less on the other work of the machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from training import sizes, training_step

# Every how many layers one is global, `None` for the configuration's own number. The first layer is global in any case.
ATTENTIONS = {"as configured": None, "local in all layers but the first": 1000, "global in all layers": 1}


def _held(name: str) -> int:
    """Bytes of this process: `VmHWM` at most so far, `VmRSS` now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise SystemExit(f"/proc/self/status has no {name}: this benchmark needs Linux")


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Takes the steps of one row of the table."""
    from morphbert import quiet_tensorflow

    quiet_tensorflow.load()
    import numpy as np
    import tensorflow as tf

    from morphbert.model.config import BertConfig
    from morphbert.train.step_config import StepConfig

    values = sizes(arguments)
    if arguments.every:
        values["global_attn_every_n_layers"] = arguments.every
        values["local_attention"] = None if arguments.every == 1 else values["local_attention"]
    settings = StepConfig(dtype=arguments.dtype, recompute=arguments.recompute)
    step = training_step(BertConfig(**values), settings)[0]
    rows, masks = arguments.pieces // arguments.length, int(0.15 * arguments.length)
    random = np.random.default_rng(1)
    ids = random.integers(5, arguments.vocab_size, [rows, arguments.length]).astype(np.int32)
    places = np.sort(np.argsort(random.random(ids.shape))[:, :masks]).astype(np.int32)
    batch = {
        "input_ids": ids,
        "input_mask": np.ones_like(ids),
        "segment_ids": np.zeros_like(ids),
        "masked_lm_positions": places,
        "masked_lm_ids": np.take_along_axis(ids, places, 1),
        "masked_lm_weights": np.ones([rows, masks], np.float32),
    }
    iterator = iter(tf.data.Dataset.from_tensors(batch).repeat())
    before, seconds = _held("VmRSS"), []
    for _ in range(arguments.steps + 1):
        start = time.process_time()
        step.run(iterator, tf.constant(1))[0].numpy()
        seconds.append(time.process_time() - start)
    return {"seconds": min(seconds[1:]), "bytes": _held("VmHWM") - before}


def table(arguments: argparse.Namespace) -> str:
    """Measures all rows; a row that ends in an error, such as for want of memory, says so."""
    lines = [
        "| attention | recompute | length | processor time of 1,000 pieces | memory |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name, every in ATTENTIONS.items():
        for recompute in (False, True):
            for length in arguments.lengths.split(","):
                command = [sys.executable, __file__, *sys.argv[1:], f"--length={length}"]
                command += [f"--every={every}"] * bool(every) + ["--recompute"] * recompute
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                cells = "failed | "
                if done.returncode == 0:
                    found = json.loads(done.stdout.splitlines()[-1])
                    milliseconds = 1e6 * found["seconds"] / arguments.pieces
                    cells = f"{milliseconds:.0f} ms | {found['bytes'] / 1e9:.2f} GB"
                lines.append(f"| {name} | {'yes' if recompute else 'no'} | {int(length):,} | {cells} |")
                print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures, and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="modern-mini", help="a name in morphbert/model/configs")
    parser.add_argument("--lengths", default="512,2048,8192")
    parser.add_argument("--pieces", type=int, default=8192, help="pieces in a step")
    parser.add_argument("--vocab_size", type=int, default=8000)
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--steps", type=int, default=2, help="steps after the first")
    parser.add_argument("--output", help="file for the table")
    for name in ("length", "every"):
        parser.add_argument(f"--{name}", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--recompute", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.length:
        print(json.dumps(measure(arguments)))
        return
    words = table(arguments)
    if arguments.output:
        Path(arguments.output).write_text(words, encoding="utf-8")


if __name__ == "__main__":
    main()
