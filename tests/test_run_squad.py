"""`run_squad.py`: answers by characters, both ways, and the official figures."""

import json
import re

import numpy as np
import pytest
import tasks
from browser import check_report, needs_browser
from real_data import KORQUAD, needs
from samples import GOLDEN, MECAB_VOCABULARY

from morphbert.cli.run_squad import main
from morphbert.finetune import answers
from morphbert.finetune.answer_metrics import best_threshold, evaluate, korquad_normalized, rouge_w, scores_of
from morphbert.formats.questions import Question, locate, read_questions
from morphbert.text.loading import load_tokenizer

CONTEXT = (
    "  대한민국의 수도는 서울특별시이며,  서울은 한강을 끼고 있다. 1394년부터 조선의 수도였다. "
    "《훈민정음》은 세종대왕이 1443년에 만든 문자이다. BERT(2018)는 구글이 발표하였다.\u200e "
)


def entry(name, question, *spans, **more):
    return {
        "id": name,
        "question": question,
        "answers": [{"text": text, "answer_start": start} for text, start in spans],
        **more,
    }


def write(path, entries, context=CONTEXT):
    content = {"data": [{"title": "한국", "paragraphs": [{"context": context, "qas": entries}]}]}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def at(text):
    return (text, CONTEXT.index(text))


# Answers that end before a josa, within an eojeol, at double spaces, within brackets, at a mark without a glyph.
SPANS = [
    "서울특별시",
    "서울특별시이며,  서울",
    "한강",
    "1394년",
    "1443",
    "세종대왕",
    "훈민정음",
    "2018",
    "구글",
    "문자이다",
]


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    path = tmp_path_factory.mktemp("squad") / "train.json"
    write(path, [entry(str(n), f"{n}번째 질문은 무엇인가?", at(text)) for n, text in enumerate(SPANS)])
    return path


@pytest.mark.parametrize("length", [24, 32, 384])
def test_every_answer_comes_back_to_its_characters(questions, length):
    found, statistics = read_questions(str(questions))
    assert (statistics.questions, statistics.answers, statistics.mended, statistics.lost) == (10, 10, 0, [])
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    windows = list(answers.windows_of(tokenizer, found, answers.WindowConfig(length, 8, 8)))
    best = answers.ceiling(windows, found)
    assert [best[str(n)] for n in range(len(SPANS))] == SPANS


def test_windows_cover_the_paragraph_and_each_piece_is_best_in_one(questions):
    found, _ = read_questions(str(questions))
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    windows = list(answers.windows_of(tokenizer, found[:1], answers.WindowConfig(24, 4, 8)))
    whole = tokenizer.encode(CONTEXT)
    assert len(windows) > 3
    chosen = [
        window.sequence.offsets[position]
        for window in windows
        for position in range(window.first, len(window.sequence.ids) - 1)
        if window.best[position]
    ]
    assert chosen == whole.offsets
    begins = [window.sequence.offsets[window.first][0] for window in windows]
    assert begins == [whole.offsets[4 * number][0] for number in range(len(windows))]


def test_scores_that_point_at_the_labels_give_the_answers(questions):
    """Characters → labels → scores → characters, by the way that training and prediction take."""
    found, _ = read_questions(str(questions))
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    windows = list(answers.windows_of(tokenizer, found, answers.WindowConfig(32, 8, 8)))
    features = answers.features_of(windows, found, 32, labelled=True)
    scores = np.zeros((len(windows), 32, 2), np.float32)
    for row in range(len(windows)):
        begin, end = features.labels["start_positions"][row], features.labels["end_positions"][row]
        if begin:
            scores[row, begin, 0] = scores[row, end, 1] = 9.0
    guesses, nothing = answers.guesses_of(windows, list(scores), found, max_answer_length=32)
    figures = evaluate(found, {q.id: g[0].text for q, g in zip(found, guesses, strict=True)})
    assert figures["exact_match"] == 100.0
    assert all(CONTEXT[g[0].start :].startswith(g[0].text) for g in guesses)
    assert nothing == [0.0] * len(found)
    assert all(sum(one.probability for one in g) == pytest.approx(1.0) for g in guesses)


def test_answers_are_mended_or_named(tmp_path):
    off = CONTEXT.index("서울은")
    path = write(
        tmp_path / "odd.json",
        [
            entry("edges", "어디?", (" 한강을 ", CONTEXT.index("한강") - 1)),
            entry("off", "어디?", ("서울", off + 3)),
            entry("elsewhere", "누구?", ("이순신", 3)),
            entry("none", "언제?", is_impossible=True),
        ],
    )
    found, statistics = read_questions(str(path))
    assert statistics.lost == ["elsewhere"]
    assert statistics.mended == 1
    assert found[1].answers[0].start == off
    assert found[3].is_impossible
    assert "1 left out, because they are not in their paragraph: elsewhere" in str(statistics)
    assert locate(CONTEXT, "구글이\u200e", 0).text == "구글이"


def test_figures_are_those_of_the_official_definition():
    """Worked out by hand from KorQuAD 1.0's rules: marks become spaces, punctuation goes, F1 over characters."""
    assert korquad_normalized("'《삼국지》' (14권)") == "삼국지 14권"
    assert scores_of("《훈민정음》", ["훈민정음"], "korquad") == (1.0, 1.0)
    exact, f1 = scores_of("서울특별시이며", ["서울특별시", "서울"], "korquad")
    assert exact == 0.0
    assert f1 == pytest.approx(2 * (5 / 7) * 1.0 / (5 / 7 + 1.0))
    assert scores_of("", ["서울"], "korquad") == (0.0, 0.0)
    assert scores_of("!!", ["서울"], "korquad") == (0.0, 0.0)
    assert scores_of("A.B,C", ["abc"], "korquad") == (1.0, 1.0)
    assert scores_of("the Beatles", ["Beatles!"], "squad") == (1.0, 1.0)
    assert scores_of("BERT model", ["a BERT"], "squad") == (0.0, pytest.approx(2 / 3))
    found = [
        Question("a", "", "", (), True),
        Question("b", "", "", (locate("서울", "서울", 0),), golds=("서울",)),
    ]
    assert evaluate(found, {"a": ""}) == {
        "exact_match": 50.0,
        "f1": 50.0,
        "no_answer_accuracy": 100.0,
        "num_examples": 2,
    }


def test_the_command_trains_answers_and_goes_by_its_folder(questions, random_model, tmp_path, capsys):
    output = tmp_path / "out"
    shape = ["--max_seq_length=48", "--doc_stride=16", "--max_query_length=12", "--strategy=cpu"]
    train = [f"--init_checkpoint={random_model}", f"--train_file={questions}", "--do_train"]
    steps = ["--num_train_steps=3", "--train_batch_size=4"]
    ask = [f"--predict_file={questions}", f"--output_dir={output}", "--do_predict", *shape]
    assert main([*train, *steps, *ask]) == 0
    said = capsys.readouterr().out
    assert "ceiling: exact match 100.00, F1 100.00" in said
    assert "evaluation: exact match" in said
    first = json.loads((output / "predictions.json").read_text(encoding="utf-8"))
    assert list(first) == [str(n) for n in range(10)]
    assert all(text in CONTEXT for text in first.values())
    best = json.loads((output / "nbest_predictions.json").read_text(encoding="utf-8"))
    assert all(
        CONTEXT[one["answer_start"] :].startswith(one["text"]) for some in best.values() for one in some
    )
    assert main([*ask, "--metric=klue", "--version_2_with_negative", "--strip_particles"]) == 0
    said = capsys.readouterr().out
    assert "ceiling: exact match 100.00, ROUGE-W 100.00" in said
    assert re.search(
        r"evaluation: exact match \S+, ROUGE-W \S+ without particles; with them exact match", said
    )
    assert {"rouge_w", "rouge_w_unstripped", "best_threshold_rouge_w"} <= tasks.figures(output).keys()
    assert main(ask) == 0
    assert json.loads((output / "predictions.json").read_text(encoding="utf-8")) == first


@needs_browser
def test_its_page_in_a_browser(questions, random_model, tmp_path):
    files = [f"--train_file={questions}", f"--predict_file={questions}", f"--output_dir={tmp_path / 'out'}"]
    shape = ["--max_seq_length=48", "--max_query_length=12", "--strategy=cpu"]
    metric = ["--metric=klue", "--version_2_with_negative", "--strip_particles"]
    steps = ["--do_train", "--do_predict", "--num_train_steps=2", "--train_batch_size=4", "--eval_every=1"]
    assert main([f"--init_checkpoint={random_model}", *files, *shape, *metric, *steps]) == 0
    check_report(tmp_path / "out" / "report.html", tmp_path / "profile", "평가 결과")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "line 1: not JSON"),
        ('{"data": [{"text": "가"}]}', "SQuAD's format"),
        ('{"data": []}', "has no question"),
    ],
)
def test_other_json_is_refused(tmp_path, random_model, capsys, content, message):
    path = tmp_path / "bad.json"
    path.write_text(content, encoding="utf-8")
    flags = [f"--init_checkpoint={random_model}", f"--train_file={path}", "--do_train", "--max_seq_length=48"]
    assert main([*flags, f"--output_dir={tmp_path / 'out'}"]) == 1
    assert message in capsys.readouterr().err


@needs(KORQUAD)
def test_korquad_s_ceiling_with_mecab_is_over_99():
    found, statistics = read_questions(str(KORQUAD))
    assert statistics.lost == []
    some = found[::8]
    windows = list(answers.windows_of(load_tokenizer(str(MECAB_VOCABULARY)), some, answers.WindowConfig()))
    assert evaluate(some, answers.ceiling(windows, some))["exact_match"] > 99.0


GOLDEN_FIGURES = json.loads((GOLDEN / "korquad_metrics.json").read_text(encoding="utf-8"))


def test_figures_are_those_that_the_official_script_gave(tmp_path):
    """Odd predictions too: marks, brackets, empty texts, other scripts; and over a file, some left out."""
    cases = GOLDEN_FIGURES["cases"]
    for prediction, golds, exact, f1 in cases:
        assert scores_of(prediction, golds, "korquad") == (exact, pytest.approx(f1, abs=1e-12)), prediction
    entries = [
        entry(str(number), "?", *((gold, 0) for gold in golds))
        for number, (_, golds, _, _) in enumerate(cases)
    ]
    found, statistics = read_questions(str(write(tmp_path / "golds.json", entries)))
    assert statistics.lost  # most of these answers are not in the paragraph; the script does not look
    said = {str(number): case[0] for number, case in enumerate(cases) if number % 7}
    figures = evaluate(found, said)
    for name, value in GOLDEN_FIGURES["whole_without_every_7th"].items():
        assert figures[name] == pytest.approx(value, abs=1e-9)


KLUE_FIGURES = json.loads((GOLDEN / "klue_mrc_metrics.json").read_text(encoding="utf-8"))


def test_figures_are_those_that_klues_baseline_gave():
    """Odd predictions too: marks, nothing, and texts so long that difflib passes over their frequent characters."""
    cases = KLUE_FIGURES["cases"]
    for prediction, golds, exact, rouge in cases:
        assert scores_of(prediction, golds, "klue") == (exact, pytest.approx(rouge, abs=1e-12)), prediction
    asked = [Question(str(n), "", "", (), not case[1], tuple(case[1])) for n, case in enumerate(cases)]
    figures = evaluate(asked, {str(n): case[0] for n, case in enumerate(cases)}, "klue")
    for name, value in KLUE_FIGURES["whole"].items():
        assert figures[name] == pytest.approx(value, abs=1e-9)
    assert rouge_w("세종대왕이", "세종대왕") == pytest.approx(2 * (4 / 5) / (4 / 5 + 1))
    assert rouge_w("", "") == 1.0


@pytest.mark.parametrize(
    ("context", "answer", "stripped"),
    [
        ("대한민국의 수도는 서울특별시이며, 크다.", "서울특별시이며", "서울특별시"),
        ("수도는 서울특별시였다.", "서울특별시였다", "서울특별시"),
        ("그는 제주도에서 살았다.", "제주도에서", "제주도"),
        ("그는 제주도에서 살았다.", "제주도", "제주도"),
        ("그는 1443년부터 썼다.", "1443년부터", "1443년"),
        ("그가 달렸다.", "달렸다", "달렸다"),
        ("세종은 왕이다.", "은", "은"),
        ("  두  칸  뒤의 서울은  크다.", "두  칸  뒤의 서울은", "두  칸  뒤의 서울"),
    ],
)
def test_particles_are_left_off(context, answer, stripped):
    from morphbert.finetune.particles import ParticleStripper

    assert ParticleStripper().strip(context, context.index(answer), answer) == stripped


def test_the_best_threshold_is_that_of_all_thresholds():
    """Against trying every one of them."""
    random = np.random.default_rng(2)
    asked = [Question(str(n), "", "", (), n % 3 == 0, () if n % 3 == 0 else ("서울",)) for n in range(30)]
    said = {str(n): "서울" if random.random() < 0.6 else "부산" for n in range(30)}
    odds = {str(n): float(random.normal() + (n % 3 == 0)) for n in range(30)}
    threshold, f1 = best_threshold(asked, said, odds)

    def at(limit):
        return evaluate(asked, {name: "" if odds[name] > limit else text for name, text in said.items()})[
            "f1"
        ]

    assert at(threshold) == pytest.approx(f1)
    assert f1 == pytest.approx(max(at(limit) for limit in [-99.0, *odds.values(), 99.0]))


def test_the_format_of_klue_mrc_is_read(tmp_path):
    """`guid` in place of `id`, questions without an answer, and their plausible ones left aside."""
    qas = [
        {
            "question": "수도는?",
            "question_type": 1,
            "is_impossible": False,
            "guid": "예문-mrc-1",
            "answers": [{"text": "서울특별시", "answer_start": CONTEXT.index("서울특별시")}],
        },
        {
            "question": "인구는?",
            "question_type": 3,
            "is_impossible": True,
            "guid": "예문-mrc-2",
            "answers": [],
            "plausible_answers": [{"text": "한강", "answer_start": CONTEXT.index("한강")}],
        },
    ]
    content = {
        "version": "예문",
        "data": [
            {
                "title": "한국",
                "source": "신문",
                "news_category": "사회",
                "paragraphs": [{"context": CONTEXT, "qas": qas}],
            }
        ],
    }
    path = tmp_path / "mrc.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    found, statistics = read_questions(str(path))
    assert [question.id for question in found] == ["예문-mrc-1", "예문-mrc-2"]
    assert found[1].is_impossible
    assert found[1].answers == ()
    assert (statistics.questions, statistics.answers) == (2, 1)


@needs(KORQUAD)
def test_every_answer_of_korquad_survives():
    """Characters → pieces → characters, all 5,774: at least 99% come back exactly."""
    found, _ = read_questions(str(KORQUAD))
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    offsets = {}
    same = 0
    for question in found:
        context, answer = question.context, question.answers[0]
        if context not in offsets:
            offsets[context] = tokenizer.encode(context).offsets
        start, end = answer.start, answer.start + len(answer.text)
        inside = [(low, high) for low, high in offsets[context] if low < end and start < high]
        same += context[inside[0][0] : inside[-1][1]] == answer.text
    assert len(found) == 5774
    assert same / len(found) >= 0.99
