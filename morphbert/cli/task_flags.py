"""What all fine-tuning commands share: flags, the configuration of a run, and the way from the command line to it."""

from __future__ import annotations

import collections
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from absl import flags

from morphbert.cli import quiet_tensorflow, task_adaptation, training_flags
from morphbert.cli.command import Command
from morphbert.errors import MorphbertError, UsageError
from morphbert.finetune import choices

if TYPE_CHECKING:
    from morphbert.finetune.experiment import Problem
    from morphbert.finetune.heads import HeadConfig
    from morphbert.finetune.losses import LossConfig
    from morphbert.finetune.pretrained_start import Start
    from morphbert.finetune.run import FineTuneConfig
    from morphbert.finetune.task import Task

_SomeTask = TypeVar("_SomeTask", bound="Task")


def define_model(command: Command) -> None:
    """Where the model comes from and goes to."""
    command.config_file(
        "A whole experiment in YAML: sections tokenizer, model, head, loss, optimizer, data, train and test, "
        "whose keys are the flags. Flags beside it come before what it says. Example: --config=configs/nsmc.yaml",
        rivals=(("num_train_steps", "num_train_epochs"), ("init_checkpoint", "bert_config_file")),
    )
    command.group("Tokenizer", "tokenizer")
    command.string(
        "vocab_file",
        None,
        "The vocabulary that it was trained with: a folder made by build_vocab.py, or a plain vocab.txt. Default: the "
        "one beside the model, if there is one.",
    )
    command.boolean(
        "do_lower_case",
        None,
        "For a plain vocab.txt: lower-case the text. Default: unless the vocabulary has capital letters.",
    )
    command.group("Model", "model")
    command.string(
        "init_checkpoint",
        None,
        "The pretrained model: a folder or checkpoint of this program or of google-research/bert, or a Hugging Face "
        "folder. Without it, or with nothing behind the =, the weights are random.",
    )
    command.string(
        "bert_config_file", None, "Its configuration. Default: bert_config.json beside the checkpoint."
    )
    command.string(
        "word_embeddings",
        None,
        "A word2vec text file; the pieces that it knows start from its vectors, whose size has to be the model's.",
    )
    command.boolean("freeze_embeddings", False, "Leave the embeddings as they are.")
    command.integer(
        "freeze_layers",
        0,
        "Leave the embeddings and so many of the lowest layers as they are.",
        lower_bound=0,
    )
    task_adaptation.define(command)


def define_training(command: Command, epochs: float, max_seq_length: int) -> None:
    """How long and in what batches."""
    command.group("Training", "train")
    command.string(
        "output_dir",
        None,
        "Folder for the fine-tuned model, its figures and TensorBoard logs. If it holds a checkpoint, the run goes on "
        "from there, exactly.",
        required=True,
    )
    command.boolean("do_train", False, "Train on --train_file.")
    command.integer(
        "max_seq_length",
        max_seq_length,
        "Pieces in a sequence, special tokens included.",
        lower_bound=8,
    )
    command.integer("train_batch_size", 32, "Examples in a step, over all devices together.", lower_bound=1)
    command.number("num_train_epochs", epochs, "Passes over the training data.", lower_bound=1e-9)
    command.integer("num_train_steps", None, "Steps instead of --num_train_epochs.", lower_bound=1)
    command.boolean(
        "group_by_length",
        True,
        "Put examples of like length into a batch and cut it to them: the same work in less time.",
    )
    command.integer(
        "gradient_accumulation_steps", 1, "Computes each batch in that many parts.", lower_bound=1
    )
    command.boolean("recompute", False, "Compute each layer a second time for its gradients: less memory.")
    command.integer("seed", 12345, "Of the head, dropout and order of the examples.", lower_bound=0)
    command.integer(
        "num_seeds",
        1,
        "Train so many times, with --seed, --seed + 1, …, in folders OUTPUT_DIR/seed-N; gives mean ± standard "
        "deviation. Seeds that are finished are passed over.",
        lower_bound=1,
    )
    command.integer(
        "eval_every",
        None,
        "Evaluate every so many steps and keep the best in OUTPUT_DIR/best.",
        lower_bound=1,
    )
    command.integer(
        "early_stopping",
        None,
        "With --eval_every: end after so many evaluations in a row that were not better than the best.",
        lower_bound=1,
    )
    command.string(
        "best_metric",
        None,
        "By which the best checkpoint is kept, any figure of the evaluation; - before it for lowest. Default: "
        "the task's own. Example: --best_metric=-loss",
    )
    command.integer("save_checkpoints_steps", 1000, "Steps between checkpoints.", lower_bound=1)
    command.integer("keep_checkpoint_max", 2, "Newest checkpoints to keep.", lower_bound=1)
    command.integer("log_steps", 100, "Steps between lines of progress.", lower_bound=1)
    command.string(
        "wandb_project",
        None,
        "Log to this project of Weights & Biases too (extra wandb). Off unless asked for.",
    )


def define_head(
    command: Command, poolings: Sequence[str] = (), meaning: str = "", default: str | None = None
) -> None:
    """What the scores are computed from; `poolings` where a text becomes one vector."""
    command.group("Head", "head")
    if poolings:
        command.enum("pooling", default, poolings, meaning)
    command.string(
        "layers",
        "-1",
        "Layers of the encoder that the head reads, side by side: 0 is the embeddings, -1 the last. Example: "
        "--layers=-1,-2,-3,-4",
    )
    command.integer(
        "lstm_units",
        0,
        "Put an LSTM of so many units in each direction between encoder and head; 0 for none.",
        lower_bound=0,
    )


def define_loss(command: Command, of: str = "") -> None:
    """How classes are learned."""
    command.group("Loss", "loss")
    command.enum(
        "loss", "cross_entropy", choices.LOSSES, of + "focal and ldam are for classes of unequal size."
    )
    command.number(
        "label_smoothing", 0.0, "Of cross_entropy. Example: 0.1", lower_bound=0.0, upper_bound=0.999
    )
    command.number("focal_gamma", 2.0, "Of focal: 0 is cross entropy.", lower_bound=0.0)
    command.number("ldam_margin", 0.5, "Of ldam: the rarest class's margin.", lower_bound=0.0)
    command.number(
        "ldam_scale", 30.0, "Of ldam: what scores less margins are multiplied by.", lower_bound=1e-6
    )
    command.boolean("class_weights", False, "Weigh rare classes more, by their effective number.")
    command.number(
        "deferred_reweighting",
        None,
        "Weigh rare classes more after this share of the training, as LDAM's authors do. Example: 0.8",
        lower_bound=0.0,
        upper_bound=1.0,
    )


def define_test(command: Command, meaning_of_predict: str, do_eval: bool = True) -> None:
    """What is done with the model."""
    command.group("Evaluation and prediction", "test")
    if do_eval:
        command.boolean("do_eval", False, "Evaluate on --eval_file and write eval_results.txt.")
    command.boolean("do_predict", False, meaning_of_predict)
    command.boolean(
        "load_best",
        True,
        "Evaluate and predict with the best checkpoint where --eval_every kept one; else with the last.",
    )
    command.integer("eval_batch_size", 32, "Examples at a time when scoring.", lower_bound=1)


def define_rest(command: Command) -> None:
    """Optimizer and devices, as pretraining has them."""
    training_flags.define_optimizer(command, pretraining=False)
    training_flags.define_devices(command)


def check(command: Command, values: flags.FlagValues) -> None:
    """Refuses flags that contradict each other."""
    training_flags.check(values)
    if values.do_train and not values.train_file:
        raise UsageError("--do_train needs --train_file.")
    if values.num_train_steps is not None and command.given("num_train_epochs"):
        raise UsageError("give --num_train_steps or --num_train_epochs, not both.")
    if values.early_stopping and not values.eval_every:
        raise UsageError("--early_stopping counts evaluations: give --eval_every.")
    if not values.do_train and (values.adapt_on or values.num_seeds > 1):
        raise UsageError("--adapt_on and --num_seeds go with --do_train.")
    if values.do_lower_case is not None and not values.vocab_file:
        raise UsageError("--do_lower_case goes with --vocab_file.")


def check_files(command: Command, values: flags.FlagValues) -> None:
    """Refuses what `check` does, and a command of `--train_file`, `--eval_file` and `--predict_file` that has nothing
    to do, or not its file.
    """
    check(command, values)
    if not (values.do_train or values.do_eval or values.do_predict):
        raise UsageError("nothing to do: give --do_train, --do_eval, --do_predict or several.")
    for doing, file in (
        ("do_eval", "eval_file"),
        ("do_predict", "predict_file"),
        ("eval_every", "eval_file"),
    ):
        if values[doing].value and not values[file].value:
            raise UsageError(f"--{doing} needs --{file}.")


def head_config(values: flags.FlagValues, pooling: str | None = None) -> HeadConfig:
    """The head that is asked for."""
    from morphbert.finetune.heads import HeadConfig

    try:
        layers = tuple(int(number) for number in values.layers.split(","))
    except ValueError:
        raise UsageError(f"--layers={values.layers}: give numbers with commas, such as -1,-2.") from None
    return HeadConfig(pooling or values.pooling, layers, values.lstm_units)


def loss_config(values: flags.FlagValues, counts: Sequence[int]) -> LossConfig:
    """The loss that is asked for, of classes that occur so often in the training data."""
    from morphbert.finetune.losses import LossConfig

    same_name = (
        "loss",
        "label_smoothing",
        "focal_gamma",
        "ldam_margin",
        "ldam_scale",
        "deferred_reweighting",
    )
    weighs = values.class_weights or values.deferred_reweighting is not None
    return LossConfig(
        counts=tuple(counts), class_weights=weighs, **{name: getattr(values, name) for name in same_name}
    )


def saved_task(values: flags.FlagValues) -> dict[str, Any] | None:
    """What the output folder says about its task, if it holds one and is not to be trained."""
    from morphbert.finetune.task_file import read_task

    return None if values.do_train else read_task(values.output_dir)


def task_in_folder(values: flags.FlagValues, saved: Mapping[str, Any], kind: type[_SomeTask]) -> _SomeTask:
    """The task of what `saved_task` gave.

    Raises:
      MorphbertError: it is that of another command.
    """
    from morphbert.finetune.tasks import task_of

    found = task_of(saved)
    if type(found) is not kind:  # some tasks are made from others
        raise MorphbertError(
            f"--output_dir={values.output_dir} holds a model of another task, {saved['task']}."
        )
    return found


def counts_of_labels(values: flags.FlagValues, labels: Sequence[str], given: Iterable[object]) -> list[int]:
    """How often each label occurs in the training data; those that never do are named."""
    seen = collections.Counter(map(str, given))
    empty = [label for label in labels if not seen[label]]
    if empty:
        print(f"warning: {values.train_file} has no example of {', '.join(empty)}", flush=True)
    return [seen[label] for label in labels]


def find_start(values: flags.FlagValues) -> Start:
    """The model to start from; once there is a model in the output folder, that folder's own is enough."""
    from morphbert.finetune.pretrained_start import find_start as find
    from morphbert.finetune.task_file import TASK_NAME

    names = ("init_checkpoint", "bert_config_file", "vocab_file")
    init, config_file, vocabulary = (values[name].value or None for name in names)
    folder = values.output_dir
    if init is None and os.path.exists(os.path.join(folder, TASK_NAME)):
        config_file, vocabulary = (
            config_file or os.path.join(folder, "bert_config.json"),
            vocabulary or folder,
        )
        if vocabulary == folder and not os.path.exists(os.path.join(folder, "morphbert_tokenizer.json")):
            raise MorphbertError(f"--output_dir={folder} has no vocabulary of its own: give --vocab_file.")
    start = find(init, config_file, vocabulary, values.do_lower_case)
    if values.max_seq_length > start.config.max_position_embeddings:
        raise UsageError(
            f"--max_seq_length={values.max_seq_length}, but the model has {start.config.max_position_embeddings} "
            "positions: lower it, or lengthen the model with import_model.py --max_position_embeddings."
        )
    return start


def run_config(
    values: flags.FlagValues, start: Start, problem: Problem, reweighted: LossConfig | None
) -> FineTuneConfig:
    """The configuration of a run on a problem's examples."""
    from morphbert.finetune.run import FineTuneConfig

    steps = values.num_train_steps
    if steps is None:
        examples = 0 if problem.train is None else len(problem.train)
        steps = max(1, int(examples * values.num_train_epochs / values.train_batch_size))
    devices = training_flags.devices(values)
    same_name = (
        *("output_dir", "init_checkpoint", "do_train", "eval_every", "early_stopping", "train_batch_size"),
        *("eval_batch_size", "save_checkpoints_steps", "keep_checkpoint_max", "iterations_per_loop"),
        *("log_steps", "group_by_length", "freeze_embeddings", "freeze_layers", "wandb_project"),
    )
    learned = (
        {} if reweighted is None else {"loss": reweighted.loss, "class_weights": reweighted.class_weights}
    )
    return FineTuneConfig(
        bert_config=start.config,
        optimizer=training_flags.optimizer(values, steps, int(steps * values.warmup_proportion)),
        step=training_flags.step(values, devices),
        devices=devices,
        best_metric=values.best_metric or problem.best_metric,
        reweighted_from=None if reweighted is None else reweighted.begins(steps),
        task={**problem.saved, **learned},
        **{name: getattr(values, name) for name in same_name},
    )


def run(
    command: Command,
    argv: Sequence[str] | None,
    check: Callable[[Command, flags.FlagValues], None],
    problem_of: Callable[[flags.FlagValues, Start], tuple[Problem, LossConfig | None]],
    texts_of: Callable[[flags.FlagValues, str], Iterable[Sequence[str]]],
) -> int:
    """Runs a command; returns its exit status (128 + the signal's number where one stopped it).

    Args:
      check: refuses flags that contradict each other.
      problem_of: reads the files; the loss where its classes can be weighed.
      texts_of: a file of the task's → its texts for continued pretraining, a document's parts at a time.
    """
    stopped_by: list[int] = []

    def go(values: flags.FlagValues) -> None:
        check(command, values)
        quiet_tensorflow.load()
        from morphbert.finetune.experiment import Plan, conduct
        from morphbert.finetune.word_vectors import read_word_vectors

        if values.adapt_on:
            try:
                adapted = task_adaptation.adapt(values, lambda path: texts_of(values, path))
            except task_adaptation.Stopped as stop:
                stopped_by.append(stop.signal)
                return
            values.init_checkpoint, values.bert_config_file = adapted, None
        start = find_start(values)
        problem, loss = problem_of(values, start)
        config = run_config(values, start, problem, loss)
        vectors = None
        if values.word_embeddings and values.do_train:
            width = start.config.embedding_width
            vectors = read_word_vectors(values.word_embeddings, start.tokenizer.vocabulary.tokens, width)
        do_eval = values.do_eval if "do_eval" in values else problem.held_out is not None
        plan = Plan(do_eval, values.do_predict, values.load_best, values.num_seeds)
        stopped = conduct(problem, start, config, plan, vectors)
        if stopped is not None:
            stopped_by.append(stopped)

    status = command.run(argv, go)
    if not stopped_by:
        return status
    print(f"stopped by signal {stopped_by[0]}; the same command continues.", file=sys.stderr)
    return 128 + stopped_by[0]
