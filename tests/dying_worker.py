"""`run_pretraining.py` as a process that is killed within the save of a step: dying_worker.py PLACE STEP FLAGS…

PLACE is `data` (the data is at its place, and the index is not), `digests` (both are, and no digest) or `list` (the
digests are there as well, and the checkpoint has no name yet). Of the first worker the checkpoint is meant, of another
its position.
"""

import os
import signal
import sys

import tensorflow as tf

from morphbert.cli.run_pretraining import main
from morphbert.train import checkpoint_files


def dying_at(call, step):
    """The same function, before which the process is killed where an argument names the step's checkpoint."""

    def dying(*arguments, **named):
        if any(f".ckpt-{step}" in str(argument) for argument in arguments):
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **named)

    return dying


def copied_data_alone(step):
    """A copy that is killed before the index, which comes last."""
    copy, killing = tf.io.gfile.copy, dying_at(tf.io.gfile.copy, f"{step}.index")

    def copied(source, target, overwrite=False):
        return (killing if target.endswith(".index") else copy)(source, target, overwrite=overwrite)

    return copied


if __name__ == "__main__":
    place, step = sys.argv[1:3]
    if place == "data":
        tf.io.gfile.copy = copied_data_alone(step)
    else:
        name = {"digests": "vouch", "list": "write_list"}[place]
        setattr(checkpoint_files, name, dying_at(getattr(checkpoint_files, name), step))
    sys.exit(main(sys.argv[3:]))
