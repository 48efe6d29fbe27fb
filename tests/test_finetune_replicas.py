"""Fine-tuning on two replicas: for every head the weights, figures and predictions of one, without dropout."""

import itertools
import json
import re

import numpy as np
import pytest
from runs import LEARNED, assert_same
from samples import MECAB_VOCABULARY, write_config
from tasks import ner_texts, relations, shuffled, tiny_flags, write_json, write_ner

from morphbert.cli import run_classifier, run_ner, run_re, run_squad
from morphbert.train.checkpoint import read_state

STEPS = 5
# Neither number is divisible by the batch, so that batches go over the end of the data, and the last one is filled up.
TRAIN, TEST = 35, 13


def write_rows(path, names, rows):
    path.write_text("\n".join("\t".join(row) for row in [names, *rows]) + "\n", encoding="utf-8")
    return path


def reviews():
    """(text, class, several classes with commas)."""
    good, bad = ["재미있는", "감동적인", "훌륭한"], ["지루한", "끔찍한", "뻔한"]
    return shuffled(
        [
            (f"{adverb} {adjective} {thing}", str(int(adjective in good)), ",".join({adverb, adjective}))
            for adverb, adjective, thing in itertools.product(
                ("정말", "너무", "참"), good + bad, ("영화였다.", "드라마예요!", "작품이었습니다")
            )
        ]
    )


def pairs():
    rows = itertools.product(
        ["젊은", "늙은"], ["작은", "큰"], ["젊은", "늙은"], ["개", "새", "소", "말", "닭", "쥐"]
    )
    return shuffled(
        [
            (f"{a} 사람이 {b} {what}와 놀고 있다.", f"{c} 사람이 {b} {what}와 논다.", str(5.0 * (a == c)))
            for a, b, c, what in rows
        ]
    )


def questions():
    made = []
    for number, parts in enumerate(ner_texts()):
        text, name = "".join(part for part, _ in parts), parts[0][0]
        answers = [{"text": name, "answer_start": 0}]
        asked = [{"id": str(number), "question": "누가 갔는가?", "answers": answers}]
        made.append({"paragraphs": [{"context": text, "qas": asked}]})
    return made


def tables(folder, names, rows, *flags):
    """The flags of a table, a part to train on and a part to test with."""
    train = write_rows(folder / "train.tsv", names, rows[:TRAIN])
    test = write_rows(folder / "test.tsv", names, rows[TRAIN : TRAIN + TEST])
    return [f"--train_file={train}", f"--eval_file={test}", f"--predict_file={test}", "--do_eval", *flags]


def of_classes(folder):
    return tables(folder, ("document", "label"), [row[:2] for row in reviews()])


def of_labels(folder):
    rows = [(text, labels) for text, _, labels in reviews()]
    names = ",".join(sorted({name for _, labels in rows for name in labels.split(",")}))
    return tables(folder, ("document", "label"), rows, "--task=labels", f"--labels={names}")


def of_scores(folder):
    columns = ["--text_column=one,two", "--label_column=score", "--task=score"]
    return tables(folder, ("one", "two", "score"), pairs(), *columns)


def of_names(folder):
    texts = ner_texts()
    train, test = (
        write_ner(folder / "train.tsv", texts[:TRAIN]),
        write_ner(folder / "test.tsv", texts[TRAIN:]),
    )
    asked = folder / "asked.txt"
    asked.write_text("\n".join("".join(part for part, _ in text) for text in texts) + "\n", encoding="utf-8")
    return [f"--train_file={train}", f"--eval_file={test}", f"--predict_file={asked}", "--do_eval"]


def of_relations(folder):
    rows = relations()
    labels = ",".join(sorted({row["label"] for row in rows}))
    train = write_json(folder / "train.json", rows[:TRAIN])
    test = write_json(folder / "test.json", rows[TRAIN : TRAIN + TEST])
    files = [f"--train_file={train}", f"--eval_file={test}", f"--predict_file={test}"]
    return [*files, "--do_eval", f"--labels={labels}"]


def of_answers(folder):
    made = questions()
    train = write_json(folder / "train.json", {"data": made[:TRAIN]})
    test = write_json(folder / "test.json", {"data": made[TRAIN : TRAIN + TEST]})
    return [f"--train_file={train}", f"--predict_file={test}", "--max_query_length=8", "--doc_stride=4"]


# Of each: command, flags of its files, flags of its head, file with its predictions.
HEADS = {
    "classes": (run_classifier, of_classes, [], "test_results.tsv"),
    "classes of an LSTM": (run_classifier, of_classes, ["--lstm_units=8"], "test_results.tsv"),
    "several labels": (run_classifier, of_labels, ["--pooling=mean"], "test_results.tsv"),
    "score": (run_classifier, of_scores, ["--pooling=max"], "test_results.tsv"),
    "weighed classes": (
        run_classifier,
        of_classes,
        ["--loss=ldam", "--deferred_reweighting=0.5"],
        "test_results.tsv",
    ),
    "names": (run_ner, of_names, [], "predictions.jsonl"),
    "names of an LSTM": (run_ner, of_names, ["--lstm_units=8"], "predictions.jsonl"),
    "relations": (run_re, of_relations, [], "predictions.jsonl"),
    "answers": (run_squad, of_answers, [], "nbest_predictions.json"),
}
QUICK = "names of an LSTM"


def assert_alike(one, other):
    """The same words in two files, and the same numbers but for their last digits."""
    number = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")
    texts = [path.read_text(encoding="utf-8") for path in (one, other)]
    assert texts[0]
    assert number.sub("#", texts[0]) == number.sub("#", texts[1])
    values = [np.array([float(found) for found in number.findall(text)]) for text in texts]
    np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-5)


@pytest.mark.distributed
@pytest.mark.long
@pytest.mark.parametrize(
    "head", [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in HEADS]
)
def test_two_replicas_are_as_one(head, tmp_path, replicas):
    module, files, of_head, predicted = HEADS[head]
    size = len((MECAB_VOCABULARY / "vocab.txt").read_text(encoding="utf-8").splitlines())
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    write_config(tmp_path / "bert_config.json", vocab_size=size, **still)
    flags = [*tiny_flags(tmp_path), *files(tmp_path), *of_head, "--do_train", "--do_predict"]
    flags += ["--train_batch_size=8", "--eval_batch_size=4", f"--num_train_steps={STEPS}", "--log_steps=1"]
    flags += ["--learning_rate=1e-3", f"--eval_every={STEPS}"]
    assert module.main([*flags, f"--output_dir={tmp_path}/one"]) == 0
    done = replicas(module.__name__.rpartition(".")[2], *flags, f"--output_dir={tmp_path}/two")
    assert done.returncode == 0, done.stderr
    one, two = (tmp_path / name / f"model.ckpt-{STEPS}" for name in ("one", "two"))
    assert_same(one, two, tolerance=1e-6, parts=LEARNED)
    for name in ("eval_results.txt", predicted):
        assert_alike(tmp_path / "one" / name, tmp_path / "two" / name)
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("one", "two")]
    losses = [[json.loads(line)["loss"] for line in some if '"train"' in line] for some in lines]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert losses[0][0] != losses[0][-1]
    state = read_state(str(tmp_path / "two" / f"model.ckpt-{STEPS}")).state
    assert state["settings"]["num_replicas"] == 2
