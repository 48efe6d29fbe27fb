"""What leaving off particles changes on KorQuAD, for right answers and for those lengthened to the end of their eojeol.

    python benchmarks/particles.py KorQuAD_v1.0_dev.json

No model is needed: the second kind is the answer of a model that chooses whole eojeols. docs/finetuning.md has the
table.
"""

from __future__ import annotations

import argparse
import re

from morphbert.finetune.answer_metrics import evaluate
from morphbert.finetune.particles import ParticleStripper
from morphbert.formats.questions import read_questions

# Marks that close an eojeol and that no answer takes along.
_CLOSING = ".,!?)\"'」』》〉]”’"


def lengthened(context: str, start: int, text: str) -> str:
    """The answer to the end of its eojeol, without marks that close it: `서울` in `서울은, …` → `서울은`."""
    end = start + len(text)
    space = re.search(r"\s", context[end:])
    whole = context[start : end + space.start() if space else len(context)].rstrip(_CLOSING)
    return whole if len(whole) > len(text) else text


def main() -> None:
    """Prints the table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="KorQuAD 1.0's JSON")
    questions, _ = read_questions(parser.parse_args().file)
    stripper = ParticleStripper()
    print("| answers | exact match | F1 | stripped: exact match | F1 |\n|---|---|---|---|---|")
    for name, change in (("right", lambda context, start, text: text), ("lengthened", lengthened)):
        said, stripped = {}, {}
        for question in questions:
            answer = question.answers[0]
            said[question.id] = change(question.context, answer.start, answer.text)
            stripped[question.id] = stripper.strip(question.context, answer.start, said[question.id])
        figures = [evaluate(questions, some) for some in (said, stripped)]
        cells = [f"{one[key]:.2f}" for one in figures for key in ("exact_match", "f1")]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
