"""Compares a compiled step with the device's limits: the arithmetic, and the messages."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from morphbert.train.accelerator_check.figures import ProgramFigures
from morphbert.train.accelerator_check.targets import Target

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "": 1}


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why a step does not compile.

    Attributes:
      by: who refused it.
      message: its words, shortened.
      operations: of TensorFlow that the device has no kernel for.
      needed: bytes, where the device's memory is too small for them.
    """

    by: str
    message: str
    operations: tuple[str, ...] = ()
    needed: int | None = None

    @property
    def is_of_memory(self) -> bool:
        """Whether a smaller batch would help."""
        return self.needed is not None or "RESOURCE_EXHAUSTED" in self.message


def refusal(by: str, message: str) -> Refusal:
    """Reads an error of TensorFlow's bridge or of a compiler."""
    operations = tuple(dict.fromkeys(re.findall(r"No registered '(\w+)' OpKernel", message)))
    used = re.search(r"Used ([\d.]+)([KMGT]?)i?B? of ([\d.]+)([KMGT]?)i?B? hbm", message)
    needed = int(float(used.group(1)) * _UNITS[used.group(2)]) if used else None
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return Refusal(by, " ".join(lines[:3])[:600], operations, needed)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A compiled step.

    Attributes:
      device: its name as the compiler gives it.
      seconds: that compiling took.
      memory: bytes of `arguments`, `results`, `aliased` (results in the memory of arguments), `temporary` and `code`.
      flops, bytes: as the compiler counts them; None where it does not, or has a loop.
      program: None where its text could not be read.
    """

    device: str
    seconds: float
    memory: Mapping[str, int]
    flops: float | None
    bytes: float | None
    program: ProgramFigures | None

    @property
    def hbm(self) -> int:
        """Bytes of the device's memory at the highest moment: old values make room for new ones."""
        sizes = self.memory
        return sizes["arguments"] + sizes["results"] - sizes["aliased"] + sizes["temporary"]


@dataclasses.dataclass(frozen=True)
class CompilationReport:
    """One step on one target.

    Attributes:
      target: where.
      model: its name in a table.
      rows, length: B of one device, and L.
      dtype: of the step.
      model_flops: operations that the model's products need, whatever the compiler makes of them.
      result: the compiler's result.
    """

    target: Target
    model: str
    rows: int
    length: int
    dtype: str
    model_flops: int
    result: Compiled | Refusal

    @property
    def fits(self) -> bool:
        """Whether it compiles and the device has memory for it."""
        return isinstance(self.result, Compiled) and self.result.hbm <= self.target.device.memory

    @property
    def flops(self) -> float:
        """The compiler's count, and where it has none the model's."""
        counted = self._compiled.flops
        return float(self.model_flops) if counted is None else counted

    @property
    def bytes(self) -> float | None:
        """The compiler's count, and where it has none that of the program's text."""
        compiled = self._compiled
        if compiled.bytes is not None:
            return compiled.bytes
        return None if compiled.program is None else float(compiled.program.bytes)

    @property
    def intensity(self) -> float | None:
        """Operations a byte."""
        return self.flops / self.bytes if self.bytes else None

    @property
    def balance(self) -> float:
        """Operations a byte at which the device is as busy with computing as with its memory."""
        return self.target.device.peak(self.dtype) / self.target.device.bandwidth

    @property
    def computing(self) -> float:
        """Seconds that the operations take at the device's peak."""
        return self.flops / self.target.device.peak(self.dtype)

    @property
    def moving(self) -> float | None:
        """Seconds that the bytes take at its bandwidth."""
        return self.bytes / self.target.device.bandwidth if self.bytes is not None else None

    @property
    def roofline(self) -> float:
        """Seconds that a step takes at least (Williams et al. 2009): the longer one of both."""
        return max(self.computing, self.moving or 0.0)

    @property
    def estimated(self) -> float | None:
        """Seconds by the compiler's own cycles; None where it makes no estimate or the clock is not known."""
        program, clock = self._compiled.program, self.target.device.clock
        if program is None or program.cycles is None or clock is None:
            return None
        return program.cycles / clock

    @property
    def _compiled(self) -> Compiled:
        assert isinstance(self.result, Compiled), "a step that was refused has no figures"
        return self.result


def describe(report: CompilationReport) -> str:
    """Returns the report in some lines for a person at a terminal."""
    target = report.target
    head = f"{target.name}: {report.model}, {report.rows} rows of {report.length} pieces on each of "
    head += f"{target.replicas} device(s), {report.dtype}"
    if isinstance(report.result, Refusal):
        return "\n".join([head, *_refused(report.result)])
    compiled = report.result
    sizes = compiled.memory
    room = target.device.memory
    lines = [
        f"compiles for {compiled.device}, in {compiled.seconds:.0f} s",
        f"memory: {_size(compiled.hbm)} of {_size(room)} ({compiled.hbm / room:.1%}): {_size(sizes['arguments'])} of "
        f"weights, moments and batch, {_size(sizes['temporary'])} for activations and the like"
        + ("" if report.fits else "; it does not fit: lower --train_batch_size, or give --recompute"),
        _work(report),
        _time(report),
    ]
    if compiled.program is None:
        lines.append("program: its text could not be read, so that nothing is said about it")
    else:
        lines.append(_program(compiled.program))
    return "\n  ".join([head, *lines])


def _refused(found: Refusal) -> list[str]:
    lines = [f"  does not compile: {found.by} refused it: {found.message}"]
    if found.operations:
        lines.append(f"  operations without a kernel there: {', '.join(found.operations)}")
    if found.is_of_memory:
        lines.append("  lower --train_batch_size, raise --gradient_accumulation_steps, or give --recompute")
    return lines


def _work(report: CompilationReport) -> str:
    own = f"the model's own: {report.model_flops / 1e9:,.1f}"
    text = f"operations: {report.flops / 1e9:,.1f} GFLOP ({own})"
    if report.bytes and report.intensity:
        text += (
            f"; bytes accessed: {_size(report.bytes)}; {report.intensity:.0f} operations a byte, "
            f"and the device is balanced at {report.balance:.0f}"
        )
    return text


def _time(report: CompilationReport) -> str:
    bound = "operations" if report.computing >= (report.moving or 0.0) else "bytes"
    text = f"time: at least {_milliseconds(report.roofline)} by the {bound} (roofline)"
    program = report._compiled.program
    if program is not None and program.cycles is not None:
        text += f"; the compiler estimates {program.cycles / 1e6:,.2f} million cycles"
        if report.estimated is not None:
            text += f", {_milliseconds(report.estimated)}"
    return f"{text}; nothing was run"


def _program(program: ProgramFigures) -> str:
    text = f"program: {program.instructions} instructions, {program.fusions} of them fusions; constants of "
    text += f"{_size(program.constants)}, the largest {_size(program.largest_constant)}; "
    on_host = ", ".join(f"{name} × {count}" for name, count in program.host.items())
    text += f"on the host: {on_host}" if on_host else "nothing on the host"
    if program.uncounted_loops:
        text += f"; {program.uncounted_loops} loop(s) of unknown length count once"
    return text


COLUMNS = (
    *("target", "model", "dtype", "B × L", "compiles", "HBM", "GFLOP", "bytes", "operations a byte"),
    *("million cycles", "roofline", "fusions", "constants"),
)


def table(reports: Sequence[CompilationReport]) -> str:
    """Returns the reports as a table of Markdown, in the order of `COLUMNS`."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS), *(_row(report) for report in reports)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(report: CompilationReport) -> tuple[str, ...]:
    head = (report.target.name, report.model, report.dtype, f"{report.rows} × {report.length}")
    if isinstance(report.result, Refusal):
        return (*head, "no", *[""] * (len(COLUMNS) - len(head) - 1))
    program = report.result.program
    return (
        *head,
        "yes" if report.fits else "too large",
        f"{_size(report.result.hbm)} ({report.result.hbm / report.target.device.memory:.1%})",
        f"{report.flops / 1e9:,.1f}",
        _size(report.bytes) if report.bytes else "",
        f"{report.intensity:.0f}" if report.intensity else "",
        f"{program.cycles / 1e6:,.2f}" if program and program.cycles is not None else "",
        _milliseconds(report.roofline),
        str(program.fusions) if program else "",
        _size(program.constants) if program else "",
    )


def _size(size: float) -> str:
    return (
        f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size:.0f} B"
    )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"
