r"""Compares ELECTRA's objective with masked LM: the same block, text, vocabulary and training time, then tasks.

    python benchmarks/objectives.py --input_file='petitions.txt,movie_reviews.txt.gz' --vocab_file=vocab/ko-mecab-8k \
        --model=tiny --minutes=6 --output=out/objectives --grammar_file=grammar.jsonl \
        --task='nsmc accuracy run_classifier.py --train_file=… --eval_file=… --do_train --do_eval …' \
        --task='ner entity_f1 run_ner.py --train_file=… --eval_file=… --do_train --do_eval …'

Both train the modern block on the same records. The time of a step, the generator's part included, decides how many
steps each gets (benchmarks/equal_time.py). The learning rate of each objective is the one of three with the highest
mean over the tasks' figures, with seed 0; then each is trained with each of `--seeds`. A task is a name, the figure
that counts, a command and its flags; the seed of a model is the seed of its tasks, too. Models with random weights go
through the tasks beside them. The grammar pairs are scored by the masked LM's probabilities, of an ELECTRA by the
discriminator's.

A run whose result is in OUTPUT is not run again. The results are OUTPUT/results.json and OUTPUT/table.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import statistics
from pathlib import Path

from equal_time import Bench, Recipe, Records, numbers, parser_of

ELECTRA = ("--objective=electra",)
RECIPES = {
    "mlm": Recipe("masked LM", rates=(5e-4, 1e-3, 2e-3)),
    "electra": Recipe("ELECTRA, generator of a quarter", flags=ELECTRA, rates=(2.5e-4, 5e-4, 1e-3)),
    "electra-half": Recipe(
        "ELECTRA, generator of a half", flags=(*ELECTRA, "--generator_size=0.5"), rates=(2.5e-4, 5e-4)
    ),
}
RANDOM = "random"


@dataclasses.dataclass(frozen=True)
class Task:
    """A task's name, the figure of its results that counts, its command and flags."""

    name: str
    figure: str
    command: str
    flags: tuple[str, ...]


def task(words: str) -> Task:
    """Reads `NAME FIGURE COMMAND FLAGS…`."""
    name, figure, command, *flags = shlex.split(words)
    return Task(name, figure, command, tuple(flags))


class Comparison:
    """Models of both objectives and their figures in the tasks."""

    def __init__(self, bench: Bench, arguments: argparse.Namespace):
        self._bench = bench
        self._arguments = arguments
        self.columns = [one.name for one in arguments.task] + ["grammar"] * bool(arguments.grammar_file)

    def model(self, name: str, rate: float, seed: int) -> float:
        """Trains a model of one objective and gives it the tasks; returns the mean of the tasks' figures."""
        key = _key(name, rate, seed)
        if name != RANDOM:
            steps = self._bench.steps(name)

            def trained(folder: Path, core: int) -> float:
                self._bench.train(name, rate, seed, steps, folder, core)
                return steps

            self._bench.once(key, trained)
        folder = self._bench.folder / "runs" / key.replace(" ", "_")
        for one in self._arguments.task:
            self._bench.once(
                f"{key} {one.name}", lambda own, core, t=one: self._task(t, folder, own, seed, core)
            )
        if self._arguments.grammar_file and name != RANDOM:
            self._bench.once(f"{key} grammar", lambda own, core: self._grammar(folder, own, core))
        return self.mean(name, rate, seed)

    def mean(self, name: str, rate: float, seed: int) -> float:
        """The mean of the tasks' figures."""
        return statistics.fmean(
            self._bench.results[f"{_key(name, rate, seed)} {one.name}"] for one in self._arguments.task
        )

    def _task(self, one: Task, model: Path, own: Path, seed: int, core: int) -> float:
        own.mkdir(parents=True, exist_ok=True)
        start = [f"--init_checkpoint={model / 'model'}"]
        if not model.exists():  # random weights; all objectives train the same configuration
            config = self._bench.folder / "runs" / f"{self._arguments.objectives[0]}_time" / "config.json"
            start = ["--init_checkpoint=", f"--bert_config_file={config}"]
        flags = [*one.flags, *start, f"--vocab_file={self._arguments.vocab_file}", f"--seed={seed}"]
        self._bench.command(one.command, [*flags, f"--output_dir={own / 'model'}"], own / "log", core)
        lines = (own / "model" / "eval_results.txt").read_text(encoding="utf-8").splitlines()
        return float(dict(line.split(" = ") for line in lines)[one.figure])

    def _grammar(self, model: Path, own: Path, core: int) -> float:
        own.mkdir(parents=True, exist_ok=True)
        flags = [
            f"--checkpoint={model / 'model'}",
            f"--vocab_file={self._arguments.vocab_file}",
            f"--grammar_file={self._arguments.grammar_file}",
            f"--output_file={own / 'grammar.json'}",
        ]
        self._bench.command("evaluate_grammar.py", flags, own / "log", core)
        return float(
            json.loads((own / "grammar.json").read_text(encoding="utf-8"))["spaced"]["total"]["accuracy"]
        )

    def best_rate(self, name: str) -> float:
        """The rate of the highest mean with seed 0."""
        return max(RECIPES[name].rates, key=lambda rate: self.mean(name, rate, 0))

    def table(self) -> str:
        """A line for each rate that was tried, then one for each objective with its seeds."""
        lines = [
            f"| objective | rate | ms a step | steps | {' | '.join(self.columns)} |",
            "| --- | ---: | ---: | ---: |" + " --- |" * len(self.columns),
        ]
        for name in self._arguments.objectives:
            for rate in RECIPES[name].rates:
                lines.append(self._line(name, rate, [0], f"{RECIPES[name].what}, tried"))
        lines.append(self._line(RANDOM, 0, self._arguments.seeds, "random weights"))
        for name in self._arguments.objectives:
            lines.append(self._line(name, self.best_rate(name), self._arguments.seeds, RECIPES[name].what))
        return "\n".join(lines) + "\n"

    def _line(self, name: str, rate: float, seeds: list[int], what: str) -> str:
        cells = []
        for column in self.columns:
            keys = [f"{_key(name, rate, seed)} {column}" for seed in seeds]
            values = [self._bench.results[key] for key in keys if key in self._bench.results]
            spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            each = f" ({', '.join(f'{value:.4f}' for value in values)})" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.4f}{spread}{each}" if values else "")
        training = " | | "
        if name != RANDOM:
            training = f"{rate:g} | {1e3 * self._bench.seconds_a_step(name):.0f} | {self._bench.steps(name)}"
        return f"| {what} | {training} | {' | '.join(cells)} |"


def _key(name: str, rate: float, seed: int) -> str:
    return f"{name} seed {seed}" if name == RANDOM else f"{name} rate {rate:g} seed {seed}"


def main() -> None:
    """Makes the missing runs, and writes the table."""
    parser = parser_of(__doc__, minutes=6)
    parser.add_argument("--objectives", default="mlm,electra", type=numbers(str), help=", ".join(RECIPES))
    parser.add_argument(
        "--task", action="append", required=True, type=task, help="NAME FIGURE COMMAND FLAGS…"
    )
    parser.add_argument("--grammar_file", help="pairs of evaluate_grammar.py, of held-out text")
    arguments = parser.parse_args()
    bench = Bench(arguments, RECIPES, {"single": Records(["--objective=none"])})
    comparison = Comparison(bench, arguments)
    bench.make_records()
    bench.in_parallel(bench.seconds_a_step, [(name,) for name in arguments.objectives])
    tried = [(name, rate, 0) for name in arguments.objectives for rate in RECIPES[name].rates]
    bench.in_parallel(comparison.model, tried)
    runs = [
        (name, 0.0 if name == RANDOM else comparison.best_rate(name), seed)
        for seed in arguments.seeds
        for name in (RANDOM, *arguments.objectives)
    ]
    bench.in_parallel(comparison.model, runs)
    words = comparison.table()
    (bench.folder / "table.md").write_text(words, encoding="utf-8")
    print(words)


if __name__ == "__main__":
    main()
