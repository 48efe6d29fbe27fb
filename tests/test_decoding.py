"""`encode` after `decode`: the characters never differ, and pieces do only beside punctuation."""

import re

import pytest
from samples import GOLDEN, MECAB_VOCABULARY

from morphbert.text.loading import load_tokenizer

# What was found in random texts: a mark between an eojeol and its particle.
QUOTED = [
    "‘한반도 냉전을 위한 포괄적 접근’을 말했다.",
    "“포괄적 접근”을 (가)를 '나'는 「다」에서 라(마)까지",
]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(str(MECAB_VOCABULARY))


def real_lines():
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(GOLDEN.glob("documents_ko*.txt")))
    return [line for line in text.splitlines() if line.strip()]


def closed(text):
    return re.sub(r"\s", "", text)


def test_the_characters_come_back_and_marks_alone_cause_other_pieces(tokenizer):
    lines = [*QUOTED, *real_lines()]
    assert len(lines) > 20
    for line in lines:
        encoding = tokenizer.encode(line)
        if tokenizer.unknown in encoding.tokens:
            continue
        decoded = tokenizer.decode(encoding.ids)
        again = tokenizer.encode(decoded)
        assert closed(decoded) == closed(tokenizer.splitter.normalizer(line))
        assert tokenizer.decode(again.ids) == decoded
        if not re.search(r"[^\w\s]", line.rstrip(".?! \n")):
            assert again.ids == encoding.ids, line
