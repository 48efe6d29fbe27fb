"""Tasks on several processes, results in the order of the tasks, a few tasks in memory at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, TypeVar

from morphbert.errors import MorphbertError

Task = TypeVar("Task")
Result = TypeVar("Result")


def default_workers() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_tasks(
    function: Callable[[Any, Task], Result], shared: Any, tasks: Iterable[Task], num_workers: int
) -> Iterator[Result]:
    """Yields `function(shared, task)` for each task, in their order.

    With one worker everything runs in this process. `shared` reaches each worker once.

    Raises:
      MorphbertError: a worker was ended from outside; whatever a task raises.
    """
    if num_workers == 1:
        for task in tasks:
            yield function(shared, task)
        return
    # Forked workers start at once and share what is loaded; where threads or the platform speak against
    # it (macOS, Windows), fresh ones are spawned.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(num_workers, context, _start_worker, (function, shared))
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(_work, task))
            if len(waiting) >= 2 * num_workers + 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise MorphbertError(
            "a worker process was killed, most likely for want of memory. Run the same "
            f"command again, with fewer than {num_workers} --num_workers if it happens again."
        ) from error
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=True, cancel_futures=True)


# What a worker process works with: set once when it starts, because a pool offers no other place.
_process: tuple[Callable[[Any, Any], Any], Any] | None = None


def _start_worker(function: Callable[[Any, Any], Any], shared: Any) -> None:
    global _process
    _process = function, shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Without this, workers whose parent got SIGKILL would wait for tasks for ever, and hold its lock."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work(task: Any) -> Any:
    assert _process is not None
    function, shared = _process
    return function(shared, task)
