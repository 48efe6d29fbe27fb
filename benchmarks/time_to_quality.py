"""How good a model is after so many minutes of training: ours beside Hugging Face transformers on PyTorch.

    python create_pretraining_data.py --objective=none --vocab_file=vocab/ko-mecab-8k --max_seq_length=128 \
        --input_file='corpus/*.txt' --output_file=train.tfrecord --eval_fraction=0.05 --eval_output_file=eval.tfrecord
    python benchmarks/time_to_quality.py --train_file=train.tfrecord --eval_file=eval.tfrecord \
        --vocab_file=vocab/ko-mecab-8k --minutes=60 --output=out/quality

Each contestant trains models on the same records with the same masks, each in a process of its own. They take turns of
some seconds, and the clock of a contestant runs in its own turns alone, so that what else the machine does meets all
alike. Compilation and evaluation are not counted. First each of `--rates` is tried for `--tuning_minutes`; with the
one that has the lowest held-out loss, each of `--seeds` is trained for `--minutes`. After the warm-up the rate is
constant, so that every point of a curve is the result of a run of that length.

- ours: the step and the input of run_pretraining.py, BERT's block and the modern one, both without dropout.
- Hugging Face: BertForMaskedLM and ModernBertForMaskedLM, scores of the masked positions only, fused AdamW, no
  dropout, and the fastest of attention as written out or SDPA, float32 or autocast, compiled or not, timed first.

The results are OUTPUT/results.json, OUTPUT/table.md and OUTPUT/curve.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WEIGHT_DECAY, CLIP_NORM, WARMUP_STEPS = 0.01, 1.0, 100
NAMES = {
    "bert": "ours, BERT's block",
    "modern": "ours, modern block",
    "hf-bert": "HF BertForMaskedLM",
    "hf-modernbert": "HF ModernBertForMaskedLM",
}
Curve = list[tuple[float, float]]


class Contestant(Protocol):
    """A model in training."""

    choice: str

    def steps(self, count: int) -> None:
        """Takes steps."""

    def evaluate(self) -> float:
        """Returns the masked-LM loss of the held-out records, in nats a prediction."""


def model_config(arguments: argparse.Namespace, modern: bool) -> Any:
    """The configuration of one of our sizes, without dropout."""
    from morphbert.model.config import BertConfig
    from morphbert.text.loading import load_tokenizer

    name = f"modern-{arguments.model}" if modern else arguments.model
    path = REPOSITORY / "morphbert" / "model" / "configs" / f"{name}.json"
    vocab_size = len(load_tokenizer(arguments.vocab_file).vocabulary)
    changes = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "vocab_size": vocab_size}
    return BertConfig(**{**json.loads(path.read_text()), **changes})


def record_format(arguments: argparse.Namespace, vocab_size: int) -> Any:
    """The form of the records, which the file itself tells."""
    from morphbert.data.manifest import load_manifest
    from morphbert.data.records import RecordShape
    from morphbert.train.input.records import RecordFormat, find_layout

    manifest = load_manifest(arguments.train_file)
    if manifest is None:
        sys.exit(
            f"{arguments.train_file} has no manifest beside it: make it with create_pretraining_data.py."
        )
    values = json.loads(manifest.to_json())
    shape = RecordShape(values["max_seq_length"], values["max_predictions_per_seq"])
    return RecordFormat(shape, vocab_size, 2, find_layout([arguments.train_file]))


class Ours:
    """The step of run_pretraining.py over its own input."""

    choice = ""

    def __init__(self, arguments: argparse.Namespace, modern: bool):
        import tensorflow as tf

        from morphbert.model.losses import COUNTS, counts, pretraining_sums
        from morphbert.model.parameters import TrainableModel
        from morphbert.train.cluster.strategy import DeviceConfig, build_strategy, share_processors
        from morphbert.train.input.records import evaluation_dataset, training_dataset
        from morphbert.train.objective import pretraining_objective
        from morphbert.train.optimizers.optimizer import Optimizer, OptimizerConfig
        from morphbert.train.step import StepConfig, TrainingStep

        share_processors()
        config = model_config(arguments, modern)
        strategy = build_strategy(DeviceConfig()).strategy
        objective = pretraining_objective(config)
        with strategy.scope():
            model = TrainableModel(config, objective.parameters, arguments.seed)
            rate = OptimizerConfig(
                learning_rate=arguments.rate,
                schedule="constant",
                num_train_steps=10**9,
                num_warmup_steps=WARMUP_STEPS,
            )
            optimizer = Optimizer(rate, model.declared)
        step = StepConfig(dtype=arguments.dtype, seed=arguments.seed)
        self._training = TrainingStep(objective, model, optimizer, strategy, step)
        form = record_format(arguments, config.vocab_size)
        dataset = training_dataset([arguments.train_file], form, arguments.batch, arguments.seed, 10_000)
        self._iterator = iter(dataset)
        held_out = evaluation_dataset([arguments.eval_file], form, arguments.batch)
        # Whole batches: the last one may hold copies.
        self._held_out = list(held_out.take(arguments.eval_batches))[:-1]

        @tf.function(autograph=False)
        def sums(batch: dict[str, tf.Tensor]) -> tf.Tensor:
            weights = {name: tf.convert_to_tensor(value) for name, value in model.parameters.items()}
            loss = pretraining_sums(weights, config, batch)["masked_lm_loss"]
            return tf.stack([loss, counts(batch)[COUNTS[0]]])

        self._sums = sums

    def steps(self, count: int) -> None:
        import tensorflow as tf

        self._training.run(self._iterator, tf.constant(count))[0].numpy()

    def evaluate(self) -> float:
        loss, number = np.sum([self._sums(batch).numpy() for batch in self._held_out], 0)
        return float(loss / number)


class HuggingFace:
    """A model of transformers, scored at the masked positions, in the fastest of several settings."""

    def __init__(self, arguments: argparse.Namespace, modern: bool):
        import torch

        torch.manual_seed(arguments.seed)
        self._torch, self._arguments = torch, arguments
        config = model_config(arguments, modern)
        self._train, self._held_out = (
            _arrays(arguments, config.vocab_size, train) for train in (True, False)
        )
        self._order = _shuffled(len(self._train["input_ids"]), arguments.batch, arguments.seed)
        dtypes = ("float32", "bfloat16") if arguments.dtype == "bfloat16" else ("float32",)
        plain = [(attention, dtype) for attention in ("sdpa", "eager") for dtype in dtypes]
        fastest = min(plain, key=lambda setting: self._seconds(modern, config, *setting, compiled=False))
        uncompiled, compiled = (
            self._seconds(modern, config, *fastest, compiled) for compiled in (False, True)
        )
        self._setting = (*fastest, compiled < uncompiled)
        self.choice = f"{fastest[0]}, {fastest[1]}{', compiled' if compiled < uncompiled else ''}"
        torch.manual_seed(arguments.seed)
        self._build(modern, config, *self._setting)
        self._order = _shuffled(len(self._train["input_ids"]), arguments.batch, arguments.seed)
        if self._setting[-1]:
            self._compile_only()

    def _seconds(self, modern: bool, config: Any, attention: str, dtype: str, compiled: bool) -> float:
        """The shortest step of some, in one setting; infinite where this machine cannot compile it."""
        self._build(modern, config, attention, dtype, compiled)
        try:
            self.steps(2)
        except Exception as error:
            if not compiled:
                raise
            print(f"{attention}, {dtype}, compiled: {error}", file=sys.stderr)
            return float("inf")
        seconds = []
        for _ in range(6):
            started = time.perf_counter()
            self.steps(1)
            seconds.append(time.perf_counter() - started)
        return min(seconds)

    def _build(self, modern: bool, config: Any, attention: str, dtype: str, compiled: bool) -> None:
        import transformers

        torch, self._dtype = self._torch, dtype
        common = {
            "vocab_size": config.vocab_size,
            "hidden_size": config.hidden_size,
            "num_hidden_layers": config.num_hidden_layers,
            "num_attention_heads": config.num_attention_heads,
            "intermediate_size": config.intermediate_size,
            "attn_implementation": attention,
        }
        if modern:
            special = dict.fromkeys(
                ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0
            )
            made = transformers.ModernBertConfig(
                **common,
                **special,
                global_attn_every_n_layers=config.global_attn_every_n_layers,
                local_attention=config.local_attention,
            )
            model = transformers.ModernBertForMaskedLM(made)
            self._encoder, self._head = model.model, lambda hidden: model.decoder(model.head(hidden))
        else:
            made = transformers.BertConfig(
                **common, hidden_act="gelu_new", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
            )
            model = transformers.BertForMaskedLM(made)
            self._encoder, self._head = model.bert, model.cls
        self._model = model.train()
        decayed = [p for _, p in model.named_parameters() if p.ndim > 1]
        others = [p for _, p in model.named_parameters() if p.ndim == 1]
        groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=self._arguments.rate, eps=1e-6, fused=True)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: min(1.0, step / WARMUP_STEPS)
        )
        self._loss = torch.compile(self._loss_sum) if compiled else self._loss_sum

    def _compile_only(self) -> None:
        batch = {
            name: self._torch.tensor(rows[: self._arguments.batch]) for name, rows in self._train.items()
        }
        with self._precision():
            self._loss(**batch).backward()
        self._optimizer.zero_grad(set_to_none=True)

    def _precision(self) -> Any:
        return self._torch.autocast("cpu", self._torch.bfloat16, enabled=self._dtype == "bfloat16")

    def _loss_sum(self, input_ids: Any, input_mask: Any, positions: Any, labels: Any, weights: Any) -> Any:
        from torch.nn.functional import cross_entropy

        hidden = self._encoder(input_ids, attention_mask=input_mask).last_hidden_state
        rows = self._torch.arange(input_ids.shape[0])[:, None]
        scores = self._head(hidden[rows, positions])
        losses = cross_entropy(scores.flatten(0, 1).float(), labels.flatten(), reduction="none")
        return (losses * weights.flatten()).sum()

    def steps(self, count: int) -> None:
        for _ in range(count):
            rows = next(self._order)
            batch = {name: self._torch.tensor(values[rows]) for name, values in self._train.items()}
            with self._precision():
                loss = self._loss(**batch) / batch["weights"].sum()
            loss.backward()
            self._torch.nn.utils.clip_grad_norm_(self._model.parameters(), CLIP_NORM)
            self._optimizer.step()
            self._schedule.step()
            self._optimizer.zero_grad(set_to_none=True)

    def evaluate(self) -> float:
        size = self._arguments.batch
        loss = number = 0.0
        self._model.eval()
        with self._torch.no_grad():
            for first in range(0, len(self._held_out["input_ids"]), size):
                part = {
                    name: self._torch.tensor(rows[first : first + size])
                    for name, rows in self._held_out.items()
                }
                loss += float(self._loss_sum(**part))
                number += float(part["weights"].sum())
        self._model.train()
        return loss / number


def _arrays(arguments: argparse.Namespace, vocab_size: int, train: bool) -> dict[str, np.ndarray]:
    """All records of a file by what PyTorch's contestants read of them; of the held-out ones those that ours read."""
    from morphbert.train.input.records import evaluation_dataset

    form = record_format(arguments, vocab_size)
    batches = list(
        evaluation_dataset([arguments.train_file], form, arguments.batch)
        if train
        else evaluation_dataset([arguments.eval_file], form, arguments.batch).take(arguments.eval_batches)
    )
    names = {
        "input_ids": "input_ids",
        "input_mask": "input_mask",
        "positions": "masked_lm_positions",
        "labels": "masked_lm_ids",
        "weights": "masked_lm_weights",
    }
    joined = {
        ours: np.concatenate([batch[name].numpy() for batch in batches[:-1]]) for ours, name in names.items()
    }
    return {name: rows if name == "weights" else rows.astype(np.int64) for name, rows in joined.items()}


def _shuffled(number: int, batch: int, seed: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(number)
        yield from (order[first : first + batch] for first in range(0, number - batch + 1, batch))


CONTESTANTS: dict[str, Callable[[argparse.Namespace], Contestant]] = {
    "bert": lambda arguments: Ours(arguments, modern=False),
    "modern": lambda arguments: Ours(arguments, modern=True),
    "hf-bert": lambda arguments: HuggingFace(arguments, modern=False),
    "hf-modernbert": lambda arguments: HuggingFace(arguments, modern=True),
}


def contestant(arguments: argparse.Namespace) -> None:
    """A child process: `train SECONDS` trains for about so long, `evaluate` evaluates; each answers with a line."""
    answers = os.fdopen(os.dup(1), "w")  # what a library prints must not be taken for an answer
    os.dup2(2, 1)
    model = CONTESTANTS[arguments.contestant](arguments)
    if isinstance(model, Ours):
        model.steps(1)  # compiles; its update has a rate of nearly 0
    each, taken = 0.0, 0
    print(model.choice, file=answers, flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "evaluate":
            print(model.evaluate(), file=answers, flush=True)
            continue
        started, seconds = time.perf_counter(), float(words[1])
        while (left := seconds - (time.perf_counter() - started)) > 0.5 * each:
            count = max(1, round(min(left, 2.0) / each)) if each else 1
            before = time.perf_counter()
            model.steps(count)
            each, taken = (time.perf_counter() - before) / count, taken + count
        print(time.perf_counter() - started, taken, file=answers, flush=True)


class Child:
    """A contestant in its process, with its clock and its curve."""

    def __init__(self, arguments: argparse.Namespace, name: str, rate: float, seed: int):
        self.name, self.rate, self.seed = name, rate, seed
        self.seconds, self.taken = 0.0, 0
        self.curve: Curve = []
        passed = [
            f"--{flag}={getattr(arguments, flag)}"
            for flag in ("train_file", "eval_file", "vocab_file", "model", "batch", "dtype", "eval_batches")
        ]
        self._words = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `end`)
        self._process = subprocess.Popen(
            [sys.executable, __file__, *passed, f"--contestant={name}", f"--rate={rate}", f"--seed={seed}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
        )
        self.choice = self._answer()

    def _answer(self) -> str:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            self._process.wait()
            self._words.seek(0)
            sys.exit(f"{self.name} failed:\n{self._words.read()}")
        return line.strip()

    def _ask(self, words: str) -> list[float]:
        self._process.stdin.write(words + "\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        return [float(word) for word in self._answer().split()]

    def train(self, seconds: float) -> None:
        """One turn."""
        spent, taken = self._ask(f"train {seconds}")
        self.seconds += spent
        self.taken = int(taken)

    def evaluate(self) -> None:
        """Adds a point to the curve."""
        self.curve.append((self.seconds / 60, self._ask("evaluate")[0]))

    def end(self) -> None:
        """Ends the process."""
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()
        self._words.close()


def take_turns(children: list[Child], seconds: float, turn: float, points: int) -> None:
    """Trains all for so many seconds each, in turns, and evaluates them at as many points."""
    for point in range(1, points + 1):
        until = seconds * point / points
        while any(child.seconds < until - 0.2 for child in children):
            for child in children:
                if child.seconds < until - 0.2:
                    child.train(min(turn, until - child.seconds))
        for child in children:
            child.evaluate()
            print(
                f"{NAMES[child.name]}, rate {child.rate:g}, seed {child.seed}: {child.seconds / 60:.1f} minutes, "
                f"step {child.taken}, held-out loss {child.curve[-1][1]:.4f}",
                flush=True,
            )


def tuned(arguments: argparse.Namespace, names: list[str]) -> dict[str, float]:
    """The rate of each contestant with the lowest held-out loss after the tuning."""
    rates = [float(rate) for rate in arguments.rates.split(",")]
    if len(rates) == 1:
        return dict.fromkeys(names, rates[0])
    found: dict[str, dict[float, float]] = {name: {} for name in names}
    for rate in rates:
        children = [Child(arguments, name, rate, seed=0) for name in names]
        take_turns(children, 60 * arguments.tuning_minutes, arguments.turn, 1)
        for child in children:
            found[child.name][rate] = child.curve[-1][1]
            child.end()
    best = {}
    for name, losses in found.items():
        finite = {rate: loss for rate, loss in losses.items() if np.isfinite(loss)}
        if not finite:
            sys.exit(f"{NAMES[name]} diverges at every one of --rates={arguments.rates}: give lower ones.")
        best[name] = min(finite, key=lambda rate: finite[rate])
    return best


def minutes_to(curve: Curve, loss: float) -> float | None:
    """When a curve comes down to a loss: minutes, between its points on a straight line; None if it does not."""
    before = (0.0, float("inf"))
    for minutes, value in curve:
        if value <= loss:
            if not np.isfinite(before[1]):
                return minutes
            return before[0] + (minutes - before[0]) * (before[1] - loss) / (before[1] - value)
        before = (minutes, value)
    return None


def mean_curves(children: list[Child]) -> dict[str, Curve]:
    """By contestant, the mean over its seeds."""
    curves: dict[str, Curve] = {}
    for name in dict.fromkeys(child.name for child in children):
        own = [child.curve for child in children if child.name == name]
        curves[name] = [
            (statistics.mean(m for m, _ in points), statistics.mean(v for _, v in points))
            for points in zip(*own, strict=True)
        ]
    return curves


def report(arguments: argparse.Namespace, children: list[Child]) -> str:
    """The table: losses by minutes, and when each of ours is where each of Hugging Face's ends."""
    curves = mean_curves(children)
    names = list(curves)
    lines = [
        "| minutes | " + " | ".join(NAMES[name] for name in names) + " |",
        "| ---: |" + " ---: |" * len(names),
    ]
    for points in zip(*curves.values(), strict=True):
        lines.append(f"| {points[0][0]:.1f} | " + " | ".join(f"{loss:.3f}" for _, loss in points) + " |")
    lines.append("")
    for rival in (name for name in names if name.startswith("hf-")):
        minutes, loss = curves[rival][-1]
        for own in (name for name in names if not name.startswith("hf-")):
            reached = minutes_to(curves[own], loss)
            words = (
                "does not reach it"
                if reached is None
                else f"reaches it in {reached:.1f} ({reached / minutes:.2f} ×)"
            )
            lines.append(
                f"- {NAMES[rival]} has {loss:.3f} after {minutes:.1f} minutes; {NAMES[own]} {words}."
            )
    for child in children:
        setting = f", {child.choice}" if child.choice else ""
        lines.append(
            f"- {NAMES[child.name]}, seed {child.seed}: rate {child.rate:g}{setting}, {child.taken} steps, "
            f"{1e3 * child.seconds / child.taken:.0f} ms a step, final loss {child.curve[-1][1]:.4f}"
        )
    lines.append(
        f"- {arguments.model}, {arguments.batch} sequences a step, {arguments.dtype}, {os.cpu_count()} cores"
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs the contest, or one contestant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train_file", required=True, help="records with masks, without pairs")
    parser.add_argument("--eval_file", required=True, help="held-out records")
    parser.add_argument("--vocab_file", required=True, help="the vocabulary of the records")
    parser.add_argument("--model", default="mini", choices=("tiny", "mini", "small", "base"))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--tuning_minutes", type=float, default=5)
    parser.add_argument("--rates", default="5e-4,1e-3,2e-3")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--turn", type=float, default=10, help="seconds of a turn")
    parser.add_argument("--points", type=int, default=12, help="evaluations of a run")
    parser.add_argument(
        "--eval_batches", type=int, default=40, help="held-out batches, one of which is left out"
    )
    parser.add_argument("--only", default=",".join(CONTESTANTS), help="contestants")
    parser.add_argument("--output", help="folder of the results")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        contestant(arguments)
        return
    if not arguments.output:
        parser.error("give --output")
    names = arguments.only.split(",")
    rates = tuned(arguments, names)
    children: list[Child] = []
    for seed in map(int, arguments.seeds.split(",")):
        now = [Child(arguments, name, rates[name], seed) for name in names]
        take_turns(now, 60 * arguments.minutes, arguments.turn, arguments.points)
        for child in now:
            child.end()
        children += now
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    facts = [
        {name: getattr(child, name) for name in ("name", "rate", "seed", "choice", "taken", "curve")}
        for child in children
    ]
    (folder / "results.json").write_text(json.dumps(facts, indent=1))
    (folder / "table.md").write_text(report(arguments, children))
    draw(folder / "curve.svg", mean_curves(children))
    print(report(arguments, children))


def draw(path: Path, curves: dict[str, Curve]) -> None:
    """Writes the picture of the curves."""
    from morphbert.pages.figures import line_plot
    from morphbert.pages.rendering import render

    plot = line_plot(
        "held-out masked-LM loss",
        {NAMES[name]: curve for name, curve in curves.items()},
        "minutes of training",
    )
    path.write_text(render("line_plot.svg", plot=plot), encoding="utf-8")


if __name__ == "__main__":
    main()
