"""The report of `prepare_corpus.py`: omitted documents and removed text, with reasons."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_EXAMPLES = 5
_EXCERPT = 80


class Example(NamedTuple):
    """One case: its place, an excerpt of the text, and a detail."""

    where: str
    excerpt: str
    detail: str = ""


def excerpt(text: str) -> str:
    r"""Returns the beginning of a text, in one line: `"가\n나"` → `"가 나"`."""
    line = " ".join(text[: 4 * _EXCERPT].split())
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"


@dataclass
class CorpusReport:
    """Counts and the first examples, in the order of the documents.

    Attributes:
      settings: the flags of the run.
      files, read: the numbers of input files and of their documents. documents, sentences, characters: the numbers of
        written ones.
      dropped: the number of omitted documents by reason; dropped_characters: the number of their characters.
      removed: the number of removals from texts, by kind.
      divided: the number of documents that were divided because they were too long.
    """

    settings: Mapping[str, Any]
    files: int
    read: int = 0
    documents: int = 0
    sentences: int = 0
    characters: int = 0
    divided: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_characters: Counter[str] = field(default_factory=Counter)
    removed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)

    @property
    def reasons(self) -> str:
        """The reasons with their counts: `"duplicate: 3, too short: 1"`."""
        return ", ".join(f"{reason}: {count:,}" for reason, count in self.dropped.most_common())

    def drop(self, reason: str, characters: int, example: Example) -> None:
        self.dropped[reason] += 1
        self.dropped_characters[reason] += characters
        self._add(reason, example)

    def remove(self, kind: str, count: int, example: Example) -> None:
        self.removed[kind] += count
        self._add(kind, example)

    def _add(self, name: str, example: Example) -> None:
        examples = self.examples.setdefault(name, [])
        known = {earlier.excerpt for earlier in examples if earlier.excerpt}
        if len(examples) < _EXAMPLES and example.excerpt not in known:
            examples.append(example)

    def text(self, path: str) -> bytes:
        """Returns the content of the report file: JSON for a name that ends with `.json`, else Markdown."""
        text = self.as_json() if path.endswith(".json") else self.as_markdown()
        return text.encode("utf-8", "replace")

    def as_json(self) -> str:
        values = {
            "settings": dict(self.settings),
            **{
                name: getattr(self, name)
                for name in ("files", "read", "documents", "sentences", "characters")
            },
            "divided": self.divided,
            "dropped": {
                reason: {"documents": count, "characters": self.dropped_characters[reason]}
                for reason, count in self.dropped.most_common()
            },
            "removed": dict(self.removed.most_common()),
            "examples": {
                name: [example._asdict() for example in examples] for name, examples in self.examples.items()
            },
        }
        return json.dumps(values, ensure_ascii=False, indent=2) + "\n"

    def as_markdown(self) -> str:
        lines = [
            "# Corpus report",
            "",
            f"Read {self.read:,} documents in {self.files:,} file(s); wrote {self.documents:,} documents with "
            f"{self.sentences:,} sentences and {self.characters:,} characters.",
            "",
        ]
        if self.divided:
            lines += [
                f"{self.divided:,} documents were too long and were divided: empty lines are missing.",
                "",
            ]
        lines += ["## Documents that were left out", ""]
        if not self.dropped:
            lines += ["None.", ""]
        else:
            lines += ["| reason | documents | share | characters |", "| --- | ---: | ---: | ---: |"]
            lines += [
                f"| {reason} | {count:,} | {count / self.read:.2%} | {self.dropped_characters[reason]:,} |"
                for reason, count in self.dropped.most_common()
            ]
            lines += [""]
        if self.removed:
            lines += ["## Text removed from documents", "", "| kind | times |", "| --- | ---: |"]
            lines += [f"| {kind} | {count:,} |" for kind, count in self.removed.most_common()]
            lines += [""]
        for name, _ in self.dropped.most_common() + self.removed.most_common():
            lines += [f"### {name}", ""]
            lines += [_example_line(example) for example in self.examples[name]]
            lines += [""]
        lines += ["## Settings", ""]
        lines += [f"- `--{name}={_code(value)}`" for name, value in self.settings.items()]
        return "\n".join(lines) + "\n"


def _example_line(example: Example) -> str:
    shown = f": `{_code(example.excerpt)}`" if example.excerpt else ""
    detail = f" ({_plain(example.detail)})" if example.detail else ""
    return f"- {_plain(example.where)}{shown}{detail}"


def _code(text: object) -> str:
    """Returns text for use within backquotes."""
    return " ".join(str(text).replace("`", "ˋ").split())


def _plain(text: str) -> str:
    """Returns text that Markdown shows literally: names of files and fields may contain markup or HTML."""
    shown = re.sub(r"([\\`*\[\]|~])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
    return " ".join(shown.split())
