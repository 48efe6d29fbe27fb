"""What every command shares: flags made from its configuration class, `--help`, errors without traceback."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

import morphbert
from morphbert import options
from morphbert.cli import COMMANDS
from morphbert.cli.foreign_names import suggestion
from morphbert.errors import MorphbertError, UsageError


class Command:
    """A command line: flags in named groups, and a `run` that turns exceptions into an exit status.

    Every command has a `FlagValues` of its own instead of absl's global one, so that several can be
    used in one process and nothing below `main` can read a flag.

        command = Command("build_vocab.py", "Learns a vocabulary from raw text.", config=VocabularyConfig)
        command.run(argv, main)     # main receives a VocabularyConfig

    Args:
      name: of the script.
      summary: what it does, one line.
      example: command lines for `--help`.
      config: the class, made with `morphbert.options.configuration`, whose options become the flags.
      alternative: another such class, and the flag that asks for it. Options of one name mean the same in both.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        example: str = "",
        config: type | None = None,
        alternative: tuple[str, type] | None = None,
    ):
        self.name = name
        self.summary = summary
        self.example = example
        self.values = flags.FlagValues()
        self._groups: dict[str, list[str]] = {}
        self._required: list[str] = []
        self._sections: dict[str, list[str]] = {}
        self._section: str | None = None
        self._group = ""
        self._rivals: Sequence[tuple[str, str]] = ()
        self._foreign_with: tuple[str, str] | None = None
        self.foreign: list[str] = []
        self._config = config
        self._alternative = alternative
        if config is not None:
            self._define_options(_flags(config, alternative and alternative[1]))

    def _define_options(self, found: Sequence[options.Flag]) -> None:
        """Makes a flag of every option, and `--config`.

        A configuration file has the sections that the options name; where they name none, one of the command's name.
        """
        own = self.name.removesuffix(".py")
        named = list(dict.fromkeys(flag.section for flag in found if flag.section))
        for flag in found:
            self.group(flag.group, flag.section or own)
            self._define_option(flag)
        where = (
            f"sections {', '.join(named)}, whose keys are the flags"
            if named
            else f"a section {own}, whose keys are the flags; sections of other commands are passed over"
        )
        self.config_file(
            f"A file in YAML with {where}. Flags of the command line come before it.",
            [(flag.name, flag.option.instead_of) for flag in found if flag.option.instead_of],
        )

    def _define_option(self, flag: options.Flag) -> None:
        help, required = flag.option.help, flag.required
        if flag.choices and not flag.many:
            self.enum(flag.name, flag.text, flag.choices, help, required)
        elif flag.many or flag.kind is str:
            self.string(flag.name, flag.text, help, required)
        elif flag.kind is bool:
            self.boolean(flag.name, flag.text, help)
        else:
            define = flags.DEFINE_integer if flag.kind is int else flags.DEFINE_float
            self._define(define, flag.name, flag.text, help, required)

    def config(self) -> Any:
        """The configuration that the parsed flags make.

        Raises:
          UsageError: a value that its field does not allow, or values that exclude each other.
        """
        assert self._config is not None
        if self._alternative is None:
            return options.make(
                self._config, {name: self.values[name].value for name in self._names(self._config)}
            )
        flag, other = self._alternative
        chosen, unused = (other, self._config) if self.values[flag].value else (self._config, other)
        names = self._names(chosen)
        given = {name: self.values[name].value for name in self.values if self._differs(name)}
        for name in self._names(unused):
            if name in given and name not in names:
                raise UsageError(
                    f"--{name} does not go with --{flag}, which goes with {', '.join(f'--{one}' for one in names)}."
                    if chosen is other
                    else f"--{name} goes with --{flag}: add it, or leave --{name} out."
                )
        return options.make(chosen, {name: value for name, value in given.items() if name in names})

    def _names(self, kind: type) -> list[str]:
        return [flag.name for flag in options.flags_of(kind)]

    def _differs(self, name: str) -> bool:
        return bool(self.values[name].value != self.values[name].default)

    def pass_on_with(self, name: str, value: str) -> None:
        """Where that flag has that value, flags that are not known are another program's, and left in `foreign`."""
        self._foreign_with = (name, value)

    def group(self, title: str, section: str | None = None) -> None:
        """Flags defined from here on stand under `title` in `--help`, and in a section of a configuration file."""
        self._groups.setdefault(title, [])
        self._group = title
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
        self._groups[self._group].append(name)
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
        for title, names in self._groups.items():
            lines.append(title + ":")
            # Sorting is stable: required flags stand first, the others in their order.
            for name in sorted(names, key=lambda one: one not in self._required):
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
        except flags.UnrecognizedFlagError as error:
            known = suggestion(error.flagname, self.values)
            raise UsageError(f"{known or error} (all flags: {self.name} --help)") from error
        except flags.Error as error:
            raise UsageError(f"{error} (all flags: {self.name} --help)") from error
        if rest:
            raise UsageError(f"{rest[0]!r} is not a flag: flags are written --name=value (see --help).")
        if "config" in self.values and self.values["config"].value:
            self._take_config(str(self.values["config"].value))
        missing = [name for name in self._required if not self.values[name].value]
        if missing and self._config is None:
            raise UsageError(f"--{missing[0]} is required: {self.values[missing[0]].help}")

    def _take_config(self, path: str) -> None:
        """Gives the flags that are not on the command line the values of a configuration file."""
        from morphbert.cli import experiment_file

        given = {name for name in self.values if self.values[name].present}
        aside = given.union(*(pair for pair in map(set, self._rivals) if pair & given))
        for name, value in experiment_file.read(path, self._sections, set(COMMANDS)).items():
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

    def run(self, argv: Sequence[str] | None, main: Callable[[Any], int | None]) -> int:
        """Parses, calls `main` with the configuration (with the flags, where the command has none) and returns the
        exit status: what `main` returns, 0, 1 (input), 2 (usage), 130 (Ctrl-C).
        """
        argv = sys.argv[1:] if argv is None else argv
        try:
            if any(word in ("--help", "-h", "-help", "--helpfull", "--helpshort") for word in argv):
                print(self.help(), flush=True)
            elif "--version" in argv:
                print(f"morphbert {morphbert.__version__}")
            else:
                self.parse(argv)
                return main(self.values if self._config is None else self.config()) or 0
        except UsageError as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            return 2
        except MorphbertError as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            return 1
        except MemoryError:
            print(
                f"{self.name}: out of memory: free some, raise the limit of this process (ulimit -v), or give it less "
                "to do at once (smaller batches, fewer workers).",
                file=sys.stderr,
            )
            return 1
        except KeyboardInterrupt:
            print(f"{self.name}: interrupted; run the same command again to continue.", file=sys.stderr)
            return 130
        except BrokenPipeError:
            # `| head` closed the pipe: not an error, and Python must not complain about it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return 0


def _flags(config: type, alternative: type | None) -> list[options.Flag]:
    """The flags of a command; required are those of both of its configurations, where it has two."""
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
