"""Makes tokenization.json: the pieces of the texts below from google-research/bert's own tokenizer.

    git clone https://github.com/google-research/bert
    python tests/golden/regenerate_tokenization.py bert

Nothing of that project is kept here but its answers. Its module is run from the checkout, with the one thing
that it uses of TensorFlow 1 (opening the vocabulary) put in its place.
"""

import functools
import hashlib
import importlib.util
import json
import os
import random
import sys
import types
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))

TEXTS = [
    "사과나무를 심었습니다.",
    "나는 어제 친구와 함께 영화를 봤다. 정말 재미있었다!",
    "BERT(버트)는 2018년에 구글이 공개한 언어 모델이다.",
    "대한민국(大韓民國)의 수도는 서울特別市이다.",
    "ㅋㅋㅋㅋ 진짜?? 아니... 그게 말이 되냐ㅠㅠ",
    "가격은 $1,234.56(약 140만원)이고 https://example.com/a_b?c=1 에서 판다",
    "The quick brown fox doesn't jump over the naïve café's door.",
    "UNAFFABLE unaffable Unwanted,running",
    "İstanbul'da ΣΑΣ ΟΔΥΣΣΕΥΣ straße ﬁne",
    unicodedata.normalize("NFD", "한국어를 조합형으로"),
    "가나다 라마 바\u00a0사　아\u200b자 \ufeff차\u2028카\u0085타\x0c파\x00하\ufffd거",
    "👨‍👩‍👧 이모지 ❤️ 그리고 ★별☆",
    "日本語のテキストと中文文本。",
    "[CLS] [MASK] 특수 토큰 [SEP]",
    "a" * 200 + " " + "a" * 201 + " " + "가" * 300,
    "",
    " \t\n ",
]
WORDPIECE_TEXTS = ["unaffable", "unaffablex", "심었습니다 심었습니까", "가" * 201, "", "  un  able "]
PIECES = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] un ##aff ##able ##want ##ed runn ##ing , . ! ? ( ) $ / : ' the quick brown "
    "사과 ##나무 ##를 심 ##었 ##습니다 나 ##는 어제 친구 ##와 함께 영화 ##를 봤 ##다 정말 재미 ##있 ##었 ##다 "
    "BERT bert 버트 는 구글 ##이 언어 모델 한국 ##어 ##를 서울 韓 國 大 民 市 日 本"
).split()
CHARACTERS_OF = [text for text in TEXTS if "심" not in text]  # so that some words become [UNK]


def load_original(checkout):
    tensorflow = types.ModuleType("tensorflow")
    tensorflow.gfile = types.SimpleNamespace(GFile=functools.partial(open, encoding="utf-8", newline="\n"))
    six = types.ModuleType("six")
    six.PY3 = True
    sys.modules.update(tensorflow=tensorflow, six=six)
    path = os.path.join(checkout, "tokenization.py")
    spec = importlib.util.spec_from_file_location("original", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def vocabulary():
    """A vocabulary with some words, and the characters of half of the texts plain and with ##."""
    tokens = dict.fromkeys(PIECES)
    for text in CHARACTERS_OF[::2]:
        for form in (text, text.lower(), unicodedata.normalize("NFD", text.lower())):
            for char in form:
                if char.isalnum():
                    tokens.update({char: None, "##" + char: None})
    return list(tokens)


def every_character_digest(basic_tokenizer_class):
    """One digest a block of 4,096 code points: each character inside and at the end of a word.

    The class is passed, because the tests run the same function over ours.
    """
    digests = []
    for first in range(0, 0x30000, 4096):
        digest = hashlib.sha256()
        for do_lower_case in (True, False):
            tokenizer = basic_tokenizer_class(do_lower_case=do_lower_case)
            for code in range(first, first + 4096, 1 if not 0x3400 <= first < 0xF000 else 23):
                answer = tokenizer.tokenize(f"aΣ{chr(code)}b Σ{chr(code)}")
                digest.update(json.dumps(answer).encode())
        digests.append(digest.hexdigest()[:16])
    return digests


# Tokenizers differ here: marks and ideographs, spaces and similar characters, accents, Jamo, dropped characters.
AWKWARD = (
    "가각나는을습니다사과심었ㅋㅠabZ09.!?,()[]#'\"$^`韓國々。～·…ー한é\u0301\u0308\u1112\u1161\u11ab\0\u200b\u200d\u202e\ufeff\u2028"
    "\u2029\u0085\u3000\u00a0 \t\n\r\x0b\x0c\x1c\x1f\ufffd😀👨❤\ufe0fßİıΣσςﬁ①㈜ㅤ\u115f\u3099\ue000\U0002a6d6\U0001f1f0"
)


def random_texts(number=4000, seed=7):
    """Texts of awkward characters, of pieces run together, and of any characters; the same ones everywhere."""
    draw = random.Random(seed).random
    pools = (AWKWARD, [*PIECES, " ", "를", "##", "[MASK]"], [chr(code) for code in range(0x20, 0xD800, 7)])
    for _ in range(number):
        pool = pools[int(draw() * len(pools))]
        yield "".join(pool[int(draw() * len(pool))] for _ in range(int(draw() * 40)))


def random_texts_digest(full_tokenizer_class, vocabulary_path):
    """One digest for each casing of a tokenizer's pieces of the random texts."""
    digests = {}
    for casing, do_lower_case in (("cased", False), ("uncased", True)):
        tokenizer = full_tokenizer_class(vocabulary_path, do_lower_case=do_lower_case)
        digest = hashlib.sha256()
        for text in random_texts():
            digest.update(json.dumps(tokenizer.tokenize(text)).encode())
        digests[casing] = digest.hexdigest()
    return digests


def main(checkout):
    original = load_original(checkout)
    vocabulary_path = os.path.join(HERE, "tokenization_vocab.txt")
    with open(vocabulary_path, "w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(f"{token}\n" for token in vocabulary())
    wordpiece = original.WordpieceTokenizer(original.load_vocab(vocabulary_path))
    golden = {
        "unicode": unicodedata.unidata_version,
        "full": [
            {
                "text": text,
                "uncased": original.FullTokenizer(vocabulary_path).tokenize(text),
                "cased": original.FullTokenizer(vocabulary_path, do_lower_case=False).tokenize(text),
            }
            for text in TEXTS
        ],
        "wordpiece": [{"text": text, "pieces": wordpiece.tokenize(text)} for text in WORDPIECE_TEXTS],
        "every_character": every_character_digest(original.BasicTokenizer),
        "random_texts": random_texts_digest(original.FullTokenizer, vocabulary_path),
    }
    with open(os.path.join(HERE, "tokenization.json"), "w", encoding="utf-8") as stream:
        json.dump(golden, stream, ensure_ascii=True, indent=1)
        stream.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
