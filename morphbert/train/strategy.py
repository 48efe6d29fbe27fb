"""Where a run is computed: one `tf.distribute` strategy, chosen by name."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from morphbert.errors import MorphbertError


@dataclasses.dataclass(frozen=True)
class DeviceConfig:
    """Which devices to use.

    Attributes:
      strategy: `auto` takes a TPU where `tpu_name` is given, all GPUs where there are any, and else the CPU;
        `cpu`, `one_device` (the first GPU, or the CPU), `mirrored` (all GPUs, or `num_replicas` of the CPU)
        and `tpu` say it outright.
      num_replicas: for `mirrored`; None takes every GPU. On the CPU it splits it into that many logical
        devices, which is for tests and for trying things out: it is no faster.
      tpu_name: a Cloud TPU's name or `grpc://` address, or `local` on a TPU VM.
      tpu_zone: its zone; None asks the metadata server.
      gcp_project: its project; None asks the metadata server.
      num_tpu_cores: how many cores the TPU is expected to have; None takes what is there.
      peak_flops: floating-point operations that one device can do in a second; None looks it up by its name.
    """

    strategy: str = "auto"
    num_replicas: int | None = None
    tpu_name: str | None = None
    tpu_zone: str | None = None
    gcp_project: str | None = None
    num_tpu_cores: int | None = None
    peak_flops: float | None = None


def accelerated(config: DeviceConfig) -> bool:
    """Whether the run will be on a GPU or TPU, where XLA pays; looks, without starting anything."""
    if config.strategy == "tpu" or config.tpu_name:
        return True
    return config.strategy != "cpu" and bool(tf.config.list_physical_devices("GPU"))


def build_strategy(config: DeviceConfig) -> tuple[tf.distribute.Strategy, str]:
    """Builds the strategy; has to come before any other use of TensorFlow in the process.

    Returns:
      The strategy, and in a few words what was chosen.

    Raises:
      MorphbertError: the devices that were asked for are not there.
    """
    choice = config.strategy
    gpus = tf.config.list_physical_devices("GPU")
    if choice == "auto":
        several = len(gpus) > 1 if config.num_replicas is None else config.num_replicas > 1
        choice = "tpu" if config.tpu_name else "mirrored" if several else "one_device"
    if choice == "tpu":
        return _tpu(config)
    if choice == "mirrored":
        return _mirrored(config, len(gpus))
    if choice == "cpu":
        tf.config.set_visible_devices([], "GPU")
        gpus = []
    if (config.num_replicas or 1) != 1:
        raise MorphbertError(
            f"--num_replicas={config.num_replicas} with --strategy={config.strategy}: give --strategy=mirrored."
        )
    device = "GPU:0" if gpus else "CPU:0"
    return tf.distribute.OneDeviceStrategy(f"/{device}"), f"one device ({device})"


def _mirrored(config: DeviceConfig, gpus: int) -> tuple[tf.distribute.Strategy, str]:
    kind = "GPU" if gpus else "CPU"
    replicas = config.num_replicas or gpus or 1
    if gpus and replicas > gpus:
        raise MorphbertError(f"--num_replicas={replicas}, but this machine has {gpus} GPU(s).")
    if not gpus and replicas > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    devices = [f"{kind}:{index}" for index in range(replicas)]
    # Reduction to one device keeps the sum's order the same on every run; NCCL is faster between GPUs.
    reduction = tf.distribute.NcclAllReduce() if gpus > 1 else tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(devices, cross_device_ops=reduction)
    return strategy, f"mirrored over {replicas} replica(s) ({', '.join(devices)})"


def _tpu(config: DeviceConfig) -> tuple[tf.distribute.Strategy, str]:
    name = config.tpu_name or "local"
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=name, zone=config.tpu_zone, project=config.gcp_project
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        strategy = tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, ValueError, RuntimeError, OSError) as error:
        raise MorphbertError(
            f"the TPU {name!r} cannot be reached: {error}. On a TPU VM give --tpu_name=local and install "
            "tensorflow-tpu; elsewhere check --tpu_name, --tpu_zone and --gcp_project."
        ) from error
    cores = strategy.num_replicas_in_sync
    if config.num_tpu_cores not in (None, cores):
        raise MorphbertError(
            f"--num_tpu_cores={config.num_tpu_cores}, but the TPU {name!r} has {cores}: leave the flag out."
        )
    return strategy, f"TPU {name!r}, {cores} cores"
