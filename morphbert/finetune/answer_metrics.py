"""Exact match and F1 of answers, as the official scripts of KorQuAD 1.0 and SQuAD define them.

KorQuAD 1.0 compares characters: brackets and quotation marks become spaces, ASCII punctuation goes, ASCII letters are
lower-cased, and the F1 is over the characters of all words. SQuAD compares words, without articles.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from morphbert.finetune.questions import Question

_MARKS = re.compile("['\"《》<>〈〉()‘’]")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def korquad_normalized(text: str) -> str:
    """`"《삼국지》 (14권)"` → `"삼국지 14권"`."""
    return " ".join(_MARKS.sub(" ", text).lower().translate(_PUNCTUATION).split())


def squad_normalized(text: str) -> str:
    """`"The Beatles!"` → `"beatles"`."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _korquad_units(text: str) -> list[str]:
    return [character for word in korquad_normalized(text).split() for character in word]


def _squad_units(text: str) -> list[str]:
    return squad_normalized(text).split()


def overlap_f1(found: Sequence[str], wanted: Sequence[str]) -> float:
    """2 P R / (P + R) of two bags; 0 where they share nothing."""
    same = sum((Counter(found) & Counter(wanted)).values())
    if not same:
        return 0.0
    precision, recall = same / len(found), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


def scores_of(prediction: str, answers: Iterable[str], metric: str) -> tuple[float, float]:
    """Exact match (0 or 1) and F1 against the answer that suits best; without answers, that of saying nothing."""
    normalize: Callable[[str], str] = korquad_normalized if metric == "korquad" else squad_normalized
    units = _korquad_units if metric == "korquad" else _squad_units
    golds = [answer for answer in answers if normalize(answer)] if metric == "squad" else list(answers)
    if not golds:
        return (1.0, 1.0) if not prediction else (0.0, 0.0)
    exact = max(float(normalize(prediction) == normalize(gold)) for gold in golds)
    return exact, max(overlap_f1(units(prediction), units(gold)) for gold in golds)


def evaluate(
    questions: Sequence[Question], predictions: Mapping[str, str], metric: str = "korquad"
) -> dict[str, float]:
    """`exact_match` and `f1` in percent over all questions; one without a prediction counts as wrong.

    Where some questions have no answer, also `no_answer_accuracy`, the percentage of those that got none.
    """
    exact = total = nothing = right_nothing = 0.0
    for question in questions:
        if question.id in predictions:
            one_exact, one_f1 = scores_of(predictions[question.id], question.golds, metric)
            exact, total = exact + one_exact, total + one_f1
        if question.is_impossible:
            nothing += 1
            right_nothing += predictions.get(question.id, "?") == ""
    figures = {"exact_match": 100.0 * exact / len(questions), "f1": 100.0 * total / len(questions)}
    if nothing:
        figures["no_answer_accuracy"] = 100.0 * right_nothing / nothing
    return {**figures, "num_examples": len(questions)}


def best_threshold(
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    odds: Mapping[str, float],
    metric: str = "korquad",
) -> tuple[float, float]:
    """The threshold for answering nothing that would give the best F1, and that F1 in percent.

    As in SQuAD 2.0's official script: questions are taken by how much likelier nothing is than their answer, and those
    above the threshold count as answered with nothing.

    Args:
      predictions: answers without any threshold.
      odds: score of no answer less that of the answer.
    """
    total = sum(scores_of("", question.golds, metric)[1] for question in questions)
    best, threshold = total, min(odds.values(), default=0.0) - 1.0
    for question in sorted(questions, key=lambda one: odds[one.id]):
        said = scores_of(predictions[question.id], question.golds, metric)[1]
        total += said - scores_of("", question.golds, metric)[1]
        if total > best:
            best, threshold = total, odds[question.id]
    return threshold, 100.0 * best / len(questions)
