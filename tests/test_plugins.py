"""`--plugin`: the examples of docs/plugins.md, and names that are missing or taken."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from samples import MECAB_VOCABULARY, ROOT, write_config
from tasks import relations, tiny_flags

import morphbert
from morphbert.cli.export_model import main as export_main
from morphbert.cli.predict import main as predict_main
from morphbert.cli.run_classifier import main
from morphbert.cli.run_re import main as run_re_main
from morphbert.errors import MorphbertError, UsageError
from morphbert.finetune import plugins
from morphbert.finetune.losses import class_losses
from morphbert.finetune.tasks.classification import Classification, metrics
from morphbert.train import checkpoint


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch):
    """Each test begins as a new process, without the names that another one registered."""
    monkeypatch.setattr(plugins, "_loaded", {})
    for registry in (plugins.HEADS, plugins.LOSSES, plugins.METRICS):
        monkeypatch.setattr(registry, "_entries", {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of the page, a model's configuration, and titles whose body agrees with them or does not."""
    folder = tmp_path_factory.mktemp("plugins")
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    for code in re.findall(r"^```python\n(.*?)^```$", page, re.S | re.M):
        name = re.match(r"# (\w+\.py)\n", code)[1]
        assert len(code.splitlines()) < 30
        (folder / name).write_text(code, encoding="utf-8")
    size = len((MECAB_VOCABULARY / "vocab.txt").read_text(encoding="utf-8").splitlines())
    write_config(folder / "bert_config.json", vocab_size=size)
    rows = ["title\tbody\tlabel"]
    for number in range(24):
        title, body = number % 2, number // 2 % 2
        words = ("재미있는 영화", "지루한 영화")
        rows.append(f"{words[title]}\t{words[body]}였다.\t{int(title == body)}")
    (folder / "data.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def arguments(folder, output, *more):
    return [
        f"--bert_config_file={folder}/bert_config.json",
        f"--vocab_file={MECAB_VOCABULARY}",
        f"--train_file={folder}/data.tsv",
        f"--eval_file={folder}/data.tsv",
        f"--output_dir={output}",
        "--text_column=title,body",
        "--max_seq_length=16",
        "--train_batch_size=8",
        "--num_train_steps=2",
        "--strategy=cpu",
        *more,
    ]


def test_a_loss_and_a_metric_by_name_from_yaml(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    experiment = tmp_path / "experiment.yaml"
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    experiment.write_text(re.search(r"^```yaml\n(.*?)^```$", page, re.S | re.M)[1], encoding="utf-8")
    flags = arguments(folder, tmp_path / "out", f"--config={experiment}", "--do_train", "--do_eval")
    assert main([*flags, "--best_metric=kappa", "--eval_every=2"]) == 0
    figures = (tmp_path / "out" / "eval_results.txt").read_text()
    assert re.search(r"^kappa = ", figures, re.M)
    said = capsys.readouterr().out
    # Two classes at chance: 0.5 each gives 1 - 2 / 2.25 for the label and 1 - 1 / 1.25 for the other.
    loss = float(re.search(r"step 2/2  loss ([\d.]+)", said)[1])
    assert loss == pytest.approx(1 - 2 / 2.25 + 1 - 1 / 1.25, abs=0.08)
    changed = folder / "dice.py"
    before = changed.read_text(encoding="utf-8")
    try:
        changed.write_text(before + "# changed\n", encoding="utf-8")
        assert main([*flags, "--nodo_eval"]) == 0
    finally:
        changed.write_text(before, encoding="utf-8")
    said = capsys.readouterr().out
    assert re.search(r"warning: plugin was \['dice\.py \w{64}', .*is \['dice\.py \w{64}'", said)


@pytest.fixture(scope="module")
def two_tower(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("two_tower") / "model"
    flags = [
        f"--plugin={folder}/kappa.py",
        f"--plugin={folder}/two_tower.py",
        "--head=two_tower",
        "--metrics=kappa",
    ]
    assert main(arguments(folder, output, *flags, "--do_train", "--do_eval")) == 0
    return output


def test_a_head_encodes_the_texts_alone_and_goes_with_the_checkpoint_by_name(two_tower, folder, tmp_path):
    assert json.loads((two_tower / "task.json").read_text(encoding="utf-8"))["custom_head"] == "two_tower"
    weights = checkpoint.read_shapes(tf.train.latest_checkpoint(str(two_tower)))
    assert weights["head/output_weights"] == (2, 4 * weights["bert/embeddings/word_embeddings"][1])
    assert not any("pooler" in name for name in weights)
    rows = [
        {"title": "재미있는 영화", "body": "지루한 영화"},
        {"title": "지루한 영화", "body": "재미있는 영화"},
    ]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    flags = [
        f"--model={two_tower}",
        f"--input_file={tmp_path}/new.jsonl",
        f"--output_file={tmp_path}/out.jsonl",
    ]
    assert predict_main([*flags, f"--plugin={folder}/two_tower.py"]) == 0
    made = [json.loads(line)["prediction"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert all(sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5) for one in made)
    assert made[0]["probabilities"] != made[1]["probabilities"]


def test_a_model_of_a_missing_head_is_refused_with_the_remedy(two_tower, folder, tmp_path, capsys):
    """Also where the file lies in the model's folder, which is never run."""
    copied = shutil.copytree(two_tower, tmp_path / "model")
    (copied / "two_tower.py").write_text("raise SystemExit('a file of a model was run')\n")
    (tmp_path / "new.jsonl").write_text('{"title": "a", "body": "b"}\n')
    flags = [f"--model={copied}", f"--input_file={tmp_path}/new.jsonl", f"--output_file={tmp_path}/out.jsonl"]
    assert predict_main(flags) == 1
    assert "needs the head 'two_tower' of a plugin" in (said := capsys.readouterr().err)
    assert "--plugin=FILE.py" in said
    flags = ["--do_eval", "--max_seq_length=16", "--text_column=title,body"]
    assert main([f"--output_dir={copied}", f"--eval_file={folder}/data.tsv", *flags]) == 1
    assert "--plugin=FILE.py" in capsys.readouterr().err
    assert export_main([f"--checkpoint={copied}", f"--output_dir={tmp_path}/hf", "--format=huggingface"]) == 1
    assert "no class of transformers computes" in capsys.readouterr().err


def config(**values):
    return morphbert.ClassificationConfig(output_dir="out", train_file="train.tsv", do_train=True, **values)


def test_names_that_no_file_registers_are_refused_when_the_configuration_is_made(folder):
    for values in (
        {"loss": morphbert.LossConfig(loss="dise")},
        {"custom_head": "tower"},
        {"metrics": ["kapa"]},
    ):
        with pytest.raises(UsageError, match=r"is not built in\. Known names: .*--plugin=FILE\.py"):
            config(**values)
    with pytest.raises(UsageError, match=r"dice\.py does not register it\. Known names: .*ldam, dice"):
        config(plugin=[f"{folder}/dice.py"], loss=morphbert.LossConfig(loss="dise"))
    with pytest.raises(UsageError, match="replaces pooling"):
        config(
            plugin=[f"{folder}/two_tower.py"],
            custom_head="two_tower",
            head=morphbert.TextHeadConfig(pooling="mean"),
        )


def test_files_that_cannot_be_used_are_named(tmp_path):
    with pytest.raises(UsageError, match="there is no such file"):
        config(plugin=[f"{tmp_path}/none.py"])
    with pytest.raises(UsageError, match="is not a Python file"):
        config(plugin=["dice"])
    (tmp_path / "broken.py").write_text("x = 1\ny = x / 0\n")
    with pytest.raises(MorphbertError, match=r"broken\.py cannot be loaded: line 2: ZeroDivisionError"):
        config(plugin=[f"{tmp_path}/broken.py"])
    code = "import morphbert\n@morphbert.register_loss('{}')\ndef loss(scores, labels): return scores\n"
    for name, loss in (("one", "mine"), ("two", "mine"), ("three", "focal")):
        (tmp_path / f"{name}.py").write_text(code.format(loss))
    with pytest.raises(UsageError, match=r"one\.py and .*two\.py both register the loss 'mine'"):
        config(plugin=[f"{tmp_path}/one.py", f"{tmp_path}/two.py"])
    with pytest.raises(UsageError, match="'focal' is built in"):
        config(plugin=[f"{tmp_path}/three.py"])


def test_a_decorator_of_a_notebook_needs_no_file_and_an_edited_file_is_run_again(tmp_path):
    @morphbert.register_loss("constant")
    def constant(scores, labels):
        return tf.ones_like(labels, tf.float32)

    made = config(loss=morphbert.LossConfig(loss="constant", counts=(3, 1), class_weights=True))
    found = class_losses(made.loss, tf.zeros([2, 2]), tf.constant([0, 1]))
    assert found[1] > found[0]  # the weight of the rare class
    path = tmp_path / "figure.py"
    for value in (1, 2):
        path.write_text(
            f"import morphbert\n@morphbert.register_metric('figure')\ndef f(labels, scores): return {value}\n"
        )
        config(plugin=[path], metrics=["figure"])
        assert plugins.METRICS.get("figure", "a test")(np.zeros(1), np.zeros((1, 2))) == value


METRIC = """import morphbert
@morphbert.register_metric({name!r})
def figure(labels, scores):
    {body}
"""


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("broken", "return scores.argmax(2)", r"metric 'broken' fails on 8 examples .*line 4: AxisError"),
        ("empty", "return float('nan')", "metric 'empty' returns NaN on 8 examples"),
        ("word", "return 'good'", "metric 'word' returns 'good', which is not a number"),
        ("accuracy", "return 1", "--metrics=accuracy: the task has a figure of this name: rename"),
    ],
)
def test_a_metric_that_fails_is_refused_before_training(name, body, message, folder, tmp_path, capsys):
    (tmp_path / "own.py").write_text(METRIC.format(name=name, body=body), encoding="utf-8")
    flags = [f"--plugin={tmp_path}/own.py", f"--metrics={name}", "--do_train", "--do_eval"]
    assert main(arguments(folder, tmp_path / "out", *flags)) == 1
    said = capsys.readouterr()
    assert re.search(message, said.err)
    assert "step" not in said.out
    assert tf.train.latest_checkpoint(str(tmp_path / "out")) is None


def test_a_metric_that_fails_later_does_not_lose_the_run(folder, tmp_path, capsys):
    """It passes the trial before training, on fewer examples than the data has."""
    body = "return 1 if len(labels) < 24 else 1 / 0"
    (tmp_path / "late.py").write_text(METRIC.format(name="late", body=body), encoding="utf-8")
    flags = [f"--plugin={tmp_path}/late.py", "--metrics=late", "--do_train", "--do_eval"]
    assert main(arguments(folder, tmp_path / "out", *flags, "--eval_every=1")) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"warning: the metric 'late' fails on 24 examples .*ZeroDivisionError.* without it", said
    )
    figures = (tmp_path / "out" / "eval_results.txt").read_text()
    assert "accuracy = " in figures
    assert "late" not in figures
    assert main(arguments(folder, tmp_path / "best", *flags, "--eval_every=1", "--best_metric=-late")) == 1
    assert "the metric 'late' fails on 24 examples" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["class", "labels", "score"])
def test_metrics_are_tried_on_the_form_of_the_task(kind):
    task = Classification(kind, () if kind == "score" else ("부정", "중립", "긍정"))
    labels, scores = task.some_scores()
    figures = metrics(scores, labels, task)
    assert all(np.isfinite(value) for value in figures.values())
    if kind == "class":
        assert figures["accuracy"] == 0.5
        assert set(scores.argmax(1)) == set(labels) == {0, 1, 2}
    assert labels.shape == ((12, 3) if kind == "labels" else (len(scores),))


def test_run_re_takes_metrics(folder, tmp_path):
    rows = relations()
    (tmp_path / "data.jsonl").write_text(
        "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"
    )
    data = [f"--train_file={tmp_path}/data.jsonl", f"--eval_file={tmp_path}/data.jsonl"]
    own = [f"--plugin={folder}/kappa.py", "--metrics=kappa", "--do_train", "--do_eval"]
    short = ["--num_train_steps=1", f"--output_dir={tmp_path}/out"]
    assert run_re_main([*tiny_flags(folder), *data, *own, *short]) == 0
    assert re.search(r"^kappa = ", (tmp_path / "out" / "eval_results.txt").read_text(), re.M)
