"""Reads figures from the text of a compiled program: its fusions, cycles, bytes, constants and host operations.

The block ENTRY runs, with the bodies of the loops that it calls; see `program_text`.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

from morphbert.train.accelerator_check.program_text import BODY, Instruction, computations, turns

_ARRAY = re.compile(r"\b(pred|bf16|[sufc]\d+\w*)\[([\d,]*)\]")
_CYCLES = re.compile(r'"estimated_cycles":"?(\d+)')
_BRANCHES = re.compile(
    r"\b(?:branch_computations=\{([^}]*)\}|true_computation=([^,\s]+), false_computation=([^,\s]+))"
)
_CALLED = re.compile(r"\bto_apply=%?([\w.\-]+)")
_CUSTOM = re.compile(r'custom_call_target="([^"]+)"')
_FUSED = re.compile(r"\bcalls=%?([\w.\-]+)")
_ORIGIN = re.compile(r'\bop_name="([^";]*)')
_KINDS = {
    "product": {"convolution", "dot"},
    "scatter": {"scatter", "gather", "dynamic-update-slice"},
    "reduction": {"reduce", "reduce-window"},
}
_PRODUCT_CALLS = re.compile(r"^__(?:cublas|cudnn)\$")
_COPIES = {"copy", "transpose", "reshape", "copy-start", "copy-done", "slice", "concatenate", "pad"}
# They neither compute nor move anything.
_FREE = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call")
_HOST = ("infeed", "outfeed", "send", "recv")


@dataclasses.dataclass(frozen=True)
class Cost:
    """The compiler's estimate for all instructions that are alike: of one kind, shape and origin.

    Attributes:
      kind: `product`, `scatter`, `reduction`, `copy` or `elementwise`; a fusion is the first of them that is in it,
        and `scatter` includes gathers.
      shape: of the result, without layout.
      origin: the operation in the source's graph, without numbers.
      number: of instructions.
      cycles: of all of them together.
    """

    kind: str
    shape: str
    origin: str
    number: int
    cycles: int


@dataclasses.dataclass(frozen=True)
class ProgramFigures:
    """The counts of a program; a loop's body as often as it runs, where the program says how often.

    Attributes:
      instructions: of ENTRY, apart from those that do nothing when they run.
      fusions: of those, how many are fusions.
      cycles: the compiler's estimates added up, as if nothing ran beside another; None where it makes none.
      bytes: read and written by the instructions, each from memory and to it.
      constants: bytes of all literals, and of the largest.
      host: the operations on the host, by name.
      calls: custom calls, by their target.
      loops: the number of loops.
      uncounted_loops: of those, how many are counted as if they ran once.
      costs: all cycles, the most expensive first.
      products: matrix products by the dtype of their first operand, whether XLA's own, within a fusion, or a library's.
    """

    instructions: int
    fusions: int
    cycles: int | None
    bytes: int
    constants: int
    largest_constant: int
    host: Mapping[str, int]
    calls: Mapping[str, int]
    loops: int
    uncounted_loops: int
    costs: tuple[Cost, ...] = ()
    products: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def kinds(self) -> dict[str, int]:
        """Cycles by kind of instruction."""
        cycles: collections.Counter[str] = collections.Counter()
        for cost in self.costs:
            cycles[cost.kind] += cost.cycles
        return dict(cycles)


@dataclasses.dataclass(frozen=True)
class _Schedule:
    """The computations that run, apart from parts of fusions.

    Attributes:
      runs: how often each of them runs, by name.
      turns: how often the body of each of their loops runs, by the names of computation and loop; None where the
        program does not say.
    """

    runs: Mapping[str, int]
    turns: Mapping[tuple[str, str], int | None]


def size_of(shape: str) -> int:
    """Bytes of a shape's arrays, without padding: `(f32[2,3]{1,0}, pred[])` → 25."""
    return sum(
        math.ceil(_bits(kind) * math.prod(int(n) for n in axes.split(",") if n) / 8)
        for kind, axes in _ARRAY.findall(shape)
    )


def _bits(kind: str) -> int:
    """`bf16` → 16, `f8e4m3fn` → 8."""
    number = re.search(r"\d+", kind)
    return 8 if number is None else int(number.group())


def program_figures(text: str) -> ProgramFigures:
    """Counts the operations in a program's text.

    Raises:
      ValueError: it is none.
    """
    blocks, entry = computations(text)
    if entry not in blocks:
        raise ValueError("the text has no ENTRY computation: it is not the program of XLA")
    schedule = _schedule(blocks, entry)
    bytes_moved = 0
    host: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    for name, times in schedule.runs.items():
        shapes = {instruction.name: instruction.shape for instruction in blocks[name]}
        for instruction in blocks[name]:
            bytes_moved += times * _moved(instruction, shapes)
            if target := _CUSTOM.search(instruction.rest):
                calls[target.group(1)] += 1
            if reason := _on_host(instruction):
                host[reason] += 1
    literals = [
        size_of(instruction.shape)
        for block in blocks.values()
        for instruction in block
        if instruction.opcode == "constant"
    ]
    working = [instruction for instruction in blocks[entry] if instruction.opcode not in _FREE]
    costs = _costs(blocks, schedule.runs)
    return ProgramFigures(
        instructions=len(working),
        fusions=sum(instruction.opcode == "fusion" for instruction in working),
        cycles=sum(cost.cycles for cost in costs) if costs else None,
        bytes=bytes_moved,
        constants=sum(literals),
        largest_constant=max(literals, default=0),
        host=dict(host),
        calls=dict(calls),
        loops=len(schedule.turns),
        uncounted_loops=list(schedule.turns.values()).count(None),
        costs=costs,
        products=_products(blocks, schedule.runs),
    )


def _products(blocks: Mapping[str, Sequence[Instruction]], runs: Mapping[str, int]) -> dict[str, int]:
    products: collections.Counter[str] = collections.Counter()
    waiting = list(runs.items())
    while waiting:
        name, times = waiting.pop()
        shapes = {instruction.name: instruction.shape for instruction in blocks.get(name, ())}
        for instruction in blocks.get(name, ()):
            target = _CUSTOM.search(instruction.rest)
            if instruction.opcode in _KINDS["product"] or (target and _PRODUCT_CALLS.search(target.group(1))):
                shape = shapes.get(instruction.operands[0], "") if instruction.operands else ""
                products[shape.partition("[")[0] or "unknown"] += times
            if instruction.opcode == "fusion":
                waiting += [(called, times) for called in _FUSED.findall(instruction.rest)]
    return dict(products)


def _costs(blocks: Mapping[str, Sequence[Instruction]], runs: Mapping[str, int]) -> tuple[Cost, ...]:
    alike: dict[tuple[str, str, str], list[int]] = {}
    for name, times in runs.items():
        for instruction in blocks[name]:
            if estimate := _CYCLES.search(instruction.rest):
                key = (
                    _kind(instruction, blocks),
                    re.sub(r"\{[^}]*\}", "", instruction.shape),
                    _origin(instruction),
                )
                total = alike.setdefault(key, [0, 0])
                total[0] += times
                total[1] += times * int(estimate.group(1))
    costs = [Cost(*key, number, cycles) for key, (number, cycles) in alike.items()]
    return tuple(sorted(costs, key=lambda cost: -cost.cycles))


def _kind(instruction: Instruction, blocks: Mapping[str, Sequence[Instruction]]) -> str:
    within = _opcodes(instruction, blocks)
    for kind, opcodes in _KINDS.items():
        if within & opcodes:
            return kind
    return "copy" if within <= _COPIES else "elementwise"


def _opcodes(instruction: Instruction, blocks: Mapping[str, Sequence[Instruction]]) -> set[str]:
    """Those of an instruction and, for a fusion, of its parts, without those that do nothing."""
    if instruction.opcode != "fusion":
        return {instruction.opcode}
    opcodes: set[str] = set()
    for called in _FUSED.findall(instruction.rest):
        for inner in blocks.get(called, ()):
            opcodes |= _opcodes(inner, blocks)
    return opcodes - set(_FREE)


def _origin(instruction: Instruction) -> str:
    """Returns the last two parts of the operation's name: `a/PartitionedCall_3/MatMul_7` → `PartitionedCall/MatMul`."""
    name = _ORIGIN.search(instruction.rest)
    return "/".join(re.sub(r"_\d+\b", "", name.group(1)).split("/")[-2:]) if name else ""


def _schedule(blocks: Mapping[str, Sequence[Instruction]], entry: str) -> _Schedule:
    """Follows the calls from ENTRY; every branch of a condition counts."""
    runs: collections.Counter[str] = collections.Counter()
    turns_of_loops: dict[tuple[str, str], int | None] = {}
    waiting = [(entry, 1)]
    while waiting:
        name, times = waiting.pop()
        if name not in runs:
            for instruction in blocks[name]:
                if instruction.opcode == "while":
                    turns_of_loops[name, instruction.name] = turns(instruction, blocks, blocks[name])
        runs[name] += times
        for instruction in blocks[name]:
            repeated = turns_of_loops.get((name, instruction.name))
            repeated = 1 if repeated is None else repeated
            waiting += [(called, times * repeated) for called in _called(instruction) if called in blocks]
    return _Schedule(dict(runs), turns_of_loops)


def _called(instruction: Instruction) -> list[str]:
    if instruction.opcode == "while":
        return BODY.findall(instruction.rest)
    if instruction.opcode == "call":
        return _CALLED.findall(instruction.rest)
    if instruction.opcode == "conditional":
        parts = [part for groups in _BRANCHES.findall(instruction.rest) for part in groups if part]
        return [name.strip().lstrip("%") for part in parts for name in part.split(",")]
    return []


def _moved(instruction: Instruction, shapes: Mapping[str, str]) -> int:
    if instruction.opcode in _FREE:
        return 0
    return size_of(instruction.shape) + sum(size_of(shapes.get(name, "")) for name in instruction.operands)


def _on_host(instruction: Instruction) -> str | None:
    if instruction.opcode.removesuffix("-done") in _HOST and (
        "infeed" in instruction.opcode or "outfeed" in instruction.opcode
    ):
        return instruction.opcode
    if instruction.opcode in ("send", "recv") and "is_host_transfer=true" in instruction.rest:
        return instruction.opcode
    target = _CUSTOM.search(instruction.rest)
    if target and re.search(r"callback|host", target.group(1), re.I):
        return target.group(1)
    return None
