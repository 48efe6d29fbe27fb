"""Korean pages keep the sections, commands, flags and figures of the English ones; links between pages resolve."""

import re

import pytest
import yaml
from samples import ROOT

DOCS = ROOT / "docs"
KOREAN = sorted(path.name for path in (DOCS / "ko").glob("*.md"))
_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.S | re.M)


def _read(path):
    return path.read_text(encoding="utf-8")


def _prose(text):
    return _FENCED.sub("", text)


def _headings(text):
    """Levels of the headings and the code that they name."""
    found = re.findall(r"^(#+) (.*)$", _prose(text), re.M)
    return [(len(level), tuple(re.findall(r"`[^`]+`", title))) for level, title in found]


def _commands(text):
    return _FENCED.findall(text) + re.findall(r"^    \S.*$", _prose(text), re.M)


def _flags(text):
    return set(re.findall(r"(?<![\w-])--[a-z]\w+", text))


def _figures(text):
    """The numbers in each row of each table, in any order: Korean words stand in another one."""
    rows = [line for line in _prose(text).splitlines() if line.startswith("|") and set(line) - set("|-: ")]
    return [sorted(re.findall(r"\d[\d,.]*\d|\d", row)) for row in rows]


def _named(text):
    return set(re.findall(r"`((?:tests|benchmarks|configs|scripts|vocab)/[\w./-]+)`", text))


def test_the_pages_of_the_first_steps_are_there_in_korean():
    assert {"getting-started.md", "tokenization.md", "pretraining.md", "finetuning.md"} <= set(KOREAN)


@pytest.mark.parametrize("part", [_headings, _commands, _flags, _figures, _named])
@pytest.mark.parametrize("name", KOREAN)
def test_a_korean_page_is_in_step_with_the_english_one(name, part):
    korean, english = part(_read(DOCS / "ko" / name)), part(_read(DOCS / name))
    assert korean == english, f"docs/ko/{name} differs from docs/{name}: translate the change."


@pytest.mark.parametrize("name", KOREAN)
def test_a_korean_page_is_written_in_korean(name):
    """Of each paragraph, too: one that was left in English has no Hangul."""
    for paragraph in re.split(r"\n\s*\n", _prose(_read(DOCS / "ko" / name))):
        if re.search(r"[A-Za-z]", paragraph) and not re.match(r"    ", paragraph):
            assert re.search(r"[가-힣]", paragraph), paragraph


def test_links_between_pages_and_named_files_exist():
    pages = sorted(DOCS.rglob("*.md"))
    assert len(pages) >= 15
    for page in pages:
        text = _prose(_read(page))
        for target in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
        for name in _named(text) - {"vocab/mine"}:
            if name.endswith((".py", ".sh", ".yaml", ".ipynb")):
                assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_the_site_has_every_page_and_every_public_name():
    import morphbert

    text = _read(ROOT / "mkdocs.yml")
    navigation = yaml.safe_load(text[text.index("nav:") : text.index("theme:")])["nav"]
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert set(_leaves(navigation)) == pages
    documented = re.findall(r"^::: morphbert\.(\w+)$", _read(DOCS / "api.md"), re.M)
    assert sorted(documented) == sorted(set(morphbert.__all__) - {"__version__"})


def _leaves(entry):
    if isinstance(entry, str):
        return [entry]
    inner = entry.values() if isinstance(entry, dict) else entry
    return [leaf for one in inner for leaf in _leaves(one)]
