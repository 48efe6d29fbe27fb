"""`run_multiple_choice.py`: the right candidate of a question, with candidates in arrays [N, C, L]."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from browser import check_report, needs_browser
from samples import MECAB_VOCABULARY, write_config
from tasks import choices, figures, split_flags, write_json_lines, write_split
from variants import DISCRIMINATOR

from morphbert.cli import export_model, predict
from morphbert.cli.run_multiple_choice import main
from morphbert.finetune.feed import ExampleFeed
from morphbert.finetune.loading import load_task
from morphbert.finetune.scoring import Scorer
from morphbert.finetune.task import Examples
from morphbert.finetune.task_configs import PredictConfig
from morphbert.finetune.tasks.multiple_choice import ChoiceExample, MultipleChoice, choice_metrics
from morphbert.interop.pretrained_start import Start
from morphbert.interop.sequence_batches import scoring_batches
from morphbert.model.config import BertConfig
from morphbert.text.loading import load_tokenizer

LENGTH = 24


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_split(tmp_path_factory.mktemp("choices"), write_json_lines, choices(), 18, ".jsonl")


def arguments(data, output, *more):
    return split_flags(data, ".jsonl", output, "--train_batch_size=6", *more, length=LENGTH)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained") / "model"
    steps = ["--num_train_steps=100", "--learning_rate=1e-3", "--do_train", "--do_eval", "--do_predict"]
    assert main(arguments(data, output, *steps, f"--predict_file={data}/dev.jsonl")) == 0
    return output


def scores_of(folder, rows):
    """Our scores of rows, with the candidates that fill up."""
    model = load_task(str(folder))
    config = PredictConfig(model=str(folder), input_file="", output_file="")
    examples = Examples([model.task.from_row(row, number, config) for number, row in enumerate(rows)])
    made = model.task.data(examples, model, "predict")
    return np.stack(Scorer(model.task, model.config, model.weights, 4)(made.features))


def test_it_learns_which_candidate_is_right(trained):
    assert figures(trained)["accuracy"] == 1.0
    assert figures(trained)["num_examples"] == 6
    saved = json.loads((trained / "task.json").read_text(encoding="utf-8"))
    assert saved["task"] == "multiple_choice"
    found = [json.loads(line) for line in (trained / "predictions.jsonl").read_text("utf-8").splitlines()]
    rows = choices()[18:]
    assert [one["choice"] for one in found] == [row["choices"][row["label"]] for row in rows]
    for one, row in zip(found, rows, strict=True):
        assert one["label"] == row["label"]
        assert len(one["probabilities"]) == len(row["choices"])
        assert sum(one["probabilities"]) == pytest.approx(1, abs=1e-5)


@needs_browser
def test_its_page_in_a_browser(trained, tmp_path):
    check_report(trained / "report.html", tmp_path, "평가 결과")


def test_the_same_command_evaluates_from_the_folder(trained, data):
    before = figures(trained)
    flags = [f"--output_dir={trained}", f"--eval_file={data}/dev.jsonl", "--do_eval", "--strategy=cpu"]
    assert main([*flags, f"--max_seq_length={LENGTH}"]) == 0
    assert figures(trained) == before


def test_fewer_candidates_score_as_they_do_alone(trained):
    """Two candidates beside a question with four: what fills them up changes nothing and gets nothing."""
    rows = [row for row in choices() if len(row["choices"]) == 4][:1]
    few = {"question": rows[0]["question"], "choices": rows[0]["choices"][:2]}
    together, alone = scores_of(trained, [rows[0], few]), scores_of(trained, [few])
    assert alone.shape == (1, 2)
    np.testing.assert_allclose(together[1, :2], alone[0], atol=1e-5)
    np.testing.assert_allclose(together[0, :2], alone[0], atol=1e-5)
    shares = np.exp(together[1] - together[1].max())
    np.testing.assert_array_equal(shares[2:] / shares.sum(), 0.0)


def test_what_fills_up_counts_neither_in_loss_nor_gradient():
    task = MultipleChoice(most=4)
    labels = {"labels": tf.constant([1])}
    two = tf.constant([[0.5, -0.25]])
    four = tf.Variable([[0.5, -0.25, 3.0 - 10000.0, 7.0 - 10000.0]])
    with tf.GradientTape() as tape:
        loss = task.losses(four, labels)
    np.testing.assert_allclose(loss, task.losses(two, labels), rtol=1e-6)
    np.testing.assert_array_equal(tape.gradient(loss, four)[0, 2:], 0.0)


def test_arrays_have_an_axis_of_candidates_and_fit_the_feed():
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    rows = choices()[:8]
    examples = Examples([ChoiceExample(row["question"], tuple(row["choices"]), row["label"]) for row in rows])
    start = Start(BertConfig(vocab_size=len(tokenizer.vocabulary)), tokenizer, str(MECAB_VOCABULARY), None)
    made = dataclasses.replace(MultipleChoice(), max_seq_length=LENGTH).data(examples, start, "train")
    features = made.features
    assert features.pieces["input_ids"].shape == (8, 4, LENGTH)
    for row, mask in zip(rows, features.pieces["input_mask"], strict=True):
        assert (mask.sum(1) > 0).sum() == len(row["choices"])
    first = features.pieces["input_ids"][0, 0, : features.pieces["input_mask"][0, 0].sum()]
    assert tokenizer.vocabulary.tokens[first[0]] == "[CLS]"
    assert [tokenizer.vocabulary.tokens[piece] for piece in first].count("[SEP]") == 2
    assert (features.lengths == features.pieces["input_mask"].sum(2).max(1)).all()
    feed = ExampleFeed(features, 4, 4, seed=1, group_by_length=True)
    seen = []
    for _ in range(4):
        batch = next(feed.take(1).iterator)
        assert batch["input_ids"].shape[:2] == (4, 4)
        cut = batch["input_ids"].shape[2]
        # Nothing is cut off but padding.
        assert cut <= LENGTH
        seen += batch["input_mask"].numpy().sum((1, 2)).tolist()
    assert sorted(seen) == sorted([*features.pieces["input_mask"].sum((1, 2)).tolist()] * 2)
    scored = [rows for rows, _ in scoring_batches(features.pieces, 3)]
    assert sorted(np.concatenate(scored)) == list(range(8))


@pytest.mark.parametrize(
    ("flags", "change"),
    [
        (["--first_label=1"], lambda row: {**row, "label": row["label"] + 1}),
        ([], lambda row: {**row, "label": "ABCD"[row["label"]]}),
        (["--choice_columns=가,나,다,라"], lambda row: in_columns(row, row["label"])),
        (["--choice_columns=가,나,다,라"], lambda row: in_columns(row, "가나다라"[row["label"]])),
        (
            ["--question_column=앞,뒤", "--choices_column=보기", "--label_column=정답"],
            lambda row: {
                "앞": row["question"][:5],
                "뒤": row["question"][5:].lstrip(),
                "보기": row["choices"],
                "정답": row["label"],
            },
        ),
    ],
)
def test_every_way_of_writing_is_read_alike(tmp_path, flags, change):
    from morphbert.cli.run_multiple_choice import _command

    rows = choices()[:6]
    path = write_json_lines(tmp_path / "a.jsonl", map(change, rows))
    command = _command()
    command.parse([f"--train_file={path}", "--do_train", f"--output_dir={tmp_path}", *flags])
    found = MultipleChoice.read(command.config(), str(path), "train").items
    assert [one.label for one in found] == [row["label"] for row in rows]
    assert [list(one.choices) for one in found] == [row["choices"] for row in rows]
    assert [one.question.replace(" ", "") for one in found] == [
        row["question"].replace(" ", "") for row in rows
    ]


def in_columns(row, label):
    filled = [*row["choices"], "", "", ""][:4]
    return {
        "question": row["question"],
        **dict(zip("가나다라", filled, strict=True)),
        "label": label,
    }


def test_a_cell_of_a_table_has_the_json_of_a_list(data, tmp_path, capsys):
    rows = choices()[:6]
    lines = [
        "\t".join([row["question"], json.dumps(row["choices"], ensure_ascii=False), str(row["label"])])
        for row in rows
    ]
    path = tmp_path / "train.tsv"
    path.write_text("question\tchoices\tlabel\n" + "\n".join(lines) + "\n", encoding="utf-8")
    flags = arguments(data, tmp_path / "out", f"--train_file={path}", "--do_train", "--num_train_steps=1")
    assert main([*flags, "--pooling=mean"]) == 0
    assert "6 questions with 2 to 4 candidates; guessing reaches accuracy 0." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "flags", "message"),
    [
        ({"label": 4}, [], "line 2: the label is 4, but the row has 4 candidates, 0 to 3. If the first"),
        ({"label": 0}, ["--first_label=1"], "line 2: the label is 0, but the row has 4 candidates, 1 to 4."),
        ({"label": "서울"}, [], "line 2: the label is '서울': give the number of the correct candidate"),
        ({"label": True}, [], "line 2: the label is True"),
        ({"choices": ["하나"]}, [], "line 2: the row has 1 candidates"),
        ({"choices": "서울, 부산"}, [], "line 2: 'choices' is not a list of candidates"),
        ({"choices": ["가", None]}, [], "line 2: 'choices' is not a list of candidates"),
        ({}, ["--question_column=문제"], "no column '문제'"),
        ({}, ["--choice_columns=a"], "give one column for each candidate"),
        (
            {"a": "가", "b": " ", "c": "다"},
            ["--choice_columns=a,b,c"],
            "line 2: the candidate 'b' is empty, but a later one is not",
        ),
    ],
)
def test_bad_rows_are_named(data, tmp_path, capsys, change, flags, message):
    rows = [{**row, "a": "가", "b": "나", "c": "다"} for row in choices() if len(row["choices"]) == 4][:3]
    rows = [{**row, "label": 1} for row in rows]
    rows[1] |= change
    path = write_json_lines(tmp_path / "bad.jsonl", rows)
    given = arguments(data, tmp_path / "out", f"--train_file={path}", "--do_train", *flags)
    assert main(given) in (1, 2)
    assert message in capsys.readouterr().err


def test_labels_that_look_as_if_they_began_at_one_are_said(tmp_path, capsys):
    from morphbert.finetune.task_configs import MultipleChoiceConfig

    rows = [{"question": "?", "choices": list("가나다라"), "label": 1 + number % 3} for number in range(30)]
    path = str(write_json_lines(tmp_path / "a.jsonl", rows))
    config = MultipleChoiceConfig(train_file=path, output_dir=str(tmp_path), do_train=True)
    MultipleChoice.read(config, path, "train")
    assert "the first candidate is never correct. Labels are counted from 0" in capsys.readouterr().out


def test_figures_by_hand():
    shares = np.array([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0], [0.1, 0.2, 0.7]])
    found = choice_metrics(shares, np.array([0, 1, 2]))
    assert found["accuracy"] == pytest.approx(2 / 3)  # of two that are alike the first is taken
    assert found["loss"] == pytest.approx(-(np.log(0.7) * 2 + np.log(0.5)) / 3)


def test_predict_takes_the_keys_of_the_training_data(trained, tmp_path, capsys):
    rows = [{key: row[key] for key in ("question", "choices")} for row in choices()[18:21]]
    rows[1] = {**rows[1], "choices": ["하나뿐"]}
    path, output = write_json_lines(tmp_path / "new.jsonl", rows), tmp_path / "out.jsonl"
    flags = [f"--model={trained}", f"--input_file={path}", f"--output_file={output}"]
    assert predict.main(flags) == 0
    found = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert "the row has 1 candidates" in found[1]["error"]
    for row, original in zip((found[0], found[2]), (choices()[18], choices()[20]), strict=True):
        assert row["prediction"]["choice"] == original["choices"][original["label"]]
    assert predict.main([*flags, "--text_column=question"]) == 1
    assert "reads 'question', 'choices', as in its training data" in capsys.readouterr().err


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["Bert", "Roberta", "Albert", "Electra"])
def test_scores_in_transformers_are_the_same(kind, data, trained, tmp_path):
    import torch
    import transformers

    model = trained
    if kind != "Bert":
        size = len((MECAB_VOCABULARY / "vocab.txt").read_text(encoding="utf-8").splitlines())
        changes = {
            "Albert": {"embedding_size": 16, "num_hidden_groups": 1},
            "Roberta": {
                "position_offset": 1,
                "next_sentence_head": False,
                "hidden_act": "gelu_erf",
                "type_vocab_size": 1,
            },
            "Electra": DISCRIMINATOR,
        }[kind]
        write_config(tmp_path / "bert_config.json", vocab_size=size, **changes)
        flags = [f"--bert_config_file={tmp_path}/bert_config.json", "--do_train", "--num_train_steps=4"]
        flags += ["--learning_rate=2e-2", "--warmup_proportion=0"]
        model = tmp_path / "model"
        assert main(arguments(data, model, *flags)) == 0
    exported = tmp_path / "exported"
    flags = [f"--checkpoint={model}", f"--output_dir={exported}", "--format=huggingface"]
    assert export_model.main(flags) == 0
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported, trust_remote_code=True)
    theirs, report = transformers.AutoModelForMultipleChoice.from_pretrained(
        exported, output_loading_info=True
    )
    assert not any(report.values()), report
    assert type(theirs).__name__ == f"{kind}ForMultipleChoice"
    rows = [row for row in choices() if len(row["choices"]) == 4][:3]
    questions = [row["question"] for row in rows for _ in range(4)]
    encoded = tokenizer(
        questions, [choice for row in rows for choice in row["choices"]], padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        logits = theirs.eval()(**{key: value.reshape(3, 4, -1) for key, value in encoded.items()}).logits
    expected = scores_of(model, rows)
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-5)
    assert np.ptp(expected) > 1e-3


def test_a_head_that_transformers_does_not_have_is_refused(data, tmp_path, capsys):
    model = tmp_path / "model"
    assert main(arguments(data, model, "--do_train", "--num_train_steps=1", "--pooling=max")) == 0
    flags = [f"--checkpoint={model}", f"--output_dir={tmp_path}/x", "--format=huggingface"]
    assert export_model.main(flags) == 1
    assert "--pooling=max" in capsys.readouterr().err
