"""Loads TensorFlow for commands and the Python API without its start-up notes, or raises an error with the remedy."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from morphbert.errors import MorphbertError

# The part of Keras that TensorFlow imports when it is imported, and does without where it is missing.
_EAGER = "keras.src.optimizers"


def load() -> None:
    """Imports TensorFlow and lists devices; both print notes that no setting silences.

    Does nothing if the program has imported TensorFlow before: its log is then as the program wants it.

    Raises:
      MorphbertError: TensorFlow is not installed or cannot be loaded; the message has TensorFlow's reason.
    """
    if "tensorflow" in sys.modules:
        return
    # After loading: warnings and errors, but no notes.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    with _stderr_held_back(), _keras_left_for_later():
        try:
            import tensorflow as tf
        except ImportError as error:
            raise MorphbertError(
                f"TensorFlow cannot be loaded ({error}): pip install 'morphbert[cpu]', or [gpu] or [tpu] for those."
            ) from error
        tf.config.list_physical_devices()


@contextlib.contextmanager
def _keras_left_for_later() -> Iterator[None]:
    """Keeps TensorFlow from importing Keras when it is imported itself: a third of the time of its import.

    TensorFlow needs Keras at once only to register optimizers for SavedModels of Keras, which nothing here is.
    `tf.keras` still imports it when a program uses it.
    """
    if _EAGER in sys.modules:
        yield
        return
    sys.modules[_EAGER] = None  # type: ignore[assignment]  # an import of it raises ImportError
    try:
        yield
    finally:
        del sys.modules[_EAGER]


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Captures the standard error of C++ code, and prints it only if the block fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        before = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(before, 2)
            kept.seek(0)
            os.write(2, kept.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)
