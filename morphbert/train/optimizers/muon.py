"""Muon's direction: the orthogonal matrix nearest to a matrix of momentum.

All directions of the momentum get the same length, also those that gradients rarely point to (Jordan et al. 2024,
"Muon: An optimizer for hidden layers in neural networks").
"""

from __future__ import annotations

import math

import tensorflow as tf

# The quintic iteration's coefficients: they bring singular values to 0.7 … 1.2 in five turns, not closer.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
TURNS = 5
_EPSILON = 1e-7


def orthogonal(matrix: tf.Tensor) -> tf.Tensor:
    """Returns about U Vᵀ of the singular value decomposition U S Vᵀ, by Newton and Schulz's iteration: [m, n].

    Computed in float32 and on the smaller side: X ← a X + (b A + c A²) X with A = X Xᵀ.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = tf.transpose(matrix) if tall else matrix
    x /= tf.norm(x) + _EPSILON
    a, b, c = COEFFICIENTS
    for _ in range(TURNS):
        gram = tf.matmul(x, x, transpose_b=True)
        x = a * x + tf.matmul(b * gram + c * tf.matmul(gram, gram), x)
    return tf.transpose(x) if tall else x


def rms_of_adamw(shape: tf.TensorShape) -> float:
    """Returns the factor that gives an orthogonal [m, n] AdamW's root mean square, about 0.2: 0.2 √max(m, n).

    (Liu et al. 2025, "Muon is Scalable for LLM Training", section 2.2.) So one learning rate serves both.
    """
    return 0.2 * math.sqrt(max(shape))
