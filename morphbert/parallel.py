"""Runs tasks on several processes, with results in task order and few tasks in memory."""

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
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_tasks(
    function: Callable[[Any, Task], Result], shared: Any, tasks: Iterable[Task], num_workers: int
) -> Iterator[Result]:
    """Yields `function(shared, task)` for each task, in order.

    With one worker, all tasks run in this process. Each worker receives `shared` once.

    Raises:
      MorphbertError: a worker was killed. Exceptions of tasks are raised too.
    """
    if num_workers == 1:
        for task in tasks:
            yield function(shared, task)
        return
    # Forked workers start at once and share loaded data; if threads or the platform prevent forking (macOS, Windows),
    # new ones are spawned.
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
            "a worker process was killed, most likely because memory is short. Run the same command again; if it "
            f"happens again, give fewer than {num_workers} --num_workers."
        ) from error
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=True, cancel_futures=True)


# The shared data of a worker process, set once at its start, because a pool has no other place for it.
_process: tuple[Callable[[Any, Any], Any], Any] | None = None


def _start_worker(function: Callable[[Any, Any], Any], shared: Any) -> None:
    global _process
    _process = function, shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this worker with its parent; otherwise, after a SIGKILL of the parent, it would wait and hold its lock."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work(task: Any) -> Any:
    assert _process is not None
    function, shared = _process
    return function(shared, task)
