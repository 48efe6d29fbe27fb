"""One Python file from a module of this package and the parts of other modules that it uses.

An exported folder cannot ask for morphbert to be installed, and what cuts its text has to be the very code that
cut the training data: so that code is copied into the folder, definition by definition, comments included.
"""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass, field

PACKAGE = "morphbert"


@dataclass
class _Module:
    """A parsed source: its lines, what each name defines, and where imported names come from."""

    name: str
    lines: list[str]
    definitions: dict[str, ast.stmt] = field(default_factory=dict)
    ours: dict[str, tuple[str, str]] = field(default_factory=dict)  # name → (module, name there)
    imports: dict[str, str] = field(default_factory=dict)  # name → the statement

    def text(self, node: ast.stmt) -> str:
        """A definition as it is written, with decorators and the comment above it."""
        start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))]) - 1
        while start and self.lines[start - 1].startswith("#"):
            start -= 1
        return "\n".join(self.lines[start : node.end_lineno])


def _parse(name: str) -> _Module:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    with open(spec.origin, encoding="utf-8") as stream:
        source = stream.read()
    module = _Module(name, source.split("\n"))
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            for alias in node.names:
                module.ours[alias.asname or alias.name] = (str(node.module), alias.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                part = ast.unparse(ast.Import([alias]))
                if isinstance(node, ast.ImportFrom):
                    part = f"from {node.module} {part}"
                module.imports[(alias.asname or alias.name).split(".")[0]] = part
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            module.definitions[node.name] = node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                names = (name for name in ast.walk(target) if isinstance(name, ast.Name))
                module.definitions.update((name.id, node) for name in names)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            module.definitions[node.target.id] = node
    return module


def flatten(root: str) -> str:
    """Source of `root` (a module's name) with all it uses of this package in front; its docstring stays.

    Raises:
      ValueError: two of the definitions have the same name.
    """
    modules: dict[str, _Module] = {}
    order: list[tuple[str, ast.stmt]] = []
    owner: dict[str, str] = {}
    imports: set[str] = set()

    def module_of(name: str) -> _Module:
        if name not in modules:
            modules[name] = _parse(name)
        return modules[name]

    def add(module: _Module, name: str) -> None:
        if name in module.ours:
            there, original = module.ours[name]
            if original != name:
                raise ValueError(f"{module.name} renames {original}: a flat file cannot.")
            add(module_of(there), name)
        elif name in module.imports:
            imports.add(module.imports[name])
        elif name in module.definitions:
            if owner.setdefault(name, module.name) != module.name:
                raise ValueError(f"{name} is defined in {owner[name]} and in {module.name}.")
            node = module.definitions[name]
            if any(known is node for _, known in order) or id(node) in visiting:
                return
            visiting.add(id(node))
            for part in ast.walk(node):
                if isinstance(part, ast.Name):
                    add(module, part.id)
            order.append((module.name, node))

    visiting: set[int] = set()
    start = module_of(root)
    for name in start.definitions:
        add(start, name)
    docstring = ast.get_docstring(ast.parse("\n".join(start.lines))) or ""
    parts = [module_of(name).text(node) for name, node in order]
    lines = sorted(imports, key=lambda line: (line.startswith("from"), line))
    return (
        f'"""{docstring}\n"""\n\nfrom __future__ import annotations\n\n'
        + "\n".join(lines)
        + "\n\n\n"
        + "\n\n\n".join(parts)
        + "\n"
    )
