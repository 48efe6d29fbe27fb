"""The configuration that all fine-tuning tasks share: head, loss and run. The flags are made from its fields.

Importing this module loads no TensorFlow, so that the commands' `--help` is quick.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from morphbert.errors import UsageError
from morphbert.finetune import task_options
from morphbert.finetune.advice import entropy
from morphbert.finetune.plugins import CUSTOM_TASKS, HEADS, LOSSES, METRICS
from morphbert.options import (
    NonNegativeFloat,
    NonNegativeInt,
    PathStr,
    PositiveInt,
    Share,
    configuration,
    option,
    optional,
    options,
    value_of,
)
from morphbert.plugins import plugin_option
from morphbert.train import loop_options
from morphbert.train.cluster.config import GROUP as DEVICES
from morphbert.train.cluster.config import DeviceConfig
from morphbert.train.optimizers.config import GROUP as OPTIMIZER
from morphbert.train.optimizers.config import OptimizerConfig, warmup_steps
from morphbert.train.step_config import StepConfig

# The value of `adapt_on` for the text of the training examples.
TRAIN = "train"

_OF_CLS = "cls: BERT's pooler over [CLS]; with several layers [CLS] itself, with an LSTM its final states. "


@configuration
class HeadConfig:
    """The input of a head.

    Attributes:
      pooling: the function that reduces the pieces of a text to one vector, see `sentence_vector`; `pieces` if each
        piece has a score.
      layers: the encoder's layers that are concatenated: 0 is the embeddings, -1 the last.
      lstm_units: the units in each direction of an LSTM above the encoder; 0 for none.
    """

    pooling: str = "cls"
    layers: tuple[int, ...] = option(
        default=(-1,),
        help="The encoder's layers whose concatenation the head reads: 0 is the embeddings, -1 the last. Example: "
        "--layers=-1,-2,-3,-4",
    )
    lstm_units: NonNegativeInt = option(
        default=0,
        help="Put an LSTM with this many units in each direction between encoder and head; 0 for none.",
    )

    @property
    def uses_pooler(self) -> bool:
        """Whether the head uses BERT's pooler, which fits only the unchanged last layer; otherwise `cls` is [CLS]
        itself.
        """
        return self.pooling == "cls" and self.layers == (-1,) and not self.lstm_units

    @property
    def uses_transform(self) -> bool:
        """Whether, in a model without a pooler, the head reads the last layer through the masked LM's head."""
        return self.pooling in ("cls", "pieces") and self.layers == (-1,) and not self.lstm_units

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON values for `task.json`."""
        return {"pooling": self.pooling, "layers": list(self.layers), "lstm_units": self.lstm_units}

    @staticmethod
    def from_dict(values: Mapping[str, Any], pooling: str = "cls") -> HeadConfig:
        """Reads the result of `to_dict` or an older version of it; `pooling` replaces a missing one."""
        layers = tuple(values.get("layers", (-1,)))
        return HeadConfig(
            pooling=values.get("pooling", pooling), layers=layers, lstm_units=values.get("lstm_units", 0)
        )


@configuration
class TextHeadConfig(HeadConfig):
    """The head of a task with one prediction per text."""

    pooling: Literal["cls", "mean", "max"] = option(
        default="cls", help=_OF_CLS + "mean, max: over all pieces."
    )


@configuration
class PieceHeadConfig(HeadConfig):
    """The head of a task that scores each piece."""

    pooling: str = "pieces"


@configuration
class RelationHeadConfig(HeadConfig):
    """The head of a task with one prediction per pair of entities."""

    pooling: Literal["entities", "cls", "mean", "max"] = option(
        default="entities",
        help="entities: [CLS] and the mean of each entity's pieces. cls, mean, max: over the whole sentence, markers "
        "in it.",
    )


POOLER = TextHeadConfig()
NO_POOLING = PieceHeadConfig()
ENTITIES = RelationHeadConfig()


@configuration
class LossConfig:
    """The loss of classes.

    Attributes:
      loss: `cross_entropy`, `focal`, `ldam`, or the name of a plugin's loss.
      label_smoothing: for `cross_entropy`. focal_gamma: for `focal`. ldam_margin: for `ldam`, the margin of the rarest
        class. ldam_scale: for `ldam`, the factor of scores minus margins. class_weights: whether rare classes have
        larger weights, by their effective number. deferred_reweighting: the share of training after which
        `class_weights` apply; None for the beginning. counts: the number of examples of each class in the training
        data, for `ldam` and the weights.
    """

    loss: str = option(
        default="cross_entropy",
        help="cross_entropy, focal or ldam, or the name of a loss of --plugin. focal and ldam are for classes of "
        "unequal size.",
    )
    label_smoothing: float = option(
        default=0.0, at_least=0, at_most=0.999, help="For cross_entropy. Example: 0.1"
    )
    focal_gamma: NonNegativeFloat = option(default=2.0, help="For focal: 0 is cross entropy.")
    ldam_margin: NonNegativeFloat = option(default=0.5, help="For ldam: the margin of the rarest class.")
    ldam_scale: float = option(
        default=30.0, at_least=1e-6, help="For ldam: the factor of scores minus margins."
    )
    class_weights: bool = option(
        default=False, help="Give rare classes larger weights, by their effective number."
    )
    deferred_reweighting: Share | None = optional(
        help="Give rare classes larger weights after this share of the training, as LDAM's authors do. Example: 0.8"
    )
    counts: tuple[int, ...] = ()

    @property
    def weighs(self) -> bool:
        """Whether classes have weights, deferred or not."""
        return self.class_weights or self.deferred_reweighting is not None

    def of_counts(self, counts: Sequence[int]) -> LossConfig:
        """Returns the loss for classes with these counts."""
        return dataclasses.replace(self, counts=tuple(counts), class_weights=self.weighs)

    def guessing(self, classes: int) -> float:
        """Returns the approximate largest mean loss of an untrained model, which identifies a diverged run."""
        if self.loss not in LOSSES.own:
            return sys.float_info.max  # a plugin's loss has any scale
        largest = math.log(max(2, classes))
        if self.loss == "ldam":
            largest += self.ldam_scale * self.ldam_margin
        return largest * (float(class_weights(self.counts).max()) if self.class_weights else 1.0)

    @property
    def chance(self) -> float:
        """The cross entropy of guessing with the frequencies of the classes; infinite for another loss."""
        if self.loss != "cross_entropy" or self.label_smoothing or self.weighs or not self.counts:
            return math.inf
        return entropy(self.counts)

    def begins(self, num_train_steps: int) -> int | None:
        """Returns the step at which class weights begin; None if there are none or they always apply."""
        share = self.deferred_reweighting
        return None if share is None or not self.class_weights else round(share * num_train_steps)


CROSS_ENTROPY = LossConfig()


def class_weights(counts: Sequence[int], beta: float = 0.999) -> np.ndarray:
    """Returns (1 - beta) / (1 - beta^n) for each class, scaled to a mean of 1: float32 [C]."""
    weights = (1.0 - beta) / (1.0 - np.power(beta, np.maximum(counts, 1)))
    scaled: np.ndarray = (weights * (len(weights) / weights.sum())).astype(np.float32)
    return scaled


def max_seq_length_option(default: int) -> Any:
    """Returns the field, whose default is a task's own."""
    return option(
        default=default, at_least=8, help="The number of pieces in a sequence, special tokens included."
    )


def num_train_epochs_option(default: float) -> Any:
    """Returns the field, whose None stands for a task's own default."""
    return optional(stands_for=default, at_least=1e-9, help="The number of passes over the training data.")


def _of_subclasses(default: Any) -> Any:
    """Returns a field that only subclasses with an option of this name can set; its place orders their flags."""
    return dataclasses.field(default=default, init=False)


@configuration
class FineTuneConfig:
    """The common configuration of all fine-tuning commands; subclasses add a task's values.

    `--help` explains each field. The optimizer's numbers of steps are not fields: they follow from the examples, the
    epochs and the warm-up.

    Attributes:
      task_name: the task, a key of `morphbert.finetune.tasks.TASKS`.
      evaluates_on_predict_file: whether the task has no `eval_file` and evaluates on `predict_file`.
      scored_with: the modules that an evaluation imports, each with the name of its package.
    """

    task_name: ClassVar[str]
    evaluates_on_predict_file: ClassVar[bool] = False
    scored_with: ClassVar[Mapping[str, str]] = {}

    vocab_file: PathStr | None = optional(
        group="Tokenizer",
        section="tokenizer",
        help="The model's vocabulary: a folder made by build_vocab.py, or a plain vocab.txt. Default: the one beside "
        "the model, if there is one.",
    )
    do_lower_case: bool | None = optional(
        help="For a plain vocab.txt: lower-case the text. Default: true unless the vocabulary has capital letters."
    )
    init_checkpoint: PathStr | None = optional(
        group="Model",
        section="model",
        instead_of="bert_config_file",
        help="The pretrained model: a folder or checkpoint of this program or of google-research/bert, or a Hugging "
        "Face folder. Without it, or with an empty value, the weights are random.",
    )
    bert_config_file: PathStr | None = optional(
        help="Its configuration. Default: bert_config.json beside the checkpoint."
    )
    plugin: tuple[str, ...] = plugin_option(
        "A Python file that registers tasks, heads, losses and metrics by name (docs/plugins.md); several, divided by "
        "commas or with the flag repeated. Predictions with the model need it too."
    )
    custom_task: str | None = optional(
        help="The name of a task of --plugin, which takes the place of this command's and reads the same files."
    )
    task_option: tuple[str, ...] = option(
        default=(),
        repeatable=True,
        help="NAME=VALUE: an option of the task of --custom_task (docs/plugins.md); several, divided by commas or with "
        "the flag repeated.",
    )
    word_embeddings: PathStr | None = optional(
        help="A word2vec text file. Pieces in it start from its vectors, whose size must be that of the model's "
        "embeddings."
    )
    freeze_embeddings: bool = option(default=False, help="Do not train the embeddings.")
    freeze_layers: NonNegativeInt = option(
        default=0, help="Do not train the embeddings and this many of the lowest layers."
    )
    adapt_on: str | None = optional(
        help="Before fine-tuning, continue pretraining the model on text (Gururangan et al. 2020) with the masked LM "
        "only, in OUTPUT_DIR/adapted. train: the text of --train_file; otherwise files of the task's format, or .txt "
        "with one sentence per line and an empty line between documents."
    )
    adapt_steps: PositiveInt = option(default=1000, help="The number of steps of --adapt_on.")
    adapt_batch_size: PositiveInt = option(
        default=32, help="The number of sequences in a step of --adapt_on."
    )
    adapt_learning_rate: NonNegativeFloat = option(
        default=5e-5, help="The highest learning rate of --adapt_on."
    )
    adapt_dupe_factor: PositiveInt = option(
        default=5, help="The number of passes of --adapt_on over the text, each with other masks."
    )
    train_file: str | None = optional(group="Data", section="data", help="The labelled training examples.")
    eval_file: str | None = _of_subclasses(None)
    predict_file: str | None = optional(help="The examples to predict; they need no labels.")
    encoding: str = option(
        default="utf-8",
        help="The encoding of the files of examples. Example: --encoding=cp949, the encoding of Excel's Korean CSV "
        "files.",
    )
    output_dir: PathStr = option(
        group="Training",
        section="train",
        help="The folder for the fine-tuned model, its figures and TensorBoard logs. If it contains a checkpoint, "
        "the run continues from it exactly.",
    )
    do_train: bool = option(default=False, help="Train on --train_file.")
    max_seq_length: int = max_seq_length_option(128)
    train_batch_size: PositiveInt = option(
        default=32, help="The number of examples in a step, over all devices."
    )
    num_train_epochs: float | None = num_train_epochs_option(3.0)
    num_train_steps: PositiveInt | None = optional(
        instead_of="num_train_epochs", help="The number of steps, instead of --num_train_epochs."
    )
    group_by_length: bool = option(
        default=True,
        help="Batch examples of similar length and cut the batch to their length: the same result in less time.",
    )
    num_seeds: PositiveInt = option(
        default=1,
        help="Train this many times, with --seed, --seed + 1, …, in the folders OUTPUT_DIR/seed-N, and report mean ± "
        "standard deviation. Finished seeds are skipped.",
    )
    eval_every: PositiveInt | None = optional(
        help="Evaluate every this many steps and keep the best checkpoint in OUTPUT_DIR/best."
    )
    early_stopping: PositiveInt | None = optional(
        help="With --eval_every: end after this many consecutive evaluations without an improvement."
    )
    best_metric: str | None = optional(
        help="The figure of the evaluation that determines the best checkpoint; a leading - means the lowest value. "
        "Default: the task's figure. Example: --best_metric=-loss"
    )
    save_checkpoints_steps: PositiveInt = loop_options.save_checkpoints_steps()
    keep_checkpoint_max: PositiveInt = loop_options.keep_checkpoint_max(2)
    log_steps: PositiveInt = loop_options.log_steps()
    wandb_project: str | None = optional(
        help="Also log to this project of Weights & Biases (extra wandb). Default: off."
    )
    do_eval: bool = _of_subclasses(False)
    do_predict: bool = _of_subclasses(False)
    load_best: bool = option(
        default=True,
        group="Evaluation and prediction",
        section="test",
        help="Evaluate and predict with the best checkpoint if --eval_every kept one, else with the last.",
    )
    eval_batch_size: PositiveInt = option(default=32, help="The number of examples in a scoring batch.")
    metrics: tuple[str, ...] = option(
        default=(), help="More figures for the evaluation: names of metrics of --plugin, divided by commas."
    )
    head: HeadConfig = NO_POOLING
    custom_head: str | None = optional(
        flag="head",
        group="Head",
        section="head",
        help="The name of a head of --plugin, which takes the place of this command's.",
    )
    optimizer: OptimizerConfig = options(default=OptimizerConfig(), group=OPTIMIZER, section="optimizer")
    warmup_proportion: Share | None = optional(
        stands_for=0.1,
        group=OPTIMIZER,
        section="optimizer",
        help="The share of the steps over which the learning rate rises from 0.",
    )
    num_warmup_steps: NonNegativeInt | None = optional(
        instead_of="warmup_proportion", help="The number of these steps, instead of --warmup_proportion."
    )
    step: StepConfig = options(default=StepConfig(), group="Training", section="train")
    devices: DeviceConfig = options(default=DeviceConfig(), group=DEVICES, section="train")
    iterations_per_loop: PositiveInt = loop_options.iterations_per_loop(section="train")

    def __post_init__(self) -> None:
        """Refuses values that contradict each other.

        Raises:
          UsageError: the message names the values.
        """
        wanted = type(type(self).__dataclass_fields__["head"].default)
        if not isinstance(self.head, wanted):
            raise UsageError(f"head={self.head} must be a {wanted.__name__}.")
        if not self.plugin:
            self.check_parts()
        for one, other in (
            ("num_train_steps", "num_train_epochs"),
            ("num_warmup_steps", "warmup_proportion"),
        ):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise UsageError(f"give --{one} or --{other}, not both.")
        if self.do_train and not self.train_file:
            raise UsageError("--do_train needs --train_file.")
        if self.early_stopping and not self.eval_every:
            raise UsageError("--early_stopping counts evaluations: give --eval_every.")
        if not self.do_train and (self.adapt_on or self.num_seeds > 1):
            raise UsageError("--adapt_on and --num_seeds go with --do_train.")
        if self.do_lower_case is not None and not self.vocab_file:
            raise UsageError("--do_lower_case goes with --vocab_file.")
        self._check_files()

    def check_parts(self) -> None:
        """Refuses names of losses, metrics, tasks and heads that nothing registers, after the plugins are loaded.

        Raises:
          UsageError: the message lists the known names.
        """
        LOSSES.check(getattr(self, "loss", CROSS_ENTROPY).loss, self.plugin)
        for name in self.metrics:
            METRICS.check(name, self.plugin)
        if self.custom_task is not None:
            CUSTOM_TASKS.check(self.custom_task, self.plugin)
            kind = CUSTOM_TASKS.get(self.custom_task, f"--custom_task={self.custom_task}")
            task_options.given(kind, self.custom_task, self.task_option)
        elif self.task_option:
            raise UsageError(f"--task_option={','.join(self.task_option)} goes with --custom_task.")
        if self.custom_head is None:
            return
        HEADS.check(self.custom_head, self.plugin)
        usual = type(self).__dataclass_fields__["head"].default
        if (self.head.pooling, self.head.lstm_units) != (usual.pooling, usual.lstm_units):
            raise UsageError(
                f"--head={self.custom_head} replaces pooling and LSTM: leave out --pooling and --lstm_units."
            )
        head = HEADS.get(self.custom_head, f"--head={self.custom_head}")
        if head.separate_texts and self.task_name != "classification":
            raise UsageError(
                f"--head={self.custom_head} encodes texts alone (separate_texts), which is for run_classifier.py: set "
                "separate_texts to False."
            )

    def columns(self, labelled: bool) -> Mapping[str, str]:
        """Returns the columns that each row of a table needs, each with its flag; none if the files are no tables.

        Args:
          labelled: whether to include the column of the label.
        """
        return {}

    def _check_files(self) -> None:
        if not (self.do_train or self.do_eval or self.do_predict):
            raise UsageError("nothing to do: give --do_train, --do_eval, --do_predict or several.")
        for doing, file in (
            ("do_eval", "eval_file"),
            ("do_predict", "predict_file"),
            ("eval_every", "eval_file"),
        ):
            if getattr(self, doing) and not getattr(self, file):
                raise UsageError(f"--{doing} needs --{file}.")

    def steps_over(self, examples: int) -> int:
        """Returns the number of training steps for a number of examples."""
        if self.num_train_steps is not None:
            return self.num_train_steps
        return max(1, int(examples * value_of(self, "num_train_epochs") / self.train_batch_size))

    def warmup_of(self, num_train_steps: int) -> int:
        """Returns the number of steps of the warm-up, of all training steps."""
        return warmup_steps(self.num_warmup_steps, value_of(self, "warmup_proportion"), num_train_steps)
