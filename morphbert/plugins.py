"""Python files of the user that register parts by name (`--plugin=FILE.py`), and the tables of such parts.

Only files that the user names are run, never a file in a model's folder. Importing this module loads no TensorFlow.
"""

from __future__ import annotations

import hashlib
import os
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from morphbert import quiet_tensorflow
from morphbert.errors import MorphbertError, UsageError
from morphbert.options import option

_Entry = TypeVar("_Entry")


class Registry(Generic[_Entry]):
    """Entries by name, each with the file that registered it."""

    def __init__(self, kind: str, flag: str, own: Sequence[str] = ()) -> None:
        """`kind` is a word for messages, `flag` is the option that selects an entry, `own` are built-in names."""
        self._kind, self._flag, self.own = kind, flag, tuple(own)
        self._entries: dict[str, tuple[_Entry, str]] = {}

    def add(self, name: str, entry: _Entry, source: str) -> None:
        """Registers an entry; the same file may register its name again.

        Raises:
          UsageError: the name is built in, no name, or another file's.
        """
        if not name.isidentifier():
            raise UsageError(f"{name!r} is not a name for a {self._kind}: use letters, digits and _.")
        if name in self.own:
            raise UsageError(f"the {self._kind} {name!r} is built in: give the one of {source} another name.")
        before = self._entries.get(name)
        if before is not None and before[1] != source:
            raise UsageError(f"{before[1]} and {source} both register the {self._kind} {name!r}: rename one.")
        self._entries[name] = (entry, source)

    def decorator(self, name: str, entry_of: Callable[[Any], _Entry]) -> Callable[[Any], Any]:
        """Returns a decorator that adds `entry_of(part)` by the name, with the plugin that runs or the part's file."""

        def register(part: Any) -> Any:
            # The part may be of a module that the plugin imports.
            self.add(name, entry_of(part), _running[-1] if _running else source_of(part))
            return part

        return register

    def check(self, name: str, plugins: Sequence[str] = ()) -> None:
        """Refuses a name that is neither built in nor registered.

        Raises:
          UsageError: the message lists the known names.
        """
        if name not in self.own and name not in self._entries:
            known = ", ".join([*self.own, *self._entries]) or "none"
            searched = (
                f"--plugin={','.join(plugins)} does not register it" if plugins else "it is not built in"
            )
            raise UsageError(
                f"--{self._flag}={name} is out of range: {searched}. Known names: {known}. Another name needs "
                "the Python file that registers it: --plugin=FILE.py."
            )

    def get(self, name: str, needed_by: str) -> _Entry:
        """Returns a registered entry.

        Raises:
          MorphbertError: it is missing; the message says that `needed_by` needs it.
        """
        if name not in self._entries:
            raise MorphbertError(
                f"{needed_by} needs the {self._kind} {name!r} of a plugin: name the Python file that registers it, "
                "--plugin=FILE.py (in Python: plugin=[...], or import the module first)."
            )
        return self._entries[name][0]

    def __contains__(self, name: str) -> bool:
        """Returns whether a plugin registered the name."""
        return name in self._entries

    def source(self, name: str) -> str:
        """Returns the file that registered an entry."""
        return self._entries[name][1]


# The digest of each loaded file, by its real path; and the files that are being run, the innermost last.
_loaded: dict[str, str] = {}
_running: list[str] = []


def plugin_option(help: str, group: str | None = None) -> Any:
    """Returns the field `plugin`: Python files that register parts."""
    return option(path=True, default=(), repeatable=True, group=group, help=help)


def model_plugin_option() -> Any:
    """Returns the field `plugin` of a command that reads a pretrained model."""
    return plugin_option(
        "The Python file that registers the model's variant, if its configuration names one (docs/plugins.md); "
        "several, divided by commas or with the flag repeated.",
    )


def load_plugins(paths: Sequence[str]) -> None:
    """Runs Python files that register parts; a file that has not changed is not run again.

    Raises:
      UsageError: a file is missing or is not a Python file, or registers a name that is taken.
      MorphbertError: a file raises an exception.
    """
    for path in paths:
        if not path.endswith(".py"):
            raise UsageError(f"--plugin={path} is not a Python file: give FILE.py.")
        if not os.path.isfile(path):
            raise UsageError(f"--plugin={path}: there is no such file.")
    if paths:
        quiet_tensorflow.load()  # a plugin imports it, which would print its start-up notes
    for path in paths:
        real = os.path.realpath(path)
        with open(real, "rb") as stream:
            source = stream.read()
        digest = hashlib.sha256(source).hexdigest()
        if _loaded.get(real) == digest:
            continue
        module = types.ModuleType("morphbert_plugin_" + os.path.basename(path).removesuffix(".py"))
        module.__file__ = real
        sys.modules[module.__name__] = module
        _running.append(real)
        try:
            # Not by an import, which may take the code from a file of bytecode: the digest is that of this source.
            exec(compile(source, real, "exec", dont_inherit=True), vars(module))
        except MorphbertError:
            raise
        except Exception as error:
            raise MorphbertError(f"--plugin={path} cannot be loaded: {place_of(error, real)}") from error
        finally:
            _running.pop()
        _loaded[real] = digest


def identities(paths: Sequence[str]) -> list[str]:
    """Returns the name of each loaded plugin file and the SHA-256 of its code, for the settings in a checkpoint."""
    return [f"{os.path.basename(path)} {_loaded[os.path.realpath(path)]}" for path in paths]


def say_changed(folder: str, saved: Any) -> None:
    """Warns of loaded files that differ from those that a model was trained with.

    Files of one name in several folders are told apart by their digests.

    Args:
      folder: the model's, for the message.
      saved: the `identities` of the training, or another value for none.
    """
    before: dict[str, list[str]] = {}
    for name, digest in (one.rsplit(" ", 1) for one in saved or () if " " in one):
        before.setdefault(name, []).append(digest)
    for name, known in before.items():
        named = {path: found for path, found in _loaded.items() if os.path.basename(path) == name}
        missing = " or ".join(f"{digest[:12]}…" for digest in known if digest not in named.values())
        for path, found in named.items():
            if missing and found not in known:
                print(
                    f"warning: {path} has SHA-256 {found[:12]}…, and the model in {folder} was trained with a {name} "
                    f"of SHA-256 {missing}: its results may differ.",
                    flush=True,
                )


def source_of(entry: Any) -> str:
    """Returns the file of a function or class, or its module's name, as in a notebook."""
    module = sys.modules.get(entry.__module__)
    return str(getattr(module, "__file__", None) or entry.__module__)


def place_of(error: Exception, path: str) -> str:
    """Returns an exception in words, with the line of `path` that raised it."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    line = f"line {lines[-1]}: " if lines else ""
    return f"{line}{type(error).__name__}: {error}"
