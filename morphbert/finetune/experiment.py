"""From a task's examples to trained models, figures and predictions: what all fine-tuning commands do, once or by
seeds.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from morphbert.finetune.features import Features
from morphbert.finetune.pretrained_start import Start
from morphbert.finetune.report import write_report
from morphbert.finetune.run import FineTuneConfig, FineTuning, Judgement
from morphbert.finetune.task import Task
from morphbert.finetune.task_file import check_folder, write_folder
from morphbert.finetune.word_vectors import WordVectors
from morphbert.model.compiled import gradients_released
from morphbert.train.cluster.strategy import Devices, build_strategy
from morphbert.train.evaluation import write_results
from morphbert.train.storage import write_text

Scores = list[np.ndarray]
SEEDS_NAME = "seeds.json"


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a command makes of its files.

    Attributes:
      task: the head and its losses.
      saved: what `task.json` says, from which `task_of` makes the task again.
      best_metric: the figure that counts, where no other is asked for.
      train: examples to learn from.
      held_out: examples to be judged by.
      judge: scores of `held_out` → figures.
      asked: examples to predict.
      write: (folder, scores of `asked`) → writes the predictions, returns a line about them.
    """

    task: Task
    saved: Mapping[str, Any]
    best_metric: str
    train: Features | None = None
    held_out: Features | None = None
    judge: Callable[[Scores], Judgement] | None = None
    asked: Features | None = None
    write: Callable[[str, Scores], str] | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do: names are those of the flags."""

    do_eval: bool = False
    do_predict: bool = False
    load_best: bool = True
    num_seeds: int = 1


def conduct(
    problem: Problem,
    start: Start,
    config: FineTuneConfig,
    plan: Plan,
    word_vectors: WordVectors | None = None,
) -> int | None:
    """Trains, evaluates and predicts as planned; returns the signal that stopped it early.

    With several seeds each has a folder of its own, `seed-N`, and is passed over where it is finished; the output
    folder then has the figures' means and standard deviations.

    Raises:
      MorphbertError: the folder holds another task's model, or a part fails.
    """
    devices = build_strategy(config.devices)
    if plan.num_seeds == 1:
        return _one(problem, start, config, plan, devices, word_vectors)[0]
    by_seed: dict[int, dict[str, float]] = {}
    for seed in range(config.step.seed, config.step.seed + plan.num_seeds):
        folder = os.path.join(config.output_dir, f"seed-{seed}")
        print(f"seed {seed}: {folder}", flush=True)
        own = dataclasses.replace(config, output_dir=folder, step=dataclasses.replace(config.step, seed=seed))
        with (
            gradients_released()
        ):  # else each seed's weights and moments would stay in memory beside the next's
            stopped, figures = _one(problem, start, own, plan, devices, word_vectors)
        if stopped is not None:
            return stopped
        if figures is not None:
            by_seed[seed] = figures
    if by_seed:
        _summarize(config.output_dir, config.optimizer.num_train_steps, by_seed)
    return None


def _one(
    problem: Problem,
    start: Start,
    config: FineTuneConfig,
    plan: Plan,
    devices: Devices,
    word_vectors: WordVectors | None,
) -> tuple[int | None, dict[str, float] | None]:
    """One run: the signal that stopped it, and its figures."""
    check_folder(config.output_dir, problem.saved)
    running = FineTuning(config, problem.task, start.weights, devices, word_vectors)

    judged: dict[int, Judgement] = {}

    def judge(step: int) -> Judgement:
        assert problem.judge is not None
        assert problem.held_out is not None
        judged[step] = problem.judge(running.scores(problem.held_out))
        return judged[step]

    evaluate = judge if config.eval_every and problem.judge is not None else None
    if config.do_train and problem.train is not None:
        write_folder(config.output_dir, start, problem.saved)
        step, stopped = running.train(problem.train, evaluate)
        if stopped is not None:
            return stopped, None
    figures = None
    if plan.do_eval or plan.do_predict:
        step = running.load(plan.load_best)
    scores = None
    if plan.do_predict and problem.write is not None:
        assert problem.asked is not None
        scores = running.scores(problem.asked)
        print(f"prediction: {problem.write(config.output_dir, scores)}", flush=True)
    if plan.do_eval and problem.judge is not None:
        # Where the same examples were just scored, or the same weights judged, that is not done again.
        if scores is not None and problem.asked is problem.held_out:
            judged[step] = problem.judge(scores)
        figures = _report(config, step, judged[step] if step in judged else judge(step))
    return None, figures


def _report(config: FineTuneConfig, step: int, judgement: Judgement) -> dict[str, float]:
    figures = judgement.figures
    path = write_results(config.output_dir, step, figures)
    settings = {
        **config.task,
        "init_checkpoint": config.init_checkpoint,
        "optimizer": config.optimizer.settings(),
        "seed": config.step.seed,
        "train_batch_size": config.train_batch_size,
    }
    write_report(config.output_dir, step, judgement, settings)
    shown = judgement.line or _line(figures)
    print(
        f"evaluation: {shown} ({figures['num_examples']} examples, step {step}), written to {path}",
        flush=True,
    )
    for name, group in judgement.groups.items():
        print(f"  {name}: {_line(group)} ({group['num_examples']} examples)", flush=True)
    if judgement.confusion is not None and str(judgement.confusion):
        print(f"  most often mistaken: {judgement.confusion}", flush=True)
    return figures


def _line(figures: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in figures.items() if name != "num_examples")


def _summarize(folder: str, step: int, by_seed: Mapping[int, Mapping[str, float]]) -> None:
    """Mean and standard deviation (of a sample, n - 1) of each figure: on the terminal, and in two files."""
    first = next(iter(by_seed.values()))
    summary: dict[str, float] = {}
    for name in first:
        values = [figures[name] for figures in by_seed.values()]
        summary[name] = statistics.fmean(values) if name != "num_examples" else first[name]
        if name != "num_examples":
            summary[f"{name}_std"] = statistics.stdev(values) if len(values) > 1 else 0.0
    write_text(
        os.path.join(folder, SEEDS_NAME),
        json.dumps(
            {"seeds": {str(seed): dict(f) for seed, f in by_seed.items()}, "summary": summary}, indent=2
        )
        + "\n",
    )
    path = write_results(folder, step, {**summary, "num_seeds": len(by_seed)})
    shown = "  ".join(
        f"{name} {summary[name]:.4f} ± {summary[f'{name}_std']:.4f}"
        for name in first
        if name != "num_examples"
    )
    print(f"{len(by_seed)} seeds: {shown}, written to {path}", flush=True)


def by_length(
    lengths: np.ndarray,
    figures_of: Callable[[np.ndarray], Mapping[str, float]],
    unit: str = "pieces",
    least: int = 10,
) -> dict[str, Mapping[str, float]]:
    """Figures of the shortest, middle and longest third of the examples; nothing where a third has under `least`.

    Args:
      lengths: how long each example is.
      figures_of: numbers of examples → their figures.
      unit: what lengths count.
    """
    order = np.argsort(lengths, kind="stable")
    thirds: Sequence[np.ndarray] = np.array_split(order, 3)
    if len(thirds[-1]) < least:
        return {}
    return {
        f"{lengths[rows].min()} to {lengths[rows].max()} {unit}": figures_of(np.sort(rows)) for rows in thirds
    }
