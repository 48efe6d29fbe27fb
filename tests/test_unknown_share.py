"""What a tokenizer that is called in Python says about text that its vocabulary does not know."""

import logging

import pytest
from samples import MECAB_VOCABULARY

from morphbert.interop.huggingface.pretrained_tokenizer import PretrainedTokenizer
from morphbert.text.loading import load_tokenizer

FOREIGN = "\U00020000 \U00020001 \U00020002"


@pytest.fixture
def tokenizer():
    return PretrainedTokenizer(load_tokenizer(str(MECAB_VOCABULARY)), str(MECAB_VOCABULARY))


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if "unknown to the vocabulary" in record.message]


@pytest.mark.parametrize("words", [False, True])
def test_the_warning_comes_once_with_words_of_the_text(tokenizer, caplog, words):
    with caplog.at_level(logging.WARNING, "morphbert"):
        for _ in range(40):
            tokenizer([FOREIGN.split()] if words else [FOREIGN], is_split_into_words=words)
    (warning,) = warnings(caplog)
    assert "100.0% of the text is unknown to the vocabulary, such as \U00020000" in warning


def test_text_that_is_known_and_one_rare_word_cause_none(tokenizer, caplog):
    with caplog.at_level(logging.WARNING, "morphbert"):
        tokenizer(FOREIGN[:1])
        for _ in range(20):
            tokenizer("나는 학교에 갔다. 오늘은 사과를 먹었다.")
    assert warnings(caplog) == []
