"""Copies a module of this package, and the modules of it that it imports, for a folder that works without morphbert.

An exported folder cannot ask for morphbert to be installed, and its text has to be cut by the very code that cut the
training data: that code is copied as it is, with its imports made relative.
"""

from __future__ import annotations

import ast
import importlib.util

PACKAGE = "morphbert"


def copied_code(root: str, name: str) -> dict[str, str]:
    """Returns the files of a module and of its imports from this package: file name → source.

    `from morphbert.text.words import Word` becomes `from .morphbert_text_words import Word`. All files lie in one
    folder, because transformers copies no others (`get_relative_import_files`).

    Args:
      root: the module, `morphbert.interop.huggingface.remote_tokenizer`.
      name: the name of its file, without `.py`.

    Raises:
      ValueError: one of the modules says `import morphbert…`, which has no relative form.
    """
    names = {root: name}
    waiting = [root]
    files: dict[str, str] = {}
    while waiting:
        module = waiting.pop()
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        with open(spec.origin, encoding="utf-8") as stream:
            lines = stream.read().split("\n")
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.Import) and any(_is_ours(alias.name) for alias in node.names):
                raise ValueError(f"{module}, line {node.lineno}: write from {PACKAGE}… import …, not import.")
            if not isinstance(node, ast.ImportFrom) or not _is_ours(node.module or ""):
                continue
            imported = str(node.module)
            if imported not in names:
                names[imported] = imported.replace(".", "_")
                waiting.append(imported)
            line = node.lineno - 1
            lines[line] = lines[line].replace(f"from {imported} import", f"from .{names[imported]} import")
        files[f"{names[module]}.py"] = "\n".join(lines)
    return files


def _is_ours(module: str) -> bool:
    return module.split(".")[0] == PACKAGE
