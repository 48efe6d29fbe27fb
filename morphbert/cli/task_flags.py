"""The flags that all fine-tuning commands share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from absl import flags

from morphbert.cli import training_flags
from morphbert.cli.command import Command
from morphbert.errors import UsageError

if TYPE_CHECKING:
    from morphbert.finetune.pretrained_start import Start
    from morphbert.finetune.run import FineTuneConfig


def define_model(command: Command) -> None:
    """Where the model comes from and goes to."""
    command.group("Model")
    command.string(
        "init_checkpoint",
        None,
        "The pretrained model: a folder or checkpoint of this program or of google-research/bert, or a Hugging Face "
        "folder. Without it the weights are random.",
    )
    command.string(
        "bert_config_file", None, "Its configuration. Default: bert_config.json beside the checkpoint."
    )
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
    command.string(
        "output_dir",
        None,
        "Folder for the fine-tuned model, its figures and TensorBoard logs. If it holds a checkpoint, the run goes on "
        "from there, exactly.",
        required=True,
    )


def define_training(command: Command, epochs: float, max_seq_length: int) -> None:
    """How long and in what batches."""
    command.group("Training")
    command.boolean("do_train", False, "Train on --train_file.")
    command.integer(
        "max_seq_length",
        max_seq_length,
        "Pieces in a sequence, special tokens included; longer texts are cut.",
        lower_bound=8,
    )
    command.integer("train_batch_size", 32, "Examples in a step, over all devices together.", lower_bound=1)
    command.integer("eval_batch_size", 32, "Examples at a time when scoring.", lower_bound=1)
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
        "eval_every",
        None,
        "Evaluate every so many steps and keep the best in OUTPUT_DIR/best.",
        lower_bound=1,
    )
    command.integer("save_checkpoints_steps", 1000, "Steps between checkpoints.", lower_bound=1)
    command.integer("keep_checkpoint_max", 2, "Newest checkpoints to keep.", lower_bound=1)
    command.integer("log_steps", 100, "Steps between lines of progress.", lower_bound=1)


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


def find_start(values: flags.FlagValues) -> Start:
    """The model to start from; once there is a model in the output folder, that folder's own is enough."""
    import os

    from morphbert.errors import MorphbertError
    from morphbert.finetune.pretrained_start import find_start as find
    from morphbert.finetune.task_file import TASK_NAME

    init, config_file, vocabulary = values.init_checkpoint, values.bert_config_file, values.vocab_file
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
    values: flags.FlagValues, start: Start, examples: int, best_metric: str, task: Mapping[str, Any]
) -> FineTuneConfig:
    """The configuration of a run on so many examples."""
    from morphbert.finetune.run import FineTuneConfig

    steps = values.num_train_steps
    if steps is None:
        steps = max(1, int(examples * values.num_train_epochs / values.train_batch_size))
    devices = training_flags.devices(values)
    return FineTuneConfig(
        bert_config=start.config,
        output_dir=values.output_dir,
        init_checkpoint=values.init_checkpoint,
        do_train=values.do_train,
        eval_every=values.eval_every,
        train_batch_size=values.train_batch_size,
        eval_batch_size=values.eval_batch_size,
        save_checkpoints_steps=values.save_checkpoints_steps,
        keep_checkpoint_max=values.keep_checkpoint_max,
        iterations_per_loop=values.iterations_per_loop,
        log_steps=values.log_steps,
        optimizer=training_flags.optimizer(values, steps, int(steps * values.warmup_proportion)),
        step=training_flags.step(values, devices),
        devices=devices,
        group_by_length=values.group_by_length,
        best_metric=best_metric,
        task=task,
    )
