"""The signals that end a training run after it has saved."""

from __future__ import annotations

import signal

# SIGTERM; Ctrl-C; what Slurm sends some time before a job's end (`sbatch --signal=USR1@120`); a closed terminal.
# Windows has neither of the last two.
STOP_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP")
    if name in signal.Signals.__members__
)


def heeded_signals() -> list[signal.Signals]:
    """Returns `STOP_SIGNALS`, without SIGHUP in a process under nohup, which goes on without its terminal."""
    ignored = {number for number in STOP_SIGNALS if signal.getsignal(number) == signal.SIG_IGN}
    return [number for number in STOP_SIGNALS if number.name != "SIGHUP" or number not in ignored]
