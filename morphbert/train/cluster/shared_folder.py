"""The folder of a run with several workers: all of them have to see the same one, with the same checkpoints."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable

import tensorflow as tf

from morphbert.errors import MorphbertError
from morphbert.train.cluster.workers import Cluster
from morphbert.train.storage import write_text, writing

# A network drive may show another machine's file a little later.
_SECONDS_TO_APPEAR = 10.0
_PREFIX = "present-"


def check_shared(
    directory: str, cluster: Cluster, agree: Callable[[float], float], newest: int | None
) -> None:
    """Checks that the workers share an output directory; with others, each would continue from other weights.

    Every worker writes a file to `directory/workers/NUMBER`, which the first one has to find there. All workers have
    to call this, after they have met.

    Args:
      directory: the output directory, by the name that it has in all workers.
      cluster: the workers.
      agree: returns the highest of the workers' numbers.
      newest: the step of the newest checkpoint that this worker finds; None for none.

    Raises:
      MorphbertError: a worker writes to another folder, cannot write there, or finds other checkpoints.
    """
    if cluster.size == 1:
        return
    word = round(agree(float(secrets.randbits(32)) if cluster.is_chief else 0.0))
    own = _sign(directory, cluster.index, word)
    folder = os.path.dirname(own)
    with writing(own):
        tf.io.gfile.makedirs(folder)
        for name in tf.io.gfile.listdir(folder):
            if name.startswith(_PREFIX):  # of a run that ended here
                tf.io.gfile.remove(os.path.join(folder, name))
        write_text(own, f"{cluster.name(cluster.index)}\n")
    try:
        agree(0.0)
        if cluster.is_chief and (absent := _absent(directory, cluster, word)):
            raise MorphbertError(
                f"--output_dir={directory} of {' and '.join(absent)} is another folder than that of "
                f"{cluster.name(0)}: their files do not appear there. Give a folder on a shared file system, "
                "or in a bucket."
            )
        step = -1 if newest is None else newest
        if (highest := round(agree(step + 1.0)) - 1) != step:
            raise MorphbertError(
                f"{cluster.name(cluster.index)} finds {_in_words(newest)} in {directory}, and another worker that of "
                f"step {highest}. All workers have to see the same files: start all of them again, and if that does "
                "not help, look at that folder on this machine."
            )
    finally:
        with contextlib.suppress(tf.errors.OpError):
            tf.io.gfile.remove(own)


def _sign(directory: str, worker: int, word: int) -> str:
    """Returns the file of a worker, whose name no machine has looked for before."""
    return os.path.join(directory, "workers", str(worker), f"{_PREFIX}{word:08x}")


def _absent(directory: str, cluster: Cluster, word: int) -> list[str]:
    """Returns the workers whose files are not there, after some patience."""
    until = time.monotonic() + _SECONDS_TO_APPEAR
    while True:
        absent = [n for n in range(cluster.size) if not tf.io.gfile.exists(_sign(directory, n, word))]
        if not absent or time.monotonic() > until:
            return [cluster.name(n) for n in absent]
        time.sleep(0.2)


def _in_words(step: int | None) -> str:
    return "no checkpoint" if step is None else f"step {step} as the newest checkpoint"
