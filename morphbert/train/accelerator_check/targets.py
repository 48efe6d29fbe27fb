"""The accelerators that a step can be compiled for: the compiler's arguments, and the maker's figures.

Sources of the figures. TPU: Google Cloud's pages of each version (memory, bandwidth, peak of a chip); clocks of v2 and
v3 from Norrie et al. 2021 ("The Design Process for Google's Training Chips"), of v4 from Jouppi et al. 2023, of v5e and
v5p from the peak and the number of matrix units; v6e's is not published. GPU: NVIDIA's data sheets and the tables of
compute capabilities in the CUDA C++ programming guide. Peaks are those of `device_peak`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

from morphbert.errors import UsageError
from morphbert.train.cluster.device_peak import peak_of_gpu, peak_of_tpu

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Device:
    """One device as the compiler and TensorFlow's strategies count them: a GPU, a TPU chip, half a chip of v2 and v3.

    Attributes:
      platform: whose compiler compiles for it.
      name: by which `device_peak` knows it.
      memory: bytes.
      bandwidth: of the memory, bytes a second.
      clock: cycles a second that a TPU compiler's cycles are of; None where nobody says.
      axes: how many numbers a topology of it has, for TPUs.
      cores: devices of a chip.
      accelerator: the beginning of a TPU VM's `TPU_ACCELERATOR_TYPE`.
      description: a GPU in the words of XLA's `GpuDeviceInfoProto`, for GPUs.
      capability: of CUDA, for GPUs.
    """

    platform: Literal["TPU", "GPU"]
    name: str
    memory: int
    bandwidth: float
    clock: float | None = None
    axes: int = 0
    cores: int = 1
    accelerator: str = ""
    description: Mapping[str, float] = dataclasses.field(default_factory=dict)
    capability: tuple[int, int] = (0, 0)

    def peak(self, dtype: str) -> float:
        """Floating-point operations a second of dense products in a dtype."""
        found = peak_of_tpu(self.name) if self.platform == "TPU" else peak_of_gpu(self.name, dtype)
        assert found is not None, self.name
        return found


def _tpu(name: str, memory: int, bandwidth: float, clock: float | None, axes: int, cores: int = 1) -> Device:
    accelerator = "v5litepod" if name == "v5e" else name
    return Device(
        platform="TPU",
        name=name,
        memory=memory * _GIB,
        bandwidth=bandwidth,
        clock=clock,
        axes=axes,
        cores=cores,
        accelerator=accelerator,
    )


# The parts of a GPU's description that differ, in the order of the rows of `DEVICES`.
_GPU_COLUMNS = (
    *("core_count", "fpus_per_core", "threads_per_core_limit", "shared_memory_per_core"),
    *("shared_memory_per_block_optin", "l2_cache_size", "clock_rate_ghz"),
)


def _gpu(
    name: str, memory: int, bandwidth: float, capability: tuple[int, int], row: tuple[float, ...]
) -> Device:
    described = dict(zip(_GPU_COLUMNS, row, strict=True))
    return Device("GPU", name, memory, bandwidth, description=described, capability=capability)


_KIB, _MIB = 2**10, 2**20
DEVICES: Mapping[str, Device] = {
    "v2": _tpu("v2", 8, 350e9, 0.70e9, 2, cores=2),
    "v3": _tpu("v3", 16, 450e9, 0.94e9, 2, cores=2),
    "v4": _tpu("v4", 32, 1228e9, 1.05e9, 3),
    "v5e": _tpu("v5e", 16, 819e9, 1.50e9, 2),
    "v5p": _tpu("v5p", 95, 2765e9, 1.75e9, 3),
    "v6e": _tpu("v6e", 32, 1640e9, None, 2),
    "h100": _gpu(
        "H100", 84_929_347_584, 3352e9, (9, 0), (132, 128, 2048, 228 * _KIB, 227 * _KIB, 50 * _MIB, 1.98)
    ),
    "a100": _gpu(
        "A100", 84_987_740_160, 2039e9, (8, 0), (108, 64, 2048, 164 * _KIB, 163 * _KIB, 40 * _MIB, 1.41)
    ),
    "l4": _gpu("L4", 23_580_639_232, 300e9, (8, 9), (58, 128, 1536, 100 * _KIB, 99 * _KIB, 48 * _MIB, 2.04)),
}
# Of every GPU of the table.
_ALL_GPUS = {
    "threads_per_block_limit": 1024,
    "threads_per_warp": 32,
    "shared_memory_per_block": 48 * 1024,
    "block_dim_limit_x": 2**31 - 1,
    "block_dim_limit_y": 2**16 - 1,
    "block_dim_limit_z": 2**16 - 1,
    "registers_per_core_limit": 2**16,
    "registers_per_block_limit": 2**16,
}


@dataclasses.dataclass(frozen=True)
class Target:
    """The devices of a run: `v5e:2x2`, four chips; `h100:8`, eight GPUs; `h100`, one.

    Attributes:
      name: as it was written.
      device: of which it has several.
      replicas: how many.
    """

    name: str
    device: Device
    replicas: int

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a TPU VM's environment that libtpu needs."""
        if self.device.platform == "GPU":
            return {}
        # Versions before v5e count cores in an accelerator's name, two of a chip; later ones count chips.
        counted = 1 if self.device.name in ("v5e", "v6e") else 2
        chips = self.replicas // self.device.cores
        return {
            "TPU_ACCELERATOR_TYPE": f"{self.device.accelerator}-{chips * counted}",
            "TPU_SKIP_MDS_QUERY": "1",
            "TPU_WORKER_HOSTNAMES": "localhost",
            "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        }

    @property
    def request(self) -> dict[str, Any]:
        """The request to `compilation`, JSON-able."""
        if self.device.platform == "TPU":
            # A host has four chips, two by two, of a topology that has as many.
            host = [min(2, int(axis)) for axis in self.name.partition(":")[2].split("x")[:2]]
            options: dict[str, Any] = {"chips_per_host_bounds": [*host, 1]}
            if self.device.axes == 3:  # both cores of a chip are one device
                options["chip_config_name"] = "megacore"
            return {"platform": "tpu", "topology": self.name, "options": options}
        return {"platform": "gpu", "description": gpu_description(self.device)}


def gpu_description(device: Device) -> str:
    """XLA's `GpuTargetConfigProto` of a GPU, as text (openxla/xla, `xla/stream_executor/device_description.proto`)."""
    values = {
        **_ALL_GPUS,
        **device.description,
        "memory_bandwidth": int(device.bandwidth),
        "device_memory_size": device.memory,
    }
    major, minor = device.capability
    lines = [f"  {name}: {value}" for name, value in values.items()]
    lines.append(f"  cuda_compute_capability {{ major: {major} minor: {minor} }}")
    return "\n".join(
        [
            "gpu_device_info {",
            *lines,
            "}",
            'platform_name: "CUDA"',
            "runtime_version { major: 12 minor: 8 patch: 0 }",
            "dnn_version_info { major: 9 minor: 7 }",
            f'device_description_str: "NVIDIA {device.name}"',
            "",
        ]
    )


def parse_targets(text: str) -> tuple[Target, ...]:
    """`"v5e:2x2,h100"` → both targets.

    Raises:
      UsageError: a device is not known, or its topology has another form.
    """
    found = tuple(_parse(part.strip()) for part in text.split(",") if part.strip())
    if not found:
        raise UsageError(f"--compile_for={text!r} names no device: give one or several of {_EXAMPLES}.")
    return found


_EXAMPLES = "v2:2x2, v3:2x2, v4:2x2x1, v5e:2x2, v5p:2x2x1, v6e:2x2, h100, a100, l4, or h100:8 for eight GPUs"


def _parse(text: str) -> Target:
    name, _, topology = text.partition(":")
    device = DEVICES.get(name.lower())
    if device is None:
        raise UsageError(f"--compile_for={text}: the device {name!r} is not known: give one of {_EXAMPLES}.")
    if device.platform == "GPU":
        if not re.fullmatch(r"[1-9]\d*", topology or "1"):
            raise UsageError(f"--compile_for={text}: received {topology!r} as the number of GPUs.")
        return Target(text, device, int(topology or 1))
    if not re.fullmatch(r"x".join([r"[1-9]\d*"] * device.axes), topology):
        form = "x".join("XYZ"[: device.axes])
        raise UsageError(
            f"--compile_for={text}: the chips of a {name} are {name}:{form}: received {topology!r}. Examples: "
            f"{_EXAMPLES}."
        )
    return Target(text.lower(), device, device.cores * math.prod(map(int, topology.split("x"))))
