"""The signals that end a training run after it has saved."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

# SIGTERM; Ctrl-C; what Slurm sends some time before a job's end (`sbatch --signal=USR1@120`); a closed terminal.
# Windows has neither of the last two.
STOP_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP")
    if name in signal.Signals.__members__
)


@contextlib.contextmanager
def handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Calls a function for each of `STOP_SIGNALS` while the block lasts.

    SIGHUP stays ignored in a process under nohup, which goes on without its terminal.
    """
    ignored = {number for number in STOP_SIGNALS if signal.getsignal(number) == signal.SIG_IGN}
    heeded = [number for number in STOP_SIGNALS if number.name != "SIGHUP" or number not in ignored]
    before = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
