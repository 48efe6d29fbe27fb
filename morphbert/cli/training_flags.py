"""The flags that fine-tuning has in common with pretraining, and the configurations that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from morphbert import options
from morphbert.cli.command import Command
from morphbert.train.cluster.config import GROUP, DeviceConfig
from morphbert.train.optimizers.config import OptimizerConfig
from morphbert.train.step_config import StepConfig

if TYPE_CHECKING:
    from absl import flags

_Part = TypeVar("_Part")


def define_optimizer(command: Command) -> None:
    """The optimizer's flags; the warm-up is a share of the steps, or a number of them."""
    command.add(OptimizerConfig, "Optimizer (the defaults are BERT's)", "optimizer")
    command.number(
        "warmup_proportion",
        0.1,
        "Share of the steps over which the learning rate rises from 0.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    command.integer("num_warmup_steps", None, "Steps of that instead of --warmup_proportion.", lower_bound=0)


def define_devices(command: Command) -> None:
    """Where and in which precision to compute."""
    command.add(DeviceConfig, GROUP, "train")
    command.add(StepConfig, GROUP, "train")
    command.integer(
        "iterations_per_loop",
        1000,
        "Steps in one call of the compiled loop at most; a call ends after about 10 s in any case.",
        lower_bound=1,
    )


def devices(values: flags.FlagValues) -> DeviceConfig:
    """Which devices to use."""
    return _part(values, DeviceConfig)


def optimizer(values: flags.FlagValues) -> OptimizerConfig:
    """What the optimizer does; its numbers of steps follow from the examples."""
    return _part(values, OptimizerConfig)


def step(values: flags.FlagValues, devices: DeviceConfig) -> StepConfig:
    """How a step is computed."""
    from morphbert.train.cluster.strategy import decide_xla

    return decide_xla(_part(values, StepConfig), devices)


def _part(values: flags.FlagValues, kind: type[_Part]) -> _Part:
    """A configuration of the flags that are among its options."""
    return options.make(kind, {flag.name: values[flag.name].value for flag in options.flags_of(kind)})
