"""Configuration classes whose fields define flags, YAML keys and checks.

    @configuration
    class VocabularyConfig:
        vocab_dir: PathStr = option(help="Folder for vocab.txt.", group="Output")
        vocab_size: int = option(default=32_000, help="Lines of vocab.txt, exactly.", at_least=6)
        num_workers: NonNegativeInt = option(default=0, help="Processes; 0 uses all cores.")
        learner: Literal["bpe", "unigram"] = option(default="bpe", help="bpe: byte-pair merges. …")
        filters: FilterConfig = options(default=FilterConfig(), group="Filters")

`vocab_dir` is required, `learner` has two choices, and the fields of `filters` become flags too. A field without
`option` is not a flag. The types are str, int, float, bool, a Literal of strings, a tuple of str or int (a flag has
commas between its elements), and each of them or None. `PathStr`, `PositiveInt` and the like are str, int or float
with the attributes of `Option` that many fields share.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import types
import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar, Union

from morphbert.errors import UsageError
from morphbert.files import in_form_of_disk

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: object) -> Any:
        return lambda decorator: decorator


_Class = TypeVar("_Class")
_KEY = "morphbert"
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}


class Option(NamedTuple):
    """The properties of a field other than its type and default.

    Attributes:
      help: the explanation in `--help`.
      group: the title in `--help` from this field on; None continues the group before.
      section: the section of a configuration file from this field on, if the file has sections.
      flag: the flag's name, if it differs from the field's.
      at_least, above, at_most, below: bounds of a number.
      choices: the allowed texts, if no Literal can list them.
      repeatable: whether the flag of a tuple may be given several times, which adds the values.
      instead_of: another flag that this one replaces: one of the two on the command line overrides the other in a
        configuration file.
      stands_for: the value that None means, which `--help` shows as the default; see `value_of`.
      path: whether each text is one path, whose names are then taken in the Unicode form that the disk has.
    """

    help: str = ""
    group: str | None = None
    section: str | None = None
    flag: str | None = None
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    repeatable: bool = False
    instead_of: str | None = None
    stands_for: Any = None
    path: bool = False

    @property
    def rule(self) -> str:
        """The bounds in words; empty if there are none."""
        if self.at_least is not None and self.at_most is not None:
            return f"between {self.at_least:g} and {self.at_most:g}"
        words = [
            f"{word} {bound:g}"
            for word, bound in (
                ("at least", self.at_least),
                ("above", self.above),
                ("at most", self.at_most),
                ("below", self.below),
            )
            if bound is not None
        ]
        return " and ".join(words)

    def with_details(self, more: Option) -> Option:
        """Returns the option with the attributes that `more` sets."""
        unset = Option._field_defaults
        return self._replace(
            **{name: value for name, value in more._asdict().items() if value != unset[name]}
        )

    def holds(self, value: float) -> bool:
        """Returns whether a number is finite and within the bounds."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
            and math.isfinite(value)
        )


# An int or a float within bounds, and a text that is one path: types of fields.
PositiveInt = Annotated[int, Option(at_least=1)]
NonNegativeInt = Annotated[int, Option(at_least=0)]
PositiveFloat = Annotated[float, Option(above=0)]
NonNegativeFloat = Annotated[float, Option(at_least=0)]
Share = Annotated[float, Option(at_least=0, at_most=1)]
PathStr = Annotated[str, Option(path=True)]


def option(*, help: str, default: Any = dataclasses.MISSING, **details: Any) -> Any:
    """Describes a field that is a flag.

    Args:
      help: the text for `--help`.
      default: the value of a flag that is not given; without a default, the flag is required.
      details: attributes of `Option`, such as `at_least`, `above`, `at_most`, `below` and `group`.
    """
    return dataclasses.field(default=default, metadata={_KEY: Option(help, **details)})


def optional(*, help: str, **details: Any) -> Any:
    """Describes a field of a type with None, which is the default; see `option`."""
    return option(help=help, default=None, **details)


def options(*, default: Any, group: str | None = None, section: str | None = None) -> Any:
    """Describes a field that is a configuration, whose options become flags too.

    Args:
      default: the configuration of flags that are not given.
      group: the heading of the flags in `--help`.
      section: their section in a configuration file.
    """
    return dataclasses.field(default=default, metadata={_KEY: Option(group=group, section=section)})


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(option, options, dataclasses.field)
)
def configuration(cls: type[_Class]) -> type[_Class]:
    """Makes a frozen dataclass that checks types, choices and bounds of its values.

    Paths become strings and lists become tuples. The class's `__post_init__` runs after these checks.

    Raises:
      UsageError: on creation of an instance, a field does not allow its value.
    """
    more = getattr(cls, "__post_init__", lambda self: None)

    def __post_init__(self: Any) -> None:
        for each in _own_options(self.__class__):
            object.__setattr__(self, each.path[-1], each.checked(getattr(self, each.path[-1])))
        more(self)

    cls.__post_init__ = __post_init__  # type: ignore[attr-defined]
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


class Flag(NamedTuple):
    """One option of a configuration class as a flag.

    Attributes:
      name: the name on the command line.
      path: the names of the fields that lead to it.
      kind: str, int, float or bool; for a tuple, the type of its elements.
      choices: the allowed values, if they are listed.
      many: whether it is a tuple.
      default: the default; `dataclasses.MISSING` for a required flag.
      group, section: its group in `--help` and its section in a configuration file.
    """

    name: str
    path: tuple[str, ...]
    kind: type
    choices: tuple[str, ...]
    many: bool
    optional: bool
    default: Any
    group: str
    section: str | None
    option: Option

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING

    @property
    def text(self) -> Any:
        """Returns the default as text of a flag."""
        if self.required or self.default == ():
            return None
        return ",".join(map(str, self.default)) if isinstance(self.default, tuple) else self.default

    def parsed(self, value: Any) -> Any:
        """Returns the field's value of a flag's value."""
        if value == "" and self.optional:
            return None
        if value is None and self.many and not self.optional:
            return ()
        if self.option.repeatable and isinstance(value, list):
            value = ",".join(value)
        if not self.many or not isinstance(value, str):
            return value
        parts = [part.strip() for part in value.split(",")] if value else []
        if self.kind is not int:
            return tuple(parts)
        try:
            return tuple(map(int, parts))
        except ValueError:
            raise UsageError(f"--{self.name}={value} is not a list of numbers. Example: 1,2") from None

    def checked(self, value: Any) -> Any:
        """Returns the checked value of a field.

        Raises:
          UsageError: the value has another type, is out of bounds, or is not among the choices.
        """
        if value is None and self.optional:
            return None
        if not self.many:
            return self._checked_one(value)
        if isinstance(value, str) or not isinstance(value, (tuple, list)):
            raise UsageError(
                f"--{self.name}={value!r} must be a tuple, each of its elements {_WORDS[self.kind]}."
            )
        for place, one in enumerate(value, 1):
            if one == "":
                shown = ",".join(map(str, value))
                raise UsageError(
                    f"--{self.name} is empty at place {place} of {shown!r}: leave out the comma."
                )
        return tuple(self._checked_one(one) for one in value)

    def _checked_one(self, value: Any) -> Any:
        if self.kind is str and isinstance(value, os.PathLike):
            value = os.fspath(value)
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if self.choices:
            if value not in self.choices:
                raise UsageError(
                    f"--{self.name}={value} is out of range: it must be one of {', '.join(self.choices)}."
                )
        elif not isinstance(value, self.kind) or (self.kind is int and isinstance(value, bool)):
            raise UsageError(f"--{self.name}={value!r} must be {_WORDS[self.kind]}.")
        if self.kind in (int, float) and not self.option.holds(value):
            raise UsageError(
                f"--{self.name}={value} is out of range: it must be {self.option.rule or 'a number'}."
            )
        return in_form_of_disk(value) if self.option.path else value


def flags_of(kind: type) -> list[Flag]:
    """Returns the options of a class made with `configuration` and of nested classes, in order."""
    return list(_flags(kind, None, (), "", None))


def make(kind: type[_Class], values: Mapping[str, Any]) -> _Class:
    """Makes a configuration from values by flag name; other fields keep their defaults.

    Raises:
      UsageError: a required value is missing, a value is not allowed, or two values exclude each other.
    """
    tree: dict[str, Any] = {}
    for each in flags_of(kind):
        if each.required and values.get(each.name) in (None, ""):
            raise UsageError(f"--{each.name} is required: {each.option.help}")
        if each.name in values:
            branch = tree
            for name in each.path[:-1]:
                branch = branch.setdefault(name, {})
            branch[each.path[-1]] = each.parsed(values[each.name])
    return kind(**_branches(kind, tree))


def values_of(config: Any) -> dict[str, Any]:
    """Returns the values of all flags of a configuration, by flag name."""
    return {each.name: functools.reduce(getattr, each.path, config) for each in flags_of(type(config))}


def value_of(config: Any, name: str) -> Any:
    """Returns the value of a field, or the one that its None stands for."""
    value = getattr(config, name)
    if value is not None:
        return value
    return type(config).__dataclass_fields__[name].metadata[_KEY].stands_for


def changed(config: Any) -> dict[str, Any]:
    """Returns the flags whose values differ from their defaults, as on a command line."""
    values = values_of(config)
    return {
        each.name: ",".join(map(str, values[each.name]))
        if isinstance(values[each.name], tuple)
        else values[each.name]
        for each in flags_of(type(config))
        if each.required or values[each.name] != each.default
    }


def from_text(flag: Flag, text: str) -> Any:
    """Returns the value of a flag that a command line gives as text; `checked` refuses one that is not allowed.

    Raises:
      UsageError: it is not of the flag's type.
    """
    if flag.many or flag.kind is str or (text == "" and flag.optional):
        return text
    readers: dict[type, Any] = {int: int, float: float, bool: {"true": True, "false": False}.__getitem__}
    try:
        return readers[flag.kind](text.strip().lower())
    except (ValueError, KeyError):
        raise UsageError(f"--{flag.name}={text!r} must be {_WORDS[flag.kind]}.") from None


def _branches(kind: type, tree: dict[str, Any]) -> dict[str, Any]:
    """Replaces the placeholders of nested configurations by instances made from the defaults."""
    for field in dataclasses.fields(kind):
        if isinstance(tree.get(field.name), dict):
            inner = tree[field.name]
            tree[field.name] = dataclasses.replace(field.default, **_branches(type(field.default), inner))  # type: ignore
    return tree


def _flags(
    kind: type, default: Any, path: tuple[str, ...], group: str, section: str | None
) -> Iterator[Flag]:
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        found: Option | None = field.metadata.get(_KEY)
        if found is None:
            continue
        given = field.default if default is None else getattr(default, field.name)
        here = (*path, field.name)
        inner_group, inner_section = found.group or group, found.section or section
        if dataclasses.is_dataclass(hints[field.name]):
            yield from _flags(type(given), given, here, inner_group, inner_section)
        else:
            group, section = inner_group, inner_section
            name = found.flag or field.name
            one, choices, details, many, optional = _described(hints[field.name])
            yield Flag(
                name=name,
                path=here,
                kind=one,
                choices=choices or found.choices,
                many=many,
                optional=optional,
                default=given,
                group=group,
                section=section,
                option=found.with_details(details),
            )


@functools.cache
def _own_options(kind: type) -> tuple[Flag, ...]:
    """Returns the options of the class, without those of nested configurations."""
    return tuple(flag for flag in flags_of(kind) if len(flag.path) == 1)


class _Described(NamedTuple):
    """A type: that of one value with its choices and bounds, whether there are several, and whether None is allowed."""

    kind: type
    choices: tuple[str, ...]
    details: Option
    many: bool
    optional: bool


def _described(hint: Any) -> _Described:
    details = Option()
    optional = False
    if typing.get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
        optional = True
    many = typing.get_origin(hint) is tuple
    if many:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is Annotated:
        hint, details = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return _Described(str, typing.get_args(hint), details, many, optional)
    return _Described(hint, (), details, many, optional)
