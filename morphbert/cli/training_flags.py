"""The flags that pretraining and fine-tuning share, and the configurations that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from morphbert.cli.command import Command
from morphbert.errors import UsageError
from morphbert.train import choices

if TYPE_CHECKING:
    from morphbert.train.cluster.strategy import DeviceConfig
    from morphbert.train.optimizers.optimizer import OptimizerConfig
    from morphbert.train.step import StepConfig

_FLOAT_MAX = 1e30


def define_optimizer(command: Command, pretraining: bool = True) -> None:
    """The optimizer's flags; the warm-up is in steps for pretraining, a share of them for a task."""
    command.group("Optimizer (the defaults are BERT's)", "optimizer")
    command.enum(
        "optimizer",
        "adam",
        choices.OPTIMIZERS,
        "adam: BERT's, with decoupled weight decay and without bias correction. adamw: with it. lamb: for batches "
        "of many thousand sequences. muon: orthogonal updates of the layers' matrices, adamw for the rest. "
        "stable_adamw: adamw with updates clipped where gradients surge.",
    )
    command.number(
        "learning_rate",
        5e-5,
        "The highest learning rate. 1e-4 is BERT's for pretraining from nothing; 2e-5 to 5e-5 suit going on from a "
        "trained model.",
        lower_bound=0.0,
        upper_bound=_FLOAT_MAX,
    )
    if pretraining:
        command.integer(
            "num_warmup_steps",
            10_000,
            "Steps over which the learning rate rises from 0. Usually 1% to 10%.",
            lower_bound=0,
        )
    else:
        command.number(
            "warmup_proportion",
            0.1,
            "Share of the steps over which the learning rate rises from 0.",
            lower_bound=0.0,
            upper_bound=1.0,
        )
    command.enum(
        "schedule",
        "linear",
        choices.SCHEDULES,
        "How the learning rate falls to --end_learning_rate at the last step. warmup_stable_decay keeps it and falls "
        "at the end, so that a run can be lengthened.",
    )
    command.number("end_learning_rate", 0.0, "The learning rate of the last step.", lower_bound=0.0)
    command.number("power", 1.0, "Exponent of --schedule=polynomial.", lower_bound=0.0)
    command.number(
        "decay_share",
        0.1,
        "Share of the steps in which --schedule=warmup_stable_decay falls.",
        lower_bound=1e-9,
        upper_bound=1.0,
    )
    command.number(
        "layer_decay",
        1.0,
        "Each layer learns at the rate of the layer above times this; for going on from a trained model. Example: 0.8",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    command.number(
        "weight_decay_rate", 0.01, "Decoupled weight decay.", lower_bound=0.0, upper_bound=_FLOAT_MAX
    )
    command.string(
        "exclude_from_weight_decay",
        "LayerNorm,layer_norm,bias",
        "Weights whose names contain one of these (regular expressions) are not decayed.",
    )
    command.number("adam_beta_1", 0.9, "Decay of the mean of gradients.", lower_bound=0.0, upper_bound=1.0)
    command.number("adam_beta_2", 0.999, "Decay of the mean of squares.", lower_bound=0.0, upper_bound=1.0)
    command.number("adam_epsilon", 1e-6, "Added to the root of the mean of squares.", lower_bound=0.0)
    command.number(
        "muon_momentum",
        0.95,
        "Of --optimizer=muon: decay of the sum of gradients.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    command.number(
        "clip_norm", 1.0, "Gradients are scaled down to this norm, over the whole batch.", lower_bound=1e-12
    )


def define_devices(command: Command) -> None:
    """Where and in which precision to compute."""
    command.group("Devices", "train")
    command.enum(
        "strategy",
        "auto",
        choices.STRATEGIES,
        "auto: a TPU if --use_tpu, several workers if TF_CONFIG or Slurm name them, all GPUs if there are several, "
        "else the GPU or the CPU; it says which. multi_worker: this process is one of several, on one machine or more "
        "(docs/training.md).",
    )
    command.integer(
        "num_replicas",
        None,
        "GPUs to use with --strategy=mirrored. Without a GPU, and with --strategy=cpu, it splits the CPU, to try "
        "things out.",
        lower_bound=1,
    )
    command.enum(
        "dtype",
        "float32",
        choices.DTYPES,
        "Of activations and matrix products. bfloat16 is faster on recent GPUs, TPUs and CPUs; weights stay float32. "
        "float16, with dynamic loss scaling, is for GPUs before 2020 (V100, T4).",
    )
    command.boolean(
        "xla", None, "Compile with XLA. Default: yes on GPU and TPU, no on the CPU, where it gains nothing."
    )
    command.integer(
        "iterations_per_loop",
        1000,
        "Steps in one call of the compiled loop at most; a call ends after about 10 s in any case.",
        lower_bound=1,
    )
    command.number(
        "device_peak_flops",
        None,
        "Floating-point operations that one device can do in a second, to log the share that is used. Known for usual "
        "GPUs and TPUs. Example: --device_peak_flops=312e12",
        lower_bound=1.0,
    )
    command.number(
        "connect_timeout",
        300.0,
        "Seconds to wait for the TPU, or for the other workers.",
        lower_bound=1.0,
    )
    command.boolean("use_tpu", False, "Train on a TPU. Same as --strategy=tpu.")
    command.string("tpu_name", None, "The TPU's name, its grpc:// address, or local on a TPU VM.")
    command.string("tpu_zone", None, "Its zone, where it cannot be found out.")
    command.string("gcp_project", None, "Its project, where it cannot be found out.")
    command.integer(
        "num_tpu_cores", None, "Cores that it is expected to have; all are used in any case.", lower_bound=1
    )
    command.string(
        "master", None, "No meaning in TensorFlow 2: give --tpu_name, or TF_CONFIG for several hosts."
    )


def check(values: flags.FlagValues) -> None:
    """Refuses flags that contradict each other."""
    if values.master is not None:
        raise UsageError(
            f"--master={values.master} has no meaning in TensorFlow 2: give --tpu_name for a TPU."
        )
    if values.use_tpu and values.strategy not in ("auto", "tpu"):
        raise UsageError(f"--use_tpu contradicts --strategy={values.strategy}.")
    if values.tpu_name and not (values.use_tpu or values.strategy == "tpu"):
        raise UsageError(f"--tpu_name={values.tpu_name} without --use_tpu: add it, or leave the name out.")


def devices(values: flags.FlagValues) -> DeviceConfig:
    """Which devices to use."""
    from morphbert.train.cluster.strategy import DeviceConfig

    return DeviceConfig(
        strategy="tpu" if values.use_tpu else values.strategy,
        num_replicas=values.num_replicas,
        tpu_name=values.tpu_name,
        tpu_zone=values.tpu_zone,
        gcp_project=values.gcp_project,
        num_tpu_cores=values.num_tpu_cores,
        peak_flops=values.device_peak_flops,
        connect_timeout=values.connect_timeout,
    )


def optimizer(values: flags.FlagValues, num_train_steps: int, num_warmup_steps: int) -> OptimizerConfig:
    """What the optimizer does."""
    from morphbert.train.optimizers.optimizer import OptimizerConfig

    return OptimizerConfig(
        optimizer=values.optimizer,
        learning_rate=values.learning_rate,
        num_train_steps=num_train_steps,
        num_warmup_steps=num_warmup_steps,
        schedule=values.schedule,
        end_learning_rate=values.end_learning_rate,
        power=values.power,
        decay_share=values.decay_share,
        layer_decay=values.layer_decay,
        weight_decay_rate=values.weight_decay_rate,
        exclude_from_weight_decay=tuple(filter(None, values.exclude_from_weight_decay.split(","))),
        beta_1=values.adam_beta_1,
        beta_2=values.adam_beta_2,
        epsilon=values.adam_epsilon,
        clip_norm=values.clip_norm,
        muon_momentum=values.muon_momentum,
    )


def step(values: flags.FlagValues, devices: DeviceConfig) -> StepConfig:
    """How a step is computed."""
    from morphbert.train.cluster.strategy import accelerated
    from morphbert.train.step import StepConfig

    return StepConfig(
        dtype=values.dtype,
        xla=accelerated(devices) if values.xla is None else values.xla,
        gradient_accumulation_steps=values.gradient_accumulation_steps,
        recompute=values.recompute,
        seed=values.seed,
    )
