"""Chooses the instances that share a sequence."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from morphbert.data.arrays import Int64
from morphbert.data.config import InstanceConfig


class Groups(NamedTuple):
    """order: [N] the numbers of the plans, group after group; sizes: [M] the number of plans in each group."""

    order: Int64
    sizes: Int64


def group(plan: npt.NDArray[np.void], config: InstanceConfig) -> Groups:
    """Groups the instances of a plan [N] into few sequences by best fit; without packing, each has its own."""
    if config.examples == 1:
        return Groups(np.arange(len(plan)), np.ones(len(plan), np.int64))
    lengths = instance_lengths(plan)
    if config.cross_documents:  # one [CLS] for all
        return best_fit(lengths - 1, config.max_seq_length - 1, config.examples)
    return best_fit(lengths, config.max_seq_length, config.examples)


def instance_lengths(plan: npt.NDArray[np.void]) -> Int64:
    """Returns the length of each instance, [N], with `[CLS]` and `[SEP]`s."""
    second = plan["second_length"].astype(np.int64)
    lengths: Int64 = plan["first_length"].astype(np.int64) + second + np.where(second > 0, 3, 2)
    return lengths


def best_fit(lengths: Int64, capacity: int, most: int) -> Groups:
    """Groups lengths by best fit, longest first: each goes to the group with the least sufficient room.

    `[5, 3, 2, 6], 8, 4` → order [0, 1, 2, 3], sizes [2, 2]: 5 + 3 and 2 + 6.

    Args:
      lengths: [N], each at most `capacity`.
      most: the largest number of members of a group.

    Returns:
      Members ascending within a group; groups ascending by their first member.
    """
    groups: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(capacity + 1)]  # the numbers of the groups by their room
    rooms = 0  # bit r is set where a group has room r
    for member in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[member])
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            number = with_room[room].pop()
            if not with_room[room]:
                rooms ^= 1 << room
        else:
            room, number = capacity, len(groups)
            groups.append([])
        groups[number].append(member)
        room -= length
        if room and len(groups[number]) < most:
            with_room[room].append(number)
            rooms |= 1 << room
    ordered = sorted(sorted(members) for members in groups)
    return Groups(
        np.array([member for members in ordered for member in members], np.int64),
        np.array([len(members) for members in ordered], np.int64),
    )
