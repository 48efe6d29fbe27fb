"""Writes the real Korean text that KoNLPy carries as input for BERT: the constitution and ten bills.

    python scripts/konlpy_corpus.py OUTPUT.txt

A sentence a line, an empty line between documents. The texts are cut at their sections, and long sections
at articles (제N조), which gives about a hundred documents from 65,000 characters. The bills come from
printed pages: page numbers, rows of dashes (which stand for "as in the other column") and line ends inside
a word are undone; no letter and no digit of the text is lost.

KoNLPy itself is not imported, so that no Java is needed.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from morphbert.atomic_files import atomic_write
from morphbert.corpus.sentences import split_sentences
from morphbert.errors import MorphbertError
from morphbert.formats.lines import read_lines

# Shorter articles share a document with the next ones of their section: a document of a single sentence
# has no next sentence to predict.
DOCUMENT_CHARACTERS = 400

_PAGE_NUMBER = re.compile(r"\s*- \d+ -\s*")
_DASHES = re.compile(r"-{2,}|─+")
_SECTION = re.compile(
    r"\s*(제\d+[장절관] |부 *칙\b|펼침|제안이유|주요내용|법률 +제 +호|신 *·? *구조문 *대비표|[ⅠⅡⅢⅣⅤ]\.|\d+\. \S+ *$)"
)
_ARTICLE = re.compile(r"\s*제\d+조")
# A line that starts with one of these begins a paragraph even where it is not indented.
_ITEM = re.compile(r"\s*([①-⑳]|\d+\. |[가-하]\. |○|◦|<|\()")
# A line that the page's width broke is longer than this; a shorter one ended by itself.
_BROKEN_LINE = 10


def corpus_files() -> list[Path]:
    """The text files inside the installed KoNLPy, in a fixed order."""
    spec = importlib.util.find_spec("konlpy")
    if spec is None or not spec.submodule_search_locations:
        raise MorphbertError(
            "KoNLPy is not installed, and its texts are the input: pip install konlpy, "
            "or give a corpus of your own: scripts/pretrain.sh 'CORPUS/*.txt' OUTPUT_DIR"
        )
    folder = Path(spec.submodule_search_locations[0]) / "data" / "corpus"
    files = sorted(folder.glob("kolaw/*.txt")) + sorted(folder.glob("kobill/*.txt"))
    if not files:
        raise MorphbertError(
            f"{folder} has no texts: reinstall KoNLPy (pip install --force-reinstall konlpy)."
        )
    return files


def paragraphs(path: Path) -> Iterator[str]:
    """Joins the lines that the printed page broke; a line broken after a space ends between two words.

    `["필요", "한 나이이나, ", "현재"]` → `"필요한 나이이나, 현재"`
    """
    paragraph = last = ""
    for line in read_lines(str(path)):
        line = _DASHES.sub(" ", line.replace("\r", ""))
        if not line.strip() or _PAGE_NUMBER.fullmatch(line):
            continue
        begins = line.startswith(" ") or _SECTION.match(line) or _ITEM.match(line)
        ended = last.rstrip().endswith((".", ":")) or _SECTION.match(last) or len(last.strip()) < _BROKEN_LINE
        if paragraph and (begins or ended):
            yield paragraph
            paragraph = ""
        paragraph += line
        last = line
    if paragraph:
        yield paragraph


def documents(path: Path) -> Iterator[list[str]]:
    """The documents of one file, each a list of sentences."""
    sentences: list[str] = []
    heading = False  # whether `sentences` holds nothing but a section's title so far
    for paragraph in paragraphs(path):
        length = sum(map(len, sentences))
        # An article is kept whole unless it is very long; then the next numbered item begins a document.
        full = length >= DOCUMENT_CHARACTERS and _ARTICLE.match(paragraph)
        overfull = length >= 2 * DOCUMENT_CHARACTERS and _ITEM.match(paragraph)
        if _SECTION.match(paragraph):
            if sentences and not heading:
                yield sentences
                sentences = []
            heading = True
        elif full or overfull:
            yield sentences
            sentences = []
        else:
            heading = False
        for sentence in split_sentences(paragraph):
            words = " ".join(sentence.split())
            if words:
                sentences.append(words)
    if sentences:
        yield sentences


def main(argv: list[str]) -> int:
    if len(argv) != 1 or argv[0].startswith("-"):
        print(__doc__)
        return 0 if argv in (["--help"], ["-h"]) else 2
    try:
        count = characters = 0
        with atomic_write(argv[0]) as stream:
            for path in corpus_files():
                for sentences in documents(path):
                    text = "\n".join(sentences) + "\n"
                    stream.write((("\n" if count else "") + text).encode())
                    count += 1
                    characters += len(text)
    except MorphbertError as error:
        print(f"konlpy_corpus.py: {error}", file=sys.stderr)
        return 1
    print(f"konlpy_corpus.py: {count} documents, {characters:,} characters → {argv[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
