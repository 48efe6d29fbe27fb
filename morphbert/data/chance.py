"""Stateless randomness: numbers that depend only on a key and a counter.

The instances of document d in duplicate k must not depend on the worker or the time. Nothing here has a state: keys are
made by folding numbers into other keys, and the n-th number of a key is computed directly, for whole arrays at a time.
The mixing function is SplitMix64's finaliser (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
OOPSLA 2014; Stafford's variant 13), whose increments the counter replaces.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Keys: TypeAlias = npt.NDArray[np.uint64]

# SplitMix64's numbers; the input pipeline of training draws with them too.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)


def mix(values: Keys) -> Keys:
    """Returns a bijective scrambling of 64-bit numbers; does not change the argument."""
    mixed: Keys = values ^ (values >> np.uint64(30))
    mixed *= FIRST
    mixed ^= mixed >> np.uint64(27)
    mixed *= SECOND
    mixed ^= mixed >> np.uint64(31)
    return mixed


def fold(keys: Keys, numbers: npt.ArrayLike) -> Keys:
    """Returns the keys of the next level, one for each pair of a key and a number (any integers; shapes broadcast)."""
    with np.errstate(over="ignore"):
        inner = mix((np.asarray(numbers).astype(np.uint64) + np.uint64(1)) * GOLDEN)
        return mix(keys ^ inner)


def key_of(seed: int) -> Keys:
    """Returns the key of a run, as an array of shape []. Any integer is a seed."""
    return fold(np.array(0, np.uint64), np.array(seed % 2**64, np.uint64))


def bits(keys: Keys, counter: npt.ArrayLike) -> Keys:
    """Returns 64 random bits for each pair of a key and a counter (shapes broadcast)."""
    with np.errstate(over="ignore"):
        return mix(keys + (np.asarray(counter).astype(np.uint64) + np.uint64(1)) * GOLDEN)


def uniform(keys: Keys, counter: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns random numbers in [0, 1)."""
    numbers: npt.NDArray[np.float64] = (bits(keys, counter) >> np.uint64(11)).astype(np.float64)
    numbers *= 2.0**-53
    return numbers


def below(limits: int | npt.NDArray[np.int64], keys: Keys, counter: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Returns random integers from 0 up to, not including, `limits` (each at least 1 and below 2**53)."""
    # The product of a large limit and a number next to 1 may round up to the limit itself.
    drawn: npt.NDArray[np.int64] = (uniform(keys, counter) * limits).astype(np.int64)
    return np.minimum(drawn, limits - 1)
