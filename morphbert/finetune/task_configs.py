"""What each task and `predict.py` are told beside what all share; the flags are made from the fields.

Importing this module loads no TensorFlow.
"""

from __future__ import annotations

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
from morphbert.options import configuration, option, options

_TABLE = (
    "Tab-separated with a first line of names (NSMC, KorSTS), .csv, .jsonl, .json (KLUE) or .parquet; .gz and the like "
    "too."
)
_TEST = "Evaluation and prediction"
_EVALUATE = "Evaluate on --eval_file and write eval_results.txt."


def _head(default: HeadConfig) -> Any:
    return options(default=default, group="Head", section="head")


@configuration
class ClassificationConfig(FineTuneConfig):
    """`run_classifier.py`: one or two sentences → a class, several labels, or a score."""

    task_name: ClassVar[str] = "classification"

    train_file: str | None = option(
        default=None, group="Data", section="data", help=f"Labelled examples to train on. {_TABLE}"
    )
    eval_file: str | None = option(default=None, help="Labelled examples to evaluate on.")
    predict_file: str | None = option(default=None, help="Examples to predict; a label column is not needed.")
    text_column: tuple[str, ...] = option(
        default=("document",),
        group="Data",
        section="data",
        help="The text's column; two with a comma between them for pairs.",
    )
    label_column: str = option(
        default="label",
        help="The label's column; a dot goes into an object. Example: --label_column=labels.real-label",
    )
    task: Literal["class", "labels", "score"] = option(
        default="class",
        help="class: one of several. labels: any number of them for a text (with commas in the column, or a list in "
        "JSON). score: a number, such as KorSTS's 0 to 5.",
    )
    labels: tuple[str, ...] = option(
        default=(),
        help="All labels with commas. Default: those of the training data. Example: --labels=0,1",
    )
    do_eval: bool = option(default=False, help=_EVALUATE, group=_TEST, section="test")
    do_predict: bool = option(
        default=False, help="Write test_results.tsv for --predict_file, one line an example."
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
        if self.task != "class" and (self.loss.loss != "cross_entropy" or self.loss.weighs):
            raise UsageError(f"--loss={self.loss.loss} and weights of classes go with --task=class.")


@configuration
class TaggingConfig(FineTuneConfig):
    """`run_ner.py`: a text → a tag for each of its characters."""

    task_name: ClassVar[str] = "tagging"

    train_file: str | None = option(
        default=None,
        group="Data",
        section="data",
        help="Texts to train on, in KLUE-NER's format: a character, a tab and its tag (O, B-PS, I-PS …) on each line, "
        "spaces too, and an empty line after each text. Compressed too.",
    )
    eval_file: str | None = option(default=None, help="Texts to evaluate on.")
    predict_file: str | None = option(
        default=None,
        help="Texts to tag: one a line; a .tsv is read in KLUE-NER's format, its tags left aside.",
    )
    straddling: Literal["split", "first"] = option(
        default="split",
        group="Data",
        section="data",
        help="Pieces that an entity begins or ends within. split: their labels say where, so that all tags come back. "
        "first: they take the tag of their first character, as KLUE's baseline does.",
    )
    do_eval: bool = option(default=False, help=_EVALUATE, group=_TEST, section="test")
    do_predict: bool = option(
        default=False,
        help="Write predictions.jsonl for --predict_file: text, tags and entities with their characters.",
    )
    head: PieceHeadConfig = _head(NO_POOLING)
    loss: LossConfig = options(default=CROSS_ENTROPY, group="Loss", section="loss")


@configuration
class RelationConfig(FineTuneConfig):
    """`run_re.py`: a sentence with two entities → their relation."""

    task_name: ClassVar[str] = "relation"

    train_file: str | None = option(
        default=None,
        group="Data",
        section="data",
        help="Examples to train on, in KLUE-RE's JSON: sentence, subject_entity and object_entity (word, start_idx, "
        "end_idx, type), label; one list, or an object a line. Compressed too.",
    )
    eval_file: str | None = option(default=None, help="Examples to evaluate on.")
    labels: tuple[str, ...] = option(
        default=(),
        group="Data",
        section="data",
        help="All relations with commas. Default: those of the training data, sorted.",
    )
    do_eval: bool = option(default=False, help=_EVALUATE, group=_TEST, section="test")
    do_predict: bool = option(
        default=False, help="Write predictions.jsonl for --predict_file: relation and probabilities."
    )
    head: RelationHeadConfig = _head(ENTITIES)
    loss: LossConfig = options(default=CROSS_ENTROPY, group="Loss", section="loss")


@configuration
class SpanConfig(FineTuneConfig):
    """`run_squad.py`: a question and a paragraph → a span of the paragraph."""

    task_name: ClassVar[str] = "span"
    evaluates_on_predict_file: ClassVar[bool] = True

    train_file: str | None = option(
        default=None,
        group="Data",
        section="data",
        help="Questions with answers, in SQuAD's JSON; compressed too.",
    )
    predict_file: str | None = option(
        default=None,
        help="Questions to answer. Where they have answers, exact match and F1 (--metric) are printed.",
    )
    doc_stride: int = option(
        default=128,
        at_least=1,
        group="Data",
        section="data",
        help="Pieces from the beginning of one window of a long paragraph to that of the next.",
    )
    max_query_length: int = option(default=64, at_least=1, help="Pieces of the question that are kept.")
    max_seq_length: int = max_seq_length_option(384)
    num_train_epochs: float = num_train_epochs_option(2.0)
    do_predict: bool = option(
        default=False,
        help="Write predictions.json and nbest_predictions.json for --predict_file.",
        group=_TEST,
        section="test",
    )
    n_best_size: int = option(
        default=20, at_least=1, help="Spans to keep for each question.", group=_TEST, section="test"
    )
    max_answer_length: int = option(default=30, at_least=1, help="Pieces in an answer at most.")
    metric: Literal["korquad", "squad", "klue"] = option(
        default="korquad",
        help="Whose official script is followed. korquad: F1 over characters. squad: over words. klue: ROUGE-W in "
        "place of F1, as KLUE-MRC has it.",
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
        help="Leave off particles (조사) and the copula at an answer's end, by Mecab; the figures without it are "
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
    """`run_multiple_choice.py`: a question and candidates → the right candidate."""

    task_name: ClassVar[str] = "multiple_choice"

    train_file: str | None = option(
        default=None,
        group="Data",
        section="data",
        help="Questions to train on: .jsonl, .csv, .parquet, or tab-separated with a first line of names; .gz and the "
        "like too. Their numbers of candidates may differ.",
    )
    eval_file: str | None = option(default=None, help="Questions to evaluate on.")
    predict_file: str | None = option(
        default=None, help="Questions to predict; a label column is not needed."
    )
    question_column: tuple[str, ...] = option(
        default=("question",),
        group="Data",
        section="data",
        help="The question's column; several with commas are put together with a space between them.",
    )
    choices_column: str = option(
        default="choices",
        help="The column with all candidates: a list in JSON Lines, or the JSON of one in a cell of a table.",
    )
    choice_columns: tuple[str, ...] = option(
        default=(),
        help="Instead, a column for each candidate, with commas; the last ones of a row may be empty. Example: "
        "--choice_columns=A,B,C,D",
    )
    label_column: str = option(
        default="label",
        help="The right candidate's column: its number, its letter (A for the first), or the name of its column.",
    )
    first_label: int = option(
        default=0, at_least=0, help="The number of the first candidate, where labels are numbers."
    )
    do_eval: bool = option(default=False, help=_EVALUATE, group=_TEST, section="test")
    do_predict: bool = option(
        default=False,
        help="Write predictions.jsonl for --predict_file: the candidate and probabilities of all.",
    )
    head: TextHeadConfig = _head(POOLER)

    def __post_init__(self) -> None:
        """Refuses values that contradict each other."""
        FineTuneConfig.__post_init__(self)
        if not self.question_column:
            raise UsageError("--question_column names no column.")
        if len(self.choice_columns) == 1:
            raise UsageError(
                f"--choice_columns={self.choice_columns[0]}: give a column for each candidate, or the column of a list "
                "with --choices_column."
            )


@configuration
class PredictConfig:
    """`predict.py`: a fine-tuned model and a file of rows → the rows with predictions."""

    model: str = option(
        group="Input and output",
        help="The --output_dir of run_classifier.py, run_ner.py, run_squad.py, run_re.py or run_multiple_choice.py; of "
        "several seeds one folder, as out/nsmc/seed-12345.",
    )
    input_file: str = option(
        help="JSON Lines, an object a line, or an array of objects; .csv, .tsv and .parquet by their names; may be "
        "compressed. Texts for classes and entities (see --text_column); "
        "question and context for answers; sentence, subject_entity and object_entity, as KLUE-RE has them, for "
        "relations; the names of the training data for multiple choice.",
    )
    encoding: str = option(default="utf-8", help="The encoding of the input. Example: --encoding=cp949")
    output_file: str = option(
        help="The same objects with `prediction` in each; with `error` instead, where there can be none. It appears at "
        "the end.",
    )
    text_column: tuple[str, ...] = option(
        default=(),
        help="The key of the text, two with a comma for pairs. Default: text, and text_pair for the second.",
    )
    load_best: bool = option(
        default=True,
        group="Model",
        help="Take the best checkpoint that training kept (--eval_every), not the newest one.",
    )
    batch_size: int = option(default=32, at_least=1, help="Examples that are computed at once.")
    n_best_size: int = option(
        default=1,
        at_least=1,
        group="Answers",
        help="Above 1: also the next best answers, in `n_best`.",
    )
    max_answer_length: int = option(default=30, at_least=1, help="Pieces of an answer at most.")
    null_score_diff_threshold: float = option(
        default=0.0,
        at_least=-1e30,
        at_most=1e30,
        help="For models of questions that may have no answer: answer nothing if that scores higher than the best "
        "answer by more than this.",
    )
