"""The flags that all fine-tuning commands share, and the config that they make."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from absl import flags

from morphbert.cli import quiet_tensorflow, training_flags
from morphbert.cli.command import Command
from morphbert.errors import UsageError
from morphbert.finetune.config import LOSSES, FineTuneConfig, HeadConfig, LossConfig

_Config = TypeVar("_Config", bound=FineTuneConfig)


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
    command.string(
        "adapt_on",
        None,
        "Before fine-tuning go on pretraining the model on text (Gururangan et al. 2020), masked LM alone, in "
        "OUTPUT_DIR/adapted. train: that of --train_file; else files of the task's format, or .txt with a "
        "sentence a line and an empty line between documents.",
    )
    command.integer("adapt_steps", 1000, "Steps of it.", lower_bound=1)
    command.integer("adapt_batch_size", 32, "Sequences in a step of it.", lower_bound=1)
    command.number("adapt_learning_rate", 5e-5, "Its highest learning rate.", lower_bound=0.0)
    command.integer("adapt_dupe_factor", 5, "Passes over the text, each with other masks.", lower_bound=1)


def define_encoding(command: Command) -> None:
    """How the files of examples are encoded."""
    command.string(
        "encoding",
        "utf-8",
        "The encoding of the files of examples. Example: --encoding=cp949, in which Excel writes Korean CSV.",
    )


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
    command.enum("loss", "cross_entropy", LOSSES, of + "focal and ldam are for classes of unequal size.")
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
    training_flags.define_optimizer(command)
    training_flags.define_devices(command)


def config_of(kind: type[_Config], command: Command, **own: Any) -> _Config:
    """Returns the config that the flags make; `own` are fields whose values are not the flags' as they stand.

    Raises:
      UsageError: flags contradict each other.
    """
    values = command.values
    if values.num_train_steps is not None and command.given("num_train_epochs"):
        raise UsageError("give --num_train_steps or --num_train_epochs, not both.")
    devices = training_flags.devices(values)
    made = {
        "head": _head(values, kind),
        "optimizer": training_flags.optimizer(values),
        "step": training_flags.step(values, devices),
        "devices": devices,
        **own,
    }
    if "loss" in values:
        made["loss"] = _loss(values)
    names = {field.name for field in dataclasses.fields(kind)}.difference(made)
    return kind(**{name: values[name].value for name in names if name in values}, **made)


def _head(values: flags.FlagValues, kind: type[FineTuneConfig]) -> HeadConfig:
    (default,) = (field.default for field in dataclasses.fields(kind) if field.name == "head")
    assert isinstance(default, HeadConfig)
    try:
        layers = tuple(int(number) for number in values.layers.split(","))
    except ValueError:
        raise UsageError(f"--layers={values.layers}: give numbers with commas, such as -1,-2.") from None
    pooling = values.pooling if "pooling" in values else default.pooling
    return HeadConfig(pooling, layers, values.lstm_units)


def _loss(values: flags.FlagValues) -> LossConfig:
    names = {field.name for field in dataclasses.fields(LossConfig)} - {"counts"}
    return LossConfig(**{name: values[name].value for name in names})


def words(value: str | None) -> tuple[str, ...]:
    """`"a,b"` → `("a", "b")`; nothing → nothing."""
    return tuple(name for name in (value or "").split(",") if name)


def run(command: Command, argv: Sequence[str] | None, config: Callable[[Command], FineTuneConfig]) -> int:
    """Runs a command; returns its exit status (128 + the signal's number where one stopped it).

    Args:
      config: the command's flags → what to do.
    """
    stopped_by: list[int] = []

    def go(values: flags.FlagValues) -> None:
        quiet_tensorflow.load()
        from morphbert.finetune.experiment import fine_tune

        stopped = fine_tune(config(command)).stopped_by
        if stopped is not None:
            stopped_by.append(stopped)

    status = command.run(argv, go)
    if not stopped_by:
        return status
    print(f"stopped by signal {stopped_by[0]}; the same command continues.", file=sys.stderr)
    return 128 + stopped_by[0]
