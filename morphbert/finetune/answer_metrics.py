"""Exact match and partial scores of answers, as defined by the official scripts of KorQuAD 1.0, SQuAD and KLUE-MRC.

KorQuAD 1.0 compares characters: brackets and quotation marks become spaces, ASCII punctuation is dropped, ASCII letters
are lower-cased, and the F1 is over the characters of all words. SQuAD compares words, without articles. KLUE-MRC (Park
et al. 2021, section 3.7) has ROUGE-W instead of the F1: over the longest common run of characters.
"""

from __future__ import annotations

import difflib
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from morphbert.formats.questions import Question

_MARKS = re.compile("['\"《》<>〈〉()‘’]")
# As in KLUE's baseline, whose misplaced bracket makes the pattern match almost nothing, so 《 and 》 stay.
_KLUE_MARKS = re.compile("['\"《》<>〈〉]\\(\\)‘’")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def korquad_normalized(text: str) -> str:
    """`"《삼국지》 (14권)"` → `"삼국지 14권"`."""
    return " ".join(_MARKS.sub(" ", text).lower().translate(_PUNCTUATION).split())


def squad_normalized(text: str) -> str:
    """Returns the compared form of SQuAD: `"The Beatles!"` → `"beatles"`."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def klue_normalized(text: str) -> str:
    """`"《삼국지》 (14권)"` → `"《삼국지》 14권"`."""
    return " ".join(_KLUE_MARKS.sub(" ", text.lower()).translate(_PUNCTUATION).split())


def overlap_f1(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Returns 2 P R / (P + R) of two bags; 0 if they share nothing."""
    same = sum((Counter(found) & Counter(wanted)).values())
    return _f1(same, len(found), len(wanted))


def rouge_w(found: str, wanted: str) -> float:
    """Returns 2 P R / (P + R) of the longest common run of characters, as difflib finds it; 1 for two empty texts.

    `"세종대왕이"`, `"세종대왕"` → 2 × 4/5 × 1 / (4/5 + 1)
    """
    if not wanted:
        return float(not found)
    # difflib ignores frequent characters in texts of 200 or more characters, and so does the official script.
    run = difflib.SequenceMatcher(None, found, wanted).find_longest_match(0, len(found), 0, len(wanted)).size
    return _f1(run, len(found), len(wanted))


def _f1(same: int, found: int, wanted: int) -> float:
    if not same:
        return 0.0
    precision, recall = same / found, same / wanted
    return 2 * precision * recall / (precision + recall)


@dataclass(frozen=True)
class Metric:
    """The comparison of an official script.

    Attributes:
      figure: the name of its second figure, after `exact_match`.
      shown: the name of this figure in messages.
      normalize: returns the compared form of a text.
      share: returns the score, 0 to 1, of a normalized prediction against a normalized answer.
    """

    figure: str
    shown: str
    normalize: Callable[[str], str]
    share: Callable[[str, str], float]

    def in_words(self, figures: Mapping[str, float], end: str = "") -> str:
        """Returns both figures, whose names have this ending, as text: `exact match 61.23, F1 80.10`."""
        return (
            f"exact match {figures['exact_match' + end]:.2f}, {self.shown} {figures[self.figure + end]:.2f}"
        )


METRICS = {
    "korquad": Metric(
        "f1", "F1", korquad_normalized, lambda a, b: overlap_f1(a.replace(" ", ""), b.replace(" ", ""))
    ),
    "squad": Metric("f1", "F1", squad_normalized, lambda a, b: overlap_f1(a.split(), b.split())),
    "klue": Metric("rouge_w", "ROUGE-W", klue_normalized, rouge_w),
}


def scores_of(prediction: str, answers: Iterable[str], metric: str) -> tuple[float, float]:
    """Returns exact match (0 or 1) and F1 or ROUGE-W against the best-matching answer; without answers, against an
    empty one.
    """
    chosen = METRICS[metric]
    said = chosen.normalize(prediction)
    golds = [chosen.normalize(answer) for answer in answers]
    if metric == "squad":
        golds = [gold for gold in golds if gold]
    if not golds:
        nothing = not (said if metric == "klue" else prediction)
        return float(nothing), float(nothing)
    return max(float(said == gold) for gold in golds), max(chosen.share(said, gold) for gold in golds)


def evaluate(
    questions: Sequence[Question], predictions: Mapping[str, str], metric: str = "korquad"
) -> dict[str, float]:
    """Returns `exact_match` and `f1` or `rouge_w` in percent over all questions; a missing prediction counts as wrong.

    If some questions have no answer, also returns `no_answer_accuracy`, the percentage of these without a predicted
    answer.
    """
    exact = total = nothing = right_nothing = 0.0
    for question in questions:
        if question.id in predictions:
            one_exact, share = scores_of(predictions[question.id], question.golds, metric)
            exact, total = exact + one_exact, total + share
        if question.is_impossible:
            nothing += 1
            right_nothing += predictions.get(question.id, "?") == ""
    figures = {
        "exact_match": 100.0 * exact / len(questions),
        METRICS[metric].figure: 100.0 * total / len(questions),
    }
    if nothing:
        figures["no_answer_accuracy"] = 100.0 * right_nothing / nothing
    return {**figures, "num_examples": len(questions)}


def best_threshold(
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    odds: Mapping[str, float],
    metric: str = "korquad",
) -> tuple[float, float]:
    """Returns the no-answer threshold with the best F1 or ROUGE-W, and this figure in percent.

    As in SQuAD 2.0's official script: questions are sorted by the score of no answer minus that of their answer, and
    those above the threshold count as unanswered.

    Args:
      predictions: answers without any threshold.
      odds: the score of no answer minus that of the answer.
    """
    total = sum(scores_of("", question.golds, metric)[1] for question in questions)
    best, threshold = total, min(odds.values(), default=0.0) - 1.0
    for question in sorted(questions, key=lambda one: odds[one.id]):
        said = scores_of(predictions[question.id], question.golds, metric)[1]
        total += said - scores_of("", question.golds, metric)[1]
        if total > best:
            best, threshold = total, odds[question.id]
    return threshold, 100.0 * best / len(questions)
