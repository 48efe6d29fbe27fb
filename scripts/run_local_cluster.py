#!/usr/bin/env python3
"""Runs a command as several workers on this machine, each told by TF_CONFIG which one it is.

    scripts/run_local_cluster.py --num_workers=2 run_pretraining.py --strategy=multi_worker --do_train …

Lines of worker 1 begin with [1]. SIGTERM, SIGUSR1 and Ctrl-C go to all workers. The exit status is that of the first
worker that failed, and 0 if none did. With GPUs each worker sees one of them, where there are enough.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import IO


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def copy_lines(source: IO[bytes], target: IO[bytes], mark: bytes) -> None:
    """Passes on a worker's lines, each as a whole."""
    for line in source:
        target.write(mark + line)
        target.flush()


def number_of_gpus() -> int:
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, check=False).stdout
    except OSError:
        return 0
    return listed.count(b"GPU ")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num_workers", type=int, default=2, help="How many processes (default: 2).")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="A script of this project and its flags.")
    given = parser.parse_args()
    if given.num_workers < 1 or not given.command:
        parser.error("give a command, and --num_workers from 1 up")
    script, *flags = given.command
    if not os.path.exists(script):
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        script = os.path.join(root, script)
    addresses = [f"127.0.0.1:{port}" for port in free_ports(given.num_workers)]
    one_gpu_each = number_of_gpus() >= given.num_workers and "CUDA_VISIBLE_DEVICES" not in os.environ

    workers, copies = [], []
    for index in range(given.num_workers):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        gpu = {"CUDA_VISIBLE_DEVICES": str(index)} if one_gpu_each else {}
        worker = subprocess.Popen(
            [sys.executable, script, *flags],
            env={**os.environ, "TF_CONFIG": json.dumps(task), **gpu},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that Ctrl-C reaches it once, from here
        )
        workers.append(worker)
        print(f"worker {index} is process {worker.pid} ({addresses[index]})", file=sys.stderr, flush=True)
        assert worker.stdout is not None
        assert worker.stderr is not None
        for source, target in ((worker.stdout, sys.stdout.buffer), (worker.stderr, sys.stderr.buffer)):
            mark = b"" if index == 0 else f"[{index}] ".encode()
            copies.append(threading.Thread(target=copy_lines, args=(source, target, mark), daemon=True))
            copies[-1].start()

    def pass_on(number: int, frame: object) -> None:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, pass_on)
    statuses = [worker.wait() for worker in workers]
    for copy in copies:
        copy.join(5.0)
    return next((status if status > 0 else 128 - status for status in statuses if status), 0)


if __name__ == "__main__":
    sys.exit(main())
