"""How tests run a program in a process of its own."""

import subprocess


def run_process(command, **options):
    """Runs a command: → CompletedProcess with its output as text, whatever its exit status."""
    usual = {"capture_output": True, "encoding": "utf-8", "timeout": 600, "check": False}
    return subprocess.run(list(map(str, command)), **{**usual, **options})
