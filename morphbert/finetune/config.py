"""What fine-tuning is told, whatever the task: head, loss and run; the flags are made from the fields.

Importing this module loads no TensorFlow, so that the commands' `--help` is quick.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from morphbert.errors import UsageError
from morphbert.options import configuration, option, options
from morphbert.train.cluster.config import GROUP as DEVICES
from morphbert.train.cluster.config import DeviceConfig
from morphbert.train.optimizers.config import OptimizerConfig
from morphbert.train.step_config import StepConfig

_OF_CLS = "cls: BERT's pooler over [CLS]; of several layers [CLS] itself, of an LSTM its ends. "


@configuration
class HeadConfig:
    """What a head reads.

    Attributes:
      pooling: how the pieces of a text become one vector, see `sentence_vector`; `pieces` where each has its own score.
      layers: the encoder's layers that are concatenated: 0 is the embeddings, -1 the last.
      lstm_units: of an LSTM in each direction on top of them; 0 for none.
    """

    pooling: str = "cls"
    layers: tuple[int, ...] = option(
        default=(-1,),
        help="Layers of the encoder that the head reads, side by side: 0 is the embeddings, -1 the last. Example: "
        "--layers=-1,-2,-3,-4",
    )
    lstm_units: int = option(
        default=0,
        at_least=0,
        help="Put an LSTM of so many units in each direction between encoder and head; 0 for none.",
    )

    @property
    def uses_pooler(self) -> bool:
        """BERT's pooler is made for the last layer as it is; above anything else `cls` is [CLS] alone."""
        return self.pooling == "cls" and self.layers == (-1,) and not self.lstm_units

    @property
    def uses_transform(self) -> bool:
        """In a model without a pooler, what reads the last layer as it is reads it through the masked LM's head."""
        return self.pooling in ("cls", "pieces") and self.layers == (-1,) and not self.lstm_units

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, for `task.json`."""
        return {"pooling": self.pooling, "layers": list(self.layers), "lstm_units": self.lstm_units}

    @staticmethod
    def from_dict(values: Mapping[str, Any], pooling: str = "cls") -> HeadConfig:
        """Reads what `to_dict` gives, or an older version of it; `pooling` is for one that names none."""
        layers = tuple(values.get("layers", (-1,)))
        return HeadConfig(
            pooling=values.get("pooling", pooling), layers=layers, lstm_units=values.get("lstm_units", 0)
        )


@configuration
class TextHeadConfig(HeadConfig):
    """The head of a task that tells something of a whole text."""

    pooling: Literal["cls", "mean", "max"] = option(
        default="cls", help=_OF_CLS + "mean, max: over all pieces."
    )


@configuration
class PieceHeadConfig(HeadConfig):
    """The head of a task that scores each piece."""

    pooling: str = "pieces"


@configuration
class RelationHeadConfig(HeadConfig):
    """The head of a task that tells something of two entities."""

    pooling: Literal["entities", "cls", "mean", "max"] = option(
        default="entities",
        help="entities: [CLS] and the mean of each entity's pieces. cls, mean, max: of the whole sentence, markers in "
        "it.",
    )


POOLER = TextHeadConfig()
NO_POOLING = PieceHeadConfig()
ENTITIES = RelationHeadConfig()


@configuration
class LossConfig:
    """How classes are learned.

    Attributes:
      loss: `cross_entropy`, `focal` or `ldam`.
      label_smoothing: of `cross_entropy`.
      focal_gamma: of `focal`.
      ldam_margin: of `ldam`: the rarest class's margin.
      ldam_scale: of `ldam`: what scores less margins are multiplied by.
      class_weights: weigh rare classes more, by their effective number.
      deferred_reweighting: the share of training after which `class_weights` begin; None for the beginning.
      counts: examples of each class in the training data, for `ldam` and the weights.
    """

    loss: Literal["cross_entropy", "focal", "ldam"] = option(
        default="cross_entropy", help="focal and ldam are for classes of unequal size."
    )
    label_smoothing: float = option(
        default=0.0, at_least=0, at_most=0.999, help="Of cross_entropy. Example: 0.1"
    )
    focal_gamma: float = option(default=2.0, at_least=0, help="Of focal: 0 is cross entropy.")
    ldam_margin: float = option(default=0.5, at_least=0, help="Of ldam: the rarest class's margin.")
    ldam_scale: float = option(
        default=30.0, at_least=1e-6, help="Of ldam: what scores less margins are multiplied by."
    )
    class_weights: bool = option(default=False, help="Weigh rare classes more, by their effective number.")
    deferred_reweighting: float | None = option(
        default=None,
        at_least=0,
        at_most=1,
        help="Weigh rare classes more after this share of the training, as LDAM's authors do. Example: 0.8",
    )
    counts: tuple[int, ...] = ()

    @property
    def weighs(self) -> bool:
        """Whether classes have weights; deferred ones are weights too."""
        return self.class_weights or self.deferred_reweighting is not None

    def of_counts(self, counts: Sequence[int]) -> LossConfig:
        """Returns the loss for classes that occur so often."""
        return dataclasses.replace(self, counts=tuple(counts), class_weights=self.weighs)

    def guessing(self, classes: int) -> float:
        """About the largest mean loss of a model that knows nothing, by which a run that blew up is known."""
        largest = math.log(max(2, classes))
        if self.loss == "ldam":
            largest += self.ldam_scale * self.ldam_margin
        return largest * (float(class_weights(self.counts).max()) if self.class_weights else 1.0)

    def begins(self, num_train_steps: int) -> int | None:
        """The step from which the weights of classes hold, None where there are none or they always do."""
        share = self.deferred_reweighting
        return None if share is None or not self.class_weights else round(share * num_train_steps)


CROSS_ENTROPY = LossConfig()


def class_weights(counts: Sequence[int], beta: float = 0.999) -> np.ndarray:
    """(1 - beta) / (1 - beta^n) for each class, scaled to a mean of 1: float32 [C]."""
    weights = (1.0 - beta) / (1.0 - np.power(beta, np.maximum(counts, 1)))
    scaled: np.ndarray = (weights * (len(weights) / weights.sum())).astype(np.float32)
    return scaled


def max_seq_length_option(default: int) -> Any:
    """Returns the field, whose default is a task's own."""
    return option(default=default, at_least=8, help="Pieces in a sequence, special tokens included.")


def num_train_epochs_option(default: float) -> Any:
    """Returns the field, whose default is a task's own."""
    return option(default=default, at_least=1e-9, help="Passes over the training data.")


@configuration
class FineTuneConfig:
    """What every fine-tuning command is told; a task's own values stand in its subclass.

    `--help` explains each field under its name. The optimizer's numbers of steps are left out: they follow from the
    examples, the epochs and the warm-up.

    Attributes:
      task_name: the task, a key of `morphbert.finetune.tasks.TASKS`.
      evaluates_on_predict_file: the task has no `eval_file`: what it predicts is also what it is judged by.
    """

    task_name: ClassVar[str]
    evaluates_on_predict_file: ClassVar[bool] = False

    vocab_file: str | None = option(
        default=None,
        group="Tokenizer",
        section="tokenizer",
        help="The vocabulary that it was trained with: a folder made by build_vocab.py, or a plain vocab.txt. Default: "
        "the one beside the model, if there is one.",
    )
    do_lower_case: bool | None = option(
        default=None,
        help="For a plain vocab.txt: lower-case the text. Default: unless the vocabulary has capital letters.",
    )
    init_checkpoint: str | None = option(
        default=None,
        group="Model",
        section="model",
        instead_of="bert_config_file",
        help="The pretrained model: a folder or checkpoint of this program or of google-research/bert, or a Hugging "
        "Face folder. Without it, or with nothing behind the =, the weights are random.",
    )
    bert_config_file: str | None = option(
        default=None, help="Its configuration. Default: bert_config.json beside the checkpoint."
    )
    word_embeddings: str | None = option(
        default=None,
        help="A word2vec text file; the pieces that it knows start from its vectors, whose size has to be the model's.",
    )
    freeze_embeddings: bool = option(default=False, help="Leave the embeddings as they are.")
    freeze_layers: int = option(
        default=0,
        at_least=0,
        help="Leave the embeddings and so many of the lowest layers as they are.",
    )
    adapt_on: str | None = option(
        default=None,
        help="Before fine-tuning go on pretraining the model on text (Gururangan et al. 2020), masked LM alone, in "
        "OUTPUT_DIR/adapted. train: that of --train_file; else files of the task's format, or .txt with a "
        "sentence a line and an empty line between documents.",
    )
    adapt_steps: int = option(default=1000, at_least=1, help="Steps of it.")
    adapt_batch_size: int = option(default=32, at_least=1, help="Sequences in a step of it.")
    adapt_learning_rate: float = option(default=5e-5, at_least=0, help="Its highest learning rate.")
    adapt_dupe_factor: int = option(
        default=5, at_least=1, help="Passes over the text, each with other masks."
    )
    train_file: str | None = option(
        default=None, group="Data", section="data", help="Labelled examples to train on."
    )
    eval_file: str | None = None
    predict_file: str | None = option(default=None, help="Examples to predict; a label is not needed.")
    encoding: str = option(
        default="utf-8",
        help="The encoding of the files of examples. Example: --encoding=cp949, in which Excel writes Korean CSV.",
    )
    output_dir: str = option(
        group="Training",
        section="train",
        help="Folder for the fine-tuned model, its figures and TensorBoard logs. If it holds a checkpoint, the run "
        "goes on from there, exactly.",
    )
    do_train: bool = option(default=False, help="Train on --train_file.")
    max_seq_length: int = max_seq_length_option(128)
    train_batch_size: int = option(
        default=32, at_least=1, help="Examples in a step, over all devices together."
    )
    num_train_epochs: float = num_train_epochs_option(3.0)
    num_train_steps: int | None = option(
        default=None, at_least=1, instead_of="num_train_epochs", help="Steps instead of --num_train_epochs."
    )
    group_by_length: bool = option(
        default=True,
        help="Put examples of like length into a batch and cut it to them: the same work in less time.",
    )
    num_seeds: int = option(
        default=1,
        at_least=1,
        help="Train so many times, with --seed, --seed + 1, …, in folders OUTPUT_DIR/seed-N; gives mean ± standard "
        "deviation. Seeds that are finished are passed over.",
    )
    eval_every: int | None = option(
        default=None,
        at_least=1,
        help="Evaluate every so many steps and keep the best in OUTPUT_DIR/best.",
    )
    early_stopping: int | None = option(
        default=None,
        at_least=1,
        help="With --eval_every: end after so many evaluations in a row that were not better than the best.",
    )
    best_metric: str | None = option(
        default=None,
        help="By which the best checkpoint is kept, any figure of the evaluation; - before it for lowest. Default: "
        "the task's own. Example: --best_metric=-loss",
    )
    save_checkpoints_steps: int = option(default=1000, at_least=1, help="Steps between checkpoints.")
    keep_checkpoint_max: int = option(default=2, at_least=1, help="Newest checkpoints to keep.")
    log_steps: int = option(default=100, at_least=1, help="Steps between lines of progress.")
    wandb_project: str | None = option(
        default=None,
        help="Log to this project of Weights & Biases too (extra wandb). Off unless asked for.",
    )
    do_eval: bool = False
    do_predict: bool = False
    load_best: bool = option(
        default=True,
        group="Evaluation and prediction",
        section="test",
        help="Evaluate and predict with the best checkpoint where --eval_every kept one; else with the last.",
    )
    eval_batch_size: int = option(default=32, at_least=1, help="Examples at a time when scoring.")
    head: HeadConfig = NO_POOLING
    optimizer: OptimizerConfig = options(
        default=OptimizerConfig(), group="Optimizer (the defaults are BERT's)", section="optimizer"
    )
    warmup_proportion: float = option(
        default=0.1,
        at_least=0,
        at_most=1,
        group="Optimizer (the defaults are BERT's)",
        section="optimizer",
        help="Share of the steps over which the learning rate rises from 0.",
    )
    num_warmup_steps: int | None = option(
        default=None,
        at_least=0,
        instead_of="warmup_proportion",
        help="Steps of that instead of --warmup_proportion.",
    )
    step: StepConfig = options(default=StepConfig(), group="Training", section="train")
    devices: DeviceConfig = options(default=DeviceConfig(), group=DEVICES, section="train")
    iterations_per_loop: int = option(
        default=1000,
        at_least=1,
        group=DEVICES,
        section="train",
        help="Steps in one call of the compiled loop at most; a call ends after about 10 s in any case.",
    )

    def __post_init__(self) -> None:
        """Refuses values that contradict each other.

        Raises:
          UsageError: says which.
        """
        wanted = type(type(self).__dataclass_fields__["head"].default)
        if not isinstance(self.head, wanted):
            raise UsageError(f"head={self.head} has to be a {wanted.__name__}.")
        if self.do_train and not self.train_file:
            raise UsageError("--do_train needs --train_file.")
        if self.early_stopping and not self.eval_every:
            raise UsageError("--early_stopping counts evaluations: give --eval_every.")
        if not self.do_train and (self.adapt_on or self.num_seeds > 1):
            raise UsageError("--adapt_on and --num_seeds go with --do_train.")
        if self.do_lower_case is not None and not self.vocab_file:
            raise UsageError("--do_lower_case goes with --vocab_file.")
        self._check_files()

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
        """Returns the steps of a training over so many examples."""
        if self.num_train_steps is not None:
            return self.num_train_steps
        return max(1, int(examples * self.num_train_epochs / self.train_batch_size))
