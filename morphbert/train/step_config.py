"""The configuration of a training step's computation; needs no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from morphbert.options import NonNegativeInt, PositiveInt, configuration, option, optional
from morphbert.train.cluster.config import GROUP


@configuration
class StepConfig:
    """The settings of a step's computation, all of which can change the last bits of the result.

    Attributes:
      gradient_accumulation_steps: parts that a replica's share of the batch is computed in, one after the
        other, so that only one part's activations are in memory.
      recompute: keep less than all activations for the gradients, and compute the rest again.
      recompute_policy: what is computed again, with `recompute`: `layer`, all but each layer's input (Chen et al.
        2016), or `attention`, the attention weights alone (Korthikanti et al. 2022, section 5).
      seed: of the dropout masks.
      dtype: of activations and matrix products, `float32`, `bfloat16` or `float16`; weights and moments stay
        float32. With `float16` the loss is scaled, and a step whose gradients overflow changes no weight.
      xla: compile the step's two halves with XLA. A command decides by the device where it is None; a step that is
        made with None does not compile.
    """

    gradient_accumulation_steps: PositiveInt = option(
        default=1,
        help="Compute each batch in this many parts, for batches that do not fit into memory; the update is the same.",
    )
    recompute: bool = option(
        default=False,
        help="Compute each layer a second time for its gradients instead of keeping its activations: far less memory, "
        "about a third more time, the same numbers.",
    )
    recompute_policy: Literal["layer", "attention"] = option(
        default="layer",
        help="With --recompute: compute all but each layer's input again (layer), or the attention weights alone "
        "(attention), whose memory grows with the square of the length and which take few operations.",
    )
    seed: NonNegativeInt = option(
        default=12345, help="The seed of initial weights, dropout and the order of the examples."
    )
    dtype: Literal["float32", "bfloat16", "float16"] = option(
        default="float32",
        group=GROUP,
        help="The type of activations and matrix products. bfloat16 is faster on recent GPUs, TPUs and CPUs; weights "
        "stay float32. float16, with dynamic loss scaling, is for GPUs before 2020 (V100, T4).",
    )
    xla: bool | None = optional(
        help="Compile with XLA. Default: yes on GPU and TPU, no on the CPU, where it gains nothing."
    )

    def settings(self) -> dict[str, Any]:
        """Returns the values that a checkpoint records, JSON-able; without a policy that is not used."""
        values = dataclasses.asdict(self)
        if not self.recompute or self.recompute_policy == "layer":
            del values["recompute_policy"]
        return values
