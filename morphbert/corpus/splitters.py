"""The choices of `--splitter`: sentence splitting by our rules or by an installed library."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Literal

from morphbert.corpus.sentences import split_sentences
from morphbert.errors import MorphbertError

Splitter = Literal["rule", "line", "kiwipiepy", "kss"]
SplitText = Callable[[str], list[str]]

# Both libraries analyse a whole paragraph; memory and time grow faster than its length.
_LONGEST_PARAGRAPH = 10_000


def require_splitter(name: Splitter) -> None:
    """Raises MorphbertError with the remedy if the library of a splitter is not installed."""
    if name in ("kiwipiepy", "kss") and find_spec(name) is None:
        apart = " (in a separate environment: see docs/corpus.md)" if name == "kss" else ""
        raise MorphbertError(f"--splitter={name} needs a package: pip install {name}{apart}")


@lru_cache(maxsize=1)
def load_splitter(name: Splitter) -> SplitText:
    """Returns the splitter of this process; its model is loaded once.

    Sentences have no white space around them, and contain all other characters of the paragraph.
    """
    if name == "rule":
        return split_sentences
    if name == "line":
        return lambda paragraph: [paragraph] if paragraph else []
    require_splitter(name)
    return _careful(_load_kiwipiepy() if name == "kiwipiepy" else _load_kss())


def _load_kiwipiepy() -> SplitText:
    from kiwipiepy import Kiwi

    kiwi: Any = Kiwi(num_workers=1)  # parallelism comes from our processes
    return lambda paragraph: [sentence.text for sentence in kiwi.split_into_sents(paragraph)]


def _load_kss() -> SplitText:
    import kss

    return lambda paragraph: list(kss.split_sentences(paragraph, num_workers=1))


def _careful(split: SplitText) -> SplitText:
    """Returns a library's splitter, with our rules for paragraphs that it changes or that are too long for it."""

    def checked(paragraph: str) -> list[str]:
        if not paragraph:
            return []
        if len(paragraph) > _LONGEST_PARAGRAPH:
            return split_sentences(paragraph)
        sentences = [stripped for sentence in split(paragraph) if (stripped := sentence.strip())]
        same = "".join("".join(sentences).split()) == "".join(paragraph.split())
        return sentences if same else split_sentences(paragraph)

    return checked
