"""Where a run is computed: one `tf.distribute` strategy, chosen by name."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import threading
from collections.abc import Callable, Iterator

import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.parallel import default_workers
from morphbert.train.cluster.config import DeviceConfig
from morphbert.train.cluster.workers import ALONE, Cluster, find_cluster, names_several
from morphbert.train.step_config import StepConfig

# Once the workers have met, one that dies is noticed by its connection; this is for two that cannot reach each other.
_COLLECTIVE_SECONDS = 1800.0


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices of a run.

    Attributes:
      strategy: over all replicas of all workers.
      chosen: a description in a few words.
      cluster: the workers; this process alone, mostly.
    """

    strategy: tf.distribute.Strategy
    chosen: str
    cluster: Cluster = ALONE

    @property
    def num_replicas(self) -> int:
        """Replicas of all workers together."""
        return int(self.strategy.num_replicas_in_sync)

    @property
    def input_per_host(self) -> bool:
        """Whether each host of the devices reads for its own, as on a TPU: one process then drives them all."""
        return isinstance(self.strategy, tf.distribute.TPUStrategy)

    @property
    def sharers_of_batch(self) -> int:
        """How many replicas share a batch that is handed to a step."""
        return 1 if self.input_per_host else self.num_replicas // self.cluster.size

    @property
    def replicas_of_cpu(self) -> int:
        """How many replicas share this machine's CPU and memory."""
        on_cpu = ["CPU" in device for device in self.strategy.extended.worker_devices]
        return sum(on_cpu)

    def agreement(self) -> Callable[[float], float]:
        """Returns a function that returns the highest of the workers' numbers; in it they wait for each other."""
        size, index, strategy = self.cluster.size, self.cluster.index, self.strategy
        if size == 1:
            return lambda value: value

        @tf.function(autograph=False)
        def gathered(mine: tf.Tensor) -> tf.Tensor:
            def replica(mine: tf.Tensor) -> tf.Tensor:
                row = mine * tf.one_hot(index, size, dtype=tf.float64)
                return tf.distribute.get_replica_context().all_reduce("SUM", row)

            row = strategy.run(replica, (mine,))
            return strategy.experimental_local_results(row)[0]

        local = self.num_replicas // size
        return lambda value: float(tf.reduce_max(gathered(tf.constant(value, tf.float64)))) / local


def cluster_of(config: DeviceConfig) -> Cluster:
    """Returns the workers of a run: those in the environment, with `multi_worker` or `auto`, or this process alone."""
    several = config.strategy == "auto" and names_several(os.environ)
    return find_cluster(os.environ) if several or config.strategy == "multi_worker" else ALONE


def accelerated(config: DeviceConfig) -> bool:
    """Returns whether the run will be on a GPU or TPU, where XLA pays; looks, without starting anything."""
    if config.strategy == "tpu" or config.tpu_name:
        return True
    return config.strategy != "cpu" and bool(tf.config.list_physical_devices("GPU"))


def decide_xla(step: StepConfig, devices: DeviceConfig) -> StepConfig:
    """Returns the same with XLA decided by the devices, where nothing was said."""
    return dataclasses.replace(step, xla=accelerated(devices)) if step.xla is None else step


def share_processors() -> None:
    """On a machine of two cores, lets a core compute an operation alone; has to come before any use of TensorFlow.

    A step computes two halves of its batch side by side: a core for each, instead of both cores for each operation
    and a wait at its end, is a tenth faster. With one core there is nothing to share. With more than two, which were
    not measured, TensorFlow's own choice stays.
    """
    if default_workers() != 2:
        return
    # In a process that has used TensorFlow it is refused: slower, and no less right.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_inter_op_parallelism_threads(2)
        tf.config.threading.set_intra_op_parallelism_threads(1)


def build_strategy(config: DeviceConfig, cluster: Cluster = ALONE) -> Devices:
    """Builds the strategy; has to come before any other use of TensorFlow in the process.

    Args:
      config: the requested devices.
      cluster: the workers, which have met.

    Raises:
      MorphbertError: the devices that were asked for are not there.
    """
    choice = config.strategy
    gpus = tf.config.list_physical_devices("GPU")
    if choice == "cpu":
        tf.config.set_visible_devices([], "GPU")
        gpus = []
        choice = "mirrored" if (config.num_replicas or 1) > 1 else "one_device"
    if choice == "auto":
        several = len(gpus) > 1 if config.num_replicas is None else config.num_replicas > 1
        choice = "mirrored" if several else "one_device"
        choice = "multi_worker" if cluster.size > 1 else choice
    if choice == "tpu":
        return _tpu(config)
    if choice == "multi_worker":
        return _multi_worker(config, cluster, len(gpus))
    if choice == "mirrored":
        return _mirrored(config, len(gpus))
    if (config.num_replicas or 1) != 1:
        raise MorphbertError(
            f"--num_replicas={config.num_replicas} with --strategy={config.strategy}: give --strategy=mirrored."
        )
    device = "GPU:0" if gpus else "CPU:0"
    why = f"auto: {len(gpus)} GPU(s) found, " if config.strategy == "auto" else ""
    return Devices(tf.distribute.OneDeviceStrategy(f"/{device}"), f"{why}one device ({device})")


def _multi_worker(config: DeviceConfig, cluster: Cluster, gpus: int) -> Devices:
    if config.num_replicas not in (None, gpus or 1):
        raise MorphbertError(
            f"--num_replicas={config.num_replicas} with --strategy=multi_worker: each worker uses all GPUs it sees "
            f"(here {gpus}); hide some with CUDA_VISIBLE_DEVICES, or start more workers."
        )
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        num_accelerators={"GPU": gpus},
        rpc_layer="grpc",
    )
    options = tf.distribute.experimental.CommunicationOptions(
        timeout_seconds=max(_COLLECTIVE_SECONDS, config.connect_timeout)
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
    here = f"{gpus} GPU(s)" if gpus else "the CPU"
    why = "auto: several workers found, " if config.strategy == "auto" else ""
    chosen = f"{why}{strategy.num_replicas_in_sync} replica(s) on {cluster.size} workers, {here} of each"
    return Devices(strategy, chosen, cluster)


def _mirrored(config: DeviceConfig, gpus: int) -> Devices:
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
    why = f"auto: {gpus} GPU(s) found, " if config.strategy == "auto" else ""
    return Devices(strategy, f"{why}mirrored over {replicas} replica(s) ({', '.join(devices)})")


@contextlib.contextmanager
def _within(seconds: float, message: str) -> Iterator[None]:
    """Ends the process with a message when the block takes longer: nothing else stops TensorFlow waiting for a TPU."""

    def end() -> None:
        print(f"morphbert: {message}", file=sys.stderr, flush=True)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _tpu(config: DeviceConfig) -> Devices:
    name = config.tpu_name or "local"
    remedy = (
        "On a TPU VM give --tpu_name=local and install tensorflow-tpu; elsewhere check --tpu_name, --tpu_zone and "
        "--gcp_project."
    )
    late = (
        f"the TPU {name!r} cannot be reached: no answer in {config.connect_timeout:g} s. {remedy} "
        "--connect_timeout=SECONDS waits longer."
    )
    try:
        with _within(config.connect_timeout, late):
            resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
                tpu=name, zone=config.tpu_zone, project=config.gcp_project
            )
            tf.config.experimental_connect_to_cluster(resolver)
            tf.tpu.experimental.initialize_tpu_system(resolver)
            strategy = tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, ImportError, ValueError, RuntimeError, OSError) as error:
        reason = str(getattr(error, "message", None) or error).strip().splitlines()[0].split(". ")[0]
        raise MorphbertError(f"the TPU {name!r} cannot be reached: {reason}. {remedy}") from error
    cores = strategy.num_replicas_in_sync
    if config.num_tpu_cores not in (None, cores):
        raise MorphbertError(
            f"--num_tpu_cores={config.num_tpu_cores}, but the TPU {name!r} has {cores}: leave the flag out."
        )
    return Devices(strategy, f"TPU {name!r}, {cores} cores")
