"""Text that breaks other programs, through the commands: a vocabulary is learned from it and records are made of it."""

import unicodedata

import pytest

from morphbert.cli.build_vocab import main as build_vocab
from morphbert.cli.create_pretraining_data import main as create
from morphbert.data.example_message import parse_example
from morphbert.data.records import read_records
from morphbert.text.loading import load_tokenizer

SENTENCE = "사과나무를 심었습니다. "


def hostile_lines(size):
    """Every kind in lines of its own; the long ones have about `size` characters."""
    return [
        "가\0나 다\0",
        "ㅎㅏㄴ \u1112 \u1161\u11ab 각\u11a8",
        unicodedata.normalize("NFD", "한국어를 조합형으로 적었다."),
        "👨‍👩‍👧‍👦 가족 ❤️‍🔥",
        "\u202e거꾸로\u202c \u200f글\u200e",
        "\ufeff처음에 BOM",
        "가\u2028나\u2029다\u0085라\x0b마\x0c바",
        "전각\u3000공백\u00a0과 좁은\u202f공백",
        "\ue000 사용자 영역, \ufffd 대체 문자",
        "[MASK] [UNK] [SEP] ##나",
        "",
        SENTENCE * (size // len(SENTENCE)),
        "a" * size,
        "!" * size,
        "가" * size,
        "😀" * (size // 4),
        "\u0301" * (size // 4),
        "앞" + " " * (size // 10) + "뒤",
        SENTENCE * 3,
    ]


@pytest.mark.parametrize("analyzer", ["mecab", "none"])
@pytest.mark.parametrize("size", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_vocabulary_and_records_of_hostile_text(tmp_path, analyzer, size):
    lines = hostile_lines(size)
    corpus, folder, output = tmp_path / "c.txt", tmp_path / "v", tmp_path / "r.tfrecord"
    corpus.write_bytes("\n".join(lines).encode())
    flags = [f"--input_file={corpus}", "--num_workers=1"]
    learning = ["--vocab_size=400", f"--analyzer={analyzer}", "--held_out_share=0"]
    assert build_vocab([*flags, *learning, f"--vocab_dir={folder}"]) == 0
    tokenizer = load_tokenizer(str(folder))
    making = ["--dupe_factor=1", "--short_seq_prob=0", "--max_seq_length=128", "--max_predictions_per_seq=20"]
    assert create([*flags, *making, f"--vocab_file={folder}", f"--output_file={output}"]) == 0
    # Nothing is lost on the way: each text's most frequent pieces are in the records as often as in the text.
    found = dict.fromkeys("a!가" if analyzer == "mecab" else "!", 0)  # BERT's limit makes long words [UNK]
    with open(output, "rb") as stream:
        for record in map(parse_example, read_records(stream)):
            ids = list(record["input_ids"])
            masked = zip(
                record["masked_lm_positions"],
                record["masked_lm_ids"],
                record["masked_lm_weights"],
                strict=True,
            )
            for position, label, weight in masked:
                if weight:
                    ids[position] = label
            for token in tokenizer.convert_ids_to_tokens(ids):
                for char in found:
                    found[char] += token.count(char)
    for char, times in found.items():
        assert times >= 0.98 * sum(line.count(char) for line in lines)


def test_an_encoded_surrogate_is_named_with_its_line(tmp_path, capsys):
    corpus = tmp_path / "c.txt"
    corpus.write_bytes("가나다\n".encode() + "나\ud800".encode("utf-8", "surrogatepass"))
    assert build_vocab([f"--input_file={corpus}", f"--vocab_dir={tmp_path / 'v'}", "--num_workers=1"]) == 1
    assert "c.txt, line 2: not UTF-8" in capsys.readouterr().err
