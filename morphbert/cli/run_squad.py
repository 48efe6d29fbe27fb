"""`run_squad.py`: a pretrained model → one that finds answers in paragraphs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from morphbert.cli import task_flags
from morphbert.cli.command import Command
from morphbert.finetune.config import METRICS, SpanConfig


def _command() -> Command:
    command = Command(
        "run_squad.py",
        "Fine-tunes a pretrained model to answer questions with a span of a paragraph: KorQuAD 1.0, SQuAD, KLUE-MRC.",
        """
        run_squad.py --init_checkpoint=out/model --vocab_file=out/vocab --train_file=KorQuAD_v1.0_train.json \\
            --predict_file=KorQuAD_v1.0_dev.json --output_dir=out/korquad --do_train --do_predict
        """,
    )
    task_flags.define_model(command)
    command.group("Data", "data")
    command.string("train_file", None, "Questions with answers, in SQuAD's JSON; compressed too.")
    command.string(
        "predict_file",
        None,
        "Questions to answer. Where they have answers, exact match and F1 (--metric) are printed.",
    )
    command.integer(
        "doc_stride",
        128,
        "Pieces from the beginning of one window of a long paragraph to that of the next.",
        lower_bound=1,
    )
    command.integer("max_query_length", 64, "Pieces of the question that are kept.", lower_bound=1)
    task_flags.define_encoding(command)
    task_flags.define_training(command, epochs=2.0, max_seq_length=384)
    task_flags.define_test(
        command, "Write predictions.json and nbest_predictions.json for --predict_file.", do_eval=False
    )
    command.integer("n_best_size", 20, "Spans to keep for each question.", lower_bound=1)
    command.integer("max_answer_length", 30, "Pieces in an answer at most.", lower_bound=1)
    command.enum(
        "metric",
        "korquad",
        METRICS,
        "Whose official script is followed. korquad: F1 over characters. squad: over words. klue: ROUGE-W in place of "
        "F1, as KLUE-MRC has it.",
    )
    command.boolean("version_2_with_negative", False, "Some questions have no answer (SQuAD 2.0, KLUE-MRC).")
    command.number(
        "null_score_diff_threshold",
        0.0,
        "With --version_2_with_negative: answer nothing if its score is larger than the best answer's by more than "
        "this.",
        lower_bound=-1e30,
        upper_bound=1e30,
    )
    command.boolean(
        "strip_particles",
        False,
        "Leave off particles (조사) and the copula at an answer's end, by Mecab; the figures without it are "
        "printed too.",
    )
    task_flags.define_head(command)
    task_flags.define_rest(command)
    return command


def _config(command: Command) -> SpanConfig:
    return task_flags.config_of(SpanConfig, command)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (128 + the signal's number where one stopped it)."""
    return task_flags.run(_command(), argv, _config)


if __name__ == "__main__":
    sys.exit(main())
