"""The configurations of each task and of `predict.py`. The flags are made from their fields.

Importing this module loads no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from morphbert.errors import UsageError
from morphbert.finetune.config import (
    CROSS_ENTROPY,
    ENTITIES,
    NO_POOLING,
    POOLER,
    FineTuneConfig,
    HeadConfig,
    LossConfig,
    PieceHeadConfig,
    RelationHeadConfig,
    TextHeadConfig,
    max_seq_length_option,
    num_train_epochs_option,
)
from morphbert.options import NonNegativeInt, PathStr, PositiveInt, configuration, option, optional, options
from morphbert.plugins import plugin_option

_TABLE = (
    "Tab-separated with a first line of names (NSMC, KorSTS), .csv, .jsonl, .json (KLUE) or .parquet; .gz and the like "
    "too."
)
_TEST = "Evaluation and prediction"


def _train_file_option(help: str) -> Any:
    return option(default=None, group="Data", section="data", help=help)


def _do_eval_option() -> Any:
    help = "Evaluate on --eval_file and write eval_results.txt."
    return option(default=False, help=help, group=_TEST, section="test")


def _head(default: HeadConfig) -> Any:
    return options(default=default, group="Head", section="head")


@configuration
class ClassificationConfig(FineTuneConfig):
    """The configuration of `run_classifier.py`: one or two sentences get a class, several labels, or a score."""

    task_name: ClassVar[str] = "classification"
    scored_with: ClassVar[Mapping[str, str]] = {"sklearn": "scikit-learn", "scipy": "scipy"}

    train_file: str | None = _train_file_option(f"Labelled examples to train on. {_TABLE}")
    eval_file: str | None = optional(help="The labelled examples to evaluate on.")
    predict_file: str | None = optional(help="The examples to predict; they need no label column.")
    text_column: tuple[str, ...] = option(
        default=("document",),
        group="Data",
        section="data",
        help="The column of the text; two columns, divided by a comma, for pairs.",
    )
    label_column: str = option(
        default="label",
        help="The column of the label; dots name nested fields. Example: --label_column=labels.real-label",
    )
    task: Literal["class", "labels", "score"] = option(
        default="class",
        help="class: one of several classes. labels: any number of labels per text (with commas in the column, or a "
        "list in JSON). score: a number, such as KorSTS's 0 to 5.",
    )
    labels: tuple[str, ...] = option(
        default=(),
        help="All labels, divided by commas. Default: the labels of the training data. Example: --labels=0,1",
    )
    do_eval: bool = _do_eval_option()
    do_predict: bool = option(
        default=False, help="Write test_results.tsv for --predict_file, one line per example."
    )
    head: TextHeadConfig = _head(POOLER)
    loss: LossConfig = options(default=CROSS_ENTROPY, group="Loss", section="loss")

    def __post_init__(self) -> None:
        """Refuses values that contradict each other."""
        FineTuneConfig.__post_init__(self)
        if len(self.text_column) not in (1, 2):
            raise UsageError(
                f"--text_column={','.join(self.text_column)}: give one column, or two for pairs."
            )
        self._check_loss()

    def columns(self, labelled: bool) -> Mapping[str, str]:
        """Returns the columns of the texts and of the label, with their flags."""
        label = {self.label_column: "--label_column"} if labelled else {}
        return {**dict.fromkeys(self.text_column, "--text_column"), **label}

    def _check_loss(self) -> None:
        if self.task != "class" and (self.loss.loss != "cross_entropy" or self.loss.weighs):
            raise UsageError(f"--loss={self.loss.loss} and class weights need --task=class.")


@configuration
class TaggingConfig(FineTuneConfig):
    """The configuration of `run_ner.py`: each character of a text gets a tag."""

    task_name: ClassVar[str] = "tagging"
    scored_with: ClassVar[Mapping[str, str]] = {"sklearn": "scikit-learn", "seqeval": "seqeval"}

    train_file: str | None = _train_file_option(
        "The training texts, in KLUE-NER's format: a character, a tab and its tag (O, B-PS, I-PS …) on each "
        "line, spaces included, and an empty line after each text. May be compressed."
    )
    eval_file: str | None = optional(help="The texts to evaluate on.")
    predict_file: str | None = optional(
        help="The texts to tag, one per line; a .tsv is read in KLUE-NER's format and its tags are ignored."
    )
    straddling: Literal["split", "first"] = option(
        default="split",
        group="Data",
        section="data",
        help="The labels of pieces within which an entity begins or ends. split: labels with the positions, which "
        "restore all tags. first: the tag of the first character, as in KLUE's baseline.",
    )
    do_eval: bool = _do_eval_option()
    do_predict: bool = option(
        default=False,
        help="Write predictions.jsonl for --predict_file: text, tags and entities with their characters.",
    )
    head: PieceHeadConfig = _head(NO_POOLING)
    loss: LossConfig = options(default=CROSS_ENTROPY, group="Loss", section="loss")


@configuration
class RelationConfig(FineTuneConfig):
    """The configuration of `run_re.py`: two entities of a sentence get a relation."""

    task_name: ClassVar[str] = "relation"
    scored_with: ClassVar[Mapping[str, str]] = {"sklearn": "scikit-learn"}

    train_file: str | None = _train_file_option(
        "The training examples, in KLUE-RE's JSON: sentence, subject_entity and object_entity (word, start_idx, "
        "end_idx, type), label; one list, or one object per line. May be compressed."
    )
    eval_file: str | None = optional(help="The examples to evaluate on.")
    labels: tuple[str, ...] = option(
        default=(),
        group="Data",
        section="data",
        help="All relations, divided by commas. Default: the relations of the training data, sorted.",
    )
    do_eval: bool = _do_eval_option()
    do_predict: bool = option(
        default=False, help="Write predictions.jsonl for --predict_file: relation and probabilities."
    )
    head: RelationHeadConfig = _head(ENTITIES)
    loss: LossConfig = options(default=CROSS_ENTROPY, group="Loss", section="loss")


@configuration
class SpanConfig(FineTuneConfig):
    """The configuration of `run_squad.py`: a question gets a span of its paragraph."""

    task_name: ClassVar[str] = "span"
    evaluates_on_predict_file: ClassVar[bool] = True

    train_file: str | None = _train_file_option(
        "The training questions with answers, in SQuAD's JSON; may be compressed."
    )
    predict_file: str | None = optional(
        help="The questions to answer. If they have answers, exact match and F1 (--metric) are printed."
    )
    doc_stride: PositiveInt = option(
        default=128,
        group="Data",
        section="data",
        help="The number of pieces between the beginnings of consecutive windows of a long paragraph.",
    )
    max_query_length: PositiveInt = option(
        default=64, help="The number of the question's pieces that are kept."
    )
    max_seq_length: int = max_seq_length_option(384)
    num_train_epochs: float | None = num_train_epochs_option(2.0)
    do_predict: bool = option(
        default=False,
        help="Write predictions.json and nbest_predictions.json for --predict_file.",
        group=_TEST,
        section="test",
    )
    n_best_size: PositiveInt = option(
        default=20, help="The number of spans to keep for each question.", group=_TEST, section="test"
    )
    max_answer_length: PositiveInt = option(default=30, help="The largest number of pieces in an answer.")
    metric: Literal["korquad", "squad", "klue"] = option(
        default="korquad",
        help="The official script to follow. korquad: F1 over characters. squad: F1 over words. klue: ROUGE-W "
        "instead of F1, as in KLUE-MRC.",
    )
    version_2_with_negative: bool = option(
        default=False, help="Some questions have no answer (SQuAD 2.0, KLUE-MRC)."
    )
    null_score_diff_threshold: float = option(
        default=0.0,
        at_least=-1e30,
        at_most=1e30,
        help="With --version_2_with_negative: answer nothing if its score is larger than the best answer's by more "
        "than this.",
    )
    strip_particles: bool = option(
        default=False,
        help="Strip particles (조사) and the copula at an answer's end, by Mecab; the figures without it are "
        "printed too.",
    )
    head: PieceHeadConfig = _head(NO_POOLING)

    def _check_files(self) -> None:
        if not (self.do_train or self.do_predict):
            raise UsageError("nothing to do: give --do_train, --do_predict or both.")
        if (self.do_predict or self.eval_every) and not self.predict_file:
            raise UsageError("--do_predict and --eval_every need --predict_file.")


@configuration
class MultipleChoiceConfig(FineTuneConfig):
    """The configuration of `run_multiple_choice.py`: the correct one of a question's candidates."""

    task_name: ClassVar[str] = "multiple_choice"

    train_file: str | None = _train_file_option(
        "The training questions: .jsonl, .csv, .parquet, or tab-separated with a first line of names; may be "
        "compressed. Questions may have different numbers of candidates."
    )
    eval_file: str | None = optional(help="The questions to evaluate on.")
    predict_file: str | None = optional(help="The questions to predict; they need no label column.")
    question_column: tuple[str, ...] = option(
        default=("question",),
        group="Data",
        section="data",
        help="The column of the question; several columns, divided by commas, are joined with spaces.",
    )
    choices_column: str = option(
        default="choices",
        help="The column with all candidates: a list in JSON Lines, or a JSON list in the cell of a table.",
    )
    choice_columns: tuple[str, ...] = option(
        default=(),
        help="Instead, one column for each candidate, divided by commas; the last ones of a row may be empty. Example: "
        "--choice_columns=A,B,C,D",
    )
    label_column: str = option(
        default="label",
        help="The column of the correct candidate: its number, its letter (A for the first), or the name of its "
        "column.",
    )
    first_label: NonNegativeInt = option(
        default=0, help="The number of the first candidate, if labels are numbers."
    )
    do_eval: bool = _do_eval_option()
    do_predict: bool = option(
        default=False,
        help="Write predictions.jsonl for --predict_file: the predicted candidate and the probabilities of all.",
    )
    head: TextHeadConfig = _head(POOLER)

    def __post_init__(self) -> None:
        """Refuses values that contradict each other."""
        FineTuneConfig.__post_init__(self)
        if not self.question_column:
            raise UsageError("--question_column names no column.")
        self._check_choices()

    def columns(self, labelled: bool) -> Mapping[str, str]:
        """Returns the columns of the question and of the label, with their flags; a row may lack candidates."""
        label = {self.label_column: "--label_column"} if labelled else {}
        return {**dict.fromkeys(self.question_column, "--question_column"), **label}

    def _check_choices(self) -> None:
        if len(self.choice_columns) == 1:
            raise UsageError(
                f"--choice_columns={self.choice_columns[0]}: give one column for each candidate, or the column of a "
                "list with --choices_column."
            )


@configuration
class PredictConfig:
    """The configuration of `predict.py`, which adds a fine-tuned model's predictions to the rows of a file."""

    model: PathStr = option(
        group="Input and output",
        help="The --output_dir of a fine-tuning command such as run_classifier.py; for several seeds one folder, "
        "such as out/nsmc/seed-12345.",
    )
    input_file: str = option(
        help="JSON Lines, one object per line, or an array of objects; .csv, .tsv and .parquet by their endings; may "
        "be compressed. Texts for classes and entities (see --text_column); question and context for answers; "
        "sentence, subject_entity and object_entity, as in KLUE-RE, for relations; the columns of the training data "
        "for multiple choice."
    )
    encoding: str = option(default="utf-8", help="The encoding of the input. Example: --encoding=cp949")
    output_file: PathStr = option(
        help="The same objects, each with `prediction`, or with `error` if there is none. It appears at the end."
    )
    text_column: tuple[str, ...] = option(
        default=(),
        help="The key of the text; two keys, divided by a comma, for pairs. Default: the columns of the training data "
        "where an object has them, else text, and text_pair for the second.",
    )
    plugin: tuple[str, ...] = plugin_option(
        "The Python file that registers the model's task or head, if a plugin did; several, divided by commas or with "
        "the flag repeated.",
        group="Model",
    )
    load_best: bool = option(
        default=True, help="Use the best checkpoint that training kept (--eval_every), not the newest one."
    )
    batch_size: PositiveInt = option(default=32, help="The number of examples in a batch.")
    n_best_size: PositiveInt = option(
        default=1, group="Answers", help="Above 1, also return the next best answers in `n_best`."
    )
    max_answer_length: PositiveInt = option(default=30, help="The largest number of pieces in an answer.")
    null_score_diff_threshold: float = option(
        default=0.0,
        at_least=-1e30,
        at_most=1e30,
        help="For models of questions that may have no answer: answer nothing if that scores higher than the best "
        "answer by more than this.",
    )
