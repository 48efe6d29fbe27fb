"""A step and a target → a report: lowers and compiles, each in a process of the environment that can."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import morphbert
from morphbert.errors import MorphbertError
from morphbert.model.cost import step_flops
from morphbert.train.accelerator_check.figures import program_figures
from morphbert.train.accelerator_check.program import StepProgram
from morphbert.train.accelerator_check.report import CompilationReport, Compiled, Refusal, refusal
from morphbert.train.accelerator_check.targets import Target

_ROOT = Path(morphbert.__file__).parents[1]
_BRIDGE = "TensorFlow's bridge"
_COMPILER = "the device's compiler"
# A batch is found to one part in so many.
_FINENESS = 8


def compiler_environment() -> Path:
    """Returns the Python whose JAX has the compilers.

    Raises:
      MorphbertError: it has not been made.
    """
    return _python(".venv-xla")


def lowering_environment(platform: str) -> Path:
    """Returns the Python whose TensorFlow lowers for a platform: this one, and for a TPU one with tensorflow-tpu.

    Raises:
      MorphbertError: it has not been made.
    """
    if platform != "TPU":
        return Path(sys.executable)
    try:
        importlib.metadata.version("tensorflow-tpu")
    except importlib.metadata.PackageNotFoundError:
        return _python(".venv-tpu")
    return Path(sys.executable)


def _python(environment: str) -> Path:
    path = _ROOT / environment / "bin" / "python"
    if not path.exists():
        raise MorphbertError(
            f"--compile_for needs the environment {environment}, and {path} is not there: run `make compilers` in a "
            "checkout of morphbert, and start the command from it."
        )
    return path


class Checker:
    """Compiles steps, each lowered once for all targets that lower it alike; files live as long as it does."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="morphbert-compile-")
        self._lowered: dict[str, tuple[Path, dict[str, Any]]] = {}

    def __enter__(self) -> Checker:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def report(self, program: StepProgram, target: Target, model: str = "model") -> CompilationReport:
        """Lowers and compiles a step for a target, of which `program` is one device's share.

        Raises:
          MorphbertError: an environment is missing.
        """
        config = program.bert_config
        networks = [config] if program.electra is None else [config, program.electra.generator]
        flops = sum(step_flops(one, program.rows, program.length, program.predictions) for one in networks)
        result = self._compile(program, target)
        return CompilationReport(
            target=target,
            model=model,
            rows=program.rows,
            length=program.length,
            dtype=program.step.dtype,
            model_flops=flops,
            result=result,
        )

    def _compile(self, program: StepProgram, target: Target) -> Compiled | Refusal:
        compiler_environment()  # fails now, rather than after the lowering
        source, lowered = self._lower(program, target)
        if "error" in lowered:
            return refusal(_BRIDGE, lowered["error"])
        folder = self._new_folder()
        (folder / "step.hlo").hardlink_to(source)
        asked = {"target": target.request, "inputs": lowered["inputs"]}
        (folder / "target.json").write_text(json.dumps(asked))
        return compiled_by(Path(__file__).with_name("compilation.py"), folder, target)

    def _lower(self, program: StepProgram, target: Target) -> tuple[Path, dict[str, Any]]:
        platform = target.device.platform
        asked = json.dumps({"program": program.to_dict(), "platform": platform}, sort_keys=True)
        if asked not in self._lowered:
            folder = self._new_folder()
            (folder / "program.json").write_text(asked, encoding="utf-8")
            python = lowering_environment(platform)
            command = [str(python), "-m", "morphbert.train.accelerator_check.lowering", str(folder)]
            self._lowered[asked] = folder / "step.hlo", _run(command, target, folder / "lowering.json")
        return self._lowered[asked]

    def _new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._folder.name))


def compiled_by(script: Path, folder: Path, target: Target) -> Compiled | Refusal:
    """Runs a program of the compilers' environment, which leaves the files of `compilation` in its folder.

    Raises:
      MorphbertError: the environment is missing.
    """
    command = [str(compiler_environment()), str(script), str(folder)]
    found = _run(command, target, folder / "compilation.json")
    if "error" in found:
        return refusal(_COMPILER, found["error"])
    return _compiled(found, (folder / "optimized.txt").read_text(encoding="utf-8"))


def _run(command: Sequence[str], target: Target, result: Path) -> dict[str, Any]:
    """Returns the content of the file `result` of a program; `error` if the program ends without it."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_CPP_MAX_VLOG_LEVEL": "0"}
    environment = {**os.environ, **quiet, **target.environment}
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, cwd=_ROOT, env=environment
    )
    if result.exists():
        return dict(json.loads(result.read_text(encoding="utf-8")))
    if done.returncode < 0:
        why = " for want of memory, most probably" if done.returncode == -9 else ""
        return {"error": f"the process was ended by signal {-done.returncode}{why}. {done.stderr[-300:]}"}
    return {"error": f"the process ended with status {done.returncode}: {done.stderr[-500:]}"}


def _compiled(found: dict[str, Any], text: str) -> Compiled:
    program = program_figures(text) if text else None
    # A compiler's own counts have a loop once, however often it runs.
    cost = {} if program is not None and program.loops else found["cost"]
    return Compiled(
        device=found["device"],
        seconds=found["seconds"],
        memory=found["memory"],
        flops=cost.get("flops"),
        bytes=cost.get("bytes accessed"),
        program=program,
    )


def largest_batch(fits: Callable[[int], bool], start: int, step: int = 1) -> int:
    """Returns the largest batch that fits, by doubling or halving, then bisection, to one part in eight; or 0.

    Args:
      fits: whether a batch does; if one does, all smaller ones do.
      start: tried first.
      step: batches are multiples of it.
    """
    most = max(1, start // step)
    if fits(most * step):
        low, high = most, 2 * most
        while fits(high * step):
            low, high = high, 2 * high
    else:
        low, high = most // 2, most
        while low and not fits(low * step):
            low, high = low // 2, low
    while high - low > max(1, low // _FINENESS):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * step) else (low, middle)
    return low * step
