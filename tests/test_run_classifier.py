"""`run_classifier.py` on Korean sentences, and the parts that it is made of."""

import gzip
import itertools
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from browser import check_report, needs_browser
from runs import LEARNED, assert_same
from samples import MECAB_VOCABULARY, write_config
from tasks import figures, split_flags, write_split, write_tiny_config

import morphbert
from morphbert.cli.run_classifier import main
from morphbert.errors import UsageError
from morphbert.finetune import losses
from morphbert.finetune.config import class_weights
from morphbert.finetune.features import Features, plan
from morphbert.formats.tables import read_table
from morphbert.interop.pretrained_start import Start
from morphbert.train import checkpoint

GOOD = ["재미있는", "감동적인", "훌륭한", "멋진", "따뜻한"]
BAD = ["지루한", "실망스러운", "끔찍한", "뻔한", "불쾌한"]
ADVERBS = ["정말", "너무", "참", "아주", "진짜로"]
THINGS = ["영화였다.", "드라마예요!", '"작품"이었습니다']


def reviews():
    """Sentences that their adjective alone makes good (1) or bad (0), shuffled: [(text, label)]."""
    made = [
        (f"{adverb} {adjective} {thing}", str(int(adjective in GOOD)))
        for adverb, adjective, thing in itertools.product(ADVERBS, GOOD + BAD, THINGS)
    ]
    order = np.random.default_rng(1).permutation(len(made))
    return [made[index] for index in order]


def write_tsv(path, rows, names=("id", "document", "label")):
    lines = ["\t".join(names), *("\t".join([str(n), *row]) for n, row in enumerate(rows))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_split(tmp_path_factory.mktemp("reviews"), write_tsv, reviews(), 120, ".tsv")


def arguments(data, output, *more):
    return split_flags(data, ".tsv", output, *more, length=16)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained") / "model"
    steps = ["--num_train_steps=60", "--save_checkpoints_steps=30", "--learning_rate=5e-3", "--pooling=mean"]
    assert main(arguments(data, output, *steps, "--do_train", "--do_eval", "--eval_every=20")) == 0
    return output


def test_it_learns_what_decides_a_review(trained):
    assert figures(trained)["accuracy"] > 0.95
    assert list((trained / "best").glob("model.ckpt-*.index"))


@needs_browser
def test_its_page_in_a_browser(trained, tmp_path):
    check_report(trained / "report.html", tmp_path, "평가 결과")


def test_evaluating_again_needs_only_the_folder(trained, data, capsys):
    before = figures(trained)
    again = [f"--output_dir={trained}", f"--eval_file={data}/dev.tsv", "--do_eval", "--max_seq_length=16"]
    assert main([*again, "--strategy=cpu"]) == 0
    assert figures(trained) == before
    assert "accuracy" in capsys.readouterr().out


def test_predictions_come_in_the_order_of_the_file(trained, data, tmp_path):
    rows = [("정말 재미있는 영화였다. " * 5, "-"), ("", "-"), ("너무 지루한 영화였다.", "-")]
    path = write_tsv(tmp_path / "new.tsv", rows)
    flags = [f"--output_dir={trained}", f"--predict_file={path}", "--do_predict", "--max_seq_length=16"]
    assert main([*flags, "--strategy=cpu"]) == 0
    shares = np.loadtxt(trained / "test_results.tsv")
    assert shares.shape == (3, 2)
    np.testing.assert_allclose(shares.sum(1), 1.0, atol=1e-5)
    assert shares[0].argmax() == 1
    assert shares[2].argmax() == 0


def test_a_killed_run_ends_with_the_same_weights(trained, data, tmp_path, capsys, monkeypatch):
    """Dropout is on: masks and order of the examples go on where the checkpoint stands.

    Whether the checkpoint fits is seen from its index: no weight is read for that.
    """
    read = checkpoint.tensor

    def no_weight(prefix, reader, key):
        assert not key.startswith("model/")
        return read(prefix, reader, key)

    monkeypatch.setattr(checkpoint, "tensor", no_weight)
    output = tmp_path / "resumed"
    shutil.copytree(trained, output)
    for path in output.glob("model.ckpt-60*"):
        path.unlink()
    (output / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-30"\n')
    steps = ["--num_train_steps=60", "--save_checkpoints_steps=30", "--learning_rate=5e-3", "--pooling=mean"]
    assert main(arguments(data, output, *steps, "--do_train")) == 0
    monkeypatch.undo()
    assert "warning" not in capsys.readouterr().out
    assert_same(trained / "model.ckpt-60", output / "model.ckpt-60", parts=LEARNED)


@pytest.mark.long
def test_what_changes_the_trajectory_is_said(trained, data, tmp_path, capsys):
    """Without dropout, which takes half of XLA's time to compile the step."""
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    write_tiny_config(tmp_path, **still)
    shutil.copytree(trained, tmp_path / "other")
    changed = {
        "seed": (12345, 1),
        "train_batch_size": (16, 8),
        "dtype": ("float32", "bfloat16"),
        "xla": (False, True),
        "learning_rate": (0.005, 0.001),
        "num_train_steps": (60, 61),
        "num_warmup_steps": (6, 0),
    }
    flags = [f"--{name}={value}" for name, (_, value) in changed.items() if name != "num_warmup_steps"]
    flags += ["--warmup_proportion=0", "--pooling=mean", "--do_train"]
    flags += [f"--bert_config_file={tmp_path}/bert_config.json"]
    assert main(arguments(data, tmp_path / "other", *flags)) == 0
    out = capsys.readouterr().out
    said = re.findall(
        r"^warning: (\w+) was (\S+), is (\S+): the run continues, but does not reach", out, re.M
    )
    changed |= {name: (0.1, value) for name, value in still.items()}
    assert sorted(said) == sorted((name, str(was), str(value)) for name, (was, value) in changed.items())


def test_pairs_with_a_score_start_from_a_pretrained_model(random_model, tmp_path, capsys):
    rows = [
        (f"{a} 사람이 {b} 개와 놀고 있다.", f"{c} 사람이 {b} 개와 놀고 있다.", str(5.0 * (a == c)))
        for a, b, c in itertools.product(["젊은", "늙은"], ["작은", "큰"], ["젊은", "늙은"])
    ]
    path = write_tsv(tmp_path / "sts.tsv", rows, ("id", "sentence1", "sentence2", "score"))
    status = main(
        [
            f"--init_checkpoint={random_model}",
            f"--train_file={path}",
            f"--eval_file={path}",
            "--text_column=sentence1,sentence2",
            "--label_column=score",
            "--task=score",
            "--pooling=mean",
            f"--output_dir={tmp_path / 'out'}",
            *("--do_train", "--do_eval", "--num_train_steps=4", "--train_batch_size=4"),
            *("--max_seq_length=32", "--strategy=cpu"),
        ]
    )
    assert status == 0
    assert "new: output_weights, output_bias" in capsys.readouterr().out
    assert {"pearson", "spearman", "loss"} <= figures(tmp_path / "out").keys()


def test_several_labels_a_text_from_json_lines(data, tmp_path):
    path = tmp_path / "train.jsonl"
    rows = [
        {"document": "웃기고 슬픈 영화", "label": ["기쁨", "슬픔"]},
        {"document": "그저 그런 영화", "label": []},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = morphbert.fine_tune(
        morphbert.ClassificationConfig(
            bert_config_file=data / "bert_config.json",
            vocab_file=MECAB_VOCABULARY,
            train_file=path,
            eval_file=path,
            output_dir=tmp_path / "out",
            task="labels",
            do_train=True,
            do_eval=True,
            max_seq_length=16,
            num_train_steps=2,
            train_batch_size=2,
            devices=morphbert.DeviceConfig(strategy="cpu"),
        )
    )
    assert done.stopped_by is None
    assert {"exact_match", "f1_micro", "f1_macro"} <= done.figures.keys()
    assert figures(tmp_path / "out") == pytest.approx({"global_step": 2, **done.figures}, abs=1e-6)
    assert json.loads((tmp_path / "out" / "task.json").read_text(encoding="utf-8"))["labels"] == [
        "기쁨",
        "슬픔",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--text_column=reviews"], "no column 'reviews' (found: 'id', 'document', 'label')"),
        (["--labels=좋음,나쁨"], "which is not one of 좋음, 나쁨"),
        (["--task=score", "--label_column=document"], "which is not a number"),
        (["--max_seq_length=128"], "the model has 64 positions"),
        (["--train_file=/nowhere.tsv"], "/nowhere.tsv"),
        (["--do_predict"], "--do_predict needs --predict_file"),
        (["--best_metric=bleu", "--eval_every=1", "--num_train_steps=1"], "there are accuracy, f1"),
    ],
)
def test_bad_input_is_named(data, tmp_path, capsys, change, message):
    assert main(arguments(data, tmp_path / "out", "--do_train", *change)) in (1, 2)
    assert message in capsys.readouterr().err


def test_a_head_of_another_task_is_refused(tmp_path):
    with pytest.raises(UsageError, match="must be a TextHeadConfig"):
        morphbert.ClassificationConfig(
            output_dir=tmp_path, do_train=True, train_file="a.tsv", head=morphbert.RelationHeadConfig()
        )
    with pytest.raises(
        UsageError, match="--pooling=median is out of range: it must be one of cls, mean, max"
    ):
        morphbert.TextHeadConfig(pooling="median")


def test_one_class_alone_is_refused(data, tmp_path, capsys):
    path = write_tsv(tmp_path / "one.tsv", [("좋은 영화", "1"), ("멋진 영화", "1")])
    assert main(arguments(data, tmp_path / "out", "--do_train", f"--train_file={path}")) == 1
    assert "only the label '1'" in capsys.readouterr().err


def test_an_empty_label_and_a_class_without_examples_are_named(data, tmp_path, capsys):
    path = write_tsv(tmp_path / "empty.tsv", [("좋은 영화", "1"), ("멋진 영화", ""), ("나쁜 영화", "0")])
    flags = arguments(data, tmp_path / "out", "--do_train", "--num_train_steps=1")
    assert main([*flags, f"--train_file={path}"]) == 1
    assert "empty.tsv, line 3: the label is missing" in capsys.readouterr().err
    assert main([*flags, "--labels=0,1,모름"]) == 0
    assert "has no example of 모름" in capsys.readouterr().out


def test_json_of_another_dataset_is_named(data, tmp_path, capsys):
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"version": "1.0", "data": []}), encoding="utf-8")
    assert main(arguments(data, tmp_path / "out", "--do_train", f"--train_file={path}")) == 1
    assert "line 1: there is no column 'document' (found: 'version', 'data')" in capsys.readouterr().err


def test_a_folder_with_other_labels_is_refused(trained, data, capsys):
    flags = arguments(data, trained, "--do_train", "--labels=0,1,2", "--pooling=mean")
    assert main(flags) == 1
    assert "a model whose head has 2 labels (0, 1), but this run has 3 (0, 1, 2)" in capsys.readouterr().err


def test_a_folder_with_another_model_is_refused(trained, data, tmp_path, capsys):
    values = json.loads((data / "bert_config.json").read_text())
    for layers, words in (
        (3, "layer_2/attention/self/query/kernel is missing"),
        (1, "is not in the model"),
    ):
        config = write_config(tmp_path / f"{layers}.json", **{**values, "num_hidden_layers": layers})
        flags = ["--do_train", "--pooling=mean", "--num_train_steps=60", f"--bert_config_file={config}"]
        assert main(arguments(data, trained, *flags)) == 1
        assert words in capsys.readouterr().err


def test_tables_of_every_kind_hold_the_same_rows(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow")

    rows = [{"document": '"별 다섯" 개, 최고!', "label": "1"}, {"document": "별로…", "label": "0"}]
    tsv = "id\tdocument\tlabel\r\n" + "".join(f"7\t{row['document']}\t{row['label']}\r\n" for row in rows)
    (tmp_path / "a.tsv").write_text(tsv, encoding="utf-8-sig", newline="")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(tsv.encode()))
    quoted = "document,label\n" + '"""별 다섯"" 개, 최고!",1\n별로…,0\n'
    (tmp_path / "a.csv").write_text(quoted, encoding="utf-8")
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.tsv", "a.txt.gz", "a.csv", "a.jsonl", "a.parquet"):
        assert read_table(str(tmp_path / name), ["document", "label"]) == rows, name


@pytest.mark.parametrize("grouped", [False, True])
def test_three_passes_take_each_example_three_times(grouped):
    lengths = np.random.default_rng(0).integers(3, 65, 96)
    rows, cut = plan(lengths, 64, 8, 36, seed=5, group_by_length=grouped)
    if not grouped:  # grouped, a batch may take examples of two passes
        for number in range(3):
            assert sorted(rows[12 * number : 12 * (number + 1)].ravel()) == list(range(96))
    assert sorted(rows.ravel()) == sorted([*range(96)] * 3)
    assert (lengths[rows].max(1) <= cut).all()
    again, _ = plan(lengths, 64, 8, 36, seed=5, group_by_length=grouped)
    other, _ = plan(lengths, 64, 8, 36, seed=6, group_by_length=grouped)
    np.testing.assert_array_equal(rows, again)
    assert not np.array_equal(rows, other)
    if grouped:
        assert cut.mean() < 60


def test_scores_do_not_depend_on_the_padding(trained, data):
    """Each sentence alone, uncut to the longest length, has the score that it has among others."""
    from morphbert.finetune.config import HeadConfig
    from morphbert.finetune.run import FineTuning, TaskRunConfig
    from morphbert.finetune.task import Examples
    from morphbert.finetune.task_configs import ClassificationConfig
    from morphbert.finetune.tasks.classification import Classification, TextExample
    from morphbert.model.config import BertConfig
    from morphbert.text.loading import load_tokenizer
    from morphbert.train.cluster.strategy import DeviceConfig, build_strategy

    asked = ClassificationConfig(
        output_dir=trained,
        do_predict=True,
        predict_file=f"{data}/dev.tsv",
        devices=DeviceConfig(strategy="cpu"),
        eval_batch_size=2,
    )
    model = BertConfig.from_json_file(str(trained / "bert_config.json"))
    once = {"on_divergence": "stop", "best_metric": "-loss", "reweighted_from": None, "task": {}}
    config = TaskRunConfig.of(asked, bert_config=model, **once)
    strategy = build_strategy(config.devices)
    task = Classification("class", ("0", "1"), HeadConfig(pooling="mean"), max_seq_length=32)
    running = FineTuning(config, task, None, strategy)
    assert running.load() == 60
    texts = [("재미있다.", None), ("정말 재미있는 영화였다. " * 3, None), ("참 뻔한 드라마예요!", "정말?")]
    examples = Examples([TextExample(*text) for text in texts])
    start = Start(config.bert_config, load_tokenizer(str(trained)), str(trained), None)
    features = task.data(examples, start, "predict").features
    together = running.scores(features)
    for row in range(3):
        alone = {name: values[row : row + 1] for name, values in features.pieces.items()}
        score = running.scores._scores({name: tf.constant(value) for name, value in alone.items()}).numpy()[0]
        np.testing.assert_allclose(together[row], score, atol=1e-5)
    assert len(Features(features.pieces, {})) == 3


SCORES = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, -3.0], [9.0, -9.0, 0.0]])
LABELS = np.array([0, 2, 0])


def softmax(values):
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def reference(name, scores):
    """The papers' formulas, in float64."""
    shares = softmax(scores)
    label = shares[np.arange(3), LABELS]
    if name == "smoothed":
        wanted = np.full((3, 3), 0.1 / 3)
        wanted[np.arange(3), LABELS] += 0.9
        return -(wanted * np.log(shares)).sum(1)
    if name == "focal":
        return -((1 - label) ** 2.0) * np.log(label)
    margins = np.array([100, 10, 1]) ** -0.25
    margins *= 0.5 / margins.max()
    moved = scores.copy()
    moved[np.arange(3), LABELS] -= margins[LABELS]
    return -np.log(softmax(10.0 * moved)[np.arange(3), LABELS])


@pytest.mark.parametrize("name", ["smoothed", "focal", "ldam"])
def test_losses_and_gradients_are_those_of_the_formulas(name):
    scores = tf.constant(SCORES, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        if name == "smoothed":
            found = losses.cross_entropy(scores, LABELS, 0.1)
        elif name == "focal":
            found = losses.focal(scores, LABELS, 2.0)
        else:
            margins = tf.constant(losses.ldam_margins([100, 10, 1]), tf.float64)
            found = losses.ldam(scores, LABELS, margins, 10.0)
    np.testing.assert_allclose(found, reference(name, SCORES), rtol=1e-6, atol=1e-9)
    gradient, step = tape.gradient(found, scores).numpy(), 1e-6
    for row, column in itertools.product(range(3), range(3)):
        moved = np.zeros((3, 3))
        moved[row, column] = step
        slope = (reference(name, SCORES + moved) - reference(name, SCORES - moved)).sum() / (2 * step)
        assert gradient[row, column] == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_rare_classes_get_wider_margins_and_larger_weights():
    assert (np.diff(losses.ldam_margins([1000, 100, 10])) > 0).all()
    weights = class_weights([1000, 100, 10])
    assert (np.diff(weights) > 0).all()
    assert weights.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(class_weights([50, 50]), 1.0)
