"""`morphbert COMMAND …`: runs any command."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

import morphbert
from morphbert.cli import COMMANDS
from morphbert.cli.command import discard_output


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command named by the first argument with the other arguments; without arguments lists the commands.

    Returns:
      The command's exit status; 2 for an unknown command.
    """
    name, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("--help", "-h", "-help", "help"):
        try:
            print(_listing(), flush=True)
        except BrokenPipeError:  # `| head` closed the pipe
            discard_output()
        return 0
    if name == "--version":
        print(f"morphbert {morphbert.__version__}")
        return 0
    command = name.removesuffix(".py").replace("-", "_")
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, 1, 0.5)
        remedy = f"Did you mean {near[0]}?" if near else f"Known commands: {', '.join(COMMANDS)}."
        print(f"morphbert: there is no command {name!r}. {remedy}", file=sys.stderr)
        return 2
    status: int = importlib.import_module(f"morphbert.cli.{command}").main(rest)
    return status


def _listing() -> str:
    width = max(map(len, COMMANDS))
    lines = ["morphbert COMMAND --flag=value …", ""]
    for command in COMMANDS:
        summary = importlib.import_module(f"morphbert.cli.{command}")._command().summary
        lines.append(f"  {command:<{width}}  {summary}")
    return "\n".join([*lines, "", "morphbert COMMAND --help explains a command's flags."])


if __name__ == "__main__":
    sys.exit(main())
