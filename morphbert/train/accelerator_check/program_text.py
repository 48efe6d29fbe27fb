"""The text of a program of XLA (`HloModule.to_string`), taken apart.

A computation is a block of instructions, each `%name = SHAPE opcode(operands), attributes`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\((.*)$")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"?(\d+)')
_CONDITION = re.compile(r"\bcondition=%?([\w.\-]+)")
# The name of the computation that a `while` repeats.
BODY = re.compile(r"\bbody=%?([\w.\-]+)")
_INDEX = re.compile(r"\bindex=(\d+)")
_INTEGER = re.compile(r"^(-?\d+)\)")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One of a computation: `%a = f32[8]{0} add(%b, %c), x=1` → a, f32[8]{0}, add, `%b, %c), x=1`.

    Its value is the computation's if `is_root`.
    """

    name: str
    shape: str
    opcode: str
    rest: str
    is_root: bool = False

    @property
    def operands(self) -> list[str]:
        """Names of its operands."""
        return re.findall(r"%([\w.\-]+)", self.rest.split("), ", 1)[0])


def computations(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """Returns all computations by name, and the name of ENTRY."""
    found: dict[str, list[Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if header := _HEADER.match(line):
            current = found.setdefault(header.group(2), [])
            entry = header.group(2) if header.group(1) else entry
        elif current is not None and (instruction := _INSTRUCTION.match(line)):
            root, name, shape, opcode, rest = instruction.groups()
            current.append(Instruction(name, shape, opcode, rest, root is not None))
    return found, entry


def turns(
    loop: Instruction, blocks: Mapping[str, Sequence[Instruction]], around: Sequence[Instruction]
) -> int | None:
    """Returns how often the body of a `while` of the block `around` runs; None if the program does not say.

    Some compilers write the number down. Others leave the counter: an element of the loop's tuple that starts at a
    constant, grows by a constant, and is compared with a constant.
    """
    if known := _TRIPS.search(loop.rest):
        return int(known.group(1))
    condition, body = (_block(pattern, loop, blocks) for pattern in (_CONDITION, BODY))
    if not condition or not body:
        return None
    test, result = _root(condition), _root(body)
    if test is None or test.opcode != "compare" or "direction=LT" not in test.rest:
        return None
    counter, end = (condition.get(name) for name in test.operands)
    place = None if counter is None else _element(counter)
    if place is None:
        return None
    outside = {one.name: one for one in around}
    start = outside.get(_operand(outside.get(loop.operands[0]), place))
    step = body.get(_operand(result, place))
    first, last = _constant(start, outside), _constant(end, condition)
    each = None if step is None or step.opcode != "add" else _step(step, place, body)
    if first is None or last is None or not each or each < 1:
        return None
    return max(0, math.ceil((last - first) / each))


def _block(
    pattern: re.Pattern[str], loop: Instruction, blocks: Mapping[str, Sequence[Instruction]]
) -> dict[str, Instruction]:
    found = pattern.search(loop.rest)
    return {one.name: one for one in blocks.get(found.group(1), ())} if found else {}


def _root(block: Mapping[str, Instruction]) -> Instruction | None:
    return next((one for one in block.values() if one.is_root), None)


def _element(one: Instruction) -> int | None:
    """Returns which element of a tuple an instruction takes."""
    index = _INDEX.search(one.rest) if one.opcode == "get-tuple-element" else None
    return int(index.group(1)) if index else None


def _operand(one: Instruction | None, place: int) -> str:
    """Returns the name of an operand of a tuple; an empty one if there is none."""
    if one is None or one.opcode != "tuple" or place >= len(one.operands):
        return ""
    return one.operands[place]


def _constant(one: Instruction | None, block: Mapping[str, Instruction]) -> int | None:
    """Returns the value of an integer constant, also of a copy of it."""
    while one is not None and one.opcode == "copy":
        one = block.get(one.operands[0])
    value = _INTEGER.match(one.rest) if one is not None and one.opcode == "constant" else None
    return int(value.group(1)) if value else None


def _step(add: Instruction, place: int, body: Mapping[str, Instruction]) -> int | None:
    """By how much an addition of the body moves the element at `place`."""
    parts = [body[name] for name in add.operands if name in body]
    grown = [part for part in parts if _element(part) == place]
    by = [value for part in parts if (value := _constant(part, body)) is not None]
    return by[0] if len(grown) == len(by) == 1 else None
