"""The training step → XLA's HLO for a kind of device, by TensorFlow's own bridge and without such a device.

TensorFlow cannot lower variables for a device that is not there. So weights, moments, loss scale, average and step go
in and come out as tensors: the model, the optimizer and `TrainingStep.replica_step` are those of training, and only
`tf.Variable` creates another kind.

As a program it is run in the environment whose TensorFlow knows the platform: `python -m
morphbert.train.accelerator_check.lowering FOLDER` reads FOLDER/program.json and writes FOLDER/lowering.json and, unless
an operation is refused, FOLDER/step.hlo.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from morphbert.model.kernels import lowered_for
from morphbert.model.parameters import TrainableModel
from morphbert.train.accelerator_check.program import StepProgram
from morphbert.train.objective import objective_of
from morphbert.train.optimizers.optimizer import Optimizer
from morphbert.train.step import TrainingStep
from morphbert.train.train_state import TrainState


class Cell:
    """A replacement for a variable: a tensor, and after an assignment another one."""

    def __init__(self, value: tf.Tensor, name: str):
        self.value = value
        self.name = name
        self.shape, self.dtype = value.shape, value.dtype

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> tf.Tensor:
        """For TensorFlow, which takes it wherever it takes a tensor."""
        return self.value if dtype is None else tf.cast(self.value, dtype)

    def assign(self, value: Any) -> Cell:
        """As a variable's."""
        self.value = tf.convert_to_tensor(value, self.dtype)
        return self

    def assign_add(self, value: Any) -> Cell:
        """As a variable's."""
        return self.assign(self.value + tf.cast(value, self.dtype))

    def __add__(self, other: Any) -> tf.Tensor:
        return self.value + other

    def __mul__(self, other: Any) -> tf.Tensor:
        return self.value * other

    def __truediv__(self, other: Any) -> tf.Tensor:
        return self.value / other


class _FunctionalStep(TrainingStep):
    """The step whose variables are `cells`: operations that are traced after a write see it, in this graph alone."""

    def __init__(self, cells: Sequence[Cell], *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self.cells = cells
        # A function of its own would keep its writes in its graph. The program is compiled as a whole in any case.
        self.update = self._update

    def _choose(self, condition: tf.Tensor, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
        before = [cell.value for cell in self.cells]

        def branch(function: Callable[[], Any]) -> Callable[[], Any]:
            def call() -> Any:
                self.put(before)
                result = function()
                return result, [cell.value for cell in self.cells]

            return call

        result, after = super()._choose(condition, branch(then), branch(otherwise))
        self.put(after)
        return result

    def put(self, values: Sequence[tf.Tensor]) -> None:
        """Makes these the values of the cells."""
        for cell, value in zip(self.cells, values, strict=True):
            cell.value = value


def _build(program: StepProgram, create: Callable[[tf.Tensor, str], Cell]) -> _FunctionalStep:
    """Returns the parts of a run, in the order of `run.py`, with `create` in the place of `tf.Variable`."""
    cells: list[Cell] = []
    before: list[tf.Tensor] = []

    def creator(_: Any, **given: Any) -> Cell:
        cell = create(tf.convert_to_tensor(given["initial_value"]), given["name"])
        cells.append(cell)
        before.append(cell.value)
        return cell

    objective = objective_of(program)
    with tf.variable_creator_scope(creator):
        model = TrainableModel(program.bert_config, objective.parameters, program.step.seed)
        optimizer = Optimizer(program.optimizer, objective.parameters)
        train_state = TrainState.of(model, optimizer, program.step.dtype, program.ema_decay)
    # Its replica function is called without the strategy, as one replica of one.
    strategy = tf.distribute.OneDeviceStrategy("/CPU:0")
    step = dataclasses.replace(program.step, xla=True)
    training = _FunctionalStep(cells, objective, train_state, strategy, step)
    training.put(before)  # an average begins by copying the weights
    return training


def variables_of(program: StepProgram) -> list[tf.TensorSpec]:
    """Returns the variables that the step reads and writes beside its batch, in the order of their creation."""
    found: list[tf.TensorSpec] = []

    def create(value: tf.Tensor, name: str) -> Cell:
        found.append(tf.TensorSpec(value.shape, value.dtype, name))
        return Cell(value, name)

    with tf.Graph().as_default():
        _build(program, create)
    return found


def step_function(program: StepProgram) -> tf.types.experimental.PolymorphicFunction:
    """Returns a compiled function of the batch's tensors and `variables_of`, all in one list.

    Returns:
      A function to the row of `TrainingStep.run`, float32 [columns], and the variables' new values.
    """
    number = len(program.batch)

    @tf.function(autograph=False, jit_compile=True)
    def step(*values: tf.Tensor) -> list[tf.Tensor]:
        given = iter(values[number:])
        batch = {one.name: value for one, value in zip(program.batch, values, strict=False)}
        training = _build(program, lambda initial, name: Cell(next(given), name))
        row = training.replica_step(batch)
        return [row, *(tf.identity(cell.value) for cell in training.cells)]

    return step


def lower(program: StepProgram, platform: str) -> bytes:
    """Returns a serialized HloModuleProto: parameters are batch and variables, results the row and the variables.

    Args:
      program: the step.
      platform: `TPU` (needs tensorflow-tpu), `GPU` or `CPU`.
    """
    batch = [tf.TensorSpec(one.shape, one.dtype, one.name) for one in program.batch]
    with lowered_for(platform):
        inputs = [*batch, *variables_of(program)]
        generate = step_function(program).experimental_get_compiler_ir(*inputs)
        return bytes(generate(stage="hlo_serialized", platform_name=platform))


def main(folder: Path) -> None:
    """Lowers the step that `folder` describes; a refusal is written down, not raised."""
    asked = json.loads((folder / "program.json").read_text(encoding="utf-8"))
    program = StepProgram.from_dict(asked["program"])
    started = time.monotonic()
    result: dict[str, Any] = {"inputs": len(program.batch), "tensorflow": tf.__version__}
    try:
        (folder / "step.hlo").write_bytes(lower(program, asked["platform"]))
    except (tf.errors.OpError, ValueError, NotImplementedError) as error:
        result["error"] = str(getattr(error, "message", None) or error)
    result["seconds"] = time.monotonic() - started
    (folder / "lowering.json").write_text(json.dumps(result))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main(Path(sys.argv[1]))
