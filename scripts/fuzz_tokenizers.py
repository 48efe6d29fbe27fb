"""Random strings through every kind of tokenizer, held to the promises of the documentation: `make fuzz STRINGS=9999`.

Each string is made of slices of real Korean text, of characters from all of Unicode, and of strings that went wrong
elsewhere: Jamo, combining marks, special tokens, control characters, emoji, every kind of space.

It ends with the counts by kind and status 0, or at the first broken promise with the string and status 1.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import sentencepiece

from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.description import make_tokenizer
from morphbert.text.loading import load_tokenizer
from morphbert.text.normalize import Normalizer
from morphbert.text.special_tokens import encode_special
from morphbert.text.tokenizer import Tokenizer
from morphbert.text.vocabulary_file import load_vocabulary
from morphbert.text.words import WordSplitter

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
MECAB = ROOT / "vocab" / "ko-mecab-8k"
HOSTILE = (
    *(
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "[UNK]",
        "[PAD]",
        "##",
        "▁",
        "\x00",
        "\x1e",
        "\x1f",
        "\u00ad",
        "\ufeff",
        "\u200b",
    ),
    *(
        "\u2028",
        "\u0085",
        "\u3000",
        "\u00a0",
        "\r\n",
        "\t",
        "\ufffd",
        "\ue000",
        "\U0010ffff",
        "👩‍👩‍👧",
        "é",
        "İ",
    ),
    *(
        "ᄒ",
        "ᅡ",
        "ᆫ",
        "ㅋㅋ",
        "ㅠ",
        "\u0301",
        "\u0323",
        "大韓",
        "ﬁ",
        "Ⅷ",
        "“",
        "’",
        "…",
        "***",
        "1.5",
        "http://a.b",
    ),
)


class Broken(Exception):
    """A promise that does not hold for a string."""


@dataclass(frozen=True)
class Kind:
    """A tokenizer, and whether decoding and encoding again gives the same pieces."""

    name: str
    tokenizer: Tokenizer
    repeats: bool = False


def kinds(folder: pathlib.Path) -> list[Kind]:
    """Every kind of tokenizer, on the vocabularies of the checkout."""
    mecab = load_tokenizer(str(MECAB))
    plain = load_vocabulary(f"{GOLDEN}/vocab_ko.txt")
    english = str(GOLDEN / "vocab_en.txt")
    pieces = folder / "pieces"
    pieces.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        input=f"{GOLDEN}/documents_ko.txt",
        model_prefix=str(pieces / "spiece"),
        vocab_size=400,
        character_coverage=0.99,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    foreign = folder / "foreign"
    foreign.mkdir()
    (foreign / "vocab.txt").write_bytes((GOLDEN / "vocab_ko.txt").read_bytes())
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": False}
    (foreign / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    morphemes = WordSplitter(Normalizer("nfc", False), MecabAnalyzer(), "morpheme")
    return [
        Kind("mecab, eojeol", mecab),
        Kind("mecab, morpheme", make_tokenizer(mecab.vocabulary, morphemes)),
        Kind(
            "no analyser, nfc",
            make_tokenizer(plain, WordSplitter(Normalizer("nfc", False), None, "eojeol")),
            True,
        ),
        Kind(
            "google-research/bert, cased", load_tokenizer(f"{GOLDEN}/vocab_ko.txt", do_lower_case=False), True
        ),
        Kind("google-research/bert, lower-cased", load_tokenizer(english, do_lower_case=True), True),
        Kind("transformers, lower-cased, accents kept", load_tokenizer(str(foreign)), True),
        Kind("SentencePiece", load_tokenizer(str(pieces))),
    ]


def random_string(rng: random.Random, text: str) -> str:
    """Up to some 60 characters."""
    parts: list[str] = []
    for _ in range(rng.randint(1, 8)):
        draw = rng.random()
        if draw < 0.55:
            start = rng.randrange(len(text))
            parts.append(text[start : start + rng.randint(1, 12)])
        elif draw < 0.75:
            parts.append(rng.choice(HOSTILE))
        elif draw < 0.9:
            parts.append(chr(rng.choice((rng.randrange(32, 0x300), rng.randrange(0xAC00, 0xD7A4)))))
        else:
            number = rng.randrange(0x110000)
            parts.append(chr(number) if not 0xD800 <= number < 0xE000 else "�")
    return rng.choice(("", " ")).join(parts)


def check(kind: Kind, text: str) -> bool:
    """Holds a string to the promises; returns whether decoding and encoding again gives the same pieces.

    Raises:
      Broken: says which promise.
    """
    tokenizer = kind.tokenizer
    encoding = tokenizer.encode(text)
    if encoding.tokens != tokenizer.tokenize(text):
        raise Broken("encode and tokenize give different pieces")
    lengths = {len(part) for part in (encoding.ids, encoding.tokens, encoding.offsets, encoding.word_ids)}
    if len(lengths) > 1:
        raise Broken("the lists have different lengths")
    before = 0
    for start, end in encoding.offsets:
        if not 0 <= start <= end <= len(text) or start < before:
            raise Broken(f"the offsets {encoding.offsets} are not in order within {len(text)} characters")
        before = start
    if encoding.word_ids != sorted(encoding.word_ids):
        raise Broken("eojeols are not in order")
    encode_special(tokenizer, text)
    if tokenizer.unknown in encoding.tokens or any(
        token in ("[CLS]", "[SEP]", "[PAD]") for token in encoding.tokens
    ):
        return True
    decoded = tokenizer.decode(encoding.ids)
    again = tokenizer.encode(decoded)
    if kind.repeats and again.tokens != encoding.tokens:
        raise Broken(f"{decoded!r} has other pieces: {again.tokens}, not {encoding.tokens}")
    return again.tokens == encoding.tokens


def fuzz(strings: int, seed: int, show: Callable[[str], None]) -> None:
    """Takes so many strings through each kind."""
    text = "".join(
        (GOLDEN / name).read_text(encoding="utf-8") for name in ("documents_ko.txt", "documents_ko_2.txt")
    )
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds(pathlib.Path(folder)):
            rng, started, differing = random.Random(seed), time.monotonic(), 0
            for number in range(strings):
                made = random_string(rng, text)
                try:
                    differing += not check(kind, made)
                except Exception as error:
                    raise Broken(
                        f"{kind.name}, string {number} of seed {seed}: {made!r}: {error!r}"
                    ) from error
            seconds = time.monotonic() - started
            show(
                f"{kind.name}: {strings:,} strings in {seconds:.0f} s, no promise broken; "
                f"{differing / max(1, strings):.2%} have other pieces after decoding"
            )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strings", type=int, default=10_000, help="how many for each kind of tokenizer")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        fuzz(given.strings, given.seed, lambda line: print(line, flush=True))
    except Broken as error:
        print(f"broken: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
