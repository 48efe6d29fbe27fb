"""How good a model is after so many minutes of training: ours beside Hugging Face transformers on PyTorch.

    python create_pretraining_data.py --objective=none --vocab_file=vocab/ko-mecab-8k --max_seq_length=128 \
        --input_file='corpus/*.txt' --output_file=train.tfrecord --eval_fraction=0.05 --eval_output_file=eval.tfrecord
    python benchmarks/time_to_quality.py --train_file=train.tfrecord --eval_file=eval.tfrecord \
        --vocab_file=vocab/ko-mecab-8k --minutes=60 --output=out/quality

Each contestant trains models on the same records with the same masks, each in a process of its own. They take turns of
some seconds, and the clock of a contestant runs in its own turns alone, so that other work of the machine meets all
alike. With `--clock=processor` each has one thread on one core, and its clock is the processor time of its process,
which does not count waiting for other programs. Compilation and evaluation are not counted. First each of `--rates` is
tried for `--tuning_minutes`; with the one that has the lowest held-out loss, each of `--seeds` is trained for
`--minutes`. After the warm-up the rate is constant, so that every point of a curve is the result of a run of that
length. With `--ends=40,60` the models of 36 and 54 minutes are trained on in copies, whose rate falls to 0 in a tenth
of the time: these are the results of 40 and 60 minutes with such a schedule, beside the curve.

- ours: the step and the input of run_pretraining.py, BERT's block and the modern one, both without dropout.
- Hugging Face: BertForMaskedLM and ModernBertForMaskedLM, scores of the masked positions only, fused AdamW, no
  dropout, and the fastest of attention as written out or SDPA, float32 or autocast, compiled or not, timed first.

The results are OUTPUT/results.json, OUTPUT/table.md and OUTPUT/curve.svg. A run that results.json has is not made
again; a run that was stopped goes on from its last point, in OUTPUT/runs/, which keeps the models for fine-tuning
(`--init_checkpoint=OUTPUT/runs/RUN/model.ckpt-0`, or `RUN/model` of Hugging Face; RUN-60min has an end).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))
NAMES = {
    "bert": "ours, BERT's block",
    "modern": "ours, modern block",
    "hf-bert": "HF BERT",
    "hf-modernbert": "HF ModernBERT",
}
Curve = list[tuple[float, float]]
# The share of a run in which the rate falls at an end.
FALL = 0.1


def fall_of(end: float) -> float:
    """The minute at which the rate begins to fall for an end."""
    return round(end * (1 - FALL), 6)


# The flags that every contestant gets, and that all runs of an output folder must share.
_OF_ALL = ("train_file", "eval_file", "vocab_file", "model", "batch", "dtype", "eval_batches", "clock")


def contestant(arguments: argparse.Namespace) -> None:
    """A child process: `train SECONDS` (about), `evaluate` and `save FOLDER`; each is answered with a line."""
    answers = os.fdopen(os.dup(1), "w")  # a library's output must not be taken for an answer
    os.dup2(2, 1)
    clock = time.perf_counter
    if arguments.clock == "processor":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        os.environ["OMP_NUM_THREADS"] = "1"
        clock = time.process_time
    # Only here: the process that keeps turns and clocks loads no framework.
    from contestants import CONTESTANTS, Ours

    model = CONTESTANTS[arguments.contestant](arguments)
    each, taken = 0.0, arguments.taken
    last = taken + arguments.falling_steps if arguments.falling_steps else math.inf
    if arguments.state:
        model.load(Path(arguments.state))
    if isinstance(model, Ours):
        model.steps(1)  # compiles
        taken += 1
    print(model.choice, file=answers, flush=True)
    for line in sys.stdin:
        words = line.split(maxsplit=1)
        if words[0] == "evaluate":
            print(model.evaluate(), file=answers, flush=True)
            continue
        if words[0] == "save":
            model.save(Path(words[1].rstrip("\n")))
            print(file=answers, flush=True)
            continue
        started, seconds = clock(), float(words[1])
        while (left := seconds - (clock() - started)) > 0.5 * each and taken < last:
            count = max(1, round(min(left, 2.0) / each)) if each else 1
            count = min(count, last - taken)
            before = clock()
            model.steps(count)
            each, taken = (clock() - before) / count, taken + count
        print(clock() - started, taken, file=answers, flush=True)


@dataclasses.dataclass
class Run:
    """A contestant with one rate and one seed.

    Attributes:
      minutes: of training.
      points: the number of evaluations.
      choice: Hugging Face's setting.
      taken: steps.
      curve: minutes and held-out loss of each evaluation.
      ends: minutes of its ends with a falling rate.
      ended: minutes and held-out loss of those that are reached.
    """

    name: str
    rate: float
    seed: int
    minutes: float
    points: int
    choice: str = ""
    taken: int = 0
    curve: Curve = dataclasses.field(default_factory=list)
    ends: list[float] = dataclasses.field(default_factory=list)
    ended: Curve = dataclasses.field(default_factory=list)

    @property
    def label(self) -> str:
        """Its name in the folder of runs."""
        return f"{self.name}-{self.rate:g}-seed{self.seed}-{self.minutes:g}min"

    def times(self) -> list[float]:
        """Minutes of its evaluations: at equal distances, and where a fall begins."""
        equal = {self.minutes * point / self.points for point in range(1, self.points + 1)}
        return sorted({round(one, 6) for one in equal} | {fall_of(end) for end in self.ends})

    def due(self) -> float | None:
        """The end whose fall begins now."""
        passed = len(self.curve)
        now = self.times()[passed - 1] if passed else 0.0
        open_ends = sorted(self.ends)[len(self.ended) :]
        return next((end for end in open_ends if fall_of(end) == now), None)


class Child:
    """A contestant in its process, with its clock."""

    def __init__(self, arguments: argparse.Namespace, run: Run):
        self._arguments = arguments
        self._folder = Path(arguments.output) / "runs" / run.label
        if (self._folder / "run.json").exists():
            run = Run(**json.loads((self._folder / "run.json").read_text()))
        self.run = run
        self._start()

    def _start(self, falling_steps: int = 0) -> None:
        arguments, run = self._arguments, self.run
        self.seconds = 60 * run.curve[-1][0] if run.curve else 0.0
        flags = [f"--{flag}={getattr(arguments, flag)}" for flag in _OF_ALL]
        own = [
            f"--contestant={run.name}",
            f"--rate={run.rate}",
            f"--seed={run.seed}",
            f"--choice={run.choice}",
            f"--taken={run.taken}",
            f"--falling_steps={falling_steps}",
        ]
        if run.curve:
            own.append(f"--state={self._folder}")
        self._words = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `end`)
        self._process = subprocess.Popen(
            [sys.executable, __file__, *flags, *own],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
        )
        run.choice = self._answer()

    def _answer(self) -> str:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            self._process.wait()
            self._words.seek(0)
            sys.exit(f"{self.run.name} failed:\n{self._words.read()}")
        return line.strip()

    def _ask(self, words: str) -> list[float]:
        self._process.stdin.write(words + "\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        return [float(word) for word in self._answer().split()]

    def train(self, turn: float) -> bool:
        """One turn of up to so many seconds; returns whether the next evaluation is due."""
        until = 60 * self.run.times()[len(self.run.curve)]
        self._train(min(turn, until - self.seconds))
        return self.seconds > until - 0.2

    def _train(self, turn: float) -> None:
        spent, taken = self._ask(f"train {turn}")
        self.seconds += spent
        self.run.taken = int(taken)

    def evaluate(self) -> None:
        """Adds a point to the curve and saves all."""
        self._tell("evaluated", point := (self.seconds / 60, self._ask("evaluate")[0]))
        self.run.curve.append(point)
        self._save(self._folder)

    def fall(self, end: float, turn: float) -> None:
        """Trains a copy in which the rate falls to 0, keeps its model, and returns to where it began."""
        run, taken = self.run, self.run.taken
        steps = round(taken * FALL / (1 - FALL))
        self.end()
        self._start(steps)
        while run.taken < taken + steps:
            self._train(turn)
        point = (self.seconds / 60, self._ask("evaluate")[0])
        self._tell("rate fallen", point)
        self._save(self._folder.with_name(f"{run.label}-{end:g}min"))
        run.ended.append(point)
        run.taken = taken
        (self._folder / "run.json").write_text(json.dumps(dataclasses.asdict(run)))
        self.end()
        self._start()

    def _tell(self, what: str, point: tuple[float, float]) -> None:
        run = self.run
        print(
            f"{NAMES[run.name]}, rate {run.rate:g}, seed {run.seed}, {what}: {point[0]:.1f} minutes, "
            f"step {run.taken}, held-out loss {point[1]:.4f}",
            flush=True,
        )

    def _save(self, folder: Path) -> None:
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self._ask(f"save {partial}")
        (partial / "run.json").write_text(json.dumps(dataclasses.asdict(self.run)))
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)

    def end(self) -> None:
        """Ends the process."""
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()
        self._words.close()


def take_turns(children: list[Child], turn: float) -> None:
    """Trains all in turns of so many seconds until each has its evaluations; those that are due earlier come first."""
    while waiting := [child for child in children if len(child.run.curve) < len(child.run.times())]:
        number = min(len(child.run.curve) for child in waiting)
        due = [child for child in waiting if len(child.run.curve) == number]
        training = list(due)
        while training:
            training = [child for child in training if not child.train(turn)]
        for child in due:
            child.evaluate()
            if end := child.run.due():
                child.fall(end, turn)


class Contest:
    """All runs, those of earlier calls with the same output folder included."""

    def __init__(self, arguments: argparse.Namespace):
        self._arguments = arguments
        self.folder = Path(arguments.output)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = self.folder / "results.json"
        self._settings = {flag: getattr(arguments, flag) for flag in _OF_ALL}
        self._runs: list[Run] = []
        if not self._file.exists():
            return
        found = json.loads(self._file.read_text())
        before = found.get("settings") if isinstance(found, dict) else None
        if before != self._settings:
            sys.exit(
                f"{self._file} has runs with other settings: {before}, and now {self._settings}. Give another --output."
            )
        self._runs = [Run(**facts) for facts in found["runs"]]

    def runs(
        self, rates: dict[str, float], seed: int, minutes: float, points: int, ends: Sequence[float] = ()
    ) -> list[Run]:
        """The run of each name with its rate: those that are there, and the others, trained in turns."""
        wanted = [
            Run(name, rate, seed, minutes, points, self._choice(name), ends=list(ends))
            for name, rate in rates.items()
        ]
        children = [Child(self._arguments, run) for run in wanted if self._find(run) is None]
        for child in children:
            if end := child.run.due():  # it was stopped in the fall
                child.fall(end, self._arguments.turn)
        take_turns(children, self._arguments.turn)
        for child in children:
            child.end()
            self._runs.append(child.run)
        facts = {"settings": self._settings, "runs": [dataclasses.asdict(run) for run in self._runs]}
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(facts, indent=1))
        partial.replace(self._file)
        return [found for run in wanted if (found := self._find(run))]

    def _choice(self, name: str) -> str:
        """The setting that an earlier run of the contestant found the fastest."""
        return next((run.choice for run in self._runs if run.name == name), "")

    def _find(self, wanted: Run) -> Run | None:
        def key(run: Run) -> tuple[str, list[float]]:
            return run.label, run.times()

        return next((run for run in self._runs if key(run) == key(wanted)), None)

    def tuned(self, names: list[str]) -> dict[str, float]:
        """The rate of each contestant with the lowest held-out loss after the tuning."""
        rates = [float(rate) for rate in self._arguments.rates.split(",")]
        if len(rates) == 1:
            return dict.fromkeys(names, rates[0])
        found: dict[str, dict[float, float]] = {name: {} for name in names}
        for rate in rates:
            for run in self.runs(dict.fromkeys(names, rate), 0, self._arguments.tuning_minutes, 1):
                found[run.name][rate] = run.curve[-1][1]
        best = {}
        for name, losses in found.items():
            finite = {rate: loss for rate, loss in losses.items() if np.isfinite(loss)}
            if not finite:
                sys.exit(
                    f"{NAMES[name]} diverges at every one of --rates={self._arguments.rates}: give lower ones."
                )
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


def mean_curves(runs: list[Run]) -> dict[str, Curve]:
    """By contestant, the mean over its seeds."""
    curves: dict[str, Curve] = {}
    for name in dict.fromkeys(run.name for run in runs):
        own = [run.curve for run in runs if run.name == name]
        curves[name] = [
            (statistics.mean(m for m, _ in points), statistics.mean(v for _, v in points))
            for points in zip(*own, strict=True)
        ]
    return curves


def report(arguments: argparse.Namespace, runs: list[Run]) -> str:
    """The table: losses by minutes, and when each of ours is where each of Hugging Face's ends."""
    curves = mean_curves(runs)
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
    for run in runs:
        setting = f", {run.choice}" if run.choice else ""
        minutes, loss = run.curve[-1]
        lines.append(
            f"- {NAMES[run.name]}, seed {run.seed}: rate {run.rate:g}{setting}, {run.taken} steps, "
            f"{6e4 * minutes / run.taken:.0f} ms a step, final loss {loss:.4f}"
            + "".join(f"; with an end, {loss:.4f} after {minutes:.1f} minutes" for minutes, loss in run.ended)
        )
    cores = "one core" if arguments.clock == "processor" else f"{os.cpu_count()} cores"
    lines.append(f"- {arguments.model}, {arguments.batch} sequences a step, {arguments.dtype}, {cores}")
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
    parser.add_argument("--ends", default="", help="minutes of ends with a falling rate")
    parser.add_argument("--tuning_minutes", type=float, default=5)
    parser.add_argument("--rates", default="5e-4,1e-3,2e-3")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--turn", type=float, default=10, help="seconds of a turn")
    parser.add_argument("--points", type=int, default=12, help="evaluations of a run")
    parser.add_argument(
        "--eval_batches", type=int, default=40, help="held-out batches, one of which is left out"
    )
    parser.add_argument("--only", default=",".join(NAMES), help="contestants")
    parser.add_argument(
        "--clock",
        default="wall",
        choices=("wall", "processor"),
        help="wall: for a machine that does nothing else",
    )
    parser.add_argument("--output", help="folder of the results")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--choice", help=argparse.SUPPRESS)
    parser.add_argument("--state", help=argparse.SUPPRESS)
    for steps in ("taken", "falling_steps"):
        parser.add_argument(f"--{steps}", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        contestant(arguments)
        return
    if not arguments.output:
        parser.error("give --output")
    contest = Contest(arguments)
    ends = [float(end) for end in arguments.ends.split(",") if end]
    if any(fall_of(end) > arguments.minutes for end in ends):
        parser.error(
            f"--ends={arguments.ends}: the rate begins to fall at {1 - FALL:g} of an end, within --minutes"
        )
    rates = contest.tuned(arguments.only.split(","))
    runs: list[Run] = []
    # One seed of all, then the next: a contest that is stopped early has fewer seeds, not fewer contestants.
    for seed in map(int, arguments.seeds.split(",")):
        runs += contest.runs(rates, seed, arguments.minutes, arguments.points, ends)
        words = report(arguments, runs)
        (contest.folder / "table.md").write_text(words, encoding="utf-8")
        draw(contest.folder / "curve.svg", mean_curves(runs))
    print(words)


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
