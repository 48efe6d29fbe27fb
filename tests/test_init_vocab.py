"""--init_vocab: old pieces keep their ids, new ones fill [unusedN] and follow behind."""

import json
from collections import Counter

import pytest
from samples import GOLDEN, learn_vocabulary

from morphbert.cli.build_vocab import main
from morphbert.errors import MorphbertError
from morphbert.text.loading import load_tokenizer
from morphbert.text.vocabulary import SPECIAL_TOKENS
from morphbert.text.vocabulary_file import load_vocabulary
from morphbert.vocab.learning import Candidates, extend

DOMAIN = "환자는 갑상선기능저하증으로 내원하였다. 갑상선 초음파에서 결절이 관찰되었다. 뷁!"


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old") / "v"
    return learn_vocabulary(folder, GOLDEN / "documents_ko.txt", 700, "--unused_slots=20")


@pytest.fixture(scope="module")
def domain(tmp_path_factory):
    path = tmp_path_factory.mktemp("domain") / "c.txt"
    path.write_text(f"{DOMAIN}\n" * 20, encoding="utf-8")
    return path


def extended(old, domain, folder, *flags):
    return main(
        [f"--init_vocab={old}", f"--input_file={domain}", f"--vocab_dir={folder}", "--num_workers=1", *flags]
    )


@pytest.mark.parametrize("kind", ["folder", "file"])
@pytest.mark.parametrize("size", [700, 760])
def test_old_pieces_keep_their_ids(old, domain, tmp_path, kind, size):
    given = old if kind == "folder" else old / "vocab.txt"
    flags = [f"--vocab_size={size}", "--special_tokens=[DRUG]"]
    before = load_vocabulary(str(old / "vocab.txt"))
    slots = [token for token in before.tokens if token.startswith("[unused")]
    if size == 700:
        flags.append("--min_character_count=21")  # no room for all characters in the slots
    assert extended(given, domain, tmp_path / "v", *flags) == 0
    after = load_vocabulary(str(tmp_path / "v" / "vocab.txt"))
    after.check_for_pretraining("v")
    assert len(after) == size
    for token, number in before.ids.items():
        assert after.tokens[number] == token or token in slots
    tokenizer = load_tokenizer(str(tmp_path / "v"))
    metadata = json.loads((tmp_path / "v" / "morphbert_tokenizer.json").read_text(encoding="utf-8"))
    said = metadata["init_vocab"]
    assert (said["size"], said["sha256"]) == (700, before.sha256)
    new = set(after.tokens) - set(before.tokens)
    assert said["filled_unused"] + said["appended"] == len(new - {t for t in new if t.startswith("[unused")})
    assert len(said["new_pieces"]) == said["filled_unused"] + said["appended"] > 0
    for piece in said["new_pieces"]:
        assert after.tokens[piece["id"]] == piece["new"] not in before.ids
        assert piece["old"] == (before.tokens[piece["id"]] if piece["id"] < 700 else None)
    assert "[DRUG]" in new
    if size == 760:
        assert "[UNK]" not in tokenizer.tokenize(DOMAIN)
        assert "갑상선" in new
        assert "뷁" in new


def test_the_order_of_filling():
    old = [*SPECIAL_TOKENS, "[unused0]", "가", "[unused7]"]
    made = extend(
        old, Candidates(Counter({"나": 3, "가": 2}), ["나", "가"], ["가나", "나가"]), 10, ["[X]"], ()
    )
    assert made.tokens == (*SPECIAL_TOKENS, "[X]", "가", "나", "가나", "나가")
    assert (made.filled, made.appended, made.unused) == (2, 2, 0)
    assert made.new == ((5, "[unused0]", "[X]"), (7, "[unused7]", "나"), (8, None, "가나"), (9, None, "나가"))
    more = extend(old, Candidates(Counter(), [], []), 10, (), ())
    assert more.tokens[5:] == ("[unused0]", "가", "[unused7]", "[unused1]", "[unused2]")
    assert more.unused == 4


def test_a_special_token_that_is_spelled_as_an_unused_line_stays_the_only_one(old, domain, tmp_path):
    """As in a folder of transformers whose mask has one of the spare lines."""
    folder = tmp_path / "v"
    folder.mkdir()
    tokens = [token for token in load_vocabulary(str(old / "vocab.txt")).tokens if "unused" not in token]
    tokens[4] = "[unused1]"
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": False,
        "mask_token": "[unused1]",
        **names,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert extended(folder, domain, tmp_path / "w", "--vocab_size=1000") == 0
    lines = (tmp_path / "w" / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert [number for number, line in enumerate(lines) if line == "[unused1]"] == [4]
    assert lines[-1].startswith("[unused")


def test_same_bytes_again(old, domain, tmp_path):
    for name in ("a", "b"):
        assert extended(old, domain, tmp_path / name, "--vocab_size=760") == 0
    for file in ("vocab.txt", "morphbert_tokenizer.json", "report.md", "report.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--vocab_size=600"], "--vocab_size=700 or more"),
        (["--vocab_size=760", "--analyzer=none"], "analyzer"),
        (["--vocab_size=760", "--continuation=morpheme"], "continuation"),
        (["--vocab_size=760", "--do_lower_case"], "do_lower_case"),
        (["--vocab_size=760", "--unused_slots=3"], "--unused_slots"),
    ],
)
def test_what_does_not_fit_together(old, domain, tmp_path, capsys, flags, message):
    assert extended(old, domain, tmp_path / "v", *flags) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "v" / "vocab.txt").exists()


def test_too_small_for_the_characters():
    candidates = Candidates(Counter("가나다"), ["가", "나", "다"], [])
    with pytest.raises(MorphbertError, match="--vocab_size=8 or more"):
        extend([*SPECIAL_TOKENS, "[unused0]"], candidates, 6, (), ())
    made = extend([*SPECIAL_TOKENS, "[unused0]"], candidates, 8, (), ())
    assert len(made.tokens) == 8
