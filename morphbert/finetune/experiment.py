"""Makes trained models, figures and predictions from a task's files, for all fine-tuning commands."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
from collections.abc import Mapping
from typing import Any

from morphbert.errors import MorphbertError, UsageError
from morphbert.finetune.advice import one_class
from morphbert.finetune.checks import check_packages, load_parts
from morphbert.finetune.config import FineTuneConfig
from morphbert.finetune.judgement import Judgement
from morphbert.finetune.report import write_report
from morphbert.finetune.run import FineTuning, TaskRunConfig
from morphbert.finetune.task import Data, Task
from morphbert.finetune.task_file import (
    TASK_NAME,
    check_folder,
    check_vocabulary,
    read_task,
    write_folder,
)
from morphbert.finetune.task_options import of_saved
from morphbert.finetune.tasks import TASKS, kind_of
from morphbert.finetune.word_vectors import WordVectors, read_word_vectors
from morphbert.hints import held_back
from morphbert.hub import pinned
from morphbert.interop.pretrained_start import Start, find_start
from morphbert.model.config import BERT_CONFIG_NAME
from morphbert.model.kernels.compiled import gradients_released
from morphbert.pages.phrases import Text
from morphbert.plugins import identities, say_changed
from morphbert.text.unknown_share import say_unknown_ids
from morphbert.train import preflight
from morphbert.train.cluster.strategy import Devices, build_strategy, decide_xla
from morphbert.train.evaluation import write_results
from morphbert.train.storage import write_text

SEEDS_NAME = "seeds.json"


@dataclasses.dataclass(frozen=True)
class FineTuned:
    """The result of a fine-tuning.

    Attributes:
      figures: the figures of the held-out examples; for several seeds their means and `…_std`; None without an
        evaluation.
      stopped_by: the signal that stopped it early; the same call continues it.
    """

    figures: Mapping[str, float] | None = None
    stopped_by: int | None = None


def fine_tune(config: FineTuneConfig) -> FineTuned:
    """Trains a task's head on a pretrained encoder, evaluates it and predicts with it, as the config requests.

    With several seeds each has a separate folder, `seed-N`, and finished seeds are skipped; the output folder then has
    the figures' means and standard deviations.

    Loads the plugins. Files of examples are checked as they are read; `check_before_loading` does so earlier.

    Args:
      config: the configuration, of the task's class, such as `ClassificationConfig`, without `adapt_on`.

    Raises:
      UsageError: values contradict each other or the model's configuration, or the config has `adapt_on`.
      MorphbertError: a file is damaged, the folder contains another task's model, or a part fails.
    """
    if config.adapt_on:
        raise UsageError(
            f"--adapt_on={config.adapt_on} is work of morphbert.fine_tune, which then calls this function: call that, "
            "or leave adapt_on out."
        )
    load_parts(config)
    check_packages(config)
    if config.init_checkpoint:
        config = dataclasses.replace(config, init_checkpoint=pinned(config.init_checkpoint))
    with held_back():
        start = _find_start(config)
        problem = _Problem.of(config, start)
        run = _run_config(config, start, problem)
    vectors = None
    if config.word_embeddings and config.do_train:
        tokens = start.tokenizer.vocabulary.tokens
        vectors = read_word_vectors(config.word_embeddings, tokens, start.config.embedding_width)
    devices = build_strategy(run.devices)
    if config.num_seeds == 1:
        with preflight.alone_in(run.output_dir):
            return _one(problem, start, run, devices, vectors)
    by_seed: dict[int, Mapping[str, float]] = {}
    for seed in range(run.step.seed, run.step.seed + config.num_seeds):
        folder = os.path.join(run.output_dir, f"seed-{seed}")
        print(f"seed {seed}: {folder}", flush=True)
        own = dataclasses.replace(run, output_dir=folder, step=dataclasses.replace(run.step, seed=seed))
        # Without the release each seed's weights and moments would stay in memory during the next.
        with gradients_released(), preflight.alone_in(own.output_dir):
            done = _one(problem, start, own, devices, vectors)
        if done.stopped_by is not None:
            return done
        if done.figures is not None:
            by_seed[seed] = done.figures
    if not by_seed:
        return FineTuned()
    return FineTuned(_summarize(run.output_dir, run.optimizer.num_train_steps, by_seed))


@dataclasses.dataclass(frozen=True)
class _Problem:
    """The task and examples of a run.

    Attributes:
      config: the run's configuration.
      task: the task with its labels.
      saved: the content of `task.json`.
      train: the training examples.
      held_out: the examples for the evaluation.
      asked: the examples to predict.
    """

    config: FineTuneConfig
    task: Task
    saved: Mapping[str, Any]
    train: Data | None = None
    held_out: Data | None = None
    asked: Data | None = None

    @classmethod
    def of(cls, config: FineTuneConfig, start: Start) -> _Problem:
        """Reads the files; the training examples or the output folder determine the task."""
        kind, train = kind_of(config), None
        if config.do_train:
            examples = kind.read(config, str(config.train_file), "train")
            task, train = kind.learn(config, examples, start)
            say_unknown_ids(start.tokenizer, train.features.pieces, str(config.train_file))
            saved = task.to_dict()
        else:
            saved = read_task(config.output_dir)
            if saved["task"] != kind.name:
                own = (
                    ""
                    if saved["task"] in TASKS
                    else (f" If a plugin registers it, give --custom_task={saved['task']} --plugin=FILE.py.")
                )
                raise MorphbertError(
                    f"--output_dir={config.output_dir} contains a model of another task, {saved['task']}.{own}"
                )
            check_vocabulary(config.output_dir, saved, start.tokenizer)
            say_changed(config.output_dir, saved.get("plugin"))
            asked = getattr(kind, "options", None) if config.task_option else None
            kind = of_saved(kind, saved, asked)
            task = kind.from_dict(saved).used_by(config)

        def read(path: str | None, purpose: Any) -> Data:
            examples = kind.read(config, str(path), purpose)
            data = task.data(examples, start, purpose, config)
            say_unknown_ids(start.tokenizer, data.features.pieces, str(path))
            return data

        held_out = asked = None
        if config.evaluates_on_predict_file:
            if config.do_predict or config.eval_every:
                held_out = asked = read(config.predict_file, "eval")
            return cls(config=config, task=task, saved=saved, train=train, held_out=held_out, asked=asked)
        if config.eval_file and (config.do_eval or config.eval_every):
            held_out = read(config.eval_file, "eval")
        if config.do_predict:
            asked = read(config.predict_file, "predict")
        return cls(config=config, task=task, saved=saved, train=train, held_out=held_out, asked=asked)

    @property
    def can_judge(self) -> bool:
        """Whether there are labelled held-out examples."""
        return self.held_out is not None and self.task.can_judge(self.held_out)

    @property
    def evaluates(self) -> bool:
        """Whether the run ends with an evaluation."""
        return (self.config.do_eval or self.config.evaluates_on_predict_file) and self.can_judge

    def judge(self, running: FineTuning) -> Judgement:
        """Evaluates the current model on the held-out examples."""
        assert self.held_out is not None
        return self.task.judge(self.held_out, running.scores(self.held_out.features), self.config)


def _find_start(config: FineTuneConfig) -> Start:
    """Returns the model to start from; a model in the output folder is sufficient."""
    init, config_file, vocabulary = (
        config.init_checkpoint or None,
        config.bert_config_file or None,
        config.vocab_file or None,
    )
    folder = config.output_dir
    if init is None and os.path.exists(os.path.join(folder, TASK_NAME)):
        config_file = config_file or os.path.join(folder, BERT_CONFIG_NAME)
        vocabulary = vocabulary or folder
        if vocabulary == folder and not os.path.exists(os.path.join(folder, "morphbert_tokenizer.json")):
            raise MorphbertError(f"--output_dir={folder} has no vocabulary: give --vocab_file.")
    start = find_start(init, config_file, vocabulary, config.do_lower_case)
    if config.max_seq_length > start.config.max_position_embeddings:
        raise UsageError(
            f"--max_seq_length={config.max_seq_length}, but the model has {start.config.max_position_embeddings} "
            "positions: lower the flag, or lengthen the model with import_model.py --max_position_embeddings."
        )
    return start


def _run_config(config: FineTuneConfig, start: Start, problem: _Problem) -> TaskRunConfig:
    """Returns the run configuration for the examples."""
    steps = config.steps_over(0 if problem.train is None else len(problem.train.features))
    loss = problem.task.loss
    learned = {} if loss is None else {"loss": loss.loss, "class_weights": loss.class_weights}
    warmup = config.warmup_of(steps)
    plugins = {"plugin": identities(config.plugin)} if config.plugin else {}
    return TaskRunConfig.of(
        config,
        bert_config=start.config,
        on_divergence="stop",
        optimizer=config.optimizer.with_steps(steps, warmup),
        step=decide_xla(config.step, config.devices),
        best_metric=config.best_metric or problem.task.best_metric(config),
        reweighted_from=None if loss is None else loss.begins(steps),
        task={**problem.saved, **learned, **plugins},
    )


def _one(
    problem: _Problem,
    start: Start,
    run: TaskRunConfig,
    devices: Devices,
    word_vectors: WordVectors | None,
) -> FineTuned:
    """Trains, evaluates and predicts in one folder, which the caller has locked against other runs."""
    config, task = problem.config, problem.task
    check_folder(run.output_dir, problem.saved)
    running = FineTuning(run, task, start.weights, devices, word_vectors)
    judged: dict[int, Judgement] = {}

    def judge(step: int) -> Judgement:
        judged[step] = problem.judge(running)
        return judged[step]

    if problem.train is not None:
        write_folder(run.output_dir, start, problem.saved, identities(config.plugin))
        evaluate = judge if config.eval_every and problem.can_judge else None
        step, stopped = running.train(problem.train.features, evaluate)
        if stopped is not None:
            return FineTuned(stopped_by=stopped)
    if not (problem.evaluates or config.do_predict):
        return FineTuned()
    step = running.load(config.load_best)
    if config.do_predict:
        assert problem.asked is not None
        scores = running.scores(problem.asked.features)
        print(f"prediction: {task.write(run.output_dir, problem.asked, scores, config)}", flush=True)
        if problem.evaluates and problem.asked is problem.held_out:
            # The same examples were just scored.
            judged[step] = task.judge(problem.asked, scores, config)
    if not problem.evaluates:
        return FineTuned()
    # The same weights are not evaluated twice.
    judgement = judged[step] if step in judged else judge(step)
    figures = _report(run, task.title, step, judgement)
    warning = one_class(judgement.confusion)
    if warning is not None:
        print(f"{warning} {running.advice().remedies() if config.do_train else ''}".rstrip(), flush=True)
    return FineTuned(figures)


def _report(config: TaskRunConfig, title: Text, step: int, judgement: Judgement) -> dict[str, float]:
    figures = judgement.figures
    path = write_results(config.output_dir, step, figures)
    settings = {
        **config.task,
        "init_checkpoint": config.init_checkpoint,
        "optimizer": config.optimizer.settings(),
        "seed": config.step.seed,
        "train_batch_size": config.train_batch_size,
    }
    write_report(config.output_dir, step, title, judgement, settings)
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


def _summarize(folder: str, step: int, by_seed: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Returns the mean and sample standard deviation (n - 1) of each figure; prints them and writes two files."""
    first = next(iter(by_seed.values()))
    summary: dict[str, float] = {}
    for name in first:
        if not all(name in figures for figures in by_seed.values()):  # a plugin's metric failed for one seed
            continue
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
        for name in summary
        if name in first and name != "num_examples"
    )
    print(f"{len(by_seed)} seeds: {shown}, written to {path}", flush=True)
    return summary
