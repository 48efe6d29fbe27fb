"""CONTRIBUTING.md names existing files, and all packages; workflow and hooks run the project's own commands."""

import re

import pytest
import yaml
from samples import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
QUOTED = sorted(set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.S))))
PATHS = [name for name in QUOTED if re.fullmatch(r"[.\w][\w./-]*(/|\.(py|md|toml|yaml))|\.ci/run", name)]
NAMES = [name for name in QUOTED if re.fullmatch(r"_?[A-Za-z]\w+", name) and name not in ("make",)]
SOURCES = {
    path: path.read_text(encoding="utf-8")
    for path in [*(ROOT / "morphbert").rglob("*.py"), *(ROOT / "tests").glob("*.py")]
}


@pytest.mark.parametrize("path", PATHS)
def test_a_named_file_or_folder_exists(path):
    made = path in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert made or (ROOT / path).exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_defined_in_a_file_that_its_paragraph_names(name):
    blocks = [block for block in re.split(r"\n\s*\n", PAGE) if f"`{name}`" in block]
    for block in blocks:
        files = [ROOT / path for path in re.findall(r"`((?:morphbert|tests)/[\w/]+\.py)`", block)]
        definition = re.compile(rf"^(?:    )?(?:class |def )?{name}\b(?=[:(\[ ])", re.M)
        imported = re.compile(rf"^from [\w.]+ import .*\b{name}\b", re.M)
        variable = re.compile(rf'environ.*"{name}"')
        assert any(form.search(SOURCES[f]) for form in (definition, imported, variable) for f in files), block


def test_every_make_target_exists():
    targets = set(re.findall(r"\bmake ([\w-]+)", PAGE))
    assert len(targets) > 5
    assert targets <= set(re.findall(r"^([\w-]+):", MAKEFILE, re.M))


def test_the_map_holds_every_package():
    packages = {
        path.parent.relative_to(ROOT).as_posix() + "/" for path in SOURCES if path.name == "__init__.py"
    }
    assert packages - {"morphbert/"} <= set(PATHS)


def test_versions_agree():
    import morphbert

    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(.+?)\]", changes, re.M)[:2] == ["Unreleased", morphbert.__version__]


def test_the_hooks_are_local_and_the_workflow_runs_the_script():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {repository["repo"] for repository in hooks["repos"]} == {"local"}
    assert {hook["id"] for hook in hooks["repos"][0]["hooks"]} == {"ruff", "ruff-format", "mypy"}
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    steps = [step.get("run") for job in workflow["jobs"].values() for step in job["steps"]]
    assert ".ci/run" in steps
