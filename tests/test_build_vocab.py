"""build_vocab.py: exact sizes, no [UNK] on its own text, same bytes, refusals."""

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from processes import run_process

from morphbert.cli.build_vocab import main
from morphbert.text.loading import load_tokenizer
from morphbert.text.metadata import METADATA_NAME
from morphbert.text.normalize import Normalizer
from morphbert.text.vocabulary import SPECIAL_TOKENS
from morphbert.text.vocabulary_file import load_vocabulary
from morphbert.text.words import WordSplitter
from morphbert.vocab.counting import count_characters, count_words, word_characters
from morphbert.vocab.learning import Candidates, assemble, choose_alphabet, learn_bpe

SENTENCES = [
    "사과나무를 심었습니다.",
    "나는 어제 친구와 함께 영화를 봤다. 정말 재미있었다!",
    "BERT(버트)는 2018년에 구글이 공개한 언어 모델이다.",
    "대한민국(大韓民國)의 수도는 서울特別市이다.",
    "ㅋㅋㅋㅋ 진짜?? 아니... 그게 말이 되냐ㅠㅠ",
    "모든 국민은 인간으로서의 존엄과 가치를 가지며, 행복을 추구할 권리를 가진다.",
    "대한민국의 주권은 국민에게 있고, 모든 권력은 국민으로부터 나온다.",
    "학교에서 배운 것을 집에서 다시 읽었고, 친구에게도 설명해 주었다.",
    "▁▅ 블록 문자와 👍 이모지, U+2028\u2028도 있다.",
]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    numbered = [f"{sentence} {number}번째 문장이었다." for number in range(40) for sentence in SENTENCES]
    path.write_text("\n".join(numbered) + "\n\n", encoding="utf-8")
    return path


def build(corpus, folder, *flags):
    return main([f"--input_file={corpus}", f"--vocab_dir={folder}", "--num_workers=1", *flags])


@pytest.mark.parametrize("analyzer", ["mecab", "none"])
@pytest.mark.parametrize("continuation", ["eojeol", "morpheme"])
def test_exact_size_and_no_unknown_on_its_own_text(corpus, tmp_path, capsys, analyzer, continuation):
    folder = tmp_path / "vocab"
    assert (
        build(corpus, folder, "--vocab_size=500", f"--analyzer={analyzer}", f"--continuation={continuation}")
        == 0
    )
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(set(lines)) == 500
    assert tuple(lines[:5]) == SPECIAL_TOKENS
    load_vocabulary(str(folder / "vocab.txt")).check_for_pretraining("vocab.txt")
    tokenizer = load_tokenizer(str(folder))
    for line in corpus.read_text(encoding="utf-8").splitlines():
        assert "[UNK]" not in tokenizer.tokenize(line)
    assert "360 lines" in capsys.readouterr().out


def test_morphemes_are_joined_by_the_sign_of_the_convention(corpus, tmp_path):
    build(corpus, tmp_path / "e", "--vocab_size=600")
    build(corpus, tmp_path / "m", "--vocab_size=600", "--continuation=morpheme")
    assert load_tokenizer(str(tmp_path / "e")).tokenize("국민은") == ["국민", "##은"]
    assert load_tokenizer(str(tmp_path / "m")).tokenize("국민은") == ["국민", "은"]


def test_same_bytes_for_any_number_of_workers_and_compression(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("morphbert.vocab.counting._BLOCK_CHARACTERS", 2_000)
    packed = tmp_path / "corpus.txt.gz"
    packed.write_bytes(gzip.compress(corpus.read_bytes()))
    build(corpus, tmp_path / "a", "--vocab_size=500")
    build(packed, tmp_path / "b", "--vocab_size=500", "--num_workers=3")
    for name in ("vocab.txt", METADATA_NAME, "report.md", "report.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_many_runs_are_merged_to_the_same_counts(corpus, monkeypatch):
    splitter = WordSplitter(Normalizer("nfc"))
    whole = count_words([str(corpus)], splitter, 1, 0.1)
    monkeypatch.setattr("morphbert.vocab.counting._BLOCK_CHARACTERS", 100)
    monkeypatch.setattr("morphbert.vocab.counting._OPEN_RUNS", 3)
    assert count_words([str(corpus)], splitter, 1, 0.1) == whole
    assert whole.held_out
    held_out = set(whole.held_out)
    expected = {}
    for line in corpus.read_text(encoding="utf-8").split("\n"):
        if line not in held_out:
            for eojeol in splitter.marked_eojeols(splitter.normalizer(line)):
                for word in splitter.words(eojeol):
                    expected[word.text] = expected.get(word.text, 0) + 1
    assert dict(whole.words) == expected


def test_too_many_words_lose_the_rarest(corpus, monkeypatch):
    splitter = WordSplitter(Normalizer("nfc"))
    whole = count_words([str(corpus)], splitter, 1, 0.0)
    monkeypatch.setattr("morphbert.vocab.counting._MOST_WORDS", 30)
    part = count_words([str(corpus)], splitter, 1, 0.0)
    assert 0 < len(part.words) <= 30
    assert part.dropped_words == len(whole.words) - len(part.words)
    kept = dict(part.words)
    assert min(kept.values()) > max(count for word, count in whole.words if word not in kept)
    assert part.characters == whole.characters


def test_characters_of_words():
    assert list(word_characters("사과")) == ["사", "##과"]
    assert list(word_characters("##를")) == ["##를"]
    assert list(word_characters("#")) == ["#"]


def test_alphabet_by_count_and_coverage():
    characters = Counter({"가": 90, "##나": 7, "다": 2, "##라": 1})
    assert choose_alphabet(characters) == ["가", "##나", "다", "##라"]
    assert choose_alphabet(characters, min_count=2) == ["가", "##나", "다"]
    assert choose_alphabet(characters, coverage=0.97) == ["가", "##나"]


def test_bpe_learns_frequent_words_apart_from_continuations():
    words = [("##를", 30), ("##사과", 3), ("나무", 20), ("사과", 10)]
    alphabet = ["##를", "##사", "##과", "나", "##무", "사"]
    learned = learn_bpe(words, alphabet, 10)
    assert learned.index("나무") < learned.index("사과")
    assert "##사과" in learned
    pieces = assemble(Candidates(Counter(), alphabet, learned), 16)
    assert len(pieces.tokens) == 16
    assert pieces.tokens[11:14] == ("나무", "##사과", "사과")  # 사 and 과 are joined 13 times
    assert pieces.tokens[14:] == ("##나무", "[unused0]")


@pytest.mark.parametrize("learner", ["bpe", "unigram", "wordpiece", "char"])
def test_every_learner_gives_the_exact_size_the_same_bytes_and_no_unknown(corpus, tmp_path, learner):
    if learner == "wordpiece":
        pytest.importorskip("tensorflow_text", reason="tensorflow-text is not installed")
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        assert build(corpus, folder, "--vocab_size=400", f"--learner={learner}") == 0
    first, second = ((folder / "vocab.txt").read_bytes() for folder in folders)
    assert first == second
    tokens = first.decode().split("\n")[:-1]
    assert len(set(tokens)) == len(tokens) == 400
    tokenizer = load_tokenizer(str(folders[0]))
    pieces = [tokenizer.tokenize(line) for line in SENTENCES]
    assert not any("[UNK]" in tokens for tokens in pieces)
    longest = max(len(token.removeprefix("##")) for tokens in pieces for token in tokens)
    assert (longest == 1) == (learner == "char")
    if learner in ("bpe", "wordpiece"):  # unigram wants a piece in two different words
        assert "대한민국" in tokens
        assert "##었" in tokens


def test_characters_alone_are_the_most_frequent_that_have_room(corpus, tmp_path, capsys):
    folder = tmp_path / "v"
    flags = ["--learner=char", "--vocab_size=65", "--analyzer=none", "--held_out_share=0"]
    assert build(corpus, folder, *flags) == 0
    assert "warning" not in capsys.readouterr().err  # as asked for: characters leave no room for words
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert len(tokens) == 65
    tokenizer = load_tokenizer(str(folder))
    counts = count_characters(corpus.read_text(encoding="utf-8").splitlines(), tokenizer.splitter)
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    assert tokens[5:] == ranked[:60]
    assert len(ranked) > 60
    assert "[UNK]" in tokenizer.tokenize(" ".join(SENTENCES))


def test_further_special_tokens_and_reserved_slots(corpus, tmp_path, capsys):
    assert (
        build(corpus, tmp_path / "v", "--vocab_size=500", "--special_tokens=[USER],[URL]", "--unused_slots=3")
        == 0
    )
    tokens = load_vocabulary(str(tmp_path / "v" / "vocab.txt")).tokens
    assert tokens[5:10] == ("[USER]", "[URL]", "[unused0]", "[unused1]", "[unused2]")
    assert len(set(tokens)) == len(tokens) == 500
    for wrong in ("USER", "[A],[A]", "[MASK]", "[A B]"):
        assert build(corpus, tmp_path / "w", f"--special_tokens={wrong}") == 1
        assert "square brackets" in capsys.readouterr().err


def test_a_short_text_is_filled_up_with_a_warning(tmp_path, capsys):
    (tmp_path / "short.txt").write_text("사과나무를 심었습니다.\n", encoding="utf-8")
    assert build(tmp_path / "short.txt", tmp_path / "v", "--vocab_size=100") == 0
    tokens = load_vocabulary(str(tmp_path / "v" / "vocab.txt")).tokens
    assert len(tokens) == 100
    assert tokens[-1].startswith("[unused")
    assert "[unused0]" in tokens
    assert "warning: the text has only" in capsys.readouterr().err


def test_the_smallest_size_is_named_and_works(corpus, tmp_path, capsys):
    assert build(corpus, tmp_path / "v", "--vocab_size=50") == 1
    message = capsys.readouterr().err
    least = int(message.split("Give --vocab_size=")[1].split()[0])
    assert f"--vocab_size={least}" in message
    assert not (tmp_path / "v" / "vocab.txt").exists()
    assert build(corpus, tmp_path / "v", f"--vocab_size={least}") == 0
    assert build(corpus, tmp_path / "v", f"--vocab_size={least - 1}") == 1
    assert build(corpus, tmp_path / "v", f"--vocab_size={least - 1}", "--character_coverage=0.99") == 0


def test_held_out_characters_are_in_the_vocabulary_and_unknown_in_the_figures(tmp_path):
    lines = [f"{sentence} {chr(0xB000 + number)}" for number, sentence in enumerate(SENTENCES * 20)]
    (tmp_path / "c.txt").write_text("\n".join(lines), encoding="utf-8")
    build(tmp_path / "c.txt", tmp_path / "v", "--vocab_size=900", "--held_out_share=0.3")
    tokenizer = load_tokenizer(str(tmp_path / "v"))
    assert not any("[UNK]" in tokenizer.tokenize(line) for line in lines)
    report = (tmp_path / "v" / "report.md").read_text(encoding="utf-8")
    shares = [line for line in report.split("\n") if "eojeols with [UNK]" in line]
    assert float(shares[0].split("|")[2].strip(" %")) > 1


def test_lower_case_and_normalization(corpus, tmp_path, capsys):
    build(corpus, tmp_path / "lower", "--vocab_size=600", "--do_lower_case")
    tokenizer = load_tokenizer(str(tmp_path / "lower"))
    assert tokenizer.tokenize("BERT") == tokenizer.tokenize("bert")
    assert "국민" in tokenizer.vocab  # not taken apart
    build(corpus, tmp_path / "bert", "--vocab_size=600", "--analyzer=none")
    metadata = json.loads((tmp_path / "bert" / METADATA_NAME).read_text(encoding="utf-8"))
    assert metadata["normalization"] == "bert"
    assert build(corpus, tmp_path / "no", "--normalization=bert") == 1
    assert "--analyzer=mecab" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--input_file=none*.txt"], 1, "no file matches"),
        (["--vocab_size=5"], 2, "vocab_size"),
        (["--analyzer=khaiii"], 2, "mecab"),
        (["--character_coverage=1.5"], 2, "character_coverage"),
        (["--character_coverage=0"], 2, "0.9995"),
        (["--held_out_share=-1"], 2, "held_out_share"),
        (["--num_workers=-1"], 2, "num_workers"),
        (["--vocabsize=9"], 2, "vocab_size"),
    ],
)
def test_bad_flags(corpus, tmp_path, capsys, flags, status, message):
    assert build(corpus, tmp_path / "v", *flags) == status
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_bad_input(tmp_path, capsys):
    cases = {
        "empty.txt": (b"\n \n", "no text"),
        "cp949.txt": ("가나다\n".encode() + "한국어".encode("cp949"), "line 2: not UTF-8"),
        "cut.gz": (gzip.compress("가나다\n".encode() * 100)[:-20], "cut.gz"),
        "not.gz": (b"plain text", "not.gz"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        assert build(tmp_path / name, tmp_path / "v") == 1, name
        assert message in capsys.readouterr().err
        assert not (tmp_path / "v").exists()  # nothing is left behind, no empty folder either
    (tmp_path / "file").write_text("")
    assert build(tmp_path / "empty.txt", tmp_path / "file") == 1
    assert "--vocab_dir" in capsys.readouterr().err
    assert build(tmp_path / "empty.txt", tmp_path / "file" / "v") == 1
    assert "is not a folder" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo terminals")
def test_learning_shows_its_time_on_a_terminal_alone(corpus, tmp_path):
    import fcntl
    import pty
    import struct
    import termios

    script = Path(__file__).parent.parent / "build_vocab.py"
    shown, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 120, 0, 0))
    command = [sys.executable, script, f"--input_file={corpus}", "--vocab_size=400", "--analyzer=none"]
    done = subprocess.run([*command, f"--vocab_dir={tmp_path / 'v'}"], stderr=terminal, timeout=60)
    os.close(terminal)
    with open(shown, "rb", buffering=0) as stream:
        assert b"Learning pieces (bpe, " in stream.read(1 << 16)
    assert done.returncode == 0
    quiet = subprocess.run([*command, f"--vocab_dir={tmp_path / 'w'}"], capture_output=True, timeout=60)
    assert quiet.stderr == b""


def test_the_script_runs(corpus, tmp_path):
    script = Path(__file__).parent.parent / "build_vocab.py"
    done = run_process(
        [
            sys.executable,
            script,
            f"--input_file={corpus}",
            f"--vocab_dir={tmp_path / 'v'}",
            "--vocab_size=400",
        ],
        check=True,
    )
    assert done.stdout.startswith("Vocabulary: read 360 lines")
    assert "tensorflow" not in done.stderr.lower()
