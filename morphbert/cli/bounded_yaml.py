"""Parses YAML with bounds on depth and size: aliases of aliases can expand to a billion values."""

from __future__ import annotations

from typing import Any

from morphbert.errors import MorphbertError, UsageError
from morphbert.structured import DEEPEST

# The largest number of values in a file with expanded aliases, and of its characters. Configurations are far smaller.
MOST_VALUES = 100_000
_LONGEST = 1 << 20


def parse_yaml(text: str, where: str) -> Any:
    """Returns the value of a YAML text: mappings, lists, texts and numbers, but no Python objects.

    Raises:
      UsageError: the text is not YAML, or a mapping has a key twice.
      MorphbertError: the text is longer than a mebibyte, nested deeper than `DEEPEST`, or has more than `MOST_VALUES`
        values with expanded aliases.
    """
    import yaml

    if len(text) > _LONGEST:
        raise MorphbertError(f"{where}: longer than {_LONGEST:,} characters, the limit for configurations.")
    try:
        _check_events(yaml, text, where)
        return _value(yaml, text, where)
    except (
        yaml.YAMLError,
        ValueError,
    ) as error:  # ValueError: a number of 5,000 digits, or the 31st of February
        raise UsageError(f"{where} is not YAML: {error}") from error
    except RecursionError:
        raise _too_deep(where) from None


def _check_events(yaml: Any, text: str, where: str) -> None:
    """Counts values and levels during reading, before any value is built."""
    sizes: dict[str, int] = {}
    # The anchor of each open collection and the number of its values.
    opened: list[tuple[str | None, int]] = [(None, 0)]

    def add(anchor: str | None, values: int) -> None:
        if anchor is not None:
            sizes[anchor] = values
        outer, before = opened[-1]
        opened[-1] = outer, before + values
        if before + values > MOST_VALUES:
            raise MorphbertError(
                f"{where}: aliases (*name) expand to more than {MOST_VALUES:,} values. Write the values out."
            )

    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, 1))
            if len(opened) > DEEPEST:
                raise _too_deep(where)
        elif isinstance(event, yaml.CollectionEndEvent):
            add(*opened.pop())
        elif isinstance(event, yaml.AliasEvent):
            # The alias of an open collection would contain itself.
            if any(anchor == event.anchor for anchor, _ in opened):
                raise MorphbertError(
                    f"{where}: the alias *{event.anchor} is within the collection that it names."
                )
            add(None, sizes.get(event.anchor, 1))
        elif isinstance(event, yaml.ScalarEvent):
            add(event.anchor, 1)


def _value(yaml: Any, text: str, where: str) -> Any:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_keys(yaml, node, where, set())
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_keys(yaml: Any, node: Any, where: str, seen: set[int]) -> None:
    """Raises UsageError for a key that a mapping has twice: YAML forbids it, and the loader takes the last one."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    keys = set()
    for item in node.value:
        key, value = item if isinstance(node, yaml.MappingNode) else (None, item)
        if isinstance(key, yaml.ScalarNode):
            if (
                key.tag,
                key.value,
            ) in keys and key.value != "<<":  # several merges are read, one after the other
                raise UsageError(
                    f"{where}, line {key.start_mark.line + 1}: the key {key.value!r} occurs more than once. Keep one "
                    "of them."
                )
            keys.add((key.tag, key.value))
        _check_keys(yaml, value, where, seen)


def _too_deep(where: str) -> MorphbertError:
    return MorphbertError(f"{where}: values are nested more than {DEEPEST} levels deep.")
