"""Options that a plugin's task declares: `--task_option=NAME=VALUE`, and `task_options` in `task.json`.

    @morphbert.register_task("ordinal", options=OrdinalOptions)
    class Ordinal(Classification):
        def losses(self, scores, batch): … self.options.power …

Importing this module loads no TensorFlow.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from morphbert.errors import MorphbertError, UsageError
from morphbert.options import Flag, flags_of, from_text, make, values_of

FLAG = "task_option"
SAVED = "task_options"
_Class = TypeVar("_Class", bound=type)


def declare(kind: type, options: type | None, source: str) -> None:
    """Notes the options of a task's class.

    Raises:
      UsageError: the class of options has none, or a required one, which `--do_eval` alone could not give.
    """
    if options is not None:
        flags = flags_of(options) if hasattr(options, "__dataclass_fields__") else []
        if not flags:
            raise UsageError(
                f"{source}: {options.__name__} has no options: decorate it with morphbert.options.configuration, and "
                "make its fields with morphbert.options.option."
            )
        if required := [flag.name for flag in flags if flag.required]:
            raise UsageError(f"{source}: {options.__name__}.{required[0]} needs a default.")
    kind.option_class = options  # type: ignore[attr-defined]


def given(kind: type, name: str, texts: Sequence[str]) -> Any:
    """Returns the options of a task named `name` from values of `--task_option`; None for a task without options.

    Args:
      texts: `NAME=VALUE` each. A text without `=` continues the value before it, whose comma divided them.

    Raises:
      UsageError: a name or value is not allowed, or a name occurs twice.
    """
    declared: type | None = getattr(kind, "option_class", None)
    flags = {flag.name: flag for flag in flags_of(declared)} if declared else {}
    values: dict[str, str] = {}
    last = ""
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign and last:
            values[last] += f",{text}"
            continue
        if not sign:
            raise UsageError(f"--{FLAG}={text} has no value: write --{FLAG}=NAME=VALUE.")
        if key not in flags:
            known = ", ".join(map(_described, flags.values())) or "none"
            raise UsageError(
                f"--{FLAG}={text}: the task {name!r} has no option {key!r}. Its options: {known}."
            )
        if key in values:
            raise UsageError(f"--{FLAG}={key} is given twice: {values[key]} and {value}.")
        values[key] = value
        last = key
    return _made(declared, {key: (flags[key], value) for key, value in values.items()}) if declared else None


def with_options(kind: _Class, options: Any) -> _Class:
    """Returns the class of a task whose `options` have these values; the class itself for None."""
    return kind if options is None else _bound(kind, options)


def of_saved(kind: _Class, saved: Mapping[str, Any], asked: Any = None) -> _Class:
    """Returns the class of a task with the options of `task.json`.

    Args:
      kind: the registered class, or one of `with_options`.
      asked: the options of the command line, which may not differ; None for none.

    Raises:
      MorphbertError: the task has other options now, or `asked` differs.
    """
    declared: type | None = getattr(kind, "option_class", None)
    values = saved.get(SAVED, {})
    if not isinstance(values, Mapping):
        raise MorphbertError(f"task.json is damaged: {SAVED} is {values!r}, where an object is expected.")
    known = {flag.name for flag in flags_of(declared)} if declared else set()
    if unknown := sorted(values.keys() - known):
        raise MorphbertError(
            f"the model was trained with the option {unknown[0]!r} of the task {saved['task']!r}, which the plugin "
            "does not have: give the file that it was trained with."
        )
    if declared is None:
        return kind
    try:
        options: Any = make(declared, values)
    except UsageError as error:
        raise MorphbertError(f"task.json is damaged: {SAVED}: {str(error).removeprefix('--')}") from error
    if asked is not None and asked != options:
        raise MorphbertError(
            f"the model was trained with {values_of(options)}, and --{FLAG} makes it {values_of(asked)}: leave the "
            "flag out, or train into another --output_dir."
        )
    return with_options(getattr(kind, "registered", kind), options)


def _made(declared: type, values: Mapping[str, tuple[Flag, str]]) -> Any:
    try:
        return make(declared, {key: from_text(flag, text) for key, (flag, text) in values.items()})
    except UsageError as error:
        raise UsageError(str(error).replace("--", f"--{FLAG}=", 1)) from error


def _described(flag: Flag) -> str:
    return f"{flag.name} (default {flag.text}; {flag.option.help.rstrip('.')})"


@functools.cache
def _bound(kind: Any, options: Any) -> Any:
    """Returns one class for the same options, because tasks are equal only if their classes are the same."""

    def to_dict(self: Any) -> dict[str, Any]:
        return {**kind.to_dict(self), SAVED: values_of(options)}

    content = {"options": options, "registered": kind, "to_dict": to_dict, "__module__": kind.__module__}
    return type(kind.__name__, (kind,), content)
