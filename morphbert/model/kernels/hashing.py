"""Random numbers as a hash of where they are used: a function of keys alone, computed in the loop that uses them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def hashed(numbers: tf.Tensor, word: tf.Tensor) -> tf.Tensor:
    """Returns a hash of each number and a word, uint32 as both; the word may have any shape that fits.

    This is C. Wellons' triple32, in which every input bit influences every output bit, with the word added within: ten
    integer operations per element, of which vector instructions do sixteen at a time.
    """
    bits = numbers
    for number, (shift, factor) in enumerate(((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB))):
        bits = (bits ^ tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint32))) * tf.constant(
            factor, tf.uint32
        )
        bits = bits + word if number == 0 else bits
    return bits ^ tf.bitwise.right_shift(bits, tf.constant(14, tf.uint32))


def numbered(shape: Any, first: tf.Tensor) -> tf.Tensor:
    """Returns uint32 of `shape`: the numbers from `first` (a scalar) on."""
    if not isinstance(shape, tf.TensorShape):
        return tf.bitcast(tf.reshape(tf.range(tf.reduce_prod(shape)), shape), tf.uint32) + first
    # Axis by axis, and starting at a number unknown when the graph is built: XLA would fold a numbering of all elements
    # into a constant of the tensor's size, gigabytes for all layers of BERT-base.
    numbers, stride = first, 1
    for axis, size in reversed(list(enumerate(shape))):
        steps = tf.bitcast(tf.range(size), tf.uint32) * tf.constant(stride % 2**32, tf.uint32)
        numbers = numbers + tf.reshape(steps, [size] + [1] * (len(shape) - 1 - axis))
        stride *= size
    return numbers


def shape_of(values: tf.Tensor) -> Any:
    """Returns the shape for `numbered`: the known one, or that of run time."""
    return values.shape if values.shape.is_fully_defined() else tf.shape(values)
