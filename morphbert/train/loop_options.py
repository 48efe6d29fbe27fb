"""The options of a training loop that pretraining and fine-tuning share; needs no TensorFlow."""

from __future__ import annotations

from typing import Any

from morphbert.options import option
from morphbert.train.cluster.config import GROUP


def save_checkpoints_steps(group: str | None = None) -> Any:
    """Returns the field `save_checkpoints_steps`, the first of its group if that has a title."""
    return option(default=1000, group=group, help="The number of steps between checkpoints.")


def keep_checkpoint_max(default: int) -> Any:
    """Returns the field `keep_checkpoint_max`, whose default is a command's own."""
    return option(default=default, help="The number of newest checkpoints to keep.")


def log_steps() -> Any:
    """Returns the field `log_steps`."""
    return option(default=100, help="The number of steps between lines of progress.")


def iterations_per_loop(section: str | None = None) -> Any:
    """Returns the field `iterations_per_loop`."""
    return option(
        default=1000,
        group=GROUP,
        section=section,
        help="The largest number of steps in one call of the compiled loop; a call ends after about 10 s in any case.",
    )
