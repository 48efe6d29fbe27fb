"""Fast versions of the functions of `functions`: hand-written gradients, fused loops, layouts by device.

Only this package asks for the device: `choice` takes a kernel or the plain function, and `layouts` the order of axes in
attention.
"""

from morphbert.model.kernels.choice import (
    activation,
    affine,
    attention,
    attention_by_position,
    both_uses,
    cross_entropy,
    cross_entropy_and_total,
    gated,
    gelu,
    layer_norm,
    lowered_for,
    platform,
    rotate,
)
from morphbert.model.kernels.layouts import Layout, Projected, layout

__all__ = [
    "Layout",
    "Projected",
    "activation",
    "affine",
    "attention",
    "attention_by_position",
    "both_uses",
    "cross_entropy",
    "cross_entropy_and_total",
    "gated",
    "gelu",
    "layer_norm",
    "layout",
    "lowered_for",
    "platform",
    "rotate",
]
