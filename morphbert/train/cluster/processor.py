"""Describes this machine's processor."""

from __future__ import annotations

# The names of the instructions for products in bfloat16: of x86 processors, and of ARM's.
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}


def computes_bfloat16(description: str = "/proc/cpuinfo") -> bool | None:
    """Returns whether the processor has instructions for products in bfloat16; None where no file describes it."""
    try:
        with open(description, encoding="utf-8", errors="replace") as stream:
            named = [
                line.partition(":")[2].split() for line in stream if line.startswith(("flags", "Features"))
            ]
    except OSError:
        return None
    return not _BFLOAT16.isdisjoint(named[0]) if named else None


def warn_of_dtype(dtype: str, replicas_of_cpu: int, description: str = "/proc/cpuinfo") -> None:
    """Warns of bfloat16 on a processor that computes it by way of float32, which is slower (docs/performance.md)."""
    if dtype == "bfloat16" and replicas_of_cpu and computes_bfloat16(description) is False:
        print(
            "warning: --dtype=bfloat16, but this processor has no instructions for it and converts every value: "
            "--dtype=float32 is faster here.",
            flush=True,
        )
