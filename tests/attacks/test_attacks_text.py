"""Texts made to take the square of their length, or the memory of the machine: time stays proportional, memory bounded.

A text of n repetitions is compared with one of 4n: linear work takes four times as long, quadratic work sixteen times.
"""

from __future__ import annotations

import gzip
import re
import time
import tracemalloc
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphbert.corpus.cleaning import Cleaning
from morphbert.corpus.sentences import split_sentences
from morphbert.errors import MorphbertError
from morphbert.formats.lines import read_lines
from morphbert.text.normalize import Normalizer, normalize_unicode

ALL = Cleaning(urls="replace", emails="replace", remove_html=True, remove_markup=True, max_repeats=2)
HOSTILE: dict[str, Callable[[int], str]] = {
    "rule": lambda n: "=" * n + " x",
    "rules": lambda n: ("=" * 40 + "\n") * n + "x",
    "headings": lambda n: "== x" * n,
    "stops before a syllable": lambda n: "." * n + "가",
    "stops": lambda n: "! " * n,
    "list marks": lambda n: "-. " * n,
    "pauses": lambda n: "... " * n,
    "closing marks": lambda n: '."' * n + "가",
    "endings and stops": lambda n: "다." * n + "가",
    "faces": lambda n: "요 " + "~" * n + "x",
    "spaces before a stop": lambda n: " " * n + "1." + " " * n + "가",
    "quotations": lambda n: '" ' * n,
    "quotation marks": lambda n: "“" * n,
    "marks": lambda n: "a" + "\u0301\u0323" * n,
    "marks that decompose": lambda n: "a" + "\u0f73" * n,
    "marks that are one": lambda n: "e" + "\u0344\u0316" * n,
    "spaces in a link": lambda n: "[http://a" + " " * n,
    "link without an end": lambda n: "[http://a b" * n,
    "links": lambda n: "[[a|" * n,
    "files": lambda n: "[[파일:" + "[[a]]" * n,
    "templates": lambda n: "{{" * n,
    "bold": lambda n: "''a'" * n,
    "brackets": lambda n: "(" + ", " * n,
    "scripts": lambda n: "<script>" * n,
    "comments": lambda n: "<!--" * n,
    "tags": lambda n: "<a " * n,
    "closing scripts": lambda n: "<script>" + "</script " * n,
    "addresses": lambda n: "a@" * n,
    "hosts": lambda n: "a." * n,
    "host of one": lambda n: "a-" * n,
    "URLs": lambda n: "http://" * n,
    "run": lambda n: "ㅋ" * n + "x",
    "Jamo": lambda n: "\u1100" * n + "\u11a8" * n,
    "references": lambda n: "&amp" * n,
    "tabs": lambda n: "\t" * n + "=",
    "numbers": lambda n: "1. " * n,
}
STEPS: dict[str, Callable[[str], object]] = {
    "cleaning": ALL,
    "sentences": split_sentences,
    "nfc": Normalizer("nfc"),
    "lower case": Normalizer("nfc", True).with_map,
    "bert": Normalizer("bert", True).with_map,
}


def seconds(step: Callable[[str], object], text: str) -> float:
    start = time.process_time()
    step(text)
    return time.process_time() - start


def assert_linear(step: Callable[[str], object], text_of: Callable[[int], str]) -> None:
    size = 500
    while seconds(step, text_of(4 * size)) < 0.01 and size < 32_000:
        size *= 2
    ratios = []
    for _ in range(4):  # another process may take the time of one measurement
        ratios.append(seconds(step, text_of(4 * size)) / max(seconds(step, text_of(size)), 1e-4))
        if ratios[-1] < 9:
            return
    raise AssertionError(f"4 × {size} take {min(ratios):.1f} times as long as {size}")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("pattern", HOSTILE)
def test_time_is_proportional_to_the_text(pattern, step):
    assert_linear(STEPS[step], HOSTILE[pattern])


pieces = st.lists(
    st.sampled_from([*"=.!- \"'[]{}()<>|~,가다요ㅋa1@/", "\u0301", "http://a", "<!--", "{{"]),
    min_size=1,
    max_size=5,
)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(pieces, st.sampled_from(["", "가", " x", "]", "\n=="]))
def test_time_is_proportional_for_repeated_texts(parts, end):
    unit = "".join(parts)
    for step in (ALL, split_sentences):
        assert_linear(step, lambda n: unit * (n // 8) + end)


# ── results stay what they were ────────────────────────────────────────────────────────────────────────────

# The pattern that took the cube of a rule's length, for short lines.
SLOW_HEADING = re.compile(r"^[ \t]*={2,}[ \t]*(.*?)[ \t]*={2,}[ \t]*$", re.MULTILINE)
SLOW_UNSEEN = re.compile(
    r"<(script|style)\b[^<>]*>.{0,5000}?</\1\s*>|<!--.{0,5000}?-->", re.IGNORECASE | re.DOTALL
)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="== \ta\n", max_size=20))
def test_headings_are_those_of_the_plain_pattern(text):
    wanted = [line for line in SLOW_HEADING.sub(r"\1", text).split("\n") if line.strip()]
    assert Cleaning(remove_markup=True)(text) == [" ".join(line.split()) for line in wanted]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(["<script>", "</script >", "<!--", "-->", "<STYLE a>", "</style>", "가", " "]),
        max_size=12,
    )
)
def test_what_is_not_shown_is_that_of_the_plain_pattern(parts):
    text = "".join(parts)
    rest = SLOW_UNSEEN.sub(" ", text)
    assert Cleaning(remove_html=True)(text) == Cleaning(remove_html=True)(rest)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(list("\u0301\u0323\u0344\u0f73\u0f71\u0345\u3099\u20d0\u302eaé가\u11a8")),
        max_size=120,
    )
)
def test_unicode_forms_are_those_of_the_standard(characters):
    text = "".join(characters)
    for form in ("NFC", "NFD", "NFKC"):
        assert normalize_unicode(form, text) == unicodedata.normalize(form, text)


# ── memory ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_packed_line_of_a_gigabyte_is_refused_in_bounded_memory(tmp_path):
    """The file has 450 KB; unpacked it is one line of 100 MB."""
    path = tmp_path / "bomb.txt.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(100):
            stream.write(b"a" * 1_000_000)
    tracemalloc.start()
    with pytest.raises(MorphbertError, match=r"bomb.txt.gz, line 1: the line is longer than 64 MiB"):
        list(read_lines(str(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250_000_000
