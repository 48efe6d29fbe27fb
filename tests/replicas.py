"""Runs on two replicas of the CPU, one after the other in one process beside that of the tests.

TensorFlow splits the CPU into devices once in a process, before anything else, so the process of the tests cannot.
Most of a short run in a fresh process is the import of TensorFlow and the compilation of kernels: runs that need
nothing but the two devices share a process. What is about the process itself, as signals are, starts one of its own.
"""

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
from unittest import mock

from samples import ROOT


class Replicas:
    """Runs commands in a process that is started with the first of them; `errors` takes what it says of itself."""

    def __init__(self, errors):
        self._errors = errors
        self._process = None

    def __call__(self, command, *flags, strategy="mirrored", input_per_host=False):
        """Runs `morphbert.cli.COMMAND` on two replicas: → CompletedProcess with text output.

        With `input_per_host` each host reads for its devices, as with TPUs.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                text=True,
                encoding="utf-8",
            )
        flags = [*map(str, flags), f"--strategy={strategy}", "--num_replicas=2"]
        print(json.dumps([command, flags, input_per_host]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            self._errors.seek(0)
            raise AssertionError(f"the process ended in {command} {flags}: {self._errors.read()[-3000:]}")
        return subprocess.CompletedProcess([command, *flags], *json.loads(answer))

    def close(self):
        if self._process is not None:
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait(60)


def _run(command, flags, input_per_host):
    """Exit status, output and errors of a command."""
    from morphbert.model.kernels.compiled import gradients_released
    from morphbert.train.cluster.strategy import Devices

    out, errors = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(gradients_released())
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(errors))
        if input_per_host:
            always = property(lambda devices: True)
            stack.enter_context(mock.patch.object(Devices, "input_per_host", always))
        try:
            status = importlib.import_module(f"morphbert.cli.{command}").main(flags)
        except SystemExit as end:
            status = end.code
    return status, out.getvalue(), errors.getvalue()


def _answer():
    """Runs what standard input says, a line each, and answers each with a line."""
    for line in sys.stdin:
        print(json.dumps(_run(*json.loads(line))), flush=True)


if __name__ == "__main__":
    _answer()
