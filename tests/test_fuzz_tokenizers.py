"""Random strings through every kind of tokenizer, and what they found."""

import pytest
from samples import GOLDEN, MECAB_VOCABULARY

from morphbert.text.loading import load_tokenizer
from morphbert.text.special_tokens import encode_special
from morphbert.text.vocabulary import vocabulary_bytes
from morphbert.text.vocabulary_file import load_vocabulary


def test_random_strings_break_no_promise(command):
    done = command("scripts/fuzz_tokenizers.py", "--strings=300", "--seed=5")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 7
    assert all("300 strings" in line for line in lines)


def test_a_special_token_that_the_vocabulary_lacks_is_text(tmp_path):
    tokens = [
        token
        for token in load_vocabulary(f"{GOLDEN}/vocab_ko.txt").tokens
        if token not in ("[PAD]", "[MASK]")
    ]
    (tmp_path / "vocab.txt").write_bytes(vocabulary_bytes(tokens))
    tokenizer = load_tokenizer(str(tmp_path / "vocab.txt"), do_lower_case=False)
    text = "나는 [MASK] [PAD] 간다 [SEP]"
    found = encode_special(tokenizer, text).tokens
    assert found == [*tokenizer.tokenize("나는 [MASK] [PAD] 간다"), "[SEP]"]


def test_a_mask_beside_every_rare_syllable():
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    assert encode_special(tokenizer, "뷁쀍똻꿻뙜 [MASK]").tokens[-1] == "[MASK]"


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("사과나무를  심었습니다.", "사과나무를 심었습니다."),
        ("(가) 나는 학교에 간다!", "(가) 나는 학교에 간다!"),
        ('"이런 곳"이 있다', '" 이런 곳 " 이 있다'),
    ],
)
def test_decoding_keeps_characters_and_writes_the_usual_spacing(text, decoded):
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    found = tokenizer.decode(tokenizer.encode(text).ids)
    assert found == decoded
    assert found.replace(" ", "") == text.replace(" ", "")
