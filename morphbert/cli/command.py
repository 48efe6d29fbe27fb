"""The common parts of all commands: flags made from a configuration class, `--help`, errors without traceback."""

from __future__ import annotations

import errno
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from absl import flags

import morphbert
from morphbert import options
from morphbert.atomic_files import write_error
from morphbert.cli import COMMANDS
from morphbert.cli.foreign_names import suggestion
from morphbert.errors import MorphbertError, UsageError


class Command:
    """A command line: flags in named groups, and a `run` that turns exceptions into an exit status.

    Every command has its own `FlagValues` instead of absl's global one, so several can be used in one process and no
    code below `main` can read a flag.

        command = Command("build_vocab.py", "Learns a vocabulary from raw text.", config=VocabularyConfig)
        command.run(argv, main)     # main receives a VocabularyConfig

    Args:
      name: the name of the script.
      summary: a description in one line.
      example: command lines for `--help`.
      config: the class, made with `morphbert.options.configuration`, whose options become flags.
      alternative: another such class, and the flag that selects it. Options of the same name have the same meaning.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        example: str,
        config: type,
        alternative: tuple[str, type] | None = None,
    ):
        self.name = name
        self.summary = summary
        self.example = example
        self.values = flags.FlagValues()
        self.foreign: list[str] = []
        self._config = config
        self._alternative = alternative
        self._options = _flags(config, alternative and alternative[1])
        self._required = {flag.name for flag in self._options if flag.required}
        self._groups: dict[str, list[str]] = {}
        self._sections: dict[str, list[str]] = {}
        self._foreign_with: tuple[str, str] | None = None
        self._define_all()

    def _define_all(self) -> None:
        """Defines a flag for every option, and `--config`.

        A configuration file has the sections that the options name, or else one with the command's name.
        """
        own = self.name.removesuffix(".py")
        named = list(dict.fromkeys(flag.section for flag in self._options if flag.section))
        where = (
            f"sections {', '.join(named)}, whose keys are the flags"
            if named
            else f"a section {own}, whose keys are the flags; sections of other commands are ignored"
        )
        flags.DEFINE_string(
            "config",
            None,
            f"A YAML file with {where}. Flags of the command line take precedence.",
            flag_values=self.values,
        )
        if named:
            self._groups["Experiment"] = ["config"]
        for flag in self._options:
            _define(flag, self.values)
            self._groups.setdefault(flag.group, []).append(flag.name)
            self._sections.setdefault(flag.section or own, []).append(flag.name)
        self._groups["Experiment"] = ["config"]

    def config(self) -> Any:
        """Returns the configuration that the parsed flags make.

        Raises:
          UsageError: a field does not allow its value, or values exclude each other.
        """
        if self._alternative is None:
            return options.make(
                self._config, {flag.name: self.values[flag.name].value for flag in self._options}
            )
        asked, other = self._alternative
        chosen, unused = (other, self._config) if self.values[asked].value else (self._config, other)
        names = [flag.name for flag in options.flags_of(chosen)]
        given = {
            name: self.values[name].value
            for name in self.values
            if self.values[name].value != self.values[name].default
        }
        for name in (flag.name for flag in options.flags_of(unused)):
            if name in given and name not in names:
                raise UsageError(
                    f"--{name} cannot be combined with --{asked}, which goes with "
                    f"{', '.join(f'--{one}' for one in names)}."
                    if chosen is other
                    else f"--{name} goes with --{asked}: add it, or leave --{name} out."
                )
        return options.make(chosen, {name: value for name, value in given.items() if name in names})

    def pass_on_with(self, name: str, value: str) -> None:
        """Collects unknown flags in `foreign`, for another program, if a flag has a value."""
        self._foreign_with = (name, value)

    def given(self, name: str) -> bool:
        """Returns whether the flag is on the command line, as opposed to its default value."""
        return bool(self.values[name].present)

    def help(self) -> str:
        lines = [self.name + " - " + self.summary, ""]
        if self.example:
            lines += ["Example:", textwrap.indent(textwrap.dedent(self.example).strip("\n"), "  "), ""]
        meant = {flag.name: flag.option.stands_for for flag in self._options}
        for title, names in self._groups.items():
            lines.append(title + ":")
            # The sort is stable: required flags come first, the others keep their order.
            for name in sorted(names, key=lambda one: one not in self._required):
                flag = self.values[name]
                lines.append(f"  --{_signature(flag, name in self._required, meant.get(name))}")
                lines += textwrap.wrap(str(flag.help), 96, initial_indent=" " * 6, subsequent_indent=" " * 6)
            lines.append("")
        lines.append("Also: --help, --version, --flagfile=FILE (flags from a file, one per line).")
        return "\n".join(lines)

    def parse(self, argv: Sequence[str]) -> None:
        """Parses the arguments after the program's name.

        Raises:
          UsageError: a flag is unknown (the message names the nearest known one), a value has the wrong type or is not
            among the choices, or a word is not a flag.
        """
        try:
            rest = self._parse(argv)
        except flags.UnrecognizedFlagError as error:
            known = suggestion(error.flagname, self.values)
            raise UsageError(f"{known or error} (all flags: {self.name} --help)") from error
        except flags.Error as error:
            raise UsageError(f"{error} (all flags: {self.name} --help)") from error
        if rest:
            raise UsageError(f"{rest[0]!r} is not a flag: flags are written --name=value (see --help).")
        if "config" in self.values and self.values["config"].value:
            self._take_config(str(self.values["config"].value))

    def _take_config(self, path: str) -> None:
        """Sets flags that are not on the command line to the values of a configuration file."""
        from morphbert.cli import experiment_file

        given = {name for name in self.values if self.given(name)}
        rivals = ({flag.name, flag.option.instead_of} for flag in self._options if flag.option.instead_of)
        aside = given.union(*(pair for pair in rivals if pair & given))
        for name, value in experiment_file.read(path, self._sections, set(COMMANDS)).items():
            if name in aside:
                continue
            try:
                self.values[name].parse(experiment_file.with_variables(value, path))
            except (flags.Error, ValueError) as error:
                raise UsageError(f"--config={path}: {name}: {error}") from error

    def _parse(self, argv: Sequence[str]) -> list[str]:
        """Sets the flags; returns the other words, which may be values of another program's flags."""
        if self._foreign_with is None:
            return list(self.values([self.name, *argv])[1:])
        self.values.set_gnu_getopt(True)
        self.foreign = list(self.values([self.name, *argv], known_only=True)[1:])
        name, value = self._foreign_with
        if self.values[name].value == value:
            return []
        # No flag belongs to another program: a second parse reports the error.
        self.foreign = []
        self.values.unparse_flags()
        self.values.set_gnu_getopt(False)
        return list(self.values([self.name, *argv])[1:])

    def run(self, argv: Sequence[str] | None, main: Callable[[Any], int | None]) -> int:
        """Parses the flags, calls `main` with the configuration and returns the exit status.

        The status is that of `main`, or else 0, 1 (input), 2 (usage) or 130 (Ctrl-C).
        """
        argv = sys.argv[1:] if argv is None else argv
        try:
            if any(word in ("--help", "-h", "-help", "--helpfull", "--helpshort") for word in argv):
                print(self.help(), flush=True)
            elif "--version" in argv:
                print(f"morphbert {morphbert.__version__}", flush=True)
            else:
                self.parse(argv)
                status = main(self.config()) or 0
                sys.stdout.flush()
                return status
        except UsageError as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            return 2
        except MorphbertError as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            return 1
        except MemoryError:
            print(
                f"{self.name}: out of memory. Free some memory, raise the limit of this process (ulimit -v), or "
                "reduce its work at a time (smaller batches, fewer workers).",
                file=sys.stderr,
            )
            return 1
        except KeyboardInterrupt:
            print(f"{self.name}: interrupted; run the same command again to continue.", file=sys.stderr)
            return 130
        except BrokenPipeError:
            # `| head` closed the pipe: this is not an error.
            discard_output()
            return 0
        except OSError as error:
            message = _failed_write(error)
            if message is None:
                raise
            print(f"{self.name}: {message}", file=sys.stderr)
            return 1
        return 0


class Main(Protocol):
    """The function that a script calls; without `argv`, it takes the command line."""

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Runs the command; returns its exit status."""


def main_of(make: Callable[[], Command], run: Callable[[Any], int | None]) -> Main:
    """Returns the `main` of a command's module, which calls `run` with the configuration."""
    return lambda argv=None: make().run(argv, run)


# Errors that reading never has.
_FAILED_WRITES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def _failed_write(error: OSError) -> str | None:
    """Returns the message for a failed write that its writer did not turn into one; None for another error."""
    if error.filename is not None:
        path = os.fsdecode(error.filename2 or error.filename)
        return str(write_error(path, error)) if error.errno in _FAILED_WRITES else None
    if error.errno == errno.ENOENT and "temporary directory" in str(error.strerror):
        return (
            f"there is no folder for temporary files ({error.strerror}). Make one of these writable, or set TMPDIR to "
            "another folder."
        )
    if error.errno not in (*_FAILED_WRITES, errno.EIO):
        return None
    discard_output()
    return (
        f"standard output cannot be written: {error.strerror}. Free some space, or write it to another place."
    )


def discard_output() -> None:
    """Sends the rest of standard output nowhere, so that Python does not report it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _WholeNumbers(flags.IntegerParser):  # type: ignore[misc]  # absl has no types
    """Refuses `1e3`, and more digits than Python converts, with its own message."""

    def convert(self, argument: Any) -> int:
        try:
            number: int = super().convert(argument)
        except ValueError as error:
            raise ValueError("it must be a whole number in digits, such as 1000") from error
        return number


def _define(flag: options.Flag, values: flags.FlagValues) -> None:
    """Defines absl's flag for an option; the configuration checks the bounds."""
    given = (flag.name, flag.text)
    help = flag.option.help
    if flag.choices and not flag.many:
        flags.DEFINE_enum(*given, list(flag.choices), help, flag_values=values)
        return
    if flag.option.repeatable:
        flags.DEFINE_multi_string(*given, help, flag_values=values)
        return
    kind = str if flag.many else flag.kind
    define = {
        str: flags.DEFINE_string,
        bool: flags.DEFINE_bool,
        int: _define_whole_number,
        float: flags.DEFINE_float,
    }[kind]
    define(*given, help, flag_values=values)


def _define_whole_number(name: str, default: Any, help: str, flag_values: flags.FlagValues) -> None:
    flags.DEFINE(_WholeNumbers(), name, default, help, flag_values, flags.ArgumentSerializer())


def _flags(config: type, alternative: type | None) -> list[options.Flag]:
    """Returns the flags of a command; with two configurations, a flag is required only if both require it."""
    found = options.flags_of(config)
    if alternative is None:
        return found
    known = {flag.name: flag for flag in found}
    others = {flag.name: flag for flag in options.flags_of(alternative)}
    return [
        flag._replace(default=None) if flag.required and not (name in known and name in others) else flag
        for name, flag in {
            **known,
            **{name: flag for name, flag in others.items() if name not in known},
        }.items()
    ]


def _signature(flag: Any, required: bool, stands_for: Any) -> str:
    """Returns a flag with the kind of its value, and its default, or the value that a default of None stands for."""
    if isinstance(flag, flags.BooleanFlag):
        shown = f"[no]{flag.name}"
    elif isinstance(flag, flags.EnumFlag):
        shown = f"{flag.name}={'|'.join(flag.parser.enum_values)}"
    else:
        kind = {"string": "TEXT", "multi string": "TEXT", "int": "N", "float": "X"}.get(
            flag.flag_type(), "VALUE"
        )
        shown = f"{flag.name}={kind}"
    if required:
        return f"{shown}  (required)"
    default = stands_for if flag.default is None else flag.default
    if default is None:
        return shown
    return f"{shown}  (default: {str(default).lower() if isinstance(default, bool) else default})"
