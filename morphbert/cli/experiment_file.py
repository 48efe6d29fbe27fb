"""`--config=FILE`: an experiment in YAML, with sections of flags.

data:
  train_file: ${DATA:-data}/nsmc/ratings_train.txt.gz
  text_column: document
optimizer:
  learning_rate: 3e-5
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from morphbert.cli.bounded_yaml import parse_yaml
from morphbert.cli.experiment_notes import is_of_other_shape, translation
from morphbert.errors import UsageError
from morphbert.files import in_form_of_disk
from morphbert.formats.lines import read_text

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def read(path: str, sections: Mapping[str, Sequence[str]], others: Collection[str] = ()) -> dict[str, Any]:
    """Reads a file.

    Args:
      sections: the keys of each section.
      others: the sections of other commands, which are ignored.

    Returns:
      Values by key, without empty ones.

    Raises:
      UsageError: the file is not YAML, or a section or key is unknown; the message names the nearest known one.
    """
    content = parse_yaml(read_text(in_form_of_disk(path)), f"--config={path}")
    if not isinstance(content, dict):
        raise UsageError(f"--config={path} contains no sections. Known sections: {', '.join(sections)}.")
    home = {key: section for section, keys in sections.items() for key in keys}
    if is_of_other_shape(content):
        raise UsageError(
            f"--config={path} has keys in capitals, which are another program's. Here an experiment is sections of "
            f"flags, such as configs/*.yaml:\n{translation(content, home)}"
        )
    values: dict[str, Any] = {}
    if not any(section in sections for section in content) and any(section in others for section in content):
        raise UsageError(f"--config={path} has no section {' or '.join(sections)}.")
    for section, keys in content.items():
        if section not in sections and section in others:
            continue
        if section not in sections:
            raise UsageError(
                f"--config={path}: {section!r} is not a section. {_nearest(str(section), list(sections))}"
                + (f" ({section} is a key of the section {home[section]}.)" if section in home else "")
            )
        if keys is None:
            continue
        if not isinstance(keys, dict):
            raise UsageError(
                f"--config={path}: the section {section} contains {keys!r}, not keys with values."
            )
        for key, value in keys.items():
            if key not in sections[section]:
                if key in home:
                    raise UsageError(
                        f"--config={path}: {key} is in the section {section} but belongs in {home[key]}."
                    )
                raise UsageError(
                    f"--config={path}: unknown key {key!r} in the section {section}. "
                    f"{_nearest(str(key), [*sections[section], *home])}"
                )
            if value is not None:
                values[key] = _as_flag(path, key, value)
    return values


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, 1, 0.5)
    return f"Did you mean {near[0]}?" if near else f"Known names: {', '.join(dict.fromkeys(known))}."


def _as_flag(path: str, key: str, value: Any) -> str | bool | int | float:
    if isinstance(value, dict) and key == "task_option":
        return ",".join(f"{name}={_as_flag(path, key, one)}" for name, one in value.items())
    if isinstance(value, list):
        return ",".join(str(_as_flag(path, key, one)) for one in value)
    if isinstance(value, (str, bool, int, float)):
        return value
    raise UsageError(
        f"--config={path}: {key} is {value!r}; it must be a text, a number, true, false or a list of these."
    )


def with_variables(value: str | bool | int | float, path: str) -> str:
    """Returns a value as a flag's text; `${NAME}` is replaced by the environment variable, `${NAME:-other}` has a
    default.

    Raises:
      UsageError: the environment lacks a variable.
    """

    def replaced(match: re.Match[str]) -> str:
        found = os.environ.get(match[1], match[2])
        if found is None:
            raise UsageError(
                f"--config={path}: {value} needs the environment variable {match[1]}: set it, or give the flag."
            )
        return found

    if isinstance(value, str):
        return _VARIABLE.sub(replaced, value)
    return str(value).lower() if isinstance(value, bool) else str(value)
