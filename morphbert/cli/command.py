"""What every command shares: its own set of absl flags in groups, `--help`, errors without traceback."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

import morphbert
from morphbert.errors import MorphbertError, UsageError


class Command:
    """A command line: flags in named groups, and a `run` that turns exceptions into an exit status.

    Every command has a `FlagValues` of its own instead of absl's global one, so that several can be
    used in one process and nothing below `main` can read a flag.

        command = Command("build_vocab.py", "Learns a vocabulary from raw text.")
        command.group("Input")
        command.string("input_file", None, "…", required=True)
        command.run(argv, main)     # main receives the parsed flags
    """

    def __init__(self, name: str, summary: str, example: str = ""):
        self.name = name
        self.summary = summary
        self.example = example
        self.values = flags.FlagValues()
        self._groups: list[tuple[str, list[str]]] = []
        self._required: list[str] = []
        self._sections: dict[str, list[str]] = {}
        self._section: str | None = None
        self._rivals: Sequence[tuple[str, str]] = ()
        self._foreign_with: tuple[str, str] | None = None
        self.foreign: list[str] = []

    def pass_on_with(self, name: str, value: str) -> None:
        """Where that flag has that value, flags that are not known are another program's, and left in `foreign`."""
        self._foreign_with = (name, value)

    def group(self, title: str, section: str | None = None) -> None:
        """Flags defined from here on stand under `title` in `--help`, and in a section of a configuration file."""
        self._groups.append((title, []))
        self._section = section

    def config_file(self, help: str, rivals: Sequence[tuple[str, str]] = ()) -> None:
        """Takes `--config=FILE`, a YAML file whose sections hold flags; flags of the command line come before it.

        Args:
          help: of the flag.
          rivals: pairs of flags that exclude each other: one on the command line puts aside the other in the file.
        """
        self._rivals = rivals
        self.group("Experiment")
        self.string("config", None, help)

    def string(self, name: str, default: str | None, help: str, required: bool = False) -> None:
        self._define(flags.DEFINE_string, name, default, help, required)

    def integer(self, name: str, default: int | None, help: str, **bounds: Any) -> None:
        self._define(flags.DEFINE_integer, name, default, help, **bounds)

    def number(self, name: str, default: float | None, help: str, **bounds: Any) -> None:
        self._define(flags.DEFINE_float, name, default, help, **bounds)

    def boolean(self, name: str, default: bool | None, help: str) -> None:
        self._define(flags.DEFINE_bool, name, default, help)

    def enum(
        self, name: str, default: str | None, choices: Sequence[str], help: str, required: bool = False
    ) -> None:
        def define(name: str, default: str | None, help: str, flag_values: flags.FlagValues) -> None:
            flags.DEFINE_enum(name, default, list(choices), help, flag_values=flag_values)

        self._define(define, name, default, help, required)

    def _define(
        self, define: Any, name: str, default: Any, help: str, required: bool = False, **more: Any
    ) -> None:
        define(name, default, help, flag_values=self.values, **more)
        self._groups[-1][1].append(name)
        if self._section is not None:
            self._sections.setdefault(self._section, []).append(name)
        if required:
            self._required.append(name)

    def given(self, name: str) -> bool:
        """Whether the flag stood on the command line, as opposed to having its default."""
        return bool(self.values[name].present)

    def help(self) -> str:
        lines = [self.name + " - " + self.summary, ""]
        if self.example:
            lines += ["Example:", textwrap.indent(textwrap.dedent(self.example).strip("\n"), "  "), ""]
        for title, names in self._groups:
            lines.append(title + ":")
            for name in names:
                flag = self.values[name]
                lines.append(f"  --{_signature(flag, name in self._required)}")
                lines += textwrap.wrap(str(flag.help), 96, initial_indent=" " * 6, subsequent_indent=" " * 6)
            lines.append("")
        lines.append("Also: --help, --version, --flagfile=FILE (flags from a file, one a line).")
        return "\n".join(lines)

    def parse(self, argv: Sequence[str]) -> None:
        """Parses the arguments after the program's name.

        Raises:
          UsageError: an unknown flag (the nearest known one is named), a value of the wrong type or out
            of its bounds, a required flag that is missing, or a word that is no flag.
        """
        try:
            rest = self._parse(argv)
        except flags.Error as error:
            raise UsageError(f"{error} (all flags: {self.name} --help)") from error
        if rest:
            raise UsageError(f"{rest[0]!r} is not a flag: flags are written --name=value (see --help).")
        if "config" in self.values and self.values["config"].value:
            self._take_config(str(self.values["config"].value))
        missing = [name for name in self._required if not self.values[name].value]
        if missing:
            raise UsageError(f"--{missing[0]} is required: {self.values[missing[0]].help}")

    def _take_config(self, path: str) -> None:
        """Gives the flags that are not on the command line the values of a configuration file."""
        from morphbert.cli import experiment_file

        given = {name for name in self.values if self.values[name].present}
        aside = given.union(*(pair for pair in map(set, self._rivals) if pair & given))
        for name, value in experiment_file.read(path, self._sections).items():
            if name in aside:
                continue
            try:
                self.values[name].parse(experiment_file.with_variables(value, path))
            except (flags.Error, ValueError) as error:
                raise UsageError(f"--config={path}: {name}: {error}") from error

    def _parse(self, argv: Sequence[str]) -> list[str]:
        """Sets the flags; returns the words that are none. Of another program's flags the values may be words."""
        if self._foreign_with is None:
            return list(self.values([self.name, *argv])[1:])
        self.values.set_gnu_getopt(True)
        self.foreign = list(self.values([self.name, *argv], known_only=True)[1:])
        name, value = self._foreign_with
        if self.values[name].value == value:
            return []
        # None is another program's: parsed again, so that what is wrong with them is said.
        self.foreign = []
        self.values.unparse_flags()
        self.values.set_gnu_getopt(False)
        return list(self.values([self.name, *argv])[1:])

    def run(self, argv: Sequence[str] | None, main: Callable[[flags.FlagValues], None]) -> int:
        """Parses, calls `main` and returns the exit status: 0, 1 (input), 2 (usage), 130 (Ctrl-C)."""
        argv = sys.argv[1:] if argv is None else argv
        try:
            if any(word in ("--help", "-h", "-help", "--helpfull", "--helpshort") for word in argv):
                print(self.help(), flush=True)
            elif "--version" in argv:
                print(f"morphbert {morphbert.__version__}")
            else:
                self.parse(argv)
                main(self.values)
        except UsageError as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            return 2
        except MorphbertError as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"{self.name}: interrupted; run the same command again to continue.", file=sys.stderr)
            return 130
        except BrokenPipeError:
            # `| head` closed the pipe: not an error, and Python must not complain about it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return 0


def _signature(flag: Any, required: bool) -> str:
    if isinstance(flag, flags.BooleanFlag):
        shown = f"[no]{flag.name}"
    elif isinstance(flag, flags.EnumFlag):
        shown = f"{flag.name}={'|'.join(flag.parser.enum_values)}"
    else:
        kind = {"string": "TEXT", "int": "N", "float": "X"}.get(flag.flag_type(), "VALUE")
        shown = f"{flag.name}={kind}"
    if required:
        return f"{shown}  (required)"
    if flag.default is None:
        return shown
    return (
        f"{shown}  (default: {str(flag.default).lower() if isinstance(flag.default, bool) else flag.default})"
    )
