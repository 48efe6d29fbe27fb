"""Several corpora by weight: `a*:0.7,b*:0.3` is seven records of `a*` to three of `b*`."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

from morphbert.errors import UsageError

_WEIGHTED = re.compile(r"(?P<pattern>.+):(?P<weight>\d+(?:\.\d*)?|\.\d+)")
# Records after which the order of the sources repeats, at most.
_LONGEST = 100_000


def split_weight(part: str, exists: Callable[[str], bool], flag: str) -> tuple[str, Fraction | None]:
    """`a*:0.7` → (`a*`, 7/10); a name without a weight, or of a file that ends so, → (name, None).

    Args:
      part: a path or a glob.
      exists: whether there is such a file.
      flag: for messages.

    Raises:
      UsageError: both readings name a file, or the weight is 0.
    """
    found = _WEIGHTED.fullmatch(part)
    if found is None:
        return part, None
    pattern, weight = found["pattern"], found["weight"]
    if exists(part):
        if exists(pattern):
            raise UsageError(
                f"{flag}: {part!r} is a file, and so is {pattern!r}, with the weight {weight}: for the first, write "
                f"{part}:1 and a weight behind each of the others; for the second, rename the first."
            )
        return part, None
    if not Fraction(weight):
        raise UsageError(f"{flag}: the weight of {part!r} must be above 0: leave it out, or give a weight.")
    return pattern, Fraction(weight)


def split_weights(
    parts: Sequence[str], exists: Callable[[str], bool], flag: str
) -> tuple[list[str], tuple[int, ...]]:
    """`["a*:0.7", "b*:0.3"]` → the patterns, and their shares in whole numbers, 7 and 3; no shares without weights.

    Raises:
      UsageError: a weight is missing, or they have too many digits; see also `split_weight`.
    """
    pairs = [split_weight(part, exists, flag) for part in parts]
    patterns, weights = [pattern for pattern, _ in pairs], [weight for _, weight in pairs if weight]
    if not weights:
        return patterns, ()
    if len(weights) < len(pairs):
        bare = next(pattern for pattern, weight in pairs if weight is None)
        raise UsageError(
            f"{flag}: {bare!r} has no weight, and others have one: give all of them one, or none."
        )
    multiple = math.lcm(*(weight.denominator for weight in weights))
    shares = [int(weight * multiple) for weight in weights]
    common = math.gcd(*shares)
    if sum(shares) // common > _LONGEST:
        given = ",".join(parts)
        raise UsageError(f"{flag}={given}: the weights have too many digits: round them, as 0.7 and 0.3.")
    return patterns, tuple(share // common for share in shares)


def turns(shares: Sequence[int]) -> Iterator[int]:
    """Yields, without end, the number of the source whose turn it is, as often and as evenly as its share says.

    The one that is owed most comes next: after n turns, none is more than one away from n × share / sum. After as many
    turns as the sum of the shares, the order repeats.
    """
    total, owed = sum(shares), [0] * len(shares)
    while True:
        owed = [before + share for before, share in zip(owed, shares, strict=True)]
        chosen = max(range(len(owed)), key=owed.__getitem__)
        owed[chosen] -= total
        yield chosen


def one_round(shares: Sequence[int]) -> list[int]:
    """Returns the turns until they repeat: 2 and 1 → 0, 1, 0."""
    return list(itertools.islice(turns(shares), sum(shares)))


def counts_after(shares: Sequence[int], number: int) -> list[int]:
    """Returns how many of the first `number` turns each has: shares 2 and 1, 5 turns → 3 and 2."""
    rounds, rest = divmod(number, sum(shares))
    last = one_round(shares)[:rest]
    return [rounds * share + last.count(index) for index, share in enumerate(shares)]
