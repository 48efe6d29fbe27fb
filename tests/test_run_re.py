"""`run_re.py`: relations of two entities, in KLUE-RE's format."""

import json

import numpy as np
import pytest
from browser import check_report, needs_browser
from samples import MECAB_VOCABULARY
from tasks import figures, relations, tiny_flags, training, write_json, write_split

from morphbert.cli.run_re import main
from morphbert.finetune.tasks.relation import MARKERS, Relation, _kept, features_of, relation_metrics
from morphbert.formats.relations import read_relations
from morphbert.interop.pretrained_start import Start
from morphbert.model.config import BertConfig
from morphbert.text.loading import load_tokenizer


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_split(tmp_path_factory.mktemp("re"), write_json, relations(), 80, ".json")


trained = training(main, ".json", "--num_train_steps=100", "--learning_rate=3e-3")


def test_it_learns_relations(trained):
    found = figures(trained)
    assert found["f1_micro"] > 0.9
    assert found["auprc"] > 0.9
    saved = json.loads((trained / "task.json").read_text(encoding="utf-8"))
    assert saved["labels"] == ["no_relation", "org:founded_by", "per:employee_of"]
    assert saved["entity_types"] == ["ORG", "PER"]


@needs_browser
def test_its_page_in_a_browser(trained, tmp_path):
    check_report(trained / "report.html", tmp_path, "평가 결과")


def test_predictions_need_no_label(trained, tmp_path):
    rows = [{key: value for key, value in row.items() if key != "label"} for row in relations()[:5]]
    (tmp_path / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    flags = [f"--output_dir={trained}", f"--predict_file={tmp_path}/new.jsonl", "--do_predict"]
    assert main([*flags, "--max_seq_length=32", "--strategy=cpu"]) == 0
    lines = (trained / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert [one["id"] for one in found] == [row["guid"] for row in rows]
    for one in found:
        assert sum(one["probabilities"].values()) == pytest.approx(1.0, abs=1e-4)
        assert one["label"] == max(one["probabilities"], key=one["probabilities"].get)


def features(sentence, subject, object_, length=32):
    rows = [
        {
            "sentence": sentence,
            "subject_entity": entity(sentence, *subject),
            "object_entity": entity(sentence, *object_),
        }
    ]
    return rows, length


def entity(sentence, word, kind):
    start = sentence.index(word)
    return {"word": word, "start_idx": start, "end_idx": start + len(word) - 1, "type": kind}


@pytest.mark.parametrize(
    ("subject", "object_", "expected"),
    [
        (("이순신", "PER"), ("조선", "LOC"), "[SUBJ] 이순신 [/SUBJ] ##은 [OBJ] 조선 [/OBJ]"),
        (("조선", "LOC"), ("이순신", "PER"), "[OBJ] 이순신 [/OBJ] ##은 [SUBJ] 조선 [/SUBJ]"),
        (("이순신은 조선", "ORG"), ("조선", "LOC"), "[SUBJ] 이순신 ##은 [OBJ] 조선 [/OBJ] [/SUBJ]"),
    ],
)
def test_markers_stand_around_both_entities(tmp_path, subject, object_, expected):
    sentence = "이순신은 조선 사람이다."
    rows, length = features(sentence, subject, object_)
    examples, moved = read_relations(str(write_json(tmp_path / "a.json", rows)), labelled=False)
    assert moved == 0
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    config = BertConfig(vocab_size=len(tokenizer.vocabulary), type_vocab_size=2)
    task = Relation(("a", "b"), ("LOC", "ORG", "PER"), max_seq_length=length)
    start = Start(config, tokenizer, str(MECAB_VOCABULARY), None)
    arrays = features_of(start, examples, task, None).pieces
    names = [*tokenizer.vocabulary.tokens, *MARKERS]
    shown = " ".join(names[number] for number in arrays["input_ids"][0])
    # 이순신 is more than one piece here.
    assert expected.replace("이순신", " ".join(tokenizer.tokenize("이순신"))) in shown
    assert shown.startswith("[CLS]")
    for name, (word, kind) in (("subject", subject), ("object", object_)):
        places = np.flatnonzero(arrays[name][0])
        inside = [names[number] for number in arrays["input_ids"][0][places]]
        assert inside[0] in MARKERS
        assert inside[-1] in MARKERS
        if word != "이순신은 조선":
            assert set(arrays["segment_ids"][0][places]) == {2 + ("LOC", "ORG", "PER").index(kind)}


def test_long_sentences_keep_both_entities():
    assert _kept(10, [(2, 2), (7, 8)], 5) == [1, 2, 3, 7, 8]
    for room in (4, 6, 9, 50):
        kept = _kept(60, [(5, 6), (50, 51)], room)
        assert {5, 6, 50, 51} <= set(kept)
        assert len(kept) == room
        assert kept == sorted(set(kept))


def test_figures_are_those_of_klue():
    """Against scikit-learn called as KLUE's baseline calls it, a relation that does not occur among them."""
    from sklearn.metrics import auc, f1_score, precision_recall_curve

    names = ("no_relation", "org:founded", "per:title", "per:alias")
    random = np.random.default_rng(3)
    scores, labels = random.normal(size=(200, 4)).astype(np.float32), random.integers(0, 3, 200)
    scores[np.arange(200), labels] += 1.0
    ours = relation_metrics(scores, labels, names)
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    expected = f1_score(labels, shares.argmax(1), average="micro", labels=[1, 2, 3])
    assert ours["f1_micro"] == pytest.approx(expected)
    hot, areas = np.eye(4)[labels], []
    for column in range(4):
        with np.errstate(all="ignore"), pytest.warns() if column == 3 else _nothing():
            precision, recall, _ = precision_recall_curve(hot[:, column], shares[:, column])
        areas.append(auc(recall, precision))
    assert ours["auprc"] == pytest.approx(np.mean(areas))


def _nothing():
    import contextlib

    return contextlib.nullcontext()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sentence": None}, "example 1: not in KLUE-RE's format"),
        (
            {"subject_entity": {"word": "세종", "start_idx": 0, "end_idx": 1, "type": "PER"}},
            "'세종' is not in its",
        ),
        ({"label": "per:unknown"}, "'per:unknown', which is not one of no_relation, per:employee_of"),
    ],
)
def test_bad_examples_are_named(data, tmp_path, capsys, change, message):
    rows = relations()[:4]
    rows[0] = {key: value for key, value in {**rows[0], **change}.items() if value is not None}
    path = write_json(tmp_path / "bad.json", rows)
    flags = [f"--train_file={path}", f"--output_dir={tmp_path}/out", "--do_train"]
    assert main([*tiny_flags(data), *flags, "--labels=no_relation,per:employee_of,org:founded_by"]) == 1
    assert message in capsys.readouterr().err


def test_json_of_another_dataset_is_refused(data, tmp_path, capsys):
    path = write_json(tmp_path / "squad.json", {"version": "1.1", "data": []})
    assert (
        main([*tiny_flags(data), f"--train_file={path}", f"--output_dir={tmp_path}/out", "--do_train"]) == 1
    )
    assert "squad.json, line 1: not in KLUE-RE's format: a list of examples" in capsys.readouterr().err
