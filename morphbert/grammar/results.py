"""How many pairs a model orders rightly: by phenomenon and in all, with spaces and without."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from morphbert.grammar.cutting import REASONS, Cut

# The accuracy of a phenomenon, whose name follows.
ACCURACY_OF_PHENOMENON = "grammar_accuracy_"


@dataclasses.dataclass(frozen=True)
class Tally:
    """Counts of pairs.

    Attributes:
      right: the right sentence has the higher score.
      wrong: the wrong one has.
      ties: both have the same; they count as not right.
      unscorable: pairs without scores, by reason.
    """

    right: int = 0
    wrong: int = 0
    ties: int = 0
    unscorable: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def scored(self) -> int:
        """Pairs with scores."""
        return self.right + self.wrong + self.ties

    @property
    def accuracy(self) -> float | None:
        """The share of scored pairs that are right, 0.5 by chance; None where none was scored."""
        return self.right / self.scored if self.scored else None

    def __add__(self, other: Tally) -> Tally:
        unscorable = Counter(self.unscorable) + Counter(other.unscorable)
        return Tally(
            self.right + other.right, self.wrong + other.wrong, self.ties + other.ties, dict(unscorable)
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the counts and the accuracy, JSON-able."""
        return {"accuracy": self.accuracy, **dataclasses.asdict(self)}


Tallies = dict[str, Tally]


def tally(cuts: Sequence[Cut], scores: Iterable[tuple[float, float]]) -> Tallies:
    """Cut pairs, and of those that have sides the scores of the right and the wrong sentence → counts by phenomenon.

    Phenomena are in the order of the pairs.
    """
    found: Tallies = {}
    following = iter(scores)
    for cut in cuts:
        if cut.reason is not None:
            one = Tally(unscorable={cut.reason: 1})
        else:
            good, bad = next(following)
            one = Tally(int(good > bad), int(good < bad), int(not (good > bad or good < bad)))
        found[cut.phenomenon] = found.get(cut.phenomenon, Tally()) + one
    return found


@dataclasses.dataclass(frozen=True)
class GrammarResult:
    """A model's counts by phenomenon, of the sentences as they are and without their spaces."""

    spaced: Tallies
    unspaced: Tallies

    @property
    def total(self) -> Tally:
        """All phenomena, with spaces."""
        return sum(self.spaced.values(), Tally())

    @property
    def total_unspaced(self) -> Tally:
        """All phenomena, without spaces."""
        return sum(self.unspaced.values(), Tally())

    def metrics(self) -> dict[str, float]:
        """Figures by name: `grammar_accuracy`, `grammar_accuracy_NAME` of each phenomenon that was scored, counts."""
        total, unspaced = self.total, self.total_unspaced
        accuracies = {
            "grammar_accuracy": total.accuracy,
            "grammar_unspaced_accuracy": unspaced.accuracy,
            **{ACCURACY_OF_PHENOMENON + name: one.accuracy for name, one in self.spaced.items()},
        }
        return {
            **{name: value for name, value in accuracies.items() if value is not None},
            "grammar_pairs": total.scored,
            "grammar_ties": total.ties,
            "grammar_unscorable": sum(total.unscorable.values()),
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        parts = (("spaced", self.spaced, self.total), ("unspaced", self.unspaced, self.total_unspaced))
        return {
            part: {
                "total": total.to_dict(),
                "phenomena": {name: one.to_dict() for name, one in tallies.items()},
            }
            for part, tallies, total in parts
        }

    def table(self) -> str:
        """Lines for the terminal: a phenomenon each, then all, then why pairs were not scored."""
        width = max(len(name) for name in (*self.spaced, "phenomenon"))
        lines = [
            f"{'phenomenon':<{width}}  {'pairs':>6}  {'right':>6}  {'no spaces':>9}  {'ties':>5}  {'unscorable':>10}"
        ]
        rows = [(name, one, self.unspaced.get(name, Tally())) for name, one in self.spaced.items()]
        for name, one, other in [*rows, ("all", self.total, self.total_unspaced)]:
            ties, unscorable = one.ties + other.ties, sum(one.unscorable.values())
            lines.append(
                f"{name:<{width}}  {one.scored:>6}  {_share(one):>6}  {_share(other):>9}  {ties:>5}  {unscorable:>10}"
            )
        for words, total in (("", self.total), (" (no spaces)", self.total_unspaced)):
            lines += [
                f"unscorable{words}: {count} {REASONS[reason]}" for reason, count in total.unscorable.items()
            ]
        return "\n".join(lines)


def _share(one: Tally) -> str:
    return "-" if one.accuracy is None else f"{one.accuracy:.1%}"
