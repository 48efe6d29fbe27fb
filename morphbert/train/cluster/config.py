"""Which devices to compute on, as a configuration that needs no TensorFlow."""

from __future__ import annotations

from typing import Literal

from morphbert.errors import UsageError
from morphbert.options import PositiveInt, configuration, option, optional

GROUP = "Devices"


@configuration
class DeviceConfig:
    """Which devices to use.

    Attributes:
      strategy: `auto` takes a TPU with `use_tpu`, all GPUs where there are any, and else the CPU;
        `cpu`, `one_device` (the first GPU, or the CPU), `mirrored` (all GPUs, or `num_replicas` of the CPU),
        `multi_worker` (all GPUs of several processes, or their CPUs) and `tpu` say it outright.
      num_replicas: for `mirrored`; None takes every GPU. On the CPU it splits it into that many logical
        devices, which is for tests and for trying things out: it is no faster.
      peak_flops: floating-point operations that one device can do in a second; None looks it up by its name.
      connect_timeout: seconds to wait for the TPU, or for the other workers.
      use_tpu: the same as `strategy="tpu"`.
      tpu_name: a Cloud TPU's name or `grpc://` address, or `local` on a TPU VM.
      tpu_zone: its zone; None asks the metadata server.
      gcp_project: its project; None asks the metadata server.
      num_tpu_cores: how many cores the TPU is expected to have; None takes all that are there.
      master: google-research/bert's, refused with the remedy.
    """

    strategy: Literal["auto", "cpu", "one_device", "mirrored", "multi_worker", "tpu"] = option(
        default="auto",
        group=GROUP,
        help="auto: a TPU if --use_tpu, several workers if TF_CONFIG or Slurm name them, all GPUs if there are "
        "several, else the GPU or the CPU; it says which. multi_worker: this process is one of several, on one machine "
        "or more (docs/training.md).",
    )
    num_replicas: PositiveInt | None = optional(
        help="GPUs to use with --strategy=mirrored. Without a GPU, and with --strategy=cpu, it splits the CPU, to try "
        "things out."
    )
    peak_flops: float | None = optional(
        at_least=1,
        flag="device_peak_flops",
        help="Floating-point operations that one device can do in a second, to log the share that is used. Known for "
        "usual GPUs and TPUs. Example: --device_peak_flops=312e12",
    )
    connect_timeout: float = option(
        default=300.0, at_least=1, help="Seconds to wait for the TPU, or for the other workers."
    )
    use_tpu: bool = option(default=False, help="Train on a TPU. Same as --strategy=tpu.")
    tpu_name: str | None = optional(help="The TPU's name, its grpc:// address, or local on a TPU VM.")
    tpu_zone: str | None = optional(help="Its zone, where it cannot be found out.")
    gcp_project: str | None = optional(help="Its project, where it cannot be found out.")
    num_tpu_cores: PositiveInt | None = optional(
        help="Cores that it is expected to have; all are used in any case."
    )
    master: str | None = optional(
        help="No meaning in TensorFlow 2: give --tpu_name, or TF_CONFIG for several hosts."
    )

    def __post_init__(self) -> None:
        """Raises UsageError for settings that contradict each other."""
        if self.master is not None:
            raise UsageError(
                f"--master={self.master} has no meaning in TensorFlow 2: give --tpu_name for a TPU."
            )
        if self.use_tpu and self.strategy not in ("auto", "tpu"):
            raise UsageError(f"--use_tpu contradicts --strategy={self.strategy}.")
        if self.use_tpu:
            object.__setattr__(self, "strategy", "tpu")
        if self.tpu_name and self.strategy != "tpu":
            raise UsageError(f"--tpu_name={self.tpu_name} without --use_tpu: add it, or leave the name out.")
        if self.num_replicas is not None and self.strategy == "tpu":
            raise UsageError(
                f"--num_replicas={self.num_replicas} with a TPU, all of whose cores are used: leave it out."
            )
