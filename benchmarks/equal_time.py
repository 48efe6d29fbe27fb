"""Trains recipes for the same time: records, the time of a step, and as many steps as fit.

Runs are those of create_pretraining_data.py and run_pretraining.py, each on one core. The time of a step is measured
first, from the fastest ten steps in a row, and the number of steps follows from it, so that other work of the machine
changes nothing. A result that is in results.json is not computed again, and a training that was stopped goes on from
its last tenth.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
BATCH, LENGTH, PREDICTIONS = 16, 128, 20
# Steps of the run that takes the time of one: it is saved at its end alone.
_TIMED = 60
# A recipe that is tuned by itself has these rates unless it says others.
RATES = (5e-4, 1e-3, 2e-3, 4e-3)
NO_DROPOUT = ("--hidden_dropout_prob=0", "--attention_probs_dropout_prob=0")


@dataclasses.dataclass(frozen=True)
class Records:
    """Flags of create_pretraining_data.py, and the places for masks of a record."""

    flags: Sequence[str]
    places: int = PREDICTIONS


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A way to train: its changes of the modern configuration, the flags of training, and its records.

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


def parser_of(description: str | None, minutes: float) -> argparse.ArgumentParser:
    """Returns the flags of every benchmark of equal time; `minutes` is the default time of a run."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input_file", required=True, help="text, as create_pretraining_data.py takes it")
    parser.add_argument("--vocab_file", required=True, help="a vocabulary folder")
    parser.add_argument("--model", default="tiny", choices=("tiny", "mini", "small", "base"))
    parser.add_argument("--minutes", type=float, default=minutes, help="training time of a run")
    parser.add_argument("--seeds", default="1,2,3", type=numbers(int))
    parser.add_argument("--workers", type=int, default=2, help="runs at once, one core each")
    parser.add_argument("--output", required=True, help="folder of records, runs and results")
    return parser


def numbers(kind: type) -> Callable[[str], list[Any]]:
    """Returns a function that reads values of a flag, divided by commas."""
    return lambda words: [kind(word) for word in words.split(",")]


class Bench:
    """The runs of one benchmark, in its output folder."""

    def __init__(
        self, arguments: argparse.Namespace, recipes: Mapping[str, Recipe], records: Mapping[str, Records]
    ):
        self._arguments = arguments
        self._recipes = recipes
        self._records = records
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
        for kind, made in self._records.items():
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
                f"--max_predictions_per_seq={made.places}",
                *("--eval_fraction=0.02", "--dupe_factor=1"),
            ]
            self.command("create_pretraining_data.py", [*command, *made.flags], folder / "log")

    def command(self, program: str, flags: Sequence[str], log: Path, core: int | None = None) -> None:
        """Runs a command of the repository, its words in `log`."""
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
        recipe = self._recipes[name]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self._config(recipe)))
        flags = [
            *(
                "--do_train",
                f"--bert_config_file={folder / 'config.json'}",
                f"--output_dir={folder / 'model'}",
            ),
            f"--input_file={self.folder / 'records' / recipe.records / 'train.tfrecord'}",
            f"--max_predictions_per_seq={self._records[recipe.records].places}",
            *(
                f"--train_batch_size={BATCH}",
                f"--num_train_steps={steps}",
                f"--num_warmup_steps={steps // 10}",
            ),
            *(f"--learning_rate={rate}", f"--optimizer={recipe.optimizer}", f"--seed={seed}"),
            *("--dtype=bfloat16", f"--save_checkpoints_steps={max(_TIMED, steps // 10)}", *recipe.flags),
            *(() if recipe.dropout else NO_DROPOUT),
            f"--log_steps={10 if steps <= _TIMED else 100}",
        ]
        self.command("run_pretraining.py", flags, folder / "log", core)

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
        self.command("run_pretraining.py", flags, folder / "log", core)
        lines = [json.loads(line) for line in (folder / "model" / "metrics.jsonl").read_text().splitlines()]
        return float([line for line in lines if line["kind"] == "eval"][-1]["masked_lm_loss"])

    def seconds_a_step(self, name: str) -> float:
        """The time of a step, from the fastest ten in a row."""
        return self.once(f"{name} time", lambda folder, core: self._timed(name, folder, core))

    def _timed(self, name: str, folder: Path, core: int) -> float:
        self.train(name, 1e-3, 0, _TIMED, folder, core)
        lines = [json.loads(line) for line in (folder / "model" / "metrics.jsonl").read_text().splitlines()]
        return 1 / max(line["steps_per_second"] for line in lines[1:] if line["kind"] == "train")

    def steps(self, name: str) -> int:
        """How many steps fit into the time."""
        return int(60 * self._arguments.minutes / self.seconds_a_step(name))

    def loss(self, name: str, rate: float, seed: int) -> float:
        """The held-out loss of a recipe after its time."""
        steps = self.steps(name)

        def result(folder: Path, core: int) -> float:
            self.train(name, rate, seed, steps, folder, core)
            return self.evaluate(name, folder, core)

        return self.once(f"{name} rate {rate:g} seed {seed}", result)

    def once(self, key: str, result: Callable[[Path, int], float]) -> float:
        """Returns the result of this key: as it was written down, or of `result(folder, core)`."""
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
        tried = {rate: f"{name} rate {rate:g} seed 0" for rate in self._recipes[name].rates}
        return min(tried, key=lambda rate: self.results.get(tried[rate], float("inf")))
