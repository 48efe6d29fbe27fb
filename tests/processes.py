"""How tests run a program in a process of its own, and one for which the disk is full."""

import contextlib
import subprocess

import pytest


def run_process(command, **options):
    """Runs a command: → CompletedProcess with its output as text, whatever its exit status."""
    usual = {"capture_output": True, "encoding": "utf-8", "timeout": 600, "check": False}
    return subprocess.run(list(map(str, command)), **{**usual, **options})


@contextlib.contextmanager
def largest_file(size):
    """No file of this process may get more bytes: the system refuses the write, as a full disk does."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
