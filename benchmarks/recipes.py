"""Measures the parts of a recipe: every change to the modern recipe alone, trained for the same time.

    python benchmarks/recipes.py --input_file='petitions.txt,movie_reviews.txt.gz' --vocab_file=vocab/ko-mecab-8k \
        --model=tiny --minutes=1.2 --output=out/recipes

All runs are those of create_pretraining_data.py and run_pretraining.py, on one core each; `--workers` run at once.

1. Records are made for each kind of data: the same documents, 2% of them held out.
2. The time of a step of each recipe is measured in runs of 60 steps: the fastest ten steps in a row.
3. Every recipe gets as many steps as fit into `--minutes` at that speed: one with slow steps gets fewer of them.
   What else the machine does in the meantime changes nothing. Start-up, tracing and evaluation are not counted.
4. The learning rate is tuned with seed 0: of the modern recipe, of Muon and of BERT's block; the others take the modern
   recipe's. Then each recipe is trained with each of `--seeds`.
5. All are evaluated on the same held-out records: single pieces, 15% of them masked, unpacked, one segment.

A run whose result is in OUTPUT is not run again. The results are OUTPUT/results.json and OUTPUT/table.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
BATCH, LENGTH, PREDICTIONS = 16, 128, 20
# A recipe that is tuned by itself has these rates unless it says others.
RATES = (5e-4, 1e-3, 2e-3, 4e-3)
NO_DROPOUT = ("--hidden_dropout_prob=0", "--attention_probs_dropout_prob=0")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A way to train: what it changes in the modern configuration, the flags of training, and its records.

    `tuned` names the recipe whose learning rate it takes; `rates` are tried for that one.
    """

    what: str
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    flags: tuple[str, ...] = ()
    records: str = "single"
    block: str = "modern"
    tuned: str = "modern"
    rates: tuple[float, ...] = RATES
    optimizer: str = "adamw"
    dropout: bool = False


# Flags of create_pretraining_data.py. The first is what all are evaluated on.
RECORDS = {
    "single": ["--objective=none"],
    "packed": ["--objective=none", "--pack_sequences"],
    "pairs": ["--objective=nsp"],
    "eojeol": ["--objective=none", "--masking_unit=eojeol"],
    "30": ["--objective=none", "--masked_lm_prob=0.3", "--eval_masked_lm_prob=0.15"],
    "dynamic": ["--objective=none", "--masking=dynamic", "--eval_masked_lm_prob=0.15"],
    "packed-30": [
        "--objective=none",
        "--pack_sequences",
        "--masked_lm_prob=0.3",
        "--eval_masked_lm_prob=0.15",
    ],
}
# Places for masks: 15% of 128 pieces, and 30%.
PLACES = {"30": 39, "dynamic": 39, "packed-30": 39}
RECIPES = {
    "modern": Recipe("the modern recipe: RECIPE=modern, adamw, no dropout, single pieces masked, 15%"),
    "absolute": Recipe(
        "learned positions in place of rotary ones",
        {"position_embedding_type": "absolute", "max_position_embeddings": 512},
    ),
    "plain": Recipe("no gate, GELU, equal parameters", {"mlp_gate": False, "intermediate_size": 1.5}),
    "post": Recipe("norms after the layers", {"pre_layer_norm": False, "embedding_norm": False}),
    "biases": Recipe(
        "biases", dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), True)
    ),
    "global": Recipe(
        "global attention in all layers", {"global_attn_every_n_layers": 1, "local_attention": None}
    ),
    "rms": Recipe("RMSNorm", {"norm_type": "rms_norm"}),
    "dropout": Recipe(
        "dropout 0.1", {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}, dropout=True
    ),
    "packed": Recipe("packed records", records="packed"),
    "pairs": Recipe(
        "with next sentences",
        {"next_sentence_head": True, "pooler": True, "type_vocab_size": 2},
        records="pairs",
    ),
    "eojeol": Recipe("whole eojeols masked", records="eojeol"),
    "30": Recipe("30% masked", records="30"),
    "falling": Recipe(
        "30% masked, falling to 15%", flags=("--masked_lm_schedule=0.30:0.15",), records="dynamic"
    ),
    "muon": Recipe("Muon", optimizer="muon", tuned="muon", rates=(*RATES, 8e-3, 1.6e-2)),
    "ema": Recipe("mean of weights (--ema_decay=0.99)", flags=("--ema_decay=0.99",)),
    "combined": Recipe(
        "global attention, packed records, 30% masked",
        {"global_attn_every_n_layers": 1, "local_attention": None},
        records="packed-30",
    ),
    "bert": Recipe("BERT's block, no dropout", block="", tuned="bert"),
    "bert-2018": Recipe(
        "RECIPE=bert: dropout, next sentences", block="", tuned="bert", records="pairs", dropout=True
    ),
}


class Bench:
    """The runs of one benchmark, in its output folder."""

    def __init__(self, arguments: argparse.Namespace):
        self._arguments = arguments
        self.folder = Path(arguments.output)
        self._results = self.folder / "results.json"
        self.results: dict[str, dict[str, float]] = (
            json.loads(self._results.read_text()) if self._results.exists() else {}
        )
        self._lock = threading.Lock()
        self._cores = sorted(os.sched_getaffinity(0))[: arguments.workers]
        self._free = list(self._cores)

    def make_records(self) -> None:
        """Makes the records that are not there."""
        for kind, flags in RECORDS.items():
            folder = self.folder / "records" / kind
            if (folder / "train.tfrecord.manifest.json").exists():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            command = [
                f"--input_file={self._arguments.input_file}",
                f"--vocab_file={self._arguments.vocab_file}",
                f"--token_store={self.folder / 'records' / 'token_store'}",
                f"--output_file={folder / 'train.tfrecord'}",
                f"--eval_output_file={folder / 'eval.tfrecord'}",
                f"--max_seq_length={LENGTH}",
                f"--max_predictions_per_seq={PLACES.get(kind, PREDICTIONS)}",
                *("--eval_fraction=0.02", "--dupe_factor=1"),
            ]
            self._command("create_pretraining_data.py", [*command, *flags], folder / "log")

    def _command(self, program: str, flags: list[str], log: Path, core: int | None = None) -> None:
        pinned = [] if core is None else ["taskset", "-c", str(core)]
        with log.open("a") as words:
            status = subprocess.run(
                [*pinned, sys.executable, str(REPOSITORY / program), *flags], stdout=words, stderr=words
            ).returncode
        if status:
            sys.exit(f"{program} failed: see {log}")

    def _config(self, recipe: Recipe) -> dict[str, Any]:
        name = f"{recipe.block}-{self._arguments.model}".strip("-")
        values = json.loads((REPOSITORY / "morphbert" / "model" / "configs" / f"{name}.json").read_text())
        vocabulary = Path(self._arguments.vocab_file) / "vocab.txt"
        values["vocab_size"] = len(vocabulary.read_text(encoding="utf-8").splitlines())
        changes = dict(recipe.changes)
        if (
            "intermediate_size" in changes
        ):  # relative: a gate has three matrices where the plain layer has two
            changes["intermediate_size"] = int(values["intermediate_size"] * changes["intermediate_size"])
        return {**values, **changes}

    def train(self, name: str, rate: float, seed: int, steps: int, folder: Path, core: int) -> None:
        """Trains one model."""
        recipe = RECIPES[name]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self._config(recipe)))
        flags = [
            *(
                "--do_train",
                f"--bert_config_file={folder / 'config.json'}",
                f"--output_dir={folder / 'model'}",
            ),
            f"--input_file={self.folder / 'records' / recipe.records / 'train.tfrecord'}",
            f"--max_predictions_per_seq={PLACES.get(recipe.records, PREDICTIONS)}",
            *(
                f"--train_batch_size={BATCH}",
                f"--num_train_steps={steps}",
                f"--num_warmup_steps={steps // 10}",
            ),
            *(f"--learning_rate={rate}", f"--optimizer={recipe.optimizer}", f"--seed={seed}"),
            *("--dtype=bfloat16", f"--save_checkpoints_steps={10**6}", *recipe.flags),
            *(() if recipe.dropout else NO_DROPOUT),
            f"--log_steps={10 if steps <= 60 else 100}",
        ]
        self._command("run_pretraining.py", flags, folder / "log", core)

    def evaluate(self, name: str, folder: Path, core: int) -> float:
        """Returns the loss on the records that all are evaluated on, in nats a prediction."""
        flags = [
            *(
                "--do_eval",
                f"--bert_config_file={folder / 'config.json'}",
                f"--output_dir={folder / 'model'}",
            ),
            f"--input_file={self.folder / 'records' / 'single' / 'eval.tfrecord'}",
            f"--max_predictions_per_seq={PREDICTIONS}",
            *("--eval_batch_size=16", f"--max_eval_steps={self._arguments.eval_steps}"),
        ]
        self._command("run_pretraining.py", flags, folder / "log", core)
        lines = [json.loads(line) for line in (folder / "model" / "metrics.jsonl").read_text().splitlines()]
        return float([line for line in lines if line["kind"] == "eval"][-1]["masked_lm_loss"])

    def seconds_a_step(self, name: str) -> float:
        """The time of a step, from the fastest ten in a row."""
        return self._once(f"{name} time", lambda folder, core: self._timed(name, folder, core))

    def _timed(self, name: str, folder: Path, core: int) -> float:
        self.train(name, 1e-3, 0, 60, folder, core)
        lines = [json.loads(line) for line in (folder / "model" / "metrics.jsonl").read_text().splitlines()]
        return 1 / max(line["steps_per_second"] for line in lines[1:] if line["kind"] == "train")

    def loss(self, name: str, rate: float, seed: int) -> float:
        """The held-out loss of a recipe after its time."""
        steps = int(60 * self._arguments.minutes / self.seconds_a_step(name))

        def result(folder: Path, core: int) -> float:
            self.train(name, rate, seed, steps, folder, core)
            return self.evaluate(name, folder, core)

        return self._once(f"{name} rate {rate:g} seed {seed}", result)

    def _once(self, key: str, result: Any) -> float:
        if key not in self.results:
            with self._lock:
                core = self._free.pop()
            folder = self.folder / "runs" / key.replace(" ", "_")
            try:
                value = result(folder, core)
            finally:
                with self._lock:
                    self._free.append(core)
            with self._lock:
                self.results[key] = value
                self._results.write_text(json.dumps(self.results, indent=1))
                print(f"{key}: {value:.4f}", flush=True)
        return self.results[key]

    def in_parallel(self, function: Any, calls: list[tuple[Any, ...]]) -> list[Any]:
        """The results of the calls, as many at once as there are workers."""
        with ThreadPoolExecutor(len(self._cores)) as pool:
            return [future.result() for future in [pool.submit(function, *call) for call in calls]]

    def best_rate(self, name: str) -> float:
        """Returns the rate with the lowest loss of those tried with seed 0."""
        tried = {rate: f"{name} rate {rate:g} seed 0" for rate in RECIPES[name].rates}
        return min(tried, key=lambda rate: self.results.get(tried[rate], float("inf")))


def table(bench: Bench, names: list[str], seeds: list[int], minutes: float) -> str:
    """One line a recipe: steps, loss of each seed, mean, difference from the modern recipe."""

    def losses(name: str) -> list[float]:
        rate = bench.best_rate(RECIPES[name].tuned)
        return [bench.results[f"{name} rate {rate:g} seed {seed}"] for seed in seeds]

    reference = statistics.mean(losses("modern"))
    lines = [
        "| change | rate | ms a step | steps | held-out loss, mean (seeds) | difference |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in names:
        own, time = losses(name), bench.results[f"{name} time"]
        each = ", ".join(f"{loss:.3f}" for loss in own)
        lines.append(
            f"| {RECIPES[name].what} | {bench.best_rate(RECIPES[name].tuned):g} | {1e3 * time:.0f} | "
            f"{int(60 * minutes / time)} | {statistics.mean(own):.3f} ({each}) | "
            f"{statistics.mean(own) - reference:+.3f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs what is missing, and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input_file", required=True, help="text, as create_pretraining_data.py takes it")
    parser.add_argument("--vocab_file", required=True, help="a vocabulary folder")
    parser.add_argument("--model", default="tiny", choices=("tiny", "mini", "small", "base"))
    parser.add_argument("--minutes", type=float, default=2, help="training time of a run")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--only", default=",".join(RECIPES), help="recipes")
    parser.add_argument("--workers", type=int, default=2, help="runs at once, one core each")
    parser.add_argument("--eval_steps", type=int, default=100, help="held-out batches of 16")
    parser.add_argument("--output", required=True, help="folder of records, runs and results")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    names = list(dict.fromkeys(["modern", *arguments.only.split(",")]))  # all are compared with it
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    bench.make_records()
    bench.in_parallel(bench.seconds_a_step, [(name,) for name in names])
    tuned = dict.fromkeys(RECIPES[name].tuned for name in names)
    bench.in_parallel(bench.loss, [(name, rate, 0) for name in tuned for rate in RECIPES[name].rates])
    # One seed of all, then the next: what is stopped early has fewer seeds, not fewer recipes.
    runs = [(name, bench.best_rate(RECIPES[name].tuned), seed) for seed in seeds for name in names]
    bench.in_parallel(bench.loss, runs)
    words = table(bench, names, seeds, arguments.minutes)
    (bench.folder / "table.md").write_text(words, encoding="utf-8")
    print(words)


if __name__ == "__main__":
    main()
