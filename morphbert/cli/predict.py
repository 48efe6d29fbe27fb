"""`predict.py`: a fine-tuned model and new texts → what it says of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags

from morphbert.cli import quiet_tensorflow
from morphbert.cli.command import Command


def _command() -> Command:
    command = Command(
        "predict.py",
        "Applies a fine-tuned model to new texts: classes, scores, entities, answers, relations, choices.",
        """
        predict.py --model=out/nsmc --input_file=new.jsonl --output_file=predicted.jsonl --text_column=document
        """,
    )
    command.group("Input and output")
    command.string(
        "model",
        None,
        "The --output_dir of run_classifier.py, run_ner.py, run_squad.py, run_re.py or run_multiple_choice.py; of "
        "several seeds one folder, as out/nsmc/seed-12345.",
        required=True,
    )
    command.string(
        "input_file",
        None,
        "JSON Lines, an object a line, or an array of objects; .csv, .tsv and .parquet by their names; may be "
        "compressed. Texts for classes and entities (see --text_column); question "
        "and context for answers; sentence, subject_entity and object_entity, as KLUE-RE has them, for relations; the "
        "names of the training data for multiple choice.",
        required=True,
    )
    command.string("encoding", "utf-8", "The encoding of the input. Example: --encoding=cp949")
    command.string(
        "output_file",
        None,
        "The same objects with `prediction` in each; with `error` instead, where there can be none. It appears at the "
        "end.",
        required=True,
    )
    command.string(
        "text_column",
        None,
        "The key of the text, two with a comma for pairs. Default: text, and text_pair for the second.",
    )
    command.group("Model")
    command.boolean(
        "load_best", True, "Take the best checkpoint that training kept (--eval_every), not the newest one."
    )
    command.integer("batch_size", 32, "Examples that are computed at once.", lower_bound=1)
    command.group("Answers")
    command.integer("n_best_size", 1, "Above 1: also the next best answers, in `n_best`.", lower_bound=1)
    command.integer("max_answer_length", 30, "Pieces of an answer at most.", lower_bound=1)
    command.number(
        "null_score_diff_threshold",
        0.0,
        "For models of questions that may have no answer: answer nothing if that scores higher than the best answer by "
        "more than this.",
        lower_bound=-1e30,
        upper_bound=1e30,
    )
    return command


def _predict(values: flags.FlagValues) -> None:
    from morphbert.finetune.config import PredictConfig

    columns = tuple(name for name in (values.text_column or "").split(",") if name)
    names = PredictConfig.__dataclass_fields__.keys() - {"text_column"}
    config = PredictConfig(text_column=columns, **{name: values[name].value for name in names})
    quiet_tensorflow.load()
    from morphbert.finetune.prediction import predict

    done = predict(config)
    without = f", {done.failed} of them without a prediction (see `error`)" if done.failed else ""
    print(f"prediction: {done.rows} rows{without}, by {done.checkpoint}, written to {config.output_file}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return _command().run(argv, _predict)


if __name__ == "__main__":
    sys.exit(main())
