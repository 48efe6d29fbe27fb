"""Minimal pairs: what each rule makes of small sentences, what it leaves alone, and the file that holds them."""

import json

import pytest
from samples import GOLDEN, MECAB_VOCABULARY

from morphbert.cli.evaluate_grammar import main
from morphbert.errors import MorphbertError
from morphbert.grammar.cutting import Cut, Cutter, Side
from morphbert.grammar.making import GrammarPairsConfig, make_grammar_pairs
from morphbert.grammar.pairs import MinimalPair, read_pairs
from morphbert.grammar.phenomena import PHENOMENA
from morphbert.grammar.results import GrammarResult, Tally, tally
from morphbert.grammar.sentence import analyze
from morphbert.grammar.syllables import final_of, with_ending, with_final
from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.loading import load_tokenizer

# A phenomenon, a sentence, and all wrong sentences that its rule makes of it, before Mecab looks at them.
MADE = [
    ("topic", "그 학생은 어제 학교에 갔다.", ["그 학생는 어제 학교에 갔다."]),
    ("topic", "영화는 정말 재미있었다.", ["영화은 정말 재미있었다."]),
    ("subject", "어제 비가 많이 왔다.", ["어제 비이 많이 왔다."]),
    ("subject", "우리 동생이 책을 읽었다.", ["우리 동생가 책을 읽었다."]),
    ("object", "나는 책을 읽고 영화를 봤다.", ["나는 책를 읽고 영화를 봤다.", "나는 책을 읽고 영화을 봤다."]),
    ("and", "친구와 함께 밥과 반찬을 먹었다.", ["친구과 함께 밥과 반찬을 먹었다.", "친구와 함께 밥와 반찬을 먹었다."]),
    ("direction", "우리는 집으로 갔다.", ["우리는 집로 갔다."]),
    ("direction", "기차를 타고 서울로 갔다.", ["기차를 타고 서울으로 갔다."]),
    ("direction", "학생들은 학교로 돌아갔다.", ["학생들은 학교으로 돌아갔다."]),
    ("case", "이 나라에는 문제가 많습니다.", ["이 나라에는 문제를 많습니다."]),
    ("case", "그것은 큰 도움이 된다.", ["그것은 큰 도움을 된다."]),
    ("case", "이것은 내 잘못이 아닙니다.", ["이것은 내 잘못을 아닙니다."]),
    ("case", "철수가 사과를 먹었다.", ["철수가 사과가 먹었다."]),
    ("particle_order", "도서관에서는 조용히 해야 한다.", ["도서관는에서 조용히 해야 한다."]),
    ("particle_order", "동생에게도 선물을 주었다.", ["동생도에게 선물을 주었다."]),
    ("ending_order", "나무를 심었습니다.", ["나무를 심습니다었."]),
    ("ending_order", "내일은 꼭 먹겠다고 했다.", ["내일은 꼭 먹다고겠 했다."]),
    ("honorific_agreement", "선생님께서 책을 보신다.", ["선생님께서 책을 본다."]),
    ("honorific_agreement", "할머니께서 편지를 보내셨습니다.", ["할머니께서 편지를 보냈습니다."]),
    ("honorific_agreement", "대통령님께서 살펴 주시기 바랍니다.", ["대통령님께서 살펴 주기 바랍니다."]),
    ("honorific_agreement", "어머니께서 집에 계십니다.", ["어머니께서 집에 있습니다."]),
    ("honorific_self", "제가 다시 확인하겠습니다.", ["제가 다시 확인하시겠습니다."]),
    ("honorific_self", "저는 이 책을 추천합니다.", ["저는 이 책을 추천하십니다."]),
    ("tense", "어제 친구를 만났다.", ["내일 친구를 만났다."]),
    ("tense", "작년에 그 영화를 봤는데 좋았다.", ["내년에 그 영화를 봤는데 좋았다."]),
    ("tense", "내일 다시 오겠습니다.", ["어제 다시 오겠습니다."]),
    ("tense", "내일은 비가 올 것이다.", ["어제는 비가 올 것이다."]),
    ("negative_polarity", "교실에 아무도 없었다.", ["교실에 아무도 있었다."]),
    ("negative_polarity", "기다릴 수밖에 없습니다.", ["기다릴 수밖에 있습니다."]),
    ("negative_polarity", "그는 전혀 움직이지 않았다.", ["그는 전혀 움직이고 있었다."]),
    ("negative_polarity", "아무도 그를 이해하지 못했다.", ["아무도 그를 이해하고 있었다."]),
    ("negative_polarity", "아무도 안 왔다.", ["아무도 잘 왔다."]),
    ("negative_adverb", "이 영화는 안 무섭다.", ["이 영화는 못 무섭다."]),
    ("negative_spelling", "나는 학교에 안 간다.", ["나는 학교에 않 간다."]),
    ("negative_spelling", "그 말은 믿지 않는다.", ["그 말은 믿지 안는다."]),
]  # fmt: skip

# Sentences that a rule has to leave alone, because what it would make of them is right, too, or the place is another.
LEFT = [
    ("topic", "책를 읽은 사람은만 안다."),  # 은 is followed by another particle
    ("object", "어제 영화을 봤다."),  # wrong already
    ("object", "PDF를 보냈다."),  # no Hangul before it
    ("case", "나는 그 책이 읽고 싶다."),  # 책을 읽고 싶다 is right
    ("case", "그가 경기를 시작했다."),  # 경기가 시작했다
    ("case", "그 사람이 좋다고 생각했다."),  # 그 사람을 좋다고 생각했다
    ("particle_order", "이것으로만 충분하다."),  # 이것만으로
    ("honorific_agreement", "선생님께서 아이가 가는 것을 보셨고 좋아하셨다."),
    ("honorific_self", "제가 말하면 선생님이 하겠습니다."),
    ("tense", "어제 영화를 봤으면 좋았다."),  # 내일 봤으면
    ("tense", "어제까지 영화를 봤다."),
    ("negative_polarity", "이것은 전혀 다른 문제가 아니다."),
    ("negative_polarity", "그는 아무도 믿지 않았고 말하지 않았다."),  # one negation is left
    ("negative_polarity", "별로였던 그 팀보다 못했다."),  # 별로 is the predicate
    ("negative_polarity", "영화가 별로 좋아 보이고 다시 없을 영화다."),  # the negation is in another clause
    ("honorific_agreement", "선생님께서 쓰신 책을 읽었다."),  # 선생님께서 쓴 책 is heard as well
    ("honorific_self", "나는 그것을 알았다."),  # 아셨다
    ("negative_adverb", "키가 안 크다."),  # 못 큰다
    ("negative_adverb", "나는 안 갔다."),
    ("negative_adverb", "나는 그 배우를 별로 안 좋아해요."),  # 못 좋아해요
]

SENTENCES = """그 학생은 어제 학교에서 책을 읽었습니다.
어제 친구와 함께 영화를 봤는데 정말 재미있었다.
교실에 아무도 없었다.

이 나라에는 문제가 많습니다.
그 학생은 어제 학교에서 책을 읽었습니다.
제가 다시 확인하겠습니다. 동생에게도 선물을 주었다.
ㅋㅋㅋ 이 영화는 정말 최고였다
short
"""


@pytest.fixture(scope="module")
def analyzer():
    return MecabAnalyzer()


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(str(MECAB_VOCABULARY))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "held_out.txt"
    path.write_text(SENTENCES, encoding="utf-8")
    return path


def wrong_sentences(phenomenon, text, analyzer):
    changes = PHENOMENA[phenomenon].rule(analyze(text, analyzer))
    return [text[: change.start] + change.new + text[change.end :] for change in changes]


def make(text, path, **options):
    return make_grammar_pairs(
        GrammarPairsConfig(input_file=str(text), grammar_file=str(path), num_workers=1, **options)
    )


@pytest.mark.parametrize(("phenomenon", "good", "bad"), MADE, ids=[f"{one[0]}: {one[1]}" for one in MADE])
def test_a_rule_makes_the_wrong_sentences(phenomenon, good, bad, analyzer):
    assert wrong_sentences(phenomenon, good, analyzer) == bad


@pytest.mark.parametrize(("phenomenon", "text"), LEFT, ids=[f"{one[0]}: {one[1]}" for one in LEFT])
def test_a_rule_leaves_other_sentences_alone(phenomenon, text, analyzer):
    assert wrong_sentences(phenomenon, text, analyzer) == []


def test_every_phenomenon_has_an_expectation():
    assert {name for name, one in PHENOMENA.items() if not one.masks_noun} == {name for name, *_ in MADE}


def test_what_is_another_word_in_the_wrong_sentence_is_no_pair(tmp_path):
    """나는 → 나은 is another word (better), and 국이 → 국가 is the nation."""
    path = tmp_path / "text.txt"
    path.write_text("나는 학교에 갔다.\n따뜻한 국이 맛있게 끓었다.\n", encoding="utf-8")
    make(path, tmp_path / "pairs.jsonl")
    pairs = read_pairs(str(tmp_path / "pairs.jsonl"))
    assert not [pair for pair in pairs if pair.phenomenon in ("topic", "subject") and "나은" in pair.bad]
    assert not [pair for pair in pairs if "국가" in pair.bad]


def test_finals_and_endings_of_syllables():
    assert [final_of(char) for char in "가각값A"] == ["", "ㄱ", "ㅄ", ""]
    assert with_final("하", "ㅂ") == "합"
    assert with_final("합", "") == "하"
    endings = [with_ending(char, "ㅆ") for char in "하주오가보되리내쓰"]
    assert endings == ["했", "줬", "왔", "갔", "봤", "됐", "렸", "냈", None]


def test_pairs_have_their_places_and_their_source(text, tmp_path):
    made = make(text, tmp_path / "pairs.jsonl")
    pairs = read_pairs(str(tmp_path / "pairs.jsonl"))
    assert len(pairs) == made.total == len({(pair.phenomenon, pair.good, pair.bad) for pair in pairs})
    lines = SENTENCES.splitlines()
    for pair in pairs:
        (start, end), (bad_start, bad_end) = pair.good_span, pair.bad_span
        assert pair.good[:start] == pair.bad[:bad_start]
        assert pair.good[end:] == pair.bad[bad_end:]
        assert pair.good[start:end] != pair.bad[bad_start:bad_end]
        path, _, number = pair.source.rpartition(":")
        assert path == str(text)
        assert pair.good in lines[int(number) - 1]
    assert (made.counts["tense"], made.counts["negative_polarity"], made.counts["honorific_self"]) == (
        2,
        1,
        1,
    )
    assert "최고" not in "".join(pair.good for pair in pairs)  # ㅋㅋㅋ


def test_the_masked_noun_stands_before_its_particle(text, tmp_path):
    make(text, tmp_path / "pairs.jsonl")
    pairs = [pair for pair in read_pairs(str(tmp_path / "pairs.jsonl")) if pair.noun_span]
    assert {pair.phenomenon for pair in pairs} >= {"topic_masked_noun", "object_masked_noun"}
    for pair in pairs:
        assert pair.phenomenon.endswith("_masked_noun")
        assert pair.noun_span[1] == pair.good_span[0]
        assert pair.good[slice(*pair.noun_span)] in ("학생", "책", "친구", "영화", "문제", "선물")


def test_the_same_bytes_whatever_the_number_of_processes(tmp_path):
    text = f"{GOLDEN / 'documents_ko.txt'},{GOLDEN / 'documents_ko_2.txt'}"
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for workers, path in enumerate(files, start=1):
        config = GrammarPairsConfig(input_file=text, grammar_file=str(path), num_workers=workers, max_pairs=5)
        made = make_grammar_pairs(config)
        assert max(made.counts.values()) == 5
    assert files[0].read_bytes() == files[1].read_bytes()
    other = tmp_path / "other.jsonl"
    make(text, other, max_pairs=5, seed=1)
    assert other.read_bytes() != files[0].read_bytes()


def test_a_cap_keeps_a_part_of_what_there_is_without(tmp_path):
    """What is kept does not depend on the order of the text either."""
    text = (GOLDEN / "documents_ko.txt").read_text(encoding="utf-8")
    turned = "\n\n".join(reversed(text.strip().split("\n\n")))
    pairs = []
    for name, content, most in (("all", text, 100_000), ("few", text, 3), ("turned", turned, 3)):
        (tmp_path / f"{name}.txt").write_text(content, encoding="utf-8")
        make(tmp_path / f"{name}.txt", tmp_path / f"{name}.jsonl", max_pairs=most)
        found = read_pairs(str(tmp_path / f"{name}.jsonl"))
        pairs.append([(pair.phenomenon, pair.good, pair.bad) for pair in found])
    assert set(pairs[1]) < set(pairs[0])
    assert pairs[1] == pairs[2]


def test_words_that_are_changed_in_the_same_way_have_a_cap(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(f"이번에도 영화는 {one} 좋았다.\n" for one in "가나다라마바사"), encoding="utf-8")
    assert make(path, tmp_path / "a.jsonl", max_pairs_per_word=2).counts["topic"] == 2
    assert make(path, tmp_path / "b.jsonl").counts["topic"] == 7


def test_tables_are_read_by_their_field(tmp_path):
    path = tmp_path / "posts.jsonl"
    path.write_text(json.dumps({"body": "교실에 아무도 없었다."}) + "\n", encoding="utf-8")
    out = tmp_path / "pairs.jsonl"
    assert (
        main([f"--input_file={path}", "--text_field=body", f"--grammar_file={out}", "--num_workers=1"]) == 0
    )
    assert read_pairs(str(out))[0].source == f"{path}:1"


def test_the_source_in_a_document_with_a_head_is_its_beginning(tmp_path):
    path, out = tmp_path / "wiki_00", tmp_path / "pairs.jsonl"
    text = '<doc id="1" title="교실">\n교실\n\n교실에는 책이 있다.\n교실에 아무도 없었다.\n</doc>\n'
    path.write_text(text, encoding="utf-8")
    make(path, out)
    assert {pair.source for pair in read_pairs(str(out))} == {f"{path}:1"}


def test_the_command_says_how_many_pairs_there_are(text, tmp_path, capsys):
    out = tmp_path / "pairs.jsonl"
    assert main([f"--input_file={text}", f"--grammar_file={out}", "--num_workers=1"]) == 0
    printed = capsys.readouterr().out
    assert f"wrote {len(read_pairs(str(out)))} pairs to {out}" in printed
    assert "negative_polarity" in printed


def test_text_without_pairs_leaves_the_earlier_file(tmp_path, capsys):
    text, out = tmp_path / "english.txt", tmp_path / "pairs.jsonl"
    text.write_text("An English sentence of some words.\n")
    out.write_text("earlier")
    assert main([f"--input_file={text}", f"--grammar_file={out}", "--num_workers=1"]) == 1
    assert "none of 1 sentences gives a pair" in capsys.readouterr().err
    assert out.read_text() == "earlier"


def test_output_over_the_input_is_refused(text, capsys):
    assert main([f"--input_file={text}", f"--grammar_file={text}"]) == 2
    assert "give another name" in capsys.readouterr().err
    assert text.read_text(encoding="utf-8") == SENTENCES


GOOD = {
    "phenomenon": "object",
    "good": "책을 읽다",
    "bad": "책를 읽다",
    "good_span": [1, 2],
    "bad_span": [1, 2],
}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: list where an object was expected"),
        (json.dumps({**GOOD, "bad": 3}), "'bad' must be text, but is 3"),
        (
            json.dumps({**GOOD, "good_span": [1, 9]}),
            "'good_span' must be two places in the sentence of 5 characters",
        ),
        (json.dumps({**GOOD, "bad_span": None}), "'bad_span' must be two places"),
        (json.dumps({**GOOD, "noun_span": [0, True]}), "'noun_span' must be two places"),
        (json.dumps({**GOOD, "bad": GOOD["good"]}), "the two sentences are the same"),
    ],
)
def test_a_line_that_is_no_pair_is_named(line, said, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(MorphbertError, match="line 2") as error:
        read_pairs(str(path))
    assert said in str(error.value)


def test_an_empty_file_of_pairs_is_refused(tmp_path):
    (tmp_path / "pairs.jsonl").write_text("\n")
    with pytest.raises(MorphbertError, match="is empty: make pairs"):
        read_pairs(str(tmp_path / "pairs.jsonl"))


PAIR = MinimalPair(
    "object", "어제 그 사람은 책을 읽고 잤다.", "어제 그 사람은 책를 읽고 잤다.", (10, 11), (10, 11)
)


def test_without_spaces_the_places_are_the_same_characters():
    unspaced = PAIR.without_spaces()
    assert unspaced.good == "어제그사람은책을읽고잤다."
    assert unspaced.good[slice(*unspaced.good_span)] == "을"
    assert unspaced.bad[slice(*unspaced.bad_span)] == "를"


def scored(side, tokenizer):
    return [tokenizer.inv_vocab[side.ids[place]] for place in side.positions]


def test_the_changed_words_and_those_around_are_scored(tokenizer):
    (cut,) = Cutter(tokenizer, 64, context_words=1)([PAIR])
    assert scored(cut.good, tokenizer) == tokenizer.tokenize("그 사람은 책을 읽고")[1:]
    assert scored(cut.bad, tokenizer) == tokenizer.tokenize("그 사람은 책를 읽고")[1:]
    (cut,) = Cutter(tokenizer, 64, context_words=0)([PAIR])
    assert scored(cut.good, tokenizer) == tokenizer.tokenize("책을")
    (cut,) = Cutter(tokenizer, 64, "all")([PAIR])
    assert scored(cut.good, tokenizer) == tokenizer.tokenize(PAIR.good)
    assert not cut.good.together
    assert list(cut.good.copies()) == [(place,) for place in cut.good.positions]


def test_without_spaces_the_same_characters_are_scored(tokenizer):
    (cut,) = Cutter(tokenizer, 64, context_words=0)([PAIR], spaces=False)
    whole = "".join(piece.removeprefix("##") for piece in scored(cut.good, tokenizer))
    assert "책을" in whole
    assert len(cut.good.ids) == len(tokenizer.tokenize(PAIR.good.replace(" ", ""))) + 2


def test_a_masked_noun_is_masked_as_a_whole(tokenizer):
    pair = MinimalPair(
        "topic_masked_noun", "사과나무는 크다", "사과나무은 크다", (4, 5), (4, 5), noun_span=(0, 4)
    )
    (cut,) = Cutter(tokenizer, 64)([pair])
    assert scored(cut.good, tokenizer) == scored(cut.bad, tokenizer) == tokenizer.tokenize("사과나무")
    assert list(cut.good.copies()) == [cut.good.positions]


def test_pairs_that_cannot_be_scored_have_a_reason(tokenizer):
    unknown = MinimalPair("case", "나는 𓀀 간다", "나는 𓀁 간다", (3, 4), (3, 4))
    beside = MinimalPair("case", "나는 𓀀이 간다", "나는 𓀁를 간다", (3, 5), (3, 5))
    cuts = Cutter(tokenizer, 64)([PAIR, unknown, beside])
    assert [cut.reason for cut in cuts] == [None, "same_pieces", "unknown_piece"]
    assert cuts[1].good is None
    assert Cutter(tokenizer, 8)([PAIR])[0].reason == "too_long"
    noun = MinimalPair("and_masked_noun", "사과와 배", "사과과 배", (2, 3), (2, 3), noun_span=(0, 3))
    assert Cutter(tokenizer, 64)([noun])[0].reason == "noun_cut_differently"


def test_ties_are_not_right_and_unscorable_pairs_are_no_scores():
    side = Side((1, 2, 3), (1,), False)
    cuts = [Cut("tense", side, side) for _ in range(4)] + [
        Cut("tense", reason="too_long"),
        Cut("case", side, side),
    ]
    scores = [(-1.0, -2.0), (-2.0, -1.0), (-1.0, -1.0), (float("nan"), -1.0), (-1.0, -3.0)]
    found = tally(cuts, scores)
    assert found["tense"] == Tally(1, 1, 2, {"too_long": 1})
    assert found["tense"].accuracy == 0.25
    result = GrammarResult(found, {})
    assert result.total == Tally(2, 1, 2, {"too_long": 1})
    metrics = result.metrics()
    assert metrics["grammar_accuracy"] == 0.4
    assert (metrics["grammar_pairs"], metrics["grammar_ties"], metrics["grammar_unscorable"]) == (5, 2, 1)
    assert "grammar_unspaced_accuracy" not in metrics
    table = result.table().splitlines()
    assert [line.split()[:3] for line in table[1:4]] == [
        ["tense", "4", "25.0%"],
        ["case", "1", "100.0%"],
        ["all", "5", "40.0%"],
    ]
    assert table[4] == "unscorable: 1 longer than the model's positions"
