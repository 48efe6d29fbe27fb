"""Masks filled by a model that was trained for a few steps, and the way a text with masks is cut."""

import numpy as np
import pytest
from samples import GOLDEN

from morphbert.cli.fill_mask import main
from morphbert.interop.fill_mask import MaskFiller
from morphbert.text.loading import load_tokenizer
from morphbert.text.special_tokens import encode_special
from morphbert.text.vocabulary import MASK

SENTENCE = "나는 [MASK]에 간다."


def pieces_with_masks(tokenizer, text):
    return encode_special(tokenizer, text).tokens


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A vocabulary folder learned with Mecab on the sample documents."""
    from morphbert.cli.build_vocab import main as build_vocab

    path = tmp_path_factory.mktemp("vocab") / "ko"
    text = f"{GOLDEN}/documents_ko.txt,{GOLDEN}/documents_ko_2.txt"
    assert (
        build_vocab([f"--input_file={text}", f"--vocab_dir={path}", "--vocab_size=1500", "--num_workers=1"])
        == 0
    )
    return path


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(str(GOLDEN / "vocab_ko.txt"), do_lower_case=False)


def test_a_mask_stands_for_a_word_and_what_follows_goes_on_with_it(folder):
    tokenizer = load_tokenizer(str(folder))
    pieces = pieces_with_masks(tokenizer, "우리는 [MASK]에서 책을 읽었다.")
    mask = pieces.index(MASK)
    assert pieces[mask + 1].startswith("##에")
    # All but the masked word is cut as in a sentence in which a word stands there.
    whole = tokenizer.tokenize("우리는 학교에서 책을 읽었다.")
    word = tokenizer.tokenize("학교")
    assert pieces[:mask] + word + pieces[mask + 1 :] == whole


def test_a_mask_alone_and_several_masks(folder):
    tokenizer = load_tokenizer(str(folder))
    assert pieces_with_masks(tokenizer, MASK) == [MASK]
    assert pieces_with_masks(tokenizer, f"{MASK} {MASK}{MASK}") == [MASK] * 3
    assert (
        pieces_with_masks(tokenizer, "뷁 [MASK]").count(MASK) == 1
    )  # the place holder stands in the text itself


def test_lower_casing_as_bert_does_it_keeps_the_mask():
    lower = load_tokenizer(str(GOLDEN / "vocab_en.txt"), do_lower_case=True)
    assert pieces_with_masks(lower, "The [MASK] is.").count(MASK) == 1


def test_probabilities_are_sorted_and_those_of_the_whole_vocabulary_sum_to_one(trained, tokenizer):
    filler = MaskFiller(str(trained), tokenizer)
    size = len(tokenizer.vocabulary)
    (filled,) = filler(SENTENCE, top_k=size)
    shares = np.array([share for _, share in filled.pieces])
    assert (np.diff(shares) <= 0).all()
    assert shares.sum() == pytest.approx(1.0, abs=1e-4)
    assert {piece for piece, _ in filled.pieces} == set(tokenizer.vocabulary.tokens)
    assert filler(SENTENCE)[0].pieces == filled.pieces[:5]


def test_the_command_shows_each_sentence_with_its_pieces(trained, capsys, monkeypatch, tmp_path):
    flags = [
        f"--checkpoint={trained}/model.ckpt-3",
        f"--vocab_file={GOLDEN}/vocab_ko.txt",
        "--do_lower_case=false",
    ]
    assert main([*flags, f"--text={SENTENCE}", "--top_k=3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == SENTENCE
    assert lines[1].startswith("  [MASK]: ")
    assert lines[1].count("%") == 3

    (tmp_path / "sentences").write_text(f"{SENTENCE}\n\n오늘은 [MASK]가 좋다.\n", encoding="utf-8")
    with open(tmp_path / "sentences", encoding="utf-8") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert main(flags) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text": "마스크가 없는 문장"}, ["[MASK]", "마스크가 없는 문장"]),
        ({"text": "가 " * 100 + MASK}, ["pieces", "64", "shorten"]),
        ({"checkpoint": "nowhere"}, ["nowhere", "no checkpoint"]),
        ({"vocab_file": str(GOLDEN / "vocab_en.txt")}, ["pieces", "trained with"]),
        ({"vocab_file": "nowhere.txt"}, ["nowhere.txt"]),
    ],
)
def test_bad_input_is_refused_with_the_remedy(changes, words, trained, capsys):
    flags = {
        "checkpoint": trained,
        "vocab_file": GOLDEN / "vocab_ko.txt",
        "do_lower_case": "false",
        "text": SENTENCE,
    }
    assert main([f"--{name}={value}" for name, value in {**flags, **changes}.items()]) == 1
    message = capsys.readouterr().err
    assert all(word in message for word in words), message


def test_a_mask_among_jamo_keeps_its_place(tmp_path):
    """[MASK] and its neighbours stand for their own characters, below the syllable too."""
    from morphbert.cli.build_vocab import main as build_vocab

    flags = [f"--input_file={GOLDEN}/documents_ko.txt", "--num_workers=1", "--vocab_size=500"]
    assert build_vocab([*flags, "--normalization=jamo", f"--vocab_dir={tmp_path}/v"]) == 0
    tokenizer = load_tokenizer(str(tmp_path / "v"))
    encoding = encode_special(tokenizer, SENTENCE)
    index = encoding.tokens.index(MASK)
    assert encoding.offsets[index] == (3, 9)
    assert encoding.offsets[index + 1][0] == 9
    assert [encoding.word_ids[i] for i in (index - 1, index, index + 1)] == [0, 1, 1]
    spelled = "".join(token.removeprefix("##") for token in encoding.tokens[:index])
    assert spelled == "\u1102\u1161\u1102\u1173\u11ab"  # 나는
