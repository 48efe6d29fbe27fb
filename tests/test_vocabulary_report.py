"""The report of build_vocab.py and --compare: figures worked out by hand, the page, the command."""

import html.parser
import json
import re

import pytest
from browser import check_report, needs_browser
from samples import GOLDEN, ROOT

from morphbert.cli.build_vocab import main
from morphbert.pages.phrases import phrase
from morphbert.text.analyzers import MecabAnalyzer
from morphbert.text.description import make_tokenizer
from morphbert.text.loading import bert_tokenizer
from morphbert.text.normalize import Normalizer
from morphbert.text.vocabulary import SPECIAL_TOKENS, vocabulary_from_tokens
from morphbert.text.words import WordSplitter
from morphbert.vocab.comparing import CompareConfig, compare_vocabs
from morphbert.vocab.figures import answer_ceiling, lengths_of_pieces, measure
from morphbert.vocab.report import Measured, VocabularyReport, markdown
from morphbert.vocab.report_html import html as page

SMALL, LARGE = str(ROOT / "vocab" / "ko-mecab-8k"), str(ROOT / "vocab" / "ko-mecab-32k")
# Mecab cuts 사과나무 + 를; a stock BERT tokenizer takes the longest piece, 나무를.
PIECES = [
    *SPECIAL_TOKENS,
    "사과",
    "##나무",
    "##를",
    "##나무를",
    "심",
    "##었",
    "##다",
    ".",
    "[USER]",
    "[unused0]",
]
TEXT = "사과나무를 심었다. 심었다 뷁"


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(
        vocabulary_from_tokens(PIECES), WordSplitter(Normalizer("nfc"), MecabAnalyzer(), "eojeol")
    )


def test_figures_are_those_counted_by_hand(tokenizer):
    # 사과 ##나무 ##를 | 심 ##었 ##다 . | 심 ##었 ##다 | [UNK]
    figures = measure(tokenizer, [TEXT, "심"])
    assert (figures.lines, figures.eojeols, figures.pieces) == (2, 5, 12)
    assert (figures.characters, figures.unknown_characters) == (14, 1)
    assert (figures.unknown_pieces, figures.eojeols_with_unknown, figures.whole_eojeols) == (1, 1, 1)
    assert figures.coverage == pytest.approx(13 / 14)
    assert figures.pieces_per_eojeol == pytest.approx(12 / 5)
    assert figures.pieces_per_character == pytest.approx(12 / 14)
    assert figures.as_stock_bert == 4  # all but 사과나무를
    assert figures.eojeols_by_pieces == {3: 2, 4: 1, 1: 2}
    assert figures.lines_by_pieces == {11: 1, 1: 1}
    assert figures.pieces_by_length == {1: 9, 2: 2}


def test_a_stock_tokenizer_agrees_with_itself(tokenizer):
    lines = (GOLDEN / "documents_ko.txt").read_text(encoding="utf-8").splitlines()
    stock = bert_tokenizer(tokenizer.vocabulary, do_lower_case=False)
    figures = measure(stock, lines)
    assert figures.as_stock_bert == figures.eojeols > 100


def test_lengths_of_the_vocabulary():
    assert lengths_of_pieces([*PIECES, "#", "##", "["]) == {1: 7, 2: 3, 3: 1}


def test_answers_that_boundaries_can_hit(tokenizer):
    # 사과나무를 심었다.: 사과나무 and 심 can be named, 나 and 과나무를 cannot.
    spans = [(0, 4), (6, 7), (2, 3), (1, 5)]
    assert answer_ceiling(tokenizer, [("사과나무를 심었다.", spans), ("심었다", [(1, 3)])]).reachable == 3
    stock = bert_tokenizer(tokenizer.vocabulary, do_lower_case=False)
    ceiling = answer_ceiling(stock, [("사과나무를 심었다.", spans)])
    assert (ceiling.answers, ceiling.reachable, ceiling.share) == (4, 1, 0.25)  # 나무 is hidden in 나무를


class Page(html.parser.HTMLParser):
    """Checks that tags are closed in order, and keeps texts and attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.attributes, self.bars = [], [], [], 0
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        self.bars += tag == "rect"
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_is_whole_and_loads_nothing(tokenizer):
    hostile = '<script>alert("&")</script> `a` | *b*'
    report = VocabularyReport(
        "제목 <1>",
        ("`코드` & <i>",),
        "On lines",
        tuple(
            Measured(name, tokenizer, measure(tokenizer, [TEXT, hostile]))
            for name in ("하나", "<둘>", "three")
        ),
        examples=(TEXT, hostile),
    )
    text = page(report)
    seen = Page(text)
    assert not re.search(r"https?:|url\(|@import", text)
    assert text.count("<script") == 1  # the page's; the hostile line is text
    assert {name for name, _ in seen.attributes}.isdisjoint(("src", "href", "xlink:href", "data"))
    assert hostile in seen.texts
    assert "<둘>" in seen.texts
    assert seen.bars == 4 * 8 * 3  # plots, buckets, vocabularies
    assert page(report) == text
    # Every figure of the Markdown's table stands on the page too.
    rows = [line.strip("| ").split(" | ") for line in markdown(report).splitlines() if line.startswith("|")]
    assert {value.replace("\\", "") for row in rows for value in row[1:]} <= set(seen.texts) | {
        "---:|---:|---:"
    } | {f"{float(value[:-1]):.1f}%" for row in rows for value in row[1:] if re.fullmatch(r"[\d.]+%", value)}


@needs_browser
def test_the_page_in_a_browser(tokenizer, tmp_path):
    """As the commands write it, for one vocabulary and for several whose names are longer than a telephone is wide."""
    measured = measure(tokenizer, [TEXT] * 3)
    unbroken = "www." + "abc" * 60  # an address, which has no place to break
    for names in (["하나"], [f"vocab/{number}-{'긴이름' * 8}" for number in range(4)]):
        columns = tuple(Measured(name, tokenizer, measured) for name in names)
        path = tmp_path / f"{len(names)}.html"
        heading = phrase("On lines that were held out")
        report = VocabularyReport(phrase("Vocabulary"), (), heading, columns, examples=(TEXT, unbroken))
        path.write_text(page(report), encoding="utf-8")
        check_report(path, tmp_path / f"profile-{len(names)}", "학습에 쓰지 않은 줄에서")


def test_markdown_of_awkward_lines(tokenizer):
    report = VocabularyReport(
        "V", (), "", (Measured("v", tokenizer, measure(tokenizer, [])),), examples=("a`b|*c*<d>",)
    )
    line = markdown(report).splitlines()[-1]
    assert line.startswith(r"- a\`b\|\*c\*\<d\><br>`")
    assert "0.0%" not in markdown(report)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "h.txt"
    path.write_bytes((GOLDEN / "documents_ko.txt").read_bytes())
    return path


def squad(folder):
    context = "사과나무를 심었습니다."
    answers = [{"text": "사과나무", "answer_start": 0}, {"text": "과나", "answer_start": 1}]
    qas = [{"id": str(n), "question": "?", "answers": [answer]} for n, answer in enumerate(answers)]
    path = folder / "q.json"
    content = {"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def test_the_command_puts_vocabularies_side_by_side(held_out, tmp_path, capsys):
    plain = SMALL + "/vocab.txt"
    flags = [
        f"--compare={SMALL},{LARGE},{plain}",
        f"--input_file={held_out}",
        f"--report_dir={tmp_path / 'r'}",
    ]
    assert main([*flags, f"--answers_file={squad(tmp_path)}"]) == 0
    shown = capsys.readouterr().out
    report = (tmp_path / "r" / "report.md").read_text(encoding="utf-8")
    assert shown.splitlines()[0] == "|  | ko-mecab-8k | ko-mecab-32k | ko-mecab-8k/vocab.txt |"
    assert all(line in report for line in shown.splitlines()[:-1])
    assert shown.splitlines()[-1].startswith("Comparison: cut ")
    assert re.search(r"stock BERT tokenizer \|.*\| 100\.0% \|\n", report)
    assert re.search(r"\| mecab, eojeol \| mecab, eojeol \| none, bert \|", report)
    assert "50.00% (1 of 2)" in report
    assert report.count("ko-mecab-32k: `") == 12  # the fixed sentences and five lines of the text
    Page((tmp_path / "r" / "report.html").read_text(encoding="utf-8"))
    made = compare_vocabs(CompareConfig(vocabularies=(SMALL, LARGE), input_file=held_out))
    small, large = (column.figures for column in made.columns)
    assert small.pieces_per_eojeol > large.pieces_per_eojeol
    assert small.eojeols == large.eojeols
    assert 0.8 < large.as_stock_bert / large.eojeols < small.as_stock_bert / small.eojeols < 1


def test_learning_reports_answers_and_examples_too(held_out, tmp_path):
    flags = [
        f"--input_file={held_out}",
        f"--vocab_dir={tmp_path / 'v'}",
        "--vocab_size=800",
        "--num_workers=1",
    ]
    assert (
        main([*flags, "--held_out_share=0.2", f"--answers_file={squad(tmp_path)}", "--num_examples=2"]) == 0
    )
    report = (tmp_path / "v" / "report.md").read_text(encoding="utf-8")
    assert "50.00% (1 of 2)" in report
    assert report.count("<br>`") == 9
    assert "Pieces of a line" in report
    assert "answers" in (tmp_path / "v" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--compare={v}"], 2, "input_file"),
        (["--compare={v}", "--input_file={t}", "--vocab_dir=x"], 2, "--report_dir"),
        (["--input_file={t}", "--vocab_dir=x", "--report_dir=y"], 2, "goes with --compare"),
        (["--input_file={t}"], 2, "--vocab_dir is required"),
        (["--compare=no/such", "--input_file={t}"], 1, "no/such"),
        (["--compare={v}", "--input_file={e}"], 1, "no text"),
        (["--compare={v}", "--input_file={t}", "--answers_file={t}"], 1, "not JSON"),
        (["--compare={v}", "--input_file={t}", "--report_dir={t}"], 1, "cannot be written"),
    ],
)
def test_what_is_refused(held_out, tmp_path, capsys, flags, status, message):
    (tmp_path / "e.txt").write_text("\n \n")
    names = {"v": SMALL, "t": held_out, "e": tmp_path / "e.txt"}
    assert main([flag.format(**names) for flag in flags]) == status
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
