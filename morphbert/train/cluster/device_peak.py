"""The peak rates of devices, for the share of them that a run uses (its model FLOPs utilisation).

The figures are the makers' own for dense matrix products, in 10¹² operations a second: NVIDIA's data sheets, with
TF32 for float32 where a device has it, since TensorFlow uses it; Google Cloud's documentation of TPU versions.
"""

from __future__ import annotations

import os

# Part of a GPU's name → (16 bits, float32). The first that matches counts: variants stand before the base device.
_GPUS = {
    "B200": (2250.0, 1125.0),
    "H200": (989.0, 494.0),
    "H100 PCIe": (756.0, 378.0),
    "H100 NVL": (835.0, 417.0),
    "H100": (989.0, 494.0),
    "A100": (312.0, 156.0),
    "A10G": (70.0, 35.0),
    "A10": (125.0, 62.5),
    "A30": (165.0, 82.0),
    "A40": (149.7, 74.8),
    "RTX A6000": (154.8, 77.4),
    "L40S": (362.0, 183.0),
    "L4": (121.0, 60.0),
    "GeForce RTX 4090": (165.2, 82.6),
    "GeForce RTX 3090": (71.0, 35.6),
    "V100": (125.0, 15.7),
    "T4": (65.0, 8.1),
    "P100": (18.7, 9.3),
}
# Beginning of a TPU's accelerator type → of one of TensorFlow's replicas: half a chip on v2 and v3, a chip on later
# ones. Products of float32 are computed in bfloat16 there.
_TPUS = {"v2": 22.5, "v3": 61.5, "v4": 275.0, "v5litepod": 197.0, "v5e": 197.0, "v5p": 459.0, "v6e": 918.0}


def device_peak_flops(dtype: str) -> float | None:
    """Operations a second of one device of this machine in a dtype; None where it is not in the tables.

    A TPU is known by the environment of its VM (`TPU_ACCELERATOR_TYPE`). A CPU never is: it depends on its cores,
    clock and instructions more than on its name.
    """
    import tensorflow as tf  # not needed for the tables

    tpu = os.environ.get("TPU_ACCELERATOR_TYPE", "")
    if tf.config.list_logical_devices("TPU"):
        return peak_of_tpu(tpu)
    gpus = tf.config.get_visible_devices("GPU")
    if not gpus:
        return None
    return peak_of_gpu(tf.config.experimental.get_device_details(gpus[0]).get("device_name", ""), dtype)


def peak_of_gpu(name: str, dtype: str) -> float | None:
    """`"NVIDIA A100-SXM4-80GB"`, `"bfloat16"` → 3.12e14."""
    for part, (half, single) in _GPUS.items():
        if part in name:
            return 1e12 * (single if dtype == "float32" else half)
    return None


def peak_of_tpu(accelerator_type: str) -> float | None:
    """`"v3-8"` → 6.15e13, of one of its eight replicas."""
    found = _TPUS.get(accelerator_type.partition("-")[0])
    return None if found is None else 1e12 * found
