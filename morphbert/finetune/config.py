"""What fine-tuning and prediction are told: one frozen value for each task, whose names are those of the flags.

Importing this module loads no TensorFlow, so that the commands' `--help` is quick.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from morphbert.errors import UsageError
from morphbert.train.cluster.config import DeviceConfig
from morphbert.train.optimizers.config import OptimizerConfig
from morphbert.train.step_config import StepConfig

POOLINGS = ("cls", "mean", "max")
RELATION_POOLINGS = ("entities", *POOLINGS)
LOSSES = ("cross_entropy", "focal", "ldam")
METRICS = ("korquad", "squad", "klue")
STRADDLING = ("split", "first")


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """What a head reads.

    Attributes:
      pooling: how the pieces of a text become one vector, see `sentence_vector`.
      layers: the encoder's layers that are concatenated: 0 is the embeddings, -1 the last.
      lstm_units: of an LSTM in each direction on top of them; 0 for none.
    """

    pooling: str = "cls"
    layers: tuple[int, ...] = (-1,)
    lstm_units: int = 0

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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], pooling: str = "cls") -> HeadConfig:
        """Reads what `to_dict` gives, or an older version of it; `pooling` is for one that names none."""
        layers = tuple(values.get("layers", (-1,)))
        return cls(values.get("pooling", pooling), layers, values.get("lstm_units", 0))


POOLER = HeadConfig()
# Of tasks that score each piece.
NO_POOLING = HeadConfig(pooling="pieces")
ENTITIES = HeadConfig(pooling="entities")


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """How classes are learned.

    Attributes:
      loss: `cross_entropy`, `focal` or `ldam`.
      label_smoothing: of `cross_entropy`.
      focal_gamma: of `focal`.
      ldam_margin: of `ldam`: the rarest class's margin.
      ldam_scale: of `ldam`: what scores less margins are multiplied by.
      counts: examples of each class in the training data, for `ldam` and the weights.
      class_weights: weigh rare classes more, by their effective number.
      deferred_reweighting: the share of training after which `class_weights` begin; None for the beginning.
    """

    loss: str = "cross_entropy"
    label_smoothing: float = 0.0
    focal_gamma: float = 2.0
    ldam_margin: float = 0.5
    ldam_scale: float = 30.0
    counts: tuple[int, ...] = ()
    class_weights: bool = False
    deferred_reweighting: float | None = None

    def of_counts(self, counts: Sequence[int]) -> LossConfig:
        """Returns the loss for classes that occur so often; deferred weights are weights."""
        weighs = self.class_weights or self.deferred_reweighting is not None
        return dataclasses.replace(self, counts=tuple(counts), class_weights=weighs)

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """What every fine-tuning command is told; a task's own values stand in its subclass.

    Names are those of the flags, which explain them. The optimizer's numbers of steps are left out: they follow from
    the examples, the epochs and the warm-up.

    Attributes:
      task_name: the task, a key of `morphbert.finetune.tasks.TASKS`.
      evaluates_on_predict_file: the task has no `eval_file`: what it predicts is also what it is judged by.
    """

    task_name: ClassVar[str]
    evaluates_on_predict_file: ClassVar[bool] = False

    output_dir: str
    init_checkpoint: str | None = None
    bert_config_file: str | None = None
    vocab_file: str | None = None
    do_lower_case: bool | None = None
    word_embeddings: str | None = None
    freeze_embeddings: bool = False
    freeze_layers: int = 0
    adapt_on: str | None = None
    adapt_steps: int = 1000
    adapt_batch_size: int = 32
    adapt_learning_rate: float = 5e-5
    adapt_dupe_factor: int = 5
    train_file: str | None = None
    eval_file: str | None = None
    predict_file: str | None = None
    encoding: str = "utf-8"
    do_train: bool = False
    do_eval: bool = False
    do_predict: bool = False
    max_seq_length: int = 128
    train_batch_size: int = 32
    eval_batch_size: int = 32
    num_train_epochs: float = 3.0
    num_train_steps: int | None = None
    warmup_proportion: float = 0.1
    num_warmup_steps: int | None = None
    group_by_length: bool = True
    num_seeds: int = 1
    eval_every: int | None = None
    early_stopping: int | None = None
    best_metric: str | None = None
    load_best: bool = True
    save_checkpoints_steps: int = 1000
    keep_checkpoint_max: int = 2
    iterations_per_loop: int = 1000
    log_steps: int = 100
    wandb_project: str | None = None
    head: HeadConfig = POOLER
    optimizer: OptimizerConfig = dataclasses.field(default=OptimizerConfig())
    step: StepConfig = dataclasses.field(default=StepConfig())
    devices: DeviceConfig = dataclasses.field(default=DeviceConfig())

    def __post_init__(self) -> None:
        """Refuses values that contradict each other.

        Raises:
          UsageError: says which.
        """
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationConfig(FineTuneConfig):
    """`run_classifier.py`: one or two sentences → a class, several labels, or a score."""

    task_name: ClassVar[str] = "classification"

    text_column: tuple[str, ...] = ("document",)
    label_column: str = "label"
    task: str = "class"
    labels: tuple[str, ...] = ()
    loss: LossConfig = CROSS_ENTROPY

    def __post_init__(self) -> None:
        """Refuses values that contradict each other."""
        super().__post_init__()
        if len(self.text_column) not in (1, 2):
            raise UsageError(
                f"--text_column={','.join(self.text_column)}: give one column, or two for pairs."
            )
        weighs = self.loss.class_weights or self.loss.deferred_reweighting is not None
        if self.task != "class" and (self.loss.loss != "cross_entropy" or weighs):
            raise UsageError(f"--loss={self.loss.loss} and weights of classes go with --task=class.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaggingConfig(FineTuneConfig):
    """`run_ner.py`: a text → a tag for each of its characters."""

    task_name: ClassVar[str] = "tagging"

    straddling: str = "split"
    head: HeadConfig = NO_POOLING
    loss: LossConfig = CROSS_ENTROPY


@dataclasses.dataclass(frozen=True, kw_only=True)
class RelationConfig(FineTuneConfig):
    """`run_re.py`: a sentence with two entities → their relation."""

    task_name: ClassVar[str] = "relation"

    labels: tuple[str, ...] = ()
    head: HeadConfig = ENTITIES
    loss: LossConfig = CROSS_ENTROPY


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpanConfig(FineTuneConfig):
    """`run_squad.py`: a question and a paragraph → a span of the paragraph."""

    task_name: ClassVar[str] = "span"
    evaluates_on_predict_file: ClassVar[bool] = True

    head: HeadConfig = NO_POOLING
    max_seq_length: int = 384
    num_train_epochs: float = 2.0
    doc_stride: int = 128
    max_query_length: int = 64
    n_best_size: int = 20
    max_answer_length: int = 30
    metric: str = "korquad"
    version_2_with_negative: bool = False
    null_score_diff_threshold: float = 0.0
    strip_particles: bool = False

    def _check_files(self) -> None:
        if not (self.do_train or self.do_predict):
            raise UsageError("nothing to do: give --do_train, --do_predict or both.")
        if (self.do_predict or self.eval_every) and not self.predict_file:
            raise UsageError("--do_predict and --eval_every need --predict_file.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultipleChoiceConfig(FineTuneConfig):
    """`run_multiple_choice.py`: a question and candidates → the right candidate."""

    task_name: ClassVar[str] = "multiple_choice"

    question_column: tuple[str, ...] = ("question",)
    choices_column: str = "choices"
    choice_columns: tuple[str, ...] = ()
    label_column: str = "label"
    first_label: int = 0

    def __post_init__(self) -> None:
        """Refuses values that contradict each other."""
        super().__post_init__()
        if not self.question_column:
            raise UsageError("--question_column names no column.")
        if len(self.choice_columns) == 1:
            raise UsageError(
                f"--choice_columns={self.choice_columns[0]}: give a column for each candidate, or the column of a list "
                "with --choices_column."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """`predict.py`: a fine-tuned model and a file of rows → the rows with predictions.

    Attributes:
      model: the `output_dir` of a fine-tuning.
      input_file: a table: JSON Lines or an array of JSON, CSV, TSV, Parquet.
      output_file: the same objects with `prediction` in each, or `error` where there can be none.
      text_column: keys of the text, or of both texts; None takes `text`, and `text_pair` for the second.
      load_best: take the best checkpoint that training kept, not the newest.
      batch_size: examples scored at once.
      n_best_size: answers of a question that are given, the likeliest first.
      max_answer_length: pieces of an answer at most.
      null_score_diff_threshold: a question has no answer if that scores higher than its best one by more than this.
      encoding: of the input.
    """

    model: str
    input_file: str
    output_file: str
    encoding: str = "utf-8"
    text_column: tuple[str, ...] = ()
    load_best: bool = True
    batch_size: int = 32
    n_best_size: int = 1
    max_answer_length: int = 30
    null_score_diff_threshold: float = 0.0
